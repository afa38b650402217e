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
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use self::endpoints::{Carrier, Endpoints, Row};
use self::kernel::Kernel;
use self::ports::PortPool;
use crate::lane::{self, Lane, Reason};
use crate::media_plane::{
    AgentSpec, AttachPolicy, Endpoint, EndpointId, FlowReport, LegReport, MediaError, MediaEvent, MediaPlane,
    PlaneStatus, Session, Unallocated,
};
use crate::worker::{NewLeg, NewRelay, RelayLeg, Sockets, Workers};

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
    /// The TOS byte (IPv6: traffic class) of media that is sent: DSCP in the upper six bits.
    pub tos: u8,
    /// Whether relayed flows are held to the rate of their ptime and packet size.
    pub police: Policing,
    /// Where the kernel lane is pinned, so that it outlives this process; `None`: it ends with it.
    pub pin: Option<PathBuf>,
}

/// Whether relayed flows are held to their rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policing {
    /// What comes faster than ptime and packet size allow is dropped.
    #[default]
    On,
    /// They are not.
    Off,
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
    kernel: Kernel,
    workers: Workers,
    state: Mutex<State>,
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
        let workers = Workers::start(config.worker_cores.as_deref(), config.ptime, events)
            .map_err(|source| io("start the media workers", source))?;
        Ok(Arc::new(Self {
            kernel: Kernel::start(&config),
            workers,
            state: Mutex::new(State {
                pool: PortPool::new(config.first_port, config.last_port, &config.addresses),
                endpoints: Endpoints::default(),
            }),
            addresses: config.addresses,
            ports: (config.first_port, config.last_port),
        }))
    }

    /// The book stays consistent even if a holder of the lock panicked: each change is one insertion or removal.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins two endpoints anew, in the best lane they can have.
    fn join(&self, state: &mut State, a: EndpointId, b: EndpointId) -> Result<[Lane; 2], MediaError> {
        let sessions = [state.endpoints.session(a)?.clone(), state.endpoints.session(b)?.clone()];
        let [session_a, session_b] = &sessions;
        if session_a.codec != session_b.codec {
            return Err(MediaError::CodecMismatch(session_a.codec, session_b.codec));
        }
        let locals = [state.endpoints.get(a)?.local, state.endpoints.get(b)?.local];
        let addresses = [[locals[0], session_a.remote_rtp], [locals[1], session_b.remote_rtp]];
        let placed = lane::for_relay(addresses, self.kernel.unavailable())
            .and_then(|()| self.kernel.program([(locals[0], session_a), (locals[1], session_b)]));
        match placed {
            Ok(()) => {
                for (endpoint, local) in [(a, locals[0]), (b, locals[1])] {
                    self.take_from_worker(state, endpoint)?;
                    state.endpoints.get_mut(endpoint)?.carrier = Carrier::Kernel;
                    tracing::debug!(?endpoint, %local, "relayed in the kernel lane");
                }
                Ok([Lane::Kernel; 2])
            }
            Err(reason) => {
                self.join_in_worker(state, [a, b], sessions, reason)?;
                Ok([Lane::Worker; 2])
            }
        }
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
            return Ok(());
        }
        let sockets = [self.take_sockets(state, a)?, self.take_sockets(state, b)?];
        let [sockets_a, sockets_b] = sockets;
        let [session_a, session_b] = sessions;
        let leg = |endpoint, sockets, session| RelayLeg {
            endpoint,
            sockets,
            session,
        };
        let legs = [leg(a, sockets_a, session_a), leg(b, sockets_b, session_b)];
        let handle = self.workers.add_relay(NewRelay { legs });
        state.endpoints.insert_pair(ids, handle, reason)
    }

    /// The sockets of an endpoint, taken from whoever had it.
    fn take_sockets(&self, state: &mut State, endpoint: EndpointId) -> Result<Sockets, MediaError> {
        self.take_from_worker(state, endpoint)?;
        let row = state.endpoints.get_mut(endpoint)?;
        match std::mem::replace(&mut row.carrier, Carrier::Nobody(None)) {
            Carrier::Nobody(Some(sockets)) => return Ok(sockets),
            Carrier::Kernel => {
                self.kernel.remove(row.local);
            }
            Carrier::Nobody(None) | Carrier::Agent { .. } | Carrier::Pair { .. } => {}
        }
        bind(row.local)
    }

    /// Ends what a worker carries for this endpoint; the ports are free afterwards.
    fn take_from_worker(&self, state: &mut State, endpoint: EndpointId) -> Result<(), MediaError> {
        let carrier = &state.endpoints.get(endpoint)?.carrier;
        if let Some(handle) = carrier.resident().and_then(|id| state.endpoints.take_handle(id)) {
            self.workers.remove(handle);
        }
        Ok(())
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
        if local.is_ipv6() {
            return Err(MediaError::Ipv6(local));
        }
        let mut state = self.state();
        let (rtp, sockets) = state.pool.take(local, Sockets::bind).map_err(|refusal| match refusal {
            ports::Refusal::Exhausted => MediaError::NoPort {
                address: local,
                first: self.ports.0,
                last: self.ports.1,
            },
            ports::Refusal::Address(source) => io(format!("use {local} for media"), source),
        })?;
        self.kernel.serve(rtp);
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
        let sockets = self.take_sockets(&mut state, endpoint)?;
        let handle = self.workers.add_leg(NewLeg {
            endpoint,
            sockets,
            agent,
            session,
        });
        state.endpoints.insert_agent(endpoint, handle)
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
        }
    }
}

/// Whether media can be carried at this address.
fn usable(address: IpAddr) -> Result<(), MediaError> {
    if address.is_ipv6() {
        return Err(MediaError::Ipv6(address));
    }
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(()),
        Err(source) => Err(io(format!("use {address} for media"), source)),
    }
}

fn bind(rtp: SocketAddr) -> Result<Sockets, MediaError> {
    Sockets::bind(rtp).map_err(|source| io(format!("bind {rtp} and the port above it"), source))
}

fn io(what: impl Into<String>, source: std::io::Error) -> MediaError {
    MediaError::Io {
        what: what.into(),
        source,
    }
}
