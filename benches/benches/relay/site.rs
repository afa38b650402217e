//! Where relays are measured: a namespace of theirs between two ends, and a wire from end to end past them.
//!
//! ```text
//!          caller ──── caller0  relay  callee0 ──── callee
//!             direct0 ─────────────────────── direct1
//! ```
//!
//! Both ends are in one namespace, and on the first core, with all that is done to send and to take in what arrives. What the kernel
//! does to receive for a relay is done there, too: a veth does it in the thread of whoever sends, in batches where much is sent, and no
//! other core has to be woken up. So what is measured of a relay in the kernel is its work, and not the waking of a core of a virtual
//! machine; and the calls that it holds, it holds on a core that it shares with the ends. A relay that is a process has the last core
//! to itself, for its own work and the kernel's part of its sending.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use voxlane_benches::cores;
use voxlane_tests::namespace::Namespace;

/// The ends and the relay's addresses towards them.
pub const CALLER: Ipv4Addr = Ipv4Addr::new(10, 200, 1, 2);
pub const TO_CALLER: Ipv4Addr = Ipv4Addr::new(10, 200, 1, 1);
pub const CALLEE: Ipv4Addr = Ipv4Addr::new(10, 200, 2, 2);
pub const TO_CALLEE: Ipv4Addr = Ipv4Addr::new(10, 200, 2, 1);

/// Who goes before whom on either core. All are real-time: a kernel that preempts lazily lets others wait for its next tick
/// while a thread that only counts what is left of the core has it.
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
    pub relay: Arc<Namespace>,
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
        let (ends, relay) = (Namespace::new(), Arc::new(Namespace::new()));
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
            (&*relay, to_caller),
            (&*relay, to_callee),
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
}

/// The hardware address of an interface, as people write it.
fn hardware(namespace: &Namespace, interface: &str) -> String {
    let (address, _) = namespace.interface(interface);
    address.map(|octet| format!("{octet:02x}")).join(":")
}

/// Runs a script of the shell in a namespace.
///
/// # Errors
/// What it complains of.
pub fn script(namespace: &Namespace, script: &str) -> Result<()> {
    let script = script.to_owned();
    namespace.run(move || {
        let done = Command::new("sh")
            .args(["-ec", &script])
            .output()
            .context("sh cannot be run")?;
        let complaint = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{script}: {complaint}");
        Ok(())
    })
}
