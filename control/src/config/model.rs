//! The validated configuration. Whoever holds a [`Config`] need not check it again: names resolve, DIDs do not overlap,
//! addresses and ranges are sound.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use voxlane_dataplane::agent::openai;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::codec::resample::Rate;
use voxlane_dataplane::media_plane::{AgentLimits, FailureKind, LatchMode, Pacing, Unallocated, WebProtocol};
use voxlane_dataplane::plane::{IoChoice, Policing};
use voxlane_dataplane::reception::Limits;

use super::dscp::Dscp;
use crate::call::transfer::{Progress, Ringing, Unreported, Way};
use crate::guard;
pub use crate::route::health::HealthRules;
use crate::route::number::Numbers;
use crate::sip::digest::{Auth, Login, Secret};
pub use crate::sip::locate::{Place, Weighed};
pub use crate::sip::transport::tls::{ClientCertificates, Identity};
pub use crate::sip::{Large, Listen, Policy, Transport, UnknownTenant, UserPhone};
use crate::twiml::Link;
use crate::twiml::application::{Script, Source};
use crate::web::AllowedHosts;

/// A whole `voxlane.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[sip]`
    pub sip: Sip,
    /// `[media]`
    pub media: Media,
    /// `[overload]`
    pub overload: Overload,
    /// `[api]`
    pub api: Api,
    /// `[dial]`
    pub dial: Dial,
    /// `[route]`
    pub route: Routing,
    /// `[sdp]`
    pub sdp: SdpIdentity,
    /// `[transfer]`
    pub transfer: Transfer,
    /// `[[trunk]]`
    pub trunks: Vec<Trunk>,
    /// `[[tenant]]`
    pub tenants: Vec<Tenant>,
    /// `[[agent]]`
    pub agents: Vec<Agent>,
    /// `[[did]]`, sorted by length, then by first number; none overlap.
    pub dids: Vec<Did>,
}

/// This gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name in logs and metrics.
    pub name: String,
    /// Where the admin socket lives.
    pub runtime_dir: PathBuf,
    /// Prometheus metrics over HTTP here, if set; they are always on the admin socket.
    pub metrics: Option<SocketAddr>,
    /// The account of calls that are no tenant's.
    pub account: Account,
}

/// An account as Twilio has them, for what speaks Twilio's protocols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `AC…`
    pub sid: String,
    /// Signs what is sent in its name, and lets it use the REST API; `None`: neither.
    pub auth_token: Option<Secret>,
    /// Trunks that it may have calls placed by, through the REST API.
    pub call_trunks: Vec<String>,
    /// The agent whose connection is as that of streams which its documents name; `None`: as those of agents are by default.
    pub stream_settings: Option<String>,
    /// Hosts that its documents, streams and callbacks may be at.
    pub allowed_hosts: AllowedHosts,
}

/// The REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where it listens; `None`: there is none.
    pub listen: Option<SocketAddr>,
    /// Calls that have ended that it remembers.
    pub history: usize,
}

/// Signalling.
#[derive(Clone, Debug, PartialEq)]
pub struct Sip {
    /// What is listened on.
    pub listen: Vec<Listen>,
    /// `User-Agent` and `Server` header.
    pub user_agent: String,
    /// An outgoing INVITE that has no final answer after this long is cancelled.
    pub invite_timeout: Duration,
    /// Most calls at once; further INVITEs get 503.
    pub max_calls: usize,
    /// Most calls that begin in a second, likewise; `None`: any number.
    pub max_calls_per_second: Option<u32>,
    /// How signalling that is sent is marked.
    pub dscp: Dscp,
    /// Connections.
    pub connections: Connections,
    /// `[sip.tls]`
    pub tls: SipTls,
    /// DNS servers that are asked where trunks are; none: the system's.
    pub dns: Vec<SocketAddr>,
}

/// What holds for connections over TCP and TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Most at once.
    pub most: usize,
    /// Most at once from one address, or one IPv6 network of 64 bits.
    pub most_per_source: usize,
    /// One over which nothing has gone for so long is closed.
    pub idle: Duration,
    /// How often those that we open are kept alive; `None`: they are not.
    pub keepalive: Option<Duration>,
}

/// Certificates towards those who connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipTls {
    /// What is shown to who names no tenant's domain.
    pub identity: Option<Identity>,
    /// Whether those who connect have to show one.
    pub client_certificates: ClientCertificates,
    /// Who vouches for theirs.
    pub client_ca: Option<PathBuf>,
}

