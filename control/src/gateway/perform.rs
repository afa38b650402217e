//! What calls want done: by the SIP core, by the media plane, by the shell.

use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use tracing::info;
use voxlane_dataplane::media_plane::{AgentSpec, MediaError, Speech};

use super::agents;
use super::core::{Asker, Core, reason_header};
use super::placing::Invitation;
use crate::call::{Action, CallId, Event, Plan, Side};
use crate::config::model::CallEvent;
use crate::rest::Status;
use crate::sip::Transport;
use crate::time::Time;

impl Core {
    pub(super) fn perform(&mut self, now: Time, id: CallId, action: Action) -> Option<Event> {
        match action {
            Action::Resolve(host) => {
                if let Err(why) = self.may_look_for(id, &host) {
                    return Some(Event::Unresolved(why));
                }
                self.calls.get_mut(&id)?.looks_for = Some(host.clone());
                self.effects.lookups.push((id, host));
                self.await_agent(id)
            }
            // An address needs no DNS, and its call no waiting.
            Action::Locate(place) => match place.literal() {
                Some(destination) => Some(Event::Located(vec![destination])),
                None => {
                    self.ask_for(Asker::Call(id), place);
                    None
                }
            },
            Action::OpenMedia { side, towards } => Some(self.open_media(id, side, towards)),
            Action::Program { side, session } => {
                let endpoint = self.endpoint(id, side)?;
                self.plane
                    .program(endpoint, session)
                    .err()
                    .map(|error| media_failed(side, &error))
            }
            Action::Relay => {
                let (a, b) = (self.endpoint(id, Side::A)?, self.endpoint(id, Side::B)?);
                match self.plane.relay(a, b) {
                    Ok(lanes) => {
                        info!(call = %id, lane_a = ?lanes[0], lane_b = ?lanes[1], "media relayed");
                        None
                    }
                    Err(error) => Some(media_failed(Side::B, &error)),
                }
            }
            Action::Attach { addresses } => {
                self.name_stream(id);
                let live = self.calls.get(&id)?;
                let (_, side) = live.call.agent()?;
                let endpoint = self.endpoint(id, side)?;
                let Some(spec) = agents::spec(self, live, addresses) else {
                    return Some(Event::Stop {
                        text: format!("agent {} is not configured", live.route.target),
                    });
                };
                // A caller does not hear, and with SRTP cannot, before it knows of the answer.
                let speech = match live.call.answered() {
                    None => Speech::Held,
                    Some(_) => Speech::Free,
                };
                self.plane
                    .attach(endpoint, spec)
                    .and_then(|()| self.plane.set_speech(endpoint, speech))
                    .err()
                    .map(|error| media_failed(side, &error))
            }
            Action::LetSpeak { side } => {
                let endpoint = self.endpoint(id, side)?;
                self.plane
                    .set_speech(endpoint, Speech::Free)
                    .err()
                    .map(|error| media_failed(side, &error))
            }
            Action::FallBack(kind) => self.fall_back(now, id, kind),
            Action::CloseMedia { side } => {
                self.close_media(id, side);
                None
            }
            Action::Invite { target, patience, sdp } => match self.calls.get(&id)?.call.setup().plan.clone() {
                Plan::Trunk(outbound) => {
                    let invitation = Invitation {
                        outbound: *outbound,
                        target,
                        patience,
                        headers: Vec::new(),
                        sdp,
                    };
                    self.invite(now, id, Side::B, invitation)
                }
                Plan::Agent { .. } | Plan::Application { .. } => None,
            },
            Action::Application(action) => self.perform_application(now, id, action),
            Action::Transfer(action) => self.perform_transfer(now, id, action),
            Action::Ring { status, sdp } => {
                let dialog = self.dialog(id, Side::A)?;
                self.sip.ring(now, dialog, status, sdp);
                self.tell_owner(id, CallEvent::Ringing);
                None
            }
            Action::Answer { side, sdp } => {
                let dialog = self.dialog(id, side)?;
                self.sip.answer(now, dialog, sdp);
                let live = self.calls.get_mut(&id)?;
                if live.answered.is_none() {
                    live.answered = Some(SystemTime::now());
                    self.totals.answered += 1;
                    info!(call = %id, "call answered");
                    self.register_reached(id, Status::InProgress);
                    self.tell_owner(id, CallEvent::Answered);
                }
                None
            }
            Action::Reject { side, status, text } => {
                let dialog = self.dialog(id, side)?;
                let reason = ("Reason", reason_header(Some(status), &text));
                // RFC 3261 section 21.4.26.
                let warning = (status == 488).then(|| ("Warning", warning_header(&text)));
                let headers: Vec<(&str, &str)> = iter::once(&reason)
                    .chain(&warning)
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                self.sip.reject(now, dialog, status, &headers);
                // A refused re-INVITE leaves its dialog as it was; a refused INVITE leaves nothing.
                if self.sip.call_id(dialog).is_none() {
                    self.dialogs.remove(&dialog);
                }
                None
            }
            Action::AnswerUpdate { side, sdp } => {
                let dialog = self.dialog(id, side)?;
                self.sip.answer_update(now, dialog, sdp);
                None
            }
            Action::RejectUpdate { side, status, text } => {
                let dialog = self.dialog(id, side)?;
                let reason = reason_header(Some(status), &text);
                self.sip.reject_update(now, dialog, status, &[("Reason", &reason)]);
                None
            }
            Action::Offer { side, sdp } => {
                let dialog = self.dialog(id, side)?;
                // Where the dialog has just ended, that is told as well.
                self.sip.offer(now, dialog, sdp);
                None
            }
            Action::HangUp { side, text } => {
                let dialog = self.dialog(id, side)?;
                self.sip.hang_up(now, dialog, Some(&reason_header(None, &text)));
                None
            }
            Action::Finish(cause) => {
                self.finish(id, cause);
                None
            }
        }
    }

