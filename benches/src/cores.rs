//! Which threads run where, and which go first.

#![allow(unsafe_code, reason = "the system is told by hand")]

use std::io;
use std::mem::{size_of, zeroed};

use anyhow::{Result, ensure};

/// The thread that asks.
pub const THIS_THREAD: i32 = 0;

/// The cores that this thread may run on.
///
/// # Errors
/// What the system says.
pub fn allowed() -> Result<libc::cpu_set_t> {
    let mut set = set_of(&[]);
    // SAFETY: the set lives, and has the length it says.
    let told = unsafe { libc::sched_getaffinity(THIS_THREAD, size_of::<libc::cpu_set_t>(), &raw mut set) };
    ensure!(told == 0, "no list of cores: {}", io::Error::last_os_error());
    Ok(set)
}

/// Keeps a thread, and those it will start, to these cores.
///
/// # Errors
/// What the system says.
pub fn keep_to(thread: i32, set: &libc::cpu_set_t) -> Result<()> {
    // SAFETY: the set lives, and has the length it says.
    let kept = unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), set) };
    ensure!(
        kept == 0,
        "a thread cannot be kept to its cores: {}",
        io::Error::last_os_error()
    );
    Ok(())
}

/// Lets a thread run by another policy.
///
/// # Errors
/// What the system says.
pub fn schedule(thread: i32, policy: i32, priority: i32) -> Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameters live.
    let set = unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) };
    ensure!(
        set == 0,
        "a thread cannot be scheduled otherwise: {}",
        io::Error::last_os_error()
    );
    Ok(())
}

/// The set of these cores.
pub fn set_of(cores: &[usize]) -> libc::cpu_set_t {
    // SAFETY: zeros are an empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    for core in cores {
        // SAFETY: what is beyond the set's end is left alone.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    set
}

/// A set without one of its cores.
pub fn without(mut set: libc::cpu_set_t, core: usize) -> libc::cpu_set_t {
    // SAFETY: what is beyond the set's end is left alone.
    unsafe { libc::CPU_CLR(core, &mut set) };
    set
}

/// The numbers of a set's cores, in ascending order.
pub fn numbers(set: &libc::cpu_set_t) -> Vec<usize> {
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: no number is beyond the set's end.
    all.filter(|core| unsafe { libc::CPU_ISSET(*core, set) }).collect()
}
