//! Transfers: who asks for them, what the call wants done, and what is told of it.
//!
//! [`order`] makes an order of what is asked for and the configuration, [`refer`] sends REFERs and takes those of carriers,
//! [`replacing`] lets another dialog take the place of a leg's.

mod order;
mod refer;
mod replacing;

use tracing::{info, warn};
use voxlane_dataplane::media_plane::{AgentNotice, AgentSpec, EndpointId, TransferRequest};

use super::agents;
use super::core::Core;
use super::live::{Live, LiveLeg};
use super::placing::Invitation;
use crate::call::transfer::{self, Action, Asker, By, Order, Outcome, Target};
use crate::call::{CallId, Event, Side};
use crate::ops::OperateError;
use crate::ops::report::{TransferOrder, TransferReport, TransferRow};
use crate::time::Time;

impl Core {
    /// Transfers a call, as an operator asks. See [`crate::ops::Operate::transfer`].
    ///
    /// # Errors
    /// Why it is not begun.
    pub fn transfer(&mut self, now: Time, call: &str, order: &TransferOrder) -> Result<TransferReport, OperateError> {
        let live = self.named(call)?;
        let id = live.id();
        let leaves = order.leaves.unwrap_or_else(|| leaves(live));
        let refused = |why: String| OperateError::NotTransferred(id.to_string(), why);
        let wanted = self.order(live, leaves, Asker::Operator, order).map_err(refused)?;
        info!(call = %id, to = wanted.to, trunk = wanted.by.trunk(), by = %wanted.by.way(), leaves = %leaves,
            "an operator transfers the call");
        self.begin_transfer(now, id, wanted);
        self.drain(now);
        self.transfer_report(id)
            .ok_or_else(|| refused("the call is over".to_owned()))
    }

    /// Takes back the transfer of a call that is under way.
    ///
    /// # Errors
    /// If there is none.
    pub fn cancel_transfer(&mut self, now: Time, call: &str) -> Result<TransferReport, OperateError> {
        let id = self.named(call)?.id();
        let refused = |why: &str| OperateError::NotTransferred(id.to_string(), why.to_owned());
        if self
            .calls
            .get(&id)
            .is_none_or(|live| live.call.transferring().is_none())
        {
            return Err(refused("no transfer of it is under way"));
        }
        info!(call = %id, "an operator takes the transfer back");
        self.feed(now, id, Event::Transfer(transfer::Event::TakenBack));
        self.drain(now);
        self.transfer_report(id).ok_or_else(|| refused("the call is over"))
    }

    /// What came of the last transfer of a call, alive or among the last that ended.
    ///
    /// # Errors
    /// If there is no such call, or it was never transferred.
    pub fn transfer_of(&self, call: &str) -> Result<TransferReport, OperateError> {
        let id = match self.named(call) {
            Ok(live) => live.id(),
            Err(error) => {
                let mut ended = self.recent.iter().rev().map(|record| record.live.id());
                ended.find(|id| id.to_string() == call).ok_or(error)?
            }
        };
        self.transfer_report(id)
            .ok_or_else(|| OperateError::NotTransferred(id.to_string(), "nobody has asked for that".to_owned()))
    }

    /// An agent asks for its call to be transferred.
    pub(super) fn agent_asks(&mut self, now: Time, endpoint: EndpointId, request: TransferRequest) {
        let Some(&(id, _)) = self.endpoints.get(&endpoint) else {
            return;
        };
        let Some(live) = self.calls.get(&id) else { return };
        let Some((name, _)) = live.call.agent() else { return };
        let to = request.to.clone();
        let order = TransferOrder {
            to: request.to,
            to_call: None,
            trunk: request.trunk,
            by: request.by,
            leaves: None,
            ringing: None,
            timeout_s: None,
            caller_id: None,
        };
        let allowed = self.config.agents.iter().find(|agent| agent.name == name);
        let allowed = allowed.map_or(&[][..], |agent| &agent.transfer_trunks);
        let wanted = self.order(live, leaves(live), Asker::Agent, &order).and_then(|order| {
            match allowed.iter().any(|allowed| allowed == order.by.trunk()) {
                true => Ok(order),
                false => Err(format!(
                    "agent {name} may not have calls transferred to trunk {}; its transfer_trunks does not name that",
                    order.by.trunk()
                )),
            }
        });
        match wanted {
            Ok(order) => {
                info!(call = %id, to = order.to, trunk = order.by.trunk(), by = %order.by.way(),
                    "the agent transfers the call");
                self.begin_transfer(now, id, order);
            }
            Err(why) => {
                warn!(call = %id, to, "the agent asks for a transfer that is refused: {why}");
                let notice = AgentNotice {
                    state: voxlane_dataplane::media_plane::TransferState::Failed,
                    to,
                    status: Some(403),
                    reason: Some(why),
                };
                self.tell_agent(id, notice);
            }
        }
        self.drain(now);
    }

    fn begin_transfer(&mut self, now: Time, id: CallId, order: Order) {
        let asked = self.prepare_transfer(now, id, order);
        self.feed(now, id, asked);
    }

    /// Gets ready for a transfer; the event begins it.
    pub(super) fn prepare_transfer(&mut self, now: Time, id: CallId, mut order: Order) -> Event {
        self.totals.transfers.asked += 1;
        match &mut order.by {
            By::Bridge(target) => {
                let Target { trunk, outbound, .. } = &mut **target;
                self.order_ways(now, trunk, &mut outbound.ways);
                if let Some(live) = self.calls.get_mut(&id) {
                    *live.leg_mut(Side::C) = LiveLeg::on(trunk);
                }
            }
            By::Refer(_) => self.totals.transfers.referred += 1,
        }
        Event::Transfer(transfer::Event::Asked(Box::new(order)))
    }

