//! What the SIP core tells: calls that begin, and what becomes of dialogs.

use tracing::{debug, info, warn};

use super::core::{Core, reason_header, unix_seconds};
use super::live::Live;
use crate::call::{Call, Event, Origin, Plan, Setup, Side, transfer};
use crate::config::model::CallEvent;
use crate::guard::Reason;
use crate::route::{self, Route};
use crate::sip::{self, Incoming};
use crate::time::Time;

impl Core {
    pub(super) fn sip_event(&mut self, now: Time, event: sip::Event) {
        let dialog = match event {
            sip::Event::Incoming(incoming) => return self.incoming(now, *incoming),
            sip::Event::Referred { dialog, referral } => return self.referred(now, dialog, &referral),
            sip::Event::Outside { id, answer } => return self.outside_ended(now, id, &answer),
            sip::Event::Responded { dialog, .. }
            | sip::Event::Notified { dialog, .. }
            | sip::Event::Progress { dialog, .. }
            | sip::Event::Answered { dialog, .. }
            | sip::Event::Failed { dialog, .. }
            | sip::Event::Confirmed { dialog, .. }
            | sip::Event::Cancelled { dialog }
            | sip::Event::OfferAnswered { dialog, .. }
            | sip::Event::OfferRefused { dialog, .. }
            | sip::Event::Reinvite { dialog, .. }
            | sip::Event::Update { dialog, .. }
            | sip::Event::Bye { dialog, .. }
            | sip::Event::Terminated { dialog, .. } => dialog,
        };
        let Some(&(call, side)) = self.dialogs.get(&dialog) else {
            return debug!(?dialog, "event of a dialog that belongs to no call");
        };
        if let sip::Event::Answered { .. } = event {
            self.note_success(now, (call, side));
        }
        let event = match (event, side) {
            (event @ (sip::Event::Responded { .. } | sip::Event::Notified { .. }), _) => {
                debug!(%call, leg = %side, ?event, "REFER");
                match self.of_refer(call, side, event) {
                    Some(event) => Event::Transfer(event),
                    None => return,
                }
            }
            (sip::Event::Progress { .. }, Side::C) => Event::Transfer(transfer::Event::Progress),
            (sip::Event::Answered { sdp, .. }, Side::C) => Event::Transfer(transfer::Event::Answered { sdp }),
            (
                sip::Event::Failed {
                    status,
                    reason,
                    failure,
                    ..
                },
                Side::C,
            ) => {
                self.note_attempt(now, (call, side), status, &reason, &failure);
                Event::Transfer(transfer::Event::Failed {
                    status,
                    reason,
                    failure,
                })
            }
            (event, _) => match event {
                sip::Event::Incoming(_)
                | sip::Event::Referred { .. }
                | sip::Event::Responded { .. }
                | sip::Event::Notified { .. }
                | sip::Event::Outside { .. } => return,
                sip::Event::Progress { status, sdp, .. } => Event::Progress { status, sdp },
                sip::Event::Answered { sdp, .. } => Event::Answered { sdp },
                sip::Event::Confirmed { sdp, .. } => Event::Confirmed { side, sdp },
                sip::Event::Reinvite { sdp, .. } => Event::Reinvite { side, sdp },
                sip::Event::Update { sdp, .. } => Event::Update { side, sdp },
                sip::Event::OfferAnswered { sdp, .. } => Event::OfferAnswered { side, sdp },
                sip::Event::OfferRefused { outcome, .. } => {
                    debug!(%call, leg = %side, status = outcome.status, "our offer was refused: {}", outcome.reason);
                    Event::OfferRefused { side }
                }
                sip::Event::Failed {
                    status,
                    reason,
                    failure,
                    ..
                } => {
                    self.note_attempt(now, (call, side), status, &reason, &failure);
                    Event::Failed {
                        status,
                        reason,
                        failure,
                    }
                }
                sip::Event::Cancelled { .. } => Event::Cancelled,
                sip::Event::Bye { reason, .. } => Event::Bye { side, reason },
                sip::Event::Terminated { cause, .. } => Event::Terminated { side, cause },
            },
        };
        if matches!(
            event,
            Event::Failed { .. }
                | Event::Transfer(transfer::Event::Failed { .. })
                | Event::Cancelled
                | Event::Bye { .. }
                | Event::Terminated { .. }
        ) {
            self.dialogs.remove(&dialog);
        }
        self.note_placed(call, &event);
        self.feed(now, call, event);
    }

    fn incoming(&mut self, now: Time, incoming: Incoming) {
        if let Some(replaced) = incoming.replaces {
            return self.replace_dialog(now, incoming, replaced);
        }
        self.totals.calls += 1;
        let refusal = match route::route(&self.config, &incoming) {
            Ok(route) => match self.too_many_on_trunks(now, &route) {
                None => return self.begin(now, incoming, route),
                Some(reason) => return self.turn_away(now, &incoming, reason),
            },
            Err(refusal) => refusal,
        };
        self.totals.failed += 1;
        warn!(remote = %incoming.remote, from = incoming.from.user, to = incoming.request_uri.user,
            status = refusal.status, "call refused: {}", refusal.text);
        let reason = reason_header(Some(refusal.status), &refusal.text);
        let headers = [("Reason", reason.as_str())];
        self.sip.reject(now, incoming.dialog, refusal.status, &headers);
    }

    /// Refuses a call because there are too many.
    fn turn_away(&mut self, now: Time, incoming: &Incoming, reason: Reason) {
        self.totals.failed += 1;
        debug!(remote = %incoming.remote, trunk = incoming.trunk, reason = reason.name(), "call refused");
        let retry_after = self.sip.retry_after(reason).to_string();
        let why = reason_header(Some(503), reason.text());
        let headers = [("Reason", why.as_str()), ("Retry-After", retry_after.as_str())];
        self.sip.reject(now, incoming.dialog, 503, &headers);
    }

    fn begin(&mut self, now: Time, incoming: Incoming, mut route: Route) {
        let id = self.new_call_id();
        info!(call = %id, trunk = route.trunk, tenant = route.tenant, from = route.caller, to = route.number,
            target = route.target, transport = %incoming.transport, sip_call_id = incoming.call_id, "call in");
        let (codecs, media) = match self.config.trunk(&route.trunk) {
            Some((peer, trunk)) => {
                self.sip.belongs_to(incoming.dialog, peer);
                (trunk.codecs.clone(), trunk.media)
            }
            None => Default::default(),
        };
        if let Plan::Trunk(outbound) = &mut route.plan {
            self.order_ways(now, &route.target, &mut outbound.ways);
        }
        let call = Call::new(
            Setup {
                id,
                origin: Origin::Caller,
                offer: incoming.sdp.clone(),
                remote: incoming.remote,
                transport: incoming.transport,
                identity: self.config.sdp.clone(),
                session_id: unix_seconds(),
                codecs,
                media,
                ptime: self.config.media.ptime,
                plan: route.plan.clone(),
            },
            now,
        );
        self.dialogs.insert(incoming.dialog, (id, Side::A));
        self.count_trunks(&route);
        let mut live = Live::new(call, route, incoming);
        live.applied = self.application_of(&live.route);
        self.calls.insert(id, Box::new(live));
        self.register_begin(id);
        self.tell_owner(id, CallEvent::Initiated);
        self.feed(now, id, Event::Start);
    }
}
