//! Whether the gateway has too much to do: decided from what is measured twice a second, with hysteresis.
//!
//! One measurement over a limit may be chance; two in a row are not. Calls are taken again once four in a row are well below it
//! (three quarters), so that what was refused meanwhile, and comes again, does not tip it over at once.

use std::time::Duration;

use super::Reason;

/// Measurements over a limit before calls are refused.
const TO_BEGIN: u32 = 2;
/// Measurements well below it before they are taken again.
const TO_END: u32 = 4;
/// What "well below" is, of the limit.
const WELL_BELOW: f64 = 0.75;

/// What is too much; `None`: nothing is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Share of the processors it may run on that the process takes, 0 to 1.
    pub cpu: Option<f64>,
    /// Share of all processors of the host that are busy, 0 to 1.
    pub host_cpu: Option<f64>,
    /// How long messages wait.
    pub delay: Option<Duration>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// As of [`Limits::cpu`]; `None`: it could not be.
    pub cpu: Option<f64>,
    /// As of [`Limits::host_cpu`].
    pub host_cpu: Option<f64>,
    /// As of [`Limits::delay`].
    pub delay: Duration,
}

/// See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overload {
    over: Option<Reason>,
    /// Measurements in a row that speak against what holds.
    against: u32,
}

impl Overload {
    /// Why there is too much to do, if there is.
    pub fn reason(&self) -> Option<Reason> {
        self.over
    }

    /// Takes what was measured; whether there is too much to do from now on.
    pub fn measure(&mut self, limits: &Limits, measured: &Measured) -> Option<Reason> {
        let beyond = beyond(limits, measured, 1.0);
        match self.over {
            None => match beyond {
                Some(reason) => {
                    self.against += 1;
                    if self.against >= TO_BEGIN {
                        (self.over, self.against) = (Some(reason), 0);
                    }
                }
                None => self.against = 0,
            },
            Some(_) => match self::beyond(limits, measured, WELL_BELOW) {
                Some(_) => {
                    self.over = beyond.or(self.over);
                    self.against = 0;
                }
                None => {
                    self.against += 1;
                    if self.against >= TO_END {
                        (self.over, self.against) = (None, 0);
                    }
                }
            },
        }
        self.over
    }
}

/// The first limit of which more than this share is reached.
fn beyond(limits: &Limits, measured: &Measured, share: f64) -> Option<Reason> {
    let more = |limit: Option<f64>, measured: Option<f64>| {
        limit
            .zip(measured)
            .is_some_and(|(limit, measured)| measured > limit * share)
    };
    let delay = Some(measured.delay.as_secs_f64());
    [
        (
            more(limits.delay.map(|limit| limit.as_secs_f64()), delay),
            Reason::Delay,
        ),
        (more(limits.cpu, measured.cpu), Reason::Cpu),
        (more(limits.host_cpu, measured.host_cpu), Reason::HostCpu),
    ]
    .into_iter()
    .find_map(|(beyond, reason)| beyond.then_some(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        cpu: Some(0.8),
        host_cpu: None,
        delay: Some(Duration::from_millis(400)),
    };

    fn cpu(share: f64) -> Measured {
        Measured {
            cpu: Some(share),
            host_cpu: Some(1.0),
            delay: Duration::ZERO,
        }
    }

    fn run(measured: &[Measured]) -> Vec<Option<Reason>> {
        let mut overload = Overload::default();
        measured.iter().map(|one| overload.measure(&LIMITS, one)).collect()
    }

    #[test]
    fn two_measurements_begin_it_and_four_well_below_end_it() {
        let refused = Some(Reason::Cpu);
        assert_eq!(run(&[cpu(0.9), cpu(0.7), cpu(0.9), cpu(0.8)]), [None; 4]);
        assert_eq!(run(&[cpu(0.9), cpu(0.9)]), [None, refused]);
        // Below the limit, but not well below.
        let mut course = vec![cpu(0.9), cpu(0.9)];
        course.extend([cpu(0.7); 10]);
        assert_eq!(run(&course).last(), Some(&refused));
        course.extend([cpu(0.5); 3]);
        assert_eq!(run(&course).last(), Some(&refused));
        course.push(cpu(0.5));
        assert_eq!(run(&course).last(), Some(&None));
    }

    #[test]
    fn what_is_late_counts_and_what_has_no_limit_does_not() {
        let late = Measured {
            delay: Duration::from_millis(500),
            ..Measured::default()
        };
        assert_eq!(run(&[late, late]), [None, Some(Reason::Delay)]);
        assert_eq!(run(&[cpu(0.1); 5]), [None; 5]);
        let unknown = Measured::default();
        assert_eq!(run(&[unknown; 5]), [None; 5]);
    }
}
