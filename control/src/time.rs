//! Time as the sans-IO cores see it: an argument, never a clock they read.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: microseconds on the gateway's monotonic clock. Plain data, so that state holding it can be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// A time this many microseconds after the clock's start.
    pub fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's start.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// How long `earlier` lies back; zero if it does not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// The gateway's monotonic clock, read only by the shells around the sans-IO cores.
#[derive(Clone, Copy, Debug)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// Starts the clock.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time now.
    pub fn now(self) -> Time {
        Time::ZERO + self.0.elapsed()
    }

    /// The instant a time stands for, for a runtime's timer.
    pub fn instant(self, time: Time) -> std::time::Instant {
        self.0 + Duration::from_micros(time.0)
    }
}
