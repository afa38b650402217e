//! Both ends of a benchmark's calls, and the smallest relay between them.
//!
//! `offer` runs in test runs with live frames: the kernel hands it a frame and sends off what it has made of it. Frames come
//! back to it as relays have left them, so it writes all that a relay may change. `collect` takes note of what arrives, on XDP or,
//! where a relay's packets are the network stack's, on tc.

use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT, xdp_action};
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_redirect};
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::{TcContext, XdpContext};
use voxlane_common::lab::traffic::{BUCKETS, MARK_AT, MARKED_WORDS, MAX_FLOWS, Mark, Offer, Received, bucket, marked};
use voxlane_common::lab::{Course, Target};

use crate::at;

/// What all packets of an end share. One entry each.
#[map]
static COURSES: Array<Course> = Array::with_max_entries(2, 0);

/// The flows, in the order they take turns.
#[map]
static FLOWS_OFFERED: Array<Target> = Array::with_max_entries(MAX_FLOWS, 0);

/// How far it has got. One entry: one core offers.
#[map]
static OFFER: Array<Offer> = Array::with_max_entries(1, 0);

/// What has arrived, by the number of the flow.
#[map]
static RECEIVED: Array<Received> = Array::with_max_entries(MAX_FLOWS, 0);

/// How long packets took, by [`bucket`].
#[map]
static TAKEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(BUCKETS, 0);

/// Where [`hand_on`] sends a frame, by the interface that it arrives on, and its hardware addresses there.
#[map]
static ONWARD: Array<[u32; 4]> = Array::with_max_entries(1024, 0);

/// Sends a packet if one is due. Is run over and over: it is its own clock.
#[xdp]
fn offer(ctx: XdpContext) -> u32 {
    match write(&ctx) {
        // SAFETY: takes numbers only.
        Some(interface) => (unsafe { bpf_redirect(interface, 0) }) as u32,
        None => xdp_action::XDP_DROP,
    }
}

/// The interface to send by.
#[inline(always)]
fn write(ctx: &XdpContext) -> Option<u32> {
    let offer = OFFER.get_ptr_mut(0)?;
    // SAFETY: an array entry lives as long as the map, and one core runs this program at a time.
    let offer = unsafe { &mut *offer };
    // SAFETY: the helper takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let flow = offer.take(now_ns)?;
    let end = flow & 1;
    let course = COURSES.get(end)?;
    let target = FLOWS_OFFERED.get_ptr_mut(flow)?;
    // SAFETY: as above.
    let target = unsafe { &mut *target };
    let count = target.sequence;
    target.sequence = count.wrapping_add(1);
    let words = marked(course, target, &Mark::new(flow, u64::from(count), now_ns));
    let begin = at::<[u64; MARKED_WORDS]>(ctx, 0)?;
    // SAFETY: the bytes are in the frame and belong to this program while it runs; a test run places a frame on a
    // boundary of 256 bytes.
    unsafe { *begin = words };
    Some(if end == 0 {
        offer.interfaces[0]
    } else {
        offer.interfaces[1]
    })
}

/// Takes note of a packet and ends its way; leaves what is not of the benchmark to the network stack.
#[xdp]
fn collect(ctx: XdpContext) -> u32 {
    match at::<[u32; 6]>(&ctx, MARK_AT).and_then(note) {
        Some(()) => xdp_action::XDP_DROP,
        None => xdp_action::XDP_PASS,
    }
}

/// The same, of what comes from a relay that sends through the network stack.
#[classifier]
fn collect_skb(ctx: TcContext) -> i32 {
    let start = ctx.data() + MARK_AT;
    let end = start + size_of::<Mark>();
    let mark = (end <= ctx.data_end()).then_some(start as *mut [u32; 6]);
    match mark.and_then(note) {
        Some(()) => TC_ACT_SHOT,
        None => TC_ACT_OK,
    }
}

#[inline(always)]
fn note(mark: *mut [u32; 6]) -> Option<()> {
    // SAFETY: the bytes are in the packet, at a boundary of 2 at least, which the loads of this target do not mind.
    let [magic, flow, count, count_high, left, left_high] = unsafe { mark.read_unaligned() };
    let long = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let mark = Mark::read(magic, flow, long(count, count_high), long(left, left_high))?;
    let received = RECEIVED.get_ptr_mut(mark.flow)?;
    // SAFETY: an array entry lives as long as the map, and one core collects at a time.
    unsafe { &mut *received }.on(mark.count);
    // SAFETY: the helper takes no arguments.
    let taken = unsafe { bpf_ktime_get_ns() }.wrapping_sub(mark.left_ns);
    let bucket = TAKEN.get_ptr_mut(bucket(taken))?;
    // SAFETY: the entry belongs to this core, where no other packet is taken note of meanwhile.
    unsafe { *bucket += 1 };
    Some(())
}

/// The smallest relay: sends a frame to the other interface, to whom it is meant for there. Its addresses stay as they are.
#[xdp]
fn hand_on(ctx: XdpContext) -> u32 {
    match onward(&ctx) {
        Some(interface) => {
            // SAFETY: takes numbers only.
            (unsafe { bpf_redirect(interface, 0) }) as u32
        }
        None => xdp_action::XDP_PASS,
    }
}

#[inline(always)]
fn onward(ctx: &XdpContext) -> Option<u32> {
    let magic = at::<u32>(ctx, MARK_AT)?;
    // SAFETY: the bytes are in the frame.
    if unsafe { magic.read_unaligned() } != Mark::new(0, 0, 0).magic() {
        return None;
    }
    let [interface, addresses @ ..] = *ONWARD.get(ctx.ingress_ifindex() as u32)?;
    if interface == 0 {
        return None;
    }
    let place = at::<[u32; 3]>(ctx, 0)?;
    // SAFETY: the bytes are in the frame and belong to this program while it runs.
    unsafe { place.write_unaligned(addresses) };
    Some(interface)
}
