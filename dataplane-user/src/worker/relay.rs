//! A relayed pair of legs: what arrives at one is sent on from the other.
//!
//! Every packet is judged by [`voxlane_common::relay`], as in the kernel lane; this module only moves it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;
use voxlane_common::flow::{Flow, FlowState};
use voxlane_common::relay::{Forward, PacketView, Verdict, decide};

use super::clock::nanoseconds;
use super::command::NewRelay;

use super::io::send_to;
use super::ports::{Kind, Ports};
use super::stats::LegStats;
use crate::flows::{self, Leg, ipv4};
use crate::media_plane::{EndpointId, Session};

/// The sockets are new, and so are the flows: there is no earlier call to be told from.
const GENERATION: u32 = 1;

/// One of the two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// What arrives at one leg, by what it is.
#[derive(Default)]
struct Half {
    flow: Flow,
    state: FlowState,
}

/// A pair.
pub(super) struct RelayPair {
    endpoints: [EndpointId; 2],
    ports: [Ports; 2],
    rtp: [Half; 2],
    rtcp: [Half; 2],
    sessions: [Session; 2],
    epoch: u32,
    stats: Arc<[LegStats]>,
}

impl RelayPair {
    /// A pair that relays at once.
    pub(super) fn new(pair: NewRelay, stats: Arc<[LegStats]>) -> io::Result<Self> {
        let [a, b] = pair.legs;
        let mut pair = Self {
            endpoints: [a.endpoint, b.endpoint],
            ports: [Ports::new(a.sockets)?, Ports::new(b.sockets)?],
            rtp: Default::default(),
            rtcp: Default::default(),
            sessions: [a.session, b.session],
            epoch: 0,
            stats,
        };
        pair.program();
        Ok(pair)
    }

    /// The endpoints of its legs.
    pub(super) fn endpoints(&self) -> [EndpointId; 2] {
        self.endpoints
    }

    /// Changes what was agreed. If a leg has moved, the latches open again.
    pub(super) fn set_sessions(&mut self, sessions: [Session; 2]) {
        let addresses = |sessions: &[Session; 2]| {
            let [a, b] = sessions;
            [a, b].map(|session| (session.remote_rtp, session.remote_rtcp))
        };
        if addresses(&sessions) != addresses(&self.sessions) {
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.sessions = sessions;
        self.program();
    }

    fn program(&mut self) {
        let [a, b] = &self.ports;
        let [session_a, session_b] = &self.sessions;
        let legs = [(a, session_a), (b, session_b)].map(|(ports, session)| Leg {
            local_rtp: ports.local_rtp(),
            session,
        });
        let specs = flows::of_pair(legs, GENERATION, self.epoch);
        for (index, specs) in specs.iter().enumerate() {
            self.rtp[index].flow = Flow::new(&specs.rtp);
            self.rtcp[index].flow = Flow::new(&specs.rtcp);
        }
    }

    /// The sockets of both legs.
    pub(super) fn ports_mut(&mut self) -> &mut [Ports; 2] {
        &mut self.ports
    }

    /// The socket of one leg.
    pub(super) fn ports(&self, side: Side) -> &Ports {
        &self.ports[side.index()]
    }

    /// Handles one datagram that arrived at `side`.
    pub(super) fn on_datagram(&mut self, side: Side, kind: Kind, datagram: &mut [u8], from: SocketAddr, now: Duration) {
        let (here, there) = (side.index(), side.other().index());
        self.stats[here].on_received();
        let rtp_owner = self.rtp[here].state.owner_beside(&self.rtcp[here].flow);
        let halves = match kind {
            Kind::Rtp => &mut self.rtp,
            Kind::Rtcp => &mut self.rtcp,
        };
        let source = TransportAddress::new(ipv4(from));
        if source.is_none() {
            halves[here].state.on_dropped(DropReason::WrongSource);
        } else {
            let view = PacketView::new(source, datagram).beside(rtp_owner);
            let Half { flow, state } = &mut halves[here];
            let decision = decide(flow, state, &view, nanoseconds(now));
            if !decision.found.is_none() {
                let flow = *flow;
                halves[there].state.peer_found(&flow, decision.found);
            }
            let state = &mut halves[here].state;
            match decision.verdict {
                // Counted by the decision, or nobody's.
                Verdict::Drop(_) | Verdict::NoFlow => {}
                Verdict::Forward(forward) => match send(&self.ports[there], kind, &forward, datagram) {
                    Ok(()) => state.on_forwarded(),
                    Err(reason) => state.on_dropped(reason),
                },
            }
        }
        self.publish(side);
    }

    fn publish(&self, side: Side) {
        let state = &self.rtp[side.index()].state;
        self.stats[side.index()].set_stream(&state.account, state.latch.source(), state.dropped_in_all());
        self.stats[side.other().index()].set_sent(state.forwarded);
    }
}

fn send(ports: &Ports, kind: Kind, forward: &Forward, datagram: &mut [u8]) -> Result<(), DropReason> {
    let destination = forward.destination.get().ok_or(DropReason::NoDestination)?;
    // The decision forwards nothing shorter than a header.
    let second_byte = datagram.get_mut(1).ok_or(DropReason::TooShort)?;
    *second_byte = forward.second_byte;
    if send_to(ports.socket(kind), datagram, destination.into()) {
        Ok(())
    } else {
        Err(DropReason::NoRoute)
    }
}
