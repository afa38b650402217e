//! Twilio's REST API, as far as it is about calls: `/2010-04-01/Accounts/{sid}/Calls.json` and `…/Calls/{sid}.json`, so that
//! Twilio's SDKs, and bots that hang up through it, need nothing but another address.
//!
//! - [`register`]: the calls it tells of, those alive and the last that ended;
//! - [`server`]: HTTP, with the credentials of an account;
//! - [`form`]: what is asked for, from the parameters of a request;
//! - [`resource`]: calls and lists of them as Twilio writes them;
//! - [`problem`]: what is wrong with a request, as Twilio says it.
//!
//! Calls are placed and changed as on the admin socket, through [`Dials`](crate::ops::dials::Dials).
//!
//! What is understood says `docs/rest-api.md`.

pub mod form;
pub mod problem;
pub mod register;
pub mod resource;
pub mod server;

use serde::{Deserialize, Serialize};

/// The version of the API, which begins every path.
pub const VERSION: &str = "2010-04-01";

/// How far a call has come, or how it ended, in Twilio's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It waits for its turn.
    Queued,
    /// Its INVITE is on its way.
    Initiated,
    /// It rings.
    Ringing,
    /// It is answered.
    InProgress,
    /// It was answered, and is over.
    Completed,
    /// The number was engaged.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// It was taken back before it was answered.
    Canceled,
    /// It could not be placed, or was refused.
    Failed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Initiated,
        Self::Ringing,
        Self::InProgress,
        Self::Completed,
        Self::Busy,
        Self::NoAnswer,
        Self::Canceled,
        Self::Failed,
    ];

    /// What has become of a call that ended with this status of SIP before it was answered.
    pub const fn unanswered(status: u16) -> Self {
        match status {
            486 | 600 => Self::Busy,
            408 | 480 | 603 => Self::NoAnswer,
            487 => Self::Canceled,
            _ => Self::Failed,
        }
    }

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more becomes of it.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Initiated | Self::Ringing | Self::InProgress => false,
            Self::Completed | Self::Busy | Self::NoAnswer | Self::Canceled | Self::Failed => true,
        }
    }
}

/// Who began a call, in Twilio's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Somebody called a number of the account.
    Inbound,
    /// It was placed for the account.
    Outbound,
}

impl Direction {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound-api",
        }
    }
}
