//! INVITEs of carriers that take the place of a dialog (RFC 3891).

use tracing::{info, warn};

use crate::call::{CallId, Event, Side};
use crate::gateway::core::{Core, reason_header};
use crate::gateway::live::LiveLeg;
use crate::sip::{self, DialogId};
use crate::time::Time;

impl Core {
    /// A call comes that is to take the place of a leg's dialog (RFC 3891). Which call may do so the SIP core has seen to.
    pub(in crate::gateway) fn replace_dialog(&mut self, now: Time, incoming: sip::Incoming, replaced: DialogId) {
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
    pub(super) fn take_place(&mut self, id: CallId, side: Side) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        live.swap_dialogs(side);
        for (side, leg) in live.legs() {
            if let Some(dialog) = leg.dialog {
                self.dialogs.insert(dialog, (id, side));
            }
        }
        self.totals.transfers.replaced += 1;
    }
}
