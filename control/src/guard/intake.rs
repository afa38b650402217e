//! What new calls meet first: whether any are taken now.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reason;
use super::rate::Rate;
use crate::time::Time;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intake {
    closed: Option<Reason>,
    rate: Option<Rate>,
    retry_after: Duration,
    refused: BTreeMap<Reason, u64>,
}

impl Intake {
    /// One that is open for so many calls a second (`None`: any number). Whoever is refused is to come again after a time
    /// between `retry_after` and twice that.
    pub fn new(per_second: Option<u32>, retry_after: Duration) -> Self {
        Self {
            rate: per_second.map(|per_second| Rate::new(per_second, Time::ZERO)),
            retry_after,
            ..Self::default()
        }
    }

    /// Takes no more calls for this reason, or takes them again.
    pub fn close(&mut self, reason: Option<Reason>) {
        self.closed = reason;
    }

    /// Why no call may begin now, if so.
    pub fn reason(&mut self, now: Time) -> Option<Reason> {
        let too_many = |rate: &mut Rate| (!rate.allows(now)).then_some(Reason::Rate);
        self.closed.or_else(|| self.rate.as_mut().and_then(too_many))
    }

    /// A call begins.
    pub fn begins(&mut self, now: Time) {
        if let Some(rate) = &mut self.rate {
            rate.take(now);
        }
    }

    /// A call is refused for this reason; after how many seconds it may come again. `chance` spreads those who are refused
    /// together.
    pub fn refuse(&mut self, reason: Reason, chance: u32) -> u64 {
        *self.refused.entry(reason).or_default() += 1;
        let least = self.retry_after.as_secs().max(1);
        least + u64::from(chance) % (least + 1)
    }

    /// How many were refused, by reason.
    pub fn refused(&self) -> &BTreeMap<Reason, u64> {
        &self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_refused_for_one_reason_and_told_when_to_come_again() {
        let now = Time::from_micros(1);
        let mut intake = Intake::new(Some(2), Duration::from_secs(5));
        assert_eq!(intake.reason(now), None);
        intake.begins(now);
        intake.begins(now);
        assert_eq!(intake.reason(now), Some(Reason::Rate));
        intake.close(Some(Reason::Calls));
        let later = now + Duration::from_secs(1);
        assert_eq!(intake.reason(later), Some(Reason::Calls));
        intake.close(None);
        assert_eq!(intake.reason(later), None);
        for chance in 0..100 {
            assert!((5..=10).contains(&intake.refuse(Reason::Cpu, chance)));
        }
        assert_eq!(intake.refused().get(&Reason::Cpu), Some(&100));
    }
}
