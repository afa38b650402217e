//! The data plane: the real [`MediaPlane`].
//!
//! It decides nothing about packets. It keeps the book of open endpoints, and moves each between those who carry it:
//! - `ports`: the pairs of ports an endpoint may have;
//! - `endpoints`: the book, and what a row of `voxlane flows` says of an endpoint;
//! - `taps`: who listens to calls;
//! - `moves`: how an endpoint goes from one carrier to another while media flows;
//! - `kernel`: the kernel lane, if there is one;
//! - [`crate::worker`]: the worker lane.
//!
//! An endpoint that nobody carries yet holds its ports by sockets: early packets are not answered by ICMP, and no other
//! process can take the ports. When the kernel lane takes over, the sockets are closed.

mod endpoints;
mod kernel;
mod moves;
mod ports;
mod taps;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::endpoints::{Carrier, Endpoints, Row};
use self::kernel::Kernel;
use self::ports::PortPool;
use self::taps::Listened;
use crate::agent;
pub use crate::flows::{Policing, Rules};
use crate::lane::{self, Lane, Reason};
use crate::media_plane::{
    AgentNotice, AgentSpec, AttachPolicy, Endpoint, EndpointId, FlowReport, IoMode, IoStatus, LegReport, MediaError,
    MediaEvent, MediaPlane, MirroredFrame, PlaneStatus, Session, Speech, TapId, TapSpec, Unallocated,
};
use crate::quality::Way;
use crate::reception::Limits;
use crate::worker::{self, Left, Settings, Sockets, Taps, Workers};
use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};

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
    /// How long packets may wait before an agent hears them.
    pub jitter: Limits,
    /// How much is kept of what is said to an agent before it is ready.
    pub first_words: Duration,
    /// One worker for each of these cores; `None`: one, on the last core.
    pub worker_cores: Option<Vec<usize>>,
    /// How workers send and receive.
    pub io: IoChoice,
    /// Whether and how the kernel lane is used.
    pub kernel: KernelChoice,
    /// What happens to packets to ports of the range that are nobody's (kernel lane only).
    pub unallocated: Unallocated,
    /// How relayed calls are treated; the TOS byte is that of all media that is sent.
    pub rules: Rules,
    /// Where the kernel lane is pinned, so that it outlives this process; `None`: it ends with it.
    pub pin: Option<PathBuf>,
}

impl PlaneConfig {
    /// With these ports for media, RTCP's included; else what a gateway is by default, without a kernel lane.
    pub fn with_ports(first_port: u16, last_port: u16) -> Self {
        Self {
            addresses: Vec::new(),
            first_port,
            last_port,
            ptime: 20,
            jitter: Limits::default(),
            first_words: worker::FIRST_WORDS,
            worker_cores: None,
            io: IoChoice::default(),
            kernel: KernelChoice::Off,
            unallocated: Unallocated::Drop,
            rules: Rules::default(),
            pin: None,
        }
    }
}

/// How workers are to send and receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoChoice {
    /// By AF_XDP sockets where they can be had.
    #[default]
    Auto,
    /// By AF_XDP sockets, or not at all.
    AfXdp,
    /// By sockets of the network stack.
    Sockets,
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
    io: IoStatus,
    kernel: Kernel,
    workers: Workers,
    taps: Taps,
    state: Arc<Mutex<State>>,
}

struct State {
    pool: PortPool,
    endpoints: Endpoints,
    listened: Listened,
}

