//! What the control plane sees of the data plane.
//!
//! A call's media is built in steps: [`MediaPlane::open`] reserves a port pair for each leg (before SDP is written),
//! [`MediaPlane::program`] tells what offer/answer agreed, then either [`MediaPlane::relay`] joins two legs or
//! [`MediaPlane::attach`] gives a leg to an agent. [`MediaPlane::close`] ends it and returns what was measured.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Sender;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
pub use voxlane_common::flow::RtcpPort;
pub use voxlane_common::latch::LatchMode;
pub use voxlane_common::pace::Pacing;
pub use voxlane_common::ports::Unallocated;

use crate::agent::sound::Format;
use crate::agent::{AgentTally, ControlMessages, Encoding};
use crate::codec::Codec;
use crate::codec::resample::Rate;
use crate::lane::{Lane, Reason};
use crate::playout::DEFAULT_LIMIT;
use crate::srtp::{SrtpKeys, Suite};

/// Names one leg's media endpoint for as long as it is open. Never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointId(pub u64);

/// A reserved port pair: RTP on the even port, RTCP on the next one (RFC 3550 section 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub id: EndpointId,
    /// Address to write into SDP.
    pub rtp: SocketAddr,
}

/// What offer/answer agreed for one leg, seen from the gateway, and how the leg's trunk wants its media treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Where the other side wants RTP.
    pub remote_rtp: SocketAddr,
    /// Where the other side wants RTCP: `a=rtcp`, else RTP port + 1; with rtcp-mux the RTP port.
    pub remote_rtcp: SocketAddr,
    /// Whether RTP and RTCP share a port (`a=rtcp-mux`, RFC 5761), in both directions.
    pub rtcp_port: RtcpPort,
    /// The one codec in use.
    pub codec: Codec,
    /// Payload type of the codec in packets we send.
    pub send_payload_type: u8,
    /// Payload type of the codec in packets we receive.
    pub receive_payload_type: u8,
    /// Payload types of telephone-event (RFC 4733), if both sides have it.
    pub telephone_event: Option<TelephoneEvent>,
    /// Packet time, milliseconds.
    pub ptime: u8,
    /// Which way media flows.
    pub direction: Direction,
    /// Who may send on this leg beside the source that was signalled.
    pub latch: LatchMode,
    /// Whether what is sent to this leg is paced.
    pub pacing: Pacing,
    /// The keys of SRTP, both ways; `None`: the leg has plain RTP. They are secret, and stand in no debug form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtp: Option<SrtpKeys>,
}

impl Session {
    /// Where its far end said it is: its RTP and its RTCP.
    pub fn remote(&self) -> [SocketAddr; 2] {
        [self.remote_rtp, self.remote_rtcp]
    }
}

/// Payload types of telephone-event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TelephoneEvent {
    /// In packets we send.
    pub send: u8,
    /// In packets we receive.
    pub receive: u8,
}

/// Media direction as seen by the gateway (RFC 3264 section 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// We send only.
    SendOnly,
    /// We receive only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The same direction, seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::SendRecv => Self::SendRecv,
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::Inactive => Self::Inactive,
        }
    }
}

/// The agent that is to hear and answer a leg.
#[derive(Clone, Debug)]
pub enum AgentSpec {
    /// Nobody yet: what is said is kept for whoever is attached next.
    Awaited,
    /// Sends back what it hears.
    Echo,
    /// Plays a steady sine tone and listens.
    Tone {
        /// Frequency, Hz.
        frequency: u16,
    },
    /// Plays a ring-back tone.
    Ringback,
    /// Says nothing, and never ends.
    Quiet,
    /// Plays samples and ends.
    Play(PlaySpec),
    /// A bot behind a WebSocket.
    Web(Box<WebSpec>),
    /// An agent that speaks Asterisk's AudioSocket.
    AudioSocket(AudioSocketSpec),
    /// The softphone of `voxlane call` and `voxlane answer`: plays and records samples, presses keys.
    Phone(PhoneSpec),
}

impl AgentSpec {
    /// Audio that may wait to be played, bytes of µ-law.
    pub fn queue_limit(&self) -> usize {
        match self {
            Self::Web(spec) => spec.limits.queue,
            Self::AudioSocket(spec) => spec.limits.queue,
            Self::Awaited
            | Self::Echo
            | Self::Tone { .. }
            | Self::Ringback
            | Self::Quiet
            | Self::Play(_)
            | Self::Phone(_) => DEFAULT_LIMIT,
        }
    }
}

