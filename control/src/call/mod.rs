//! The B2BUA call as a state machine: [`Call::on`]`(event, now) -> actions`.
//!
//! A call has two legs. Leg A is the caller's SIP dialog; leg B is either an agent or a second SIP dialog. The machine
//! knows SIP only as dialog events, media only as sessions and endpoints, time only as an argument; it does no I/O and
//! holds only plain data. The gateway carries out the actions in the order given and reports what came of them as events.
//!
//! ```text
//!             resolve        open media       attach / INVITE       ready / 200       ACK
//!  INVITE ──► Preparing ───────────────────► Connecting ──────────► Answering ─────► Up
//!                 └───────────────┴────────────────┴────────────────────┴────────────┘
//!                    CANCEL, BYE, failure, agent gone:  Ending ──► (both legs gone) ──► Ended
//! ```
//!
//! An agent may place a call, too ([`placed`]): then leg A is the agent, who has no dialog. A call may be given to a TwiML
//! application instead of an agent ([`application`]): its documents say what becomes of it.
//!
//! What may not happen: a call with one leg gone and the other up. Every path that loses a leg ends in `Ending`, which
//! hangs up the other and closes the media.
//!
//! An agent that fails may have a fallback ([`fallback`]): another agent, or somebody who is called instead.
//!
//! A call that is up can be transferred ([`transfer`]): a third leg, C, is set up beside the two and takes the place of the
//! one that leaves. What leaves is leg C from then on, until its dialog is gone.

mod application;
pub mod fallback;
mod machine;
mod negotiation;
mod placed;
mod placing;
mod renegotiation;
mod replacing;
pub mod targets;
pub mod transfer;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{AgentFailure, Endpoint, FailureKind, Session};

pub use self::application::{Action as ApplicationAction, Event as ApplicationEvent, StreamState};
use self::fallback::Fallback;
pub use self::machine::{Call, Phase};
pub use self::placed::Origin;
use self::targets::{Target, Way};
use crate::config::model::{HostPort, LegMedia, Redirects, SdpIdentity};
use crate::route::identity::Identity;
use crate::sip::locate::{Destination, Place};
use crate::sip::{Address, Failure, Termination, Transport, UserPhone};
use crate::twiml::application::Script;

/// Names one call for as long as its record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(pub u64);

impl std::fmt::Display for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One of the legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The caller's.
    A,
    /// The agent's or the called party's.
    B,
    /// The one beside the two, while a call is transferred: whom it is transferred to, and once it is, who leaves.
    C,
}

impl Side {
    /// The leg that it talks with; none does with the third.
    pub fn other(self) -> Option<Self> {
        match self {
            Self::A => Some(Self::B),
            Self::B => Some(Self::A),
            Self::C => None,
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
        })
    }
}

/// What the gateway knows of a call when it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Its name.
    pub id: CallId,
    /// Who begins it.
    #[serde(default)]
    pub origin: Origin,
    /// The caller's SDP offer; `None` if the caller wants ours.
    pub offer: Option<Vec<u8>>,
    /// Where the INVITE came from; unspecified where an agent places the call.
    pub remote: SocketAddr,
    /// By what.
    pub transport: Transport,
    /// What our SDP says of itself.
    pub identity: SdpIdentity,
    /// `o=` session id of both legs.
    pub session_id: u64,
    /// Codecs of leg A, in order of preference.
    pub codecs: Vec<Codec>,
    /// How the media of leg A is treated.
    pub media: LegMedia,
    /// Packet time, milliseconds.
    pub ptime: u8,
    /// Where the call goes.
    pub plan: Plan,
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plan {
    /// To an agent.
    Agent {
        /// Name of the agent.
        name: String,
        /// The host to resolve before it can be attached; `None` for a built-in one.
        host: Option<HostPort>,
    },
    /// To a second SIP leg.
    Trunk(Box<Outbound>),
    /// To an application, which says what becomes of it.
    Application {
        /// What it is called in logs and reports.
        name: String,
        /// Where it begins.
        script: Box<Script>,
    },
}

