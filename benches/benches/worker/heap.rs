//! How many bytes of the heap are in use, by all threads but those that ask to be left out.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Bytes in use.
static IN_USE: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(true) };
}

/// What the counted threads have asked for and not given back, bytes.
pub fn in_use() -> i64 {
    IN_USE.load(Relaxed)
}

/// What this thread asks for from now on is not counted. It must not give back what others have asked for, nor they what it
/// has.
pub fn leave_this_thread_out() {
    COUNTS.set(false);
}

struct Counting;

fn count(bytes: usize, sign: i64) {
    if COUNTS.get() {
        // Nothing is as long as that.
        IN_USE.fetch_add(sign * bytes as i64, Relaxed);
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as for the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: as for the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
