//! The state machine itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::Session;

use super::application::{self, Controlled};
use super::fallback::{self, Failing};
use super::negotiation::{Negotiation, NegotiationError};
use super::placing::Placing;
use super::transfer::{self, Transfer};
use super::{Action, Cause, Event, Origin, Party, Plan, Setup, Side};
use crate::config::model::{LegMedia, Transcode};
use crate::sdp::{Description, Signalling};
use crate::sip::Transport;
use crate::time::Time;

/// One call. See the [module](super) for how it lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    pub(super) setup: Setup,
    pub(super) phase: Phase,
    pub(super) a: Leg,
    pub(super) b: Leg,
    /// Whom the call is transferred to, and once it is, who leaves.
    pub(super) c: Leg,
    /// The transfer that is under way.
    pub(super) transfer: Option<Transfer>,
    /// What came of those before.
    pub(super) transfers: Vec<transfer::Record>,
    /// Whether a host is being looked up for a transfer, under way or given up.
    pub(super) looking_up: bool,
    /// Whether the agent that has placed the call has given it to another party, whose dialog leg A is.
    #[serde(default)]
    pub(super) given_away: bool,
    /// Where leg B's INVITE goes.
    pub(super) placing: Placing,
    /// Where the agent was found.
    pub(super) agent_addresses: Vec<SocketAddr>,
    /// A failure of the agent for which it is being asked what to do.
    #[serde(default)]
    pub(super) failing: Option<Failing>,
    /// Agents that have failed.
    #[serde(default)]
    pub(super) failures: Vec<fallback::Record>,
    /// Whether the host of another agent is being looked up, of a call that is answered.
    #[serde(default)]
    pub(super) awaits_agent: bool,
    /// Whether the caller was given an early answer, in a 183.
    #[serde(default)]
    pub(super) has_early_media: bool,
    /// The application that the call is given to.
    #[serde(default)]
    pub(super) controlled: Option<Controlled>,
    started: Time,
    pub(super) answered: Option<Time>,
    ended: Option<Cause>,
}

/// Most digits a call record keeps of a leg.
const DIGITS_KEPT: usize = 256;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Ports and addresses are being found.
    Preparing,
    /// The agent is being connected, or leg B rung.
    Connecting,
    /// 200 has been sent to the caller, who has not acknowledged it yet; media already runs. Or the called party has answered a
    /// call that an agent places, and the agent is being connected.
    Answering,
    /// Both ways, acknowledged.
    Up,
    /// Being taken down: at least one dialog is not gone yet.
    Ending,
    /// Nothing is left but the record.
    Ended,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Preparing => "preparing",
            Self::Connecting => "connecting",
            Self::Answering => "answering",
            Self::Up => "up",
            Self::Ending => "ending",
            Self::Ended => "ended",
        })
    }
}

/// Where a leg's dialog stands, as far as the call must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Dialog {
    /// None: not begun, an agent's leg, or over.
    Gone,
    /// Not answered yet.
    Trying,
    /// Answered.
    Up,
    /// We hung up; its end has not been reported yet.
    HangingUp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Leg {
    pub(super) dialog: Dialog,
    pub(super) media: Negotiation,
    /// Keys its far end pressed, oldest first; the last [`DIGITS_KEPT`] of them.
    digits: String,
}

impl Leg {
    pub(super) fn new(dialog: Dialog, media: LegMedia, transport: Transport) -> Self {
        Self {
            dialog,
            media: Negotiation::new(media, Signalling::over(transport)),
            digits: String::new(),
        }
    }
}

impl Call {
    /// A call that has just come in; [`Event::Start`] sets it going.
    pub fn new(setup: Setup, now: Time) -> Self {
        let media = match &setup.plan {
            Plan::Agent { .. } | Plan::Application { .. } => LegMedia::default(),
            Plan::Trunk(outbound) => outbound.media,
        };
        let dialog = match setup.origin {
            Origin::Caller => Dialog::Trying,
            Origin::Agent { .. } | Origin::Application { .. } => Dialog::Gone,
        };
        Self {
            controlled: application::script(&setup.origin, &setup.plan)
                .map(|script| Controlled::of(script, &setup.plan)),
            placing: Placing::of(&setup.plan),
            a: Leg::new(dialog, setup.media, setup.transport),
            // Each target says which transport it is.
            b: Leg::new(Dialog::Gone, media, Transport::Udp),
            c: Leg::new(Dialog::Gone, LegMedia::default(), Transport::Udp),
            has_early_media: false,
            transfer: None,
            transfers: Vec::new(),
            looking_up: false,
            given_away: false,
            setup,
            phase: Phase::Preparing,
            agent_addresses: Vec::new(),
            failing: None,
            failures: Vec::new(),
            awaits_agent: false,
            started: now,
            answered: None,
            ended: None,
        }
    }

