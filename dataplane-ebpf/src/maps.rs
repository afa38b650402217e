//! The maps, and the only functions that touch them.
//!
//! A size of 1 for FLOWS and STATES stands for what the loader makes of the configured port range.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMapHash, PerCpuArray};
use voxlane_common::address::TransportAddress;
use voxlane_common::flow::{Flow, FlowState};
use voxlane_common::outcome::Outcome;
use voxlane_common::ports::PortMap;

/// Which addresses and ports are ours. One entry.
#[map]
static PORT_MAP: Array<PortMap> = Array::with_max_entries(1, 0);

/// The control plane's half of the flow table, indexed by [`PortMap::index`].
#[map]
static FLOWS: Array<Flow> = Array::with_max_entries(1, 0);

/// The data plane's half, same index.
#[map]
static STATES: Array<FlowState> = Array::with_max_entries(1, 0);

/// Interfaces a packet may leave by, keyed by their index.
#[map]
static INTERFACES: DevMapHash = DevMapHash::with_max_entries(64, 0);

/// Frames by [`Outcome::index`].
#[map]
static OUTCOMES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Outcome::COUNT as u32, 0);

/// The entry of a local address and port.
#[inline(always)]
pub fn index(local: TransportAddress) -> Option<u32> {
    PORT_MAP.get(0)?.index(local)
}

/// The control plane's half of a flow.
#[inline(always)]
pub fn flow(index: u32) -> Option<&'static Flow> {
    FLOWS.get(index)
}

/// The data plane's half of a flow.
#[inline(always)]
pub fn state(index: u32) -> Option<&'static mut FlowState> {
    let state = STATES.get_ptr_mut(index)?;
    // SAFETY: an array entry lives as long as the map and any bit pattern is a valid FlowState. Two cores may hold the
    // same entry; a lost count is the worst that comes of it, as every field stands for itself.
    Some(unsafe { &mut *state })
}

/// Counts a frame.
#[inline(always)]
pub fn count(outcome: Outcome) {
    if let Some(counter) = OUTCOMES.get_ptr_mut(outcome.index()) {
        // SAFETY: the entry belongs to this core, and XDP programs of one core do not interrupt each other.
        unsafe { *counter += 1 };
    }
}

/// Sends the packet out of another interface of the kernel lane; `None` if `ifindex` is not one.
#[inline(always)]
pub fn redirect(ifindex: u32) -> Option<()> {
    INTERFACES.redirect(ifindex, 0).ok().map(drop)
}
