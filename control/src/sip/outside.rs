//! Requests of ours outside dialogs: OPTIONS, which asks whether somebody is there, and REGISTER (RFC 3261 sections 10.2
//! and 11).

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::Address;
use super::path::{PeerId, Transport};

/// Names one request outside dialogs, its repetitions with credentials included. Never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutsideId(pub u64);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutsideMethod {
    /// Whether somebody is there, and what he can do.
    Options,
    /// To be known under an address.
    Register,
}

impl OutsideMethod {
    /// As requests have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Options => "OPTIONS",
            Self::Register => "REGISTER",
        }
    }
}

/// Whose calls to a Contact are that a registrar was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// This trunk's, wherever they come from: nobody else has heard of the Contact.
    Of(String),
    /// As of any other call: address or credentials say.
    AsUsual,
}

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// What is asked.
    pub method: OutsideMethod,
    /// Our address to send from; also Via and Contact.
    pub local: SocketAddr,
    /// Where to send it.
    pub remote: SocketAddr,
    /// By what.
    pub transport: Transport,
    /// Whom a connection is opened to.
    pub peer: Option<PeerId>,
    /// Request-URI.
    pub request_uri: Address,
    /// From, without tag.
    pub from: Address,
    /// To.
    pub to: Address,
    /// User part of our Contact; empty for none.
    pub contact: String,
    /// Call-ID and the number before its CSeq, where it goes on with an earlier one (RFC 3261 section 10.2).
    pub sequence: Option<Sequence>,
    /// Name of the trunk whose login answers challenges, if any.
    pub trunk: Option<String>,
    /// Extra headers, name and value, in order.
    pub headers: Vec<(String, String)>,
}

/// Where a series of requests stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Their Call-ID.
    pub call_id: String,
    /// CSeq number of the last.
    pub cseq: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Final status; 408 where nobody answered, 503 where it could not be sent.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Whether somebody answered.
    pub heard: Heard,
    /// Where the series stands.
    pub sequence: Sequence,
    /// How long our Contact is known from now on: its `expires`, else Expires.
    pub expires: Option<Duration>,
    /// Min-Expires of a 423.
    pub min_expires: Option<Duration>,
    /// Retry-After.
    pub retry_after: Option<Duration>,
}

/// Whether somebody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    /// A final response came.
    Response,
    /// Nothing came.
    Nothing,
    /// It could not be sent there.
    Unreachable,
}
