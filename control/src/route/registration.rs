//! Being known to a carrier: when a REGISTER is due, and what its answer means (RFC 3261 section 10.2). A state machine
//! without I/O; the gateway sends what it asks for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// First wait after a failure.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// Longest time that a 423 or a Retry-After can make us take.
const LONGEST_EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);
/// Shortest time between a registration and its refresh, whatever the registrar says.
const SHORTEST_REFRESH: Duration = Duration::from_secs(5);

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// A REGISTER is due then.
    Waiting {
        /// When.
        until: Time,
    },
    /// One is on its way.
    Asking,
    /// The one that ends the registration is on its way.
    Leaving,
    /// Nothing more will be sent.
    Gone,
}

/// One trunk's registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    state: State,
    /// How long we ask for.
    expires: Duration,
    /// Until when we are known.
    known_until: Option<Time>,
    /// Failures in a row.
    failures: u32,
    /// The last answer, in words.
    last: Option<String>,
}

/// What a REGISTER was answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered<'a> {
    /// Final status; 408 or 503 where there was none.
    pub status: u16,
    /// In words.
    pub text: &'a str,
    /// How long we are known.
    pub expires: Option<Duration>,
    /// Min-Expires.
    pub min_expires: Option<Duration>,
    /// Retry-After.
    pub retry_after: Option<Duration>,
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// We are known.
    Registered,
    /// We are known still, or not any more than before.
    Nothing,
    /// It has failed.
    Failed,
}

impl Registration {
    /// One that begins now, and asks to be known for so long.
    pub fn new(now: Time, expires: Duration) -> Self {
        Self {
            state: State::Waiting { until: now },
            expires,
            known_until: None,
            failures: 0,
            last: None,
        }
    }

    /// Whether we are known.
    pub fn is_known(&self, now: Time) -> bool {
        self.known_until.is_some_and(|until| now < until)
    }

    /// How long we are known from now on.
    pub fn known_for(&self, now: Time) -> Option<Duration> {
        self.known_until
            .map(|until| until.since(now))
            .filter(|left| !left.is_zero())
    }

