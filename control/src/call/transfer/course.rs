//! A transfer by a new leg, from the order to its end.
//!
//! ```text
//!  asked ─► look up ─► open media ─► INVITE ─► (180) ─► 200: leg C takes the place of who leaves, who is hung up on
//!             └───────────┴────────────┴─────────┴────► failure, time-out, taken back: the call is as it was before
//! ```

use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{AgentNotice, Endpoint, TransferState};

use super::super::machine::{Call, Dialog, Leg, Phase, both_auto};
use super::super::negotiation::NegotiationError;
use super::super::targets::{Next, Targets, Then};
use super::super::{self as call, Party, Plan, Side};
use super::{
    Action, Asker, By, Course, Event, MOST, Order, Outcome, Placement, Record, ReferStep, Refusal, Ringing, Step,
    Target, Transfer, Way,
};
use crate::config::model::Transcode;
use crate::sdp::Signalling;
use crate::sip::locate::Destination;
use crate::sip::{self, Failure, Transport};
use crate::time::Time;

impl Event {
    /// Whether something that happened to a call happened to its third leg: then it is a matter of the transfer.
    pub(in crate::call) fn of_third(event: call::Event) -> Result<Self, call::Event> {
        use call::Event as Of;
        match event {
            Of::Transfer(event) => Ok(event),
            Of::MediaOpened {
                side: Side::C,
                endpoint,
            } => Ok(Self::MediaOpened(endpoint)),
            Of::MediaFailed {
                side: Side::C,
                status,
                error,
            } => Ok(Self::MediaFailed { status, error }),
            Of::Bye { side: Side::C, .. } | Of::Terminated { side: Side::C, .. } => Ok(Self::Gone),
            other => Err(other),
        }
    }
}

impl Call {
    /// Whether the call can be transferred now, so that this leg leaves.
    ///
    /// # Errors
    /// Why not.
    pub fn may_transfer(&self, leaves: Side) -> Result<(), Refusal> {
        let Some(stays) = leaves.other() else {
            return Err(Refusal::NoLeg);
        };
        let can_leave = match self.agent() {
            // An agent cannot go on without whom it talks with.
            Some((_, hears)) => stays == hears,
            None => true,
        };
        if !can_leave {
            Err(Refusal::NoLeg)
        } else if !self.can_stay(stays) {
            Err(Refusal::NotUp)
        } else if self.transfer.is_some() || self.looking_up || self.c.dialog != Dialog::Gone {
            Err(Refusal::UnderWay)
        } else if self.transfers.len() >= MOST {
            Err(Refusal::TooOften)
        } else {
            Ok(())
        }
    }

    /// Whether a leg can go on with another party. An agent may ask before the caller's ACK has come.
    fn can_stay(&self, side: Side) -> bool {
        let leg = self.leg(side);
        let up = match self.phase {
            Phase::Up => true,
            // An agent that has placed the call is not there yet.
            Phase::Answering => !self.is_placed(),
            Phase::Preparing | Phase::Connecting | Phase::Ending | Phase::Ended => false,
        };
        up && leg.dialog == Dialog::Up && leg.media.session.is_some()
    }

    /// What came of the transfers of the call, the first first; the last may be under way.
    pub fn transfers(&self) -> Vec<Record> {
        let under_way = self.transfer.as_ref().map(|transfer| {
            transfer.record(match &transfer.course {
                Course::Placing(placement) => match placement.step {
                    Step::Locating | Step::Opening | Step::Calling => Outcome::Calling,
                    Step::Ringing => Outcome::Ringing,
                },
                Course::Referring(ReferStep::Sent | ReferStep::Accepted) => Outcome::Calling,
                Course::Referring(ReferStep::Ringing) => Outcome::Ringing,
            })
        });
        self.transfers.iter().cloned().chain(under_way).collect()
    }

    /// What came of those that are over.
    pub fn ended_transfers(&self) -> &[Record] {
        &self.transfers
    }

    /// What is asked for by the transfer that is under way.
    pub fn transferring(&self) -> Option<&Order> {
        self.transfer.as_ref().map(|transfer| &transfer.order)
    }

