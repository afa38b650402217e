//! Whether a core ran at all: on a virtual machine, others may have it for many milliseconds.
//!
//! A thread goes before everything else on that core and wants to be woken each millisecond. When it is not, nothing else ran
//! there either, but for what the system does in between in interrupts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::cores::{self, THIS_THREAD};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

/// Later than this, the core stood still, ns.
const STILL: i64 = 3_000_000;

/// Whoever works there has caught up after so many times as long.
const CATCHING_UP: i64 = 5;

/// The witness.
pub struct Witness {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<[i64; 2]>>>,
}

/// What it has seen.
#[derive(Debug, Default)]
pub struct Seen(Vec<[i64; 2]>);

impl Witness {
    /// Watches a core from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(core: usize) -> Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = thread::Builder::new()
            .name("witness".to_owned())
            .spawn(move || watch(core, &told))?;
        Ok(Self { ends, thread })
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the system says.
    pub fn seen(self) -> Result<Seen> {
        self.ends.store(true, Relaxed);
        let seen = self.thread.join().ok().context("the witness has panicked")?;
        Ok(Seen(seen?))
    }
}

fn watch(core: usize, ends: &AtomicBool) -> Result<Vec<[i64; 2]>> {
    cores::keep_to(THIS_THREAD, &cores::set_of(&[core]))?;
    cores::schedule(THIS_THREAD, libc::SCHED_FIFO, 2)?;
    let mut still = Vec::with_capacity(1000);
    while !ends.load(Relaxed) {
        let before = now()?;
        thread::sleep(LOOK);
        let after = now()?;
        if after - before > STILL {
            still.push([before, after]);
        }
    }
    Ok(still)
}

impl Seen {
    /// Whether the core had stood still shortly before this time, ns since 1970.
    pub fn explains(&self, at: i64) -> bool {
        let recovered = |[from, until]: &[i64; 2]| until + CATCHING_UP * (until - from);
        self.0.iter().any(|still| (still[0]..recovered(still)).contains(&at))
    }

    /// How often it stood still, and for how long in all.
    pub fn still(&self) -> (usize, Duration) {
        let length = self.0.iter().map(|[from, until]| (until - from).unsigned_abs()).sum();
        (self.0.len(), Duration::from_nanos(length))
    }
}

/// The clock by which the system notes when a packet came, ns since 1970.
fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}
