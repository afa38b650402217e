//! Calls that are given to an [`Application`], which says by its documents what becomes of them.
//!
//! The application has the part of leg B: what it plays, and the agents it connects, are heard by the leg that it hears
//! (leg A; of a call that it places leg B). Whom it dials is a leg of its own, set up beside the two as for a transfer; once
//! that has hung up, the application goes on.
//!
//! ```text
//!  INVITE ─► open media ─► 180, first document ─┬─► agent or file ready ─► 200 ─► … the next verb …
//!                                               ├─► Pause: nothing yet
//!                                               ├─► Dial, Refer: 200 ─► ACK ─► the third leg, the REFER
//!                                               └─► Reject
//! ```

mod agents;
mod dial;
mod updates;

use serde::{Deserialize, Serialize};

use super::machine::{Call, Dialog, Phase};
use super::{Action as CallAction, Origin, Outbound, Party, Plan, Side, transfer};
use crate::config::model::HostPort;
use crate::time::Time;
use crate::twiml::application::{Outcome, Output, Page, Script};
use crate::twiml::verbs::{Answer, Dial, Play, Refer, Start, Stream, Verb};
use crate::twiml::{Application, Problem};

/// What happens to the application of a call.
#[derive(Clone, Debug)]
pub enum Event {
    /// A document that was asked for has come, or cannot be had.
    Fetched {
        /// Which.
        request: u32,
        /// The document.
        page: Result<Box<Page>, Problem>,
    },
    /// A file that is to be played cannot be had.
    NotPlayed {
        /// The request that asked for it.
        request: u32,
        /// Why.
        problem: Problem,
    },
    /// Whom a Dial or Refer names cannot be called.
    Forbidden(Problem),
    /// Nobody can be called now; this status says it best.
    Refused(u16),
    /// Whom a Dial names is called before the caller is answered.
    Place(Box<Outbound>),
    /// Another document takes the place of what is being done, whoever talks.
    Updated {
        /// Where the application begins, for a call that none controls; the document is the first of it.
        script: Box<Script>,
    },
}

/// What the application of a call wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask for a document; report [`Event::Fetched`].
    Fetch(crate::twiml::application::Fetch),
    /// Fetch a file and give the leg to the agent that plays it, if nothing else is being done by then; report
    /// [`Event::NotPlayed`] if that cannot be.
    Play {
        /// Who hears it.
        side: Side,
        /// Tells it from others.
        request: u32,
        /// What.
        play: Play,
    },
    /// The far end of this leg hears nothing.
    Quiet {
        /// A or B.
        side: Side,
    },
    /// Call somebody, as a transfer does, in the place of all but this leg; report [`Event::Forbidden`] if that may not be.
    Dial {
        /// Who stays.
        stays: Side,
        /// Whom.
        dial: Box<Dial>,
    },
    /// Ask the carrier of this leg to call somebody else, likewise.
    Refer {
        /// Who stays.
        stays: Side,
        /// Whom.
        refer: Box<Refer>,
    },
    /// Let somebody listen.
    StartStream(Box<Start>),
    /// End the stream of this name by which somebody listens.
    StopStream(String),
    /// Tell whoever has asked for it how the stream of an agent goes.
    Stream(Box<Stream>, StreamState),
    /// Tell whoever looks after the application what is wrong with it.
    Report(Problem),
}

/// How a stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// It has begun.
    Started,
    /// It is over.
    Stopped,
    /// It has failed.
    Failed(String),
}

/// An application and what it waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Controlled {
    application: Application,
    /// Where the call goes while nobody is dialled.
    plan: Plan,
    step: Step,
    /// What came of what it waited for, until it is told.
    outcome: Option<Outcome>,
    /// Whether a stream has failed before the call was answered.
    has_failed: bool,
}

/// How far what is being done has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    /// Nothing is being done, or its end is known.
    Idle,
    /// An agent's host is looked up.
    Finding,
    /// An agent or a file is being connected to the leg.
    Connecting,
    /// It is heard.
    Running,
    /// Nothing is done until then.
    Pausing(Time),
    /// The call has to be up first.
    WaitingForUp,
    /// Somebody is called, or the carrier asked.
    Calling,
    /// Somebody is called, as leg B, and the caller hears that; it has taken too long then.
    Ringing(Time),
    /// It is hung up on, since nobody has answered: this status says it best.
    Leaving(u16),
    /// Who was called has answered.
    Bridged {
        /// When.
        since: Time,
        /// When they have talked for long enough.
        until: Time,
    },
}