    /// Does what a transfer needs.
    pub(super) fn perform_transfer(&mut self, now: Time, id: CallId, action: Action) -> Option<Event> {
        match action {
            Action::Wake(at) => {
                self.wakes.insert((at, id));
                self.calls.get_mut(&id)?.wakes.push(at);
                None
            }
            Action::Invite { target, patience, sdp } => {
                let to = self.calls.get(&id)?.call.target()?.clone();
                let referred_by = to.referred_by.map(|by| ("Referred-By".to_owned(), by));
                let invitation = Invitation {
                    outbound: to.outbound,
                    target,
                    patience,
                    headers: referred_by.into_iter().collect(),
                    sdp,
                };
                self.invite(now, id, Side::C, invitation)
            }
            Action::Refer { side } => self.refer(now, id, side),
            Action::Replace { side } => {
                self.replace(id, side);
                None
            }
            Action::TakePlace { side } => {
                self.take_place(id, side);
                None
            }
            Action::RingBack { side } => {
                let endpoint = self.endpoint(id, side)?;
                self.plane
                    .attach(endpoint, AgentSpec::Ringback)
                    .err()
                    .map(|error| super::perform::media_failed(side, &error))
            }
            Action::Reattach {
                side,
                addresses,
                notice,
            } => {
                warn!(call = %id, to = notice.to, status = notice.status, reason = notice.reason,
                    "the transfer has failed: the agent is connected again");
                let endpoint = self.endpoint(id, side)?;
                let spec = agents::spec(self, self.calls.get(&id)?, addresses);
                let Some(spec) = spec.map(|spec| agents::told(spec, &notice)) else {
                    return Some(Event::Stop {
                        text: "the agent is not configured".to_owned(),
                    });
                };
                self.plane
                    .attach(endpoint, spec)
                    .err()
                    .map(|error| super::perform::media_failed(side, &error))
            }
            Action::Tell(notice) => {
                self.tell_agent(id, notice);
                None
            }
            Action::Report { side, progress } => {
                let dialog = self.calls.get(&id)?.leg(side).dialog?;
                self.sip.tell_of_refer(now, dialog, progress);
                None
            }
        }
    }

    /// Leg C and another change places.
    fn replace(&mut self, id: CallId, side: Side) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        live.swap_third(side);
        for (side, leg) in live.legs() {
            if let Some(dialog) = leg.dialog {
                self.dialogs.insert(dialog, (id, side));
            }
            if let Some(endpoint) = leg.endpoint {
                self.endpoints.insert(endpoint.id, (id, side));
            }
        }
        info!(call = %id, leg = %side, trunk = live.trunk_of(side), "transferred: another party has taken the leg's place");
    }

    fn tell_agent(&self, id: CallId, notice: AgentNotice) {
        info!(call = %id, to = notice.to, state = notice.state.word(), status = notice.status, reason = notice.reason,
            "transfer");
        let heard = self.calls.get(&id).and_then(|live| live.call.agent());
        let hears = heard.map_or(Side::A, |(_, side)| side);
        let told = self
            .endpoint(id, hears)
            .map(|endpoint| self.plane.tell(endpoint, notice));
        if let Some(Err(error)) = told {
            warn!(call = %id, %error, "the agent could not be told of the transfer");
        }
    }

    /// What came of a call's transfers, once an event has been taken: counts those that have ended since.
    pub(super) fn count_transfers(&mut self, id: CallId, before: usize) {
        let Some(live) = self.calls.get(&id) else { return };
        for record in live.call.ended_transfers().iter().skip(before) {
            match &record.outcome {
                Outcome::Completed => self.totals.transfers.completed += 1,
                Outcome::Failed { status, reason } => {
                    self.totals.transfers.failed += 1;
                    warn!(call = %id, to = record.to, by = %record.way, status, reason, "transfer failed");
                }
                Outcome::Calling | Outcome::Ringing => {}
            }
        }
    }

    fn transfer_report(&self, id: CallId) -> Option<TransferReport> {
        let records = self.recent.iter().rev().map(|record| &record.live);
        let live = self
            .calls
            .get(&id)
            .map(|live| &**live)
            .or_else(|| records.clone().find(|live| live.id() == id))?;
        let transfer = rows(live).pop()?;
        Some(TransferReport {
            call: id.to_string(),
            transfer,
        })
    }
}

/// The leg that leaves unless another is named: the agent's, else the called party's.
fn leaves(live: &Live) -> Side {
    let agent = live.call.agent();
    agent.and_then(|(_, hears)| hears.other()).unwrap_or(Side::B)
}

/// The transfers of a call, for people.
pub(super) fn rows(live: &Live) -> Vec<TransferRow> {
    let row = |record: transfer::Record| {
        let (state, status, reason) = match record.outcome {
            Outcome::Calling => ("calling", None, None),
            Outcome::Ringing => ("ringing", None, None),
            Outcome::Completed => ("completed", None, None),
            Outcome::Failed { status, reason } => ("failed", Some(status), Some(reason)),
        };
        TransferRow {
            to: record.to,
            by: record.way,
            asked_by: record.asked_by,
            state: state.to_owned(),
            status,
            reason,
        }
    };
    live.call.transfers().into_iter().map(row).collect()
}
