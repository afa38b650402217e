//! Memory that is needed in a moment is asked for now: a worker's calls do not fit into its core's caches, and one that waits
//! for each piece of each call in turn waits most of its time.

#![allow(unsafe_code)]

use std::ptr;

/// Bytes that come together.
const LINE: usize = 64;

/// How near the moment is in which something is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nearness {
    /// What is known by its place is asked for.
    Near,
    /// So is what is known from that: by then it is there to be read.
    Next,
}

/// Asks for the memory in which `value` lies. It is read by nobody here, so there is nothing to wait for.
#[inline(always)]
pub(crate) fn ask_for<T: ?Sized>(value: &T) {
    ask_for_bytes(ptr::from_ref(value).cast(), size_of_val(value));
}

/// The same of `length` bytes from `first` on, wherever that is.
#[inline(always)]
pub(crate) fn ask_for_bytes(first: *const u8, length: usize) {
    let mut offset = 0;
    while offset < length {
        ask_for_line(first.wrapping_add(offset));
        offset += LINE;
    }
    if length > 0 {
        ask_for_line(first.wrapping_add(length - 1));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ask_for_line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every processor of this architecture has it, and it is a hint, which is right for any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn ask_for_line(_at: *const u8) {}
