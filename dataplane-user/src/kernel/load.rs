//! Loads the embedded object, takes over what an earlier process has pinned, and attaches.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use aya::maps::{Array, DevMapHash, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::links::FdLink;
#[cfg(feature = "lab")]
use aya::programs::{ProgramError, TestRunAttrs};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use voxlane_common::flow::LAYOUT;
use voxlane_common::next_hop::NextHop;
use voxlane_common::ports::{PortMap, Unallocated};

use super::attach::{Attacher, interface_index};
use super::error::KernelError;
use super::geometry::{self, Present};
use super::netlink::Netlink;
use super::next_hops::NextHops;
use super::pace;
use super::pins::{Earlier, Pins};
use super::table::{Maps, Table};
use crate::flows::Rules;
use crate::media_plane::{AttachMode, AttachPolicy, InterfaceStatus};

/// The eBPF programs, built by this package's build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/voxlane-ebpf"));

/// The oldest kernel the program is tested on.
const OLDEST_KERNEL: (u32, u32) = (6, 1);
const OLDEST_KERNEL_TEXT: &str = "6.1";

/// Let the program look up routes as the host itself would: see `look_up` in the program. Nothing is forwarded from the
/// loopback interface, so this makes no router of the host; it is left on.
const LOOPBACK_FORWARDING: [&str; 2] = [
    "/proc/sys/net/ipv4/conf/lo/forwarding",
    "/proc/sys/net/ipv6/conf/lo/forwarding",
];

/// What the kernel lane is to do.
#[derive(Clone, Debug)]
pub struct KernelConfig {
    /// Interfaces to attach to; in the place of a VLAN the one below it.
    pub interfaces: Vec<String>,
    /// How.
    pub policy: AttachPolicy,
    /// Local media addresses known beforehand; more can follow, 8 in all.
    pub addresses: Vec<IpAddr>,
    /// First RTP port.
    pub first_port: u16,
    /// Last RTP or RTCP port.
    pub last_port: u16,
    /// What happens to packets to ports that are nobody's.
    pub unallocated: Unallocated,
    /// How every relayed call is treated.
    pub rules: Rules,
    /// Directory of the BPF file system for what outlives the process; `None`: nothing does.
    pub pin: Option<PathBuf>,
}

/// What the program did with one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The XDP verdict (`XDP_PASS` 2, `XDP_DROP` 1, `XDP_TX` 3, `XDP_REDIRECT` 4).
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// What the program has put in front of it for programs that come after.
    pub metadata: Vec<u8>,
    /// Time in the program; the average, if it ran more than once.
    pub duration: Duration,
}

/// The loaded and attached programs.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) table: Table,
    pub(super) hops: NextHops,
    pub(super) events: RingBuf<MapData>,
    pub(super) mirror: RingBuf<MapData>,
    pub(super) interfaces: Vec<InterfaceStatus>,
    pub(super) pins: Option<Pins>,
    /// Pinned links: closing them does not detach.
    pub(super) held: Vec<FdLink>,
    /// Whether an earlier process had left its flow table.
    pub(super) adopted: bool,
    /// Whether the program that paces is attached wherever the relay is.
    pub(super) paces: bool,
}

/// Loads and attaches the programs, in place of those of an earlier process.
///
/// Nothing that is pinned is in the way: what cannot be taken over is removed. And nothing stays pinned if there is no
/// lane in the end: an earlier process's program would drop what is sent to the sockets of this one.
pub(super) fn load(config: &KernelConfig) -> Result<Loaded, KernelError> {
    require_kernel()?;
    let ports = PortMap::new(config.first_port, config.last_port, config.unallocated);
    if ports.entries() == 0 {
        return Err(KernelError::Ports {
            first: config.first_port,
            last: config.last_port,
        });
    }
    let interfaces = Netlink::open()?
        .below_vlans(&config.interfaces)
        .map_err(|error| KernelError::io("list the network interfaces", error))?;
    let config = &KernelConfig {
        interfaces,
        ..config.clone()
    };
    let Some(pins) = open_pins(config)? else {
        return assemble(config, ports, None);
    };
    let was_empty = pins.is_empty();
    let mut loaded = assemble(config, ports, Some(&pins));
    if let (Err(error), false) = (&loaded, was_empty) {
        tracing::warn!(%error, "what an earlier process has pinned is in the way: its calls lose their media");
        pins.clear();
        loaded = assemble(config, ports, Some(&pins));
    }
    match loaded {
        Ok(loaded) => Ok(Loaded {
            pins: Some(pins),
            ..loaded
        }),
        Err(error) => {
            pins.remove_all();
            Err(error)
        }
    }
}

