//! Which calls the gateway takes on: it has so much to do, has so many calls already, or its trunk has.

use std::collections::HashMap;

use tracing::{info, warn};

use super::core::Core;
use crate::config::model::Config;
use crate::guard::Reason;
use crate::guard::overload::{Measured, Overload};
use crate::guard::rate::Rate;
use crate::ops::report::OverloadReport;
use crate::route::Route;
use crate::time::Time;

/// What is known of that.
#[derive(Debug)]
pub(super) struct Guard {
    overload: Overload,
    measured: Measured,
    /// Why no calls are taken, since when, and how many had been refused then.
    closed: Option<(Reason, Time, u64)>,
    /// Calls alive on each trunk that has a limit.
    alive: HashMap<String, usize>,
    rates: HashMap<String, Rate>,
}

impl Guard {
    /// Of a gateway with no calls.
    pub fn new(config: &Config) -> Self {
        let rates = config.trunks.iter().filter_map(|trunk| {
            let rate = Rate::new(trunk.calls.per_second?, Time::ZERO);
            Some((trunk.name.clone(), rate))
        });
        Self {
            overload: Overload::default(),
            measured: Measured::default(),
            closed: None,
            alive: HashMap::new(),
            rates: rates.collect(),
        }
    }
}

impl Guard {
    /// Whether a trunk has as many calls as it may.
    pub fn is_full(&self, config: &Config, trunk: &str) -> bool {
        let most = config.trunk(trunk).and_then(|(_, trunk)| trunk.calls.most);
        let alive = self.alive.get(trunk).copied().unwrap_or(0);
        most.is_some_and(|most| alive >= most)
    }
}

impl Core {
    /// How much there is to do was measured: to be called twice a second.
    pub fn measured(&mut self, now: Time, measured: Measured) {
        self.guard.measured = measured;
        self.guard.overload.measure(&self.config.overload.limits, &measured);
        self.mind_intake(now);
    }

    /// Takes calls, or takes none, as things are now.
    pub(super) fn mind_intake(&mut self, now: Time) {
        let reason = self
            .guard
            .overload
            .reason()
            .or_else(|| self.is_full().then_some(Reason::Calls));
        let before = self.guard.closed;
        let refused = || self.sip.refused_calls().values().sum::<u64>();
        match (before, reason) {
            (None, None) => {}
            (Some((before, ..)), Some(reason)) if before == reason => {}
            (_, Some(reason)) => {
                warn!(
                    reason = reason.name(),
                    calls = self.calls.len(),
                    cpu = self.guard.measured.cpu,
                    delay_ms = self.guard.measured.delay.as_millis(),
                    "new calls are refused: {}",
                    reason.text()
                );
                let (since, count) = before.map_or_else(|| (now, refused()), |(_, since, count)| (since, count));
                self.guard.closed = Some((reason, since, count));
            }
            (Some((before, since, count)), None) => {
                info!(
                    reason = before.name(),
                    seconds = now.since(since).as_secs(),
                    refused = refused() - count,
                    "new calls are taken again"
                );
                self.guard.closed = None;
            }
        }
        if before.map(|(reason, ..)| reason) != reason {
            self.sip.close_intake(reason);
        }
    }

    /// Whether `sip.max_calls` is reached; once it was, until a twentieth of them has ended.
    fn is_full(&self) -> bool {
        let most = self.config.sip.max_calls;
        let is_full = matches!(self.guard.closed, Some((Reason::Calls, ..)));
        self.calls.len() >= if is_full { most - most / 20 } else { most }
    }

    /// Why no call may begin now, if so.
    pub(super) fn refuses_calls(&mut self, now: Time) -> Option<Reason> {
        self.mind_intake(now);
        self.sip.refuses_calls(now)
    }

    /// Why a call may not take this route, because its trunks have too many already.
    pub(super) fn too_many_on_trunks(&mut self, now: Time, route: &Route) -> Option<Reason> {
        if route.trunks().any(|name| self.guard.is_full(&self.config, name)) {
            return Some(Reason::TrunkCalls);
        }
        let rate = self.guard.rates.get_mut(&route.trunk)?;
        (!rate.take(now)).then_some(Reason::TrunkRate)
    }

    /// A call has begun on these trunks.
    pub(super) fn count_trunks(&mut self, route: &Route) {
        for name in route.trunks() {
            *self.guard.alive.entry(name.clone()).or_default() += 1;
        }
    }

    /// A call is over that began on these.
    pub(super) fn uncount_trunks(&mut self, route: &Route) {
        for name in route.trunks() {
            if let Some(alive) = self.guard.alive.get_mut(name) {
                *alive = alive.saturating_sub(1);
            }
        }
    }

    /// What is told of it.
    pub(super) fn overload_report(&self) -> OverloadReport {
        let Measured { cpu, host_cpu, delay } = self.guard.measured;
        let counts = self.sip.refused_calls();
        OverloadReport {
            refusing: self.guard.closed.map(|(reason, ..)| reason.name().to_owned()),
            cpu,
            host_cpu,
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            refused: Reason::ALL
                .into_iter()
                .map(|reason| (reason.name().to_owned(), counts.get(&reason).copied().unwrap_or(0)))
                .collect(),
        }
    }
}
