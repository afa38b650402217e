//! Calls that are listened to, one way: by whom an operator lets ([`ops::Operate`](crate::ops::Operate)'s taps), and by the
//! streams that documents start (`<Start><Stream>`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tracing::{info, warn};
use voxlane_dataplane::media_plane::{
    AgentLimits, CallDirection, EndpointId, MOST_TRACKS, TapEvent, TapId, TapSpec, TrackName, WebProtocol, WebSpec,
};

use super::agents;

use super::core::Core;
use super::live::Live;
use crate::call::{CallId, Side, StreamState};
use crate::config::model::HostPort;
use crate::ops::OperateError;
use crate::ops::report::{TapOrder, TapReport, TapTracks};
use crate::rest::resource::call_sid;
use crate::time::Time;
use crate::twiml::verbs::{Start, Stream};
use crate::twiml::{Problem, code};

/// As an agent's, unless configured otherwise.
const CONNECT: Duration = Duration::from_secs(4);
const SILENCE: Duration = Duration::from_secs(4);

/// Bytes that may wait for a listener, eight seconds of both tracks; with more it does not read, and its stream ends.
const WAITING: usize = 256 << 10;

/// Longest message of a listener that is read, bytes: it has nothing to say.
const LONGEST_MESSAGE: usize = 64 << 10;

/// Somebody who listens to a call, or is about to.
#[derive(Debug)]
pub(super) struct Listening {
    /// `MZ…`
    stream: String,
    /// How many tracks.
    tracks: usize,
    /// Where, and the data plane's name for it; `None` while the listener's host is looked up.
    tap: Option<(EndpointId, TapId)>,
    /// The verb that has started it; `None`: an operator has.
    verb: Option<Box<Start>>,
}

impl Listening {
    fn noun(&self) -> Option<&Stream> {
        self.verb.as_ref().map(|start| &start.stream)
    }

    fn name(&self) -> Option<&str> {
        self.noun()?.name.as_deref()
    }
}

/// Whom to listen by, and what is told at the start.
struct Listener {
    url: String,
    stream: String,
    parameters: Vec<(String, String)>,
    addresses: Vec<SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    silence_timeout: Duration,
}