/// What a bot behind a WebSocket speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebProtocol {
    /// Twilio Media Streams.
    #[default]
    Twilio,
    /// Telnyx media streaming, with this coding of audio.
    Telnyx(Encoding),
    /// jambonz's `listen`, at this sample rate.
    Jambonz(Rate),
    /// Asterisk's `chan_websocket`.
    Asterisk {
        /// What audio is coded with.
        format: Format,
        /// What control messages look like.
        control: ControlMessages,
    },
    /// Our own: linear samples at this rate.
    Pcm16(Rate),
    /// OpenAI's Realtime API.
    OpenAiRealtime,
}

impl WebProtocol {
    /// In a word, as it is configured.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Twilio => "twilio",
            Self::Telnyx(_) => "telnyx",
            Self::Jambonz(_) => "jambonz",
            Self::Asterisk { .. } => "asterisk-websocket",
            Self::Pcm16(_) => "pcm16",
            Self::OpenAiRealtime => "openai-realtime",
        }
    }
}

/// Which way a call goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallDirection {
    /// It came to the gateway.
    #[default]
    Inbound,
    /// The gateway placed it.
    Outbound,
}

impl CallDirection {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// How to reach an agent behind a WebSocket and what to tell it.
#[derive(Clone, Debug)]
pub struct WebSpec {
    /// What it speaks.
    pub protocol: WebProtocol,
    /// `ws://` or `wss://` URL.
    pub url: String,
    /// The URL's host, resolved; tried in order.
    pub addresses: Vec<SocketAddr>,
    /// Extra headers of the handshake.
    pub headers: Vec<(String, String)>,
    /// Settings of TLS; `None`: what this host trusts.
    pub tls: Option<Arc<ClientConfig>>,
    /// `AC…`
    pub account_sid: String,
    /// `CA…`
    pub call_sid: String,
    /// `MZ…`
    pub stream_sid: String,
    /// Who calls: a number, as the trunk has it.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// Which way the call goes.
    pub direction: CallDirection,
    /// What is said first, where the protocol leaves that to the configuration.
    pub opening: Vec<String>,
    /// What it is told of at the start, in order: Twilio's `customParameters`.
    pub parameters: Vec<(String, String)>,
    /// Connect, TLS and WebSocket handshake together may take this long.
    pub connect_timeout: Duration,
    /// An agent from which nothing (not even a pong) was heard for this long is taken for dead.
    pub silence_timeout: Duration,
    /// How much it may take up.
    pub limits: AgentLimits,
    /// Counts what it sends that is of no use.
    pub tally: Arc<AgentTally>,
}

/// How to reach an agent that speaks AudioSocket and what to tell it.
#[derive(Clone, Debug)]
pub struct AudioSocketSpec {
    /// Where it is; tried in order.
    pub addresses: Vec<SocketAddr>,
    /// Names the call.
    pub uuid: [u8; 16],
    /// What it hears.
    pub rate: Rate,
    /// Connecting may take this long.
    pub connect_timeout: Duration,
    /// How much it may take up.
    pub limits: AgentLimits,
    /// Counts what it sends that is of no use.
    pub tally: Arc<AgentTally>,
}

/// How much an agent may take up before it is cut short or taken for broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentLimits {
    /// Audio that may wait to be played, bytes of µ-law; what is beyond is dropped.
    pub queue: usize,
    /// Longest message that is read, bytes.
    pub message: usize,
    /// Bytes that may wait to be written; with more it does not read.
    pub write: usize,
    /// Messages that cannot be used: with more it is broken.
    pub malformed: u64,
    /// How often it is asked for a sign of life.
    pub ping_interval: Duration,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self {
            queue: DEFAULT_LIMIT,
            message: 2 << 20,
            write: 1 << 20,
            malformed: 100,
            ping_interval: Duration::from_secs(2),
        }
    }
}

/// What is played to a leg.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaySpec {
    /// 8 kHz µ-law.
    pub audio: Arc<[u8]>,
    /// How often; `None`: over and over.
    pub times: Option<u32>,
}

/// What a softphone plays and how it dials.
#[derive(Clone, Debug, Default)]
pub struct PhoneSpec {
    /// Samples to play, 8 kHz, once; silence after them.
    pub play: Arc<[i16]>,
    /// Digits to press, in order (`0`-`9`, `*`, `#`, `A`-`D`).
    pub digits: String,
    /// Time before the first digit.
    pub digits_after: Duration,
    /// Most samples to record (8 kHz).
    pub record_limit: usize,
}

