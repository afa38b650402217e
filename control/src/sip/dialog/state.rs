//! How far a dialog has come.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Identity, Reply, SessionTimer, Terms};
use crate::sip::api::Large;
use crate::sip::digest::Attempt;
use crate::sip::policy::Policy;
use crate::sip::refer::{Progress, Reports};
use crate::sip::syntax::fields::Fields;
use crate::sip::transaction::{Path, TransactionId};
use crate::sip::within::{RequestId, Within};
use crate::time::Time;

/// One dialog, or the attempt at one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dialog {
    /// Tags, routes, numbers.
    pub identity: Identity,
    /// Name of the trunk whose login answers challenges, if any.
    pub trunk: Option<String>,
    /// What it may do beyond RFC 3261.
    pub policy: Policy,
    /// How long the session lives, if that is limited.
    pub timer: Option<SessionTimer>,
    /// The largest Min-SE that was heard of, seconds.
    pub least: u32,
    /// Whether the other side takes UPDATEs.
    pub takes_update: bool,
    /// Our SDP that is in force; empty if there is none yet.
    pub ours: Vec<u8>,
    /// The `o=` line of theirs that is.
    pub their_origin: Vec<u8>,
    /// An UPDATE of theirs with an offer that waits for the call layer.
    pub asked: Option<Box<Asked>>,
    /// Requests of ours that have no final response, but INVITE, ACK and CANCEL.
    pub requests: Vec<Outstanding>,
    /// REFERs of ours that the other side may still tell of, the oldest first.
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
    /// A REFER of theirs that waits for the call layer.
    #[serde(default)]
    pub referred: Option<Box<Referred>>,
    /// REFERs of theirs of which they are told, the oldest first.
    #[serde(default)]
    pub notifiers: Vec<Notifier>,
    /// Whether there was a REFER of theirs already.
    #[serde(default)]
    pub was_referred: bool,
    /// How far it has come.
    pub state: State,
}

impl Dialog {
    /// One that has just begun.
    pub fn new(identity: Identity, trunk: Option<String>, policy: Policy, state: State) -> Self {
        Self {
            identity,
            trunk,
            policy,
            timer: None,
            least: 0,
            takes_update: false,
            ours: Vec::new(),
            their_origin: Vec::new(),
            asked: None,
            requests: Vec::new(),
            subscriptions: Vec::new(),
            referred: None,
            notifiers: Vec::new(),
            was_referred: false,
            state,
        }
    }

    /// The early dialog with this remote tag.
    pub fn fork_mut(&mut self, tag: &str) -> Option<&mut Fork> {
        match &mut self.state {
            State::Calling(calling) => {
                let of = |fork: &&mut Fork| fork.identity.is_from(Some(tag));
                calling.forks.iter_mut().find(of)
            }
            State::Ringing(_) | State::Up(_) | State::Ending(_) => None,
        }
    }

    /// What makes the requests of the dialog, or of an early one.
    pub fn identity_mut(&mut self, fork: Option<&str>) -> &mut Identity {
        if let (Some(tag), State::Calling(calling)) = (fork, &mut self.state)
            && let Some(fork) = calling.forks.iter_mut().find(|fork| fork.identity.is_from(Some(tag)))
        {
            return &mut fork.identity;
        }
        &mut self.identity
    }

    /// Takes note of what a message of the other side says it can do.
    pub fn hear(&mut self, fields: &Fields) {
        // A message may leave it out; that it could do before it can still.
        if !fields.allow.is_empty() {
            self.takes_update = fields.allow.iter().any(|method| method == "UPDATE");
        }
    }

    /// Takes note of an SDP of theirs; true if it is another than before (RFC 3264 section 8).
    pub fn describe(&mut self, sdp: &[u8]) -> bool {
        let origin = sdp.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"o="));
        let origin = origin.unwrap_or_default();
        let is_other = origin != self.their_origin;
        self.their_origin = origin.to_vec();
        is_other
    }
}

