//! The book of open endpoints.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use voxlane_common::drops::DropReason;
use voxlane_common::splice::Continuity;

use super::kernel::Seen;
use crate::lane::{Lane, Reason};
use crate::media_plane::{EndpointId, FlowReport, MediaError, Session};
use crate::quality::{self, Way};
use crate::worker::{Handle, Left, LegStats, Sockets, Unheard};

/// Names what a worker carries, in this book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResidentId(u64);

/// Who carries an endpoint.
pub(super) enum Carrier {
    /// Nobody yet, or nobody any more. The sockets that hold its ports, unless they are on their way to someone.
    Nobody(Option<Sockets>),
    /// A worker, with an agent.
    Agent {
        resident: ResidentId,
        stats: Arc<[LegStats]>,
    },
    /// A worker, as one side of a pair. When the other side was closed the counts stay.
    Pair {
        resident: ResidentId,
        stats: Arc<[LegStats]>,
        side: usize,
        peer: EndpointId,
        reason: Reason,
    },
    /// The kernel lane.
    Kernel,
}

impl Carrier {
    /// What a worker carries of it.
    pub(super) fn resident(&self) -> Option<ResidentId> {
        match self {
            Self::Agent { resident, .. } | Self::Pair { resident, .. } => Some(*resident),
            Self::Nobody(_) | Self::Kernel => None,
        }
    }
}

/// An open endpoint.
pub(super) struct Row {
    /// Its RTP address.
    pub(super) local: SocketAddr,
    /// What was agreed, once it is known.
    pub(super) session: Option<Session>,
    /// The endpoint it is relayed to.
    pub(super) peer: Option<EndpointId>,
    /// The lane that was asked for, if one was.
    pub(super) requested: Option<Lane>,
    /// Whether what it is sent goes on with a stream it has been sent before.
    pub(super) continuity: Continuity,
    pub(super) carrier: Carrier,
    /// Where its far end is, as its carrier, or who was the last, was told.
    pub(super) told: Option<[SocketAddr; 2]>,
    /// What is known of it by nobody but this book: whoever carries it next goes on from there.
    pub(super) left: Option<Left>,
    /// What its agent was not ready to hear, for the next.
    pub(super) unheard: Option<Box<Unheard>>,
    /// What was to be said of it when it was somebody's.
    pub(super) last: Option<FlowReport>,
}

impl Row {
    /// The side of a worker's pair that it is, if it is one.
    pub(super) fn side(&self) -> Option<usize> {
        match self.carrier {
            Carrier::Pair { side, .. } => Some(side),
            Carrier::Nobody(_) | Carrier::Agent { .. } | Carrier::Kernel => None,
        }
    }

    /// Whether its far end has been moved by signalling since its carrier was told.
    pub(super) fn has_moved(&self) -> bool {
        let now = self.session.as_ref().map(Session::remote);
        self.told.is_some() && now.is_some() && self.told != now
    }

    /// Packet time of the leg.
    fn ptime(&self) -> Duration {
        let ptime = self.session.as_ref().map_or(20, |session| session.ptime);
        Duration::from_millis(ptime.into())
    }

    pub(super) fn worker_report(
        &self,
        endpoint: EndpointId,
        stats: &LegStats,
        forwarded_to: Option<SocketAddr>,
        reason: Reason,
        way: Way,
    ) -> FlowReport {
        let received = stats.stream();
        let round_trip = stats.round_trip();
        FlowReport {
            quality: quality::of_leg(&received, round_trip, stats.far(), stats.buffer(), self.ptime(), way),
            endpoint,
            local: self.local,
            forwarded_to,
            lane: Lane::Worker,
            reason: Some(reason),
            received,
            sent_packets: stats.sent_packets(),
            userspace_packets: stats.userspace_packets(),
            drops: by_name(stats.drops())
                .into_iter()
                .chain(
                    stats
                        .refusals()
                        .map(|(reason, count)| (reason.name().to_owned(), count)),
                )
                .collect(),
            digits: stats.digits(),
            // A worker sends on at once.
            paced: false,
            rtt_ms: round_trip.map(milliseconds),
            srtp: self
                .session
                .as_ref()
                .and_then(|session| Some(session.srtp.as_ref()?.receive.suite())),
        }
    }

    pub(super) fn kernel_report(&self, endpoint: EndpointId, seen: Seen) -> FlowReport {
        FlowReport {
            quality: quality::of_leg(
                &seen.received,
                seen.round_trip,
                seen.far,
                None,
                self.ptime(),
                Way::Relayed,
            ),
            endpoint,
            local: self.local,
            forwarded_to: seen.forwarded_to,
            lane: Lane::Kernel,
            reason: None,
            received: seen.received,
            sent_packets: seen.sent_packets,
            // From before: no socket is open on its ports.
            userspace_packets: seen.datagrams,
            drops: by_name(seen.drops),
            digits: seen.digits,
            paced: seen.paced,
            rtt_ms: seen.round_trip.map(milliseconds),
            srtp: None,
        }
    }
}