    /// What the call was set up with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When it came in.
    pub fn started(&self) -> Time {
        self.started
    }

    /// When the caller was answered.
    pub fn answered(&self) -> Option<Time> {
        self.answered
    }

    /// Keys the far end of a leg has pressed so far.
    pub fn digits(&self, side: Side) -> &str {
        &self.leg(side).digits
    }

    /// What a leg agreed on.
    pub fn session(&self, side: Side) -> Option<&Session> {
        self.leg(side).media.session.as_ref()
    }

    /// Takes an event; returns what is to be done, in order.
    pub fn on(&mut self, event: Event, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        match transfer::Event::of_third(event) {
            Ok(event) => self.on_transfer(event, now, &mut actions),
            Err(event) => self.take(event, now, &mut actions),
        }
        self.settle_application(now, &mut actions);
        actions
    }

    fn take(&mut self, event: Event, now: Time, actions: &mut Vec<Action>) {
        match event {
            Event::Start => self.start(actions),
            Event::Resolved(addresses) if self.application_found(Ok(&addresses), actions) => {}
            Event::Unresolved(why) if self.application_found(Err(&why), actions) => {}
            Event::Resolved(addresses) => self.resolved(addresses, actions),
            Event::Located(found) if self.looking_up => self.target_located(Ok(found), actions),
            Event::NotLocated(why) if self.looking_up => self.target_located(Err(why), actions),
            Event::Unresolved(why) => self.agent_not_found(&why, actions),
            Event::NotLocated(why) => self.not_located(&why, actions),
            Event::Located(destinations) => self.located(destinations, actions),
            Event::MediaOpened { side, endpoint } => {
                self.leg_mut(side).media.endpoint = Some(endpoint);
                match (self.phase, side) {
                    (Phase::Preparing, Side::A) => self.prepare(now, actions),
                    (Phase::Preparing, Side::B) => self.invite(actions),
                    // The call ended while its ports were being opened.
                    _ => self.close_media(side, actions),
                }
            }
            Event::MediaFailed { side, status, error } => {
                let text = format!("media of leg {side}: {error}");
                self.end(Party::Gateway, status, &text, actions);
            }
            Event::AnswerWithheld => {
                if self.phase == Phase::Answering {
                    self.phase = Phase::Connecting;
                    self.answered = None;
                    self.a.dialog = Dialog::Trying;
                }
            }
            Event::AgentReady if self.application_ready(now, actions) => {}
            Event::AgentReady => self.agent_ready(now, actions),
            Event::AgentFailed(_) | Event::AgentEnded if self.goes_on_without_agent(actions) => {}
            Event::AgentFailed(failure) if self.application_agent_failed(&failure, actions) => {}
            Event::AgentEnded if self.application_agent_ended(actions) => {}
            Event::AgentFailed(failure) => self.agent_failed(&failure, actions),
            Event::FallBack(fallback) => self.fall_back(fallback, now, actions),
            Event::AgentEnded => self.end(Party::Agent, 480, "agent ended the call", actions),
            Event::Digit { side, digit, .. } => {
                let digits = &mut self.leg_mut(side).digits;
                if digits.len() == DIGITS_KEPT {
                    digits.remove(0);
                }
                digits.push(digit);
                self.left_by_key(side, digit, now, actions);
            }
            Event::Progress { status, sdp } => self.progress(status, sdp.as_deref(), actions),
            Event::Answered { sdp } => self.callee_answered(sdp.as_deref(), now, actions),
            Event::Failed { .. } if self.was_left(Side::B, actions) => {}
            Event::Failed {
                status,
                reason,
                failure,
            } => self.callee_failed(status, &reason, &failure, actions),
            Event::Confirmed { side, sdp } => self.confirmed(side, sdp.as_deref(), actions),
            Event::Cancelled => {
                self.a.dialog = Dialog::Gone;
                self.end(Party::Caller, 487, "caller gave up", actions);
            }
            Event::Reinvite { side, sdp } => self.reinvite(side, sdp.as_deref(), actions),
            Event::Replaced { side, transport, sdp } => self.replaced(side, transport, sdp.as_deref(), actions),
            Event::Update { side, sdp } => self.update(side, &sdp, actions),
            Event::OfferAnswered { side, sdp } => self.offer_answered(side, sdp.as_deref(), actions),
            Event::OfferRefused { side } => self.offer_refused(side),
            Event::Bye { side, .. } | Event::Terminated { side, .. } if self.was_left(side, actions) => {}
            Event::Bye { side, reason } => {
                self.leg_mut(side).dialog = Dialog::Gone;
                let goes_on = self.is_taken_over(side, actions)
                    || self.goes_on_without(side, actions)
                    || self.dialled_is_gone(side, now, actions);
                if !goes_on {
                    let text = reason.as_deref().unwrap_or("hung up");
                    self.end(party(side), 480, text, actions);
                }
            }
            Event::Terminated { side, cause } => {
                self.leg_mut(side).dialog = Dialog::Gone;
                if !self.goes_on_without(side, actions) && !self.dialled_is_gone(side, now, actions) {
                    self.end(Party::Gateway, 480, &format!("leg {side}: {cause}"), actions);
                }
            }
            Event::MediaTimeout { side, .. } if self.dialled_is_gone(side, now, actions) => {}
            Event::MediaTimeout { side, quiet } => {
                let text = format!("no media from leg {side} for {} s", quiet.as_secs_f64().round());
                // Q.850: recovery on timer expiry.
                let reason = format!("Q.850;cause=102;text=\"{text}\"");
                self.end_for(Party::Gateway, 480, &text, &reason, actions);
            }
            Event::Stop { text } => self.end(Party::Gateway, 503, &text, actions),
            Event::Application(event) => self.on_application(event, now, actions),
            // Taken before.
            Event::Transfer(_) => {}
        }
    }

