//! Whom an application dials, and what becomes of the REFERs that it asks for.

use super::{Action, CallAction, Controlled, Outcome, Step, Verb};
use crate::call::machine::{Call, Dialog, Leg, Phase};
use crate::call::placing::Placing;
use crate::call::{Outbound, Party, Plan, Side, transfer};
use crate::sdp::Signalling;
use crate::sip::Transport;
use crate::time::Time;
use crate::twiml::verbs::{Dial, OnStar};

impl Call {
    /// The call is up: whom the verb names is called.
    pub(super) fn call_somebody(&mut self, actions: &mut Vec<CallAction>) {
        let stays = self.heard_by();
        let Some(controlled) = &mut self.controlled else { return };
        controlled.step = Step::Calling;
        let action = match controlled.application.doing().cloned() {
            Some(Verb::Dial(dial)) => Action::Dial { stays, dial },
            Some(Verb::Refer(refer)) => Action::Refer { stays, refer },
            Some(_) | None => return,
        };
        actions.push(CallAction::Application(action));
    }

    fn dialled(&self) -> Option<&Dial> {
        match self.controlled.as_ref()?.application.doing()? {
            Verb::Dial(dial) => Some(dial),
            Verb::Connect(_)
            | Verb::Start(_)
            | Verb::Stop(_)
            | Verb::Refer(_)
            | Verb::Play(_)
            | Verb::Pause(_)
            | Verb::Redirect(_)
            | Verb::Reject(_)
            | Verb::HangUp => None,
        }
    }

    /// What the application has asked for has come to nothing: `status` says it best.
    pub(in crate::call) fn application_refused(&mut self, status: u16) {
        let Some(controlled) = &mut self.controlled else { return };
        if controlled.step != Step::Calling {
            return;
        }
        let told = match controlled.application.doing() {
            Some(Verb::Refer(_)) => refer_parameters("failed", status),
            Some(_) | None => dial_parameters(dial_status(status), None),
        };
        controlled.finish(Outcome::Over(told));
    }

    /// Whether leg B can be placed before the caller is answered.
    pub fn may_be_placed(&self) -> bool {
        self.answered.is_none() && self.phase == Phase::Connecting && self.b.dialog == Dialog::Gone
    }

    /// Whom the verb names is called as leg B before the caller is answered, who hears that it rings.
    pub(super) fn place_for_application(&mut self, outbound: Outbound, now: Time, actions: &mut Vec<CallAction>) {
        let timeout = self.dialled().map(|dial| dial.timeout).unwrap_or_default();
        let signalling = Signalling::over(self.setup.transport);
        let may_be_placed = self.may_be_placed();
        let waits = |one: &&mut Controlled| may_be_placed && one.step == Step::Calling;
        let Some(controlled) = self.controlled.as_mut().filter(waits) else {
            return;
        };
        let until = now + timeout;
        controlled.step = Step::Ringing(until);
        actions.push(CallAction::Transfer(transfer::Action::Wake(until)));
        // What the caller is answered waits for what leg B can, unless it was answered early.
        if !self.has_early_media {
            self.a.media.begin(signalling);
        }
        self.b = Leg::new(Dialog::Gone, outbound.media, Transport::Udp);
        self.setup.plan = Plan::Trunk(Box::new(outbound));
        self.placing = Placing::of(&self.setup.plan);
        self.phase = Phase::Preparing;
        self.place(actions);
    }

    /// Leg B cannot be placed. Whether the application goes on.
    pub(in crate::call) fn application_not_placed(&mut self, status: u16, actions: &mut Vec<CallAction>) -> bool {
        let waits = |one: &&mut Controlled| matches!(one.step, Step::Ringing(_) | Step::Leaving(_));
        let Some(controlled) = self.controlled.as_mut().filter(waits) else {
            return false;
        };
        self.setup.plan = controlled.plan.clone();
        controlled.finish(Outcome::Over(dial_parameters(dial_status(status), None)));
        self.placing = Placing::default();
        self.phase = Phase::Connecting;
        self.close_media(Side::B, actions);
        match self.a.media.session {
            Some(_) => actions.push(CallAction::Application(Action::Quiet { side: Side::A })),
            None => {
                if let Err(error) = self.negotiate_for_agent() {
                    self.end(Party::Gateway, error.status(), &error.to_string(), actions);
                }
            }
        }
        true
    }

