//! Both ends of a benchmark's calls: they offer packets of many flows, and take note of those that arrive.
//!
//! Packets are made and sent by the kernel (a test run with live frames, over and over), some million a second from one core, each when it is due. What they carry, and so what the far end knows of them, is in [`voxlane_common::lab::traffic`].

use std::io;
use std::net::SocketAddrV4;

use aya::EbpfLoader;
use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues};
use aya::programs::tc::{self, TcAttachType};
use aya::programs::{ProgramError, SchedClassifier, Xdp, XdpMode};
use aya::sys::SyscallError;
use aya::util::nr_cpus;
use voxlane_common::lab::traffic::{BUCKETS, MARK_AT, MAX_FLOWS, Offer, PARTS, Received, SHORTEST};
use voxlane_common::lab::{Course, Target};

use super::{OBJECT, loaded};
use crate::kernel::load::{program, run_live, take};
use crate::kernel::{KernelError, attach};

/// How an end takes in what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// On XDP: what a relay sends on XDP, or an end itself.
    Xdp,
    /// On tc: what comes from a relay that sends through the network stack, which XDP would have to copy first.
    Stack,
}

/// A flow: where its packets come from, and where they go to.
pub type Flow = (SocketAddrV4, SocketAddrV4);

/// How far it has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Packets sent.
    pub sent: u64,
    /// How often no packet was due: what is left of the core that sends.
    pub idle: u64,
    /// Packets left out because the sender had been kept from sending.
    pub missed: u64,
}

/// The ends. They belong to the network namespace of the thread that loads them; dropping them detaches their programs.
pub struct Traffic {
    ebpf: aya::Ebpf,
    frame: Vec<u8>,
    offer: Array<MapData, Offer>,
    flows: Array<MapData, Target>,
    received: Array<MapData, Received>,
    taken: PerCpuArray<MapData, u64>,
}

impl Traffic {
    /// Loads the programs. All packets of an end are as its frame, an RTP packet in UDP over IPv4 without options, in what is not
    /// their flow's or their own; both are of one length.
    ///
    /// # Errors
    /// If the frames are too short for what their payload is to say, or the kernel refuses.
    pub fn load(mut frames: [Vec<u8>; 2]) -> Result<Self, KernelError> {
        let mut ebpf = EbpfLoader::new().load(OBJECT)?;
        for name in ["offer", "collect"] {
            program(&mut ebpf, name)?.load()?;
        }
        collector(&mut ebpf)?.load()?;
        let short = || KernelError::Object(format!("a frame of less than {SHORTEST} bytes"));
        let mut courses = Array::try_from(take(&mut ebpf, "COURSES")?)?;
        for (end, frame) in (0..).zip(&mut frames) {
            frame.get_mut(MARK_AT..SHORTEST).ok_or_else(short)?.fill(0);
            courses.set(end, Course::new(frame, 0).ok_or_else(short)?, 0)?;
        }
        let [frame, _] = frames;
        Ok(Self {
            offer: Array::try_from(take(&mut ebpf, "OFFER")?)?,
            flows: Array::try_from(take(&mut ebpf, "FLOWS_OFFERED")?)?,
            received: Array::try_from(take(&mut ebpf, "RECEIVED")?)?,
            taken: PerCpuArray::try_from(take(&mut ebpf, "TAKEN")?)?,
            ebpf,
            frame,
        })
    }