/// What an agent is told of a transfer of its call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentNotice {
    /// How far it has come.
    pub state: TransferState,
    /// Whom to.
    pub to: String,
    /// A SIP status, if it has failed.
    pub status: Option<u16>,
    /// Why it has failed.
    pub reason: Option<String>,
}

/// How far a transfer has come, as an agent is told. Of one that is complete it is told by being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferState {
    /// The other party is being called.
    Calling,
    /// It rings.
    Ringing,
    /// It will not take the call: the caller is the agent's again.
    Failed,
}

impl TransferState {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Calling => "calling",
            Self::Ringing => "ringing",
            Self::Failed => "failed",
        }
    }
}

/// A transfer, as an agent asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRequest {
    /// Whom to: a number.
    pub to: String,
    /// By which trunk; where it does not say, the configuration does.
    #[serde(default)]
    pub trunk: Option<String>,
    /// How: `bridge`, `refer` or `refer-then-bridge`; where it does not say, the configuration does.
    #[serde(default)]
    pub by: Option<String>,
}

/// Which way a part of a call goes that is listened to, seen from the leg that it is listened to at: Twilio's tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackName {
    /// What comes from the far end.
    Inbound,
    /// What is sent to it.
    Outbound,
}

impl TrackName {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Who is to listen to a call, and to what of it.
#[derive(Clone, Debug)]
pub struct TapSpec {
    /// How to reach the listener and what to tell it; always Twilio's protocol.
    pub web: WebSpec,
    /// What it hears, each once.
    pub tracks: Vec<TrackName>,
}

/// Tracks of a call that may be listened to at a time, as at Twilio.
pub const MOST_TRACKS: usize = 4;

/// Names a tap for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TapId(pub u64);

/// When a far end hears what an agent says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speech {
    /// As it is said.
    #[default]
    Free,
    /// Not before media has come from there, which shows that it knows of the answer and hears: until then what the agent
    /// says waits, and silence is sent.
    Held,
}

/// Something the data plane tells the control plane.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaEvent {
    /// The agent is connected and has been told `start`: the call may be answered.
    AgentReady(EndpointId),
    /// The agent could not be reached, refused, or died.
    AgentFailed(EndpointId, AgentFailure),
    /// The agent ended the conversation itself (closed the socket normally).
    AgentEnded(EndpointId),
    /// A key was pressed by the far end of a leg, in either lane; reported once, when it ended.
    Digit {
        /// The leg that sent it.
        endpoint: EndpointId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
        /// How long it was held.
        duration: Duration,
    },
    /// The agent asks for its call to be transferred.
    AgentAsks(EndpointId, TransferRequest),
    /// The softphone has played and dialled everything it was given.
    PhoneDone(EndpointId),
    /// Whoever carried this endpoint is gone: its media has ended.
    Lost(EndpointId),
    /// Something has become of a tap at this endpoint.
    Tap(EndpointId, TapId, TapEvent),
}

/// What becomes of a tap that nobody has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapEvent {
    /// Its listener is connected, and has been told `start`.
    Started,
    /// Its listener has closed: it is over.
    Closed,
    /// Its listener could not be reached, broke, or does not read: it is over.
    Failed(AgentFailure),
}

/// Why an agent failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentFailure {
    /// No TCP or TLS connection.
    #[error("could not connect: {0}")]
    Connect(String),
    /// An HTTP answer other than 101.
    #[error("refused the WebSocket handshake: {0}")]
    Refused(String),
    /// No open WebSocket in time.
    #[error("timed out while connecting")]
    ConnectTimeout,
    /// No sign of life for too long.
    #[error("timed out while waiting for a sign of life")]
    Silent,
    /// The connection broke or broke the protocol.
    #[error("connection lost: {0}")]
    Lost(String),
    /// It does not read what it is sent.
    #[error("does not read what it is sent: {0} bytes waiting")]
    Stalled(usize),
    /// It sent too much that cannot be used.
    #[error("sent {0} messages that cannot be used")]
    Malformed(u64),
    /// It sent a message that is too long.
    #[error("sent a message of more than {0} bytes")]
    Oversized(usize),
}

impl AgentFailure {
    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Connect(_) => FailureKind::Unreachable,
            Self::ConnectTimeout => FailureKind::ConnectTimeout,
            Self::Refused(_) => FailureKind::Refused,
            Self::Silent => FailureKind::Silent,
            Self::Lost(_) => FailureKind::Lost,
            Self::Stalled(_) => FailureKind::Stalled,
            Self::Malformed(_) => FailureKind::Malformed,
            Self::Oversized(_) => FailureKind::Oversized,
        }
    }
}