    pub(super) fn start(&mut self, actions: &mut Vec<Action>) {
        if self.is_placed() {
            return self.place(actions);
        }
        let towards = match self.setup.offer.as_deref().map(Description::parse).transpose() {
            Ok(offer) => media_of_caller(self.setup.remote, offer.as_ref()),
            Err(error) => {
                let error = NegotiationError::from(error);
                return self.end(Party::Gateway, error.status(), &error.to_string(), actions);
            }
        };
        actions.push(Action::OpenMedia { side: Side::A, towards });
    }

    /// Finds out where the call goes.
    fn prepare(&mut self, now: Time, actions: &mut Vec<Action>) {
        match self.setup.plan.clone() {
            Plan::Agent { host, .. } => {
                // Whether the caller's codecs will do is found out before the agent is troubled.
                if let Err(error) = self.negotiate_for_agent() {
                    return self.end(Party::Gateway, error.status(), &error.to_string(), actions);
                }
                match host {
                    Some(host) => actions.push(Action::Resolve(host)),
                    None => self.attach(Vec::new(), actions),
                }
            }
            Plan::Trunk(_) => self.place(actions),
            Plan::Application { .. } => {
                if let Err(error) = self.negotiate_for_agent() {
                    return self.end(Party::Gateway, error.status(), &error.to_string(), actions);
                }
                self.phase = Phase::Connecting;
                actions.push(Action::Ring { status: 180, sdp: None });
                self.start_application(now, actions);
            }
        }
    }

    pub(super) fn negotiate_for_agent(&mut self) -> Result<(), NegotiationError> {
        let codecs = self.setup.codecs.clone();
        match &self.setup.offer {
            Some(offer) => {
                let offer = Description::parse(offer)?;
                self.a.media.answer(&self.setup, &codecs, true, &offer)?;
            }
            None => {
                self.a.media.offer(&self.setup, &codecs)?;
            }
        }
        Ok(())
    }

    fn resolved(&mut self, addresses: Vec<SocketAddr>, actions: &mut Vec<Action>) {
        if addresses.is_empty() {
            return self.agent_not_found("the host has no address", actions);
        }
        match self.phase {
            Phase::Answering if self.is_placed() => self.connect_other(addresses, actions),
            Phase::Answering | Phase::Up if self.awaits_agent => self.connect_other(addresses, actions),
            Phase::Preparing if !self.is_placed() => self.attach(addresses, actions),
            Phase::Preparing | Phase::Connecting | Phase::Answering | Phase::Up | Phase::Ending | Phase::Ended => {}
        }
    }

