//! Calls whose session changes while they are up: re-INVITEs and UPDATEs of either leg, and what of them the other leg is
//! told.
//!
//! A leg is answered by us, at once: the two legs have sessions of their own. That one is on hold the other is told, by a
//! re-INVITE of ours, so that it does not take the silence for a fault.

use voxlane_dataplane::media_plane::Session;

use super::machine::{Call, Dialog, Phase};
use super::negotiation::NegotiationError;
use super::{Action, Plan, Side};
use crate::sdp::Description;

impl Call {
    /// A re-INVITE of a leg.
    pub(super) fn reinvite(&mut self, side: Side, sdp: Option<&[u8]>, actions: &mut Vec<Action>) {
        let reject = |status, text: &str| Action::Reject {
            side,
            status,
            text: text.to_owned(),
        };
        // Leg C is not in the call yet, or not any more.
        if !matches!(self.phase, Phase::Answering | Phase::Up) || side == Side::C {
            return actions.push(reject(491, "the call is not up"));
        }
        if self.leg(side).media.session.is_none() {
            return actions.push(reject(491, "an offer is outstanding"));
        }
        let agreed = match sdp {
            Some(sdp) => self.agree(side, sdp),
            // A refresh: they ask for our offer and get what is in force.
            None => {
                return match self.offer_in_force(side) {
                    Ok(sdp) => actions.push(Action::Answer { side, sdp }),
                    Err(error) => actions.push(reject(error.status(), &error.to_string())),
                };
            }
        };
        match agreed {
            Ok((session, sdp)) => {
                actions.push(Action::Program { side, session });
                actions.push(Action::Answer { side, sdp });
                self.pass_on_hold(side, actions);
            }
            Err(error) => actions.push(reject(error.status(), &error.to_string())),
        }
    }

    /// An UPDATE of a leg, with an offer.
    pub(super) fn update(&mut self, side: Side, sdp: &[u8], actions: &mut Vec<Action>) {
        let reject = |status, text: &str| Action::RejectUpdate {
            side,
            status,
            text: text.to_owned(),
        };
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return actions.push(reject(487, "the call is ending"));
        }
        if side == Side::C {
            return actions.push(reject(491, "the call is being transferred"));
        }
        if self.leg(side).media.session.is_none() {
            return actions.push(reject(491, "an offer is outstanding"));
        }
        match self.agree(side, sdp) {
            Ok((session, sdp)) => {
                actions.push(Action::Program { side, session });
                actions.push(Action::AnswerUpdate { side, sdp });
                self.pass_on_hold(side, actions);
            }
            Err(error) => actions.push(reject(error.status(), &error.to_string())),
        }
    }

    /// Answers a new offer of a leg: what the legs have in common first.
    pub(super) fn agree(&mut self, side: Side, sdp: &[u8]) -> Result<(Session, Vec<u8>), NegotiationError> {
        let other = side.other().and_then(|other| self.leg(other).media.session.as_ref());
        // Once the legs agree, packets need no change any more.
        let beside = other.map(|other| (other.codec, other.telephone_event.is_some()));
        let own = self.leg(side).media.session.as_ref().map(|session| session.codec);
        let (codecs, telephone_event) = match (beside, own) {
            (Some((codec, telephone_event)), _) => (self.codecs_beside(side, codec), telephone_event),
            (None, Some(codec)) => (self.codecs_beside(side, codec), true),
            (None, None) => return Err(NegotiationError::NoOffer),
        };
        let setup = &self.setup;
        let leg = match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
            Side::C => &mut self.c,
        };
        let session = leg
            .media
            .answer(setup, &codecs, telephone_event, &Description::parse(sdp)?)?;
        let ours = leg.media.ours.clone().ok_or(NegotiationError::NoOffer)?;
        Ok((session, ours))
    }

    /// Our offer was answered, or what we refreshed a session with was answered otherwise than before.
    pub(super) fn offer_answered(&mut self, side: Side, sdp: Option<&[u8]>, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) || side == Side::C {
            return;
        }
        // What is no answer changes nothing.
        if let Ok(session) = self.leg_mut(side).media.accept(sdp) {
            actions.push(Action::Program { side, session });
        }
    }

    /// Our offer was refused: the session is what it was, and so is what the far end knows.
    pub(super) fn offer_refused(&mut self, side: Side) {
        let media = &mut self.leg_mut(side).media;
        if let Some(session) = &media.session {
            media.told = session.direction;
        }
    }

    /// Tells the other leg of a relayed call which way media flows on this one, if it has not heard.
    pub(super) fn pass_on_hold(&mut self, side: Side, actions: &mut Vec<Action>) {
        let Some(other) = side.other() else { return };
        let is_relayed = matches!(self.setup.plan, Plan::Trunk(_));
        let direction = self.leg(side).media.session.as_ref().map(|session| session.direction);
        let (true, Some(direction)) = (is_relayed, direction) else {
            return;
        };
        // What comes from this leg goes to the other.
        let direction = direction.reversed();
        let setup = &self.setup;
        let leg = match other {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
            Side::C => &mut self.c,
        };
        if leg.dialog != Dialog::Up || leg.media.told == direction || leg.media.session.is_none() {
            return;
        }
        if let Ok(sdp) = leg.media.offer_again(setup, direction) {
            actions.push(Action::Offer { side: other, sdp });
        }
    }
}
