//! Runs the relay, and programs to compare it with, in BPF_PROG_TEST_RUN (feature `lab`): for tests and benchmarks.
//!
//! The kernel tells how many nanoseconds a program took for a frame, averaged over repetitions. It does not restore the
//! frame in between, so a program that rewrites it sees its own work the second time. Two ways around that:
//! * [`Lab::alone`] on a frame that comes out as it went in,
//! * [`Lab::spread`], where the program `spread` writes the headers anew before each repetition and goes on to the
//!   program under test; what that costs by itself, [`Program::Pass`] in place of the program under test tells.
//!
//! Must be used in the network namespace of the lane.

pub mod traffic;

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{Array, HashMap, MapData, MapInfo, ProgramArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use rand::seq::SliceRandom;
use voxlane_common::lab::{Course, Line, MAX_TARGETS, Places, Target, key};
use voxlane_common::next_hop::NextHopId;
use voxlane_common::police::Police;
use voxlane_common::splice::Continuity;

use super::load::{TestRun, program, run, take};
use super::{KernelError, KernelLane, Leg, lock};
use crate::codec::Codec;
use crate::media_plane::{Direction, LatchMode, Pacing, RtcpPort, Session};

/// The programs, built by this package's build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/voxlane-ebpf-lab"));

/// The leg that is most often agreed: PCMU, 20 ms, a far end that sends from where it said.
pub fn usual_leg(local: SocketAddrV4, remote: SocketAddrV4) -> Leg {
    let session = Session {
        remote_rtp: SocketAddr::V4(remote),
        remote_rtcp: SocketAddr::new(IpAddr::V4(*remote.ip()), remote.port() + 1),
        codec: Codec::Pcmu,
        send_payload_type: 0,
        receive_payload_type: 0,
        telephone_event: None,
        ptime: 20,
        direction: Direction::SendRecv,
        rtcp_port: RtcpPort::Own,
        latch: LatchMode::Nat,
        pacing: Pacing::Off,
        srtp: None,
    };
    Leg {
        local: SocketAddr::V4(local),
        session,
        continuity: Continuity::Transparent,
    }
}

/// A program to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The relay.
    Relay,
    /// The smallest that swaps the hardware addresses and sends the frame back.
    Reflect,
    /// The smallest there is.
    Pass,
    /// Reads the key of a flow from a packet.
    ReadKey,
    /// Finds the flow in an array, by [`Places`].
    FindInArray,
    /// Finds the flow in a hash, by [`key`].
    FindInHash,
    /// [`Self::Reflect`], and reads the clock once.
    ReflectTimed,
    /// Reads and writes two cache lines of the flow.
    TouchTwo,
    /// Reads and writes five cache lines of the flow.
    TouchFive,
}

impl Program {
    const LOADED: [&'static str; 9] = [
        "spread",
        "reflect",
        "pass",
        "read_key",
        "find_in_array",
        "find_in_hash",
        "reflect_timed",
        "touch_two",
        "touch_five",
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Reflect => "reflect",
            Self::Pass => "pass",
            Self::ReadKey => "read_key",
            Self::FindInArray => "find_in_array",
            Self::FindInHash => "find_in_hash",
            Self::ReflectTimed => "reflect_timed",
            Self::TouchTwo => "touch_two",
            Self::TouchFive => "touch_five",
        }
    }
}

/// What a program is run on.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The frame.
    pub frame: &'a [u8],
    /// Index of the interface it came in by.
    pub ingress: u32,
    /// How often.
    pub repeat: u32,
}

/// The loaded programs.
pub struct Lab {
    ebpf: Ebpf,
    course: Array<MapData, Course>,
    targets: Array<MapData, Target>,
    subject: ProgramArray<MapData>,
}

impl Lab {
    /// Loads the programs. `spread` writes packets like `frame` for `flows`, each given by where its packets come from
    /// and where they arrive; array and hash hold the same flows.
    pub fn load(frame: &[u8], flows: &[(SocketAddrV4, SocketAddrV4)]) -> Result<Self, KernelError> {
        let places = places(flows);
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("ARRAY", places.addresses.len() as u32 * places.count)
            .map_max_entries("TWO_LINES", places.addresses.len() as u32 * places.count)
            .map_max_entries("FIVE_LINES", places.addresses.len() as u32 * places.count)
            .map_max_entries("HASH", flows.len() as u32)
            .load(OBJECT)?;
        for name in Program::LOADED {
            program(&mut ebpf, name)?.load()?;
        }
        let mut lab = Self {
            course: Array::try_from(take(&mut ebpf, "COURSE")?)?,
            targets: Array::try_from(take(&mut ebpf, "TARGETS")?)?,
            subject: ProgramArray::try_from(take(&mut ebpf, "SUBJECT")?)?,
            ebpf,
        };
        lab.spread_over(frame, flows)?;
        lab.fill(places, flows)?;
        Ok(lab)
    }

