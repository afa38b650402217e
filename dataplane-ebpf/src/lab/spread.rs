//! `spread`: a packet of the flow whose turn it is, then the program under test.
//!
//! The flows are in random order where they are chosen from, and are gone through from end to end: the processor sees
//! which comes next and has it ready, as a driver has the headers of the packets it received. With a choice at random here
//! the program under test would be charged for waiting for it.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use voxlane_common::lab::{Course, MAX_TARGETS, Target, WORDS};

use crate::at;

/// What all packets share. One entry.
#[map]
static COURSE: Array<Course> = Array::with_max_entries(1, 0);

/// The flows, in the order they are gone through.
#[map]
static TARGETS: Array<Target> = Array::with_max_entries(MAX_TARGETS, 0);

/// The flow of the last packet. One entry.
#[map]
static PLACE: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// The program under test. One entry.
#[map]
static SUBJECT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Writes the headers and goes on to the program under test; aborts if there is none.
#[xdp]
fn spread(ctx: XdpContext) -> u32 {
    if write(&ctx).is_some() {
        // SAFETY: nothing here is left to be dropped.
        unsafe { SUBJECT.tail_call(&ctx, 0) };
    }
    xdp_action::XDP_ABORTED
}

#[inline(always)]
fn write(ctx: &XdpContext) -> Option<()> {
    let course = COURSE.get(0)?;
    let place = PLACE.get_ptr_mut(0)?;
    // SAFETY: the entry belongs to this core, and XDP programs of one core do not interrupt each other.
    let place = unsafe {
        *place = course.after(*place);
        *place
    };
    let target = TARGETS.get_ptr_mut(place)?;
    // SAFETY: an array entry lives as long as the map, and one core runs this program at a time.
    let target = unsafe { &mut *target };
    target.sequence = target.sequence.wrapping_add(1);
    let words = course.headers(target);
    let headers = at::<[u64; WORDS]>(ctx, 0)?;
    // SAFETY: the bytes are in the frame and belong to this program while it runs; a test run places a frame on a
    // boundary of 256 bytes.
    unsafe { *headers = words };
    Some(())
}