    /// Where leg C goes while it is being set up.
    pub fn target(&self) -> Option<&Target> {
        match &self.transferring()?.by {
            By::Bridge(target) => Some(target),
            By::Refer(_) => None,
        }
    }

    fn placement(&mut self) -> Option<&mut Placement> {
        match &mut self.transfer.as_mut()?.course {
            Course::Placing(placement) => Some(placement),
            Course::Referring(_) => None,
        }
    }

    pub(in crate::call) fn on_transfer(&mut self, event: Event, now: Time, actions: &mut Vec<call::Action>) {
        match event {
            Event::Asked(order) => self.asked(*order, now, actions),
            Event::TakenBack => self.fail_transfer(487, "taken back", actions),
            Event::Due => {
                if let Some(transfer) = self.transfer.as_ref().filter(|transfer| transfer.deadline <= now) {
                    let text = format!("no answer within {} s", transfer.order.timeout.as_secs());
                    self.fail_transfer(408, &text, actions);
                }
            }
            Event::MediaOpened(endpoint) => self.target_media(endpoint, actions),
            Event::MediaFailed { status, error } => self.fail_transfer(status, &error, actions),
            Event::Progress => self.target_rings(actions),
            Event::Answered { sdp } => self.target_answered(sdp.as_deref(), now, actions),
            Event::Failed {
                status,
                reason,
                failure,
            } => self.target_failed(status, &reason, &failure, actions),
            Event::Gone => {
                self.c.dialog = Dialog::Gone;
                self.third_is_gone(actions);
            }
            Event::ReferAccepted { reported } => self.refer_accepted(reported, actions),
            Event::ReferRefused { status, reason } => self.refer_refused(status, &reason, actions),
            Event::ReferNews(news) => self.refer_news(&news, actions),
        }
    }

    /// Begins one.
    pub(in crate::call) fn asked(&mut self, order: Order, now: Time, actions: &mut Vec<call::Action>) {
        let deadline = now + order.timeout;
        let refused = self.may_transfer(order.leaves).err();
        // It may dial as often as it likes.
        let refused = refused.filter(|why| (*why, order.asked_by) != (Refusal::TooOften, Asker::Application));
        let ringing = order.ringing;
        let course = match &order.by {
            By::Bridge(target) => {
                let outbound = &target.outbound;
                Course::Placing(Box::new(Placement {
                    targets: Targets::new(outbound.ways.clone(), outbound.request_uri.clone(), outbound.redirects),
                    target: None,
                    step: Step::Locating,
                }))
            }
            By::Refer(_) => Course::Referring(ReferStep::Sent),
        };
        let transfer = Transfer {
            order,
            course,
            deadline,
            left: false,
        };
        if let Some(refusal) = refused {
            let reason = refusal.to_string();
            self.refuse_application(&transfer.order, 491);
            let record = transfer.record(Outcome::Failed { status: 491, reason });
            return self.keep_record(record);
        }
        if let By::Bridge(target) = &transfer.order.by {
            self.c = Leg::new(Dialog::Gone, target.outbound.media, Transport::Udp);
        }
        let stays = transfer.order.leaves.other();
        self.transfer = Some(transfer);
        actions.push(call::Action::Transfer(Action::Wake(deadline)));
        match ringing {
            Ringing::Ringback if self.agent().is_some() => self.let_leave(actions),
            Ringing::Ringback | Ringing::Agent => {}
        }
        self.tell_agent(TransferState::Calling, None, actions);
        match (self.placement(), stays) {
            (Some(_), _) => self.place_third(actions),
            (None, Some(side)) => actions.push(call::Action::Transfer(Action::Refer { side })),
            (None, None) => {}
        }
    }

