//! The kernel lane of a binary that has it: started if it is wanted and the system lets it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crossbeam_channel::Sender;
use voxlane_common::outcome::Loss;
use voxlane_common::ports::MAX_ADDRESSES;

use super::{KernelLeg, Seen};
use crate::flows::LegState;
use crate::kernel::{FlowRecord, KernelConfig, KernelError, KernelLane, Leg, RelayPair, Routes, Told};
use crate::lane::Reason;
use crate::media_plane::{EndpointId, InterfaceStatus, KernelStatus, MediaError, MediaEvent, MirroredFrame, Session};
use crate::plane::{KernelChoice, PlaneConfig};
use crate::worker::Workers;

/// The kernel lane, or why there is none.
pub(in crate::plane) struct Kernel {
    lane: Result<KernelLane, Reason>,
    interfaces: Vec<InterfaceStatus>,
    /// Ends its thread when dropped.
    routes: Option<Routes>,
}

impl Kernel {
    /// Starts it if `config` wants it. If the system refuses, the log says why. Keys that are pressed on its legs are told
    /// by `events`, under the endpoint that `endpoint_at` has for an RTP address.
    ///
    /// # Errors
    /// If another gateway has what is pinned: its program would take this one's packets for nobody's.
    pub(in crate::plane) fn start(
        config: &PlaneConfig,
        endpoint_at: impl Fn(SocketAddr) -> Option<EndpointId> + Send + 'static,
        events: Sender<MediaEvent>,
    ) -> Result<Self, MediaError> {
        let (policy, interfaces) = match &config.kernel {
            KernelChoice::Off => {
                config.pin.as_deref().map_or(Ok(()), remove_earlier)?;
                return Ok(Self::none(Reason::XdpOff, Vec::new()));
            }
            KernelChoice::On { policy, interfaces } => (*policy, interfaces.clone()),
        };
        let interfaces = match interfaces.as_slice() {
            [] => interfaces_of(&config.addresses),
            [..] => interfaces,
        };
        let addresses = match config.addresses.as_slice() {
            [] => addresses_of(&interfaces),
            addresses => addresses.to_vec(),
        };
        let kernel = KernelConfig {
            interfaces,
            policy,
            addresses,
            first_port: config.first_port,
            last_port: config.last_port,
            unallocated: config.unallocated,
            rules: config.rules,
            pin: config.pin.clone(),
        };
        let told = move |Told::Press { local, press }| {
            if let Some(endpoint) = endpoint_at(local) {
                // Without a reader nobody minds.
                let _ = events.send(MediaEvent::Digit {
                    endpoint,
                    digit: press.digit,
                    duration: press.duration,
                });
            }
        };
        let started = KernelLane::start(&kernel, told);
        match started {
            Ok(lane) => Ok(Self {
                interfaces: lane.interfaces().to_vec(),
                lane: Ok(lane),
                routes: None,
            }),
            Err(error @ KernelError::InUse(_)) => Err(MediaError::InUse(error.to_string())),
            Err(error) => {
                tracing::warn!(%error, "no kernel lane: relayed calls take the worker lane");
                let interfaces = match error {
                    KernelError::NotAttached(interfaces) => interfaces,
                    KernelError::NoPermission { .. }
                    | KernelError::KernelTooOld { .. }
                    | KernelError::Verifier { .. }
                    | KernelError::Address(_)
                    | KernelError::Ports { .. }
                    | KernelError::Object(_)
                    | KernelError::Pin { .. }
                    | KernelError::InUse(_)
                    | KernelError::Io { .. } => Vec::new(),
                };
                Ok(Self::none(Reason::XdpUnavailable, interfaces))
            }
        }
    }

    fn none(reason: Reason, interfaces: Vec<InterfaceStatus>) -> Self {
        Self {
            lane: Err(reason),
            interfaces,
            routes: None,
        }
    }

