//! Documents that come with a request while a call goes on: for the application that controls it, or, where none does, for the
//! one that takes it over.

use super::agents::stream_action;
use super::{Action, CallAction, Controlled, Step, StreamState};
use crate::call::machine::{Call, Phase};
use crate::call::{Origin, Plan};
use crate::time::Time;
use crate::twiml::application::{Script, Source};

/// What is told to who leaves, and recorded of a transfer that is given up.
const WHY: &str = "another document";

impl Call {
    /// What is being done is given up for another document.
    pub(super) fn update_application(&mut self, source: Source, now: Time, actions: &mut Vec<CallAction>) {
        self.leave_dialled(WHY, now, actions);
        self.stop_ringing(487, actions);
        self.fail_transfer(487, WHY, actions);
        let side = self.heard_by();
        let is_answered = self.answered.is_some();
        let Some(controlled) = &mut self.controlled else { return };
        if controlled.step == Step::Running {
            let stream = controlled.stream().cloned();
            actions.extend(stream.map(|stream| stream_action(stream, StreamState::Stopped)));
        }
        controlled.step = Step::Idle;
        controlled.outcome = None;
        controlled.has_failed = false;
        if is_answered {
            actions.push(CallAction::Application(Action::Quiet { side }));
        }
        let outputs = controlled.application.update(source, now);
        self.obey(outputs, now, actions);
    }

    /// A call that no application controls is given to one, once it is answered: whoever talks with the leg that stays, an agent
    /// or another party, leaves.
    pub(super) fn take_over(&mut self, script: Script, now: Time, actions: &mut Vec<CallAction>) {
        if self.answered.is_none() {
            return;
        }
        self.abandon_transfer(487, WHY, actions);
        let stays = self.heard_by();
        actions.push(CallAction::Application(Action::Quiet { side: stays }));
        if let Some(leaves) = stays.other() {
            self.end_leg(leaves, 480, WHY, actions);
        }
        self.given_away = false;
        self.awaits_agent = false;
        let (name, script) = (script.name(), Box::new(script));
        self.controlled = Some(match self.setup.origin {
            Origin::Caller => {
                self.setup.plan = Plan::Application {
                    name,
                    script: script.clone(),
                };
                Controlled::of(&script, &self.setup.plan)
            }
            Origin::Agent { .. } | Origin::Application { .. } => {
                self.setup.origin = Origin::Application {
                    name,
                    script: script.clone(),
                };
                // It is up, only that the agent may not have been there yet.
                self.phase = Phase::Up;
                Controlled::of(&script, &self.setup.plan)
            }
        });
        self.start_application(now, actions);
    }
}
