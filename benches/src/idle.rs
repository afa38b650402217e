//! What others leave of a core: a thread of the lowest priority counts the time that it gets.
//!
//! The system's own figures are taken at ticks, and miss what is shorter and what happens in interrupts. This thread reads the
//! clock over and over; whenever somebody else ran in between (a process, the kernel, an interrupt, another machine on
//! the same processor), the clock has jumped, and the jump is not counted. A core that is watched is never idle, so it
//! does not have to be woken up either: that is the same for all who are measured this way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cores::{self, THIS_THREAD};

/// A reading takes some tens of nanoseconds; after a longer time, somebody else ran.
const JUMP: Duration = Duration::from_nanos(400);

/// Watches cores until it is dropped.
pub struct Idle {
    ends: Arc<AtomicBool>,
    watched: Vec<Watched>,
}

struct Watched {
    left_ns: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// What had been left of each core at a time.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    left_ns: Vec<u64>,
}

impl Idle {
    /// Watches these cores.
    ///
    /// # Errors
    /// What the system says.
    pub fn watch(watched_cores: &[usize]) -> Result<Self> {
        let mut idle = Self {
            ends: Arc::default(),
            watched: Vec::new(),
        };
        for core in watched_cores {
            let (ends, left_ns) = (Arc::clone(&idle.ends), Arc::new(AtomicU64::new(0)));
            let (told, set) = (Arc::clone(&left_ns), cores::set_of(&[*core]));
            let (tell, kept) = std::sync::mpsc::sync_channel(1);
            let thread = thread::Builder::new().name(format!("idle {core}")).spawn(move || {
                let prepared = cores::keep_to(THIS_THREAD, &set);
                let prepared = prepared.and_then(|()| cores::schedule(THIS_THREAD, libc::SCHED_IDLE, 0));
                let goes_on = prepared.is_ok();
                if tell.send(prepared).is_ok() && goes_on {
                    count(&ends, &told);
                }
            })?;
            idle.watched.push(Watched {
                left_ns,
                thread: Some(thread),
            });
            kept.recv().context("a thread that ended at once")??;
        }
        Ok(idle)
    }

    /// What has been left so far.
    pub fn read(&self) -> Reading {
        Reading {
            at: Instant::now(),
            left_ns: self
                .watched
                .iter()
                .map(|watched| watched.left_ns.load(Relaxed))
                .collect(),
        }
    }
}

impl Reading {
    /// How much of each core was in use since an earlier reading, 0 to 1, in the order in which they are watched.
    pub fn used_since(&self, earlier: &Self) -> Vec<f64> {
        let elapsed = self.at.duration_since(earlier.at).as_nanos() as f64;
        let left = self.left_ns.iter().zip(&earlier.left_ns).map(|(now, then)| now - then);
        left.map(|left| (1.0 - left as f64 / elapsed).clamp(0.0, 1.0)).collect()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        for thread in self.watched.iter_mut().filter_map(|watched| watched.thread.take()) {
            // It counts, and cannot panic.
            let _ended = thread.join();
        }
    }
}

fn count(ends: &AtomicBool, left_ns: &AtomicU64) {
    let mut left = 0;
    let mut last = Instant::now();
    while !ends.load(Relaxed) {
        let now = Instant::now();
        let passed = now - last;
        last = now;
        if passed < JUMP {
            left += passed.subsec_nanos();
            // Nobody else writes it.
            if left >= 1_000 {
                left_ns.fetch_add(u64::from(left), Relaxed);
                left = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_core_is_not_in_use() {
        let at = Instant::now();
        let earlier = Reading {
            at,
            left_ns: vec![500, 0, 7],
        };
        let later = Reading {
            at: at + Duration::from_nanos(1_000),
            left_ns: vec![1_250, 0, 1_007],
        };
        assert_eq!(later.used_since(&earlier), [0.25, 1.0, 0.0]);
    }

    #[test]
    fn cores_that_are_not_there_are_refused() {
        assert!(Idle::watch(&[1_000]).is_err());
    }
}
