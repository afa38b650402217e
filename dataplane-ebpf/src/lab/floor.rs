//! Parts of the relay's work that no relay with its duties can do without, by themselves: what is left of a goal when
//! these are paid for.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;
use voxlane_common::lab::{LINE_WORDS, Room};

use crate::find::{local, place};
use crate::reflect_frame;

/// Memory of flows by [`voxlane_common::lab::Places::of`]; the loader sizes it.
#[map]
static ROOMS: Array<Room> = Array::with_max_entries(1, 0);

/// As `reflect`, at a time that is known.
#[xdp]
fn reflect_timed(ctx: XdpContext) -> u32 {
    // SAFETY: the helper takes no arguments.
    match unsafe { bpf_ktime_get_ns() } {
        // Never, but the compiler does not know.
        0 => xdp_action::XDP_ABORTED,
        _ => reflect_frame(&ctx),
    }
}

/// Reads and writes two cache lines of the flow.
#[xdp]
fn touch_two(ctx: XdpContext) -> u32 {
    touch::<2>(&ctx)
}

/// Reads and writes five cache lines of the flow.
#[xdp]
fn touch_five(ctx: XdpContext) -> u32 {
    touch::<5>(&ctx)
}

/// Asks for all lines at once, reads the clock, which waits for them, and writes them.
#[inline(always)]
fn touch<const LINES: usize>(ctx: &XdpContext) -> u32 {
    let room = local(ctx).and_then(|local| ROOMS.get_ptr_mut(place(local)?));
    let Some(room) = room else {
        return xdp_action::XDP_DROP;
    };
    // SAFETY: an array entry lives as long as the map, and one core runs this program at a time.
    let room = unsafe { &mut *room };
    let mut sum = 0_u64;
    let mut line = 0;
    while line < LINES {
        // SAFETY: a word of the entry. Volatile: it is the reading that counts.
        sum = sum.wrapping_add(unsafe { core::ptr::read_volatile(&room[line * LINE_WORDS]) });
        line += 1;
    }
    // SAFETY: the helper takes no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let mut line = 0;
    while line < LINES {
        room[line * LINE_WORDS] = sum ^ now;
        line += 1;
    }
    xdp_action::XDP_PASS
}
