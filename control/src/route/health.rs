//! Whether a gateway of a trunk is to be trusted with a call: a state with hysteresis, fed with what was seen of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Longest rest that a gateway may ask for.
const LONGEST_REST: Duration = Duration::from_secs(10 * 60);

/// How much evidence changes a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRules {
    /// How often it is asked (OPTIONS).
    pub interval: Duration,
    /// So many failures in a row, and it is down.
    pub failures: u16,
    /// So many answers in a row, and it is up again.
    pub successes: u16,
}

/// Something that was seen of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It answered.
    Good,
    /// It did not, or said that it cannot.
    Bad,
}

impl Evidence {
    /// What the answer to OPTIONS says: any is one of somebody who lives, but those of one that says it cannot.
    pub fn of_options(status: u16) -> Self {
        match status {
            408 | 503 => Self::Bad,
            _ => Self::Good,
        }
    }

    /// What the answer to a call says: 408 is that of one who has asked in vain.
    pub fn of_call(status: u16) -> Self {
        match status {
            503 => Self::Bad,
            _ => Self::Good,
        }
    }
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is up again.
    Up,
    /// It is down.
    Down,
}

/// The state of one gateway's address. Everybody is up until shown otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    down: bool,
    /// Evidence in a row against the state.
    against: u16,
    /// It asked to be left alone until then.
    rests: Option<Time>,
    /// What was last seen of it, in words.
    last: Option<String>,
}

impl Health {
    /// Whether it is down, or wants to be left alone.
    pub fn is_avoided(&self, now: Time) -> bool {
        self.down || self.rests.is_some_and(|until| now < until)
    }

    /// Whether it is down.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// What was last seen of it, in words.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Takes in what was seen.
    pub fn see(&mut self, evidence: Evidence, what: &str, rules: &HealthRules) -> Option<Change> {
        self.last = Some(what.to_owned());
        let against = match (evidence, self.down) {
            (Evidence::Good, true) | (Evidence::Bad, false) => true,
            (Evidence::Good, false) | (Evidence::Bad, true) => false,
        };
        if !against {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let (needed, change) = match self.down {
            true => (rules.successes, Change::Up),
            false => (rules.failures, Change::Down),
        };
        if self.against < needed {
            return None;
        }
        self.down = !self.down;
        self.against = 0;
        Some(change)
    }

    /// It asked to be left alone for so long (Retry-After of a 503, RFC 3261 section 21.5.4).
    pub fn rest(&mut self, now: Time, wish: Duration) {
        self.rests = Some(now + wish.min(LONGEST_REST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HealthRules = HealthRules {
        interval: Duration::from_secs(30),
        failures: 3,
        successes: 2,
    };

    /// `-` bad, `+` good; what changes with each.
    fn walk(health: &mut Health, evidence: &str) -> Vec<Option<Change>> {
        let see = |c| match c {
            '-' => Evidence::Bad,
            _ => Evidence::Good,
        };
        evidence.chars().map(|c| health.see(see(c), "x", &RULES)).collect()
    }

    #[test]
    fn it_takes_several_in_a_row() {
        let mut health = Health::default();
        assert_eq!(walk(&mut health, "--+--+"), [None; 6]);
        assert_eq!(walk(&mut health, "---"), [None, None, Some(Change::Down)]);
        assert!(health.is_down());
        assert_eq!(walk(&mut health, "+-+-"), [None; 4]);
        assert_eq!(walk(&mut health, "++"), [None, Some(Change::Up)]);
        assert!(!health.is_down());
    }

    #[test]
    fn who_wants_to_rest_is_avoided_for_a_while() {
        let mut health = Health::default();
        let now = Time::from_micros(5);
        health.rest(now, Duration::from_secs(60));
        assert!(health.is_avoided(now + Duration::from_secs(59)));
        assert!(!health.is_avoided(now + Duration::from_secs(60)));
        health.rest(now, Duration::from_secs(86_400));
        assert!(!health.is_avoided(now + LONGEST_REST));
    }

    #[test]
    fn any_answer_is_a_sign_of_life_but_two() {
        for (status, evidence) in [
            (200, Evidence::Good),
            (404, Evidence::Good),
            (405, Evidence::Good),
            (483, Evidence::Good),
            (500, Evidence::Good),
            (408, Evidence::Bad),
            (503, Evidence::Bad),
        ] {
            assert_eq!(Evidence::of_options(status), evidence, "{status}");
        }
    }
}