/// A second SIP leg to be placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbound {
    /// Where to send the INVITE, in the order in which that is tried.
    pub ways: Vec<Way>,
    /// How long each of them has for its first answer while there are others.
    pub patience: Duration,
    /// Whether a 3xx is followed.
    pub redirects: Redirects,
    /// Request-URI.
    pub request_uri: Address,
    /// What it says of who calls.
    pub identity: Identity,
    /// To.
    pub to: Address,
    /// How numbers are written.
    pub user_phone: UserPhone,
    /// How many hops it may take.
    pub max_forwards: u8,
    /// Codecs, in order of preference.
    pub codecs: Vec<Codec>,
    /// How its media is treated.
    pub media: LegMedia,
}

/// What happened to a call.
#[derive(Clone, Debug)]
pub enum Event {
    /// It has just come in. The first event of every call.
    Start,
    /// The host of the agent is known: these addresses, in order.
    Resolved(Vec<SocketAddr>),
    /// The host of the agent is not known: why.
    Unresolved(String),
    /// A place on leg B's way is known: these destinations, in order.
    Located(Vec<Destination>),
    /// It could not be found: why.
    NotLocated(String),
    /// Media for a leg is open.
    MediaOpened {
        /// Which leg.
        side: Side,
        /// Its ports.
        endpoint: Endpoint,
    },
    /// The data plane could not do as asked.
    MediaFailed {
        /// Which leg.
        side: Side,
        /// What to tell a caller who is not answered yet.
        status: u16,
        /// Why.
        error: String,
    },
    /// The 200 to the caller was held back, because media failed before it: [`Event::MediaFailed`] follows.
    AnswerWithheld,
    /// The agent is connected.
    AgentReady,
    /// The agent could not be reached, or died.
    AgentFailed(AgentFailure),
    /// The agent ended the conversation.
    AgentEnded,
    /// What is to be done about an agent that has failed: the answer to [`Action::FallBack`].
    FallBack(Fallback),
    /// A key was pressed.
    Digit {
        /// Which leg sent it.
        side: Side,
        /// Which key.
        digit: char,
        /// How long.
        duration: Duration,
    },
    /// Leg B is ringing.
    Progress {
        /// 180-199.
        status: u16,
        /// Early media.
        sdp: Option<Vec<u8>>,
    },
    /// Leg B has answered.
    Answered {
        /// Its SDP answer.
        sdp: Option<Vec<u8>>,
    },
    /// Leg B could not be set up; its dialog is gone.
    Failed {
        /// Final status.
        status: u16,
        /// Reason phrase.
        reason: String,
        /// Who found so.
        failure: Failure,
    },
    /// A leg has acknowledged our answer.
    Confirmed {
        /// Which leg.
        side: Side,
        /// SDP answer, if the offer was ours.
        sdp: Option<Vec<u8>>,
    },
    /// The caller gave up; leg A's dialog is gone.
    Cancelled,
    /// A re-INVITE.
    Reinvite {
        /// Which leg.
        side: Side,
        /// The new offer.
        sdp: Option<Vec<u8>>,
    },
    /// An INVITE is to take the place of a leg's dialog (RFC 3891); its own is leg C's until then.
    Replaced {
        /// Which leg.
        side: Side,
        /// By what it came.
        transport: Transport,
        /// Its offer.
        sdp: Option<Vec<u8>>,
    },
    /// An UPDATE with an offer.
    Update {
        /// Which leg.
        side: Side,
        /// The new offer.
        sdp: Vec<u8>,
    },
    /// [`Action::Offer`] was answered; or what a session was refreshed with was, otherwise than before.
    OfferAnswered {
        /// Which leg.
        side: Side,
        /// SDP answer.
        sdp: Option<Vec<u8>>,
    },
    /// [`Action::Offer`] was refused.
    OfferRefused {
        /// Which leg.
        side: Side,
    },
    /// A leg hung up; its dialog is gone.
    Bye {
        /// Which leg.
        side: Side,
        /// Reason header.
        reason: Option<String>,
    },
    /// A leg's dialog is gone.
    Terminated {
        /// Which leg.
        side: Side,
        /// Why.
        cause: Termination,
    },
    /// Nothing has come from a leg for too long.
    MediaTimeout {
        /// Which leg.
        side: Side,
        /// How long.
        quiet: Duration,
    },
    /// The gateway wants the call ended.
    Stop {
        /// For the record and the Reason header.
        text: String,
    },
    /// Something about a transfer.
    Transfer(transfer::Event),
    /// Something about the application that the call is given to.
    Application(application::Event),
}