    /// What `spread` goes through: the flows, in random order.
    fn spread_over(&mut self, frame: &[u8], flows: &[(SocketAddrV4, SocketAddrV4)]) -> Result<(), KernelError> {
        let count = u32::try_from(flows.len()).unwrap_or(u32::MAX);
        let course = Course::new(frame, count).filter(|_| (1..=MAX_TARGETS).contains(&count));
        let course = course.ok_or_else(|| KernelError::Object(format!("{count} flows of short frames to run on")))?;
        self.course.set(0, course, 0)?;
        let mut flows = flows.to_vec();
        flows.shuffle(&mut rand::rng());
        for (index, (source, local)) in (0..).zip(&flows) {
            self.targets.set(index, Target::new(*source, *local), 0)?;
        }
        Ok(())
    }

    fn fill(&mut self, places: Places, flows: &[(SocketAddrV4, SocketAddrV4)]) -> Result<(), KernelError> {
        Array::try_from(take(&mut self.ebpf, "PLACES")?)?.set(0, places, 0)?;
        let mut array: Array<_, Line> = Array::try_from(take(&mut self.ebpf, "ARRAY")?)?;
        let mut hash: HashMap<_, u64, Line> = HashMap::try_from(take(&mut self.ebpf, "HASH")?)?;
        for (_, local) in flows {
            let (address, line) = (in_packet(local), [1; 8]);
            if let Some(place) = places.of(address, local.port()) {
                array.set(place, line, 0)?;
            }
            hash.insert(key(address, local.port().to_be()), line, 0)?;
        }
        Ok(())
    }

    /// Runs a program by itself.
    pub fn alone(&self, lane: &KernelLane, subject: Program, input: Input) -> Result<TestRun, KernelError> {
        self.with(lane, subject, |program| {
            run(program, input.frame, input.ingress, input.repeat)
        })?
    }

    /// Runs `spread` and then the program, on a packet of another flow each time.
    pub fn spread(&mut self, lane: &KernelLane, subject: Program, input: Input) -> Result<TestRun, KernelError> {
        let fd = self.with(lane, subject, |program| {
            let copy = program.fd()?.try_clone();
            copy.map_err(|error| KernelError::io("use a program", error))
        })??;
        self.subject.set(0, &fd, 0)?;
        run(loaded(&self.ebpf, "spread")?, input.frame, input.ingress, input.repeat)
    }

    fn with<R>(&self, lane: &KernelLane, subject: Program, job: impl FnOnce(&Xdp) -> R) -> Result<R, KernelError> {
        Ok(match subject {
            Program::Relay => job(loaded(&lock(&lane.ebpf), "relay")?),
            own => job(loaded(&self.ebpf, own.name())?),
        })
    }
}

/// Bytes the kernel holds for the maps of the relay, by its own account.
pub fn map_memory(lane: &KernelLane) -> Result<u64, KernelError> {
    let maps = loaded(&lock(&lane.ebpf), "relay")?.info()?.map_ids()?;
    let mut bytes = 0;
    for id in maps.unwrap_or_default() {
        let map = MapInfo::from_id(id)?.fd()?;
        let info = format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd());
        let info =
            std::fs::read_to_string(&info).map_err(|error| KernelError::io("read what a map occupies", error))?;
        let memory = info.lines().find_map(|line| line.strip_prefix("memlock:"));
        bytes += memory
            .and_then(|bytes| bytes.trim().parse::<u64>().ok())
            .ok_or_else(|| KernelError::Object("the kernel does not tell what a map occupies".to_owned()))?;
    }
    Ok(bytes)
}

/// Lets packets come as fast as a test run sends them, at the full cost of holding flows to their rate.
///
/// # Errors
/// If a flow's next hop is not known: it would be looked up for each packet, which is not what is to be measured.
pub fn lift_rates(lane: &KernelLane) -> Result<(), KernelError> {
    lane.inner().table.change_all(|spec| {
        if spec.next_hop == NextHopId::UNKNOWN {
            return Err(KernelError::Object(format!(
                "{:?} has no next hop",
                spec.destination.get()
            )));
        }
        spec.police = Police::out_of_reach();
        Ok(())
    })
}

/// Flows that the relay's table has room for.
pub fn capacity(lane: &KernelLane) -> u32 {
    lane.inner().table.capacity()
}

fn loaded<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a Xdp, KernelError> {
    let program = ebpf
        .program(name)
        .ok_or_else(|| KernelError::Object(format!("it has no program {name}")))?;
    Ok(program.try_into()?)
}

/// The layout of an array that holds these flows.
fn places(flows: &[(SocketAddrV4, SocketAddrV4)]) -> Places {
    let ports = || flows.iter().map(|(_, local)| u32::from(local.port()));
    let first = ports().min().unwrap_or(0);
    let mut places = Places {
        first,
        count: ports().max().map_or(0, |last| last - first + 1),
        ..Places::default()
    };
    for (_, local) in flows {
        let address = in_packet(local);
        if let Some(slot) = places.addresses.iter_mut().find(|slot| [0, address].contains(*slot)) {
            *slot = address;
        }
    }
    places
}

/// An address as it lies in a packet.
fn in_packet(address: &SocketAddrV4) -> u32 {
    u32::from_ne_bytes(address.ip().octets())
}
