//! What becomes of a call whose agent fails.
//!
//! The gateway is asked what the configuration has for that failure ([`Action::FallBack`]) and answers with a [`Fallback`]:
//!
//! - another agent takes the place of the one that has failed. Before the caller is answered he waits for it as he did for the
//!   first; afterwards he hears silence until it is there;
//! - somebody is called. Before the answer the call goes there as if it had never been an agent's; afterwards it is
//!   transferred there, and the one that stays hears a ring-back tone;
//! - the call ends.
//!
//! An agent that has failed in a call does not get it again, and who is called has no fallback: every chain ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxlane_dataplane::media_plane::{AgentFailure, FailureKind};

use super::machine::{Call, Dialog, Leg, Phase};
use super::placing::Placing;
use super::transfer::{Asker, By, Order, Ringing, Target};
use super::{Action, Origin, Party, Plan, Side};
use crate::config::model::HostPort;
use crate::sdp::Signalling;
use crate::sip::Transport;
use crate::time::Time;

/// What a call does instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It gets another agent.
    Agent {
        /// Its name.
        name: String,
        /// The host to resolve before it can be attached; `None` for a built-in one.
        host: Option<HostPort>,
    },
    /// Somebody is called.
    Call {
        /// Whom, for records: a number or a URI.
        to: String,
        /// The leg.
        target: Box<Target>,
        /// How long it may take until they answer, where the caller is answered already.
        timeout: Duration,
    },
    /// It ends.
    HangUp {
        /// What a caller who is not answered is told; `None`: what fits the failure.
        status: Option<u16>,
        /// Q.850 cause that the legs are told; `None`: the usual.
        cause: Option<u8>,
        /// Why nothing else could be done, where something else was wanted.
        why: Option<String>,
    },
}

impl std::fmt::Display for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Agent { name, .. } => write!(f, "agent {name}"),
            Self::Call { to, target, .. } => write!(f, "{to} on trunk {}", target.trunk),
            Self::HangUp { .. } => f.write_str("hang up"),
        }
    }
}

/// An agent that has failed in a call, and what the call did then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub agent: String,
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// In words.
    pub reason: String,
    /// What the call did, in words.
    pub then: String,
}

/// A failure for which it is not known yet what the call does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Failing {
    kind: FailureKind,
    reason: String,
    /// Who is to blame, and what the caller is told, if the call ends for it.
    by: Party,
    status: u16,
}

impl Call {
    /// Agents that have failed in this call, the first first.
    pub fn failures(&self) -> &[Record] {
        &self.failures
    }

    /// The agent has failed, and the call needs something else.
    pub(super) fn agent_failed(&mut self, failure: &AgentFailure, actions: &mut Vec<Action>) {
        self.failing(failure, Party::Agent, 480, actions);
    }

    /// The host of the agent is not known, or has no address.
    pub(super) fn agent_not_found(&mut self, why: &str, actions: &mut Vec<Action>) {
        let waits = match self.phase {
            Phase::Preparing => matches!(self.setup.plan, Plan::Agent { .. }) && !self.is_placed(),
            Phase::Answering => self.is_placed() || self.awaits_agent,
            Phase::Up => self.awaits_agent,
            Phase::Connecting | Phase::Ending | Phase::Ended => false,
        };
        if waits {
            self.failing(&AgentFailure::Connect(why.to_owned()), Party::Gateway, 503, actions);
        }
    }

    fn failing(&mut self, failure: &AgentFailure, by: Party, status: u16, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        self.awaits_agent = false;
        let kind = failure.kind();
        self.failing = Some(Failing {
            kind,
            reason: failure.to_string(),
            by,
            status,
        });
        actions.push(Action::FallBack(kind));
    }