impl Controlled {
    pub(super) fn of(script: &Script, plan: &Plan) -> Self {
        Self {
            application: Application::new(script.clone()),
            plan: plan.clone(),
            step: Step::Idle,
            outcome: None,
            has_failed: false,
        }
    }

    fn stream(&self) -> Option<&Stream> {
        match self.application.doing() {
            Some(Verb::Connect(connect)) => Some(&connect.stream),
            Some(_) | None => None,
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        self.step = Step::Idle;
        self.outcome = Some(outcome);
    }
}

/// The script of a call that an application controls.
pub(super) fn script<'a>(origin: &'a Origin, plan: &'a Plan) -> Option<&'a Script> {
    match (origin, plan) {
        (Origin::Application { script, .. }, _) | (Origin::Caller, Plan::Application { script, .. }) => Some(script),
        (Origin::Caller | Origin::Agent { .. }, _) => None,
    }
}

impl Call {
    /// The leg that hears what an application plays.
    fn heard_by(&self) -> Side {
        match self.is_placed() {
            true => Side::B,
            false => Side::A,
        }
    }

    /// The stream that an agent of the application's is connected by.
    pub fn stream(&self) -> Option<&Stream> {
        self.controlled.as_ref()?.stream()
    }

    /// Whether an application says what becomes of it.
    pub fn is_controlled(&self) -> bool {
        self.controlled.is_some()
    }

    /// Whether the file of this request is what the application waits for.
    pub fn waits_for_file(&self, request: u32) -> bool {
        self.controlled
            .as_ref()
            .is_some_and(|controlled| controlled.step == Step::Connecting && controlled.application.is_last(request))
    }

    /// Begins the application.
    pub(super) fn start_application(&mut self, now: Time, actions: &mut Vec<CallAction>) {
        let Some(controlled) = &mut self.controlled else { return };
        let outputs = controlled.application.start(now);
        self.obey(outputs, now, actions);
    }

    pub(super) fn on_application(&mut self, event: Event, now: Time, actions: &mut Vec<CallAction>) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        if let Event::Updated { script } = event {
            return match self.is_controlled() {
                true => self.update_application(script.source, now, actions),
                false => self.take_over(*script, now, actions),
            };
        }
        let Some(controlled) = &mut self.controlled else { return };
        match event {
            Event::Fetched { request, page } => {
                let outputs = controlled.application.fetched(request, page.map(|page| *page), now);
                self.obey(outputs, now, actions);
            }
            Event::NotPlayed { request, problem } => {
                if controlled.step == Step::Connecting && controlled.application.is_last(request) {
                    controlled.finish(Outcome::Impossible(problem));
                }
            }
            Event::Forbidden(problem) => {
                if controlled.step == Step::Calling {
                    controlled.finish(Outcome::Impossible(problem));
                }
            }
            Event::Refused(status) => self.application_refused(status),
            Event::Place(outbound) => self.place_for_application(*outbound, now, actions),
            // Taken before.
            Event::Updated { .. } => {}
        }
    }