/// The kinds of [`AgentFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection, or its host is not known.
    Unreachable,
    /// No open connection in time.
    ConnectTimeout,
    /// The handshake was refused.
    Refused,
    /// No sign of life for too long.
    Silent,
    /// The connection broke, or broke the protocol.
    Lost,
    /// It does not read.
    Stalled,
    /// It sent too much that cannot be used.
    Malformed,
    /// It sent a message that is too long.
    Oversized,
}

impl FailureKind {
    /// All of them, in the order of the type.
    pub const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Refused,
        Self::Silent,
        Self::Lost,
        Self::Stalled,
        Self::Malformed,
        Self::Oversized,
    ];

    /// In a word, as reports and metrics have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Lost => "lost",
            Self::Stalled => "stalled",
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
        }
    }
}

/// What one direction of media has seen so far (RFC 3550 section 6.4 and appendix A).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamStats {
    /// RTP packets.
    pub packets: u64,
    /// UDP payload bytes of those packets.
    pub bytes: u64,
    /// Packets expected minus received (RFC 3550 A.3); duplicates can make it negative.
    pub lost: i64,
    /// Packets that came after one with a higher sequence number.
    pub reordered: u64,
    /// Packets that had come before.
    pub duplicates: u64,
    /// Packets not forwarded or used, for whatever reason.
    pub dropped: u64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
    /// Mean of the jitter over the packets of the stream, milliseconds.
    pub mean_jitter_ms: f64,
    /// Greatest jitter there was, milliseconds.
    pub max_jitter_ms: f64,
    /// SSRC of the stream.
    pub ssrc: u32,
    /// Source the stream was last accepted from.
    pub source: Option<SocketAddr>,
}

/// One flow, as `voxlane flows` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowReport {
    /// The endpoint where it arrives.
    pub endpoint: EndpointId,
    /// The address where it arrives.
    pub local: SocketAddr,
    /// Where its packets are sent on; `None` if they end here (agent).
    pub forwarded_to: Option<SocketAddr>,
    /// Who handles it.
    pub lane: Lane,
    /// Why not the kernel lane.
    pub reason: Option<Reason>,
    /// What was received.
    pub received: StreamStats,
    /// RTP packets sent from this endpoint to its far end.
    pub sent_packets: u64,
    /// Packets of this endpoint that a userspace socket of the gateway received: of a call that was
    /// always in the kernel lane, none.
    pub userspace_packets: u64,
    /// Packets, RTP and RTCP, that were dropped, by reason; reasons that never occurred are left out.
    pub drops: Vec<(String, u64)>,
    /// Keys pressed by the far end.
    pub digits: u64,
    /// Whether what is sent on leaves at its times (`trunk.pacing`).
    pub paced: bool,
    /// RTCP round-trip time to the far end, milliseconds, once it is known (RFC 3550 section 6.4.1).
    pub rtt_ms: Option<f64>,
    /// How good it sounds, both ways.
    #[serde(default)]
    pub quality: Quality,
    /// The suite of what arrives, if the leg has SRTP.
    #[serde(default)]
    pub srtp: Option<Suite>,
}

/// How good the sound of one leg is, both ways, over the call so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Mean opinion score of what arrives at this leg, 1 to 4.41 (E-model, ITU-T G.107); `None` before anything has.
    pub mos: Option<f64>,
    /// Of what is sent to its far end, by the far end's reports; `None` before the first.
    pub far_mos: Option<f64>,
    /// What its far end reported last of what it is sent.
    pub far: Option<FarEnd>,
    /// The jitter buffer, where an agent hears the leg.
    pub buffer: Option<BufferStats>,
}

/// A far end's report of what it is sent (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FarEnd {
    /// Share of packets lost between its last two reports, 0 to 1.
    pub loss: f64,
    /// Packets lost in all.
    pub lost: i32,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
}

/// What a jitter buffer has done to one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BufferStats {
    /// How long packets wait now, milliseconds.
    pub delay_ms: f64,
    /// How long they are to wait at least, milliseconds.
    pub target_ms: f64,
    /// Packets that came after their time.
    pub late: u64,
    /// Packets that came more than two packet times sooner than they had to.
    pub early: u64,
    /// Packets that had come before.
    pub duplicates: u64,
    /// Packets left out because the wait would have been too long, or there was no room.
    pub overflow: u64,
    /// Audio that was made up, milliseconds.
    pub concealed_ms: u64,
    /// Times the audio was made shorter, by at most 15 ms.
    pub shortened: u64,
    /// Times it was made longer, likewise.
    pub lengthened: u64,
}