    /// Tries what is next.
    fn place_third(&mut self, actions: &mut Vec<call::Action>) {
        let Some(placement) = self.placement() else { return };
        match placement.targets.advance() {
            Next::LookUp(place) => {
                placement.step = Step::Locating;
                self.looking_up = true;
                actions.push(call::Action::Locate(place));
            }
            Next::Try(target) => {
                let towards = target.destination.remote;
                placement.target = Some(target);
                placement.step = Step::Opening;
                match self.c.media.endpoint {
                    Some(endpoint) if endpoint.rtp.is_ipv4() == towards.is_ipv4() => self.call_target(actions),
                    _ => {
                        self.close_media(Side::C, actions);
                        actions.push(call::Action::OpenMedia { side: Side::C, towards });
                    }
                }
            }
            Next::Exhausted => {
                let tried = placement.targets.tried().last();
                let text = tried.map_or("there is nowhere to send it to", |attempt| &attempt.outcome);
                let text = text.to_owned();
                self.fail_transfer(503, &text, actions);
            }
        }
    }

    /// A gateway of the trunk has been looked up.
    pub(in crate::call) fn target_located(
        &mut self,
        found: Result<Vec<Destination>, String>,
        actions: &mut Vec<call::Action>,
    ) {
        self.looking_up = false;
        let Some(placement) = self.placement().filter(|one| one.step == Step::Locating) else {
            return;
        };
        match found {
            Ok(destinations) => placement.targets.found(destinations),
            Err(why) => placement.targets.not_found(&why),
        }
        self.place_third(actions);
    }

    /// Leg C's INVITE has failed: another gateway is tried, or that is all.
    fn target_failed(&mut self, status: u16, reason: &str, failure: &Failure, actions: &mut Vec<call::Action>) {
        self.c.dialog = Dialog::Gone;
        let placement = self.placement();
        match placement.map(|placement| placement.targets.failed(status, reason, failure)) {
            Some(Then::Next) if self.placement().is_some_and(|one| one.targets.has_more()) => {
                self.place_third(actions);
            }
            Some(Then::Next | Then::End) | None => {
                self.fail_transfer(status, &format!("{status} {reason}"), actions);
                self.third_is_gone(actions);
            }
        }
    }

    fn target_media(&mut self, endpoint: Endpoint, actions: &mut Vec<call::Action>) {
        self.c.media.endpoint = Some(endpoint);
        match self.placement() {
            Some(placement) if placement.step == Step::Opening => self.call_target(actions),
            Some(_) | None => self.close_media(Side::C, actions),
        }
    }

    /// Leg C's INVITE leaves.
    fn call_target(&mut self, actions: &mut Vec<call::Action>) {
        let leaves = self.transferring().map(|order| order.leaves);
        let target = self.placement().and_then(|placement| placement.target.clone());
        let (Some(leaves), Some(target)) = (leaves, target) else {
            return self.close_media(Side::C, actions);
        };
        self.c.media.begin(Signalling::over(target.destination.transport));
        let bar = self.c.media.bar();
        if let (Some(bar), Some(placement)) = (bar, self.placement())
            && placement.targets.has_more()
        {
            placement.targets.passed_over(&bar.to_string());
            return self.place_third(actions);
        }
        match self.offer_to_target(leaves) {
            Ok(sdp) => {
                let mut patience = self.target().map(|target| target.outbound.patience);
                if let Some(placement) = self.placement() {
                    placement.step = Step::Calling;
                    patience = patience.filter(|_| placement.targets.has_more());
                }
                self.c.dialog = Dialog::Trying;
                actions.push(call::Action::Transfer(Action::Invite { target, patience, sdp }));
            }
            Err(error) => self.fail_transfer(error.status(), &error.to_string(), actions),
        }
    }

    /// The offer to leg C: what the leg that stays speaks first, so that packets need no change.
    fn offer_to_target(&mut self, leaves: Side) -> Result<Vec<u8>, NegotiationError> {
        let stays = leaves.other().unwrap_or(Side::A);
        let beside = self.leg(stays).media.session.clone();
        let beside = beside.ok_or(NegotiationError::NoEndpoint)?;
        let may_differ = both_auto(self.leg(stays).media.transcode(), self.c.media.transcode());
        let allowed: &[Codec] = self.target().map_or(&[], |target| &target.outbound.codecs);
        let same = |codec: &&Codec| **codec == beside.codec;
        let mut codecs: Vec<Codec> = allowed.iter().filter(same).copied().collect();
        match may_differ {
            Transcode::Auto => codecs.extend(allowed.iter().filter(|codec| !same(codec))),
            Transcode::Off => {}
        }
        self.c.media.offer_beside(&self.setup, &codecs, &beside)
    }

