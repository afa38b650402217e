//! A transfer by REFER (RFC 3515), from the order to its end.
//!
//! ```text
//!  asked ─► REFER ─► 202 ─► (NOTIFY 100, 180) ─► NOTIFY 200, or the carrier hangs up: the call is another's, ours ends
//!             └────────┴─────────────┴────────► refused, NOTIFY 300-699, no more news, time-out, taken back: the call is
//!                                               as it was before
//! ```
//!
//! News may come before the answer to the REFER; whichever comes first says that it is accepted.

use voxlane_dataplane::media_plane::TransferState;

use super::super::machine::{Call, party};
use super::super::{self as call, Side};
use super::{By, Course, Outcome, ReferStep, Unreported};
use crate::sip::{News, Progress};

impl Call {
    fn refer_step(&mut self) -> Option<&mut ReferStep> {
        match &mut self.transfer.as_mut()?.course {
            Course::Referring(step) => Some(step),
            Course::Placing(_) => None,
        }
    }

    /// The carrier has accepted our REFER.
    pub(super) fn refer_accepted(&mut self, reported: bool, actions: &mut Vec<call::Action>) {
        let Some(step) = self.refer_step() else { return };
        if *step == ReferStep::Sent {
            *step = ReferStep::Accepted;
        }
        let unreported = self.transferring().and_then(|order| match &order.by {
            By::Refer(referral) => Some(referral.unreported),
            By::Bridge(_) => None,
        });
        if !reported && unreported == Some(Unreported::HangUp) {
            self.hand_over(None, actions);
        }
    }

    /// It has not, or has not answered.
    pub(super) fn refer_refused(&mut self, status: u16, reason: &str, actions: &mut Vec<call::Action>) {
        if self.refer_step().is_some() {
            self.fail_transfer(status, &format!("REFER: {status} {reason}"), actions);
        }
    }

    /// How its call to the other party stands.
    pub(super) fn refer_news(&mut self, news: &News, actions: &mut Vec<call::Action>) {
        let Some(step) = self.refer_step() else { return };
        match &news.progress {
            Some(Progress { status: 200..=299, .. }) => return self.hand_over(None, actions),
            Some(Progress {
                status: status @ 300..,
                reason,
            }) => return self.fail_transfer(*status, &format!("{status} {reason}"), actions),
            Some(Progress { status: 101..=199, .. }) if *step != ReferStep::Ringing => {
                *step = ReferStep::Ringing;
                self.tell_agent(TransferState::Ringing, None, actions);
            }
            Some(_) | None if *step == ReferStep::Sent => *step = ReferStep::Accepted,
            Some(_) | None => {}
        }
        if let Some(why) = &news.ended {
            let why = match why.as_str() {
                "" => String::new(),
                why => format!(" ({why})"),
            };
            let text = format!("the carrier does not say what came of its call{why}");
            self.fail_transfer(480, &text, actions);
        }
    }

    /// A leg has hung up. Whether that is because its carrier has connected it with the other party, as it was asked to:
    /// then the call has ended.
    pub(in crate::call) fn is_taken_over(&mut self, side: Side, actions: &mut Vec<call::Action>) -> bool {
        let stays = self.transferring().and_then(|order| order.leaves.other());
        let is_accepted = self.refer_step().is_some_and(|step| *step != ReferStep::Sent);
        let is_taken_over = is_accepted && stays == Some(side);
        if is_taken_over {
            self.hand_over(Some(side), actions);
        }
        is_taken_over
    }

    /// The call is the carrier's: ours ends. `hung_up` is the leg that has, if one has already.
    fn hand_over(&mut self, hung_up: Option<Side>, actions: &mut Vec<call::Action>) {
        let Some(transfer) = self.transfer.take() else { return };
        let text = format!("transferred to {} by REFER", transfer.order.to);
        self.keep_record(transfer.record(Outcome::Completed));
        self.end(hung_up.map_or(call::Party::Gateway, party), 480, &text, actions);
    }
}
