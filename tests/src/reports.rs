//! What the gateway's `--json` output says, as far as tests and the checklist read it.
//!
//! Written apart from the gateway's own types: a change of what it prints must be seen here.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use serde::Deserialize;

/// `voxlane status --json`
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The data plane.
    pub plane: Plane,
    /// What the SIP core holds.
    pub sip: SipCounts,
    /// The REST API.
    pub api: ApiCounts,
    /// What is listened on for SIP.
    pub listen: Vec<String>,
    /// Connections of SIP.
    pub connections: Connections,
    /// Credentials that were not good, since start.
    pub auth_failures: Vec<AuthFailure>,
    /// Trunks that are watched or registered with.
    pub trunks: Vec<Trunk>,
    /// Calls since start.
    pub calls: CallCounts,
    /// Whether there is too much to do.
    pub overload: Overload,
    /// Agent sessions since start.
    pub agents: AgentCounts,
    /// Who listens to calls.
    pub taps: TapCounts,
    /// Tasks of its runtime.
    pub tasks: u64,
}

/// Who listens to calls.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct TapCounts {
    /// Now.
    pub active: u64,
    /// Could not, or not to the end.
    pub failed: u64,
}

/// A trunk.
#[derive(Clone, Debug, Deserialize)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// Addresses of its gateways.
    pub gateways: Vec<TrunkGateway>,
    /// Our registration.
    pub registration: Option<Registration>,
}

/// An address of a trunk's gateway.
#[derive(Clone, Debug, Deserialize)]
pub struct TrunkGateway {
    /// `TRANSPORT:ADDRESS`.
    pub target: Option<String>,
    /// `up`, `down`, `resting` or `unknown`.
    pub state: String,
}

/// A registration with a carrier.
#[derive(Clone, Debug, Deserialize)]
pub struct Registration {
    /// Whether the carrier knows us.
    pub registered: bool,
    /// For how many seconds more.
    pub expires_in_s: Option<u64>,
}

/// Whether there is too much to do.
#[derive(Clone, Debug, Deserialize)]
pub struct Overload {
    /// Why no calls are taken, if none are.
    pub refusing: Option<String>,
    /// Calls refused, by reason.
    refused: Vec<(String, u64)>,
}

impl Overload {
    /// Calls refused for this reason.
    pub fn refused(&self, reason: &str) -> u64 {
        let known = self.refused.iter().find(|(known, _)| known == reason);
        known.map_or(0, |(_, count)| *count)
    }
}

/// Credentials that were not good.
#[derive(Clone, Debug, Deserialize)]
pub struct AuthFailure {
    /// `theirs`, a caller's with the gateway, or `ours`, the gateway's with a carrier.
    pub whose: String,
    /// The trunk, if one was meant.
    pub trunk: String,
    /// Why.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// How often the REST API was asked, since start.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ApiCounts {
    /// Requests in all.
    pub requests: u64,
    /// Without the credentials of an account.
    pub unauthorized: u64,
    /// Refused otherwise.
    pub refused: u64,
}

/// What the SIP core holds now.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SipCounts {
    /// Transactions.
    pub transactions: u64,
    /// Dialogs.
    pub dialogs: u64,
    /// Messages that were sent again, since start.
    pub retransmissions_sent: u64,
    /// Calls that got no answer, since start.
    pub dropped: u64,
    /// INVITEs answered 403 because no trunk allows them, since start.
    pub strangers: u64,
    /// Requests that the network could not deliver, since start.
    pub undelivered: u64,
}

/// Connections of SIP over TCP and TLS.
#[derive(Clone, Debug, Deserialize)]
pub struct Connections {
    /// Open now, by transport.
    pub open: Vec<(String, u64)>,
    /// Accepted since start.
    pub accepted: u64,
    /// Opened by the gateway since start.
    pub opened: u64,
    /// That did not come about, by why.
    pub refused: Vec<(String, u64)>,
    /// That ended, by why.
    pub closed: Vec<(String, u64)>,
}

impl Connections {
    /// How many are open over a transport.
    pub fn open(&self, transport: &str) -> u64 {
        count(&self.open, transport)
    }

    /// How many did not come about for this reason.
    pub fn refused(&self, why: &str) -> u64 {
        count(&self.refused, why)
    }

    /// How many ended for this reason.
    pub fn closed(&self, why: &str) -> u64 {
        count(&self.closed, why)
    }
}

