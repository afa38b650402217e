//! REFERs to carriers, and of theirs.

use tracing::{info, warn};

use crate::call::transfer::{self, Asker, By, Order, Progress, Ringing, Target};
use crate::call::{CallId, Event, Side};
use crate::gateway::core::{Core, reason_header};
use crate::gateway::live::Live;
use crate::route;
use crate::sip::{self, DialogId, Refers, Within, WithinMethod};
use crate::time::Time;

impl Core {
    /// Asks the far end of a leg to call somebody else.
    pub(super) fn refer(&mut self, now: Time, id: CallId, side: Side) -> Option<Event> {
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
    pub(in crate::gateway) fn of_refer(&self, id: CallId, side: Side, event: sip::Event) -> Option<transfer::Event> {
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
    pub(in crate::gateway) fn referred(&mut self, now: Time, dialog: DialogId, referral: &sip::Referral) {
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
                transfer::Refusal::NotUp | transfer::Refusal::TooOften | transfer::Refusal::NoLeg => 603,
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
}
