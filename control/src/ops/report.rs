//! What the admin API answers, as types: the server writes them as JSON, the command line reads them back.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::lane::{Lane, Reason};
use voxlane_dataplane::media_plane::{FlowReport, PlaneStatus};

use super::timestamp::Timestamp;
use crate::call::Side;
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
    /// What became of calls' media, since start.
    #[serde(default)]
    pub quality: QualityCounts,
    /// Tasks of the runtime alive now.
    pub tasks: u64,
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
    /// `TRANSPORT:ADDRESS`.
    pub target: String,
    /// `up`, `down`, or `resting` where it asked to be left alone.
    pub state: String,
    /// What was last seen of it.
    pub last: Option<String>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCounts {
    /// Alive now.
    pub active: u64,
    /// Ended by a failure of the agent since start.
    pub failed: u64,
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
    /// Its legs.
    pub legs: Vec<LegRow>,
    /// Where it was tried to place it without success, in order.
    #[serde(default)]
    pub attempts: Vec<AttemptRow>,
    /// Keys pressed by the caller so far.
    pub digits: String,
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
