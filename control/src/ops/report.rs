//! What the admin API answers, as types: the server writes them as JSON, the command line reads them back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::lane::{Lane, Reason};
use voxlane_dataplane::media_plane::{FailureKind, FlowReport, PlaneStatus};

use super::timestamp::Timestamp;
use crate::call::Side;
use crate::call::transfer::{Asker, Ringing, Way};
use crate::rest::server::ApiCounts;
use crate::sip::transport::ConnectionCounts;
use crate::sip::{AuthFailures, Counters, SessionTimer};

/// `GET /v1/status`: the gateway as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// `node.name`.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Whole seconds since start.
    pub uptime_s: u64,
    /// The data plane.
    pub plane: PlaneStatus,
    /// The SIP core, since start.
    pub sip: Counters,
    /// What is listened on for SIP.
    #[serde(default)]
    pub listen: Vec<String>,
    /// Connections of SIP.
    #[serde(default)]
    pub connections: ConnectionCounts,
    /// Failed authentication, since start.
    #[serde(default)]
    pub auth_failures: Vec<AuthFailures>,
    /// Trunks whose gateways are watched, or that we register with.
    #[serde(default)]
    pub trunks: Vec<TrunkRow>,
    /// Calls, since start.
    pub calls: CallCounts,
    /// Agent sessions, since start.
    pub agents: AgentCounts,
    /// Who listens to calls.
    #[serde(default)]
    pub taps: TapCounts,
    /// What applications have asked for, since start.
    #[serde(default)]
    pub applications: ApplicationCounts,
    /// The REST API, since start.
    #[serde(default)]
    pub api: ApiCounts,
    /// Transfers, since start.
    #[serde(default)]
    pub transfers: TransferCounts,
    /// REFERs of carriers, since start.
    #[serde(default)]
    pub refers: ReferCounts,
    /// Whether there is too much to do.
    #[serde(default)]
    pub overload: OverloadReport,
    /// Calls that wait to be placed.
    #[serde(default)]
    pub waiting: u64,
    /// What became of calls' media, since start.
    #[serde(default)]
    pub quality: QualityCounts,
    /// Tasks of the runtime alive now.
    pub tasks: u64,
}

/// Who listens to calls, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapCounts {
    /// Listen now, or are about to.
    pub active: u64,
    /// Were to, since start.
    pub begun: u64,
    /// Could not, or not to the end.
    pub failed: u64,
}

/// What applications have asked for, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationCounts {
    /// Documents that were asked for.
    pub documents: u64,
    /// Things that were wrong with applications and their documents.
    pub problems: u64,
    /// Callbacks that were made.
    pub callbacks: u64,
    /// Of those, the ones that nobody took.
    pub callbacks_failed: u64,
}

/// Transfers, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferCounts {
    /// Were begun.
    pub asked: u64,
    /// Of those, the ones that a carrier was asked for by REFER.
    #[serde(default)]
    pub referred: u64,
    /// Were completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Legs whose carrier has put another dialog in their place, by an INVITE with Replaces.
    #[serde(default)]
    pub replaced: u64,
}

/// REFERs of carriers, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferCounts {
    /// Came within calls.
    pub received: u64,
    /// Of those, the ones that were refused.
    pub refused: u64,
}

/// `POST /v1/calls/{call}/transfer`: who is to take the place of one that leaves the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferOrder {
    /// Whom to: a number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// Instead: another call, by its id; the carrier of both joins the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_call: Option<String>,
    /// Trunk that it is called by; default: `transfer.trunk`, else that of the leg that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// How; default: as the trunk of the leg that stays says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The leg that leaves, `a` or `b`; default: the agent's, else `b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<Side>,
    /// What the other leg hears until then: `agent` or `ringback`; default: `transfer.ringing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ringing: Option<Ringing>,
    /// Most seconds until it is answered; default: `transfer.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// Number that is shown; default: as `transfer.caller_id` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
}

