//! Calls that are placed because somebody asks for it: one, or the numbers of a campaign.
//!
//! [`Dialler`] is the queue they wait in and the book of what became of them: plain data that is told the time. The gateway
//! places what is [due](Dialler::due), and reports how each goes.

mod change;
mod course;
mod dialler;
mod entered;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use change::{CallUpdate, Change, Requester, Updated, WrittenDocument};
pub use dialler::{Dialler, MOST_RESULTS};
pub use entered::Ending;

use crate::call::CallId;
use crate::ops::timestamp::Timestamp;

/// How a call is to be placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placing {
    /// The trunk it goes out on.
    pub trunk: String,
    /// The agent that talks once it is answered; empty: an application says what becomes of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// The application, where no agent is named.
    #[serde(flatten)]
    pub application: PlacedApplication,
    /// The number it shows, one of the trunk's `caller_ids`; the first of them unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
    /// Whose call it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// How long it may ring, seconds; `sip.invite_timeout` holds, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_timeout_s: Option<u32>,
    /// `customParameters` for the agent, in place of those of its own of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Headers of the agent's WebSocket handshake, likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// The application that a placed call is given to once it is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedApplication {
    /// Its first document.
    #[serde(flatten)]
    pub document: WrittenDocument,
    /// Asked for a document when another cannot be had or carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice_fallback_url: Option<String>,
    /// How, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice_fallback_method: Option<String>,
    /// Told how the call goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_callback: Option<String>,
    /// How, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_callback_method: Option<String>,
    /// What of; its end, unless written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status_callback_event: Vec<String>,
}

/// `POST /v1/calls`: a call to be placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRequest {
    /// The number to call.
    pub to: String,
    /// How.
    #[serde(flatten)]
    pub placing: Placing,
}

/// A number of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// The number alone.
    Number(String),
    /// With parameters for the agent of its own.
    With {
        /// The number.
        to: String,
        /// Parameters, in place of the campaign's of the same name.
        #[serde(default)]
        parameters: BTreeMap<String, String>,
    },
}

/// `POST /v1/campaigns`: numbers to be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignRequest {
    /// The numbers, in the order in which they are called.
    pub numbers: Vec<Entry>,
    /// Calls that begin in a second, at most.
    #[serde(default = "one")]
    pub rate: f64,
    /// Calls at once, at most.
    #[serde(default = "ten")]
    pub concurrency: usize,
    /// How.
    #[serde(flatten)]
    pub placing: Placing,
}

fn one() -> f64 {
    1.0
}

fn ten() -> usize {
    10
}

/// Names one campaign while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CampaignId(pub u64);

/// How far a call has come, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for its turn.
    Waiting,
    /// Its INVITE is on its way.
    Calling,
    /// The other side rings.
    Ringing,
    /// It is answered.
    Answered,
    /// It was answered, and is over.
    Ended,
    /// The number is engaged.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// It could not be placed, or was refused.
    Failed,
    /// It was taken back before it was answered.
    Cancelled,
}

impl State {
    /// Whether nothing more becomes of it.
    pub fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Calling | Self::Ringing | Self::Answered => false,
            Self::Ended | Self::Busy | Self::NoAnswer | Self::Failed | Self::Cancelled => true,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Calling => "calling",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Ended => "ended",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What became of a call so far: `GET /v1/calls/{call}`, and a line of a campaign's results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallResult {
    /// Its name, as in logs and `voxlane calls`.
    pub call: String,
    /// The campaign it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<u64>,
    /// The number that is called.
    pub to: String,
    /// The number that is shown.
    pub from: String,
    /// Trunk.
    pub trunk: String,
    /// Agent, or application.
    pub agent: String,
    /// How far it has come, or how it ended.
    pub state: State,
    /// The final status of SIP, if there was one.
    pub status: Option<u16>,
    /// Why it ended, in words.
    pub cause: Option<String>,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When its INVITE was sent.
    pub begun: Option<Timestamp>,
    /// When the other side first rang.
    pub ringing: Option<Timestamp>,
    /// When it was answered.
    pub answered: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Seconds from answer to end.
    pub duration_s: Option<f64>,
}

/// How a campaign goes: `GET /v1/campaigns/{campaign}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignReport {
    /// Its name.
    pub campaign: u64,
    /// `running`, `stopped` or `done`; a stopped one may have calls alive.
    pub state: String,
    /// Numbers in all.
    pub numbers: usize,
    /// Calls a second.
    pub rate: f64,
    /// Calls at once.
    pub concurrency: usize,
    /// Trunk.
    pub trunk: String,
    /// Agent.
    pub agent: String,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When its last call ended.
    pub ended: Option<Timestamp>,
    /// Calls in each state, by its name; none that has no calls.
    pub calls: BTreeMap<String, usize>,
}

/// What the gateway is told to call: everything is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The call's name from now on.
    pub call: CallId,
    /// E.164 with '+'.
    pub to: String,
    /// E.164 with '+'.
    pub from: String,
    /// How.
    pub placing: Placing,
}

impl Placing {
    /// Who talks once it is answered, for people: the agent's name, or the application's.
    pub fn talks(&self) -> String {
        match &self.application.document.voice_url {
            _ if !self.agent.is_empty() => self.agent.clone(),
            Some(url) => url.split('?').next().unwrap_or_default().to_owned(),
            None => "twiml".to_owned(),
        }
    }

    /// How long it may ring, where it says.
    pub fn ring_timeout(&self) -> Option<Duration> {
        self.ring_timeout_s.map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// Why a call is not placed, or not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Something in the request is wrong.
    #[error("{0}")]
    Request(String),
    /// Too many wait already.
    #[error("{waiting} calls wait already, and at most {most} may; try again later, or with fewer numbers")]
    Full {
        /// How many wait.
        waiting: usize,
        /// How many may.
        most: usize,
    },
    /// The gateway ends.
    #[error("the gateway is stopping; it places no calls any more")]
    Stopping,
    /// No call or campaign of this name.
    #[error("no {0} that was placed is named {1:?}")]
    Unknown(&'static str, String),
    /// No call that is alive has this name.
    #[error("no call alive is named {0:?}; \"voxlane calls\" shows their names")]
    NotAlive(String),
    /// The call is over, or not so far, that this could be done with it.
    #[error("{0}")]
    NotNow(String),
}

impl Entry {
    /// The number.
    pub fn number(&self) -> &str {
        match self {
            Self::Number(to) | Self::With { to, .. } => to,
        }
    }

    /// How it is placed, in a campaign that is placed so.
    pub fn placing(&self, of_all: &Placing) -> Placing {
        let mut placing = of_all.clone();
        match self {
            Self::Number(_) => {}
            Self::With { parameters, .. } => placing.parameters.extend(parameters.clone()),
        }
        placing
    }
}
