//! The workers' clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::io::monotonic_ns;

/// The monotonic clock, as time since the workers were started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub(super) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A reading of the clock of `bpf_ktime_get_ns` at some moment, and that moment.
static BOTH: OnceLock<(u64, Instant)> = OnceLock::new();

impl Clock {
    /// The form in which the packet decision takes time: ns on the clock that the kernel lane uses, so that a flow can
    /// move between the lanes.
    pub(super) fn monotonic_ns(self, now: Duration) -> u64 {
        let (reading, at) = BOTH.get_or_init(|| (monotonic_ns(), Instant::now()));
        let begun = self.0.saturating_duration_since(*at).as_nanos() as i128
            - at.saturating_duration_since(self.0).as_nanos() as i128;
        u64::try_from(i128::from(*reading) + begun + now.as_nanos() as i128).unwrap_or_default()
    }
}