/// What is to be done for a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Resolve the host of the agent; report [`Event::Resolved`] or [`Event::Unresolved`].
    Resolve(HostPort),
    /// Find out where a place is; report [`Event::Located`] or [`Event::NotLocated`].
    Locate(Place),
    /// Reserve ports for a leg whose far end is in this direction; report [`Event::MediaOpened`] or
    /// [`Event::MediaFailed`].
    OpenMedia {
        /// Which leg.
        side: Side,
        /// An address on the way to its far end.
        towards: SocketAddr,
    },
    /// Tell the data plane what was agreed for a leg.
    Program {
        /// Which leg.
        side: Side,
        /// What was agreed.
        session: Session,
    },
    /// Join the two legs' media.
    Relay,
    /// Connect the agent of the plan to leg A.
    Attach {
        /// Its resolved addresses (none for a built-in agent).
        addresses: Vec<SocketAddr>,
    },
    /// Let a leg's far end hear what an agent says: it knows of the answer.
    LetSpeak {
        /// Which leg.
        side: Side,
    },
    /// Find out what is to be done about the agent, which has failed in this way; report [`Event::FallBack`].
    FallBack(FailureKind),
    /// Close a leg's media.
    CloseMedia {
        /// Which leg.
        side: Side,
    },
    /// Send leg B's INVITE.
    Invite {
        /// Where.
        target: Target,
        /// It has failed when nothing has answered for so long; `None`: when the transaction ends.
        patience: Option<Duration>,
        /// Offer.
        sdp: Vec<u8>,
    },
    /// Send a provisional response to the caller.
    Ring {
        /// 180 or 183.
        status: u16,
        /// Early answer.
        sdp: Option<Vec<u8>>,
    },
    /// Answer an INVITE or re-INVITE with 200.
    Answer {
        /// Which leg.
        side: Side,
        /// Our SDP.
        sdp: Vec<u8>,
    },
    /// Refuse an INVITE or re-INVITE.
    Reject {
        /// Which leg.
        side: Side,
        /// Final status.
        status: u16,
        /// Text of a Reason header.
        text: String,
    },
    /// Accept an UPDATE.
    AnswerUpdate {
        /// Which leg.
        side: Side,
        /// Our SDP.
        sdp: Vec<u8>,
    },
    /// Refuse an UPDATE.
    RejectUpdate {
        /// Which leg.
        side: Side,
        /// Final status.
        status: u16,
        /// Text of a Reason header.
        text: String,
    },
    /// Offer a leg that is up another session; report [`Event::OfferAnswered`] or [`Event::OfferRefused`].
    Offer {
        /// Which leg.
        side: Side,
        /// Our SDP.
        sdp: Vec<u8>,
    },
    /// End a leg's dialog by whatever its state asks for.
    HangUp {
        /// Which leg.
        side: Side,
        /// Text of a Reason header.
        text: String,
    },
    /// What a transfer needs.
    Transfer(transfer::Action),
    /// What the application of the call needs.
    Application(application::Action),
    /// The call is over: write its record and forget it. The last action of every call.
    Finish(Cause),
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Who ended it.
    pub by: Party,
    /// SIP status the caller was given, if the call was not answered.
    pub status: Option<u16>,
    /// In words.
    pub text: String,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Leg A's far end.
    Caller,
    /// Leg B's far end.
    Callee,
    /// The agent.
    Agent,
    /// The application that the call was given to.
    Application,
    /// This gateway.
    Gateway,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = match self.by {
            Party::Caller => "caller",
            Party::Callee => "callee",
            Party::Agent => "agent",
            Party::Application => "application",
            Party::Gateway => "gateway",
        };
        match self.status {
            Some(status) => write!(f, "{by}: {} ({status})", self.text),
            None => write!(f, "{by}: {}", self.text),
        }
    }
}
