//! From `relay` to `pace`: a packet that is to leave later goes up the stack with a note in front of it, and the tc
//! program, which meets it before the stack does, gives it its time and sends it to the queue of its interface.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::helpers::{bpf_redirect, bpf_skb_set_tstamp, bpf_xdp_adjust_meta};
use aya_ebpf::programs::{TcContext, XdpContext};
use voxlane_common::drops::DropReason;

/// What is noted.
#[repr(C)]
#[derive(Clone, Copy)]
struct Note {
    magic: u32,
    /// Interface to leave by.
    ifindex: u32,
    /// When, ns on the monotonic clock.
    time_ns: u64,
}

/// Tells our notes from other programs'.
const MAGIC: u32 = u32::from_be_bytes(*b"vxlp");

/// `BPF_SKB_TSTAMP_DELIVERY_MONO`: the time is that of delivery, on the monotonic clock.
const DELIVERY_TIME: u32 = 1;

/// Puts the note in front of the frame.
///
/// # Errors
/// If the driver leaves no room for it. The flow's interfaces were looked at when it was programmed, so that this is a
/// frame that has met another program's notes.
#[inline(always)]
pub fn to_pace(ctx: &XdpContext, ifindex: u32, time_ns: u64) -> Result<(), DropReason> {
    let note = Note {
        magic: MAGIC,
        ifindex,
        time_ns,
    };
    // SAFETY: the context is the program's own.
    if unsafe { bpf_xdp_adjust_meta(ctx.ctx, -(size_of::<Note>() as i32)) } != 0 {
        return Err(DropReason::NoRoute);
    }
    let start = ctx.metadata();
    if start + size_of::<Note>() > ctx.data() {
        return Err(DropReason::NoRoute);
    }
    // SAFETY: between the metadata's beginning and the frame's, as was just checked; the kernel aligns it to 4 bytes.
    unsafe { (start as *mut Note).write_unaligned(note) };
    Ok(())
}

/// Gives a packet its time and sends it on; leaves every packet without a note to the stack.
#[inline(always)]
pub fn from_relay(ctx: &TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: the context is the program's own; the kernel makes these fields pointers into the packet.
    let (start, end) = unsafe { ((*skb).data_meta as usize, (*skb).data as usize) };
    if start + size_of::<Note>() > end {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: as was just checked.
    let note = unsafe { (start as *const Note).read_unaligned() };
    if note.magic != MAGIC {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: plain helpers on the program's own context. A refused time means that the packet leaves at once.
    unsafe {
        bpf_skb_set_tstamp(skb, note.time_ns, DELIVERY_TIME);
        bpf_redirect(note.ifindex, 0) as i32
    }
}