/// The data plane as a whole.
#[derive(Clone, Debug, Deserialize)]
pub struct Plane {
    /// Where the XDP program was to be attached.
    pub interfaces: Vec<Interface>,
    /// Why there is no kernel lane, if there is none.
    pub unavailable: Option<String>,
    /// Port pairs in use.
    pub ports_in_use: usize,
    /// Worker threads.
    pub workers: Vec<Worker>,
    /// The kernel lane, if there is one.
    pub kernel: Option<Kernel>,
}

/// A worker thread.
#[derive(Clone, Debug, Deserialize)]
pub struct Worker {
    /// `working`, `stalled` or `dead`.
    pub health: String,
    /// Calls it carries.
    pub residents: usize,
    /// Share of the last second it has worked.
    pub load: f64,
}

/// The kernel lane as a whole.
#[derive(Clone, Debug, Deserialize)]
pub struct Kernel {
    /// Frames by how they ended in the XDP program.
    pub outcomes: Vec<(String, u64)>,
    /// Mirrored frames that were lost.
    pub mirrored_lost: u64,
    /// Whether what an earlier process had left was taken over.
    pub adopted: bool,
    /// Legs of an earlier process's calls.
    pub orphans: usize,
}

impl Kernel {
    /// Frames that ended so; 0 of what never happened.
    pub fn count(&self, outcome: &str) -> u64 {
        count(&self.outcomes, outcome)
    }
}

fn count(counters: &[(String, u64)], name: &str) -> u64 {
    counters
        .iter()
        .filter(|(of, _)| of == name)
        .map(|(_, count)| count)
        .sum()
}

/// The XDP program on one interface.
#[derive(Clone, Debug, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `native`, `generic` or `none`.
    pub mode: String,
    /// What was refused.
    pub detail: Option<String>,
}

/// Calls, counted.
#[derive(Clone, Debug, Deserialize)]
pub struct CallCounts {
    /// Alive now.
    pub active: u64,
    /// Begun.
    pub total: u64,
    /// Answered.
    pub answered: u64,
    /// Failed.
    pub failed: u64,
}

/// Agent sessions, counted.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentCounts {
    /// Alive now.
    pub active: u64,
    /// Failed.
    pub failed: u64,
    /// Of those, by kind.
    pub failures: Vec<(String, u64)>,
    /// Calls that went on elsewhere.
    pub fallbacks: u64,
    /// What they have sent that is of no use.
    #[serde(default)]
    pub messages: Vec<AgentMessages>,
}

/// What an agent has sent that is of no use.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentMessages {
    /// Its name.
    pub agent: String,
    /// What it speaks.
    pub protocol: String,
    /// Messages that could not be understood.
    pub malformed: u64,
    /// Messages that were too long.
    pub oversized: u64,
}

impl AgentCounts {
    /// What this agent speaks, and how many messages it has sent that could not be understood, and that were too long.
    pub fn unusable(&self, agent: &str) -> Option<(&str, u64, u64)> {
        let row = self.messages.iter().find(|row| row.agent == agent)?;
        Some((&row.protocol, row.malformed, row.oversized))
    }

    /// Failures of this kind.
    pub fn failures(&self, kind: &str) -> u64 {
        let of_kind = self.failures.iter().find(|(name, _)| name == kind);
        of_kind.map_or(0, |(_, count)| *count)
    }
}

/// `voxlane flows --json`
#[derive(Clone, Debug, Deserialize)]
pub struct Flows {
    /// The data plane.
    pub status: Plane,
    /// One direction of one stream each.
    pub flows: Vec<Flow>,
}

/// One direction of one stream.
#[derive(Clone, Debug, Deserialize)]
pub struct Flow {
    /// Where it arrives.
    pub local: SocketAddr,
    /// Where it goes on to.
    pub forwarded_to: Option<SocketAddr>,
    /// `kernel` or `worker`.
    pub lane: String,
    /// Why not the kernel lane.
    pub reason: Option<String>,
    /// What was received.
    pub received: Stream,
    /// Packets that a socket of the gateway received.
    pub userspace_packets: u64,
    /// The call it belongs to.
    pub call: Option<String>,
    /// Which leg of it, `a` or `b`.
    pub leg: Option<String>,
    /// RTP packets sent from here to the far end of this leg.
    pub sent_packets: u64,
    /// Packets that were dropped, by reason.
    pub drops: Vec<(String, u64)>,
    /// Keys pressed by the far end.
    pub digits: u64,
    /// To the far end and back, milliseconds.
    pub rtt_ms: Option<f64>,
    /// How good it sounds.
    pub quality: Quality,
    /// The SRTP suite of what arrives.
    pub srtp: Option<String>,
}