/// The data plane as a whole, as `voxlane flows` and the metrics show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaneStatus {
    /// One row for each interface the gateway tried to attach to.
    pub interfaces: Vec<InterfaceStatus>,
    /// Why there is no kernel lane at all, if there is none.
    pub unavailable: Option<Reason>,
    /// Worker threads.
    pub workers: Vec<WorkerStatus>,
    /// Port pairs in use.
    pub ports_in_use: usize,
    /// Port pairs there are.
    pub ports_total: usize,
    /// How workers send and receive.
    pub io: IoStatus,
    /// The kernel lane, if there is one.
    pub kernel: Option<KernelStatus>,
}

/// How workers send and receive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoStatus {
    /// Which way is in use.
    pub mode: IoMode,
    /// Why it is not AF_XDP, in words, where that was tried or left out.
    pub reason: Option<String>,
}

/// A way for workers to send and receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoMode {
    /// AF_XDP sockets, past the network stack; UDP sockets for what does not come or go that way.
    AfXdp,
    /// UDP sockets to receive; what is sent leaves in batches.
    Sockets,
}

impl IoMode {
    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfXdp => "af_xdp",
            Self::Sockets => "sockets",
        }
    }
}

/// One worker thread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The core it is pinned to, if it is.
    pub core: Option<usize>,
    /// Whether it works.
    pub health: WorkerHealth,
    /// Agent legs and relayed pairs it carries.
    pub residents: usize,
    /// Share of the last second it has worked, 0 to 1.
    pub load: f64,
    /// How late a frame was sent within the last second, at most, milliseconds.
    pub late_ms: f64,
    /// Frames it has given up because it was later than three packet times.
    pub given_up: u64,
    /// Frames that AF_XDP sockets have lost: nobody's, damaged, or not taken in time.
    pub express_lost: u64,
    /// Commands that wait for it.
    pub commands: usize,
}

/// Whether a worker thread works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerHealth {
    /// It does.
    Working,
    /// It has not finished a turn of its loop for most of a second: its calls have no media, and it gets no new ones.
    Stalled,
    /// It has died, and its calls with it.
    Dead,
}

/// The kernel lane as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelStatus {
    /// Frames by how they ended in the XDP program, since it was loaded first.
    pub outcomes: Vec<(String, u64)>,
    /// Packets by their time in the XDP program: the end of each bucket (ns, exclusive; `u64::MAX` for the last) and its
    /// count. One packet in 64 is measured.
    pub durations: Vec<(u64, u64)>,
    /// Copies of telephone events and reports that were lost because nobody read in time.
    pub events_lost: u64,
    /// Mirrored frames that were lost because nobody read in time.
    pub mirrored_lost: u64,
    /// Whether what an earlier process had left in the kernel was taken over.
    pub adopted: bool,
    /// Legs of calls of an earlier process that still carry media.
    pub orphans: usize,
    /// Interfaces that flows which want to be paced leave by, and whether they keep departure times (`fq`).
    pub pacing: Vec<(String, bool)>,
}

/// A frame of a mirrored flow, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirroredFrame {
    /// When it arrived.
    pub at: SystemTime,
    /// Its length on the wire, bytes.
    pub length: u32,
    /// The Ethernet frame, cut if it is very long.
    pub bytes: Vec<u8>,
}

/// The XDP program on one interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Interface name.
    pub name: String,
    /// How the program is attached.
    pub mode: AttachMode,
    /// Why not better than that, in words, if something was refused.
    pub detail: Option<String>,
}

/// How the XDP program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the generic network stack: works everywhere, costs more.
    Generic,
    /// Not attached.
    None,
}

/// How the XDP program may be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachPolicy {
    /// Native where every interface has it, else generic on all: a native program cannot redirect to an interface whose
    /// driver knows no XDP.
    Auto,
    /// Native or not at all.
    Native,
    /// Generic or not at all.
    Generic,
}

/// What one leg's media came to, for logs and call records.
#[derive(Clone, Debug, PartialEq)]
pub struct LegReport {
    /// The last state of its flow.
    pub flow: FlowReport,
    /// What the softphone recorded (8 kHz), if it was one.
    pub recording: Option<Recording>,
}