/// Media.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Local RTP addresses; empty: the address the route to the other side starts from.
    pub addresses: Vec<IpAddr>,
    /// First RTP port, even.
    pub first_port: u16,
    /// Last RTP port.
    pub last_port: u16,
    /// Packet time, milliseconds.
    pub ptime: u8,
    /// Cores the workers are pinned to; `None`: one worker, not pinned, on a machine of one core, else one on the last.
    pub workers: Option<Vec<usize>>,
    /// How the workers send and receive.
    pub io: IoChoice,
    /// Whether and how the kernel lane is used.
    pub xdp: Xdp,
    /// Interfaces for the XDP program; empty: those that hold `addresses`, or all but loopback if that is empty.
    pub interfaces: Vec<String>,
    /// What the XDP program does with packets to ports of the range that are nobody's.
    pub unallocated: Unallocated,
    /// How media that is sent is marked.
    pub dscp: Dscp,
    /// Whether relayed flows are held to their rate.
    pub police: Policing,
    /// Where the kernel lane is pinned, so that it outlives the process; `None`: it ends with it.
    pub pin: Option<PathBuf>,
    /// How long packets may wait before an agent hears them.
    pub jitter: Limits,
    /// How much is kept of what is said to an agent before it is ready.
    pub first_words: Duration,
    /// A leg from which nothing came for this long ends its call; `None`: it does not.
    pub timeout: Option<Duration>,
    /// What the network is to keep to.
    pub limits: QualityLimits,
    /// How long the network is measured before a limit counts as crossed.
    pub quality_period: Duration,
}

/// What the network is to keep to (interoperability requirement I9); `None`: anything goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QualityLimits {
    /// One-way latency.
    pub latency: Option<Duration>,
    /// Interarrival jitter.
    pub jitter: Option<Duration>,
    /// Share of packets lost, 0 to 1.
    pub loss: Option<f64>,
}

impl Default for QualityLimits {
    fn default() -> Self {
        Self {
            latency: Some(Duration::from_millis(150)),
            jitter: Some(Duration::from_millis(30)),
            loss: Some(0.01),
        }
    }
}

/// What a trunk says otherwise of [`QualityLimits`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnLimits {
    /// One-way latency, if the trunk says.
    pub latency: Option<Option<Duration>>,
    /// Jitter, likewise.
    pub jitter: Option<Option<Duration>>,
    /// Loss, likewise.
    pub loss: Option<Option<f64>>,
}

impl OwnLimits {
    /// What holds for the trunk's legs.
    pub fn over(self, limits: QualityLimits) -> QualityLimits {
        QualityLimits {
            latency: self.latency.unwrap_or(limits.latency),
            jitter: self.jitter.unwrap_or(limits.jitter),
            loss: self.loss.unwrap_or(limits.loss),
        }
    }
}

/// Whether and how the kernel lane is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xdp {
    /// Native, else generic, else not at all.
    Auto,
    /// Native or not at all.
    Native,
    /// Generic or not at all.
    Generic,
    /// Never.
    Off,
}

/// When the gateway has too much to do, and what it then tells callers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overload {
    /// What is too much.
    pub limits: guard::overload::Limits,
    /// After how long, at least, a caller who is refused may try again.
    pub retry_after: Duration,
}

/// How many calls a trunk may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// At once, in both directions; `None`: any number.
    pub most: Option<usize>,
    /// That come in a second; `None`: any number.
    pub per_second: Option<u32>,
}

/// Calls that operators and campaigns ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Most that wait for their turn.
    pub max_waiting: usize,
}

/// How calls that come find their tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// A tenant's domain where it does not say another: `{tenant}` is its name.
    pub domain_template: String,
    /// What becomes of calls to a tenant that is not configured.
    pub unknown_tenant: UnknownTenant,
    /// Names of the gateway itself that calls may be addressed to; `None`: any.
    pub domains: Option<Vec<String>>,
}

/// What our SDP says of itself (interoperability requirement I16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdpIdentity {
    /// User name in `o=`.
    pub origin_user: String,
    /// `s=`
    pub session_name: String,
}

/// How calls are transferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Trunk that the other party is called by, where whoever asks does not say; `None`: the trunk of the leg that stays.
    pub trunk: Option<String>,
    /// How, where neither whoever asks nor the trunk of the leg that stays says.
    pub by: Way,
    /// How long it may take until the other party answers.
    pub timeout: Duration,
    /// What the leg that stays hears until then.
    pub ringing: Ringing,
    /// Whose number the other party is shown.
    pub caller_id: TransferCallerId,
}