/// A request of ours that has no final response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outstanding {
    /// Its name.
    pub id: RequestId,
    /// The transaction it is in now.
    pub transaction: TransactionId,
    /// Remote tag of the early dialog it is of; `None` for a dialog that is no fork.
    pub fork: Option<String>,
    /// What it asks.
    pub request: Within,
    /// Credentials shown so far.
    pub attempt: Attempt,
    /// Who waits for its end.
    pub asker: Asker,
}

/// A REFER of ours, of which the other side tells what comes of it (RFC 3515 section 2.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The REFER.
    pub request: RequestId,
    /// Its CSeq number, by which NOTIFYs name it.
    pub cseq: u32,
}

/// A REFER of theirs that waits for the call layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Referred {
    /// The request.
    pub asked: Asked,
    /// Its CSeq number.
    pub cseq: u32,
    /// Whether they want to be told what comes of it.
    pub reports: Reports,
}

/// What they are told of a REFER of theirs: one NOTIFY after the other (RFC 3515 section 2.4.4).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notifier {
    /// CSeq number of the REFER.
    pub cseq: u32,
    /// Whether NOTIFYs name it: there was another before it in the dialog (RFC 3515 section 2.4.6).
    pub is_named: bool,
    /// When it was accepted.
    pub since: Time,
    /// What is told next.
    pub queue: VecDeque<Progress>,
    /// The NOTIFY that is not answered.
    pub sent: Option<RequestId>,
    /// Whether the last of them is in the queue, or sent.
    pub is_final: bool,
}

/// Who asked for a request or an offer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asker {
    /// The call layer, which is told what came of it.
    CallLayer,
    /// The SIP core.
    Core,
}

/// How far a dialog has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum State {
    /// Our INVITE has no final response.
    Calling(Calling),
    /// Their INVITE is not answered.
    Ringing(Ringing),
    /// An INVITE was answered with a 2xx.
    Up(Up),
    /// Our BYE is on its way.
    Ending(Ending),
}

/// Our INVITE has no final response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calling {
    /// Its transaction.
    pub invite: TransactionId,
    /// The early dialogs.
    pub forks: Vec<Fork>,
    /// Remote tag of the fork whose SDP the call layer was last told of.
    pub told: Option<String>,
    /// Whether it is being taken back.
    pub cancel: Cancel,
    /// What it is sent again with when it is challenged, or has asked for too short a session.
    pub again: Box<Again>,
}

/// An early dialog of our INVITE (RFC 3261 section 12.1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fork {
    /// Tags, routes, numbers.
    pub identity: Identity,
    /// The last RSeq that was acknowledged.
    pub rseq: Option<u32>,
    /// Their answer, once it came reliably: what comes later is none (RFC 3261 section 13.2.1).
    pub answer: Option<Vec<u8>>,
}

/// What an INVITE is made of beside its dialog, to be sent again with credentials.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Again {
    /// Extra headers.
    pub headers: Vec<(String, String)>,
    /// What it says of the session timer.
    pub terms: Vec<(String, String)>,
    /// SDP offer.
    pub sdp: Vec<u8>,
    /// What becomes of it if it is too large for UDP.
    pub large: Large,
    /// Credentials shown so far.
    pub attempt: Attempt,
}

/// Our BYE is on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// Who waits for its end.
    pub report: Report,
}

/// Whether our INVITE is being taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cancel {
    /// It is not.
    No,
    /// It is, as soon as a provisional response allows.
    Wanted(Cause),
    /// The CANCEL is sent.
    Sent(Cause),
}

/// Why our INVITE is being taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The call layer hung up.
    HungUp,
    /// Nobody answered in time.
    TimedOut,
    /// Nothing came at all, and the call has gone another way.
    GivenUp,
}

/// Their INVITE is not answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ringing {
    /// The INVITE.
    pub pending: Pending,
    /// The last 18x, to be repeated.
    pub provisional: Option<(u16, Option<Vec<u8>>)>,
    /// What of that has to arrive.
    pub reliably: Reliably,
}

