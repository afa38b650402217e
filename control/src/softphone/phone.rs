//! The softphone's one call: SIP core, media plane and a loop around them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{
    AgentSpec, Endpoint as MediaEndpoint, MediaEvent, MediaPlane, PhoneSpec, Session,
};

use super::audio::{self, Heard};
use super::{Bye, CallResult, EndedBy, Outcome};
use crate::cli::phone::MediaArgs;
use crate::config::model::{RtcpMux, SdpIdentity};
use crate::gateway::{bridge, sleep_until};
use crate::sdp::{self, Capabilities, Description, Local, Security};
use crate::sip::transport::udp::is_unreachable;
use crate::sip::transport::{Received, UdpTransport};
use crate::sip::{
    Address, DialogId, Endpoint, EndpointConfig, Event, Incoming, Input, Large, MAX_FORWARDS, Outgoing, Output,
    Termination, Transport, UserPhone,
};
use crate::time::{Clock, Time};

/// Time before the first key is pressed.
const DIGITS_AFTER: Duration = Duration::from_secs(1);
/// Time on the line after everything is played and dialled, to hear what comes back.
const TAIL: Duration = Duration::from_secs(1);
/// Length of a tone when no duration is given.
const TONE_SECONDS: f64 = 5.0;
/// How long the far end has to answer a BYE or CANCEL; a second Ctrl-C does not wait for it.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a callee may leave an INVITE without any answer before the user is told.
const DOUBT_AFTER: Duration = Duration::from_secs(3);
/// Longest recording.
const RECORD_LIMIT: usize = 3600 * audio::RATE;
/// Ports of the softphone: beside the gateway's default range, so that both can run on one host.
const PORTS: (u16, u16) = (30_000, 39_999);

/// What the phone does once it is connected; files are read before the call, so that a bad one spoils none.
pub(super) struct Media {
    samples: Arc<[i16]>,
    tone: Option<u16>,
    record: Option<PathBuf>,
    digits: String,
    codecs: Vec<Codec>,
    duration: Option<Duration>,
}

impl Media {
    pub fn read(args: &MediaArgs, duration: Option<Duration>) -> anyhow::Result<Self> {
        let seconds = duration.map_or(TONE_SECONDS, |duration| duration.as_secs_f64());
        let samples = match (&args.play, args.tone) {
            (Some(path), _) => audio::read(path)?,
            (None, Some(frequency)) => audio::tone(frequency, seconds),
            (None, None) => Vec::new(),
        };
        Ok(Self {
            samples: samples.into(),
            tone: args.tone,
            record: args.record.clone(),
            digits: args.dtmf.clone(),
            codecs: args.codec.clone(),
            duration,
        })
    }
}

pub(super) struct Phone {
    sip: Endpoint,
    transport: UdpTransport,
    plane: Arc<dyn MediaPlane>,
    events: mpsc::UnboundedReceiver<MediaEvent>,
    clock: Clock,
    wake: Option<Time>,
    /// When to say that nobody has answered, and who has not.
    doubt: Option<(Time, SocketAddr)>,
    media: Media,
    identity: SdpIdentity,
}

/// A call in progress.
struct Line {
    dialog: DialogId,
    media: MediaEndpoint,
    began: Time,
    answered: Option<Time>,
    ended: Option<Time>,
    hang_up_at: Option<Time>,
    /// The BYE or CANCEL is on its way.
    hung_up: bool,
    outcome: Outcome,
}

/// What wakes the loop.
enum Wake {
    Sip(Event),
    Media(MediaEvent),
    /// It is time to hang up, or Ctrl-C was pressed.
    HangUp,
}