    /// Takes into account what has happened since: to be called after every event.
    pub(super) fn settle_application(&mut self, now: Time, actions: &mut Vec<CallAction>) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        self.settle_times(now, actions);
        let is_up = self.is_up();
        let Some(controlled) = &mut self.controlled else { return };
        if controlled.step == Step::WaitingForUp && is_up {
            return self.call_somebody(actions);
        }
        if let Some(outcome) = controlled.outcome.take() {
            let outputs = controlled.application.done(outcome, now);
            self.obey(outputs, now, actions);
        }
    }

    /// Whether the leg that hears the application can be joined with another: nothing is left of a third that was called before.
    fn is_up(&self) -> bool {
        let leg = self.leg(self.heard_by());
        let third_is_free = self.c.dialog == Dialog::Gone && !self.looking_up;
        self.phase == Phase::Up && leg.dialog == Dialog::Up && leg.media.session.is_some() && third_is_free
    }

    fn settle_times(&mut self, now: Time, actions: &mut Vec<CallAction>) {
        let Some(controlled) = &mut self.controlled else { return };
        match controlled.step {
            Step::Pausing(until) if until <= now => controlled.finish(Outcome::Over(Vec::new())),
            Step::Ringing(until) if until <= now => self.stop_ringing(408, actions),
            Step::Bridged { until, .. } if until <= now => self.leave_dialled("talked for long enough", now, actions),
            Step::Idle
            | Step::Finding
            | Step::Connecting
            | Step::Running
            | Step::Pausing(_)
            | Step::WaitingForUp
            | Step::Calling
            | Step::Ringing(_)
            | Step::Leaving(_)
            | Step::Bridged { .. } => {}
        }
    }

    fn obey(&mut self, outputs: Vec<Output>, now: Time, actions: &mut Vec<CallAction>) {
        for output in outputs {
            match output {
                Output::Fetch(fetch) => actions.push(CallAction::Application(Action::Fetch(fetch))),
                Output::Report(problem) => actions.push(CallAction::Application(Action::Report(problem))),
                Output::Start(start) => actions.push(CallAction::Application(Action::StartStream(start))),
                Output::Stop(name) => actions.push(CallAction::Application(Action::StopStream(name))),
                Output::Do(verb) => self.begin(verb, now, actions),
                Output::Reject(why) => self.end(Party::Application, why.status(), "rejected", actions),
                Output::HangUp => self.hang_up_for_application(now, actions),
                Output::GiveUp(problem) => {
                    let text = problem.to_string();
                    actions.push(CallAction::Application(Action::Report(problem)));
                    self.end(Party::Application, 480, &text, actions);
                }
            }
        }
    }

    /// Begins a verb that takes time.
    fn begin(&mut self, verb: Verb, now: Time, actions: &mut Vec<CallAction>) {
        let side = self.heard_by();
        let Some(controlled) = &mut self.controlled else { return };
        match verb {
            Verb::Connect(connect) => {
                controlled.step = Step::Finding;
                let Stream { host, port, .. } = connect.stream;
                actions.push(CallAction::Resolve(HostPort { host, port }));
            }
            Verb::Play(play) => {
                controlled.step = Step::Connecting;
                let request = controlled.application.next_request();
                actions.push(CallAction::Application(Action::Play { side, request, play }));
            }
            Verb::Pause(length) => {
                let until = now + length;
                controlled.step = Step::Pausing(until);
                actions.push(CallAction::Transfer(transfer::Action::Wake(until)));
            }
            Verb::Dial(dial) if dial.answer == Answer::OnBridge && self.answered.is_none() => {
                self.call_somebody(actions);
            }
            Verb::Dial(_) | Verb::Refer(_) => {
                controlled.step = Step::WaitingForUp;
                self.answer_for_application(now, actions);
                if self.is_up() {
                    self.call_somebody(actions);
                }
            }
            // Carried out by the application itself.
            Verb::Start(_) | Verb::Stop(_) | Verb::Redirect(_) | Verb::Reject(_) | Verb::HangUp => {}
        }
    }

    /// The documents are over. A call that was to be answered for a stream that has failed is not answered to be ended.
    fn hang_up_for_application(&mut self, now: Time, actions: &mut Vec<CallAction>) {
        let has_failed = self.controlled.as_ref().is_some_and(|controlled| controlled.has_failed);
        if !has_failed {
            self.answer_for_application(now, actions);
        }
        self.end(Party::Application, 480, "the application ended the call", actions);
    }

    /// Answers the caller, if that is not done.
    fn answer_for_application(&mut self, now: Time, actions: &mut Vec<CallAction>) {
        if self.phase == Phase::Connecting && self.a.dialog == Dialog::Trying {
            if let Some(session) = self.a.media.session.clone() {
                let side = Side::A;
                actions.push(CallAction::Program { side, session });
                actions.push(CallAction::Application(Action::Quiet { side }));
            }
            self.answer_caller(now, actions);
        }
    }
}
