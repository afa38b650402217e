//! How many calls may begin in a second: a bucket that fills with time and that each call takes from (a token bucket of one
//! second's size).

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// The bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Calls a second.
    per_second: f64,
    /// Calls that may begin at once.
    left: f64,
    /// When that was so.
    at: Time,
}

impl Rate {
    /// So many calls a second; a second's worth may come at once.
    pub fn new(per_second: u32, now: Time) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            left: per_second,
            at: now,
        }
    }

    /// Whether a call may begin.
    pub fn allows(&mut self, now: Time) -> bool {
        let passed = now.since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.per_second.max(1.0));
        self.at = self.at.max(now);
        self.left >= 1.0
    }

    /// Takes a call from it, if there is one.
    pub fn take(&mut self, now: Time) -> bool {
        let allows = self.allows(now);
        if allows {
            self.left -= 1.0;
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_seconds_worth_at_once_and_then_as_time_passes() {
        let start = Time::from_micros(5);
        let mut rate = Rate::new(10, start);
        let taken = |rate: &mut Rate, now| (0..100).filter(|_| rate.take(now)).count();
        assert_eq!(taken(&mut rate, start), 10);
        assert_eq!(taken(&mut rate, start + Duration::from_millis(350)), 3);
        // What is not used is not saved up.
        assert_eq!(taken(&mut rate, start + Duration::from_secs(60)), 10);
        assert!(!rate.allows(start));
    }
}