/// How calls of a trunk are transferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkTransfers {
    /// How, where whoever asks does not say; `None`: as `transfer.by` says.
    pub by: Option<Way>,
    /// Whether our REFERs ask for news of what comes of them.
    pub progress: Progress,
    /// What follows where there are none.
    pub unreported: Unreported,
}

/// Whose number the other party of a transfer is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferCallerId {
    /// That of the party that stays.
    #[default]
    Caller,
    /// The number that was called.
    Did,
}

/// A SIP connection with a carrier.
#[derive(Clone, Debug, PartialEq)]
pub struct Trunk {
    /// Name.
    pub name: String,
    /// Sources INVITEs of this trunk are accepted from.
    pub allow: Vec<IpNet>,
    /// How the numbers of its calls are read.
    pub numbers: Numbers,
    /// Where calls to this trunk are sent, in the order written; none for an inbound-only trunk.
    pub gateways: Vec<Gateway>,
    /// How long a gateway has for its first answer before the next is tried.
    pub gateway_timeout: Duration,
    /// Whether calls follow a 3xx.
    pub redirects: Redirects,
    /// How numbers are written in the URIs of calls to this trunk.
    pub user_phone: UserPhone,
    /// Whether and how gateways are asked whether they are there.
    pub health: Option<HealthRules>,
    /// Whether we register with the carrier, and as whom.
    pub register: Option<Register>,
    /// What becomes of requests that are too large for UDP.
    pub large_requests: Large,
    /// Who vouches for its certificate; `None`: whom the system trusts.
    pub tls_ca: Option<PathBuf>,
    /// What it is shown if it asks.
    pub tls_identity: Option<Identity>,
    /// Host part of Request-URI and To of calls to this trunk; default: the first gateway's host.
    pub domain: Option<String>,
    /// What its calls are recognised by.
    pub auth: Auth,
    /// Who we are with the carrier, and who the carrier is with us where `auth` asks for it.
    pub login: Option<Login>,
    /// Codecs, in order of preference.
    pub codecs: Vec<Codec>,
    /// Caller IDs calls to this trunk may carry (E.164 with '+'); empty: any.
    pub caller_ids: Vec<String>,
    /// What becomes of a caller whose number is not among them.
    pub unlisted_caller_id: UnlistedCallerId,
    /// Whether the trunk is told who calls beside what From shows.
    pub asserted_identity: Asserted,
    /// Whether it is believed who calls.
    pub trust_identity: TrustIdentity,
    /// Local RTP address towards this trunk; one of `media.addresses`.
    pub media_address: Option<IpAddr>,
    /// What its dialogs may do beyond RFC 3261.
    pub policy: Policy,
    /// How its calls are transferred.
    pub transfers: TrunkTransfers,
    /// How the media of its legs is treated.
    pub media: LegMedia,
    /// Limits of its own.
    pub limits: OwnLimits,
    /// How many calls it may have.
    pub calls: CallLimits,
}

/// As whom we register with a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// User part of the address that we are to be known under.
    pub user: String,
    /// How long we ask to be known.
    pub expires: Duration,
}

/// What becomes of a caller whose number is not among the caller IDs of the trunk that he is to be connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnlistedCallerId {
    /// The first of them is shown instead.
    #[default]
    Replace,
    /// His call is refused.
    Refuse,
}

/// What P-Asserted-Identity says in calls to a trunk (RFC 3325).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asserted {
    /// It is not there: the trunk is not trusted with it.
    #[default]
    Off,
    /// The number that is shown, or would be if the caller did not withhold it.
    Caller,
    /// Always this number.
    Number(String),
}

/// Whether P-Asserted-Identity and Privacy of calls that come from a trunk are honoured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustIdentity {
    /// From says who calls.
    #[default]
    Off,
    /// P-Asserted-Identity does, where it is there.
    On,
}

/// Where calls to a trunk are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Host, and what is said of port and transport.
    pub place: Place,
    /// Those of the lowest are tried first.
    pub priority: u16,
    /// Share of the calls among those of one priority.
    pub weight: u16,
}

impl Weighed for &Gateway {
    fn priority(&self) -> u16 {
        self.priority
    }

    fn weight(&self) -> u16 {
        self.weight
    }
}

