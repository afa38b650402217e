//! What a call whose agent has failed does instead: what the configuration has for it, as the call needs it.

use tracing::warn;
use voxlane_dataplane::media_plane::FailureKind;

use super::core::Core;
use super::live::{Live, LiveLeg};
use crate::call::fallback::Fallback;
use crate::call::transfer::Target;
use crate::call::{CallId, Event, Plan, Side};
use crate::config::model::{self, Callee};
use crate::route;
use crate::time::Time;

impl Core {
    /// An agent has failed.
    pub(super) fn count_failure(&mut self, kind: FailureKind) {
        self.totals.agents_failed += 1;
        self.totals.agent_failures[kind as usize] += 1;
    }

    /// What is to be done about the agent of a call, which has failed in this way.
    pub(super) fn fall_back(&mut self, now: Time, id: CallId, kind: FailureKind) -> Option<Event> {
        let live = self.calls.get(&id)?;
        let agent = live.call.agent().map(|(name, _)| name.to_owned()).unwrap_or_default();
        let mut fallback = self.fallback(live, &agent, kind);
        warn!(call = %id, agent, kind = kind.word(), then = %fallback, "the agent has failed");
        match &mut fallback {
            Fallback::HangUp { .. } => {}
            Fallback::Agent { name, .. } => {
                self.totals.agent_fallbacks += 1;
                if let Some(live) = self.calls.get_mut(&id) {
                    live.agent = Some(name.clone());
                }
            }
            Fallback::Call { target, .. } => {
                self.totals.agent_fallbacks += 1;
                self.order_ways(now, &target.trunk, &mut target.outbound.ways);
                self.prepare_leg(id, target);
            }
        }
        Some(Event::FallBack(fallback))
    }

    /// The leg that is placed instead belongs to its trunk: leg B of a caller who is not answered, else the third.
    fn prepare_leg(&mut self, id: CallId, target: &Target) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        if live.call.answered().is_some() {
            *live.leg_mut(Side::C) = LiveLeg::on(&target.trunk);
            self.totals.transfers.asked += 1;
            return;
        }
        *live.leg_mut(Side::B) = LiveLeg::on(&target.trunk);
        let before = live.route.clone();
        live.route.plan = Plan::Trunk(Box::new(target.outbound.clone()));
        live.route.target.clone_from(&target.trunk);
        let route = live.route.clone();
        self.uncount_trunks(&before);
        self.count_trunks(&route);
    }

    fn fallback(&self, live: &Live, agent: &str, kind: FailureKind) -> Fallback {
        let hang_up = |why: String| Fallback::HangUp {
            status: None,
            cause: None,
            why: Some(why),
        };
        let named = |name: &str| self.config.agents.iter().find(|agent| agent.name == name);
        let Some(configured) = named(agent) else {
            return hang_up(format!("agent {agent} is not configured"));
        };
        match configured.fallback(kind) {
            model::Fallback::HangUp { status, cause } => Fallback::HangUp {
                status: *status,
                cause: *cause,
                why: None,
            },
            model::Fallback::Agent(name) => match named(name) {
                Some(_) if live.call.failures().iter().any(|failed| failed.agent == *name) => {
                    hang_up(format!("agent {name} has failed in this call before"))
                }
                Some(other) => Fallback::Agent {
                    name: name.clone(),
                    host: other.endpoint.host().cloned(),
                },
                None => hang_up(format!("agent {name} is not configured")),
            },
            model::Fallback::Call { trunk, to, timeout } => match self.callee(live, trunk, to) {
                Ok(target) => Fallback::Call {
                    to: to.to_string(),
                    target: Box::new(target),
                    timeout: timeout.unwrap_or(self.config.transfer.timeout),
                },
                Err(why) => hang_up(why),
            },
        }
    }

    /// The leg to who is called instead.
    fn callee(&self, live: &Live, trunk: &str, to: &Callee) -> Result<Target, String> {
        let stays = live.call.agent().map_or(Side::A, |(_, side)| side);
        let caller_id = self.caller_id(live, stays);
        let outbound = route::fallback(&self.config, trunk, to, &caller_id, live.hops_left)?;
        Ok(Target {
            trunk: trunk.to_owned(),
            outbound,
            referred_by: None,
        })
    }
}
