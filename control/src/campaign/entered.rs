//! A call in the dialler's book: how far it has come, and what became of it.

use std::time::SystemTime;

use super::{CallResult, CampaignId, Order, State};
use crate::time::Time;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The final status of its INVITE, if there was one.
    pub status: Option<u16>,
    /// Why, in words.
    pub cause: String,
}

/// A call in the book.
#[derive(Clone, Debug)]
pub(super) struct Entered {
    pub(super) campaign: Option<CampaignId>,
    pub(super) order: Order,
    pub(super) state: State,
    /// Somebody does not want it any more.
    pub(super) unwanted: bool,
    /// It has rung for too long.
    pub(super) too_long: bool,
    /// When it is to be given up.
    pub(super) patience: Option<Time>,
    pub(super) ending: Option<Ending>,
    pub(super) asked: SystemTime,
    pub(super) begun: Option<SystemTime>,
    pub(super) ringing: Option<SystemTime>,
    pub(super) answered: Option<SystemTime>,
    pub(super) ended: Option<SystemTime>,
}

impl Entered {
    /// One that waits.
    pub(super) fn new(campaign: Option<CampaignId>, order: Order, wall: SystemTime) -> Self {
        Self {
            campaign,
            state: State::Waiting,
            unwanted: false,
            too_long: false,
            patience: None,
            ending: None,
            asked: wall,
            begun: None,
            ringing: None,
            answered: None,
            ended: None,
            order,
        }
    }

    /// What it is called that a call ended so.
    pub(super) fn final_state(&self, status: Option<u16>) -> State {
        match (self.answered, status) {
            (Some(_), _) => State::Ended,
            (None, _) if self.unwanted => State::Cancelled,
            (None, _) if self.too_long => State::NoAnswer,
            (None, Some(486 | 600)) => State::Busy,
            // 487 comes when sip.invite_timeout takes it back; 408 also from where nobody is at all.
            (None, Some(480 | 487)) => State::NoAnswer,
            (None, Some(408)) if self.ringing.is_some() => State::NoAnswer,
            (None, _) => State::Failed,
        }
    }

    /// What became of it so far.
    pub(super) fn result(&self) -> CallResult {
        let Order {
            call,
            to,
            from,
            placing,
        } = &self.order;
        let duration = self
            .ended
            .zip(self.answered)
            .map(|(ended, answered)| ended.duration_since(answered));
        CallResult {
            call: call.to_string(),
            campaign: self.campaign.map(|campaign| campaign.0),
            to: to.clone(),
            from: from.clone(),
            trunk: placing.trunk.clone(),
            agent: placing.talks(),
            state: self.state,
            status: self.ending.as_ref().and_then(|ending| ending.status),
            cause: self.ending.as_ref().map(|ending| ending.cause.clone()),
            asked: self.asked.into(),
            begun: self.begun.map(Into::into),
            ringing: self.ringing.map(Into::into),
            answered: self.answered.map(Into::into),
            ended: self.ended.map(Into::into),
            duration_s: duration.map(|duration| duration.unwrap_or_default().as_secs_f64()),
        }
    }
}
