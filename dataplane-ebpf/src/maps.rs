//! The maps, and the only functions that touch them.
//!
//! A size of 1 for FLOWS and STATES stands for what the loader makes of the configured port range. They can be mapped, which
//! nobody does: it makes the kernel begin them at a page, so that their entries keep to cache lines.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, DevMapHash, HashMap, PerCpuArray, RingBuf, XskMap};
use voxlane_common::duration::{self, BUCKETS};
use voxlane_common::event::{Event, Mirrored};
use voxlane_common::flow::{Flow, FlowState};
use voxlane_common::next_hop::{Device, MAX_NEXT_HOPS, NextHop, NextHopId};
use voxlane_common::outcome::{Frames, LOSSES, Loss};
use voxlane_common::ports::PortMap;
use voxlane_common::sockets::{MAX_SOCKETS, SocketRange, WorkerId};

use aya_ebpf::maps::ring_buf::RingBufEntry;

/// Which addresses and ports are ours. One entry.
#[map]
static PORT_MAP: Array<PortMap> = Array::with_max_entries(1, 0);

/// The control plane's half of the flow table, indexed by [`PortMap::index`].
#[map]
static FLOWS: Array<Flow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The data plane's half, same index.
#[map]
static STATES: Array<FlowState> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The neighbours that flows name, kept fresh from userspace.
#[map]
static NEXT_HOPS: Array<NextHop> = Array::with_max_entries(MAX_NEXT_HOPS, 0);

/// The next hop that was looked up for the packet at hand. One entry.
#[map]
static LOOKED_UP: PerCpuArray<NextHop> = PerCpuArray::with_max_entries(1, 0);

/// What stands on the wire for an interface that a route names: itself, or of a VLAN the interface below and the tag.
#[map]
static DEVICES: HashMap<u32, Device> = HashMap::with_max_entries(256, 0);

/// Interfaces a packet may leave by, keyed by their index.
#[map]
static INTERFACES: DevMapHash = DevMapHash::with_max_entries(64, 0);

/// The AF_XDP sockets of workers.
#[map]
static WORKER_SOCKETS: XskMap = XskMap::with_max_entries(MAX_SOCKETS, 0);

/// Those of an interface among them, by its index.
#[map]
static SOCKET_RANGES: HashMap<u32, SocketRange> = HashMap::with_max_entries(64, 0);

/// How many frames the program has begun with, and how they ended. One entry.
#[map]
static FRAMES: PerCpuArray<Frames> = PerCpuArray::with_max_entries(1, 0);

/// Time inside the program, by [`duration::bucket`].
#[map]
static DURATIONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(BUCKETS, 0);

/// What userspace is told.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Frames of flows that are mirrored.
#[map]
static MIRROR: RingBuf = RingBuf::with_byte_size(1 << 22, 0);

/// What userspace was not told because a ring was full, by [`Loss`].
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSSES, 0);

/// Which addresses and ports are ours.
#[inline(always)]
pub fn ports() -> Option<&'static PortMap> {
    PORT_MAP.get(0)
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

/// A neighbour; `None` if it is not known.
#[inline(always)]
pub fn next_hop(id: NextHopId) -> Option<&'static NextHop> {
    if id == NextHopId::UNKNOWN {
        return None;
    }
    NEXT_HOPS.get(id.0).filter(|hop| hop.is_known())
}

/// Where the next hop that is looked up for the packet at hand is kept.
#[inline(always)]
pub fn looked_up() -> Option<&'static mut NextHop> {
    let hop = LOOKED_UP.get_ptr_mut(0)?;
    // SAFETY: the entry belongs to this core, XDP programs of one core do not interrupt each other, and nobody keeps the
    // reference longer than a packet.
    Some(unsafe { &mut *hop })
}

/// What stands on the wire for an interface; `None` if it is not of the kernel lane.
#[inline(always)]
pub fn device(ifindex: u32) -> Option<Device> {
    // SAFETY: an entry may be changed while it is read; the table changes when interfaces come and go only.
    unsafe { DEVICES.get(&ifindex) }.copied()
}

/// Where frames are counted.
#[inline(always)]
pub fn frames() -> Option<&'static mut Frames> {
    let frames = FRAMES.get_ptr_mut(0)?;
    // SAFETY: the entry belongs to this core, XDP programs of one core do not interrupt each other, and only `relay` has the
    // reference.
    Some(unsafe { &mut *frames })
}

/// Counts a packet that took this long, ns.
#[inline(always)]
pub fn count_duration(nanoseconds: u64) {
    add_one(DURATIONS.get_ptr_mut(duration::bucket(nanoseconds)));
}

/// Counts something that userspace was not told.
#[inline(always)]
pub fn count_loss(loss: Loss) {
    add_one(LOST.get_ptr_mut(loss as u32));
}

#[inline(always)]
fn add_one(counter: Option<*mut u64>) {
    if let Some(counter) = counter {
        // SAFETY: the entry belongs to this core, and XDP programs of one core do not interrupt each other.
        unsafe { *counter += 1 };
    }
}

/// Room for an event; `None` if the ring is full.
#[inline(always)]
pub fn event() -> Option<RingBufEntry<Event>> {
    EVENTS.reserve::<Event>(0)
}

/// Room for a mirrored frame; `None` if the ring is full.
#[inline(always)]
pub fn mirrored<const ROOM: usize>() -> Option<RingBufEntry<Mirrored<ROOM>>> {
    MIRROR.reserve::<Mirrored<ROOM>>(0)
}

/// Sends the packet out of another interface of the kernel lane; `None` if `ifindex` is not one.
#[inline(always)]
pub fn redirect(ifindex: u32) -> Option<()> {
    INTERFACES.redirect(ifindex, 0).ok().map(drop)
}

/// Hands the packet to a worker's AF_XDP socket; `None` if the worker has none where it came in.
#[inline(always)]
pub fn give_to_worker(ifindex: u32, queue: u32, worker: WorkerId) -> Option<()> {
    // SAFETY: an entry may be changed while it is read; the table is written before any flow names a worker.
    let range = unsafe { SOCKET_RANGES.get(&ifindex) }?;
    let place = range.place(queue, worker)?;
    WORKER_SOCKETS.redirect(place, u64::from(XDP_PASS)).ok().map(drop)
}