/// What a softphone heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// 8 kHz samples, from the moment media started to be sent; silence where nothing arrived.
    pub samples: Vec<i16>,
}

/// Why the data plane could not do as told.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Every port pair of the range is in use.
    #[error("no free RTP port pair on {address} in {first}-{last}: raise media.ports or lower the number of calls")]
    NoPort {
        /// Local address.
        address: IpAddr,
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// An address that is not in `media.addresses`.
    #[error("{0} is not one of media.addresses")]
    NotLocal(IpAddr),
    /// The endpoint is closed or was never open.
    #[error("media endpoint {0:?} is not open")]
    Closed(EndpointId),
    /// The endpoint has not been programmed yet.
    #[error("media endpoint {0:?} has no session yet")]
    NoSession(EndpointId),
    /// Another gateway has what this one needs.
    #[error("{0}")]
    InUse(String),
    /// Something that only relayed calls have.
    #[error("media endpoint {0:?} is not relayed")]
    NotRelayed(EndpointId),
    /// Something that the kernel lane does.
    #[error("cannot {what}: the call is not in the kernel lane ({reason})")]
    NotInKernel {
        /// What was wanted.
        what: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// More of a call is to be listened to than may be.
    #[error("more than {MOST_TRACKS} tracks of a call cannot be listened to at a time: end another stream of it")]
    TooManyTracks,
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The data plane. Calls return at once; what takes time is reported as a [`MediaEvent`].
pub trait MediaPlane: Send + Sync {
    /// Reserves a port pair on `local`.
    fn open(&self, local: IpAddr) -> Result<Endpoint, MediaError>;

    /// Tells what offer/answer agreed; again when a re-INVITE changed it.
    fn program(&self, endpoint: EndpointId, session: Session) -> Result<(), MediaError>;

    /// Joins two programmed endpoints, whoever has them, and whatever codec and packet time each has agreed on; returns the lane of the flow arriving at `a` and of the one
    /// arriving at `b`. A leg that an agent has spoken to goes on with that stream. Whoever was relayed to one of them keeps
    /// its ports, and can be joined anew.
    fn relay(&self, a: EndpointId, b: EndpointId) -> Result<[Lane; 2], MediaError>;

    /// Gives an endpoint to an agent, whoever has it, and starts connecting it. Allowed before [`Self::program`]; audio flows
    /// once both are there.
    fn attach(&self, endpoint: EndpointId, agent: AgentSpec) -> Result<(), MediaError>;

    /// Holds back what the agent of an endpoint says, or lets it go. Nothing to an endpoint without one; another agent is free
    /// again.
    fn set_speech(&self, endpoint: EndpointId, speech: Speech) -> Result<(), MediaError>;

    /// Tells the agent of an endpoint what happens to its call. One that has gone meanwhile is not told.
    fn tell(&self, endpoint: EndpointId, notice: AgentNotice) -> Result<(), MediaError>;

    /// Moves a relayed endpoint, and the one it is relayed to, to a lane while media flows; returns the lane they are in
    /// then. The kernel lane is a wish: [`FlowReport::reason`] says what is in its way. The worker lane stays until the
    /// kernel lane is asked for.
    fn prefer(&self, endpoint: EndpointId, lane: Lane) -> Result<Lane, MediaError>;

    /// Sends copies of all that arrives at an endpoint in the kernel lane, until the receiver is dropped, or the endpoint is
    /// closed or leaves that lane; then the sender is dropped. Frames that are not taken in time are lost and counted.
    fn mirror(&self, endpoint: EndpointId, into: Sender<MirroredFrame>) -> Result<(), MediaError>;

    /// Lets somebody listen to a call at one of its endpoints, whoever carries it, until [`Self::end_tap`], or the endpoint is closed.
    /// While nobody carries it nothing new is heard. The call does not notice, whatever becomes of the listener.
    fn tap(&self, endpoint: EndpointId, spec: TapSpec) -> Result<TapId, MediaError>;

    /// Ends what was begun with [`Self::tap`]; nothing if it has ended. No event follows.
    fn end_tap(&self, tap: TapId);

    /// Ends an endpoint and frees its ports. `None` if it was not open, or nothing ever carried it.
    fn close(&self, endpoint: EndpointId) -> Option<LegReport>;

    /// The flow of one endpoint.
    fn flow(&self, endpoint: EndpointId) -> Option<FlowReport>;

    /// Every flow.
    fn flows(&self) -> Vec<FlowReport>;

    /// The plane as a whole.
    fn status(&self) -> PlaneStatus;
}
