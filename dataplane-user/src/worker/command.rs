//! What the control plane tells a worker.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::io::Sockets;
use super::stats::LegStats;
use crate::media_plane::{AgentSpec, EndpointId, Recording, Session};

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
}

/// Two legs to be joined.
#[derive(Debug)]
pub struct NewRelay {
    /// What arrives at one is sent on from the other.
    pub legs: [RelayLeg; 2],
}

/// What is left of a resident.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removed {
    /// What the softphone recorded, if the resident was one.
    pub recording: Option<Recording>,
}

/// Names a resident of the worker lane. Never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResidentId(pub(super) u64);

/// In the order they were sent.
pub(super) enum Command {
    AddLeg(ResidentId, Box<NewLeg>, Arc<[LegStats]>),
    SetSession(ResidentId, Box<Session>),
    AddRelay(ResidentId, Box<NewRelay>, Arc<[LegStats]>),
    SetRelaySessions(ResidentId, Box<[Session; 2]>),
    /// Answered once the ports are free.
    Remove(ResidentId, Sender<Removed>),
    Stop,
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
            Self::SetSession(..) | Self::SetRelaySessions(..) | Self::Remove(..) | Self::Stop => Vec::new(),
            #[cfg(test)]
            Self::Panic => Vec::new(),
        }
    }
}
