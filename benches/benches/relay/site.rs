//! Where relays are measured: a namespace of theirs between two ends, and a wire from end to end past them.
//!
//! ```text
//!          caller ──── caller0  relay  callee0 ──── callee
//!             direct0 ─────────────────────── direct1
//! ```
//!
//! Both ends are in one namespace, and on the first core, with all that is done to send and to take in what arrives. On the last
//! core is the relay: its process, if it has one, and the kernel's part of its receiving and sending. A veth does the work of whoever
//! receives in the thread of whoever sends, unless its NAPI has a thread of its own: here it has, on the core of the side
//! it belongs to, as a network card's interrupts would be.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Result, bail, ensure};
use voxlane_benches::cores;
use voxlane_tests::namespace::Namespace;

/// The ends and the relay's addresses towards them.
pub const CALLER: Ipv4Addr = Ipv4Addr::new(10, 200, 1, 2);
pub const TO_CALLER: Ipv4Addr = Ipv4Addr::new(10, 200, 1, 1);
pub const CALLEE: Ipv4Addr = Ipv4Addr::new(10, 200, 2, 2);
pub const TO_CALLEE: Ipv4Addr = Ipv4Addr::new(10, 200, 2, 1);

/// Who goes before whom on either core. All are real-time: a kernel that preempts lazily lets others wait for its next tick
/// while a thread that only counts what is left of the core has it. What the network brings goes before whoever
/// is to read it, as interrupts do.
const NAPI: i32 = 2;
pub const RELAY_PROCESS: i32 = 1;
pub const WHO_LOOKS: i32 = 3;

/// Interfaces of the ends.
pub const CALLER_END: &str = "caller";
pub const CALLEE_END: &str = "callee";
pub const DIRECT_ENDS: [&str; 2] = ["direct0", "direct1"];

/// Those of the relay.
pub const RELAY: [&str; 2] = ["caller0", "callee0"];

/// The namespaces; they are gone when this process is.
pub struct Site {
    pub ends: Namespace,
    pub relay: Namespace,
    /// The core of the ends.
    pub end_core: usize,
    /// The relay's.
    pub relay_core: usize,
}

impl Site {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let (end_core, relay_core) = match cores::numbers(&cores::allowed()?)[..] {
            [first, .., last] => (first, last),
            _ => bail!("the ends need a core beside the relay's"),
        };
        let (ends, relay) = (Namespace::new(), Namespace::new());
        let [to_caller, to_callee] = RELAY;
        let [direct, tcerid] = DIRECT_ENDS;
        ends.sh(&format!(
            "ip link add {CALLER_END} type veth peer name {to_caller}
             ip link add {CALLEE_END} type veth peer name {to_callee}
             ip link add {direct} type veth peer name {tcerid}"
        ));
        for interface in RELAY {
            ends.give(interface, &relay);
        }
        let mac = |interface| hardware(&ends, interface);
        let (caller, callee) = (mac(CALLER_END), mac(CALLEE_END));
        relay.sh(&format!(
            "ip link set lo up
             ip addr add {TO_CALLER}/24 dev {to_caller}
             ip addr add {TO_CALLEE}/24 dev {to_callee}
             ip link set {to_caller} up
             ip link set {to_callee} up
             ip neigh replace {CALLER} lladdr {caller} dev {to_caller}
             ip neigh replace {CALLEE} lladdr {callee} dev {to_callee}"
        ));
        for end in [CALLER_END, CALLEE_END, direct, tcerid] {
            ends.sh(&format!("ip link set {end} up"));
        }
        // Without GRO a veth that has no program drops what a program sends it.
        for (namespace, interface) in [
            (&relay, to_caller),
            (&relay, to_callee),
            (&ends, CALLER_END),
            (&ends, CALLEE_END),
            (&ends, direct),
            (&ends, tcerid),
        ] {
            namespace.sh(&format!("ethtool -K {interface} gro on tx off"));
        }
        Ok(Self {
            ends,
            relay,
            end_core,
            relay_core,
        })
    }

    /// Gives the NAPI of each interface a thread, and each thread its core. To be called when all programs are attached.
    pub fn keep_to_cores(&self) -> Result<()> {
        let [direct, tcerid] = DIRECT_ENDS;
        let ends = [CALLER_END, CALLEE_END, direct, tcerid];
        for (namespace, interfaces, core) in [
            (&self.ends, &ends[..], self.end_core),
            (&self.relay, &RELAY[..], self.relay_core),
        ] {
            for interface in interfaces {
                threaded(namespace, interface);
                for thread in napi_threads(interface)? {
                    cores::keep_to(thread, &cores::set_of(&[core]))?;
                    cores::schedule(thread, libc::SCHED_FIFO, NAPI)?;
                }
            }
        }
        Ok(())
    }
}

/// The hardware address of an interface, as people write it.
fn hardware(namespace: &Namespace, interface: &str) -> String {
    let (address, _) = namespace.interface(interface);
    address.map(|octet| format!("{octet:02x}")).join(":")
}

/// Interfaces have their settings in a file system that shows those of the namespace it is mounted in.
fn threaded(namespace: &Namespace, interface: &str) {
    let script = format!("mount -t sysfs none /sys; echo 1 > /sys/class/net/{interface}/threaded");
    namespace.run(move || {
        let done = std::process::Command::new("unshare").args(["--mount", "sh", "-ec", &script]).output();
        let done = done.expect("unshare can be run");
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    });
}

/// The threads of an interface's NAPI.
fn napi_threads(interface: &str) -> Result<Vec<i32>> {
    // The kernel shortens the name to fifteen characters, the number behind the interface first.
    let name = format!("napi/{interface}-");
    let mut threads = Vec::new();
    for process in fs::read_dir("/proc")? {
        let process = process?;
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended.
        let Ok(named) = fs::read_to_string(process.path().join("comm")) else {
            continue;
        };
        if named.starts_with(&name) {
            threads.push(id);
        }
    }
    ensure!(!threads.is_empty(), "the NAPI of {interface} has no thread");
    Ok(threads)
}