    /// Who rings is not waited for any more.
    pub(super) fn stop_ringing(&mut self, status: u16, actions: &mut Vec<CallAction>) {
        let rings = |one: &&mut Controlled| matches!(one.step, Step::Ringing(_));
        let Some(controlled) = self.controlled.as_mut().filter(rings) else {
            return;
        };
        controlled.step = Step::Leaving(status);
        self.end_leg(Side::B, status, "not answered in time", actions);
        // Its dialog is to be gone before there is another.
        if self.b.dialog == Dialog::Gone {
            self.application_not_placed(status, actions);
        }
    }

    /// Who was dialled has answered, and has the place of the leg beside the one that stays.
    pub(in crate::call) fn application_bridged(&mut self, now: Time, actions: &mut Vec<CallAction>) {
        let limit = self.dialled().map(|dial| dial.time_limit).unwrap_or_default();
        let waits = |one: &&mut Controlled| matches!(one.step, Step::Calling | Step::Ringing(_));
        let Some(controlled) = self.controlled.as_mut().filter(waits) else {
            return;
        };
        let until = now + limit;
        controlled.step = Step::Bridged { since: now, until };
        actions.push(CallAction::Transfer(transfer::Action::Wake(until)));
    }

    /// A leg has hung up, or is lost. Whether it is whom the application has dialled: then the call goes on without it.
    pub(in crate::call) fn dialled_is_gone(&mut self, side: Side, now: Time, actions: &mut Vec<CallAction>) -> bool {
        let is_bridged = self
            .controlled
            .as_ref()
            .is_some_and(|controlled| matches!(controlled.step, Step::Bridged { .. }));
        let is_dialled = is_bridged && self.heard_by().other() == Some(side);
        if is_dialled {
            self.leave_dialled("hung up", now, actions);
        }
        is_dialled
    }

    /// The caller leaves whom he talks with, if a key does that.
    pub(in crate::call) fn left_by_key(&mut self, side: Side, digit: char, now: Time, actions: &mut Vec<CallAction>) {
        let leaves = self.dialled().is_some_and(|dial| dial.on_star == OnStar::HangUp);
        if leaves && digit == '*' && side == self.heard_by() {
            self.leave_dialled("the other party has pressed *", now, actions);
        }
    }

    /// Ends the leg of whom the application has dialled, if they talk; the one that stays is the application's again.
    pub(super) fn leave_dialled(&mut self, why: &str, now: Time, actions: &mut Vec<CallAction>) {
        let stays = self.heard_by();
        let Some(controlled) = &mut self.controlled else { return };
        let Step::Bridged { since, .. } = controlled.step else {
            return;
        };
        let seconds = now.since(since).as_secs();
        self.setup.plan = controlled.plan.clone();
        controlled.finish(Outcome::Over(dial_parameters("completed", Some(seconds))));
        actions.push(CallAction::Application(Action::Quiet { side: stays }));
        if let Some(leaves) = stays.other() {
            self.end_leg(leaves, 480, why, actions);
        }
        self.given_away = false;
    }

    /// A dialog has ended that we have hung up before, in a call that goes on.
    pub(in crate::call) fn was_left(&mut self, side: Side, actions: &mut Vec<CallAction>) -> bool {
        let goes_on = !matches!(self.phase, Phase::Ending | Phase::Ended);
        let leg = self.leg_mut(side);
        if !goes_on || leg.dialog != Dialog::HangingUp {
            return false;
        }
        leg.dialog = Dialog::Gone;
        if let (Side::B, Some(Step::Leaving(status))) = (side, self.controlled.as_ref().map(|one| &one.step)) {
            let status = *status;
            self.application_not_placed(status, actions);
        }
        true
    }
}

/// `DialCallStatus` of a party that has not answered.
fn dial_status(status: u16) -> &'static str {
    match status {
        486 | 600 => "busy",
        408 | 480 => "no-answer",
        487 => "canceled",
        _ => "failed",
    }
}

fn dial_parameters(status: &str, seconds: Option<u64>) -> Vec<(String, String)> {
    let bridged = seconds.is_some().to_string();
    let mut told = vec![
        ("DialCallStatus".to_owned(), status.to_owned()),
        ("DialBridged".to_owned(), bridged),
    ];
    told.extend(seconds.map(|seconds| ("DialCallDuration".to_owned(), seconds.to_string())));
    told
}

fn refer_parameters(status: &str, sip: u16) -> Vec<(String, String)> {
    vec![
        ("ReferCallStatus".to_owned(), status.to_owned()),
        ("ReferSipResponseCode".to_owned(), sip.to_string()),
    ]
}