/// The reliable provisional responses of an INVITE (RFC 3262).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reliably {
    /// Whether there are to be any.
    pub wanted: Reliability,
    /// RSeq of the last.
    pub rseq: Option<u32>,
    /// The one whose PRACK has not come.
    pub waiting: Option<Provisional>,
    /// What is sent after it.
    pub queue: Vec<(u16, Option<Vec<u8>>)>,
    /// Our answer, if that waits for the PRACK: its SDP.
    pub held: Option<Vec<u8>>,
    /// Whether the SDP of one of them was acknowledged: offer and answer of the INVITE are complete.
    pub settled: bool,
}

/// Whether provisional responses are reliable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reliability {
    /// None is.
    #[default]
    Off,
    /// Those that matter are: with SDP.
    Possible,
    /// All are.
    Required,
}

/// A reliable provisional response whose PRACK has not come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provisional {
    /// The response.
    pub response: Vec<u8>,
    /// Time between this and the next repetition.
    pub interval: Duration,
    /// Whether it has an SDP.
    pub has_sdp: bool,
}

/// An INVITE of theirs that waits for the call layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// Its transaction.
    pub invite: TransactionId,
    /// How it is answered.
    pub reply: Reply,
    /// Its CSeq number.
    pub cseq: u32,
    /// The remote target it brings.
    pub target: String,
    /// What the 2xx says of the session timer.
    pub terms: Option<Terms>,
    /// Whether it has no offer, so that the 2xx has to.
    pub wants_offer: bool,
}

/// A request of theirs within the dialog, no INVITE, that waits for the call layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Its transaction.
    pub transaction: TransactionId,
    /// How it is answered.
    pub reply: Reply,
    /// The other side's tag: which early dialog it is of, where there may be several.
    pub fork: Option<String>,
    /// The remote target it brings, if it does.
    pub target: Option<String>,
    /// What the 2xx says of the session timer.
    pub terms: Option<Terms>,
}

/// An INVITE was answered with a 2xx.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Up {
    /// Our 2xx whose ACK has not come.
    pub unacked: Option<Unacked>,
    /// CSeq number of the last INVITE that was acknowledged.
    pub acked: Option<u32>,
    /// RSeq and CSeq number of the provisional response that our answer has overtaken.
    pub provisional: Option<(u32, u32)>,
    /// A re-INVITE that waits for the call layer.
    pub pending: Option<Pending>,
    /// Our re-INVITE that has no final response, or waits to be sent.
    pub offering: Option<Box<Offering>>,
    /// The call layer has hung up, and the BYE waits until they have heard what came of their REFER: its Reason header.
    #[serde(default)]
    pub hang_up: Option<Option<String>>,
}

impl Up {
    /// Whether a re-INVITE of ours is on its way.
    pub fn is_offering(&self) -> bool {
        self.offering.as_ref().is_some_and(|offering| offering.sent.is_some())
    }
}

/// Our re-INVITE.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offering {
    /// Its transaction; `None` while it waits to be sent.
    pub sent: Option<TransactionId>,
    /// What it is made of.
    pub again: Again,
    /// How often it was sent, credentials apart.
    pub tries: u8,
    /// Who waits for its end.
    pub asker: Asker,
    /// What is offered next, once this one is over.
    pub next: Option<Vec<u8>>,
}

/// A 2xx whose ACK has not come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unacked {
    /// CSeq number of the INVITE.
    pub cseq: u32,
    /// Whether the 2xx has an offer, since the INVITE had none.
    pub offers: bool,
    /// Where the 2xx goes.
    pub path: Path,
    /// The 2xx.
    pub response: Vec<u8>,
    /// Time between this and the next repetition.
    pub interval: Duration,
    /// What is done when the ACK comes.
    pub then: AfterAck,
}

/// What is done when the ACK to our 2xx comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterAck {
    /// The call goes on.
    Stay,
    /// The call layer hung up meanwhile: a BYE is sent (RFC 3261 section 15).
    HangUp {
        /// Reason header.
        reason: Option<String>,
    },
}

/// Whether the call layer waits for the end of our BYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It hung up and is to hear of the end.
    Tell,
    /// It has heard of the end already, or never heard of the dialog.
    Silent,
}
