//! Loads the embedded object and attaches it.

use std::ffi::CString;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use aya::maps::{Array, DevMapHash, PerCpuArray};
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use voxlane_common::ports::PortMap;

use super::error::KernelError;
use super::table::Table;
use crate::media_plane::{AttachMode, AttachPolicy, InterfaceStatus};

/// The XDP program, built by this package's build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/voxlane-ebpf"));

/// The oldest kernel the program is tested on.
const OLDEST_KERNEL: (u32, u32) = (6, 1);
const OLDEST_KERNEL_TEXT: &str = "6.1";

/// Lets the program look up routes as the host itself would: see `next_hop` in the program. Nothing is forwarded from
/// the loopback interface, so this makes no router of the host; it is left on.
const LOOPBACK_FORWARDING: &str = "/proc/sys/net/ipv4/conf/lo/forwarding";

/// What the kernel lane is to do.
#[derive(Clone, Debug)]
pub struct KernelConfig {
    /// Interfaces to attach to.
    pub interfaces: Vec<String>,
    /// How.
    pub policy: AttachPolicy,
    /// Local media addresses known beforehand; more can follow, 8 in all.
    pub addresses: Vec<Ipv4Addr>,
    /// First RTP port.
    pub first_port: u16,
    /// Last RTP or RTCP port.
    pub last_port: u16,
}

/// What the program did with one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The XDP verdict (`XDP_PASS` 2, `XDP_DROP` 1, `XDP_TX` 3, `XDP_REDIRECT` 4).
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Time in the program; the average, if it ran more than once.
    pub duration: Duration,
}

/// The loaded and attached program.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) table: Table,
    pub(super) interfaces: Vec<InterfaceStatus>,
    pub(super) attached: Vec<u32>,
}

pub(super) fn load(config: &KernelConfig) -> Result<Loaded, KernelError> {
    require_kernel()?;
    let ports = PortMap::new(config.first_port, config.last_port);
    if ports.entries() == 0 {
        return Err(KernelError::Ports {
            first: config.first_port,
            last: config.last_port,
        });
    }
    let mut ebpf = EbpfLoader::new()
        .map_max_entries("FLOWS", ports.entries())
        .map_max_entries("STATES", ports.entries())
        .load(OBJECT)?;
    program(&mut ebpf, "relay")?.load()?;
    let devices = attach_all(program(&mut ebpf, "relay")?, config);
    let interfaces: Vec<InterfaceStatus> = devices.iter().map(|device| device.status.clone()).collect();
    let attached: Vec<u32> = devices
        .iter()
        .filter(|device| device.status.mode != AttachMode::None)
        .map(|device| device.ifindex)
        .collect();
    if attached.is_empty() {
        return Err(KernelError::NotAttached(interfaces));
    }
    std::fs::write(LOOPBACK_FORWARDING, "1")
        .map_err(|error| KernelError::io("set net.ipv4.conf.lo.forwarding=1, which route lookups need", error))?;

    let mut exits = DevMapHash::try_from(take(&mut ebpf, "INTERFACES")?)?;
    for ifindex in &attached {
        exits
            .insert(*ifindex, *ifindex, None, 0)
            .map_err(|error| KernelError::Object(error.to_string()))?;
    }
    let table = Table::new(
        ports,
        Array::try_from(take(&mut ebpf, "PORT_MAP")?)?,
        Array::try_from(take(&mut ebpf, "FLOWS")?)?,
        Array::try_from(take(&mut ebpf, "STATES")?)?,
        PerCpuArray::try_from(take(&mut ebpf, "OUTCOMES")?)?,
    )?;
    Ok(Loaded {
        ebpf,
        table,
        interfaces,
        attached,
    })
}

pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, KernelError> {
    ebpf.take_map(name)
        .ok_or_else(|| KernelError::Object(format!("it has no map {name}")))
}

pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, KernelError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| KernelError::Object(format!("it has no program {name}")))?;
    Ok(program.try_into()?)
}

/// An interface and how it fared.
struct Device {
    ifindex: u32,
    status: InterfaceStatus,
}

