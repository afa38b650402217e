//! The data plane: the real [`MediaPlane`].
//!
//! It decides nothing about packets. It keeps the book of open endpoints, and moves each between those who carry it:
//! - `ports`: the pairs of ports an endpoint may have;
//! - `endpoints`: the book, and what a row of `voxlane flows` says of an endpoint;
//! - `kernel`: the kernel lane, if there is one;
//! - [`crate::worker`]: the worker lane.
//!
//! An endpoint that nobody carries yet holds its ports by sockets: early packets are not answered by ICMP, and no other
//! process can take the ports. When the kernel lane takes over, the sockets are closed.

mod endpoints;
mod kernel;
mod ports;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use voxlane_common::splice::Continuity;

use self::endpoints::{Carrier, Endpoints, Row};
use self::kernel::{Kernel, KernelLeg};
use self::ports::PortPool;
use crate::flows::LegState;
pub use crate::flows::{Policing, Rules};
use crate::lane::{self, Lane, Reason};
use crate::media_plane::{
    AgentSpec, AttachPolicy, Endpoint, EndpointId, FlowReport, LegReport, MediaError, MediaEvent, MediaPlane,
    MirroredFrame, PlaneStatus, Session, Unallocated,
};
use crate::worker::{Handle, Left, NewLeg, NewRelay, RelayLeg, Sockets, Workers};

/// What the data plane has to work with.
#[derive(Clone, Debug)]
pub struct PlaneConfig {
    /// Local addresses for media; empty: any that the host has.
    pub addresses: Vec<IpAddr>,
    /// First port for media.
    pub first_port: u16,
    /// Last port for media, RTCP included.
    pub last_port: u16,
    /// Packet time, milliseconds.
    pub ptime: u8,
    /// One worker for each of these cores; `None`: one, on the last core.
    pub worker_cores: Option<Vec<usize>>,
    /// Whether and how the kernel lane is used.
    pub kernel: KernelChoice,
    /// What happens to packets to ports of the range that are nobody's (kernel lane only).
    pub unallocated: Unallocated,
    /// How relayed calls are treated; the TOS byte is that of all media that is sent.
    pub rules: Rules,
    /// Where the kernel lane is pinned, so that it outlives this process; `None`: it ends with it.
    pub pin: Option<PathBuf>,
}

/// Whether and how the kernel lane is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelChoice {
    /// Not at all.
    Off,
    /// Where the system lets it.
    On {
        /// How the program may be attached.
        policy: AttachPolicy,
        /// Where; empty: the interfaces that hold [`PlaneConfig::addresses`], or all but loopback if that is empty.
        interfaces: Vec<String>,
    },
}

/// The data plane. Dropping it ends every call's media.
pub struct Plane {
    addresses: Vec<IpAddr>,
    ports: (u16, u16),
    rules: Rules,
    kernel: Kernel,
    workers: Workers,
    state: Arc<Mutex<State>>,
}

struct State {
    pool: PortPool,
    endpoints: Endpoints,
}