    /// Gives workers AF_XDP sockets.
    ///
    /// # Errors
    /// Why they have none, in words.
    pub(in crate::plane) fn serve(&mut self, workers: &Workers) -> Result<(), String> {
        let lane = self.lane.as_ref().map_err(|reason| reason.to_string())?;
        self.routes = Some(lane.serve(workers).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// What arrives at this RTP address and the port above goes to a worker's AF_XDP sockets from now on, if it has any.
    pub(in crate::plane) fn steer(&self, local: SocketAddr, worker: usize) {
        if let (Ok(lane), Some(_)) = (&self.lane, &self.routes)
            && let Err(error) = lane.steer(local, worker)
        {
            tracing::warn!(%local, %error, "packets of a leg take the network stack");
        }
    }

    /// What arrives at these RTP addresses and the ports above goes to UDP sockets again, and nothing is on its way to AF_XDP
    /// sockets any more.
    pub(in crate::plane) fn steer_back(&self, locals: &[SocketAddr]) {
        if let (Ok(lane), Some(_)) = (&self.lane, &self.routes)
            && let Err(error) = lane.steer_back(locals)
        {
            tracing::error!(?locals, %error, "cannot take the packets of a leg back from a worker");
        }
    }

    /// Why there is no kernel lane at all, if there is none.
    pub(in crate::plane) fn unavailable(&self) -> Option<Reason> {
        self.lane.as_ref().err().copied()
    }

    /// One row for each interface that was tried.
    pub(in crate::plane) fn interfaces(&self) -> &[InterfaceStatus] {
        &self.interfaces
    }

    /// The ports of this RTP address are a socket's from now on.
    pub(in crate::plane) fn reserve(&self, local: SocketAddr) {
        if let Ok(lane) = &self.lane
            && let Err(error) = lane.reserve(local)
        {
            // Its calls are refused by the flow table, and take the worker lane.
            tracing::warn!(%local, %error, "the kernel lane does not serve a media address");
        }
    }

    /// The ports of this RTP address are nobody's from now on.
    pub(in crate::plane) fn release(&self, local: SocketAddr) {
        if let Ok(lane) = &self.lane {
            lane.release(local);
        }
    }

    /// Whether the ports of this RTP address carry a call of an earlier process.
    pub(in crate::plane) fn holds_orphan(&self, local: SocketAddr) -> bool {
        self.lane.as_ref().is_ok_and(|lane| lane.holds_orphan(local))
    }

    /// Whether the far ends of two legs are reached through the lane.
    pub(in crate::plane) fn reaches(&self, legs: [(SocketAddr, &Session); 2]) -> Result<(), Reason> {
        let lane = self.lane.as_ref().map_err(|reason| *reason)?;
        let paths = legs.map(|(local, session)| (local.ip(), session.remote_rtp.ip()));
        lane.reaches(paths).map_err(|refusal| {
            tracing::info!(%refusal, "a relayed call takes the worker lane");
            refusal.reason
        })
    }

    /// Relays between two legs. `states` is what another lane knew of them.
    pub(in crate::plane) fn program(
        &self,
        legs: [KernelLeg<'_>; 2],
        states: Option<[LegState; 2]>,
    ) -> Result<(), Reason> {
        let lane = self.lane.as_ref().map_err(|reason| *reason)?;
        let [a, b] = legs.map(|leg| Leg {
            local: leg.local,
            session: leg.session.clone(),
            continuity: leg.continuity,
        });
        let local = a.local;
        lane.program(&RelayPair(a, b), states).map_err(|refusal| {
            tracing::info!(%local, %refusal, "a relayed call takes the worker lane");
            refusal.reason
        })
    }

    /// Leaves the packets of a pair to sockets on its ports; what was known of its legs, that of `local` first.
    pub(in crate::plane) fn hand_back(&self, local: SocketAddr) -> Option<[LegState; 2]> {
        match self.lane.as_ref().ok()?.hand_back(local) {
            Ok(states) => states,
            Err(error) => {
                tracing::error!(%local, %error, "cannot take a call out of the kernel lane");
                None
            }
        }
    }

    /// What is known of the leg at this RTP address and of its peer, if both are in the lane.
    pub(in crate::plane) fn states(&self, local: SocketAddr) -> Option<[LegState; 2]> {
        self.lane.as_ref().ok()?.states(local)
    }

    /// Takes into account what a worker has handled of a leg between two looks at it.
    pub(in crate::plane) fn add_late(&self, local: SocketAddr, before: &LegState, after: &LegState) {
        if let Ok(lane) = &self.lane
            && let Err(error) = lane.add_late(local, before, after)
        {
            tracing::error!(%local, %error, "cannot count what a worker handled last");
        }
    }

    /// Sends copies of what arrives at a leg.
    pub(in crate::plane) fn mirror(&self, local: SocketAddr, into: Sender<MirroredFrame>) -> Result<(), String> {
        let lane = self.lane.as_ref().map_err(ToString::to_string)?;
        lane.mirror(local, into).map_err(|error| error.to_string())
    }

    /// The lane as a whole.
    pub(in crate::plane) fn status(&self) -> Option<KernelStatus> {
        let lane = self.lane.as_ref().ok()?;
        let counters = lane.counters().into_iter();
        let durations = lane.durations().into_iter();
        Some(KernelStatus {
            outcomes: counters
                .map(|(outcome, count)| (outcome.name().to_owned(), count))
                .collect(),
            durations: durations.map(|(end, count)| (end.unwrap_or(u64::MAX), count)).collect(),
            events_lost: lane.lost(Loss::Event),
            mirrored_lost: lane.lost(Loss::Mirrored),
            adopted: lane.adopted(),
            orphans: lane.orphans(),
            pacing: lane.pacing(),
        })
    }

    /// What was seen of the leg at this RTP address.
    pub(in crate::plane) fn read(&self, local: SocketAddr) -> Option<Seen> {
        self.with(local, KernelLane::read)
    }

    /// Ends the pair of the leg at this RTP address; the last that was seen of the leg.
    pub(in crate::plane) fn remove(&self, local: SocketAddr) -> Option<Seen> {
        self.with(local, KernelLane::remove)
    }

    fn with(&self, local: SocketAddr, ask: impl FnOnce(&KernelLane, SocketAddr) -> Option<FlowRecord>) -> Option<Seen> {
        let record = ask(self.lane.as_ref().ok()?, local)?;
        Some(Seen {
            forwarded_to: record.forwarded_to,
            received: record.received,
            sent_packets: record.sent_packets,
            drops: record.drops,
            paced: record.paced,
            datagrams: record.datagrams,
            digits: record.digits,
            round_trip: record.round_trip,
            far: record.far,
        })
    }
}

/// Removes what a gateway has pinned; a line for each thing.
pub(in crate::plane) fn detach(pin: &Path) -> Result<Vec<String>, String> {
    match crate::kernel::detach(pin) {
        Ok(removed) => Ok(removed.iter().map(|path| path.display().to_string()).collect()),
        Err(KernelError::InUse(path)) => Err(format!(
            "a gateway is running that has pinned {}, and its relayed calls would lose their audio: stop it first",
            path.display()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// A gateway without a kernel lane follows one that had one: the program would drop what is sent to this one's sockets.
fn remove_earlier(pin: &Path) -> Result<(), MediaError> {
    match crate::kernel::detach(pin) {
        Ok(removed) if removed.is_empty() => Ok(()),
        Ok(_) => {
            tracing::warn!(pin = %pin.display(), "the kernel lane of an earlier process is removed: its calls lose their media");
            Ok(())
        }
        Err(error @ KernelError::InUse(_)) => Err(MediaError::InUse(error.to_string())),
        Err(error) => {
            tracing::warn!(%error, "the kernel lane of an earlier process may be in the way");
            Ok(())
        }
    }
}

/// The addresses of these interfaces, if the flow table has room for all of them: so its ports are nobody's before the
/// first call. Otherwise an address is served from its first call on.
fn addresses_of(interfaces: &[String]) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(|interface| interfaces.contains(&interface.name))
        .map(|interface| interface.ip())
        .filter(|address| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() > MAX_ADDRESSES {
        addresses.clear();
    }
    addresses
}

/// The interfaces that hold `addresses`; without any, all but loopback.
fn interfaces_of(addresses: &[IpAddr]) -> Vec<String> {
    let all = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list the network interfaces");
        Vec::new()
    });
    let mut names: Vec<String> = all
        .into_iter()
        .filter(|interface| match addresses {
            [] => !interface.is_loopback(),
            [..] => addresses.contains(&interface.ip()),
        })
        .map(|interface| interface.name)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