/// `POST /v1/calls/{call}/tap`: who is to listen to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapOrder {
    /// `ws://` or `wss://`
    pub url: String,
    /// What is heard.
    #[serde(default)]
    pub tracks: TapTracks,
    /// `start.customParameters`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// For `wss://`: PEM file, on the gateway's host, of those who vouch for the listener; whom the system trusts if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// What is heard of a call, seen from its caller: `inbound` is what the caller says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TapTracks {
    /// What the caller says.
    Inbound,
    /// What the caller hears.
    Outbound,
    /// Both.
    #[default]
    Both,
}

/// What has become of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapReport {
    /// The call's id.
    pub call: String,
    /// The stream that has begun, `MZ…`.
    pub stream: Option<String>,
    /// Streams that have ended.
    pub ended: usize,
}

/// `GET /v1/calls/{call}/transfer`: what has become of a call's last transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferReport {
    /// The call's id.
    pub call: String,
    /// The transfer.
    #[serde(flatten)]
    pub transfer: TransferRow,
}

/// One transfer of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRow {
    /// Whom to.
    pub to: String,
    /// How: `bridge` or `refer`.
    pub by: Way,
    /// Who asked for it.
    pub asked_by: Asker,
    /// `calling`, `ringing`, `completed` or `failed`.
    pub state: String,
    /// SIP status that says best why it failed.
    pub status: Option<u16>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// Whether there is too much to do, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OverloadReport {
    /// Why no new calls are taken, in a word; none: they are.
    pub refusing: Option<String>,
    /// Share of its processors that the process takes, 0 to 1.
    pub cpu: Option<f64>,
    /// Share of the host's processors that are busy.
    pub host_cpu: Option<f64>,
    /// How long messages wait, milliseconds.
    pub delay_ms: u64,
    /// Calls refused since start, by reason. Those of them that are not a trunk's are in no other count.
    pub refused: Vec<(String, u64)>,
}

/// A trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkRow {
    /// Its name.
    pub name: String,
    /// What is known of its gateways, one row an address.
    pub gateways: Vec<GatewayRow>,
    /// Our registration, if we have one.
    pub registration: Option<RegistrationRow>,
}

/// An address of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRow {
    /// The gateway as it is configured.
    pub gateway: String,
    /// `TRANSPORT:ADDRESS`; none: it was not found yet.
    pub target: Option<String>,
    /// Whether calls go there.
    pub state: GatewayState,
    /// What was last seen of it.
    pub last: Option<String>,
}

/// Whether calls go to an address of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayState {
    /// They do.
    Up,
    /// Only where nothing else is left: it does not answer.
    Down,
    /// Likewise, for a while: it asked to be left alone (Retry-After).
    Resting,
    /// Nothing is known of it yet.
    Unknown,
}

impl GatewayState {
    /// In a word, as reports have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Resting => "resting",
            Self::Unknown => "unknown",
        }
    }
}

/// A registration with a carrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationRow {
    /// Whether the carrier knows us.
    pub registered: bool,
    /// For how many seconds more.
    pub expires_in_s: Option<u64>,
    /// Its last answer, status and reason phrase, or why there was none.
    pub last: Option<String>,
}

/// What became of calls' media.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityCounts {
    /// Calls ended because nothing came from a leg for `media.media_timeout`.
    pub media_timeouts: u64,
    /// Times that a limit of the network was crossed on a leg, by its name.
    pub crossings: Vec<(String, u64)>,
}

/// Calls, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCounts {
    /// Alive now.
    pub active: u64,
    /// Begun since start.
    pub total: u64,
    /// Of those, answered.
    pub answered: u64,
    /// Of those, ended without an answer for a reason other than the caller hanging up.
    pub failed: u64,
}

/// Agent sessions, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCounts {
    /// Alive now.
    pub active: u64,
    /// Ended by a failure of the agent since start.
    pub failed: u64,
    /// Of those, by kind.
    #[serde(default)]
    pub failures: Vec<(String, u64)>,
    /// Calls that got another agent, or were sent elsewhere, when theirs failed.
    #[serde(default)]
    pub fallbacks: u64,
    /// What they have sent that is of no use, by agent.
    #[serde(default)]
    pub messages: Vec<AgentMessages>,
}