/// Whether calls follow a 3xx (RFC 3261 section 8.1.3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirects {
    /// Never: they have failed.
    Off,
    /// To the trunk's own domain and gateways.
    Trunk,
    /// Anywhere.
    #[default]
    Any,
}

/// How the media of a trunk's legs is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegMedia {
    /// From whom media is accepted, beside the source that was signalled.
    pub latch: LatchMode,
    /// Whether what is sent to it is paced.
    pub pacing: Pacing,
    /// Whether RTP and RTCP may share a port.
    pub rtcp_mux: RtcpMux,
    /// Whether the two legs of a call may have different codecs.
    #[serde(default)]
    pub transcode: Transcode,
    /// Whether media is SRTP.
    pub srtp: SrtpPolicy,
    /// Whether SRTP's keys may travel in SDP that others can read.
    pub srtp_keys_in_clear: KeysInClear,
}

/// Whether the legs of a relayed call may have different codecs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transcode {
    /// Where they cannot agree on one.
    #[default]
    Auto,
    /// Never: such a call is refused.
    Off,
}

/// Whether the media of a trunk's legs is SRTP, with keys in SDP (RFC 4568).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SrtpPolicy {
    /// Never.
    #[default]
    Off,
    /// Where the other side has it, too.
    Optional,
    /// Or there is no call.
    Required,
}

/// Whether SRTP's keys may travel in SDP that others on the way can read: for labs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeysInClear {
    /// Keys travel over TLS only.
    #[default]
    Refuse,
    /// Also over UDP and TCP, where whoever sees the signalling can hear the call.
    Allow,
}

/// Whether RTP and RTCP of a leg may share a port (`a=rtcp-mux`, RFC 5761).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RtcpMux {
    /// Never.
    Off,
    /// Where the other side offers it.
    #[default]
    Accept,
    /// Our offers ask for it, too.
    Offer,
}

/// A host name or address with a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// Name or address (IPv6 without brackets).
    pub host: String,
    /// Port; the transport's own unless written.
    pub port: u16,
}

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Name.
    pub name: String,
    /// SIP domains that are this tenant's; one made from `route.domain_template` unless written.
    pub domains: Vec<String>,
    /// What is shown to who asks for one of them over TLS.
    pub identity: Option<Identity>,
    /// Its account.
    pub account: Account,
}

/// An agent that DIDs may point at.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Name.
    pub name: String,
    /// How to reach it.
    pub endpoint: AgentEndpoint,
    /// What it speaks, if it is behind a WebSocket.
    pub protocol: WebProtocol,
    /// Which model answers and how, if it is one of the Realtime API.
    pub realtime: Option<Box<Realtime>>,
    /// Connect, TLS and WebSocket handshake together may take this long.
    pub connect_timeout: Duration,
    /// An agent from which nothing (not even a pong) was heard for this long is taken for dead.
    pub silence_timeout: Duration,
    /// How much it may take up.
    pub limits: AgentLimits,
    /// Twilio `customParameters`, in the order written.
    pub parameters: Vec<(String, String)>,
    /// Extra headers of the WebSocket handshake.
    pub headers: Vec<(String, String)>,
    /// Signs the handshake; `None`: the account of the call does.
    pub auth_token: Option<Secret>,
    /// Who vouches for its certificate; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// What it is shown if it asks for a certificate.
    pub identity: Option<Identity>,
    /// Trunks that it may have its calls transferred to.
    pub transfer_trunks: Vec<String>,
    /// What becomes of its calls when it fails.
    pub fallbacks: Fallbacks,
}

/// A model of OpenAI's Realtime API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Realtime {
    /// What it is asked with.
    pub api_key: Option<Secret>,
    /// Its name; `None`: the URL has it.
    pub model: Option<String>,
    /// The voice that it speaks with.
    pub voice: Option<String>,
    /// What it is to do.
    pub instructions: Option<String>,
    /// What it is to say first; `None`: it waits for the caller.
    pub greeting: Option<String>,
    /// Functions that it may call; `None`: those that work.
    pub tools: Option<Vec<RealtimeTool>>,
    /// More of its session: a JSON object.
    pub session: Option<serde_json::Value>,
}

/// A function that a model may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealtimeTool {
    /// Ends the call.
    HangUp,
    /// Transfers it.
    Transfer,
}

impl RealtimeTool {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::HangUp, Self::Transfer];

    /// As the model knows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HangUp => openai::HANG_UP,
            Self::Transfer => openai::TRANSFER,
        }
    }
}

