//! What goes into the SIP core and what comes out.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outside::{Answer, OutsideId};
use super::path::{ConnectionId, Listen, Path, PeerId, Transport};
use super::refer::{News, Referral};
use super::within::{Outcome, RequestId, WithinMethod};
use crate::time::Time;

/// Names one dialog (or the attempt at one) from INVITE to its end. Never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DialogId(pub u64);

/// Settings of the SIP core.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// `User-Agent` and `Server` header.
    pub user_agent: String,
    /// Round-trip estimate T1 (RFC 3261 section 17.1.1.1): 500 ms.
    pub t1: Duration,
    /// Longest retransmission interval T2: 4 s.
    pub t2: Duration,
    /// Longest life of a message in the network T4: 5 s.
    pub t4: Duration,
    /// An outgoing INVITE that has no final answer after this long is cancelled.
    pub invite_timeout: Duration,
    /// What is listened on.
    pub listen: Vec<Listen>,
    /// Seed of tags, branches and Call-IDs.
    pub seed: u64,
}

/// Something that happened outside the SIP core.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A UDP datagram arrived.
    Datagram {
        /// Our address it was sent to; concrete, never a wildcard.
        local: SocketAddr,
        /// Where it came from.
        remote: SocketAddr,
        /// Its bytes.
        data: &'a [u8],
    },
    /// A whole message arrived on a connection.
    Message {
        /// Our listener's address; where it came from; by what and on which connection.
        path: Path,
        /// Its bytes.
        data: &'a [u8],
    },
    /// Somebody has connected over TLS and asked for a name (SNI, RFC 6066 section 3). Holds for what comes on the connection
    /// from now on, until it is [lost](Input::Lost).
    Named {
        /// Which connection.
        connection: ConnectionId,
        /// The name.
        server_name: &'a str,
    },
    /// A message arrived on a connection that cannot be told from what follows it: the connection is about to be closed.
    Damaged {
        /// As of [`Input::Message`].
        path: Path,
        /// As much of it as there is, from its first line.
        head: &'a [u8],
        /// 400 or 513.
        status: u16,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What was sent to this address could not be delivered: there is no way there, or no connection came about (RFC 3261
    /// section 18.4).
    Unreachable {
        /// By what.
        transport: Transport,
        /// Where it was to go.
        remote: SocketAddr,
    },
    /// The network says that a datagram of ours could not be delivered: an ICMP error (RFC 3261 section 18.4). It is believed
    /// if it quotes the branch of a request that waits for an answer: who does not see what we send cannot know that.
    Returned {
        /// Where it was to go.
        remote: SocketAddr,
        /// The datagram, or its beginning.
        datagram: &'a [u8],
    },
    /// A connection is gone; what was sent on it may not have arrived.
    Lost {
        /// Which.
        connection: ConnectionId,
        /// By what.
        transport: Transport,
        /// What was sent to this address went over it, where it is one of ours.
        remote: SocketAddr,
    },
}

/// What the SIP core wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// Something the call layer must know.
    Event(Event),
    /// Nothing more now; call [`super::Endpoint::handle_timeout`] at this time, if there is one.
    Timeout(Option<Time>),
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where, by what.
    pub path: Path,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// A `sip:` address as the call layer uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Display name, unquoted; empty if none.
    pub display: String,
    /// User part, unescaped: a number, usually; empty if none.
    pub user: String,
    /// Host part: a domain or an address literal (IPv6 without brackets).
    pub host: String,
    /// Port, if written.
    pub port: Option<u16>,
}

/// A new call from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The dialog it starts.
    pub dialog: DialogId,
    /// Our address it came to.
    pub local: SocketAddr,
    /// The address it came from, from the packet, not from a header.
    pub remote: SocketAddr,
    /// By what it came.
    pub transport: Transport,
    /// The name that the caller asked for when it connected over TLS.
    pub server_name: Option<String>,
    /// Request-URI.
    pub request_uri: Address,
    /// From.
    pub from: Address,
    /// To.
    pub to: Address,
    /// P-Asserted-Identity (RFC 3325), if present.
    pub asserted: Option<Address>,
    /// Whether the caller wants to be known (RFC 3323), as his side says.
    pub privacy: Privacy,
    /// Call-ID.
    pub call_id: String,
    /// How many more hops it may take (RFC 3261 section 20.22).
    pub max_forwards: u8,
    /// Name of the trunk it comes from, by its source or its credentials; `None` if no trunk takes it.
    pub trunk: Option<String>,
    /// The dialog whose place it is to take (RFC 3891).
    pub replaces: Option<DialogId>,
    /// SDP offer; `None` for a delayed offer.
    pub sdp: Option<Vec<u8>>,
}

