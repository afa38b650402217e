//! Calls that an agent places: leg B is the called party's, as of any call to a trunk, and leg A is the agent, who has no
//! dialog and hears leg B's media.
//!
//! ```text
//!            resolve, open media, INVITE          200          agent ready
//!  Start ──► Preparing ──► Connecting ──────────► Answering ─────────────► Up
//! ```
//!
//! An agent that gives the call to another party leaves it; that party's dialog is leg A from then on.
//!
//! The agent is connected when the call is answered, not before: bots greet as soon as they are connected, and a greeting that
//! nobody hears is lost; and most of a campaign's calls are not answered.

use serde::{Deserialize, Serialize};

use super::machine::{Call, Dialog, Phase};
use super::{Action, Party, Plan, Side};
use crate::config::model::HostPort;
use crate::time::Time;
use crate::twiml::application::Script;

/// Who begins a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Somebody who calls us: leg A is their dialog.
    #[default]
    Caller,
    /// An agent.
    Agent {
        /// Its name.
        name: String,
        /// The host to resolve before it can be attached; `None` for a built-in one.
        host: Option<HostPort>,
    },
    /// An application.
    Application {
        /// What it is called in logs and reports.
        name: String,
        /// Where it begins.
        script: Box<Script>,
    },
}

impl Call {
    /// Whether an agent or an application has placed it.
    pub fn is_placed(&self) -> bool {
        match self.setup.origin {
            Origin::Caller => false,
            Origin::Agent { .. } | Origin::Application { .. } => true,
        }
    }

    /// The agent of the call, or the application in its place, and the leg whose far end talks with it. `None` also once it has
    /// given the call to another party.
    pub fn agent(&self) -> Option<(&str, Side)> {
        match (&self.setup.origin, &self.setup.plan) {
            (Origin::Agent { .. } | Origin::Application { .. }, _) if self.given_away => None,
            (Origin::Agent { name, .. } | Origin::Application { name, .. }, _) => Some((name, Side::B)),
            (Origin::Caller, Plan::Agent { name, .. } | Plan::Application { name, .. }) => Some((name, Side::A)),
            (Origin::Caller, Plan::Trunk(_)) => None,
        }
    }

    /// The called party rings; with early media, where it goes is agreed already.
    pub(super) fn placed_progress(&mut self, sdp: Option<&[u8]>, actions: &mut Vec<Action>) {
        let (Phase::Connecting, Some(sdp)) = (self.phase, sdp) else {
            return;
        };
        match self.b.media.accept(Some(sdp)) {
            Ok(session) => actions.push(Action::Program { side: Side::B, session }),
            Err(error) => self.end(Party::Callee, 502, &error.to_string(), actions),
        }
    }

    /// The called party has answered: the agent is connected.
    pub(super) fn placed_answered(&mut self, sdp: Option<&[u8]>, now: Time, actions: &mut Vec<Action>) {
        self.b.dialog = Dialog::Up;
        // The answer may have been in a 183.
        if sdp.is_some() || self.b.media.session.is_none() {
            match self.b.media.accept(sdp) {
                Ok(session) => actions.push(Action::Program { side: Side::B, session }),
                Err(error) => return self.end(Party::Callee, 502, &error.to_string(), actions),
            }
        }
        self.phase = Phase::Answering;
        self.answered = Some(now);
        if self.is_controlled() {
            self.phase = Phase::Up;
            actions.push(Action::Application(super::application::Action::Quiet { side: Side::B }));
            return self.start_application(now, actions);
        }
        match &self.setup.origin {
            Origin::Agent { host: Some(host), .. } => actions.push(Action::Resolve(host.clone())),
            Origin::Agent { host: None, .. } | Origin::Application { .. } | Origin::Caller => {
                actions.push(Action::Attach { addresses: Vec::new() });
            }
        }
    }

    /// The agent is there.
    pub(super) fn placed_agent_ready(&mut self) {
        if self.phase == Phase::Answering {
            self.phase = Phase::Up;
        }
    }
}
