//! What userspace is told: copies of telephone events and reports, addresses that were found, mirrored frames.
//!
//! Nothing here decides about a packet: what cannot be told is counted.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_xdp_load_bytes;
use aya_ebpf::programs::XdpContext;
use voxlane_common::event::{COPIED, Event, EventHeader, EventKind, MIRRORED, MIRRORED_SHORT, MirrorHeader};
use voxlane_common::flow::Flow;
use voxlane_common::frame::{Datagram, Frame};
use voxlane_common::outcome::Loss;

use crate::maps;
use crate::parse::XdpFrame;

/// A packet's flow and time.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Its flow.
    pub flow: &'a Flow,
    /// The flow's entry.
    pub index: u32,
    /// When it arrived.
    pub now_ns: u64,
}

/// Copies a packet's payload to userspace. Called before the packet is changed.
#[inline(always)]
pub fn copy(ctx: &XdpContext, seen: Seen, kind: EventKind, datagram: &Datagram) {
    let length = datagram.length as usize;
    event(ctx, seen, kind, datagram.payload_offset, length);
}

/// Tells that a flow comes from somewhere else than was signalled.
#[inline(always)]
pub fn found(ctx: &XdpContext, seen: Seen) {
    event(ctx, seen, EventKind::Found, 0, 0);
}

#[inline(always)]
fn event(ctx: &XdpContext, seen: Seen, kind: EventKind, offset: usize, length: usize) {
    let Some(mut room) = maps::event() else {
        maps::count_loss(Loss::Event);
        return;
    };
    let length = if length > COPIED { COPIED } else { length };
    let header = Event::header(kind, seen.index, seen.flow.generation(), seen.now_ns, length as u32);
    let place = room.as_mut_ptr();
    // SAFETY: the ring's room is an Event, which begins with an EventHeader.
    unsafe { place.cast::<EventHeader>().write(header) };
    // SAFETY: behind the header there are COPIED bytes.
    let bytes = unsafe { place.cast::<u8>().add(size_of::<EventHeader>()) };
    if length == 0 || load::<COPIED>(ctx, offset, bytes, length) {
        room.submit(0);
    } else {
        room.discard(0);
        maps::count_loss(Loss::Event);
    }
}

/// Copies the frame to userspace as it arrived.
#[inline(always)]
pub fn mirror(ctx: &XdpContext, seen: Seen) {
    let length = XdpFrame(ctx).length();
    let told = if length <= MIRRORED_SHORT {
        mirror_into::<MIRRORED_SHORT>(ctx, seen, length)
    } else {
        mirror_into::<MIRRORED>(ctx, seen, length)
    };
    if told.is_none() {
        maps::count_loss(Loss::Mirrored);
    }
}

#[inline(always)]
fn mirror_into<const ROOM: usize>(ctx: &XdpContext, seen: Seen, length: usize) -> Option<()> {
    let mut room = maps::mirrored::<ROOM>()?;
    let copied = if length > ROOM { ROOM } else { length };
    let header = MirrorHeader {
        at_ns: seen.now_ns,
        index: seen.index,
        generation: seen.flow.generation(),
        length: length as u32,
        copied: copied as u32,
    };
    let place = room.as_mut_ptr();
    // SAFETY: the ring's room is a Mirrored, which begins with its header.
    unsafe { place.cast::<MirrorHeader>().write(header) };
    // SAFETY: behind the header there are ROOM bytes.
    let bytes = unsafe { place.cast::<u8>().add(size_of::<MirrorHeader>()) };
    if load::<ROOM>(ctx, 0, bytes, copied) {
        room.submit(0);
        Some(())
    } else {
        room.discard(0);
        None
    }
}

/// Copies part of the frame into room for `ROOM` bytes; whether it is all there.
#[inline(always)]
fn load<const ROOM: usize>(ctx: &XdpContext, offset: usize, to: *mut u8, length: usize) -> bool {
    // The compiler knows that the length is in bounds, the eBPF verifier wants to see it; before Linux 6.8 it learns nothing
    // from a comparison with zero.
    let last = core::hint::black_box(length.wrapping_sub(1));
    if last >= ROOM {
        return false;
    }
    let length = last + 1;
    // SAFETY: `to` has room for `length` bytes, by its callers and by the verifier.
    unsafe { bpf_xdp_load_bytes(ctx.as_ptr().cast(), offset as u32, to.cast(), length as u32) == 0 }
}