/// Whether a caller wants to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privacy {
    /// He does not mind.
    #[default]
    None,
    /// Not to the one he calls (`Privacy: id`, and what asks for no less).
    Id,
}

/// Max-Forwards of a request that begins here (RFC 3261 section 8.1.1.6).
pub const MAX_FORWARDS: u8 = 70;

/// A call to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Our address to send from; also Via and Contact.
    pub local: SocketAddr,
    /// Where to send it.
    pub remote: SocketAddr,
    /// By what.
    pub transport: Transport,
    /// Whom a connection is opened to.
    pub peer: Option<PeerId>,
    /// What becomes of requests that are too large for UDP.
    pub large: Large,
    /// Request-URI.
    pub request_uri: Address,
    /// From, without tag.
    pub from: Address,
    /// To.
    pub to: Address,
    /// How many hops it may take: [`MAX_FORWARDS`], or for a call that is passed on one less than it came with, so that
    /// two gateways that send a call to each other do so a bounded number of times.
    pub max_forwards: u8,
    /// Name of the trunk whose login answers challenges, if any.
    pub trunk: Option<String>,
    /// Extra headers, name and value, in order (P-Asserted-Identity, …).
    pub headers: Vec<(String, String)>,
    /// How its numbers are written.
    pub user_phone: UserPhone,
    /// It has failed when nothing has answered it for so long, not even with a 100; `None`: when transactions do.
    pub patience: Option<Duration>,
    /// SDP offer.
    pub sdp: Vec<u8>,
}

/// How numbers are written in the URIs of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserPhone {
    /// As they are.
    #[default]
    Off,
    /// With `;user=phone` (RFC 3261 section 19.1.1).
    On,
}

/// What becomes of a request that is too large for UDP (RFC 3261 section 18.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Large {
    /// It goes over TCP, and over UDP after all where there is no connection.
    #[default]
    Tcp,
    /// It goes over UDP, in fragments if need be.
    Udp,
}

/// What the call layer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new call; 100 Trying has been sent. To be answered with `ring`, `answer` or `reject`.
    Incoming(Box<Incoming>),
    /// 18x to our INVITE.
    Progress {
        /// Which dialog.
        dialog: DialogId,
        /// 180-199.
        status: u16,
        /// Early media, if any.
        sdp: Option<Vec<u8>>,
    },
    /// 2xx to our INVITE; the ACK has been sent and is repeated for a repeated 2xx.
    Answered {
        /// Which dialog.
        dialog: DialogId,
        /// SDP answer.
        sdp: Option<Vec<u8>>,
    },
    /// Our INVITE failed; the dialog is gone.
    Failed {
        /// Which dialog.
        dialog: DialogId,
        /// Final status; 408 on time-out, 503 when the destination could not be reached, 487 after our CANCEL.
        status: u16,
        /// Reason phrase.
        reason: String,
        /// Who found that it fails.
        failure: Failure,
    },
    /// The ACK to our 2xx arrived.
    Confirmed {
        /// Which dialog.
        dialog: DialogId,
        /// SDP answer of a delayed offer.
        sdp: Option<Vec<u8>>,
    },
    /// The caller gave up before we answered; 487 has been sent; the dialog is gone.
    Cancelled {
        /// Which dialog.
        dialog: DialogId,
    },
    /// 2xx to our re-INVITE; the ACK has been sent and is repeated for a repeated 2xx.
    OfferAnswered {
        /// Which dialog.
        dialog: DialogId,
        /// SDP answer.
        sdp: Option<Vec<u8>>,
    },
    /// Our re-INVITE was refused; the session goes on as it was (RFC 3261 section 14.1).
    OfferRefused {
        /// Which dialog.
        dialog: DialogId,
        /// What was answered.
        outcome: Box<Outcome>,
    },
    /// A request of ours within the dialog, sent by [`super::Endpoint::request`], was answered, or never will be.
    Responded {
        /// Which dialog.
        dialog: DialogId,
        /// Which request.
        request: RequestId,
        /// What it asked.
        method: WithinMethod,
        /// What was answered.
        outcome: Box<Outcome>,
    },
    /// News of a REFER of ours, sent by [`super::Endpoint::request`]; 200 has been sent. They may come before the REFER is
    /// answered (RFC 3515 section 2.4.4).
    Notified {
        /// Which dialog.
        dialog: DialogId,
        /// Which REFER.
        request: RequestId,
        /// What they say.
        news: Box<News>,
    },
    /// A REFER; to be answered with `accept_refer` or `refuse_refer`.
    Referred {
        /// Which dialog.
        dialog: DialogId,
        /// What it asks.
        referral: Box<Referral>,
    },
    /// A request of ours outside dialogs has ended.
    Outside {
        /// Which.
        id: OutsideId,
        /// What came of it.
        answer: Box<Answer>,
    },
    /// A re-INVITE; to be answered with `answer` or `reject`.
    Reinvite {
        /// Which dialog.
        dialog: DialogId,
        /// SDP offer.
        sdp: Option<Vec<u8>>,
    },
    /// An UPDATE with an offer; to be answered with `answer_update` or `reject_update`. One without has been answered.
    Update {
        /// Which dialog.
        dialog: DialogId,
        /// SDP offer.
        sdp: Vec<u8>,
    },
    /// The other side hung up; 200 has been sent; the dialog is gone.
    Bye {
        /// Which dialog.
        dialog: DialogId,
        /// Reason header (RFC 3326), if any.
        reason: Option<String>,
    },
    /// The dialog ended without a BYE from the other side: our BYE was answered or timed out, or the core has sent one by
    /// itself.
    Terminated {
        /// Which dialog.
        dialog: DialogId,
        /// Why.
        cause: Termination,
    },
}