impl std::fmt::Display for RealtimeTool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of an agent's calls when it fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallbacks {
    /// In whatever way, but for these.
    pub otherwise: Fallback,
    /// In this way.
    pub by_kind: Vec<(FailureKind, Fallback)>,
}

/// What becomes of a call whose agent fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It ends.
    HangUp {
        /// SIP status for a caller who is not answered; `None`: what fits the failure.
        status: Option<u16>,
        /// Q.850 cause that is told; `None`: the usual.
        cause: Option<u8>,
    },
    /// It gets this agent.
    Agent(String),
    /// Somebody is called.
    Call {
        /// By the rules of this trunk.
        trunk: String,
        /// Whom.
        to: Callee,
        /// How long it may take until they answer, of a call that is answered already; `None`: as transfers.
        timeout: Option<Duration>,
    },
}

impl Default for Fallback {
    fn default() -> Self {
        Self::HangUp {
            status: None,
            cause: None,
        }
    }
}

impl std::fmt::Display for Callee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => f.write_str(number),
            Self::Uri { user, place } => write!(f, "sip:{user}@{place}"),
        }
    }
}

/// Who is called when an agent has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A number, by the trunk's gateways.
    Number(String),
    /// `sip:USER@HOST`, wherever that is.
    Uri {
        /// User part.
        user: String,
        /// Host, and what is said of port and transport.
        place: Place,
    },
}

/// How an agent is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEndpoint {
    /// `builtin:echo`
    Echo,
    /// `builtin:tone?hz=440`
    Tone {
        /// Frequency, Hz.
        frequency: u16,
    },
    /// `ws://…` or `wss://…`.
    Web {
        /// The URL.
        url: String,
        /// Its host.
        host: HostPort,
    },
    /// `audiosocket://…`
    AudioSocket {
        /// Where.
        host: HostPort,
        /// What it hears.
        rate: Rate,
    },
}

impl AgentEndpoint {
    /// The host that it is to be found at; `None` for a built-in one.
    pub fn host(&self) -> Option<&HostPort> {
        match self {
            Self::Echo | Self::Tone { .. } => None,
            Self::Web { host, .. } | Self::AudioSocket { host, .. } => Some(host),
        }
    }

    /// Whether TLS is spoken with it.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Echo | Self::Tone { .. } | Self::AudioSocket { .. } => false,
            Self::Web { url, .. } => url.starts_with("wss:"),
        }
    }
}

/// A number, or a range of numbers, and what happens to calls to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Did {
    /// First number, E.164 with '+'.
    pub first: String,
    /// Last number: the same, or greater and as long.
    pub last: String,
    /// The tenant it belongs to, if any.
    pub tenant: Option<String>,
    /// Where calls go.
    pub target: Target,
    /// What holds for documents that its calls are given, at once or later.
    pub rules: ApplicationRules,
}

/// What holds for the TwiML documents of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationRules {
    /// Asked for a document when another cannot be had or carried out.
    pub fallback: Option<Link>,
    /// Who is told of the call.
    pub status_callback: Option<StatusCallback>,
    /// Trunks that they may dial by; a number goes by the first.
    pub dial_trunks: Vec<String>,
}

impl ApplicationRules {
    /// What a call is given to that begins with this document.
    pub fn script(&self, source: Source) -> Script {
        Script {
            source,
            fallback: self.fallback.clone(),
        }
    }
}

/// Who is told how calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusCallback {
    /// Whom.
    pub link: Link,
    /// Of what.
    pub events: Vec<CallEvent>,
}

/// What calls are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallEvent {
    /// It has begun.
    Initiated,
    /// It rings.
    Ringing,
    /// It is answered.
    Answered,
    /// It is over, answered or not.
    Completed,
}

impl CallEvent {
    /// All of them, in the order in which they happen.
    pub const ALL: [Self; 4] = [Self::Initiated, Self::Ringing, Self::Answered, Self::Completed];

    /// Its name at Twilio.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Completed => "completed",
        }
    }
}

impl std::fmt::Display for CallEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where calls to a DID go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this agent.
    Agent(String),
    /// To the application that begins with this document.
    Application(Box<Source>),
    /// Out on a trunk.
    Trunk {
        /// Trunk name.
        trunk: String,
        /// Number to dial; `None`: the number that was called.
        to: Option<String>,
        /// Caller ID to show; `None`: the caller's own.
        caller_id: Option<String>,
    },
}