    /// What the configuration has for the failure.
    pub(super) fn fall_back(&mut self, fallback: Fallback, now: Time, actions: &mut Vec<Action>) {
        let Some(failing) = self.failing.take() else { return };
        let Some((agent, hears)) = self.agent().map(|(name, hears)| (name.to_owned(), hears)) else {
            return;
        };
        self.failures.push(Record {
            agent,
            kind: failing.kind,
            reason: failing.reason.clone(),
            then: fallback.to_string(),
        });
        let answered = match self.phase {
            Phase::Preparing | Phase::Connecting => false,
            Phase::Answering | Phase::Up => true,
            Phase::Ending | Phase::Ended => return,
        };
        match fallback {
            Fallback::Agent { name, host } => self.change_agent(name, host, actions),
            Fallback::Call { target, .. } if !answered && !self.is_placed() => self.goes_to(*target, actions),
            Fallback::Call { to, target, timeout } => {
                let order = Order {
                    to,
                    by: By::Bridge(target),
                    asked_by: Asker::Fallback,
                    leaves: hears.other().unwrap_or(Side::B),
                    ringing: Ringing::Ringback,
                    timeout,
                };
                self.given_to(order, &failing, now, actions);
            }
            Fallback::HangUp { status, cause, why } => self.end_failed(&failing, status, cause, why, actions),
        }
    }

    /// Another agent is connected, where one is needed already.
    fn change_agent(&mut self, name: String, host: Option<HostPort>, actions: &mut Vec<Action>) {
        match &mut self.setup.origin {
            Origin::Caller => {
                self.setup.plan = Plan::Agent {
                    name,
                    host: host.clone(),
                }
            }
            origin @ Origin::Agent { .. } => {
                *origin = Origin::Agent {
                    name,
                    host: host.clone(),
                }
            }
            // Its agents are its own matter.
            Origin::Application { .. } => return,
        }
        let is_placed = self.is_placed();
        match (self.phase, host) {
            (Phase::Answering | Phase::Up, Some(host)) => {
                self.awaits_agent = true;
                actions.push(Action::Resolve(host));
            }
            (Phase::Answering | Phase::Up, None) => self.connect_other(Vec::new(), actions),
            // It has its turn when the call that it places is answered.
            (Phase::Preparing | Phase::Connecting, _) if is_placed => {}
            (Phase::Preparing | Phase::Connecting, Some(host)) => {
                self.phase = Phase::Preparing;
                actions.push(Action::Resolve(host));
            }
            (Phase::Preparing | Phase::Connecting, None) => self.attach(Vec::new(), actions),
            (Phase::Ending | Phase::Ended, _) => {}
        }
    }

    /// The other agent of a call that is answered is connected.
    pub(super) fn connect_other(&mut self, addresses: Vec<std::net::SocketAddr>, actions: &mut Vec<Action>) {
        self.awaits_agent = false;
        self.agent_addresses.clone_from(&addresses);
        // While a tone is heard because the call is being transferred, it waits for what comes of that.
        if !self.has_left() {
            actions.push(Action::Attach { addresses });
        }
    }

    /// A caller who is not answered yet is sent elsewhere, as if the number had never been an agent's.
    fn goes_to(&mut self, target: Target, actions: &mut Vec<Action>) {
        self.b = Leg::new(Dialog::Gone, target.outbound.media, Transport::Udp);
        self.setup.plan = Plan::Trunk(Box::new(target.outbound));
        self.placing = Placing::of(&self.setup.plan);
        self.close_media(Side::A, actions);
        self.a.media.begin(Signalling::over(self.setup.transport));
        self.phase = Phase::Preparing;
        self.start(actions);
    }

    /// Whom the agent has talked with is given to somebody else.
    fn given_to(&mut self, order: Order, failing: &Failing, now: Time, actions: &mut Vec<Action>) {
        if self.is_placed() && self.phase == Phase::Answering {
            // It is up, only that nobody is there.
            self.phase = Phase::Up;
        }
        match self.may_transfer(order.leaves) {
            Ok(()) => self.asked(order, now, actions),
            Err(refusal) => self.end_failed(failing, None, None, Some(refusal.to_string()), actions),
        }
    }

    fn end_failed(
        &mut self,
        failing: &Failing,
        status: Option<u16>,
        cause: Option<u8>,
        why: Option<String>,
        actions: &mut Vec<Action>,
    ) {
        let more = why.map(|why| format!("; {why}")).unwrap_or_default();
        let text = format!("agent {}{more}", failing.reason);
        let reason = match cause {
            Some(cause) => format!("Q.850;cause={cause};text=\"{}\"", text.replace(['"', '\\'], "'")),
            None => text.clone(),
        };
        self.end_for(failing.by, status.unwrap_or(failing.status), &text, &reason, actions);
    }
}