/// Who found that our INVITE fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The other side has refused it.
    Refused {
        /// Where it may be placed instead: the contacts of a 3xx, the most preferred first.
        redirects: Vec<Redirect>,
        /// Retry-After of a 503.
        retry_after: Option<Duration>,
    },
    /// Nothing came: no final response in 64*T1, or no response at all in [`Outgoing::patience`].
    Silent,
    /// It could not be sent there.
    Unreachable,
    /// We took it back.
    TakenBack,
}

impl Failure {
    /// A refusal with nothing more to it.
    pub fn refused() -> Self {
        Self::Refused {
            redirects: Vec::new(),
            retry_after: None,
        }
    }
}

/// A contact of a 3xx (RFC 3261 section 8.1.3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Its address; without a host for a `tel:` URI.
    pub address: Address,
    /// The transport that it asks for; TLS for a `sips:` URI.
    pub transport: Option<Transport>,
}

/// Why a dialog ended without a BYE from the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Termination {
    /// Our BYE was answered (any final status).
    ByeAnswered,
    /// Our BYE was never answered.
    ByeTimeout,
    /// The ACK to our 2xx never came (RFC 3261 section 13.3.1.4).
    NoAck,
    /// The other side does not know the dialog (481), or did not answer a request of ours (408, 503): RFC 3261 section
    /// 12.2.1.2.
    Lost {
        /// The status.
        status: u16,
    },
    /// The PRACK to our reliable provisional response never came; 504 has been sent (RFC 3262 section 3).
    NoPrack,
    /// The session timer ran out: nobody has refreshed the session in time (RFC 4028 section 10).
    SessionExpired,
}

impl std::fmt::Display for Termination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByeAnswered => f.write_str("our BYE was answered"),
            Self::ByeTimeout => f.write_str("our BYE was not answered"),
            Self::NoAck => f.write_str("our answer was not acknowledged"),
            Self::NoPrack => f.write_str("our provisional response was not acknowledged"),
            Self::Lost { status: 481 } => f.write_str("the other side does not know the call (481)"),
            Self::Lost { status } => write!(f, "the other side does not answer ({status})"),
            Self::SessionExpired => f.write_str("the session timer ran out"),
        }
    }
}

/// What the SIP core has seen, since start; exported as metrics. Every message ends in exactly one of these or in an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests received.
    pub requests: u64,
    /// Responses received.
    pub responses: u64,
    /// Datagrams that were not SIP or too damaged to answer.
    pub malformed: u64,
    /// Requests answered 400 for what they said.
    pub bad_requests: u64,
    /// Calls to unknown tenants that got no answer.
    #[serde(default)]
    pub dropped: u64,
    /// Calls answered 401, nothing of which was kept.
    #[serde(default)]
    pub challenged: u64,
    /// Calls answered 403 because no trunk allows them, nothing of which was kept.
    #[serde(default)]
    pub strangers: u64,
    /// Responses and ACKs that belong to nothing.
    pub stray: u64,
    /// Requests that the network could not deliver (ICMP).
    #[serde(default)]
    pub undelivered: u64,
    /// Messages repeated by the other side.
    pub retransmissions_received: u64,
    /// Messages repeated by us.
    pub retransmissions_sent: u64,
    /// Sessions that were refreshed, by us or by the other side (RFC 4028).
    #[serde(default)]
    pub sessions_refreshed: u64,
    /// Sessions that ended because nobody refreshed them in time.
    #[serde(default)]
    pub sessions_expired: u64,
    /// Transactions alive now.
    pub transactions: u64,
    /// Dialogs alive now.
    pub dialogs: u64,
}