impl Phone {
    pub fn start(bind: SocketAddr, towards: Option<SocketAddr>, media: Media) -> anyhow::Result<Self> {
        let transport = UdpTransport::bind(&[bind], 0)?;
        if let Some(remote) = towards {
            transport
                .local_for(remote)
                .with_context(|| format!("no route to {remote}"))?;
        }
        let (sender, events) = crossbeam_channel::unbounded();
        let plane = crate::plane::softphone(PORTS, sender)?;
        let sip = Endpoint::new(EndpointConfig {
            user_agent: concat!("voxlane-phone/", env!("CARGO_PKG_VERSION")).to_owned(),
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            invite_timeout: Duration::from_secs(60),
            listen: Vec::new(),
            seed: rand::random(),
        });
        let identity = SdpIdentity {
            origin_user: "voxlane".into(),
            session_name: "voxlane softphone".into(),
        };
        let events = bridge(events);
        Ok(Self {
            sip,
            transport,
            plane,
            events,
            clock: Clock::start(),
            wake: None,
            doubt: None,
            media,
            identity,
        })
    }

    pub fn listening(&self) -> Vec<SocketAddr> {
        self.transport.local_addrs()
    }

    pub async fn call(mut self, remote: SocketAddr, callee: Address, from: Address) -> anyhow::Result<Outcome> {
        let local = self.transport.local_for(remote)?;
        let endpoint = self.plane.open(local.ip())?;
        let capabilities = self.capabilities();
        let sdp = sdp::offer(&self.local(endpoint), &capabilities)?;
        let now = self.clock.now();
        self.doubt = Some((now + DOUBT_AFTER, remote));
        let to = Address {
            port: None,
            ..callee.clone()
        };
        let from = Address {
            host: local.ip().to_string(),
            ..from
        };
        let mut outcome = Outcome::new(from.user.clone(), callee.user.clone());
        let call = Outgoing {
            local,
            remote,
            transport: Transport::Udp,
            peer: None,
            large: Large::Udp,
            request_uri: callee,
            from,
            to,
            max_forwards: MAX_FORWARDS,
            trunk: None,
            headers: Vec::new(),
            user_phone: UserPhone::Off,
            patience: None,
            sdp,
        };
        let dialog = self.sip.invite(now, call);
        outcome.call_id = self.sip.call_id(dialog).map(str::to_owned);
        let mut line = Line::new(dialog, endpoint, now, outcome);
        while line.ended.is_none() {
            match self.next(line.hang_up_at).await? {
                Wake::Sip(Event::Answered { sdp, .. }) => {
                    let agreed = sdp
                        .context("no SDP came with the answer")
                        .and_then(|sdp| Ok(sdp::accept(&capabilities, &Description::parse(&sdp)?)?));
                    match agreed {
                        Ok(session) => self.connect(&mut line, session)?,
                        Err(error) => self.fail(&mut line, &error.to_string()),
                    }
                }
                Wake::Sip(Event::Failed { status, reason, .. }) => {
                    line.outcome.status = status;
                    line.outcome.reason = reason;
                    line.ended = Some(self.clock.now());
                }
                wake => self.handle(&mut line, wake),
            }
        }
        self.finish(line).await
    }

    pub async fn answer(mut self) -> anyhow::Result<Outcome> {
        let incoming = loop {
            match self.next(None).await? {
                Wake::Sip(Event::Incoming(incoming)) => break *incoming,
                Wake::HangUp => bail!("interrupted before a call came"),
                Wake::Sip(_) | Wake::Media(_) => {}
            }
        };
        let mut line = self.pick_up(&incoming)?;
        while line.ended.is_none() {
            match self.next(line.hang_up_at).await? {
                // One call is all this phone takes.
                Wake::Sip(Event::Incoming(other)) => self.sip.reject(self.clock.now(), other.dialog, 486, &[]),
                wake => self.handle(&mut line, wake),
            }
        }
        self.finish(line).await
    }

    fn pick_up(&mut self, incoming: &Incoming) -> anyhow::Result<Line> {
        let now = self.clock.now();
        let endpoint = self.plane.open(incoming.local.ip())?;
        let mut outcome = Outcome::new(incoming.from.user.clone(), incoming.request_uri.user.clone());
        outcome.call_id = Some(incoming.call_id.clone());
        let mut line = Line::new(incoming.dialog, endpoint, now, outcome);
        let answered = incoming
            .sdp
            .as_deref()
            .context("the INVITE has no SDP offer")
            .and_then(|sdp| Ok(Description::parse(sdp)?))
            .and_then(|offer| Ok(sdp::answer(&offer, &self.local(endpoint), &self.capabilities())?));
        match answered {
            Ok((sdp, session)) => {
                self.sip.ring(now, incoming.dialog, 180, None);
                self.sip.answer(now, incoming.dialog, sdp);
                self.connect(&mut line, session)?;
            }
            Err(error) => {
                self.sip.reject(now, incoming.dialog, 488, &[]);
                line.outcome.status = 488;
                line.outcome.reason = error.to_string();
                line.ended = Some(now);
            }
        }
        Ok(line)
    }