    /// Keeps what is said to the agent of an answered call that is looked for.
    fn await_agent(&self, id: CallId) -> Option<Event> {
        let call = &self.calls.get(&id)?.call;
        call.answered()?;
        let (_, side) = call.agent()?;
        let endpoint = self.endpoint(id, side)?;
        self.plane
            .attach(endpoint, AgentSpec::Awaited)
            .err()
            .map(|error| media_failed(side, &error))
    }

    fn open_media(&mut self, id: CallId, side: Side, towards: SocketAddr) -> Event {
        let opened = self
            .media_address(id, side, towards)
            .map_err(|error| (503, error))
            .and_then(|local| {
                let failed = |error| (status_of(&error), error.to_string());
                self.plane.open(local).map_err(failed)
            });
        match (opened, self.calls.get_mut(&id)) {
            (Ok(endpoint), Some(live)) => {
                self.endpoints.insert(endpoint.id, (id, side));
                live.leg_mut(side).endpoint = Some(endpoint);
                Event::MediaOpened { side, endpoint }
            }
            (Ok(endpoint), None) => {
                self.plane.close(endpoint.id);
                Event::MediaFailed {
                    side,
                    status: 503,
                    error: "the call is over".to_owned(),
                }
            }
            (Err((status, error)), _) => Event::MediaFailed { side, status, error },
        }
    }

    /// Which of our addresses a leg's media gets: the trunk's, else the one the route to its far end starts from, if
    /// that is a media address, else the first of the family.
    fn media_address(&self, id: CallId, side: Side, towards: SocketAddr) -> Result<IpAddr, String> {
        let live = self.calls.get(&id).ok_or("the call is over")?;
        let trunk = self.trunk(live.trunk_of(side));
        if let Some(address) = trunk.and_then(|trunk| trunk.media_address) {
            return Ok(address);
        }
        let addresses = &self.config.media.addresses;
        let of_the_version = addresses.iter().find(|address| address.is_ipv4() == towards.is_ipv4());
        // A stream on hold may name no address, and nothing has to listen for SIP of the media's IP version.
        let routed = match towards.ip().is_unspecified() {
            true => Err("it names no address".to_owned()),
            false => self.routed(towards),
        };
        match (routed, of_the_version) {
            (Ok(routed), _) if addresses.is_empty() || addresses.contains(&routed.ip()) => Ok(routed.ip()),
            (_, Some(address)) => Ok(*address),
            (Err(error), None) if addresses.is_empty() => Err(format!("no route to {towards}: {error}")),
            (_, None) => Err(format!("media.addresses has none of the IP version of {towards}")),
        }
    }

    /// Where the route to an address starts from, whatever is listened on there.
    fn routed(&self, towards: SocketAddr) -> Result<SocketAddr, String> {
        let mut routed = Err("nothing is listened on".to_owned());
        for transport in Transport::ALL {
            routed = (self.local_for)(transport, towards).map_err(|error| error.to_string());
            if routed.is_ok() {
                break;
            }
        }
        routed
    }

    pub(super) fn close_media(&mut self, id: CallId, side: Side) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let Some(endpoint) = live.leg_mut(side).endpoint.take() else {
            return;
        };
        self.leg_not_heard(id, endpoint.id);
        self.endpoints.remove(&endpoint.id);
        self.watched.remove(&endpoint.id);
        if let Some(report) = self.plane.close(endpoint.id) {
            let flow = &report.flow;
            info!(call = %id, leg = ?side, lane = ?flow.lane, reason = ?flow.reason,
                received = flow.received.packets, lost = flow.received.lost, jitter_ms = flow.received.jitter_ms,
                sent = flow.sent_packets, "media closed");
            if let Some(live) = self.calls.get_mut(&id) {
                live.leg_mut(side).report = Some(report.flow);
            }
        }
    }
}

pub(super) fn media_failed(side: Side, error: &MediaError) -> Event {
    Event::MediaFailed {
        side,
        status: status_of(error),
        error: error.to_string(),
    }
}

/// What a caller is told whose media cannot be had: it is us.
fn status_of(error: &MediaError) -> u16 {
    match error {
        MediaError::NoPort { .. }
        | MediaError::NotLocal(_)
        | MediaError::Closed(_)
        | MediaError::NoSession(_)
        | MediaError::NotRelayed(_)
        | MediaError::NotInKernel { .. }
        | MediaError::TooManyTracks
        | MediaError::InUse(_)
        | MediaError::Io { .. } => 503,
    }
}

/// A Warning header (RFC 3261 section 20.43) that says why there can be no media.
fn warning_header(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("399 voxlane \"{}\"", text.replace(['"', '\\'], "'"))
}
