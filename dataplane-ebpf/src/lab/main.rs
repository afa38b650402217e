//! Programs for tests and benchmarks; the gateway does not carry them.
//!
//! * `pass`: the smallest program there is
//! * `reflect`: the smallest that sends a frame back, which the relay is compared with
//! * `spread`: makes the frame a packet of a flow chosen at random, then runs the program under test. A test run with
//!   repetitions does not restore the frame, and a relay rewrites it
//! * `reflect_timed`, `touch_two`, `touch_five`: parts of the relay's work, by themselves
//! * `read_key`, `find_in_array`, `find_in_hash`: run after `spread`; the difference is what finding a flow costs
//! * `offer`, `collect`, `collect_skb`: both ends of a benchmark's calls; `hand_on`: the smallest relay between them
#![no_std]
#![no_main]
#![allow(unsafe_code)]

mod find;
mod floor;
mod spread;
mod traffic;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Leaves the frame to the network stack.
#[xdp]
fn pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Swaps the hardware addresses and sends the frame back.
#[xdp]
fn reflect(ctx: XdpContext) -> u32 {
    reflect_frame(&ctx)
}

#[inline(always)]
fn reflect_frame(ctx: &XdpContext) -> u32 {
    let Some(addresses) = at::<[[u16; 3]; 2]>(ctx, 0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the bytes are in the frame, which is aligned to 2, and belong to this program while it runs.
    let [destination, source] = unsafe { &mut *addresses };
    core::mem::swap(destination, source);
    xdp_action::XDP_TX
}

/// A pointer to a `T` that lies wholly in the frame.
#[inline(always)]
fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    (start + size_of::<T>() <= ctx.data_end()).then_some(start as *mut T)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