    fn target_rings(&mut self, actions: &mut Vec<call::Action>) {
        let Some(placement) = self.placement().filter(|one| one.step == Step::Calling) else {
            return;
        };
        placement.step = Step::Ringing;
        self.report(sip::Progress::of(180), actions);
        self.tell_agent(TransferState::Ringing, None, actions);
    }

    /// Leg C takes the place of who leaves.
    fn target_answered(&mut self, sdp: Option<&[u8]>, now: Time, actions: &mut Vec<call::Action>) {
        self.c.dialog = Dialog::Up;
        let Some(transfer) = self.transfer.take_if(|transfer| transfer.order.by.way() == Way::Bridge) else {
            // It answered while it was being taken back: the SIP core hangs up such a one, unless it was never told.
            return self.end_leg(Side::C, 487, "the transfer is over", actions);
        };
        let session = match self.c.media.accept(sdp) {
            Ok(session) => session,
            Err(error) => {
                self.transfer = Some(transfer);
                return self.fail_transfer(502, &error.to_string(), actions);
            }
        };
        let record = transfer.record(Outcome::Completed);
        // Before the legs change places: it is the one that leaves which is told.
        actions.extend(transfer.report(sip::Progress::of(200)));
        let Order {
            leaves, by, asked_by, ..
        } = transfer.order;
        let By::Bridge(target) = by else { return };
        match leaves {
            Side::B => {
                std::mem::swap(&mut self.b, &mut self.c);
                self.setup.plan = Plan::Trunk(Box::new(target.outbound));
            }
            Side::A | Side::C => {
                std::mem::swap(&mut self.a, &mut self.c);
                self.setup.codecs = target.outbound.codecs;
                self.given_away = self.is_placed();
            }
        }
        actions.push(call::Action::Transfer(Action::Replace { side: leaves }));
        actions.push(call::Action::Program { side: leaves, session });
        actions.push(call::Action::Relay);
        self.end_leg(Side::C, 480, "transferred", actions);
        match asked_by {
            Asker::Application => self.application_bridged(now, actions),
            // The call is another's from now on.
            Asker::Operator | Asker::Agent | Asker::Fallback | Asker::Carrier => self.leave_application(actions),
        }
        self.keep_record(record);
    }

    /// Ends a transfer that is under way, if one is; the call goes on as before.
    pub(in crate::call) fn fail_transfer(&mut self, status: u16, why: &str, actions: &mut Vec<call::Action>) {
        let Some(transfer) = self.abandon_transfer(status, why, actions) else {
            return;
        };
        if transfer.order.asked_by == Asker::Fallback {
            let text = format!("the agent failed, and so did its fallback: {why}");
            return self.end(Party::Agent, 480, &text, actions);
        }
        if transfer.order.asked_by == Asker::Application {
            return self.refuse_application(&transfer.order, status);
        }
        if transfer.left && self.application_goes_on(actions) {
            return;
        }
        let notice = AgentNotice {
            state: TransferState::Failed,
            to: transfer.order.to,
            status: Some(status),
            reason: Some(why.to_owned()),
        };
        match (self.agent(), transfer.left) {
            (Some(_), false) => actions.push(call::Action::Transfer(Action::Tell(notice))),
            (Some((_, side)), true) => actions.push(call::Action::Transfer(Action::Reattach {
                side,
                addresses: self.agent_addresses.clone(),
                notice,
            })),
            (None, false) => {}
            // Nobody is left to talk with.
            (None, true) => self.end(Party::Gateway, 480, &format!("transfer failed: {why}"), actions),
        }
    }

    /// Gives up a transfer that is under way, whatever is to become of the call; whoever has asked for it by REFER is told.
    pub(in crate::call) fn abandon_transfer(
        &mut self,
        status: u16,
        why: &str,
        actions: &mut Vec<call::Action>,
    ) -> Option<Transfer> {
        let transfer = self.drop_transfer(status, why)?;
        self.end_leg(Side::C, status, why, actions);
        actions.extend(transfer.report(sip::Progress::of(status)));
        Some(transfer)
    }

