//! What the control plane tells a worker.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam_channel::Sender;
use voxlane_common::next_hop::NextHop;
use voxlane_common::splice::{Continuity, SentStream};

use super::copies::{Copied, Way};
use super::io::Sockets;
use super::leg::Unheard;
use super::relay::Side;
use super::stats::LegStats;
use crate::flows::{LegState, Rules};
use crate::media_plane::{AgentNotice, AgentSpec, EndpointId, Recording, Session, Speech};
use crate::xsk;

/// A leg that an agent hears and answers.
#[derive(Debug)]
pub struct NewLeg {
    /// Its name in [`crate::media_plane::MediaEvent`]s.
    pub endpoint: EndpointId,
    /// Where its media arrives.
    pub sockets: Sockets,
    /// Who is to hear it.
    pub agent: AgentSpec,
    /// What was agreed, if it is known already: media flows from then on.
    pub session: Option<Session>,
    /// What whoever had the leg before has left, if anybody had it.
    pub left: Option<Left>,
    /// What the agent before was not ready to hear, if there was one.
    pub unheard: Option<Box<Unheard>>,
}

/// What is known of a leg when it goes from one to another: whoever takes it goes on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Left {
    /// What arrived at it.
    pub received: LegState,
    /// The stream that was sent to it.
    pub sent: SentStream,
    /// RTP packets that were sent to it.
    pub sent_packets: u64,
}

impl Left {
    /// What is known of two legs once they are relayed to each other no more; each in its place.
    pub fn of_pair(states: [LegState; 2]) -> [Self; 2] {
        let [first, second] = states;
        [(first, second), (second, first)].map(|(here, there)| Self {
            received: here,
            sent: there.rtp.sent.left(),
            sent_packets: there.rtp.forwarded,
        })
    }

    /// What a pair of these two begins with.
    pub fn paired(legs: [Self; 2]) -> [LegState; 2] {
        let [first, second] = legs;
        [(first, second), (second, first)].map(|(here, there)| {
            let mut state = here.received;
            let found = there.received;
            state
                .rtp
                .lead_to(found.rtp.latch.source(), there.sent, there.sent_packets);
            state
                .rtcp
                .lead_to(found.rtcp.latch.source(), SentStream::default(), state.rtcp.forwarded);
            state
        })
    }
}

/// One leg of a relayed pair.
#[derive(Debug)]
pub struct RelayLeg {
    /// Its name.
    pub endpoint: EndpointId,
    /// Where its media arrives.
    pub sockets: Sockets,
    /// What was agreed.
    pub session: Session,
    /// Whether what it is sent is one stream, whoever sends it.
    pub continuity: Continuity,
}

/// Two legs to be joined.
#[derive(Debug)]
pub struct NewRelay {
    /// What arrives at one is sent on from the other.
    pub legs: [RelayLeg; 2],
    /// How relayed calls are treated.
    pub rules: Rules,
    /// What another lane knew of the two legs, if they were in one.
    pub states: Option<[LegState; 2]>,
}

/// What is left of a resident.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removed {
    /// What the softphone recorded, if the resident was one.
    pub recording: Option<Recording>,
}

/// A leg without its agent.
#[derive(Debug)]
pub struct Released {
    /// What is known of it; nothing if it was not up.
    pub left: Option<Left>,
    /// Its sockets, with what waits in them.
    pub sockets: Sockets,
    /// What was said, if the agent was never ready to hear it.
    pub unheard: Option<Box<Unheard>>,
}

/// Why a pair is one no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Another carries its legs from now on, and goes on with the streams that they were sent.
    GoesOn,
    /// The call is over, or this part of it. Far ends are told that the gateway's own streams have ended; a leg that another
    /// carries after all is sent a new one.
    Over,
}

/// The legs of a pair that is one no more.
#[derive(Debug)]
pub struct Parted {
    /// What is known of them.
    pub states: [LegState; 2],
    /// Their sockets, with what came in since.
    pub sockets: [Sockets; 2],
}

/// Names a resident of the worker lane. Never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResidentId(pub(super) u64);

/// Our address and a far end's.
pub(crate) type Path = (IpAddr, IpAddr);

/// What a worker asks of whoever follows the host's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To be told of the way to a far end, now and whenever it changes.
    Follow {
        /// The worker's number.
        worker: usize,
        /// The far end.
        path: Path,
    },
    /// To be told no more.
    Forget {
        /// The worker's number.
        worker: usize,
        /// The far end.
        path: Path,
    },
}

/// AF_XDP sockets for a worker.
pub(crate) struct Express {
    /// One for each receive queue of each interface.
    pub(crate) receivers: Vec<xsk::Receiver>,
    /// The same, to send by.
    pub(crate) senders: Vec<xsk::Sender>,
    /// Where the worker asks for the way to far ends.
    pub(crate) asks: Sender<Ask>,
}

/// In the order they were sent.
#[cfg_attr(
    not(feature = "ebpf"),
    allow(dead_code, reason = "the kernel lane alone gives some of them")
)]
pub(super) enum Command {
    /// Frames come and go by these from now on, too.
    UseExpress(usize, Box<Express>),
    /// What is known of the way to a far end now.
    SetRoute(Path, NextHop),
    AddLeg(ResidentId, Box<NewLeg>, Arc<[LegStats]>),
    SetSession(ResidentId, Box<Session>),
    /// Holds back what the agent of a leg says, or lets it go.
    SetSpeech(ResidentId, Speech),
    /// Tells the agent of a leg what happens to its call.
    Tell(ResidentId, Box<AgentNotice>),
    AddRelay(ResidentId, Box<NewRelay>, Arc<[LegStats]>),
    SetRelaySessions(ResidentId, Box<[Session; 2]>),
    /// Sends copies of a leg's packets from now on.
    Copy(ResidentId, Side, Way, Sender<Copied>),
    /// Stops a pair from taking packets, and answers with what is known of its legs; its sockets stay. `None` if there is
    /// no such pair.
    HandOver(ResidentId, Sender<Option<[LegState; 2]>>),
    /// A pair takes packets again.
    Resume(ResidentId),
    /// Works off what is in a pair's sockets and answers with them and what is known of its legs then; the pair is gone.
    Finish(ResidentId, Parting, Sender<Option<Parted>>),
    /// Ends a leg's agent and answers with what is left of the leg; `None` if there is no such leg.
    Release(ResidentId, Sender<Option<Released>>),
    /// Answered once the ports are free.
    Remove(ResidentId, Sender<Removed>),
    Stop,
    /// Hangs until the other end of the channel is gone, as a worker in a system call would.
    #[cfg(test)]
    Hang(crossbeam_channel::Receiver<()>),
    /// Dies, as a worker with a fault in it would.
    #[cfg(test)]
    Panic,
}

impl Command {
    /// Endpoints that are nobody's if this command is not obeyed.
    pub(super) fn orphans(&self) -> Vec<EndpointId> {
        match self {
            Self::AddLeg(_, leg, _) => vec![leg.endpoint],
            Self::AddRelay(_, pair, _) => pair.legs.iter().map(|leg| leg.endpoint).collect(),
            Self::SetSession(..)
            | Self::SetSpeech(..)
            | Self::SetRelaySessions(..)
            | Self::Tell(..)
            | Self::Copy(..)
            | Self::HandOver(..)
            | Self::Resume(..)
            | Self::Finish(..)
            | Self::Release(..)
            | Self::Remove(..)
            | Self::UseExpress(..)
            | Self::SetRoute(..)
            | Self::Stop => Vec::new(),
            #[cfg(test)]
            Self::Panic | Self::Hang(_) => Vec::new(),
        }
    }
}