fn attach_all(program: &mut Xdp, config: &KernelConfig) -> Vec<Device> {
    match config.policy {
        AttachPolicy::Native => attach_each(program, config, XdpMode::Driver, None),
        AttachPolicy::Generic => attach_each(program, config, XdpMode::Skb, None),
        AttachPolicy::Auto => {
            let devices = attach_each(program, config, XdpMode::Driver, None);
            let refusal = devices
                .iter()
                .find(|device| device.ifindex != 0 && device.status.mode == AttachMode::None);
            let Some(refusal) = refusal else {
                return devices;
            };
            let why = format!(
                "native mode refused by {}: {}",
                refusal.status.name,
                refusal.status.detail.as_deref().unwrap_or("no reason given")
            );
            detach_all(program);
            attach_each(program, config, XdpMode::Skb, Some(&why))
        }
    }
}

/// Takes the program off every interface again.
fn detach_all(program: &mut Xdp) {
    // Unloading drops the links; the load that follows verified a moment ago.
    if let Err(error) = program.unload().and_then(|()| program.load()) {
        tracing::warn!(%error, "the XDP relay could not be loaded again for generic mode");
    }
}

fn attach_each(program: &mut Xdp, config: &KernelConfig, mode: XdpMode, note: Option<&str>) -> Vec<Device> {
    config
        .interfaces
        .iter()
        .map(|name| attach(program, name, mode, note))
        .collect()
}

fn attach(program: &mut Xdp, name: &str, mode: XdpMode, note: Option<&str>) -> Device {
    let none = |ifindex, detail: String| Device {
        ifindex,
        status: InterfaceStatus {
            name: name.to_owned(),
            mode: AttachMode::None,
            detail: Some(detail),
        },
    };
    let ifindex = match interface_index(name) {
        // Index 0 marks what no mode could help.
        None => return none(0, "there is no such interface".to_owned()),
        Some(ifindex) => ifindex,
    };
    match program.attach_to_if_index(ifindex, mode) {
        Ok(_) => {
            let mode = match mode {
                XdpMode::Skb => AttachMode::Generic,
                XdpMode::Default | XdpMode::Driver | XdpMode::Hardware => AttachMode::Native,
            };
            Device {
                ifindex,
                status: InterfaceStatus {
                    name: name.to_owned(),
                    mode,
                    detail: note.map(str::to_owned),
                },
            }
        }
        Err(error) => none(ifindex, in_words(&error)),
    }
}

fn in_words(error: &ProgramError) -> String {
    let system = match error {
        ProgramError::SyscallError(error) => Some(&error.io_error),
        _ => None,
    };
    match system.and_then(io::Error::raw_os_error) {
        Some(libc::EBUSY) => "another XDP program is attached".to_owned(),
        Some(libc::EPERM) => "no permission: CAP_NET_ADMIN is needed".to_owned(),
        Some(libc::EOPNOTSUPP) => "the driver has no native XDP".to_owned(),
        _ => match system {
            Some(error) => error.to_string(),
            None => error.to_string(),
        },
    }
}

fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
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

pub(super) fn test_run(ebpf: &mut Ebpf, frame: &[u8], ingress: u32) -> Result<TestRun, KernelError> {
    run(program(ebpf, "relay")?, frame, ingress, 1)
}

/// Runs a program `repeat` times over the same frame: each time as the last has left it.
pub(super) fn run(program: &Xdp, frame: &[u8], ingress: u32, repeat: u32) -> Result<TestRun, KernelError> {
    let context = XdpMd {
        data: 0,
        data_end: u32::try_from(frame.len()).unwrap_or(u32::MAX),
        data_meta: 0,
        ingress_ifindex: ingress,
        rx_queue_index: 0,
        egress_ifindex: 0,
    };
    let mut out = vec![0; frame.len()];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(bytemuck::bytes_of(&context)),
        repeat,
        ..TestRunOptions::new()
    })?;
    out.truncate(result.data_size_out as usize);
    Ok(TestRun {
        action: result.return_value,
        frame: out,
        duration: result.duration,
    })
}
