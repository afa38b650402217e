//! A thread that is in the kernel for long, and another one that calls it back.

#![allow(unsafe_code, reason = "the system is told by hand")]

use std::io;
use std::mem::zeroed;

use anyhow::{Result, ensure};

/// A thread that can be called back.
#[derive(Clone, Copy, Debug)]
pub struct Interruptible(libc::pthread_t);

impl Interruptible {
    /// This thread. From now on the signal that is used for it ends nothing but what the thread waits for.
    ///
    /// # Errors
    /// What the system says.
    pub fn this_thread() -> Result<Self> {
        extern "C" fn nothing(_signal: libc::c_int) {}
        // SAFETY: zeros are an action: no flags, so that what the thread waits for is not taken up again.
        let mut action: libc::sigaction = unsafe { zeroed() };
        action.sa_sigaction = nothing as *const () as libc::sighandler_t;
        // SAFETY: the action lives, and its function may be called at any time.
        let set = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
        ensure!(set == 0, "a signal cannot be taken: {}", io::Error::last_os_error());
        // SAFETY: takes nothing.
        Ok(Self(unsafe { libc::pthread_self() }))
    }

    /// Ends the system call it is in, if it is in one. The thread must not have been joined.
    pub fn interrupt(self) {
        // SAFETY: the thread has not been joined, so its name is still its own.
        unsafe { libc::pthread_kill(self.0, libc::SIGUSR1) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_that_waits_is_called_back() {
        let (tell, told) = channel();
        let waiting = thread::spawn(move || {
            tell.send(Interruptible::this_thread().unwrap()).unwrap();
            // SAFETY: takes nothing. It returns when a signal has come.
            unsafe { libc::pause() };
        });
        let waits = told.recv().unwrap();
        while !waiting.is_finished() {
            waits.interrupt();
            thread::sleep(Duration::from_millis(1));
        }
        waiting.join().unwrap();
    }
}
