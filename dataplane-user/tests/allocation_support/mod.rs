//! What the allocation tests share: an allocator that counts what one thread, of a given name, asks of it. It is the allocator
//! of every test crate that has this module.

#![allow(dead_code, reason = "each test crate uses a part")]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The thread whose allocations are counted; 0: none.
static COUNTED: AtomicI32 = AtomicI32::new(0);

/// Allocations, reallocations and releases of that thread.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Where the first of them were made.
static TRACES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

/// Most traces that are kept: an allocation that ought not to be is seldom alone.
const MOST_TRACES: u64 = 12;

/// Held by the test whose turn it is.
static TURN: Mutex<()> = Mutex::new(());

/// A turn to count: tests of one crate count one after the other, for their workers have the same names. It is to be taken
/// before the threads are started.
pub struct Turn(#[expect(dead_code, reason = "it is held")] MutexGuard<'static, ()>);

impl Turn {
    /// Waits until it is this test's.
    pub fn wait() -> Self {
        Self(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts from now on what the thread of this name asks for; it is at 0.
    ///
    /// # Panics
    /// If there is no thread of this name, or more than one.
    pub fn count(&self, thread: &str) {
        count_of(the_one_named(thread));
    }

    /// Counts from now on what the calling thread asks for; it is at 0.
    pub fn count_this_thread(&self) {
        // SAFETY: gettid has no conditions.
        count_of(unsafe { libc::gettid() });
    }

    /// Allocations, reallocations and releases since then.
    pub fn counted(&self) -> u64 {
        CALLS.load(SeqCst)
    }

    /// # Panics
    /// If there were any since then; where they were made is on standard error.
    pub fn assert_none(&self) {
        let counted = self.counted();
        if counted > 0 {
            let traces = std::mem::take(&mut *TRACES.lock().unwrap_or_else(PoisonError::into_inner));
            for trace in traces {
                eprintln!("{trace}\n");
            }
            panic!("{counted} allocations");
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        COUNTED.store(0, SeqCst);
    }
}

fn count_of(thread: i32) {
    COUNTED.store(thread, SeqCst);
    CALLS.store(0, SeqCst);
    TRACES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The thread of this process that has this name.
fn the_one_named(name: &str) -> i32 {
    let mut named = Vec::new();
    for entry in fs::read_dir("/proc/self/task").unwrap() {
        let entry = entry.unwrap();
        // A thread may have ended since.
        if fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name) {
            named.push(entry.file_name().to_str().unwrap().parse().unwrap());
        }
    }
    let [one] = named.as_slice() else {
        panic!("{} threads are named {name}", named.len());
    };
    *one
}

struct Counting;

fn count() {
    let counted = COUNTED.load(SeqCst);
    // SAFETY: gettid has no conditions.
    if counted != 0 && unsafe { libc::gettid() } == counted {
        let before = CALLS.fetch_add(1, SeqCst);
        if before < MOST_TRACES {
            // What a trace allocates is not counted; its names are looked up when it is shown.
            COUNTED.store(0, SeqCst);
            let trace = Backtrace::force_capture();
            TRACES.lock().unwrap_or_else(PoisonError::into_inner).push(trace);
            COUNTED.store(counted, SeqCst);
        }
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
