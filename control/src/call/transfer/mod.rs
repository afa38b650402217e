//! Transfers: another party takes the place of one that leaves the call.
//!
//! - By a new leg ([`Way::Bridge`]): leg C is placed to a trunk; when it answers it takes the place of the leg that leaves,
//!   and the two SIP legs are relayed. `course` has the steps.
//! - By REFER ([`Way::Refer`]): the carrier of the leg that stays is asked to call somebody else instead of us. Where it does,
//!   our whole call ends. `refer` has the steps.
//!
//! Until the other party has answered, nothing is taken from the call: a transfer that fails leaves it as it was. If whoever
//! was to leave has left before (an agent that closes its connection as soon as it has asked, a phone that hangs up after
//! its REFER), the one that stays hears a ring-back tone; an agent is connected again when the transfer fails.

mod course;
mod refer;

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use voxlane_dataplane::media_plane::{AgentNotice, Endpoint};

use super::targets::{self, Targets};
use super::{Outbound, Side};
use crate::sip::{self, Failure, News};
use crate::time::Time;

/// Most transfers of one call: parties that send each other on come to an end by this.
pub const MOST: usize = 8;

/// A transfer, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whom to, for records: a number.
    pub to: String,
    /// How.
    pub by: By,
    /// Who asks for it.
    pub asked_by: Asker,
    /// The leg that leaves: A or B.
    pub leaves: Side,
    /// What the leg that stays hears until the other party answers.
    pub ringing: Ringing,
    /// How long it may take until the other party answers.
    pub timeout: Duration,
}

/// How a call is transferred, and what is needed for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// The gateway places this leg.
    Bridge(Box<Target>),
    /// The carrier of the leg that stays is asked.
    Refer(Box<Referral>),
}

impl By {
    /// How, in a word.
    pub fn way(&self) -> Way {
        match self {
            Self::Bridge(_) => Way::Bridge,
            Self::Refer(_) => Way::Refer,
        }
    }

    /// The trunk whose carrier calls the other party.
    pub fn trunk(&self) -> &str {
        match self {
            Self::Bridge(target) => &target.trunk,
            Self::Refer(referral) => &referral.trunk,
        }
    }
}

/// What a REFER says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// Name of the trunk of the leg that stays.
    pub trunk: String,
    /// Refer-To (RFC 3515 section 2.1): whom to call, or whose place to take.
    pub refer_to: String,
    /// Referred-By (RFC 3892 section 3).
    pub referred_by: String,
    /// Whether news of it are asked for.
    pub progress: Progress,
    /// What follows where there are none.
    pub unreported: Unreported,
}

/// Whether a REFER of ours asks for news of what comes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// It does, as every REFER does that says nothing (RFC 3515 section 2.4.4).
    #[default]
    Notify,
    /// It says that it needs none (RFC 4488).
    None,
}

/// What follows when a REFER is accepted of which there will be no news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreported {
    /// The transfer counts as completed: we hang up.
    #[default]
    HangUp,
    /// It is completed when the carrier hangs up; if it does not in time, the transfer has failed.
    Wait,
}

/// Whom a leg is placed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Name of the trunk.
    pub trunk: String,
    /// The leg.
    pub outbound: Outbound,
    /// Referred-By of its INVITE: who has asked for it by REFER (RFC 3892 section 4), as written.
    pub referred_by: Option<String>,
}

/// How a call is transferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The gateway places a leg and stays in the call.
    #[default]
    Bridge,
    /// The carrier of the leg that stays calls the other party instead of us.
    Refer,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Refer => "refer",
        })
    }
}

/// Who asks for a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asker {
    /// Whoever uses the admin socket.
    Operator,
    /// The agent of the call.
    Agent,
    /// The application that the call is given to: whom it dials.
    Application,
    /// The carrier of the leg that leaves, by REFER.
    Carrier,
    /// The gateway, because the agent has failed.
    Fallback,
}

/// What the leg that stays hears until the other party answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ringing {
    /// Whom it has talked with before: who is to leave stays until then.
    #[default]
    Agent,
    /// A ring-back tone: an agent leaves at once. Of a call between two SIP legs nobody does.
    Ringback,
}

/// What came of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whom to.
    pub to: String,
    /// How.
    pub way: Way,
    /// Who asked for it.
    pub asked_by: Asker,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a transfer, or how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The other party is being called.
    Calling,
    /// It rings.
    Ringing,
    /// It has taken the place of who left.
    Completed,
    /// It has not.
    Failed {
        /// A SIP status that says it best.
        status: u16,
        /// Why, in words.
        reason: String,
    },
}