    pub(super) fn attach(&mut self, addresses: Vec<SocketAddr>, actions: &mut Vec<Action>) {
        self.phase = Phase::Connecting;
        self.agent_addresses.clone_from(&addresses);
        actions.push(Action::Attach { addresses });
        actions.push(Action::Ring { status: 180, sdp: None });
    }

    fn agent_ready(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.agent().is_none() {
            // It was on its way when the call went elsewhere.
            return;
        }
        if self.is_placed() {
            return self.placed_agent_ready();
        }
        if self.phase == Phase::Connecting {
            if let Some(session) = self.a.media.session.clone() {
                actions.push(Action::Program { side: Side::A, session });
            }
            self.answer_caller(now, actions);
        }
    }

    fn progress(&mut self, status: u16, sdp: Option<&[u8]>, actions: &mut Vec<Action>) {
        if self.is_placed() {
            return self.placed_progress(sdp, actions);
        }
        // 199 tells of one fork's end (RFC 6228); the call goes on ringing.
        if self.phase != Phase::Connecting || status == 199 {
            return;
        }
        // Early media needs an answer to put into the 183, hence an offer from the caller.
        let early = match sdp {
            Some(sdp) if self.setup.offer.is_some() => match self.join(Some(sdp), actions) {
                Ok(()) => self.a.media.ours.clone(),
                Err(error) => return self.end(Party::Callee, 502, &error.to_string(), actions),
            },
            _ => None,
        };
        let status = if early.is_some() { 183 } else { status };
        self.has_early_media |= early.is_some();
        actions.push(Action::Ring { status, sdp: early });
    }

    fn callee_answered(&mut self, sdp: Option<&[u8]>, now: Time, actions: &mut Vec<Action>) {
        if self.phase != Phase::Connecting {
            return;
        }
        if self.is_placed() {
            return self.placed_answered(sdp, now, actions);
        }
        self.b.dialog = Dialog::Up;
        match self.join(sdp, actions) {
            Ok(()) => {
                self.answer_caller(now, actions);
                self.application_bridged(now, actions);
            }
            Err(error) => self.end(Party::Callee, 502, &error.to_string(), actions),
        }
    }

    /// Takes leg B's answer, gives leg A one that needs no transcoding if that can be, and joins the two.
    fn join(&mut self, answer: Option<&[u8]>, actions: &mut Vec<Action>) -> Result<(), NegotiationError> {
        if answer.is_none() && self.b.media.session.is_some() {
            return Ok(()); // the answer was in a 183
        }
        let b = self.b.media.accept(answer)?;
        let codecs = self.codecs_beside(Side::A, b.codec);
        let telephone_event = b.telephone_event.is_some();
        actions.push(Action::Program {
            side: Side::B,
            session: b,
        });
        match &self.setup.offer {
            Some(offer) if self.a.media.session.is_none() => {
                let offer = Description::parse(offer)?;
                let session = self.a.media.answer(&self.setup, &codecs, telephone_event, &offer)?;
                actions.push(Action::Program { side: Side::A, session });
                actions.push(Action::Relay);
            }
            // The answer given in a 183 stands; but it may have been another target's, with other ports.
            Some(_) => actions.push(Action::Relay),
            None => {
                self.a.media.offer(&self.setup, &codecs)?;
            }
        }
        Ok(())
    }

    pub(super) fn answer_caller(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Some(sdp) = self.a.media.ours.clone() else {
            return self.end(Party::Gateway, 500, "no SDP was negotiated with the caller", actions);
        };
        self.phase = Phase::Answering;
        self.answered = Some(now);
        self.a.dialog = Dialog::Up;
        actions.push(Action::Answer { side: Side::A, sdp });
    }