    /// The last answer, in words.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// When a REGISTER is due.
    pub fn wake(&self) -> Option<Time> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Asking | State::Leaving | State::Gone => None,
        }
    }

    /// Whether a REGISTER is to be sent now; if so it counts as sent.
    pub fn is_due(&mut self, now: Time) -> bool {
        match self.state {
            State::Waiting { until } if until <= now => {
                self.state = State::Asking;
                true
            }
            State::Waiting { .. } | State::Asking | State::Leaving | State::Gone => false,
        }
    }

    /// What Expires of the REGISTER on its way says.
    pub fn asked(&self) -> Duration {
        match self.state {
            State::Leaving | State::Gone => Duration::ZERO,
            State::Waiting { .. } | State::Asking => self.expires,
        }
    }

    /// Whether nothing more will come of it.
    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// The gateway ends: whether a REGISTER that takes us back is to be sent.
    pub fn leave(&mut self, now: Time) -> bool {
        let known = self.is_known(now) || self.state == State::Asking;
        self.state = if known { State::Leaving } else { State::Gone };
        known
    }

    /// An answer came, or none. `chance` is from 0 to 1: what keeps a thousand gateways from asking at once.
    pub fn on_answer(&mut self, now: Time, answered: &Answered<'_>, chance: f64) -> News {
        let Answered {
            status,
            text,
            expires,
            min_expires,
            retry_after,
        } = *answered;
        match self.state {
            State::Leaving => {
                self.state = State::Gone;
                self.known_until = None;
                return News::Nothing;
            }
            State::Waiting { .. } | State::Gone => return News::Nothing,
            State::Asking => {}
        }
        self.last = Some(text.to_owned());
        match status {
            200..=299 => {
                let granted = expires.unwrap_or(self.expires).min(LONGEST_EXPIRES);
                let was_known = self.is_known(now);
                self.known_until = Some(now + granted);
                self.failures = 0;
                // Before four fifths of it are over, so that a failure can be mended in time.
                let refresh = granted.mul_f64(0.7 + 0.1 * chance).max(SHORTEST_REFRESH);
                self.state = State::Waiting { until: now + refresh };
                match was_known {
                    true => News::Nothing,
                    false => News::Registered,
                }
            }
            // Too short for the registrar: at once again, if it says how long, and that is longer.
            423 if min_expires.is_some_and(|least| least > self.expires && least <= LONGEST_EXPIRES) => {
                self.expires = min_expires.unwrap_or(self.expires);
                self.state = State::Waiting { until: now };
                News::Nothing
            }
            _ => {
                self.failures = self.failures.saturating_add(1);
                let doubled = FIRST_WAIT * 2_u32.saturating_pow(self.failures.saturating_sub(1).min(10));
                let wait = doubled.min(LONGEST_WAIT).mul_f64(0.5 + 0.5 * chance);
                let wait = retry_after.map_or(wait, |asked| wait.max(asked.min(LONGEST_EXPIRES)));
                self.state = State::Waiting { until: now + wait };
                News::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn answered(status: u16) -> Answered<'static> {
        Answered {
            status,
            text: "x",
            expires: None,
            min_expires: None,
            retry_after: None,
        }
    }

    /// When the next REGISTER leaves, in seconds from `now`.
    fn due_in(registration: &Registration, now: Time) -> u64 {
        registration.wake().unwrap().since(now).as_secs()
    }

    #[test]
    fn it_is_refreshed_before_what_the_registrar_granted_is_over() {
        let now = Time::from_micros(1);
        let mut one = Registration::new(now, HOUR);
        assert!(one.is_due(now) && !one.is_due(now));
        assert_eq!(one.asked(), HOUR);
        let granted = Answered {
            expires: Some(Duration::from_secs(100)),
            ..answered(200)
        };
        assert_eq!(one.on_answer(now, &granted, 0.5), News::Registered);
        assert_eq!(due_in(&one, now), 75);
        let later = now + Duration::from_secs(75);
        assert!(one.is_known(later) && one.is_due(later));
        assert_eq!(one.on_answer(later, &granted, 0.5), News::Nothing);
        assert!(!one.is_known(later + Duration::from_secs(100)));
    }

    #[test]
    fn a_time_that_is_too_short_is_made_longer_at_once_and_only_longer() {
        let now = Time::from_micros(1);
        let mut one = Registration::new(now, Duration::from_secs(60));
        one.is_due(now);
        let brief = |seconds| Answered {
            min_expires: Some(Duration::from_secs(seconds)),
            ..answered(423)
        };
        assert_eq!(one.on_answer(now, &brief(600), 0.0), News::Nothing);
        assert!(one.is_due(now));
        assert_eq!(one.asked(), Duration::from_secs(600));
        // The same again would go round for ever.
        assert_eq!(one.on_answer(now, &brief(600), 0.0), News::Failed);
        assert!(!one.is_due(now));
    }

    #[test]
    fn failures_are_tried_again_ever_more_slowly() {
        let mut now = Time::from_micros(1);
        let mut one = Registration::new(now, HOUR);
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert!(one.is_due(now));
            assert_eq!(one.on_answer(now, &answered(503), 1.0), News::Failed);
            waits.push(due_in(&one, now));
            now = one.wake().unwrap();
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert!(one.is_due(now));
        let asked = Answered {
            retry_after: Some(Duration::from_secs(1000)),
            ..answered(503)
        };
        one.on_answer(now, &asked, 0.0);
        assert_eq!(due_in(&one, now), 1000);
    }

    #[test]
    fn who_leaves_takes_himself_back_if_he_is_known() {
        let now = Time::from_micros(1);
        let mut unknown = Registration::new(now, HOUR);
        assert!(!unknown.leave(now) && unknown.is_gone());
        let mut known = Registration::new(now, HOUR);
        known.is_due(now);
        known.on_answer(now, &answered(200), 0.0);
        assert!(known.leave(now));
        assert_eq!((known.asked(), known.is_gone()), (Duration::ZERO, false));
        known.on_answer(now, &answered(200), 0.0);
        assert!(known.is_gone() && !known.is_known(now));
    }

    #[test]
    fn a_registrar_that_grants_no_time_is_not_asked_all_the_time() {
        let now = Time::from_micros(1);
        let mut one = Registration::new(now, HOUR);
        one.is_due(now);
        let none = Answered {
            expires: Some(Duration::ZERO),
            ..answered(200)
        };
        one.on_answer(now, &none, 0.0);
        assert_eq!(due_in(&one, now), SHORTEST_REFRESH.as_secs());
    }
}