    fn connect(&mut self, line: &mut Line, session: Session) -> anyhow::Result<()> {
        if line.answered.is_some() {
            return Ok(());
        }
        let now = self.clock.now();
        line.answered = Some(now);
        line.hang_up_at = self.media.duration.map(|duration| now + duration);
        let outcome = &mut line.outcome;
        outcome.result = CallResult::Completed;
        outcome.status = 200;
        outcome.reason = "OK".to_owned();
        outcome.codec = Some(session.codec);
        outcome.local_rtp = Some(line.media.rtp);
        outcome.remote_rtp = Some(session.remote_rtp);
        outcome.setup_ms = Some(milliseconds(now - line.began));
        self.plane.program(line.media.id, session)?;
        self.plane.attach(
            line.media.id,
            AgentSpec::Phone(PhoneSpec {
                play: Arc::clone(&self.media.samples),
                digits: self.media.digits.clone(),
                digits_after: DIGITS_AFTER,
                record_limit: self.media.duration.map_or(RECORD_LIMIT, record_limit),
            }),
        )?;
        Ok(())
    }

    fn handle(&mut self, line: &mut Line, wake: Wake) {
        let now = self.clock.now();
        match wake {
            Wake::Sip(Event::Bye { dialog, .. } | Event::Cancelled { dialog }) if dialog == line.dialog => {
                line.outcome.bye = Bye::Received;
                line.outcome.ended_by.get_or_insert(EndedBy::Them);
                line.ended = Some(now);
            }
            Wake::Sip(Event::Terminated { dialog, cause }) if dialog == line.dialog => {
                line.outcome.bye = match cause {
                    Termination::ByeAnswered => Bye::Answered,
                    Termination::ByeTimeout => Bye::Timeout,
                    Termination::NoAck
                    | Termination::NoPrack
                    | Termination::Lost { .. }
                    | Termination::SessionExpired => Bye::None,
                };
                line.outcome.ended_by.get_or_insert(EndedBy::Us);
                line.ended = Some(now);
            }
            Wake::Sip(Event::Reinvite { dialog, .. }) => self.sip.reject(now, dialog, 488, &[]),
            Wake::Sip(Event::Referred { dialog, .. }) => self.sip.refuse_refer(now, dialog, 603, &[]),
            Wake::Sip(Event::Update { dialog, .. }) => self.sip.reject_update(now, dialog, 488, &[]),
            Wake::Sip(_) => {}
            Wake::Media(MediaEvent::Digit { digit, .. }) => line.outcome.digits.push(digit),
            Wake::Media(MediaEvent::PhoneDone(_)) if self.media.duration.is_none() && !line.hung_up => {
                line.hang_up_at = Some(now + TAIL);
            }
            Wake::Media(_) => {}
            Wake::HangUp if line.hung_up => {
                line.outcome.bye = Bye::Timeout;
                line.ended = Some(now);
            }
            Wake::HangUp => {
                line.outcome.ended_by.get_or_insert(EndedBy::Us);
                line.hung_up = true;
                line.hang_up_at = Some(now + GOODBYE);
                self.sip.hang_up(now, line.dialog, None);
            }
        }
    }

    fn fail(&mut self, line: &mut Line, why: &str) {
        let now = self.clock.now();
        line.outcome.reason = why.to_owned();
        line.hung_up = true;
        line.hang_up_at = Some(now + GOODBYE);
        self.sip.hang_up(now, line.dialog, None);
    }

