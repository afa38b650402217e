//! How leg B of a call is placed: one target after the other, until one answers or refuses for good.

use serde::{Deserialize, Serialize};

use super::machine::{Call, Dialog, Phase};
use super::negotiation::NegotiationError;
use super::targets::{Attempt, Next, Target, Targets, Then};
use super::{Action, Party, Plan, Side};
use crate::sdp::{Description, Signalling};
use crate::sip::Failure;
use crate::sip::locate::Destination;

/// What leg B's INVITE has tried, and tries.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Placing {
    /// `None`: leg B is an agent.
    targets: Option<Targets>,
    /// Where the INVITE goes next, or has gone.
    target: Option<Target>,
    /// What the last target said; where none has said anything, why it was not asked.
    last: Option<(Party, u16, String)>,
}

impl Placing {
    /// Of a call's plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let targets = match plan {
            Plan::Agent { .. } | Plan::Application { .. } => None,
            Plan::Trunk(outbound) => Some(Targets::new(
                outbound.ways.clone(),
                outbound.request_uri.clone(),
                outbound.redirects,
            )),
        };
        Self {
            targets,
            ..Self::default()
        }
    }
}

impl Call {
    /// Where leg B was tried, and how it went.
    pub fn tried(&self) -> &[Attempt] {
        self.placing.targets.as_ref().map_or(&[], Targets::tried)
    }

    /// Tries what is next.
    pub(super) fn place(&mut self, actions: &mut Vec<Action>) {
        let Some(targets) = &mut self.placing.targets else {
            return;
        };
        match targets.advance() {
            Next::LookUp(place) => actions.push(Action::Locate(place)),
            Next::Try(target) => {
                let towards = target.destination.remote;
                self.placing.target = Some(target);
                let fits = |rtp: std::net::SocketAddr| rtp.is_ipv4() == towards.is_ipv4();
                match self.b.media.endpoint {
                    Some(endpoint) if fits(endpoint.rtp) => self.invite(actions),
                    _ => {
                        self.close_media(Side::B, actions);
                        actions.push(Action::OpenMedia { side: Side::B, towards });
                    }
                }
            }
            Next::Exhausted => self.give_up(actions),
        }
    }

    /// Leg B cannot be placed: the call ends, unless an application goes on with it.
    fn not_placed(&mut self, by: Party, status: u16, text: &str, actions: &mut Vec<Action>) {
        if !self.application_not_placed(status, actions) {
            self.end(by, status, text, actions);
        }
    }

    /// Everything has failed.
    fn give_up(&mut self, actions: &mut Vec<Action>) {
        let (party, status, text) = match self.placing.last.take() {
            Some(last) => last,
            None => (Party::Gateway, 503, "there is nowhere to send the call to".to_owned()),
        };
        let text = match self.tried().len() {
            0 | 1 => text,
            tried => format!("{text} (the last of {tried} tried)"),
        };
        self.not_placed(party, status, &text, actions);
    }

    /// A place is not found.
    pub(super) fn not_located(&mut self, why: &str, actions: &mut Vec<Action>) {
        match &mut self.placing.targets {
            Some(targets) if self.phase == Phase::Preparing && targets.is_looking() => {
                targets.not_found(why);
                // What a gateway has said tells more than that another is not found.
                let none = self.placing.last.is_none();
                if none && !targets.has_more() {
                    return self.not_placed(Party::Gateway, 503, why, actions);
                }
                self.place(actions);
            }
            Some(_) | None => {}
        }
    }

    /// A place is found.
    pub(super) fn located(&mut self, destinations: Vec<Destination>, actions: &mut Vec<Action>) {
        match &mut self.placing.targets {
            Some(targets) if self.phase == Phase::Preparing && targets.is_looking() => {
                targets.found(destinations);
                self.place(actions);
            }
            Some(_) | None => {}
        }
    }

    /// The media of leg B is open: its INVITE leaves.
    pub(super) fn invite(&mut self, actions: &mut Vec<Action>) {
        let (Plan::Trunk(outbound), Some(target)) = (&self.setup.plan, self.placing.target.clone()) else {
            return self.close_media(Side::B, actions);
        };
        self.b.media.begin(Signalling::over(target.destination.transport));
        if let Some(bar) = self.b.media.bar() {
            return self.pass_over(&bar, actions);
        }
        let offer = match self.setup.offer.as_deref().map(Description::parse).transpose() {
            Ok(Some(theirs)) => {
                let transcode = self.transcode();
                // An early answer stands, whoever it was that had early media.
                let early = self.a.media.session.as_ref().map(|session| [session.codec]);
                let answerable = early.as_ref().map_or(self.setup.codecs.as_slice(), |codec| codec);
                self.b
                    .media
                    .offer_like(&self.setup, &outbound.codecs, &theirs, answerable, transcode)
            }
            Ok(None) => self.b.media.offer(&self.setup, &outbound.codecs),
            Err(error) => Err(error.into()),
        };
        match offer {
            Ok(sdp) => {
                let more = self.placing.targets.as_ref().is_some_and(Targets::has_more);
                let patience = more.then_some(outbound.patience);
                self.phase = Phase::Connecting;
                self.b.dialog = Dialog::Trying;
                actions.push(Action::Invite { target, patience, sdp });
            }
            Err(error) => self.not_placed(Party::Gateway, error.status(), &error.to_string(), actions),
        }
    }

    /// A target whose signalling others can read gets no keys, and no call without them; the next may be over TLS.
    fn pass_over(&mut self, bar: &NegotiationError, actions: &mut Vec<Action>) {
        let why = bar.to_string();
        if let Some(targets) = &mut self.placing.targets {
            targets.passed_over(&why);
        }
        // What a gateway has said tells more.
        self.placing
            .last
            .get_or_insert_with(|| (Party::Gateway, bar.status(), why));
        self.phase = Phase::Preparing;
        self.place(actions);
    }

    /// Leg B's INVITE has failed: another target is tried, or the call ends.
    pub(super) fn callee_failed(&mut self, status: u16, reason: &str, failure: &Failure, actions: &mut Vec<Action>) {
        self.b.dialog = Dialog::Gone;
        let text = format!("{status} {reason}");
        let goes_on = matches!(self.phase, Phase::Preparing | Phase::Connecting);
        let then = self
            .placing
            .targets
            .as_mut()
            .map(|targets| targets.failed(status, reason, failure));
        self.placing.last = Some((Party::Callee, status_for_caller(status), text.clone()));
        match then {
            Some(Then::Next) if goes_on => {
                self.phase = Phase::Preparing;
                self.place(actions);
            }
            Some(Then::Next | Then::End) | None => {
                self.not_placed(Party::Callee, status_for_caller(status), &text, actions);
            }
        }
    }
}

/// What the caller is told when leg B failed: the same, but for what concerns only us and the carrier we called.
fn status_for_caller(status: u16) -> u16 {
    match status {
        // Redirection and authentication are ours to see to.
        300..=399 | 401 | 407 => 502,
        // These find fault with a request that we wrote, not the caller; some need headers that say what.
        400 | 402 | 405 | 406 | 411..=417 | 420..=439 | 481 | 482 | 485 | 489 | 491 | 493..=499 | 501 | 505 | 513 => {
            502
        }
        status => status,
    }
}