    fn confirmed(&mut self, side: Side, sdp: Option<&[u8]>, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) || self.leg(side).dialog != Dialog::Up {
            return;
        }
        if self.phase == Phase::Answering && side == Side::A {
            self.phase = Phase::Up;
            match self.setup.plan {
                Plan::Agent { .. } | Plan::Application { .. } => actions.push(Action::LetSpeak { side }),
                Plan::Trunk(_) => {}
            }
        }
        let first = self.leg(side).media.session.is_none();
        if sdp.is_none() && !first {
            return;
        }
        match self.leg_mut(side).media.accept(sdp) {
            Ok(session) => {
                actions.push(Action::Program { side, session });
                match first {
                    true if matches!(self.setup.plan, Plan::Trunk(_)) => actions.push(Action::Relay),
                    true => {}
                    false => self.pass_on_hold(side, actions),
                }
            }
            Err(error) => self.end(Party::Gateway, 488, &error.to_string(), actions),
        }
    }

    /// Whether the legs may differ in codec.
    pub(super) fn transcode(&self) -> Transcode {
        both_auto(self.a.media.transcode(), self.b.media.transcode())
    }

    /// Codecs that a leg may be given in order of preference, if what is beside it speaks `codec`: that one first.
    pub(super) fn codecs_beside(&self, side: Side, codec: Codec) -> Vec<Codec> {
        let allowed = match (side, &self.setup.plan) {
            (Side::A, _) | (Side::B | Side::C, Plan::Agent { .. } | Plan::Application { .. }) => &self.setup.codecs,
            (Side::B | Side::C, Plan::Trunk(outbound)) => &outbound.codecs,
        };
        let may_differ = match &self.setup.plan {
            Plan::Agent { .. } | Plan::Application { .. } => Transcode::Auto,
            Plan::Trunk(_) => self.transcode(),
        };
        let mut codecs: Vec<Codec> = allowed.iter().copied().filter(|allowed| *allowed == codec).collect();
        match may_differ {
            Transcode::Auto => codecs.extend(allowed.iter().filter(|allowed| **allowed != codec)),
            Transcode::Off => {}
        }
        codecs
    }

    /// Takes the call down, once; afterwards only watches for the last dialog to go.
    pub(super) fn end(&mut self, by: Party, status: u16, text: &str, actions: &mut Vec<Action>) {
        self.end_for(by, status, text, text, actions);
    }

    /// The same, with another text for the legs than for the record.
    pub(super) fn end_for(&mut self, by: Party, status: u16, text: &str, reason: &str, actions: &mut Vec<Action>) {
        if self.ended.is_none() {
            self.ended = Some(Cause {
                by,
                status: self.answered.is_none().then_some(status),
                text: text.to_owned(),
            });
            self.phase = Phase::Ending;
            self.leave_application(actions);
            self.drop_transfer(status, "the call ended");
            for side in [Side::A, Side::B, Side::C] {
                self.end_leg(side, status, reason, actions);
            }
        }
        let gone = |leg: &Leg| leg.dialog == Dialog::Gone;
        if self.phase == Phase::Ending && [&self.a, &self.b, &self.c].into_iter().all(gone) {
            self.phase = Phase::Ended;
            actions.extend(self.ended.clone().map(Action::Finish));
        }
    }

    pub(super) fn end_leg(&mut self, side: Side, status: u16, text: &str, actions: &mut Vec<Action>) {
        let text = text.to_owned();
        let leg = self.leg_mut(side);
        match (leg.dialog, side) {
            (Dialog::Trying, Side::A) => {
                leg.dialog = Dialog::Gone;
                actions.push(Action::Reject { side, status, text });
            }
            (Dialog::Trying, Side::B | Side::C) | (Dialog::Up, _) => {
                leg.dialog = Dialog::HangingUp;
                actions.push(Action::HangUp { side, text });
            }
            (Dialog::HangingUp | Dialog::Gone, _) => {}
        }
        self.close_media(side, actions);
    }

    pub(super) fn close_media(&mut self, side: Side, actions: &mut Vec<Action>) {
        if self.leg_mut(side).media.endpoint.take().is_some() {
            actions.push(Action::CloseMedia { side });
        }
    }

    pub(super) fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
            Side::C => &self.c,
        }
    }

    pub(super) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
            Side::C => &mut self.c,
        }
    }
}

/// Whether two legs may differ in codec.
pub(super) fn both_auto(one: Transcode, other: Transcode) -> Transcode {
    match (one, other) {
        (Transcode::Auto, Transcode::Auto) => Transcode::Auto,
        (Transcode::Off, _) | (_, Transcode::Off) => Transcode::Off,
    }
}

/// In which direction the caller's media is. Signalling tells it, since an address in SDP may mean something only behind
/// the caller's address translator; but the IP version is the offer's.
fn media_of_caller(signalling: SocketAddr, offer: Option<&Description>) -> SocketAddr {
    match offer.and_then(|offer| offer.audio().ok()) {
        Some(audio) if audio.rtp.is_ipv4() != signalling.is_ipv4() => audio.rtp,
        _ => signalling,
    }
}

/// Whose leg it is.
pub(super) fn party(side: Side) -> Party {
    match side {
        Side::A => Party::Caller,
        Side::B | Side::C => Party::Callee,
    }
}
