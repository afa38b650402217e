//! The workers' clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::io::monotonic_ns;

/// The monotonic clock, as time since the workers were started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
    /// The same moment on the clock of `bpf_ktime_get_ns`.
    began_ns: u64,
}

/// A reading of the clock of `bpf_ktime_get_ns` at some moment, and that moment: all clocks of a process agree.
static BOTH: OnceLock<(u64, Instant)> = OnceLock::new();

impl Clock {
    /// A clock that begins now.
    pub(super) fn start() -> Self {
        let (reading, at) = BOTH.get_or_init(|| (monotonic_ns(), Instant::now()));
        let began = Instant::now();
        let since = u64::try_from(began.saturating_duration_since(*at).as_nanos()).unwrap_or(u64::MAX);
        Self {
            began,
            began_ns: reading.saturating_add(since),
        }
    }

    /// Time since the start.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The form in which the packet decision takes time: ns on the clock that the kernel lane uses, so that a flow can
    /// move between the lanes.
    pub(super) fn monotonic_ns(self, now: Duration) -> u64 {
        self.began_ns + now.as_secs() * 1_000_000_000 + u64::from(now.subsec_nanos())
    }
}
