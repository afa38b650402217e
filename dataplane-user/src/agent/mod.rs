//! Agents: who hears a leg and answers on it.
//!
//! An [`Agent`] is driven by the worker that owns its leg and never blocks. The worker tells it what was heard
//! ([`Agent::on_audio`], [`Agent::on_digit`]), calls it once a packet time ([`Agent::on_tick`]) and, if it asks for that
//! ([`Agent::watch`]), when its socket is ready ([`Agent::on_ready`]); the agent answers by filling the call's [`Playout`], and by [`AgentEvent`]s.
//!
//! One kind of agent, one file: [`Session`] is all that a new one has to implement. One that is behind a WebSocket is a
//! [`web::protocol::Protocol`], which is less: all of them share the rest. Audio is 8 kHz µ-law throughout.

mod asterisk;
mod audiosocket;
mod awaited;
mod echo;
mod jambonz;
mod listener;
pub mod openai;
mod patience;
mod pcm16;
mod phone;
mod play;
mod quiet;
mod ringback;
pub mod sound;
mod tally;
mod telnyx;
mod tone;
mod twilio;
mod web;

use std::time::Duration;

pub(crate) use self::listener::Listener;
pub use self::tally::AgentTally;

use self::asterisk::Asterisk;
pub use self::asterisk::ControlMessages;
use self::jambonz::Jambonz;
use self::openai::OpenAi;
use self::pcm16::Pcm16;
pub use self::telnyx::Encoding;
use self::telnyx::Telnyx;
use self::twilio::Twilio;
use self::web::Web;
use crate::codec::Codec;
use crate::dtmf::{self, Press};
use crate::media_plane::{
    AgentFailure, AgentNotice, AgentSpec, Recording, TapSpec, TransferRequest, WebProtocol, WebSpec,
};
use crate::playout::Playout;

/// What agents hear and speak.
pub(crate) const CODEC: Codec = Codec::Pcmu;

/// What an agent tells the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// It hears and may speak: the call may be answered.
    Ready,
    /// It ended the conversation. The last event.
    Ended,
    /// It could not be reached, or died. The last event.
    Failed(AgentFailure),
    /// The softphone has played and dialled everything.
    PhoneDone,
    /// It asks for the call to be transferred.
    Asks(TransferRequest),
}

/// How the worker learns that an agent's socket has something for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The poll tells, both ways and edge-triggered.
    Events,
    /// It does not: the agent looks for itself in [`Agent::on_tick`]. So do agents without a socket.
    Ticks,
}

/// One conversation between a leg and an agent. Times are readings of the worker's monotonic clock.
trait Session: Send {
    /// The socket, if there is one now.
    fn source(&mut self) -> Option<&mut mio::net::TcpStream> {
        None
    }

    /// Changes whenever [`Self::source`] is another socket than before.
    fn generation(&self) -> u32 {
        0
    }

    /// Whether the socket is to be watched.
    fn watch(&self) -> Watch {
        Watch::Ticks
    }

    /// The socket is ready.
    fn on_ready(&mut self, _playout: &mut Playout, _now: Duration) {}

    /// Audio was heard, in order.
    fn on_audio(&mut self, _ulaw: &[u8], _playout: &mut Playout, _now: Duration) {}

    /// A key was pressed, in order with the audio.
    fn on_digit(&mut self, _press: &Press) {}

    /// Something has happened to its call.
    fn on_notice(&mut self, _notice: &AgentNotice) {}

    /// Once a packet time, before the next frame is taken from the playout queue; and at the [`Self::deadline`].
    fn on_tick(&mut self, _playout: &mut Playout, _dtmf: &mut dtmf::Sender, _now: Duration) {}

    /// Marks in the playout queue have been reached: the frame that has just left was the last before them.
    fn on_marks(&mut self, _playout: &mut Playout) {}

    /// When [`Self::on_tick`] must be called although no media runs.
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// What happened, oldest first.
    fn poll_event(&mut self) -> Option<AgentEvent>;

    /// Begins a clean end; returns whether that is all.
    fn stop(&mut self, _now: Duration) -> bool {
        true
    }

    /// Whether nothing is left to do after [`Self::stop`].
    fn is_done(&self) -> bool {
        true
    }

    /// What it recorded.
    fn into_recording(self: Box<Self>) -> Option<Recording> {
        None
    }
}

/// An agent of any kind. See [`Session`] in the source for what each function asks.
pub struct Agent(Box<dyn Session>);

