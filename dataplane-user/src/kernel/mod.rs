//! The kernel lane: relayed calls forwarded by the XDP program, programmed and read from here.
//!
//! In the order a call meets it:
//! 1. [`load`]: the embedded object is loaded once and attached to the configured interfaces.
//! 2. [`pair`]: two negotiated legs become four flows, RTP and RTCP each way.
//! 3. [`netlink`]: both far ends must be reached through interfaces of the lane, and their next hops be known.
//! 4. [`table`]: the flows are written to the maps the program reads, and its counts are read back.
//! 5. [`primer`]: while the call lives, a thread keeps the next hops' hardware addresses fresh.
//!
//! [`KernelLane`] joins these. Its functions may be called from any thread; they make a few system calls and wait for
//! nothing. It belongs to the network namespace of the thread that started it. Dropping it detaches the program.

#![allow(unsafe_code)]

mod error;
#[cfg(feature = "lab")]
pub mod lab;
mod load;
mod netlink;
mod pair;
mod primer;
mod table;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use voxlane_common::outcome::Outcome;

pub use self::error::{KernelError, Refusal};
pub use self::load::{KernelConfig, TestRun};
use self::netlink::Netlink;
pub use self::pair::{Leg, RelayPair};
use self::primer::Primer;
pub use self::table::FlowRecord;
use self::table::Table;
use crate::lane::Reason;
use crate::media_plane::InterfaceStatus;

/// The XDP relay, attached.
pub struct KernelLane {
    shared: Arc<Shared>,
    interfaces: Vec<InterfaceStatus>,
    /// Ends its thread when dropped.
    _primer: Primer,
    /// Holds the program and its links: dropping it detaches.
    ebpf: Mutex<Ebpf>,
}

/// What the primer's thread needs, too.
struct Shared {
    table: Mutex<Table>,
    netlink: Mutex<Netlink>,
    /// Interfaces the program is attached to.
    attached: Vec<u32>,
}

impl KernelLane {
    /// Loads the program and attaches it.
    ///
    /// Succeeds if at least one interface could be attached; [`Self::interfaces`] tells about each.
    pub fn start(config: &KernelConfig) -> Result<Self, KernelError> {
        let netlink = Netlink::open()?;
        let loaded = load::load(config)?;
        let mut table = loaded.table;
        for address in &config.addresses {
            table.add_address(*address)?;
        }
        let shared = Arc::new(Shared {
            table: Mutex::new(table),
            netlink: Mutex::new(netlink),
            attached: loaded.attached,
        });
        let primer = Primer::start(Arc::clone(&shared))?;
        Ok(Self {
            shared,
            interfaces: loaded.interfaces,
            _primer: primer,
            ebpf: Mutex::new(loaded.ebpf),
        })
    }

    /// How each configured interface fared.
    pub fn interfaces(&self) -> &[InterfaceStatus] {
        &self.interfaces
    }

    /// Serves one more local address; does nothing if it is served already.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<(), KernelError> {
        self.table().add_address(address)
    }

    /// Relays between two legs from now on. Packets of either leg that arrived before are the business of whoever held
    /// the ports.
    ///
    /// Also for legs that are relayed already, after a re-INVITE: counts go on, and a leg whose media address has moved
    /// is found anew.
    pub fn program(&self, pair: &RelayPair) -> Result<(), Refusal> {
        let flows = pair.flows()?;
        let mut gateways = Vec::new();
        for (leg, destination) in pair.destinations() {
            gateways.push(self.shared.next_hop(*leg.local.ip(), destination)?);
        }
        {
            let mut netlink = lock(&self.shared.netlink);
            for (ifindex, address) in gateways {
                if let Err(error) = netlink.prime(ifindex, address) {
                    // Not fatal: the program drops and counts `no_neighbour` until the primer has succeeded.
                    tracing::warn!(%address, %error, "cannot ask for the next hop's hardware address");
                }
            }
        }
        self.table()
            .program(flows)
            .map_err(|error| Refusal::new(Reason::FlowTable, error.to_string()))
    }

    /// Ends the flows of the pair that the leg at `local` (its RTP address) belongs to, and returns the leg's last
    /// counts. Those of the other leg stay readable until it is removed in turn.
    pub fn remove(&self, local: SocketAddrV4) -> Option<FlowRecord> {
        self.table().remove(local)
    }

    /// What was seen of the leg at `local` (its RTP address). `None` if it is not in this lane.
    pub fn read(&self, local: SocketAddrV4) -> Option<FlowRecord> {
        self.table().read(local)
    }

    /// Legs in this lane.
    pub fn legs(&self) -> usize {
        self.table().legs()
    }

    /// Frames by how they ended, since the program was loaded.
    pub fn counters(&self) -> Vec<(Outcome, u64)> {
        self.table().counters()
    }

    /// Runs the program once over `frame` as if it had come in through the interface `ingress` (BPF_PROG_TEST_RUN), for
    /// tests and benchmarks. Flows and counters see the frame; nothing is sent.
    pub fn test_run(&self, frame: &[u8], ingress: u32) -> Result<TestRun, KernelError> {
        load::test_run(&mut lock(&self.ebpf), frame, ingress)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.shared.table)
    }
}

impl Shared {
    /// Interface and address of the next hop towards `destination`, which must be reached through the lane.
    fn next_hop(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Result<(u32, Ipv4Addr), Refusal> {
        let refused = |detail: String| Refusal::new(Reason::InterfaceNotAttached, detail);
        let route = lock(&self.netlink)
            .route(source, destination)
            .map_err(|error| refused(format!("no route from {source} to {destination}: {error}")))?;
        if !route.unicast || !self.attached.contains(&route.ifindex) {
            return Err(refused(format!(
                "{destination} is reached through an interface without the XDP program"
            )));
        }
        Ok((route.ifindex, route.gateway.unwrap_or(destination)))
    }
}

/// Locks a mutex whose data stay consistent even if a holder panicked: every change is a single map write.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