/// The pins, if they are wanted and can be had: a lane that ends with the process is better than none.
fn open_pins(config: &KernelConfig) -> Result<Option<Pins>, KernelError> {
    let Some(root) = &config.pin else {
        return Ok(None);
    };
    match Pins::open(root, (config.first_port, config.last_port)) {
        Ok(pins) => Ok(Some(pins)),
        Err(error @ KernelError::InUse(_)) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "the kernel lane ends with this process: calls will lose their media with it");
            Ok(None)
        }
    }
}

fn assemble(config: &KernelConfig, ports: PortMap, pins: Option<&Pins>) -> Result<Loaded, KernelError> {
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries("FLOWS", ports.entries())
        .map_max_entries("STATES", ports.entries());
    let mut adopted = false;
    if let Some(pins) = pins {
        match geometry::present(pins, &ports) {
            Present::All => adopted = true,
            Present::None => {}
            Present::Damaged => {
                tracing::warn!("the maps an earlier process has pinned are damaged: its calls lose their media");
                pins.remove_maps();
            }
        }
        pins.make_maps()?;
        for name in geometry::pinned(&ports) {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    let mut ebpf = loader.load(OBJECT)?;
    // All that takes its time is done before anything is taken over.
    program(&mut ebpf, "relay")?.load()?;
    allow_look_ups()?;
    let indices: Vec<u32> = config
        .interfaces
        .iter()
        .filter_map(|name| interface_index(name))
        .collect();
    let mut exits: DevMapHash<MapData> = DevMapHash::try_from(take(&mut ebpf, "INTERFACES")?)?;
    let unknown = |error: aya::maps::xdp::XdpMapError| KernelError::Object(error.to_string());
    for ifindex in &indices {
        exits.insert(*ifindex, *ifindex, None, 0).map_err(unknown)?;
    }

    let mut table = Table::new(
        ports,
        Maps {
            port_map: Array::try_from(take(&mut ebpf, "PORT_MAP")?)?,
            flows: Array::try_from(take(&mut ebpf, "FLOWS")?)?,
            states: Array::try_from(take(&mut ebpf, "STATES")?)?,
            frames: PerCpuArray::try_from(take(&mut ebpf, "FRAMES")?)?,
            durations: PerCpuArray::try_from(take(&mut ebpf, "DURATIONS")?)?,
            lost: PerCpuArray::try_from(take(&mut ebpf, "LOST")?)?,
        },
    )?;
    for address in &config.addresses {
        table.add_address(*address)?;
    }
    let mut next_hops = Array::try_from(take(&mut ebpf, "NEXT_HOPS")?)?;
    let earlier = pins.map(Pins::earlier).unwrap_or_default();
    for earlier in &earlier {
        adopted |= carry_over(&mut table, earlier, &mut next_hops);
    }
    let devices = HashMap::try_from(take(&mut ebpf, "DEVICES")?)?;
    let left = table.paths().into_values().collect();
    // Before the first packet meets the program: each interface that may be attached counts as one that is.
    let mut hops = NextHops::new(Netlink::open()?, next_hops, devices, indices, left)?;

    let mut attacher = Attacher {
        program: program(&mut ebpf, "relay")?,
        pins,
        present: hops.programs(),
        keep_mode: !table.is_idle(),
        held: Vec::new(),
    };
    let found = attacher.attach_all(&config.interfaces, config.policy);
    let mut held = attacher.held;
    let mut attached = Vec::new();
    for device in &found {
        match device.status.mode {
            AttachMode::Native | AttachMode::Generic => attached.push(device.ifindex),
            // It may not be there.
            AttachMode::None => drop(exits.remove(device.ifindex)),
        }
    }
    let interfaces: Vec<InterfaceStatus> = found.into_iter().map(|device| device.status).collect();
    if attached.is_empty() {
        return Err(KernelError::NotAttached(interfaces));
    }
    if let Some(pins) = pins {
        pins.remove_links_but(|ifindex| attached.contains(&ifindex));
        earlier.iter().for_each(Earlier::remove);
    }
    hops.set_attached(attached)?;
    let adopted_hops = hops.adopt(&table.paths());
    table.reroute(&adopted_hops)?;
    hops.forget_left();
    let paces = attach_paces(&mut ebpf, &interfaces, pins, &mut held);
    Ok(Loaded {
        events: RingBuf::try_from(take(&mut ebpf, "EVENTS")?)?,
        mirror: RingBuf::try_from(take(&mut ebpf, "MIRROR")?)?,
        ebpf,
        table,
        hops,
        interfaces,
        pins: None,
        held,
        adopted,
        paces,
    })
}

/// Copies the flows of an earlier table, as far as it can be read; whether it can.
fn carry_over(table: &mut Table, earlier: &Earlier, next_hops: &mut Array<MapData, NextHop>) -> bool {
    let (directory, layout) = (earlier.directory.display(), earlier.layout);
    if layout != LAYOUT {
        tracing::warn!(%directory, layout, ours = LAYOUT, "another version's flow table cannot be read: its calls lose their media");
        return false;
    }
    match table.carry_over(earlier, next_hops) {
        Ok((flows, lost)) => {
            tracing::info!(%directory, flows, lost, "flows of an earlier process are carried over");
            true
        }
        Err(error) => {
            tracing::warn!(%directory, %error, "the flow table of an earlier process is damaged: its calls lose their media");
            false
        }
    }
}

fn allow_look_ups() -> Result<(), KernelError> {
    for path in LOOPBACK_FORWARDING {
        match std::fs::write(path, "1") {
            Ok(()) => {}
            // A host without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = "set net.ipv4.conf.lo.forwarding=1 and that of IPv6, which route lookups need";
                return Err(KernelError::io(what, error));
            }
        }
    }
    Ok(())
}

/// Attaches the tc program wherever the XDP program is; whether it is there now. Without it flows are not paced, and
/// nothing else is amiss.
fn attach_paces(ebpf: &mut Ebpf, interfaces: &[InterfaceStatus], pins: Option<&Pins>, held: &mut Vec<FdLink>) -> bool {
    let mut attach = || {
        let program: &mut SchedClassifier = ebpf
            .program_mut("pace")
            .ok_or_else(|| KernelError::Object("it has no program pace".to_owned()))?
            .try_into()?;
        program.load()?;
        interfaces
            .iter()
            .filter(|row| row.mode != AttachMode::None)
            .try_for_each(|row| Ok::<_, KernelError>(pace::attach(program, &row.name, pins, held)?))
    };
    match attach() {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the tc program could not be attached: the kernel lane does not pace");
            false
        }
    }
}

pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, KernelError> {
    ebpf.take_map(name)
        .ok_or_else(|| KernelError::Object(format!("it has no map {name}")))
}

pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, KernelError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| KernelError::Object(format!("it has no program {name}")))?;
    Ok(program.try_into()?)
}

fn require_kernel() -> Result<(), KernelError> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_err(|error| KernelError::io("read the kernel's release", error))?;
    let release = release.trim();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST_KERNEL {
        return Err(KernelError::KernelTooOld {
            found: release.to_owned(),
            needed: OLDEST_KERNEL_TEXT,
        });
    }
    Ok(())
}

/// `struct xdp_md` of the kernel, the context of a test run.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

impl XdpMd {
    /// Of a frame that comes in through the interface of this index.
    fn of(frame: &[u8], ingress: u32) -> Self {
        Self {
            data: 0,
            data_end: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            data_meta: 0,
            ingress_ifindex: ingress,
            rx_queue_index: 0,
            egress_ifindex: 0,
        }
    }
}

pub(super) fn test_run(ebpf: &mut Ebpf, frame: &[u8], ingress: u32) -> Result<TestRun, KernelError> {
    run(program(ebpf, "relay")?, frame, ingress, 1)
}

/// Runs a program `repeat` times over the same frame: each time as the last has left it.
pub(super) fn run(program: &Xdp, frame: &[u8], ingress: u32, repeat: u32) -> Result<TestRun, KernelError> {
    let context = XdpMd::of(frame, ingress);
    let mut after = context;
    // A tag and metadata may be added.
    let mut out = vec![0; frame.len() + 64];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(bytemuck::bytes_of(&context)),
        ctx_out: Some(bytemuck::bytes_of_mut(&mut after)),
        repeat,
        ..TestRunOptions::new()
    })?;
    out.truncate(result.data_size_out as usize);
    // The metadata stand before the frame, whose beginning is told relative to theirs.
    let frame = out.split_off((after.data as usize).min(out.len()));
    Ok(TestRun {
        action: result.return_value,
        frame,
        metadata: out,
        duration: result.duration,
    })
}

/// Runs a program on live frames: each is sent as the program says. In batches of so many, at most 256.
#[cfg(feature = "lab")]
pub(super) fn run_live(program: &Xdp, frame: &[u8], ingress: u32, frames: u32, batch: u32) -> Result<(), ProgramError> {
    let context = XdpMd::of(frame, ingress);
    program.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(bytemuck::bytes_of(&context)),
        repeat: frames,
        attrs: TestRunAttrs::new().xdp_live_frames(batch),
        ..TestRunOptions::new()
    })?;
    Ok(())
}
