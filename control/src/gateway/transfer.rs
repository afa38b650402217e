//! Transfers: from what is asked for, and the configuration, to an order for the call; and what the call wants done.

use tracing::{info, warn};
use voxlane_dataplane::media_plane::{AgentNotice, AgentSpec, EndpointId, TransferRequest};

use super::agents;
use super::core::{Core, reason_header};
use super::live::{Live, LiveLeg};
use crate::call::transfer::{self, Action, Asker, By, Order, Outcome, Progress, Referral, Ringing, Target, Way};
use crate::call::{CallId, Event, Side};
use crate::config::model::TransferCallerId;
use crate::ops::OperateError;
use crate::ops::report::{TransferOrder, TransferReport, TransferRow};
use crate::route::{self, number::Numbers};
use crate::sip::{self, DialogId, Refers, Within, WithinMethod};
use crate::time::Time;

impl Core {
    /// Transfers a call, as an operator asks. See [`crate::ops::Operate::transfer`].
    ///
    /// # Errors
    /// Why it is not begun.
    pub fn transfer(&mut self, now: Time, call: &str, order: &TransferOrder) -> Result<TransferReport, OperateError> {
        let live = self.named(call)?;
        let id = live.id();
        let leaves = order.leaves.unwrap_or(Side::B);
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
        let wanted = self.order(live, Side::B, Asker::Agent, &order).and_then(|order| {
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

    fn begin_transfer(&mut self, now: Time, id: CallId, mut order: Order) {
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
        self.feed(now, id, Event::Transfer(transfer::Event::Asked(Box::new(order))));
    }

    /// Makes an order of what is asked for; the error is why that cannot be.
    fn order(&self, live: &Live, leaves: Side, asked_by: Asker, asked: &TransferOrder) -> Result<Order, String> {
        live.call.may_transfer(leaves).map_err(|refusal| refusal.to_string())?;
        let settings = &self.config.transfer;
        let stays = leaves.other().unwrap_or(Side::A);
        let own = live.trunk_of(stays);
        let (number, by) = match asked.to_call.as_deref() {
            Some(other) => {
                let (number, referral) = self.joining(live, stays, other, asked)?;
                (number, By::Refer(Box::new(referral)))
            }
            None => self.calling(live, stays, own, asked)?,
        };
        Ok(Order {
            to: number,
            by,
            asked_by,
            leaves,
            ringing: asked.ringing.unwrap_or(settings.ringing),
            timeout: asked.timeout_s.map_or(settings.timeout, |seconds| {
                std::time::Duration::from_secs(u64::from(seconds))
            }),
        })
    }

    /// A transfer to a number.
    fn calling(&self, live: &Live, stays: Side, own: &str, asked: &TransferOrder) -> Result<(String, By), String> {
        let number = Numbers::default().e164(&asked.to);
        let by = match self.way(own, asked)? {
            Way::Bridge => By::Bridge(Box::new(self.target(live, stays, &number, asked)?)),
            Way::Refer => By::Refer(Box::new(self.referral(live, stays, &number)?)),
        };
        Ok((number, by))
    }

    /// An attended transfer (RFC 5589 section 7): the carrier puts the far end of the leg that stays in the place of ours in
    /// another call, which it has with us on the same trunk. With the number of whom it is joined with.
    fn joining(
        &self,
        live: &Live,
        stays: Side,
        other: &str,
        asked: &TransferOrder,
    ) -> Result<(String, Referral), String> {
        if !asked.to.is_empty() || asked.trunk.is_some() {
            return Err("a call is joined with another call, or given to a number; leave out to and trunk".to_owned());
        }
        if asked.by.as_deref().is_some_and(|by| by != "refer") {
            return Err("two calls are joined by REFER only; leave out by".to_owned());
        }
        let own = live.trunk_of(stays);
        let other = self.named(other).map_err(|error| error.to_string())?;
        if other.id() == live.id() {
            return Err("a call cannot be joined with itself".to_owned());
        }
        let on_trunk = [Side::A, Side::B].into_iter().find(|side| {
            let leg = other.leg(*side);
            leg.trunk == own && leg.dialog.is_some()
        });
        let side =
            on_trunk.ok_or_else(|| format!("call {} has no leg on trunk {own}, whose carrier is asked", other.id()))?;
        let refer_to = other
            .leg(side)
            .dialog
            .and_then(|dialog| self.sip.refer_to_replace(dialog));
        let refer_to = refer_to.ok_or_else(|| format!("call {} is not up", other.id()))?;
        let number = match side {
            Side::A | Side::C => &other.from,
            Side::B => &other.route.number,
        };
        Ok((number.clone(), self.referral_to(live, stays, refer_to)?))
    }

    /// How a call is transferred whose leg on trunk `own` stays: as is asked for, else as that trunk says, else all. Who
    /// names another trunk wants a leg there.
    fn way(&self, own: &str, asked: &TransferOrder) -> Result<Way, String> {
        let elsewhere = asked.trunk.as_deref().filter(|name| *name != own);
        let own_way = self.trunk(own).and_then(|trunk| trunk.transfers.by);
        match (asked.by.as_deref(), elsewhere) {
            (Some("bridge"), _) | (None, Some(_)) => Ok(Way::Bridge),
            (Some("refer"), None) => Ok(Way::Refer),
            (Some("refer"), Some(other)) => Err(format!(
                "a REFER is sent on trunk {own}, which the leg that stays belongs to, and not on {other:?}; leave trunk out"
            )),
            (Some(other), _) => Err(format!(
                "{other:?} is no way to transfer a call; there is \"bridge\" and \"refer\""
            )),
            (None, None) => Ok(own_way.unwrap_or(self.config.transfer.by)),
        }
    }

    /// The leg to be placed.
    fn target(&self, live: &Live, stays: Side, number: &str, asked: &TransferOrder) -> Result<Target, String> {
        let settings = &self.config.transfer;
        let own = live.trunk_of(stays);
        let name = asked.trunk.as_deref().or(settings.trunk.as_deref()).unwrap_or(own);
        let caller_id = match (&asked.caller_id, settings.caller_id) {
            (Some(number), _) => number.clone(),
            (None, TransferCallerId::Did) => live.route.number.clone(),
            (None, TransferCallerId::Caller) => match stays {
                Side::A | Side::C => live.from.clone(),
                Side::B => live.route.number.clone(),
            },
        };
        Ok(Target {
            trunk: name.to_owned(),
            outbound: route::transfer(&self.config, name, number, &caller_id)?,
            referred_by: None,
        })
    }

    /// What the carrier of the leg that stays is told: to call this number.
    fn referral(&self, live: &Live, stays: Side, number: &str) -> Result<Referral, String> {
        let own = live.trunk_of(stays);
        let trunk = self.trunk(own).ok_or_else(|| format!("there is no trunk {own:?}"))?;
        let far = live.leg(stays).remote.map(|remote| remote.ip().to_string());
        let to = route::referred(trunk, number, far.unwrap_or_default())?;
        self.referral_to(live, stays, sip::name_addr(&to, trunk.user_phone))
    }

    /// The same, with another Refer-To. The carrier knows us by the number that it has called, or that we show.
    fn referral_to(&self, live: &Live, stays: Side, refer_to: String) -> Result<Referral, String> {
        let own = live.trunk_of(stays);
        let trunk = self.trunk(own).ok_or_else(|| format!("there is no trunk {own:?}"))?;
        let ours = live.leg(stays).local.map(|local| local.ip().to_string());
        let by = sip::Address {
            display: String::new(),
            user: match stays {
                Side::A | Side::C => live.route.number.clone(),
                Side::B => live.from.clone(),
            },
            host: ours.unwrap_or_default(),
            port: None,
        };
        Ok(Referral {
            trunk: own.to_owned(),
            refer_to,
            referred_by: sip::name_addr(&by, trunk.user_phone),
            progress: trunk.transfers.progress,
            unreported: trunk.transfers.unreported,
        })
    }

    /// Does what a transfer needs.
    pub(super) fn perform_transfer(&mut self, now: Time, id: CallId, action: Action) -> Option<Event> {
        match action {
            Action::Wake(at) => {
                self.wakes.insert((at, id));
                None
            }
            Action::Invite {
                target: to,
                patience,
                sdp,
            } => {
                let target = self.calls.get(&id)?.call.target()?.clone();
                let headers = target.referred_by.map(|by| ("Referred-By".to_owned(), by));
                let headers = headers.into_iter().collect();
                self.invite(now, id, Side::C, (target.outbound, headers), &to, patience, sdp)
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
                    .map(|error| super::core::media_failed(side, &error))
            }
            Action::Reattach { addresses, notice } => {
                warn!(call = %id, to = notice.to, status = notice.status, reason = notice.reason,
                    "the transfer has failed: the agent is connected again");
                let endpoint = self.endpoint(id, Side::A)?;
                let spec = agents::spec(&self.config, self.calls.get(&id)?, addresses);
                let Some(spec) = spec.map(|spec| agents::told(spec, &notice)) else {
                    return Some(Event::Stop {
                        text: "the agent is not configured".to_owned(),
                    });
                };
                self.plane
                    .attach(endpoint, spec)
                    .err()
                    .map(|error| super::core::media_failed(Side::A, &error))
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

    /// Asks the far end of a leg to call somebody else.
    fn refer(&mut self, now: Time, id: CallId, side: Side) -> Option<Event> {
        let live = self.calls.get_mut(&id)?;
        let By::Refer(referral) = &live.call.transferring()?.by else {
            return None;
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            header("Refer-To", &referral.refer_to),
            header("Referred-By", &referral.referred_by),
        ];
        match referral.progress {
            Progress::Notify => {}
            Progress::None => headers.extend([header("Refer-Sub", "false"), header("Supported", "norefersub")]),
        }
        let request = Within {
            method: WithinMethod::Refer,
            headers,
            content: None,
        };
        let leg = live.leg_mut(side);
        let sent = leg.dialog.and_then(|dialog| self.sip.request(now, dialog, request));
        leg.refer = sent;
        let refused = transfer::Event::ReferRefused {
            status: 500,
            reason: "it cannot be sent now".to_owned(),
        };
        sent.is_none().then_some(Event::Transfer(refused))
    }

    /// The answer to a REFER of ours, or news of it, as the call is told of it. A call that has asked for another transfer
    /// since is not told of the one before.
    pub(super) fn of_refer(&self, id: CallId, side: Side, event: sip::Event) -> Option<transfer::Event> {
        let asked = self.calls.get(&id)?.leg(side).refer?;
        match event {
            sip::Event::Responded { request, outcome, .. } if request == asked => Some(match outcome.is_accepted() {
                true => transfer::Event::ReferAccepted {
                    reported: !outcome.has_no_subscription(),
                },
                false => transfer::Event::ReferRefused {
                    status: outcome.status,
                    reason: outcome.reason,
                },
            }),
            sip::Event::Notified { request, news, .. } if request == asked => Some(transfer::Event::ReferNews(*news)),
            _ => None,
        }
    }

    /// The far end of a leg asks for its call to be transferred.
    pub(super) fn referred(&mut self, now: Time, dialog: DialogId, referral: &sip::Referral) {
        self.totals.refers.received += 1;
        let of = self.dialogs.get(&dialog).copied();
        let live = of.and_then(|(id, side)| Some((self.calls.get(&id)?, side)));
        let order = match live {
            Some((live, side)) => self.order_of(live, side, referral),
            None => Err((481, "the call is over".to_owned())),
        };
        match (of, order) {
            (Some((id, side)), Ok(order)) => {
                info!(call = %id, leg = %side, to = order.to, trunk = order.by.trunk(), "the carrier transfers the call by REFER");
                self.sip.accept_refer(now, dialog);
                self.begin_transfer(now, id, order);
            }
            (_, Err((status, why))) => {
                let call = of.map(|(id, _)| id.to_string());
                warn!(
                    call,
                    to = referral.to.user,
                    status,
                    "the carrier asks for a transfer that is refused: {why}"
                );
                self.totals.refers.refused += 1;
                let reason = reason_header(Some(status), &why);
                self.sip.refuse_refer(now, dialog, status, &[("Reason", &reason)]);
            }
            (None, Ok(_)) => {}
        }
    }

    /// Makes an order of a REFER of the far end of a leg, which is to leave; the error is the status that refuses it, and
    /// why.
    fn order_of(&self, live: &Live, leaves: Side, referral: &sip::Referral) -> Result<Order, (u16, String)> {
        let own = live.trunk_of(leaves);
        let trunk = self.trunk(own).ok_or((403, format!("there is no trunk {own:?}")))?;
        if trunk.policy.refers == Refers::Refuse {
            return Err((603, format!("transfers by REFER are not taken from trunk {own}")));
        }
        if referral.headers.is_some() {
            return Err((
                603,
                "a Refer-To that says more than whom to call is not taken".to_owned(),
            ));
        }
        live.call.may_transfer(leaves).map_err(|refusal| {
            let status = match refusal {
                transfer::Refusal::UnderWay => 491,
                transfer::Refusal::NotUp
                | transfer::Refusal::TooOften
                | transfer::Refusal::NoLeg
                | transfer::Refusal::Placed => 603,
            };
            (status, refusal.to_string())
        })?;
        let stays = leaves.other().unwrap_or(Side::A);
        let shown = match stays {
            Side::A | Side::C => &live.from,
            Side::B => &live.route.number,
        };
        let number = trunk.numbers.e164(&referral.to.user);
        let default = self.config.transfer.trunk.as_deref().unwrap_or(live.trunk_of(stays));
        let default = (trunk.policy.refers == Refers::Any).then_some(default);
        let tenant = live.route.tenant.as_deref();
        let (name, outbound) = route::refer(&self.config, &number, tenant, shown, default)?;
        Ok(Order {
            to: number,
            by: By::Bridge(Box::new(Target {
                trunk: name,
                outbound,
                referred_by: referral.referred_by.clone(),
            })),
            asked_by: Asker::Carrier,
            leaves,
            ringing: Ringing::Agent,
            timeout: self.config.transfer.timeout,
        })
    }

    /// A call comes that is to take the place of a leg's dialog (RFC 3891). Which call may do so the SIP core has seen to.
    pub(super) fn replace_dialog(&mut self, now: Time, incoming: sip::Incoming, replaced: DialogId) {
        let refused = match self.dialogs.get(&replaced) {
            Some(&(id, side)) => match self.calls.get(&id).map(|live| live.call.may_be_replaced(side)) {
                Some(Ok(())) => return self.take_over(now, (id, side), incoming),
                Some(Err(refusal)) => refusal.to_string(),
                None => "the call is over".to_owned(),
            },
            None => "the call is over".to_owned(),
        };
        warn!(remote = %incoming.remote, trunk = incoming.trunk, "a call is to replace another and cannot: {refused}");
        let reason = reason_header(Some(491), &refused);
        self.sip.reject(now, incoming.dialog, 491, &[("Reason", &reason)]);
    }

    fn take_over(&mut self, now: Time, (id, side): (CallId, Side), incoming: sip::Incoming) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        info!(call = %id, leg = %side, from = incoming.from.user, remote = %incoming.remote, sip_call_id = incoming.call_id,
            "another dialog takes the place of the leg's (Replaces)");
        let trunk = live.trunk_of(side).to_owned();
        *live.leg_mut(Side::C) = LiveLeg {
            dialog: Some(incoming.dialog),
            call_id: Some(incoming.call_id),
            local: Some(incoming.local),
            remote: Some(incoming.remote),
            ..LiveLeg::on(&trunk)
        };
        self.dialogs.insert(incoming.dialog, (id, Side::C));
        if let Some((peer, _)) = self.config.trunk(&trunk) {
            self.sip.belongs_to(incoming.dialog, peer);
        }
        let event = Event::Replaced {
            side,
            transport: incoming.transport,
            sdp: incoming.sdp,
        };
        self.feed(now, id, event);
    }

    /// The dialogs of leg C and another change places.
    fn take_place(&mut self, id: CallId, side: Side) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        live.swap_dialogs(side);
        for (side, leg) in live.legs() {
            if let Some(dialog) = leg.dialog {
                self.dialogs.insert(dialog, (id, side));
            }
        }
        self.totals.transfers.replaced += 1;
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