/// What an agent has sent that is of no use, in all its calls since start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentMessages {
    /// Its name; `(documents)` for streams that TwiML documents name.
    pub agent: String,
    /// What it speaks.
    pub protocol: String,
    /// Messages that could not be understood.
    pub malformed: u64,
    /// Messages that were longer than may be.
    pub oversized: u64,
}

/// An agent that failed in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFailureRow {
    /// Its name.
    pub agent: String,
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// In words.
    pub reason: String,
    /// What the call did then: `agent NAME`, `NUMBER on trunk NAME`, `hang up`.
    pub then: String,
}

/// `GET /v1/calls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallsReport {
    /// Alive now, oldest first.
    pub active: Vec<CallReport>,
    /// The last that ended, newest first.
    pub recent: Vec<CallReport>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallReport {
    /// Its name in logs.
    pub id: String,
    /// Where it stands, in a word.
    pub state: String,
    /// Caller, as a number where it is one.
    pub from: String,
    /// Called party, as a number where it is one.
    pub to: String,
    /// The DID it came in on: a number or a range.
    pub did: Option<String>,
    /// Tenant.
    pub tenant: Option<String>,
    /// Trunk it came from or, for a call relayed to one, goes to.
    pub trunk: Option<String>,
    /// Agent that answers it.
    pub agent: Option<String>,
    /// When its INVITE came.
    pub started: Timestamp,
    /// When it was answered.
    pub answered: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it ended, in words.
    pub cause: Option<String>,
    /// Its legs: `a`, `b` and, while it is transferred and afterwards, `c`.
    pub legs: Vec<LegRow>,
    /// Where it was tried to place it without success, in order.
    #[serde(default)]
    pub attempts: Vec<AttemptRow>,
    /// Its transfers, the first first.
    #[serde(default)]
    pub transfers: Vec<TransferRow>,
    /// Agents that failed in it, the first first.
    #[serde(default)]
    pub agent_failures: Vec<AgentFailureRow>,
    /// Keys pressed by the caller so far.
    pub digits: String,
    /// What was wrong with its application, the first first.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// One try to place a call, that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// The gateway as it is configured, or where a redirect led.
    pub gateway: String,
    /// Where that was, `TRANSPORT:ADDRESS`, if it was found.
    pub target: Option<String>,
    /// Status and reason phrase, `no answer`, or why it was not found.
    pub outcome: String,
}

/// One leg of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegRow {
    /// Which side.
    pub side: Side,
    /// SIP Call-ID.
    pub call_id: String,
    /// Where its RTP arrives at the gateway.
    pub local: Option<SocketAddr>,
    /// Where the other side wants RTP.
    pub remote: Option<SocketAddr>,
    /// Agreed codec.
    pub codec: Option<Codec>,
    /// Lane of the flow that arrives on it.
    pub lane: Option<Lane>,
    /// Why not the kernel lane.
    pub reason: Option<Reason>,
    /// Keys pressed at its far end so far.
    pub digits: String,
    /// Mean opinion score of what arrives on it.
    #[serde(default)]
    pub mos: Option<f64>,
    /// Of what is sent to its far end.
    #[serde(default)]
    pub far_mos: Option<f64>,
    /// Limits of the network that were crossed on it: `latency`, `jitter`, `loss`.
    #[serde(default)]
    pub limits_crossed: Vec<String>,
    /// Its session timer (RFC 4028), while it has one.
    #[serde(default)]
    pub session_timer: Option<SessionTimer>,
    /// Whether it is over: of a call that goes on, a leg that was transferred away, or that did not take it over.
    #[serde(default)]
    pub left: bool,
}

/// `PUT /v1/calls/{call}/lane` with a lane as the body: where the call is afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneReport {
    /// The call's id.
    pub call: String,
    /// The lane it is in now.
    pub lane: Lane,
    /// Why not the kernel lane.
    pub reason: Option<Reason>,
}

/// `GET /v1/flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowsReport {
    /// The data plane.
    pub status: PlaneStatus,
    /// Every flow.
    pub flows: Vec<FlowRow>,
}

/// One flow and the call it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowRow {
    /// The flow.
    #[serde(flatten)]
    pub flow: FlowReport,
    /// Its call's id.
    pub call: Option<String>,
    /// Which leg of the call.
    pub leg: Option<Side>,
}