/// How good a leg sounds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Quality {
    /// Mean opinion score of what arrives.
    pub mos: Option<f64>,
    /// Of what is sent, as the far end reports.
    pub far_mos: Option<f64>,
    /// The far end's report.
    pub far: Option<FarEnd>,
    /// The jitter buffer.
    pub buffer: Option<Buffer>,
}

/// A far end's report.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct FarEnd {
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// Its jitter, milliseconds.
    pub jitter_ms: f64,
}

/// A jitter buffer.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Buffer {
    /// How long packets wait, milliseconds.
    pub delay_ms: f64,
    /// Packets that came too late.
    pub late: u64,
    /// Packets left out.
    pub overflow: u64,
    /// Audio that was made up, milliseconds.
    pub concealed_ms: u64,
}

impl Flow {
    /// Packets that were dropped for this reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        count(&self.drops, reason)
    }

    /// Packets that were dropped for whatever reason.
    pub fn all_dropped(&self) -> u64 {
        self.drops.iter().map(|(_, count)| count).sum()
    }
}

impl Flows {
    /// The flow of a leg, `a` or `b`, of the only call there is.
    ///
    /// # Errors
    /// If there is none, or there are several.
    pub fn leg(&self, leg: &str) -> Result<&Flow> {
        let mut flows = self.flows.iter().filter(|flow| flow.leg.as_deref() == Some(leg));
        match (flows.next(), flows.next()) {
            (Some(flow), None) => Ok(flow),
            (None, _) => bail!("no leg {leg} in {self:#?}"),
            (Some(_), Some(_)) => bail!("several calls in {self:#?}"),
        }
    }
}

/// What one direction has seen.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Stream {
    /// RTP packets.
    pub packets: u64,
    /// Expected less received.
    pub lost: i64,
    /// Jitter, milliseconds.
    pub jitter_ms: f64,
    /// Its mean, milliseconds.
    #[serde(default)]
    pub mean_jitter_ms: f64,
    /// Its greatest, milliseconds.
    #[serde(default)]
    pub max_jitter_ms: f64,
    /// Packets that came after one with a higher sequence number.
    #[serde(default)]
    pub reordered: u64,
}

/// `voxlane calls --json`
#[derive(Clone, Debug, Deserialize)]
pub struct Calls {
    /// Alive.
    pub active: Vec<Call>,
    /// Ended, newest first.
    pub recent: Vec<Call>,
}

impl Calls {
    /// The newest call to a number, alive or ended.
    pub fn to(&self, number: &str) -> Option<&Call> {
        self.active
            .iter()
            .rev()
            .chain(&self.recent)
            .find(|call| call.to == number)
    }
}

/// A gateway that was tried for a call in vain.
#[derive(Clone, Debug, Deserialize)]
pub struct Attempt {
    /// Where the call was sent: transport and address.
    pub target: String,
    /// What came of it.
    pub outcome: String,
}

/// One call.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// Its name.
    pub id: String,
    /// Where it stands.
    pub state: String,
    /// Caller.
    pub from: String,
    /// Called number.
    pub to: String,
    /// Trunk it came on.
    pub trunk: Option<String>,
    /// The agent or application that has it.
    #[serde(default)]
    pub agent: Option<String>,
    /// Its legs.
    pub legs: Vec<Leg>,
    /// Keys the caller pressed.
    pub digits: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Why it ended.
    pub cause: Option<String>,
    /// Gateways that were tried for it in vain.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Its transfers.
    #[serde(default)]
    pub transfers: Vec<Transfer>,
    /// What was wrong with its application.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// A transfer of a call, and what `voxlane transfer --json` prints of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Transfer {
    /// Whom to.
    pub to: String,
    /// How.
    pub by: String,
    /// Who asked for it.
    pub asked_by: String,
    /// What came of it.
    pub state: String,
    /// A SIP status, if it failed.
    pub status: Option<u16>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// One leg.
#[derive(Clone, Debug, Deserialize)]
pub struct Leg {
    /// `a` or `b`.
    pub side: String,
    /// Agreed codec.
    pub codec: Option<String>,
    /// Lane of what arrives on it.
    pub lane: Option<String>,
    /// Mean opinion score of what arrives on it.
    pub mos: Option<f64>,
    /// Limits of the network that were crossed on it.
    pub limits_crossed: Vec<String>,
    /// Keys pressed at its far end.
    pub digits: String,
}