impl Plane {
    /// Starts the workers and, if it is wanted and possible, the kernel lane. `events` should be unbounded.
    ///
    /// # Errors
    /// If an address is not one of this host, or the system gives the workers no threads. A kernel lane that cannot be had is no error: see
    /// [`PlaneStatus::unavailable`].
    pub fn start(config: PlaneConfig, events: Sender<MediaEvent>) -> Result<Arc<Self>, MediaError> {
        for address in &config.addresses {
            usable(*address)?;
        }
        let workers = Workers::start(config.worker_cores.as_deref(), config.ptime, events.clone())
            .map_err(|source| io("start the media workers", source))?;
        let state = Arc::new(Mutex::new(State {
            pool: PortPool::new(config.first_port, config.last_port, &config.addresses),
            endpoints: Endpoints::default(),
        }));
        let book = Arc::clone(&state);
        let endpoint_at = move |local| lock(&book).endpoints.at(local);
        Ok(Arc::new(Self {
            kernel: Kernel::start(&config, endpoint_at, events),
            workers,
            state,
            rules: config.rules,
            addresses: config.addresses,
            ports: (config.first_port, config.last_port),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Joins two endpoints anew, in the best lane they can have. Two that are joined already move from lane to lane without
    /// losing a packet.
    fn join(&self, state: &mut State, a: EndpointId, b: EndpointId) -> Result<[Lane; 2], MediaError> {
        let sessions = [state.endpoints.session(a)?.clone(), state.endpoints.session(b)?.clone()];
        let [session_a, session_b] = &sessions;
        if session_a.codec != session_b.codec {
            return Err(MediaError::CodecMismatch(session_a.codec, session_b.codec));
        }
        let locals = [state.endpoints.get(a)?.local, state.endpoints.get(b)?.local];
        let addresses = [[locals[0], session_a.remote_rtp], [locals[1], session_b.remote_rtp]];
        let requested = state.endpoints.get(a)?.requested;
        let placed = lane::for_relay(addresses, self.kernel.unavailable(), requested);
        let result = match placed {
            Ok(()) => self.join_in_kernel(state, [a, b], &sessions)?,
            Err(reason) => Err(reason),
        };
        match result {
            Ok(()) => Ok([Lane::Kernel; 2]),
            Err(reason) => {
                self.join_in_worker(state, [a, b], sessions, reason)?;
                Ok([Lane::Worker; 2])
            }
        }
    }

    /// Gives a pair to the kernel lane; the inner error is why it does not take it, and then nothing has changed.
    fn join_in_kernel(
        &self,
        state: &mut State,
        ids: [EndpointId; 2],
        sessions: &[Session; 2],
    ) -> Result<Result<(), Reason>, MediaError> {
        let [a, b] = ids;
        let locals = [state.endpoints.get(a)?.local, state.endpoints.get(b)?.local];
        let program = |state: &State, states| {
            let leg = |index: usize| {
                Ok(KernelLeg {
                    local: locals[index],
                    session: &sessions[index],
                    continuity: state.endpoints.get(ids[index])?.continuity,
                })
            };
            Ok::<_, MediaError>(self.kernel.program([leg(0)?, leg(1)?], states))
        };
        if state.endpoints.pair_of(a, b).is_some() {
            return self.move_to_kernel(state, ids, |state, states| program(state, Some(states)));
        }
        // Whether it would: an agent that is to leave is not sent away for nothing.
        if let Err(reason) = self
            .kernel
            .reaches([(locals[0], &sessions[0]), (locals[1], &sessions[1])])
        {
            return Ok(Err(reason));
        }
        let states = self.take_over(state, ids)?;
        let programmed = program(state, states)?;
        if programmed.is_ok() {
            for (endpoint, local) in ids.into_iter().zip(locals) {
                // The sockets that held its ports are closed by this.
                state.endpoints.get_mut(endpoint)?.carrier = Carrier::Kernel;
                tracing::debug!(?endpoint, %local, "relayed in the kernel lane");
            }
        }
        Ok(programmed)
    }

    /// Moves a pair from its worker to the kernel lane: the worker lets go of the packets, the kernel takes them, the
    /// worker sends on what had come in between.
    fn move_to_kernel(
        &self,
        state: &mut State,
        ids: [EndpointId; 2],
        program: impl FnOnce(&State, [LegState; 2]) -> Result<Result<(), Reason>, MediaError>,
    ) -> Result<Result<(), Reason>, MediaError> {
        let [a, b] = ids;
        let Some((handle, side_of_a)) = state.endpoints.pair_of(a, b) else {
            return Ok(Err(Reason::FlowTable));
        };
        let in_order = |states: [LegState; 2]| match (side_of_a, states) {
            (0, states) => states,
            (_, [first, second]) => [second, first],
        };
        let before = in_order(self.workers.hand_over(handle).unwrap_or_default());
        let programmed = program(state, before)?;
        let Some(handle) = programmed.ok().and_then(|()| state.endpoints.take_pair(a)) else {
            if let Some((handle, _)) = state.endpoints.pair_of(a, b) {
                self.workers.resume(handle);
            }
            return Ok(programmed);
        };
        let after = self.workers.finish(handle).map(in_order).unwrap_or(before);
        for (endpoint, (before, after)) in ids.into_iter().zip(before.iter().zip(&after)) {
            let row = state.endpoints.get_mut(endpoint)?;
            row.carrier = Carrier::Kernel;
            self.kernel.add_late(row.local, before, after);
            tracing::debug!(?endpoint, local = %row.local, "moved to the kernel lane");
        }
        Ok(Ok(()))
    }

    /// Takes two endpoints from whoever carries each for itself; what they leave goes on in a pair.
    fn take_over(&self, state: &mut State, ids: [EndpointId; 2]) -> Result<Option<[LegState; 2]>, MediaError> {
        let left = [
            self.take_from_worker(state, ids[0])?,
            self.take_from_worker(state, ids[1])?,
        ];
        if left.iter().all(Option::is_none) {
            return Ok(None);
        }
        for (endpoint, left) in ids.into_iter().zip(&left) {
            if left.is_some_and(|left| left.sent.has_begun()) {
                state.endpoints.get_mut(endpoint)?.continuity = Continuity::Spliced;
            }
        }
        let [a, b] = left.map(Option::unwrap_or_default);
        Ok(Some([joined(&a, &b), joined(&b, &a)]))
    }

    fn join_in_worker(
        &self,
        state: &mut State,
        ids: [EndpointId; 2],
        sessions: [Session; 2],
        reason: Reason,
    ) -> Result<(), MediaError> {
        let [a, b] = ids;
        if let Some((handle, side_of_a)) = state.endpoints.pair_of(a, b) {
            let [session_a, session_b] = sessions;
            let in_order = match side_of_a {
                0 => [session_a, session_b],
                _ => [session_b, session_a],
            };
            self.workers.set_relay_sessions(handle, in_order);
            state.endpoints.set_reason(ids, reason);
            return Ok(());
        }
        let locals = [state.endpoints.get(a)?.local, state.endpoints.get(b)?.local];
        let (sockets, states) = if state.endpoints.are_in_kernel(a, b) {
            // Bound before the kernel lane lets go, so that what comes in between waits for the worker.
            let sockets = [self.bind(locals[0])?, self.bind(locals[1])?];
            (sockets, self.kernel.hand_back(locals[0]))
        } else {
            let states = self.take_over(state, ids)?;
            ([self.take_sockets(state, a)?, self.take_sockets(state, b)?], states)
        };
        let legs = |state: &State| {
            let [sockets_a, sockets_b] = sockets;
            let [session_a, session_b] = sessions;
            let leg = |endpoint, sockets, session| {
                Ok(RelayLeg {
                    endpoint,
                    sockets,
                    session,
                    continuity: state.endpoints.get(endpoint)?.continuity,
                })
            };
            Ok::<_, MediaError>([leg(a, sockets_a, session_a)?, leg(b, sockets_b, session_b)?])
        };
        let handle = self.workers.add_relay(NewRelay {
            legs: legs(state)?,
            rules: self.rules,
            states,
        });
        state.endpoints.insert_pair(ids, handle, reason)
    }

    /// The sockets of an endpoint that no worker carries any more, and which the kernel lane leaves alone.
    fn take_sockets(&self, state: &mut State, endpoint: EndpointId) -> Result<Sockets, MediaError> {
        let row = state.endpoints.get_mut(endpoint)?;
        let sockets = match std::mem::replace(&mut row.carrier, Carrier::Nobody(None)) {
            Carrier::Nobody(Some(sockets)) => sockets,
            Carrier::Nobody(None) | Carrier::Agent { .. } | Carrier::Pair { .. } | Carrier::Kernel => {
                self.bind(row.local)?
            }
        };
        self.kernel.reserve(row.local);
        Ok(sockets)
    }

    /// Ends what a worker carries for this endpoint; what it leaves. The ports are free afterwards.
    fn take_from_worker(&self, state: &mut State, endpoint: EndpointId) -> Result<Option<Left>, MediaError> {
        let carrier = &state.endpoints.get(endpoint)?.carrier;
        let handle = carrier.resident().and_then(|id| state.endpoints.take_handle(id));
        Ok(handle.and_then(|handle| self.workers.remove(handle).left))
    }

    /// Takes an endpoint out of the pair it is in, if it is in one, for an agent: what the pair leaves of it. The other
    /// endpoint's ports are held until it is joined anew.
    fn leave_pair(&self, state: &mut State, endpoint: EndpointId) -> Result<Option<Left>, MediaError> {
        let row = state.endpoints.get(endpoint)?;
        let (local, peer) = (row.local, row.peer);
        let states = match (&row.carrier, peer) {
            (Carrier::Kernel, Some(peer)) if state.endpoints.are_in_kernel(endpoint, peer) => {
                let peer_local = state.endpoints.get(peer)?.local;
                let (here, there) = (self.bind(local)?, self.bind(peer_local)?);
                let states = self.kernel.hand_back(local);
                state.endpoints.get_mut(endpoint)?.carrier = Carrier::Nobody(Some(here));
                state.endpoints.get_mut(peer)?.carrier = Carrier::Nobody(Some(there));
                states
            }
            (Carrier::Pair { side, .. }, Some(peer)) => {
                let side = *side;
                let Some(handle) = state.endpoints.take_pair(endpoint) else {
                    return Ok(None);
                };
                let states = self.end_pair(handle);
                let peer_local = state.endpoints.get(peer)?.local;
                state.endpoints.get_mut(endpoint)?.carrier = Carrier::Nobody(Some(self.bind(local)?));
                state.endpoints.get_mut(peer)?.carrier = Carrier::Nobody(Some(self.bind(peer_local)?));
                states.map(|[first, second]| match side {
                    0 => [first, second],
                    _ => [second, first],
                })
            }
            _ => return Ok(None),
        };
        Ok(states.map(|[here, there]| Left {
            rtp_latch: here.rtp.latch,
            rtcp_latch: here.rtcp.latch,
            sent: there.rtp.sent,
        }))
    }

    fn end_pair(&self, handle: Handle) -> Option<[LegState; 2]> {
        self.workers.finish(handle)
    }

    fn bind(&self, rtp: SocketAddr) -> Result<Sockets, MediaError> {
        Sockets::bind(rtp, self.rules.tos).map_err(|source| io(format!("bind {rtp} and the port above it"), source))
    }

    fn report(&self, endpoints: &Endpoints, id: EndpointId, row: &Row) -> Option<FlowReport> {
        match &row.carrier {
            Carrier::Nobody(_) => None,
            Carrier::Agent { stats, .. } => Some(row.worker_report(id, &stats[0], None, Reason::Agent)),
            Carrier::Pair {
                stats,
                side,
                peer,
                reason,
                ..
            } => {
                let peer = endpoints.session(*peer).ok().map(|session| session.remote_rtp);
                Some(row.worker_report(id, &stats[*side], peer, *reason))
            }
            Carrier::Kernel => self.kernel.read(row.local).map(|seen| row.kernel_report(id, seen)),
        }
    }
}

impl MediaPlane for Plane {
    fn open(&self, local: IpAddr) -> Result<Endpoint, MediaError> {
        if local.is_unspecified() || !(self.addresses.is_empty() || self.addresses.contains(&local)) {
            return Err(MediaError::NotLocal(local));
        }
        let mut state = self.state();
        let claim = |rtp| {
            if self.kernel.holds_orphan(rtp) {
                return Err(std::io::ErrorKind::AddrInUse.into());
            }
            Sockets::bind(rtp, self.rules.tos)
        };
        let (rtp, sockets) = state.pool.take(local, claim).map_err(|refusal| match refusal {
            ports::Refusal::Exhausted => MediaError::NoPort {
                address: local,
                first: self.ports.0,
                last: self.ports.1,
            },
            ports::Refusal::Address(source) => io(format!("use {local} for media"), source),
        })?;
        self.kernel.reserve(rtp);
        Ok(Endpoint {
            id: state.endpoints.open(rtp, sockets),
            rtp,
        })
    }

    fn program(&self, endpoint: EndpointId, session: Session) -> Result<(), MediaError> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.endpoints.get_mut(endpoint)?.session = Some(session.clone());
        match &state.endpoints.get(endpoint)?.carrier {
            Carrier::Nobody(_) => Ok(()),
            Carrier::Agent { resident, .. } => {
                if let Some(handle) = state.endpoints.handle(*resident) {
                    self.workers.set_session(handle, session);
                }
                Ok(())
            }
            Carrier::Kernel | Carrier::Pair { .. } => match state.endpoints.get(endpoint)?.peer {
                // A peer that has left takes the media with it.
                Some(peer) if state.endpoints.session(peer).is_ok() => {
                    self.join(state, endpoint, peer).map(|_lanes| ())
                }
                Some(_) | None => Ok(()),
            },
        }
    }

    fn relay(&self, a: EndpointId, b: EndpointId) -> Result<[Lane; 2], MediaError> {
        let mut state = self.state();
        let lanes = self.join(&mut state, a, b)?;
        state.endpoints.pair_up(a, b)?;
        Ok(lanes)
    }

    fn attach(&self, endpoint: EndpointId, agent: AgentSpec) -> Result<(), MediaError> {
        crate::agent::prepare(&agent);
        let mut state = self.state();
        let session = state.endpoints.get(endpoint)?.session.clone();
        let left = match self.leave_pair(&mut state, endpoint)? {
            Some(left) => Some(left),
            None => self.take_from_worker(&mut state, endpoint)?,
        };
        let sockets = self.take_sockets(&mut state, endpoint)?;
        let handle = self.workers.add_leg(NewLeg {
            endpoint,
            sockets,
            agent,
            session,
            left,
        });
        state.endpoints.insert_agent(endpoint, handle)
    }

    fn prefer(&self, endpoint: EndpointId, lane: Lane) -> Result<Lane, MediaError> {
        let mut guard = self.state();
        let state = &mut *guard;
        let peer = state.endpoints.get(endpoint)?.peer;
        let peer = peer.ok_or(MediaError::NotRelayed(endpoint))?;
        for endpoint in [endpoint, peer] {
            state.endpoints.get_mut(endpoint)?.requested = Some(lane);
        }
        self.join(state, endpoint, peer).map(|[lane, _]| lane)
    }

    fn mirror(&self, endpoint: EndpointId) -> Result<Receiver<MirroredFrame>, MediaError> {
        let state = self.state();
        let row = state.endpoints.get(endpoint)?;
        let refused = |reason: String| MediaError::NotInKernel {
            what: "capture its packets",
            reason,
        };
        match &row.carrier {
            Carrier::Kernel => self.kernel.mirror(row.local).map_err(refused),
            Carrier::Agent { .. } => Err(refused("an agent hears it".to_owned())),
            Carrier::Pair { reason, .. } => Err(refused(format!("{reason:?}"))),
            Carrier::Nobody(_) => Err(refused("it has no media yet".to_owned())),
        }
    }

    fn close(&self, endpoint: EndpointId) -> Option<LegReport> {
        let mut state = self.state();
        let carrier = &state.endpoints.get(endpoint).ok()?.carrier;
        let handle = carrier.resident().and_then(|id| state.endpoints.take_handle(id));
        // The worker is not waited for while others wait for the book.
        drop(state);
        let removed = handle.map(|handle| self.workers.remove(handle)).unwrap_or_default();

        let mut state = self.state();
        let row = state.endpoints.remove(endpoint)?;
        let flow = self.report(&state.endpoints, endpoint, &row);
        match row.carrier {
            Carrier::Kernel => {
                self.kernel.remove(row.local);
            }
            // Held sockets are closed before the pair can be taken again.
            Carrier::Nobody(sockets) => drop(sockets),
            Carrier::Agent { .. } | Carrier::Pair { .. } => {}
        }
        self.kernel.release(row.local);
        state.pool.give_back(row.local);
        Some(LegReport {
            flow: flow?,
            recording: removed.recording,
        })
    }

    fn flow(&self, endpoint: EndpointId) -> Option<FlowReport> {
        let state = self.state();
        let row = state.endpoints.get(endpoint).ok()?;
        self.report(&state.endpoints, endpoint, row)
    }

    fn flows(&self) -> Vec<FlowReport> {
        let state = self.state();
        let rows = state.endpoints.iter();
        rows.filter_map(|(id, row)| self.report(&state.endpoints, id, row))
            .collect()
    }

    fn status(&self) -> PlaneStatus {
        let state = self.state();
        PlaneStatus {
            interfaces: self.kernel.interfaces().to_vec(),
            unavailable: self.kernel.unavailable(),
            workers: self.workers.cores(),
            ports_in_use: state.pool.in_use(),
            ports_total: state.pool.total(),
            kernel: self.kernel.status(),
        }
    }
}

/// Removes everything that a gateway has pinned in this directory of the BPF file system; returns what was there.
///
/// # Errors
/// In words, if something could not be removed.
pub fn detach(pin: &Path) -> Result<Vec<String>, String> {
    kernel::detach(pin)
}

/// Whether media can be carried at this address.
fn usable(address: IpAddr) -> Result<(), MediaError> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(()),
        Err(source) => Err(io(format!("use {address} for media"), source)),
    }
}

/// What a leg, now relayed to another, knows of itself: who owns it, and the stream that is sent to the other.
fn joined(here: &Left, there: &Left) -> LegState {
    let mut state = LegState::default();
    state.rtp.take_up(here.rtp_latch, there.rtp_latch.source(), there.sent);
    state
        .rtcp
        .take_up(here.rtcp_latch, there.rtcp_latch.source(), Default::default());
    state
}

/// The book stays consistent even if a holder of the lock panicked: each change is one insertion or removal.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io(what: impl Into<String>, source: std::io::Error) -> MediaError {
    MediaError::Io {
        what: what.into(),
        source,
    }
}
