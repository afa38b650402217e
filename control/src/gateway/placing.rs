//! Legs that are placed on a trunk: in which order its gateways are tried, and what their INVITE says.

use std::time::Duration;

use tracing::{info, warn};

use super::core::Core;
use crate::call::targets::{Target, Way};
use crate::call::{CallId, Event, Outbound, Side, transfer};
use crate::config::model::Gateway;
use crate::route::identity::Identity;
use crate::sip::locate::{Destination, in_order};
use crate::sip::syntax::uri::phone_name_addr;
use crate::sip::{self, Failure, Outgoing, Privacy};
use crate::time::Time;

/// What the INVITE of a leg is to be.
pub(super) struct Invitation {
    /// The leg as it is placed on its trunk.
    pub outbound: Outbound,
    /// Where it goes.
    pub target: Target,
    /// It has failed when nothing has answered for so long; `None`: when the transaction ends.
    pub patience: Option<Duration>,
    /// Header fields beside those that every one has.
    pub headers: Vec<(String, String)>,
    /// Offer.
    pub sdp: Vec<u8>,
}

impl Core {
    /// Puts the gateways of a leg in the order in which they are tried: by priority, and within one by chance, as their
    /// weights say (RFC 2782); those that are down at the end.
    pub(super) fn order_ways(&mut self, now: Time, name: &str, ways: &mut [Way]) {
        let config = std::sync::Arc::clone(&self.config);
        let Some((_, trunk)) = config.trunk(name) else {
            return;
        };
        let gateways: Vec<&Gateway> = trunk.gateways.iter().collect();
        let ordered = in_order(gateways, &mut self.random);
        let place = |gateway: &&Gateway| ordered.iter().position(|known| std::ptr::eq(*known, *gateway));
        ways.sort_by_cached_key(|way| {
            let gateway = way.gateway.and_then(|index| trunk.gateways.get(usize::from(index)));
            let last = way
                .gateway
                .is_some_and(|gateway| self.is_last_resort(now, name, gateway));
            (last, gateway.and_then(|gateway| place(&gateway)))
        });
    }

    /// Those destinations that SIP can be sent to: a name may have an address of an IP version that nobody listens on.
    pub(super) fn reachable(&self, destinations: Vec<Destination>) -> Vec<Destination> {
        let reachable = |one: &&Destination| (self.local_for)(one.transport, one.remote).is_ok();
        match destinations.iter().any(|one| reachable(&one)) {
            true => destinations.iter().filter(reachable).copied().collect(),
            // What is wrong with the first is told when it is used.
            false => destinations,
        }
    }

    /// What the INVITE of a leg on a trunk says when it is sent to its target.
    ///
    /// # Errors
    /// There is no way there.
    fn outgoing(&self, trunk: &str, invitation: Invitation) -> Result<Outgoing, String> {
        let Invitation {
            outbound,
            target,
            patience,
            headers,
            sdp,
        } = invitation;
        let Destination { remote, transport } = target.destination;
        let local = (self.local_for)(transport, remote).map_err(|error| format!("no route to {remote}: {error}"))?;
        let peer = target.gateway.and_then(|gateway| self.config.peer(trunk, gateway));
        let large = self.config.trunk(trunk).map(|(_, trunk)| trunk.large_requests);
        // An address without a host is one of ours.
        let ours = |address: sip::Address| match address.host.as_str() {
            "" => sip::Address {
                host: local.ip().to_string(),
                ..address
            },
            _ => address,
        };
        let Identity {
            from,
            asserted,
            privacy,
        } = outbound.identity;
        let asserted = asserted.map(|asserted| {
            let value = phone_name_addr(&ours(asserted), outbound.user_phone);
            ("P-Asserted-Identity".to_owned(), value)
        });
        let privacy = match privacy {
            Privacy::Id => Some(("Privacy".to_owned(), "id".to_owned())),
            Privacy::None => None,
        };
        Ok(Outgoing {
            local,
            remote,
            transport,
            peer,
            large: large.unwrap_or_default(),
            request_uri: target.request_uri.unwrap_or(outbound.request_uri),
            from: ours(from),
            to: outbound.to,
            max_forwards: outbound.max_forwards,
            trunk: Some(trunk.to_owned()),
            headers: asserted.into_iter().chain(privacy).chain(headers).collect(),
            user_phone: outbound.user_phone,
            patience,
            sdp,
        })
    }

    /// Sends a leg's INVITE.
    pub(super) fn invite(&mut self, now: Time, id: CallId, side: Side, invitation: Invitation) -> Option<Event> {
        let trunk = self.calls.get(&id)?.trunk_of(side).to_owned();
        let target = invitation.target.clone();
        let call = match self.outgoing(&trunk, invitation) {
            Ok(call) => call,
            Err(reason) => {
                warn!(call = %id, leg = %side, trunk, "{reason}");
                let (status, failure) = (503, Failure::Unreachable);
                return Some(match side {
                    Side::A | Side::B => Event::Failed {
                        status,
                        reason,
                        failure,
                    },
                    Side::C => Event::Transfer(transfer::Event::Failed {
                        status,
                        reason,
                        failure,
                    }),
                });
            }
        };
        let (local, remote) = (call.local, call.remote);
        info!(call = %id, leg = %side, trunk, target = %target.destination, "call out");
        let dialog = self.sip.invite(now, call);
        let call_id = self.sip.call_id(dialog).map(str::to_owned);
        self.dialogs.insert(dialog, (id, side));
        let leg = self.calls.get_mut(&id)?.leg_mut(side);
        leg.dialog = Some(dialog);
        leg.call_id = call_id;
        leg.remote = Some(remote);
        leg.local = Some(local);
        leg.target = Some(target);
        None
    }

    /// Says in the log how an attempt went that has failed, and remembers it of the gateway.
    pub(super) fn note_attempt(
        &mut self,
        now: Time,
        (id, side): (CallId, Side),
        status: u16,
        reason: &str,
        failure: &Failure,
    ) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let trunk = live.trunk_of(side).to_owned();
        let Some(target) = live.leg_mut(side).target.take() else {
            return;
        };
        info!(call = %id, leg = %side, trunk, target = %target.destination, status, "not placed: {reason}");
        self.see_of_call(now, &trunk, &target, Some((status, failure)));
    }

    /// A leg was answered: its gateway lives.
    pub(super) fn note_success(&mut self, now: Time, (id, side): (CallId, Side)) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let trunk = live.trunk_of(side).to_owned();
        if let Some(target) = live.leg_mut(side).target.take() {
            self.see_of_call(now, &trunk, &target, None);
        }
    }
}
