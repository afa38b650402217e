//! The kernel lane of a binary that has it: started if it is wanted and the system lets it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Seen;
use crate::kernel::{FlowRecord, KernelConfig, KernelError, KernelLane, Leg, RelayPair};
use crate::lane::Reason;
use crate::media_plane::{InterfaceStatus, Session};
use crate::plane::{KernelChoice, PlaneConfig};

/// The kernel lane, or why there is none.
pub(in crate::plane) struct Kernel {
    lane: Result<KernelLane, Reason>,
    interfaces: Vec<InterfaceStatus>,
}

impl Kernel {
    /// Starts it if `config` wants it. If the system refuses, the log says why.
    pub(in crate::plane) fn start(config: &PlaneConfig) -> Self {
        let (policy, interfaces) = match &config.kernel {
            KernelChoice::Off => return Self::none(Reason::XdpOff, Vec::new()),
            KernelChoice::On { policy, interfaces } => (*policy, interfaces.clone()),
        };
        let interfaces = match interfaces.as_slice() {
            [] => interfaces_of(&config.addresses),
            [..] => interfaces,
        };
        let started = KernelLane::start(&KernelConfig {
            interfaces,
            policy,
            addresses: config.addresses.iter().copied().filter_map(ipv4).collect(),
            first_port: config.first_port,
            last_port: config.last_port,
        });
        match started {
            Ok(lane) => Self {
                interfaces: lane.interfaces().to_vec(),
                lane: Ok(lane),
            },
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
                    | KernelError::Io { .. } => Vec::new(),
                };
                Self::none(Reason::XdpUnavailable, interfaces)
            }
        }
    }

    fn none(reason: Reason, interfaces: Vec<InterfaceStatus>) -> Self {
        Self {
            lane: Err(reason),
            interfaces,
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

    /// Lets the lane know an address at which calls will arrive.
    pub(in crate::plane) fn serve(&self, local: SocketAddr) {
        if let (Ok(lane), Some(address)) = (&self.lane, ipv4(local.ip()))
            && let Err(error) = lane.add_address(address)
        {
            // Its calls are refused by the flow table, and take the worker lane.
            tracing::warn!(%address, %error, "the kernel lane does not serve a media address");
        }
    }

    /// Relays between two legs, given by local RTP address and session.
    pub(in crate::plane) fn program(&self, legs: [(SocketAddr, &Session); 2]) -> Result<(), Reason> {
        let lane = self.lane.as_ref().map_err(|reason| *reason)?;
        let [(SocketAddr::V4(a), session_a), (SocketAddr::V4(b), session_b)] = legs else {
            return Err(Reason::Ipv6);
        };
        let leg = |local, session: &Session| Leg {
            local,
            session: session.clone(),
        };
        lane.program(&RelayPair(leg(a, session_a), leg(b, session_b)))
            .map_err(|refusal| {
                tracing::info!(local = %a, %refusal, "a relayed call takes the worker lane");
                refusal.reason
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

    fn with(
        &self,
        local: SocketAddr,
        ask: impl FnOnce(&KernelLane, std::net::SocketAddrV4) -> Option<FlowRecord>,
    ) -> Option<Seen> {
        let SocketAddr::V4(local) = local else { return None };
        let record = ask(self.lane.as_ref().ok()?, local)?;
        Some(Seen {
            forwarded_to: record.forwarded_to,
            received: record.received,
            sent_packets: record.sent_packets,
        })
    }
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
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