impl Core {
    /// Lets somebody listen to a call. See [`Operate::tap`](crate::ops::Operate::tap).
    ///
    /// # Errors
    /// Why nobody can.
    pub fn tap(
        &mut self,
        call: &str,
        order: &TapOrder,
        addresses: Vec<SocketAddr>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<TapReport, OperateError> {
        let live = self.named(call)?;
        let id = live.id();
        let stream = agents::sid("MZ", rand::random());
        let tracks = match order.tracks {
            TapTracks::Inbound => vec![TrackName::Inbound],
            TapTracks::Outbound => vec![TrackName::Outbound],
            TapTracks::Both => vec![TrackName::Inbound, TrackName::Outbound],
        };
        let endpoint = heard_leg(live).ok_or_else(|| OperateError::NoMedia(id.to_string()))?;
        let listener = Listener {
            url: order.url.clone(),
            stream: stream.clone(),
            parameters: order.parameters.clone().into_iter().collect(),
            addresses,
            tls,
            connect_timeout: CONNECT,
            silence_timeout: SILENCE,
        };
        let count = tracks.len();
        let web = self.listener(live, listener);
        let tap = self.plane.tap(endpoint, TapSpec { web, tracks })?;
        info!(call = %id, stream, "an operator lets somebody listen");
        self.totals.taps += 1;
        if let Some(live) = self.calls.get_mut(&id) {
            live.listening.push(Listening {
                stream: stream.clone(),
                tracks: count,
                tap: Some((endpoint, tap)),
                verb: None,
            });
        }
        Ok(TapReport {
            call: id.to_string(),
            stream: Some(stream),
            ended: 0,
        })
    }

    /// Ends every stream of a call, whoever has begun it. See [`Operate::end_taps`](crate::ops::Operate::end_taps).
    ///
    /// # Errors
    /// If there is no such call.
    pub fn end_taps(&mut self, call: &str) -> Result<TapReport, OperateError> {
        let id = self.named(call)?.id();
        let ended = self.end_listening(id, |_| true, "an operator has ended it");
        Ok(TapReport {
            call: id.to_string(),
            stream: None,
            ended,
        })
    }

    /// Lets somebody listen of whom a document says so, once the host is known.
    pub(super) fn start_stream(&mut self, id: CallId, start: Box<Start>) {
        let Stream { name, host, port, .. } = &start.stream;
        let host = HostPort {
            host: host.clone(),
            port: *port,
        };
        let allowed = self.may_look_for(id, &host);
        let Some(live) = self.calls.get_mut(&id) else { return };
        let tracks = start.tracks.len();
        let taken = name.is_some() && live.listening.iter().any(|one| one.name() == name.as_deref());
        let listened: usize = live.listening.iter().map(|one| one.tracks).sum();
        let refused = match name {
            Some(_) | None if allowed.is_err() => allowed.err(),
            Some(name) if taken => Some(format!(
                "stream {name:?} is started already: streams of a call have names of their own"
            )),
            Some(_) | None if listened + tracks > MOST_TRACKS => Some(format!(
                "more than {MOST_TRACKS} tracks of a call cannot be listened to at a time: stop another stream of it"
            )),
            Some(_) | None => None,
        };
        let stream = agents::sid("MZ", rand::random());
        self.totals.taps += 1;
        if let Some(why) = refused {
            return self.stream_refused(id, &start.stream, &stream, why);
        }
        live.listening.push(Listening {
            stream: stream.clone(),
            tracks,
            tap: None,
            verb: Some(start),
        });
        self.effects.listeners.push((id, stream, host));
    }

    /// Ends the stream of a name, as a document wants it.
    pub(super) fn stop_stream(&mut self, id: CallId, name: &str) {
        if self.end_listening(id, |one| one.name() == Some(name), "the application has stopped it") == 0 {
            let text = format!("<Stop>: the call has no stream of the name {name:?}; it is passed over");
            self.report_problem(id, Problem::new(code::SCHEMA, text));
        }
    }

    /// A lookup asked for in [`Effects::listeners`](super::core::Effects::listeners) is done.
    pub fn listener_found(&mut self, now: Time, id: CallId, stream: &str, found: Result<Vec<SocketAddr>, String>) {
        if let Err(why) = self.connect_listener(id, stream, found) {
            self.listener_failed(id, |one| one.stream == stream, &why);
        }
        self.drain(now);
    }

    fn connect_listener(
        &mut self,
        id: CallId,
        stream: &str,
        found: Result<Vec<SocketAddr>, String>,
    ) -> Result<(), String> {
        let Some(live) = self.calls.get(&id) else { return Ok(()) };
        // Stopped before it was there.
        let Some(start) = live
            .listening
            .iter()
            .find(|one| one.stream == stream)
            .and_then(|one| one.verb.as_ref())
        else {
            return Ok(());
        };
        let addresses = found?;
        let endpoint = heard_leg(live).ok_or("the call has no media")?;
        let account = self.config.account(live.route.tenant.as_deref());
        let like = account.stream_settings.as_deref();
        let agent = like.and_then(|name| self.config.agents.iter().find(|agent| agent.name == name));
        let listener = Listener {
            url: start.stream.url.clone(),
            stream: stream.to_owned(),
            parameters: start.stream.parameters.clone(),
            addresses,
            tls: like.and_then(|name| self.agent_certificates.get(name)).cloned(),
            connect_timeout: agent.map_or(CONNECT, |agent| agent.connect_timeout),
            silence_timeout: agent.map_or(SILENCE, |agent| agent.silence_timeout),
        };
        let spec = TapSpec {
            web: self.listener(live, listener),
            tracks: start.tracks.clone(),
        };
        let tap = self.plane.tap(endpoint, spec).map_err(|error| error.to_string())?;
        let live = self.calls.get_mut(&id);
        let mut listening = live.into_iter().flat_map(|live| &mut live.listening);
        if let Some(one) = listening.find(|one| one.stream == stream) {
            one.tap = Some((endpoint, tap));
        }
        Ok(())
    }

    /// Something has become of a tap.
    pub(super) fn on_tap(&mut self, endpoint: EndpointId, tap: TapId, event: &TapEvent) {
        let Some(&(id, _)) = self.endpoints.get(&endpoint) else {
            return;
        };
        let is_it = |one: &Listening| one.tap == Some((endpoint, tap));
        match event {
            TapEvent::Started => {
                let live = self.calls.get(&id);
                let Some(one) = live.and_then(|live| live.listening.iter().find(|one| is_it(one))) else {
                    return;
                };
                info!(call = %id, stream = one.stream, "the call is listened to");
                let told = one.noun().cloned().map(|noun| (noun, one.stream.clone()));
                if let Some((noun, stream)) = told {
                    self.tell_of_stream(id, &noun, &stream, &StreamState::Started);
                }
            }
            TapEvent::Closed => {
                self.end_listening(id, is_it, "the listener has closed");
            }
            TapEvent::Failed(failure) => self.listener_failed(id, is_it, &failure.to_string()),
        }
    }

    /// The media of a leg is closed: what is listened to there is over.
    pub(super) fn leg_not_heard(&mut self, id: CallId, endpoint: EndpointId) {
        let is_there = |one: &Listening| one.tap.is_some_and(|(at, _)| at == endpoint);
        self.end_listening(id, is_there, "the leg that was listened to is over");
    }

    /// Ends streams of a call; how many.
    pub(super) fn end_listening(&mut self, id: CallId, which: impl Fn(&Listening) -> bool, why: &str) -> usize {
        let ended = self.take_listening(id, which);
        for one in &ended {
            info!(call = %id, stream = one.stream, "the call is listened to no more: {why}");
            if let Some(noun) = one.noun() {
                self.tell_of_stream(id, noun, &one.stream, &StreamState::Stopped);
            }
        }
        ended.len()
    }

    fn listener_failed(&mut self, id: CallId, which: impl Fn(&Listening) -> bool, why: &str) {
        for one in self.take_listening(id, which) {
            match one.noun() {
                Some(noun) => self.stream_refused(id, noun, &one.stream, why.to_owned()),
                None => {
                    self.totals.taps_failed += 1;
                    warn!(call = %id, stream = one.stream, "the call cannot be listened to: {why}");
                }
            }
        }
    }

    fn stream_refused(&mut self, id: CallId, noun: &Stream, stream: &str, why: String) {
        self.totals.taps_failed += 1;
        let problem = Problem::new(code::STREAM, format!("stream {:?}: {why}", noun.url));
        self.report_problem(id, problem);
        self.tell_of_stream(id, noun, stream, &StreamState::Failed(why));
    }

    /// Takes streams out of the book; the data plane ends them.
    fn take_listening(&mut self, id: CallId, which: impl Fn(&Listening) -> bool) -> Vec<Listening> {
        let Some(live) = self.calls.get_mut(&id) else {
            return Vec::new();
        };
        let taken: Vec<Listening> = live.listening.extract_if(.., |one| which(one)).collect();
        for (_, tap) in taken.iter().filter_map(|one| one.tap) {
            self.plane.end_tap(tap);
        }
        taken
    }

    fn listener(&self, live: &Live, listener: Listener) -> WebSpec {
        let Listener {
            url,
            stream,
            parameters,
            addresses,
            tls,
            connect_timeout,
            silence_timeout,
        } = listener;
        let account = self.config.account(live.route.tenant.as_deref());
        WebSpec {
            protocol: WebProtocol::Twilio,
            addresses,
            headers: agents::signed(&url, account.auth_token.as_ref()).into_iter().collect(),
            url,
            tls,
            account_sid: account.sid,
            call_sid: call_sid(live.id()),
            stream_sid: stream,
            from: live.from.clone(),
            to: live.route.number.clone(),
            direction: match live.call.is_placed() {
                true => CallDirection::Outbound,
                false => CallDirection::Inbound,
            },
            opening: Vec::new(),
            parameters,
            connect_timeout,
            silence_timeout,
            limits: AgentLimits {
                write: WAITING,
                message: LONGEST_MESSAGE,
                ..AgentLimits::default()
            },
            // What listeners send is passed over.
            tally: Arc::default(),
        }
    }
}

/// The leg at which a call is listened to: the caller's; of a call that the gateway has placed, that of whom it has called.
fn heard_leg(live: &Live) -> Option<EndpointId> {
    let side = match live.call.is_placed() {
        true => Side::B,
        false => Side::A,
    };
    Some(live.leg(side).endpoint?.id)
}