    /// The application is told that what it has asked for came to nothing, if it was that.
    fn refuse_application(&mut self, order: &Order, status: u16) {
        if order.asked_by == Asker::Application {
            self.application_refused(status);
        }
    }

    /// Keeps the record of a transfer that came to nothing.
    pub(in crate::call) fn drop_transfer(&mut self, status: u16, why: &str) -> Option<Transfer> {
        let transfer = self.transfer.take()?;
        let reason = why.to_owned();
        self.keep_record(transfer.record(Outcome::Failed { status, reason }));
        Some(transfer)
    }

    /// Whether who is to leave by the transfer that is under way has left already.
    pub(in crate::call) fn has_left(&self) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.left)
    }

    /// The agent has gone, for whatever reason. Whether the call goes on without it, because it is being transferred, or it
    /// is another's by now.
    pub(in crate::call) fn goes_on_without_agent(&mut self, actions: &mut Vec<call::Action>) -> bool {
        match (self.agent().is_some(), self.transfer.is_some()) {
            // It has left long ago.
            (false, _) => true,
            (true, true) => {
                self.let_leave(actions);
                true
            }
            (true, false) => false,
        }
    }

    /// A leg has hung up, or is lost. Whether the call goes on without it, because it was to leave.
    pub(in crate::call) fn goes_on_without(&mut self, side: Side, actions: &mut Vec<call::Action>) -> bool {
        let leaves = self.transfer.as_ref().map(|transfer| transfer.order.leaves);
        let goes_on = leaves == Some(side);
        if goes_on {
            self.close_media(side, actions);
            self.let_leave(actions);
        }
        goes_on
    }

    /// Who is to leave leaves now; the other hears a ring-back tone.
    fn let_leave(&mut self, actions: &mut Vec<call::Action>) {
        let Some(transfer) = &mut self.transfer else { return };
        if !std::mem::replace(&mut transfer.left, true)
            && let Some(side) = transfer.order.leaves.other()
        {
            actions.push(call::Action::Transfer(Action::RingBack { side }));
        }
    }

    /// The carrier is told how far the transfer has come, if it has asked for it.
    fn report(&self, progress: sip::Progress, actions: &mut Vec<call::Action>) {
        actions.extend(self.transfer.as_ref().and_then(|transfer| transfer.report(progress)));
    }

    /// The agent is told how far the transfer has come, if it is there.
    pub(super) fn tell_agent(&self, state: TransferState, status: Option<u16>, actions: &mut Vec<call::Action>) {
        if let (Some(_), Some(transfer)) = (self.agent(), &self.transfer)
            && !transfer.left
        {
            let to = transfer.order.to.clone();
            let notice = AgentNotice {
                state,
                to,
                status,
                reason: None,
            };
            actions.push(call::Action::Transfer(Action::Tell(notice)));
        }
    }

    /// Leg C's dialog is gone.
    fn third_is_gone(&mut self, actions: &mut Vec<call::Action>) {
        self.close_media(Side::C, actions);
        if self.phase == Phase::Ending {
            // Was it the last?
            self.end(Party::Gateway, 480, "", actions);
        }
    }

    pub(super) fn keep_record(&mut self, record: Record) {
        // What is refused is not among those that are counted.
        if self.transfers.len() < MOST {
            self.transfers.push(record);
        }
    }
}

impl Transfer {
    fn report(&self, progress: sip::Progress) -> Option<call::Action> {
        let Order { asked_by, leaves, .. } = self.order;
        match asked_by {
            Asker::Carrier => Some(call::Action::Transfer(Action::Report { side: leaves, progress })),
            Asker::Operator | Asker::Agent | Asker::Application | Asker::Fallback => None,
        }
    }

    pub(super) fn record(&self, outcome: Outcome) -> Record {
        Record {
            to: self.order.to.clone(),
            way: self.order.by.way(),
            asked_by: self.order.asked_by,
            outcome,
        }
    }
}
