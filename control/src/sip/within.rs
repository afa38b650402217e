//! Requests of ours within a dialog, as the call layer asks for them and hears of them.

use super::refer;
use serde::{Deserialize, Serialize};

/// Names one request of ours within a dialog, through all its repetitions with credentials. Never reused while the process
/// lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What may be asked within a dialog, but INVITE, ACK and CANCEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WithinMethod {
    /// The dialog's end. [`super::Endpoint::hang_up`] sends it.
    Bye,
    /// News of a subscription (RFC 6665).
    Notify,
    /// A reliable provisional response has come (RFC 3262). The core sends it by itself.
    Prack,
    /// The other side is to call somebody (RFC 3515).
    Refer,
    /// The session is to go on, or to be another (RFC 3311).
    Update,
}

impl WithinMethod {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bye => "BYE",
            Self::Notify => "NOTIFY",
            Self::Prack => "PRACK",
            Self::Refer => "REFER",
            Self::Update => "UPDATE",
        }
    }

    /// Whether it carries our Contact: it makes or keeps what needs a remote target (RFC 3311 section 5.1, RFC 3515
    /// section 2.2, RFC 6665 section 4.1.3).
    pub(super) fn has_contact(self) -> bool {
        match self {
            Self::Bye | Self::Prack => false,
            Self::Notify | Self::Refer | Self::Update => true,
        }
    }

    /// Whether the call is over if the other side does not know it (481) or is not there (408): RFC 3261 section
    /// 12.2.1.2. A NOTIFY is of its subscription only (RFC 5057 section 5.1), and what becomes of an early dialog its
    /// INVITE says.
    pub(super) fn is_the_calls(self) -> bool {
        match self {
            Self::Refer | Self::Update => true,
            Self::Bye | Self::Notify | Self::Prack => false,
        }
    }
}

/// A body and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Content-Type.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// A request to be sent within a dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Within {
    /// What is asked.
    pub method: WithinMethod,
    /// Headers beside those that every request of the dialog has, name and value, in order.
    pub headers: Vec<(String, String)>,
    /// Its body, if it has one.
    pub content: Option<Content>,
}

/// The final response to a request of ours, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Final status, 200-699; 408 if there was no response, 503 if the other side could not be reached.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Retry-After, seconds.
    pub retry_after: Option<u32>,
    /// Warning (RFC 3261 section 20.43): the first, as written.
    pub warning: Option<String>,
    /// Refer-Sub (RFC 4488), as written.
    pub refer_sub: Option<String>,
}

impl Outcome {
    /// Whether a REFER was accepted.
    pub fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether nothing will be told of a REFER that was accepted (RFC 4488 section 4).
    pub fn has_no_subscription(&self) -> bool {
        self.refer_sub.as_deref().is_some_and(refer::says_false)
    }
}
