//! The agents that an application connects, and the files that it plays: who is heard, and what becomes of them.

use std::net::SocketAddr;

use voxlane_dataplane::media_plane::AgentFailure;

use super::{Action, CallAction, Controlled, Outcome, Step, StreamState};
use crate::call::Side;
use crate::call::machine::{Call, Phase};
use crate::time::Time;
use crate::twiml::verbs::Stream;
use crate::twiml::{Problem, code};

impl Call {
    /// The host of an agent is known, or not. Whether it is the application's.
    pub(in crate::call) fn application_found(
        &mut self,
        found: Result<&[SocketAddr], &str>,
        actions: &mut Vec<CallAction>,
    ) -> bool {
        let waits = |controlled: &&mut Controlled| controlled.step == Step::Finding;
        let Some(controlled) = self.controlled.as_mut().filter(waits) else {
            return false;
        };
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                controlled.step = Step::Connecting;
                self.agent_addresses = addresses.to_vec();
                actions.push(CallAction::Attach {
                    addresses: addresses.to_vec(),
                });
            }
            Ok(_) => self.stream_failed("its host has no address", actions),
            Err(why) => self.stream_failed(why, actions),
        }
        true
    }

    /// An agent is connected, or a file is about to be heard. Whether it is the application's.
    pub(in crate::call) fn application_ready(&mut self, now: Time, actions: &mut Vec<CallAction>) -> bool {
        let Some(controlled) = &mut self.controlled else {
            return false;
        };
        if controlled.step == Step::Connecting {
            controlled.step = Step::Running;
            let stream = controlled.stream().cloned();
            if self.phase == Phase::Connecting {
                if let Some(session) = self.a.media.session.clone() {
                    actions.push(CallAction::Program { side: Side::A, session });
                }
                self.answer_caller(now, actions);
            }
            actions.extend(stream.map(|stream| stream_action(stream, StreamState::Started)));
        }
        true
    }

    /// An agent has ended its stream, a file is played. Whether it is the application's.
    pub(in crate::call) fn application_agent_ended(&mut self, actions: &mut Vec<CallAction>) -> bool {
        let Some(controlled) = &mut self.controlled else {
            return false;
        };
        // What ends before it is ready was there before.
        if controlled.step == Step::Running {
            let stream = controlled.stream().cloned();
            controlled.finish(Outcome::Over(Vec::new()));
            actions.extend(stream.map(|stream| stream_action(stream, StreamState::Stopped)));
        }
        true
    }

    /// A transfer has failed for which the application had left. Whether it goes on by itself: what was played is not begun
    /// again; an agent is connected again, as any other.
    pub(in crate::call) fn application_goes_on(&mut self, actions: &mut Vec<CallAction>) -> bool {
        let side = self.heard_by();
        let Some(controlled) = self.controlled.as_mut().filter(|one| one.stream().is_none()) else {
            return false;
        };
        if controlled.step == Step::Running {
            controlled.finish(Outcome::Over(Vec::new()));
        }
        actions.push(CallAction::Application(Action::Quiet { side }));
        true
    }

    /// An agent has failed. Whether it is the application's.
    pub(in crate::call) fn application_agent_failed(
        &mut self,
        failure: &AgentFailure,
        actions: &mut Vec<CallAction>,
    ) -> bool {
        let Some(controlled) = &self.controlled else {
            return false;
        };
        if matches!(controlled.step, Step::Connecting | Step::Running) {
            self.stream_failed(&failure.to_string(), actions);
        }
        true
    }

    /// The call ends: an agent that is connected is told of no more.
    pub(in crate::call) fn leave_application(&mut self, actions: &mut Vec<CallAction>) {
        let Some(controlled) = self.controlled.take() else {
            return;
        };
        if controlled.step == Step::Running {
            let stream = controlled.stream().cloned();
            actions.extend(stream.map(|stream| stream_action(stream, StreamState::Stopped)));
        }
    }

    fn stream_failed(&mut self, why: &str, actions: &mut Vec<CallAction>) {
        let unanswered = self.answered.is_none();
        let Some(controlled) = &mut self.controlled else { return };
        let stream = controlled.stream().cloned();
        let url = stream.as_ref().map(|stream| stream.url.as_str()).unwrap_or_default();
        let problem = Problem::new(code::STREAM, format!("stream {url:?}: {why}"));
        controlled.has_failed |= unanswered;
        controlled.finish(Outcome::Failed(problem, Vec::new()));
        let failed = StreamState::Failed(why.to_owned());
        actions.extend(stream.map(|stream| stream_action(stream, failed)));
    }
}

pub(super) fn stream_action(stream: Stream, state: StreamState) -> CallAction {
    CallAction::Application(Action::Stream(Box::new(stream), state))
}