    async fn finish(mut self, line: Line) -> anyhow::Result<Outcome> {
        self.flush().await;
        let mut outcome = line.outcome;
        if let (Some(answered), Some(ended)) = (line.answered, line.ended) {
            outcome.duration_ms = Some(milliseconds(ended - answered));
        }
        let Some(report) = self.plane.close(line.media.id) else {
            return Ok(outcome);
        };
        outcome.sent_packets = report.flow.sent_packets;
        outcome.received = report.flow.received;
        if let Some(recording) = report.recording {
            outcome.heard = audio::analyse(&recording.samples, self.media.tone);
            if let Some(path) = &self.media.record {
                audio::write(path, &recording.samples)?;
            }
        }
        Ok(outcome)
    }

    /// Waits for something to happen.
    async fn next(&mut self, hang_up_at: Option<Time>) -> anyhow::Result<Wake> {
        let mut buffer = vec![0; 65_535];
        loop {
            if let Some(event) = self.flush().await {
                return Ok(Wake::Sip(event));
            }
            let wake = self.wake.map(|wake| self.clock.instant(wake));
            let hang_up_at = hang_up_at.map(|time| self.clock.instant(time));
            let doubt = self.doubt.map(|(time, _)| self.clock.instant(time));
            tokio::select! {
                received = self.transport.recv(&mut buffer) => {
                    if let Ok(Received { local, remote, len }) = received {
                        let data = &buffer[..len];
                        self.sip.handle_input(self.clock.now(), Input::Datagram { local, remote, data });
                    }
                }
                () = sleep_until(wake) => self.sip.handle_timeout(self.clock.now()),
                () = sleep_until(doubt) => self.doubt(),
                () = sleep_until(hang_up_at) => return Ok(Wake::HangUp),
                Some(event) = self.events.recv() => return Ok(Wake::Media(event)),
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    return Ok(Wake::HangUp);
                }
            }
        }
    }

    /// Says so if nobody has answered at all: a wrong address is easily dialled, and the call takes half a minute to fail.
    fn doubt(&mut self) {
        if let Some((_, remote)) = self.doubt.take()
            && self.sip.counters().responses == 0
        {
            eprintln!("no answer from {remote} yet: does anything listen there? (SIP over UDP)");
        }
    }

    /// Sends what the SIP core has to send, up to its next event.
    async fn flush(&mut self) -> Option<Event> {
        loop {
            match self.sip.poll_output() {
                Output::Transmit(transmit) => {
                    let remote = transmit.path.remote;
                    let sent = self.transport.send(&transmit).await;
                    if sent.is_err_and(|error| is_unreachable(&error)) {
                        self.sip.handle_input(
                            self.clock.now(),
                            Input::Unreachable {
                                transport: Transport::Udp,
                                remote,
                            },
                        );
                    }
                }
                Output::Event(event) => return Some(event),
                Output::Timeout(wake) => {
                    self.wake = wake;
                    return None;
                }
            }
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            codecs: self.media.codecs.clone(),
            telephone_event: Some(101),
            ptime: 20,
            rtcp_mux: RtcpMux::Accept,
            security: Security::off(),
        }
    }

    fn local(&self, media: MediaEndpoint) -> Local<'_> {
        Local {
            identity: &self.identity,
            session_id: 1,
            version: 1,
            rtp: media.rtp,
        }
    }
}

impl Line {
    fn new(dialog: DialogId, media: MediaEndpoint, began: Time, outcome: Outcome) -> Self {
        Self {
            dialog,
            media,
            began,
            answered: None,
            ended: None,
            hang_up_at: None,
            hung_up: false,
            outcome,
        }
    }
}

impl Outcome {
    fn new(from: String, to: String) -> Self {
        Self {
            result: CallResult::Failed,
            status: 0,
            reason: String::new(),
            from,
            to,
            call_id: None,
            codec: None,
            local_rtp: None,
            remote_rtp: None,
            setup_ms: None,
            duration_ms: None,
            ended_by: None,
            bye: Bye::None,
            sent_packets: 0,
            received: Default::default(),
            heard: Heard::default(),
            digits: String::new(),
        }
    }
}

/// Samples a call of this length can have, and a little more.
fn record_limit(duration: Duration) -> usize {
    (duration.as_secs() as usize + 5) * audio::RATE
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