    /// Takes in what arrives at an interface from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take_in(&mut self, interface: &str, intake: Intake) -> Result<(), KernelError> {
        match intake {
            Intake::Xdp => {
                program(&mut self.ebpf, "collect")?.attach(interface, XdpMode::Driver)?;
            }
            Intake::Stack => {
                // Needed before Linux 6.6, and there already the second time.
                let _there = tc::qdisc_add_clsact(interface);
                collector(&mut self.ebpf)?.attach(interface, TcAttachType::Ingress)?;
            }
        }
        Ok(())
    }

    /// What is to be sent: flows in the order they take turns, in pairs of one of the first end and one of the second; the
    /// interfaces that the ends send by; packets a second, in all. Nothing has been sent or has arrived.
    ///
    /// # Errors
    /// If they are too many.
    pub fn offer(&mut self, pairs: &[[Flow; 2]], interfaces: [u32; 2], rate: u64) -> Result<(), KernelError> {
        let flows = u32::try_from(2 * pairs.len()).unwrap_or(u32::MAX);
        if flows > MAX_FLOWS {
            return Err(KernelError::Object(format!(
                "{flows} flows: there is room for {MAX_FLOWS}"
            )));
        }
        for (index, (from, to)) in (0..).zip(pairs.as_flattened()) {
            self.flows.set(index, Target::new(*from, *to), 0)?;
            self.received.set(index, Received::default(), 0)?;
        }
        let cores = nr_cpus().map_err(|(what, error)| KernelError::io(what, error))?;
        for bucket in 0..BUCKETS {
            let nothing = PerCpuValues::try_from(vec![0; cores]);
            let nothing = nothing.map_err(|error| KernelError::io("forget what has arrived", error))?;
            self.taken.set(bucket, nothing, 0)?;
        }
        let offer = Offer {
            flows,
            interfaces,
            interval: (1_000_000_000 * PARTS).checked_div(rate).unwrap_or_default(),
            ..Offer::default()
        };
        Ok(self.offer.set(0, offer, 0)?)
    }

    /// Sends until the thread that asks gets a signal. `interface` is the index of any in this namespace.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, interface: u32) -> Result<(), KernelError> {
        /// Frames that the kernel sends in one go.
        const BATCH: u32 = 16;
        loop {
            match run_live(loaded(&self.ebpf, "offer")?, &self.frame, interface, u32::MAX, BATCH) {
                Ok(()) => {}
                Err(ProgramError::SyscallError(SyscallError { io_error, .. }))
                    if io_error.kind() == io::ErrorKind::Interrupted =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How far it has got.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn progress(&self) -> Result<Progress, KernelError> {
        let Offer { sent, idle, missed, .. } = self.offer.get(&0, 0)?;
        Ok(Progress { sent, idle, missed })
    }

    /// What has arrived, by the flow.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn received(&self) -> Result<Vec<Received>, KernelError> {
        let flows = self.offer.get(&0, 0)?.flows;
        Ok((0..flows)
            .map(|flow| self.received.get(&flow, 0))
            .collect::<Result<_, _>>()?)
    }

    /// How many packets took how long, by [`voxlane_common::lab::traffic::bucket`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn taken(&self) -> Result<Vec<u64>, KernelError> {
        let of_all_cores = |bucket| Ok(self.taken.get(&bucket, 0)?.iter().sum());
        (0..BUCKETS).map(of_all_cores).collect()
    }
}

/// The smallest relay between two interfaces.
pub struct HandOn(#[expect(dead_code, reason = "detaches when it is dropped")] aya::Ebpf);

/// A side of it.
#[derive(Clone, Copy, Debug)]
pub struct HandOnSide<'a> {
    /// The interface.
    pub interface: &'a str,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// That of whoever gets what is sent there.
    pub neighbour: [u8; 6],
}

impl HandOn {
    /// Loads it and attaches it to both.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(sides: [HandOnSide<'_>; 2]) -> Result<Self, KernelError> {
        let mut ebpf = EbpfLoader::new().load(OBJECT)?;
        let mut onward: Array<_, [u32; 4]> = Array::try_from(take(&mut ebpf, "ONWARD")?)?;
        let index = |side: &HandOnSide<'_>| {
            let index = attach::interface_index(side.interface);
            index.ok_or_else(|| KernelError::Object(format!("no interface {}", side.interface)))
        };
        let [one, other] = &sides;
        for (from, to) in [(one, other), (other, one)] {
            let mut addresses = [0; 12];
            addresses[..6].copy_from_slice(&to.neighbour);
            addresses[6..].copy_from_slice(&to.mac);
            let [a, b, c]: [u32; 3] = bytemuck::cast(addresses);
            onward.set(index(from)?, [index(to)?, a, b, c], 0)?;
        }
        let hand_on: &mut Xdp = program(&mut ebpf, "hand_on")?;
        hand_on.load()?;
        for side in sides {
            hand_on.attach(side.interface, XdpMode::Driver)?;
        }
        Ok(Self(ebpf))
    }
}

fn collector(ebpf: &mut aya::Ebpf) -> Result<&mut SchedClassifier, KernelError> {
    let name = "collect_skb";
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| KernelError::Object(format!("it has no program {name}")))?;
    Ok(program.try_into()?)
}