impl Plane {
    /// Starts the workers and, if it is wanted and possible, the kernel lane. `events` should be unbounded.
    ///
    /// # Errors
    /// If an address is not one of this host, the system gives the workers no threads, or another gateway has what is
    /// pinned. A kernel lane that cannot be had otherwise is no error: see [`PlaneStatus::unavailable`].
    pub fn start(config: PlaneConfig, events: Sender<MediaEvent>) -> Result<Arc<Self>, MediaError> {
        for address in &config.addresses {
            usable(*address)?;
        }
        let settings = Settings {
            ptime: config.ptime,
            jitter: config.jitter,
            first_words: config.first_words,
        };
        let workers = Workers::start(config.worker_cores.as_deref(), settings, events.clone())
            .map_err(|source| io("start the media workers", source))?;
        let taps = Taps::start(settings, events.clone()).map_err(|source| io("start the thread of taps", source))?;
        let state = Arc::new(Mutex::new(State {
            pool: PortPool::new(config.first_port, config.last_port, &config.addresses),
            endpoints: Endpoints::default(),
            listened: Listened::default(),
        }));
        let book = Arc::clone(&state);
        let endpoint_at = move |local| lock(&book).endpoints.at(local);
        let mut kernel = Kernel::start(&config, endpoint_at, events)?;
        let io = choose_io(config.io, &mut kernel, &workers)?;
        tracing::info!(
            io = io.mode.name(),
            reason = io.reason.as_deref(),
            "how media workers send and receive"
        );
        Ok(Arc::new(Self {
            io,
            kernel,
            workers,
            taps,
            state,
            rules: config.rules,
            addresses: config.addresses,
            ports: (config.first_port, config.last_port),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn bind(&self, rtp: SocketAddr) -> Result<Sockets, MediaError> {
        Sockets::bind(rtp, self.rules.tos).map_err(|source| io(format!("bind {rtp} and the port above it"), source))
    }

    fn report(&self, endpoints: &Endpoints, id: EndpointId, row: &Row) -> Option<FlowReport> {
        match &row.carrier {
            Carrier::Nobody(_) => row.last.clone(),
            Carrier::Agent { stats, .. } => {
                let way = row.session.as_ref().map_or(Way::Relayed, |session| Way::Heard {
                    from: session.codec,
                    to: agent::CODEC,
                });
                Some(row.worker_report(id, &stats[0], None, Reason::Agent, way))
            }
            Carrier::Pair {
                stats,
                side,
                peer,
                reason,
                ..
            } => {
                let peer = endpoints.session(*peer).ok();
                let way = match (&row.session, &peer) {
                    (Some(here), Some(there)) if lane::difference(here, there).is_some() => Way::Bridged {
                        from: here.codec,
                        to: there.codec,
                    },
                    _ => Way::Relayed,
                };
                let peer = peer.map(|session| session.remote_rtp);
                Some(row.worker_report(id, &stats[*side], peer, *reason, way))
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
        let row = state.endpoints.get_mut(endpoint)?;
        row.session = Some(session.clone());
        let peer = row.peer;
        match row.carrier {
            Carrier::Nobody(_) => Ok(()),
            Carrier::Agent { resident, .. } => {
                row.told = Some(session.remote());
                if let Some(handle) = state.endpoints.handle(resident) {
                    self.workers.set_session(handle, session);
                }
                self.follow(state, &[endpoint]);
                Ok(())
            }
            Carrier::Kernel | Carrier::Pair { .. } => match peer {
                Some(peer) => self.join(state, endpoint, peer).map(|_lanes| ()),
                // One that has left takes the media with it.
                None => Ok(()),
            },
        }
    }

    fn relay(&self, a: EndpointId, b: EndpointId) -> Result<[Lane; 2], MediaError> {
        self.join(&mut self.state(), a, b)
    }

    fn attach(&self, endpoint: EndpointId, agent: AgentSpec) -> Result<(), MediaError> {
        agent::prepare(&agent);
        self.give_to_agent(&mut self.state(), endpoint, agent)
    }

    fn set_speech(&self, endpoint: EndpointId, speech: Speech) -> Result<(), MediaError> {
        let state = self.state();
        if let Some(handle) = state.endpoints.agent(endpoint)? {
            self.workers.set_speech(handle, speech);
        }
        Ok(())
    }

    fn tell(&self, endpoint: EndpointId, notice: AgentNotice) -> Result<(), MediaError> {
        let state = self.state();
        if let Some(handle) = state.endpoints.agent(endpoint)? {
            self.workers.tell(handle, notice);
        }
        Ok(())
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

    fn mirror(&self, endpoint: EndpointId, into: Sender<MirroredFrame>) -> Result<(), MediaError> {
        let state = self.state();
        let row = state.endpoints.get(endpoint)?;
        let refused = |reason: String| MediaError::NotInKernel {
            what: "capture its packets",
            reason,
        };
        match &row.carrier {
            Carrier::Kernel => self.kernel.mirror(row.local, into).map_err(refused),
            Carrier::Agent { .. } => Err(refused(Reason::Agent.to_string())),
            Carrier::Pair { reason, .. } => Err(refused(reason.to_string())),
            Carrier::Nobody(_) => Err(refused("it has no media yet".to_owned())),
        }
    }

    fn tap(&self, endpoint: EndpointId, spec: TapSpec) -> Result<TapId, MediaError> {
        agent::prepare_listener(&spec);
        self.listen(&mut self.state(), endpoint, spec)
    }

    fn end_tap(&self, tap: TapId) {
        self.end_listening(&mut self.state(), tap);
    }

    fn close(&self, endpoint: EndpointId) -> Option<LegReport> {
        let mut state = self.state();
        self.end_listening_at(&mut state, endpoint);
        let row = state.endpoints.get(endpoint).ok()?;
        let (pair, peer) = (row.side(), row.peer);
        let handle = row.carrier.resident().and_then(|id| state.endpoints.take_handle(id));
        // The worker is not waited for while others wait for the book.
        drop(state);
        let ended = handle.map(|handle| self.end(handle, pair)).unwrap_or_default();

        let mut state = self.state();
        let row = state.endpoints.remove(endpoint)?;
        let flow = self.report(&state.endpoints, endpoint, &row);
        let of_peer = match row.carrier {
            Carrier::Kernel => {
                let states = self.kernel.states(row.local);
                self.kernel.remove(row.local);
                states.map(|states| Left::of_pair(states)[1])
            }
            // Held sockets are closed before the pair can be taken again.
            Carrier::Nobody(sockets) => {
                drop(sockets);
                None
            }
            Carrier::Agent { .. } | Carrier::Pair { .. } => ended.of_peer,
        };
        self.kernel.release(row.local);
        state.pool.give_back(row.local);
        // The other leg may go on to somebody else.
        let peer = peer.and_then(|peer| state.endpoints.get_mut(peer).ok());
        if let Some(peer) = peer {
            peer.peer = None;
            peer.left = of_peer;
        }
        Some(LegReport {
            flow: flow?,
            recording: ended.recording,
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
        rows.filter(|(_, row)| !matches!(row.carrier, Carrier::Nobody(_)))
            .filter_map(|(id, row)| self.report(&state.endpoints, id, row))
            .collect()
    }

    fn status(&self) -> PlaneStatus {
        let state = self.state();
        PlaneStatus {
            interfaces: self.kernel.interfaces().to_vec(),
            unavailable: self.kernel.unavailable(),
            workers: self.workers.status(),
            ports_in_use: state.pool.in_use(),
            ports_total: state.pool.total(),
            io: self.io.clone(),
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

/// Gives workers the best they can have.
fn choose_io(choice: IoChoice, kernel: &mut Kernel, workers: &Workers) -> Result<IoStatus, MediaError> {
    let sockets = |reason| IoStatus {
        mode: IoMode::Sockets,
        reason: Some(reason),
    };
    if choice == IoChoice::Sockets {
        return Ok(sockets("media.io is \"sockets\"".to_owned()));
    }
    match (kernel.serve(workers), choice) {
        (Ok(()), _) => Ok(IoStatus {
            mode: IoMode::AfXdp,
            reason: None,
        }),
        (Err(reason), IoChoice::AfXdp) => Err(io(
            "give the media workers AF_XDP sockets (media.io = \"af_xdp\")",
            std::io::Error::other(reason),
        )),
        (Err(reason), IoChoice::Auto | IoChoice::Sockets) => Ok(sockets(reason)),
    }
}

/// Whether media can be carried at this address.
fn usable(address: IpAddr) -> Result<(), MediaError> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(()),
        Err(source) => Err(io(format!("use {address} for media"), source)),
    }
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