/// What happens to a transfer.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is asked for.
    Asked(Box<Order>),
    /// Whoever asked takes it back.
    TakenBack,
    /// A time asked for with [`Action::Wake`] has come.
    Due,
    /// Media for leg C is open.
    MediaOpened(Endpoint),
    /// It cannot be had.
    MediaFailed {
        /// What to tell.
        status: u16,
        /// Why.
        error: String,
    },
    /// Leg C is ringing.
    Progress,
    /// Leg C has answered.
    Answered {
        /// Its SDP answer.
        sdp: Option<Vec<u8>>,
    },
    /// Leg C could not be set up; its dialog is gone.
    Failed {
        /// Final status.
        status: u16,
        /// Reason phrase.
        reason: String,
        /// Who found so.
        failure: Failure,
    },
    /// Leg C's dialog is gone, by whatever.
    Gone,
    /// The REFER was accepted.
    ReferAccepted {
        /// Whether there will be news of it.
        reported: bool,
    },
    /// The REFER was refused, or not answered.
    ReferRefused {
        /// Final status.
        status: u16,
        /// Reason phrase.
        reason: String,
    },
    /// News of what came of it.
    ReferNews(News),
}

/// What a transfer needs to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Report [`Event::Due`] at this time.
    Wake(Time),
    /// Send leg C's INVITE; report what becomes of it.
    Invite {
        /// Where.
        target: targets::Target,
        /// It has failed when nothing has answered for so long; `None`: when the transaction ends.
        patience: Option<Duration>,
        /// Offer.
        sdp: Vec<u8>,
    },
    /// Ask the far end of this leg to call somebody else, as the order says; report [`Event::ReferAccepted`] or
    /// [`Event::ReferRefused`], and [`Event::ReferNews`].
    Refer {
        /// A or B.
        side: Side,
    },
    /// Leg C takes the place of this one, which is leg C from now on.
    Replace {
        /// A or B.
        side: Side,
    },
    /// Leg C's dialog takes the place of this one's, which is leg C's from now on; media stays where it is.
    TakePlace {
        /// A or B.
        side: Side,
    },
    /// This leg, whose far end has nobody to talk with, hears a ring-back tone. Its agent, if it has one, leaves.
    RingBack {
        /// A or B.
        side: Side,
    },
    /// The agent is connected to this leg again, and told why.
    Reattach {
        /// A or B.
        side: Side,
        /// Its addresses.
        addresses: Vec<SocketAddr>,
        /// What came of the transfer.
        notice: AgentNotice,
    },
    /// The agent is told how far the transfer has come.
    Tell(AgentNotice),
    /// The far end of this leg, which has asked for it by REFER, is told.
    Report {
        /// A or B.
        side: Side,
        /// How far it has come.
        progress: sip::Progress,
    },
}

/// Why a call cannot be transferred now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not answered, or is ending.
    #[error("the call is not up")]
    NotUp,
    /// Another is under way.
    #[error("another transfer of the call is under way")]
    UnderWay,
    /// It was transferred too often.
    #[error("the call has been transferred {MOST} times, which is the most there may be")]
    TooOften,
    /// An agent cannot be left without the leg that it hears, and has no other.
    #[error("there is no such leg to leave the call")]
    NoLeg,
}

/// A transfer under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Transfer {
    order: Order,
    course: Course,
    /// When it has taken too long.
    deadline: Time,
    /// Whether who is to leave has left already.
    left: bool,
}

/// How it goes, and how far it has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Course {
    /// Leg C is placed.
    Placing(Box<Placement>),
    /// The carrier is asked.
    Referring(ReferStep),
}

/// How far the REFER has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ReferStep {
    /// It is not answered.
    Sent,
    /// The carrier has accepted it.
    Accepted,
    /// The other party rings.
    Ringing,
}

/// How far leg C has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Placement {
    /// What its INVITE has tried, and tries.
    targets: Targets,
    target: Option<targets::Target>,
    step: Step,
}

/// How far leg C has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    /// A gateway of the trunk is looked up.
    Locating,
    /// Media is opened for it.
    Opening,
    /// Its INVITE is sent.
    Calling,
    /// It rings.
    Ringing,
}