fn by_name(drops: Vec<(DropReason, u64)>) -> Vec<(String, u64)> {
    drops
        .into_iter()
        .map(|(reason, count)| (reason.name().to_owned(), count))
        .collect()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Every open endpoint, and what the workers carry for them.
#[derive(Default)]
pub(super) struct Endpoints {
    rows: BTreeMap<EndpointId, Row>,
    residents: HashMap<ResidentId, Handle>,
    opened: u64,
    placed: u64,
}

impl Endpoints {
    pub(super) fn open(&mut self, local: SocketAddr, held: Sockets) -> EndpointId {
        self.opened += 1;
        let id = EndpointId(self.opened);
        let row = Row {
            local,
            session: None,
            peer: None,
            requested: None,
            continuity: Continuity::Transparent,
            carrier: Carrier::Nobody(Some(held)),
            told: None,
            left: None,
            unheard: None,
            last: None,
        };
        self.rows.insert(id, row);
        id
    }

    pub(super) fn get(&self, endpoint: EndpointId) -> Result<&Row, MediaError> {
        self.rows.get(&endpoint).ok_or(MediaError::Closed(endpoint))
    }

    pub(super) fn get_mut(&mut self, endpoint: EndpointId) -> Result<&mut Row, MediaError> {
        self.rows.get_mut(&endpoint).ok_or(MediaError::Closed(endpoint))
    }

    pub(super) fn session(&self, endpoint: EndpointId) -> Result<&Session, MediaError> {
        let session = self.get(endpoint)?.session.as_ref();
        session.ok_or(MediaError::NoSession(endpoint))
    }

    pub(super) fn remove(&mut self, endpoint: EndpointId) -> Option<Row> {
        self.rows.remove(&endpoint)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EndpointId, &Row)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// A worker has got this endpoint, with an agent.
    pub(super) fn insert_agent(&mut self, endpoint: EndpointId, handle: Handle) -> Result<(), MediaError> {
        let stats = Arc::clone(handle.stats());
        let resident = self.place(handle);
        self.part(endpoint)?;
        self.get_mut(endpoint)?.carrier = Carrier::Agent { resident, stats };
        Ok(())
    }

    /// These two are relayed to each other, and to nobody else any more.
    pub(super) fn pair_up(&mut self, a: EndpointId, b: EndpointId) -> Result<(), MediaError> {
        for (endpoint, peer) in [(a, b), (b, a)] {
            if self.get(endpoint)?.peer != Some(peer) {
                self.part(endpoint)?;
            }
        }
        self.get_mut(a)?.peer = Some(b);
        self.get_mut(b)?.peer = Some(a);
        Ok(())
    }

    /// Takes an endpoint from its peer, in the rows of both.
    fn part(&mut self, endpoint: EndpointId) -> Result<(), MediaError> {
        let peer = self.get_mut(endpoint)?.peer.take();
        if let Some(row) = peer.and_then(|peer| self.rows.get_mut(&peer)) {
            row.peer = None;
        }
        Ok(())
    }

    /// A worker has got these two, as a pair.
    pub(super) fn insert_pair(
        &mut self,
        legs: [EndpointId; 2],
        handle: Handle,
        reason: Reason,
    ) -> Result<(), MediaError> {
        let stats = Arc::clone(handle.stats());
        let resident = self.place(handle);
        let [a, b] = legs;
        for (side, (endpoint, peer)) in [(a, b), (b, a)].into_iter().enumerate() {
            self.get_mut(endpoint)?.carrier = Carrier::Pair {
                resident,
                stats: Arc::clone(&stats),
                side,
                peer,
                reason,
            };
        }
        Ok(())
    }

    /// The pair these two are, if a worker carries it, and the side of `a` in it.
    pub(super) fn pair_of(&self, a: EndpointId, b: EndpointId) -> Option<(&Handle, usize)> {
        match self.rows.get(&a)?.carrier {
            Carrier::Pair {
                resident, peer, side, ..
            } if peer == b => self.handle(resident).map(|handle| (handle, side)),
            Carrier::Nobody(_) | Carrier::Agent { .. } | Carrier::Pair { .. } | Carrier::Kernel => None,
        }
    }

    /// Whether the kernel lane carries both, as a pair.
    pub(super) fn are_in_kernel(&self, a: EndpointId, b: EndpointId) -> bool {
        let in_kernel = |id| {
            self.rows
                .get(&id)
                .is_some_and(|row| matches!(row.carrier, Carrier::Kernel))
        };
        in_kernel(a) && in_kernel(b) && self.rows.get(&a).is_some_and(|row| row.peer == Some(b))
    }

    /// Why a pair is in the worker lane, now.
    pub(super) fn set_reason(&mut self, legs: [EndpointId; 2], why: Reason) {
        for endpoint in legs {
            if let Some(Carrier::Pair { reason, .. }) = self.rows.get_mut(&endpoint).map(|row| &mut row.carrier) {
                *reason = why;
            }
        }
    }

    /// The endpoint whose RTP arrives here.
    pub(super) fn at(&self, local: SocketAddr) -> Option<EndpointId> {
        let mut rows = self.rows.iter();
        rows.find(|(_, row)| row.local == local).map(|(id, _)| *id)
    }

    /// The worker's leg of an endpoint that has an agent.
    pub(super) fn agent(&self, endpoint: EndpointId) -> Result<Option<&Handle>, MediaError> {
        Ok(match self.get(endpoint)?.carrier {
            Carrier::Agent { resident, .. } => self.handle(resident),
            Carrier::Nobody(_) | Carrier::Pair { .. } | Carrier::Kernel => None,
        })
    }

    /// What a worker carries, if it still does.
    pub(super) fn handle(&self, resident: ResidentId) -> Option<&Handle> {
        self.residents.get(&resident)
    }

    /// The same, to end it.
    pub(super) fn take_handle(&mut self, resident: ResidentId) -> Option<Handle> {
        self.residents.remove(&resident)
    }

    fn place(&mut self, handle: Handle) -> ResidentId {
        self.placed += 1;
        let id = ResidentId(self.placed);
        self.residents.insert(id, handle);
        id
    }
}
