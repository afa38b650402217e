//! Whom an application dials, or has its carrier call: as a transfer orders it.

use tracing::info;

use super::Core;
use crate::call::transfer::{Asker, By, Order, Referral, Refusal, Ringing, Target};
use crate::call::{ApplicationEvent, CallId, Event, Side};
use crate::config::model::Trunk;
use crate::gateway::live::{Live, LiveLeg};
use crate::route::{self, number::Numbers};
use crate::sip;
use crate::time::Time;
use crate::twiml::verbs::{Dial, Party, Refer, SipUri};
use crate::twiml::{Problem, code};

impl Core {
    /// Begins what was ordered, or says why that cannot be.
    pub(super) fn ordered(&mut self, now: Time, id: CallId, order: Result<Order, Problem>) -> Event {
        let may = |order: &Order| {
            let live = self.calls.get(&id)?;
            let may = live.call.may_transfer(order.leaves);
            Some(matches!(may, Ok(()) | Err(Refusal::TooOften)))
        };
        match order {
            Ok(order) if may(&order) != Some(true) => refused(),
            Ok(order) => {
                info!(call = %id, to = order.to, trunk = order.by.trunk(), by = %order.by.way(),
                    "the application calls somebody");
                self.prepare_transfer(now, id, order)
            }
            Err(problem) => Event::Application(ApplicationEvent::Forbidden(problem)),
        }
    }

    /// Places leg B before the caller is answered, or says why that cannot be.
    pub(super) fn placed_first(&mut self, now: Time, id: CallId, order: Result<Order, Problem>) -> Event {
        let target = match order.map(|order| order.by) {
            Ok(By::Bridge(target)) => *target,
            Ok(By::Refer(_)) => return Event::Application(ApplicationEvent::Forbidden(super::no_answer())),
            Err(problem) => return Event::Application(ApplicationEvent::Forbidden(problem)),
        };
        let Target {
            trunk, mut outbound, ..
        } = target;
        if self.calls.get(&id).is_none_or(|live| !live.call.may_be_placed()) {
            return refused();
        }
        info!(call = %id, trunk, "the application calls somebody before the caller is answered");
        self.order_ways(now, &trunk, &mut outbound.ways);
        if let Some(live) = self.calls.get_mut(&id) {
            *live.leg_mut(Side::B) = LiveLeg::on(&trunk);
        }
        Event::Application(ApplicationEvent::Place(Box::new(outbound)))
    }

    pub(super) fn dial_order(&self, live: &Live, stays: Side, dial: &Dial) -> Result<Order, Problem> {
        let forbidden = |why: String| Problem::new(code::DIAL_FORBIDDEN, format!("Dial {}: {why}", dial.to));
        let trunk = self.dial_trunk(live, &dial.to).map_err(forbidden)?;
        if let Some(shown) = &dial.caller_id
            && !trunk.caller_ids.is_empty()
            && !trunk.caller_ids.contains(shown)
        {
            let text = format!("callerId {shown} is not among the caller_ids of trunk {}", trunk.name);
            return Err(Problem::new(code::CALLER_ID, text));
        }
        let caller_id = dial.caller_id.as_ref().unwrap_or(&live.from);
        let user = match &dial.to {
            Party::Number(number) => Numbers::default().e164(number),
            Party::Sip(SipUri { user, .. }) => user.clone(),
        };
        let outbound = route::dialled(trunk, &user, caller_id).map_err(forbidden)?;
        Ok(Order {
            to: user,
            by: By::Bridge(Box::new(Target {
                trunk: trunk.name.clone(),
                outbound,
                referred_by: None,
            })),
            asked_by: Asker::Application,
            leaves: stays.other().unwrap_or(Side::B),
            ringing: Ringing::Ringback,
            timeout: dial.timeout,
        })
    }

    /// The trunk that somebody is dialled by.
    fn dial_trunk(&self, live: &Live, to: &Party) -> Result<&Trunk, String> {
        let allowed = live
            .applied
            .as_ref()
            .map_or(&[][..], |applied| &applied.rules.dial_trunks);
        let mut trunks = allowed.iter().filter_map(|name| self.trunk(name));
        match to {
            Party::Number(_) => trunks
                .next()
                .ok_or_else(|| "it may dial nobody; write dial_trunks = [\"TRUNK\"] beside the number".to_owned()),
            Party::Sip(uri) => trunks
                .find(|trunk| leads_to(trunk, uri))
                .ok_or_else(|| format!("none of its dial_trunks leads to {}", uri.host)),
        }
    }

    pub(super) fn refer_order(&self, live: &Live, stays: Side, refer: &Refer) -> Result<Order, Problem> {
        let SipUri { user, host, port } = &refer.to;
        let refused = |why: String| Problem::new(code::REFER, format!("Refer {}: {why}", refer.to));
        let to = sip::Address {
            display: String::new(),
            user: user.clone(),
            host: host.clone(),
            port: *port,
        };
        let trunk = self.trunk(live.trunk_of(stays));
        let user_phone = trunk.map(|trunk| trunk.user_phone).unwrap_or_default();
        let referral: Referral = self
            .referral_to(live, stays, sip::name_addr(&to, user_phone))
            .map_err(refused)?;
        Ok(Order {
            to: user.clone(),
            by: By::Refer(Box::new(referral)),
            asked_by: Asker::Application,
            leaves: stays.other().unwrap_or(Side::B),
            ringing: Ringing::Agent,
            timeout: self.config.transfer.timeout,
        })
    }
}

/// Something else is done with the call just now.
fn refused() -> Event {
    Event::Application(ApplicationEvent::Refused(491))
}

/// Whether a trunk's carrier is who a URI names: by its domain, or by one of its gateways.
fn leads_to(trunk: &Trunk, uri: &SipUri) -> bool {
    let same = |host: &str| host.eq_ignore_ascii_case(&uri.host);
    let is_domain = trunk.domain.as_deref().is_some_and(same);
    let is_gateway = |place: &sip::locate::Place| {
        let port = place.port.or(Some(5060)) == uri.port.or(Some(5060));
        same(&place.host) && port
    };
    is_domain || trunk.gateways.iter().any(|gateway| is_gateway(&gateway.place))
}