/// Does beforehand, on the caller's thread, what an agent needs and may take long: reads the trusted TLS certificates.
pub fn prepare(spec: &AgentSpec) {
    match spec {
        AgentSpec::Web(spec) => web::prepare(spec),
        AgentSpec::Awaited
        | AgentSpec::Echo
        | AgentSpec::Tone { .. }
        | AgentSpec::Ringback
        | AgentSpec::AudioSocket(_)
        | AgentSpec::Quiet
        | AgentSpec::Play(_)
        | AgentSpec::Phone(_) => {}
    }
}

/// The same for whoever is to listen to a call.
pub fn prepare_listener(spec: &TapSpec) {
    web::prepare(&spec.web);
}

/// One that speaks what it is said to.
fn start_web(spec: &WebSpec, now: Duration) -> Box<dyn Session> {
    match spec.protocol {
        WebProtocol::Twilio => Box::new(Web::start(spec, Twilio::new(spec), now)),
        WebProtocol::Telnyx(encoding) => Box::new(Web::start(spec, Telnyx::new(spec, encoding), now)),
        WebProtocol::Jambonz(rate) => Box::new(Web::start(spec, Jambonz::new(spec, rate), now)),
        WebProtocol::Asterisk { format, control } => {
            Box::new(Web::start(spec, Asterisk::new(spec, format, control), now))
        }
        WebProtocol::Pcm16(rate) => Box::new(Web::start(spec, Pcm16::new(spec, rate), now)),
        WebProtocol::OpenAiRealtime => Box::new(Web::start(spec, OpenAi::new(spec), now)),
    }
}

impl Agent {
    /// Starts an agent; a remote one begins to connect.
    pub fn start(spec: AgentSpec, now: Duration) -> Self {
        Self(match spec {
            AgentSpec::Awaited => Box::new(awaited::Awaited),
            AgentSpec::Echo => Box::new(echo::Echo::default()),
            AgentSpec::Tone { frequency } => Box::new(tone::Tone::new(frequency)),
            AgentSpec::Ringback => Box::new(ringback::Ringback::default()),
            AgentSpec::Quiet => Box::new(quiet::Quiet),
            AgentSpec::Play(play) => Box::new(play::Play::new(play)),
            AgentSpec::Phone(phone) => Box::new(phone::Phone::new(phone)),
            AgentSpec::AudioSocket(spec) => Box::new(audiosocket::AudioSocket::start(spec, now)),
            AgentSpec::Web(spec) => start_web(&spec, now),
        })
    }

    /// The socket, if there is one now.
    pub fn source(&mut self) -> Option<&mut mio::net::TcpStream> {
        self.0.source()
    }

    /// Changes whenever [`Self::source`] is another socket than before.
    pub fn generation(&self) -> u32 {
        self.0.generation()
    }

    /// Whether the [`Self::source`] is to be watched.
    pub fn watch(&self) -> Watch {
        self.0.watch()
    }

    /// The socket is ready.
    pub fn on_ready(&mut self, playout: &mut Playout, now: Duration) {
        self.0.on_ready(playout, now);
    }

    /// Audio was heard: µ-law, in order, without gaps.
    pub fn on_audio(&mut self, ulaw: &[u8], playout: &mut Playout, now: Duration) {
        self.0.on_audio(ulaw, playout, now);
    }

    /// A key was pressed; told in order with the audio.
    pub fn on_digit(&mut self, press: &Press) {
        self.0.on_digit(press);
    }

    /// Something has happened to its call.
    pub fn on_notice(&mut self, notice: &AgentNotice) {
        self.0.on_notice(notice);
    }

    /// To be called once a packet time, before the next frame is taken from `playout`, and at the [`Self::deadline`].
    pub fn on_tick(&mut self, playout: &mut Playout, dtmf: &mut dtmf::Sender, now: Duration) {
        self.0.on_tick(playout, dtmf, now);
    }

    /// To be called where marks have been reached by what has just left.
    pub fn on_marks(&mut self, playout: &mut Playout) {
        self.0.on_marks(playout);
    }

    /// When [`Self::on_tick`] must be called although no media runs.
    pub fn deadline(&self) -> Option<Duration> {
        self.0.deadline()
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.0.poll_event()
    }

    /// Begins a clean end. If this is not all (`false`), go on with [`Self::on_tick`] until [`Self::is_done`], for a
    /// second at most.
    pub fn stop(&mut self, now: Duration) -> bool {
        self.0.stop(now)
    }

    /// Whether nothing is left to do after [`Self::stop`].
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// What it recorded, if it is one that records.
    pub fn into_recording(self) -> Option<Recording> {
        self.0.into_recording()
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agent")
    }
}
