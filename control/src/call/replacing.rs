//! A leg whose carrier puts another dialog in the place of its own (RFC 3891): whom it talks with has been given to another
//! party there.
//!
//! The leg goes on with its ports, its agent and what it agreed with the other leg; only its far end is another. The dialog before
//! is leg C's, and is hung up.

use super::machine::{Call, Dialog, Leg, Phase};
use super::negotiation::NegotiationError;
use super::{Action, Side, transfer};
use crate::config::model::LegMedia;
use crate::sdp::Signalling;
use crate::sip::Transport;

impl Call {
    /// Whether another dialog can take the place of a leg's now.
    ///
    /// # Errors
    /// [`transfer::Refusal`]
    pub fn may_be_replaced(&self, side: Side) -> Result<(), transfer::Refusal> {
        let is_up = matches!(self.phase, Phase::Answering | Phase::Up);
        let leg = self.leg(side);
        match side {
            Side::A | Side::B if is_up && leg.dialog == Dialog::Up && leg.media.session.is_some() => {}
            Side::A | Side::B | Side::C => return Err(transfer::Refusal::NotUp),
        }
        match self.transferring().is_some() || self.looking_up || self.c.dialog != Dialog::Gone {
            true => Err(transfer::Refusal::UnderWay),
            false => Ok(()),
        }
    }

    /// An INVITE, whose dialog is leg C's until now, takes the place of a leg's.
    pub(super) fn replaced(&mut self, side: Side, transport: Transport, sdp: Option<&[u8]>, actions: &mut Vec<Action>) {
        if let Err(refusal) = self.may_be_replaced(side) {
            let text = refusal.to_string();
            return actions.push(Action::Reject {
                side: Side::C,
                status: 491,
                text,
            });
        }
        let before = self.leg_mut(side).media.goes_on_over(Signalling::over(transport));
        let agreed = match sdp {
            Some(sdp) => self.agree(side, sdp).map(|(session, sdp)| (Some(session), sdp)),
            None => self.offer_in_force(side).map(|sdp| (None, sdp)),
        };
        let (session, sdp) = match agreed {
            Ok(agreed) => agreed,
            Err(error) => {
                self.leg_mut(side).media.goes_on_over(before);
                return actions.push(Action::Reject {
                    side: Side::C,
                    status: error.status(),
                    text: error.to_string(),
                });
            }
        };
        self.c = Leg::new(Dialog::Up, LegMedia::default(), transport);
        actions.push(Action::Transfer(transfer::Action::TakePlace { side }));
        actions.extend(session.map(|session| Action::Program { side, session }));
        actions.push(Action::Answer { side, sdp });
        self.end_leg(Side::C, 480, "replaced", actions);
        self.pass_on_hold(side, actions);
    }

    /// An offer of what a leg speaks already.
    pub(super) fn offer_in_force(&mut self, side: Side) -> Result<Vec<u8>, NegotiationError> {
        let codec = self.leg(side).media.session.as_ref().map(|session| session.codec);
        let codec = codec.ok_or(NegotiationError::NoOffer)?;
        let setup = &self.setup;
        let leg = match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
            Side::C => &mut self.c,
        };
        leg.media.offer(setup, &[codec])
    }
}
