//! Parts of the relay's work that no relay with its duties can do without, by themselves: what is left of a goal when
//! these are paid for.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;
use voxlane_common::lab::Line;

use crate::find::{local, place};
use crate::reflect_frame;

/// Two lines a flow and nothing beside them, by [`voxlane_common::lab::Places::of`]; the loader sizes it.
#[map]
static TWO_LINES: Array<[Line; 2]> = Array::with_max_entries(1, 0);

/// The same, five lines.
#[map]
static FIVE_LINES: Array<[Line; 5]> = Array::with_max_entries(1, 0);

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
    touch(&ctx, &TWO_LINES)
}

/// Reads and writes five cache lines of the flow.
#[xdp]
fn touch_five(ctx: XdpContext) -> u32 {
    touch(&ctx, &FIVE_LINES)
}

/// Asks for all lines at once, reads the clock, which waits for them, and writes them.
#[inline(always)]
fn touch<const LINES: usize>(ctx: &XdpContext, flows: &Array<[Line; LINES]>) -> u32 {
    let lines = local(ctx).and_then(|local| flows.get_ptr_mut(place(local)?));
    let Some(lines) = lines else {
        return xdp_action::XDP_DROP;
    };
    // SAFETY: an array entry lives as long as the map, and one core runs this program at a time.
    let lines = unsafe { &mut *lines };
    let mut sum = 0_u64;
    let mut line = 0;
    while line < LINES {
        // SAFETY: a word of the entry. Volatile: it is the reading that counts.
        sum = sum.wrapping_add(unsafe { core::ptr::read_volatile(&lines[line][0]) });
        line += 1;
    }
    // SAFETY: the helper takes no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let mut line = 0;
    while line < LINES {
        lines[line][0] = sum ^ now;
        line += 1;
    }
    xdp_action::XDP_PASS
}
