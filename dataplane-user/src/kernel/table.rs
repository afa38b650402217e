//! The flow table: writes flows into the maps that the program reads, and reads its counts back.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use aya::maps::{Array, MapData, PerCpuArray};
use voxlane_common::drops::DropReason;
use voxlane_common::flow::{Flow, FlowSpec, FlowState};
use voxlane_common::outcome::Outcome;
use voxlane_common::ports::PortMap;

use super::error::KernelError;
use super::pair::LegFlows;
use crate::media_plane::StreamStats;

/// What was seen of one leg in the kernel lane.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRecord {
    /// Where its RTP arrives.
    pub local: SocketAddrV4,
    /// Where its RTP is sent on to: the other leg's far end.
    pub forwarded_to: Option<SocketAddr>,
    /// RTP that arrived.
    pub received: StreamStats,
    /// RTP packets sent to the leg's far end.
    pub sent_packets: u64,
    /// RTP packets that arrived and were sent on.
    pub forwarded_packets: u64,
    /// RTCP packets that arrived and were accepted.
    pub rtcp_packets: u64,
    /// Packets, RTP and RTCP, that were dropped, by reason; reasons that never occurred are left out.
    pub drops: Vec<(DropReason, u64)>,
}

/// One flow as it was last written.
#[derive(Clone, Copy)]
struct Entry {
    index: u32,
    spec: FlowSpec,
}

/// The flows that arrive at one leg.
#[derive(Clone, Copy)]
struct LegEntry {
    rtp: Entry,
    rtcp: Entry,
    /// RTP address of the leg it is joined with.
    peer: SocketAddrV4,
    /// Whether the flows are still in the map.
    live: bool,
}

/// The maps and what was written to them.
pub(super) struct Table {
    ports: PortMap,
    port_map: Array<MapData, PortMap>,
    flows: Array<MapData, Flow>,
    states: Array<MapData, FlowState>,
    outcomes: PerCpuArray<MapData, u64>,
    legs: HashMap<SocketAddrV4, LegEntry>,
    generation: u32,
}

impl Table {
    pub(super) fn new(
        ports: PortMap,
        port_map: Array<MapData, PortMap>,
        flows: Array<MapData, Flow>,
        states: Array<MapData, FlowState>,
        outcomes: PerCpuArray<MapData, u64>,
    ) -> Result<Self, KernelError> {
        let mut table = Self {
            ports,
            port_map,
            flows,
            states,
            outcomes,
            legs: HashMap::new(),
            generation: 0,
        };
        table.port_map.set(0, ports, 0)?;
        Ok(table)
    }

    pub(super) fn add_address(&mut self, address: Ipv4Addr) -> Result<(), KernelError> {
        let mut ports = self.ports;
        if address.is_multicast() || address.is_broadcast() || !ports.add(address) {
            return Err(KernelError::Address(address));
        }
        if ports != self.ports {
            self.port_map.set(0, ports, 0)?;
            self.ports = ports;
        }
        Ok(())
    }

    /// Flows there is room for.
    #[cfg(feature = "lab")]
    pub(super) fn capacity(&self) -> u32 {
        self.ports.entries()
    }

    pub(super) fn legs(&self) -> usize {
        self.legs.len()
    }

    /// Writes the flows of a pair. If the same two legs are joined already, their counts go on.
    pub(super) fn program(&mut self, pair: [LegFlows; 2]) -> Result<(), KernelError> {
        let [mut first, mut second] = pair;
        for leg in [&first, &second] {
            self.add_address(*leg.local.ip())?;
        }
        let (generation, epoch) = match self.joined(&first, &second) {
            Some(current) => (current.generation, next_epoch(self, &first, &second, current)),
            None => {
                self.retire(first.local);
                self.retire(second.local);
                self.generation = self.generation.checked_add(1).unwrap_or(1);
                (self.generation, 0)
            }
        };
        let at = |local| self.ports.index_of(local).ok_or(KernelError::Address(*local.ip()));
        let (first_rtp, first_rtcp) = (at(first.local)?, at(first.local_rtcp())?);
        let (second_rtp, second_rtcp) = (at(second.local)?, at(second.local_rtcp())?);
        for (spec, peer) in [
            (&mut first.rtp, second_rtp),
            (&mut first.rtcp, second_rtcp),
            (&mut second.rtp, first_rtp),
            (&mut second.rtcp, first_rtcp),
        ] {
            (spec.generation, spec.epoch, spec.peer) = (generation, epoch, peer);
        }
        let mut written = Vec::with_capacity(4);
        for (leg, peer, rtp, rtcp) in [
            (first, second.local, first_rtp, first_rtcp),
            (second, first.local, second_rtp, second_rtcp),
        ] {
            let entry = LegEntry {
                rtp: Entry {
                    index: rtp,
                    spec: leg.rtp,
                },
                rtcp: Entry {
                    index: rtcp,
                    spec: leg.rtcp,
                },
                peer,
                live: true,
            };
            self.legs.insert(leg.local, entry);
            written.extend([entry.rtp, entry.rtcp]);
        }
        if let Err(error) = written.into_iter().try_for_each(|entry| self.write(entry)) {
            // Half a call is worse than none: the worker lane takes it whole.
            self.remove(first.local);
            self.remove(second.local);
            return Err(error);
        }
        Ok(())
    }

    /// Ends the pair of `local` and forgets the leg.
    pub(super) fn remove(&mut self, local: SocketAddrV4) -> Option<FlowRecord> {
        let record = self.read(local);
        self.retire(local);
        self.legs.remove(&local);
        record
    }

    pub(super) fn read(&self, local: SocketAddrV4) -> Option<FlowRecord> {
        let leg = self.legs.get(&local)?;
        let (rtp, rtcp) = (self.state(&leg.rtp), self.state(&leg.rtcp));
        let sent_packets = match self.legs.get(&leg.peer) {
            Some(peer) => self.state(&peer.rtp).forwarded,
            // The peer was removed first: its last state is still in the map.
            None => {
                self.state(&Entry {
                    index: leg.rtp.spec.peer,
                    spec: leg.rtp.spec,
                })
                .forwarded
            }
        };
        let drops = DropReason::ALL
            .into_iter()
            .map(|reason| (reason, rtp.dropped(reason) + rtcp.dropped(reason)));
        Some(FlowRecord {
            local,
            forwarded_to: rtp.destination(&Flow::new(&leg.rtp.spec)).get().map(SocketAddr::V4),
            received: stats(&rtp),
            sent_packets,
            forwarded_packets: rtp.forwarded,
            rtcp_packets: rtcp.account.packets,
            drops: drops.filter(|(_, count)| *count > 0).collect(),
        })
    }

    /// Source and destination address of every live flow, each pair once.
    pub(super) fn paths(&self) -> BTreeSet<(Ipv4Addr, Ipv4Addr)> {
        let live = self.legs.values().filter(|leg| leg.live);
        live.flat_map(|leg| [leg.rtp, leg.rtcp])
            .filter_map(|entry| {
                let destination = self.state(&entry).destination(&Flow::new(&entry.spec)).get()?;
                Some((*entry.spec.outgoing.ip(), *destination.ip()))
            })
            .collect()
    }

    pub(super) fn counters(&self) -> Vec<(Outcome, u64)> {
        Outcome::all()
            .map(|outcome| {
                let count = match self.outcomes.get(&outcome.index(), 0) {
                    Ok(cores) => cores.iter().sum(),
                    Err(error) => {
                        tracing::error!(%error, "cannot read the counters of the XDP relay");
                        0
                    }
                };
                (outcome, count)
            })
            .collect()
    }

    /// The RTP flow as it was last written, if these two legs are joined already.
    fn joined(&self, first: &LegFlows, second: &LegFlows) -> Option<FlowSpec> {
        let (one, other) = (self.legs.get(&first.local)?, self.legs.get(&second.local)?);
        let same = one.live && other.live && one.peer == second.local && other.peer == first.local;
        same.then_some(one.rtp.spec)
    }

    /// Takes the flows of a leg and of its peer out of the map; their states stay until the ports are used again.
    fn retire(&mut self, local: SocketAddrV4) {
        let Some(leg) = self.legs.get_mut(&local).filter(|leg| leg.live) else {
            return;
        };
        leg.live = false;
        let peer = leg.peer;
        let mut indices = vec![leg.rtp.index, leg.rtcp.index];
        if let Some(peer) = self
            .legs
            .get_mut(&peer)
            .filter(|other| other.live && other.peer == local)
        {
            peer.live = false;
            indices.extend([peer.rtp.index, peer.rtcp.index]);
        }
        for index in indices {
            if let Err(error) = self.flows.set(index, Flow::default(), 0) {
                tracing::error!(%error, index, "cannot take a flow out of the kernel lane");
            }
        }
    }

    fn write(&mut self, entry: Entry) -> Result<(), KernelError> {
        let flow = Flow::new(&entry.spec);
        let current = self.flows.get(&entry.index, 0)?;
        if !current.is_active() {
            // A map write is not atomic. Activated in a second step, a flow is never seen half written.
            self.flows.set(
                entry.index,
                Flow::new(&FlowSpec {
                    generation: 0,
                    ..entry.spec
                }),
                0,
            )?;
        }
        Ok(self.flows.set(entry.index, flow, 0)?)
    }

    /// What the program has seen of a flow; nothing if the state in the map is an earlier call's.
    fn state(&self, entry: &Entry) -> FlowState {
        match self.states.get(&entry.index, 0) {
            Ok(state) if state.belongs_to(&Flow::new(&entry.spec)) => state,
            Ok(_) => FlowState::default(),
            Err(error) => {
                tracing::error!(%error, "cannot read a flow of the kernel lane");
                FlowState::default()
            }
        }
    }
}

/// The epoch after a re-INVITE: a new one if a far end has moved, so that it is found anew.
fn next_epoch(table: &Table, first: &LegFlows, second: &LegFlows, current: FlowSpec) -> u32 {
    let unmoved = [first, second].into_iter().all(|leg| {
        table.legs.get(&leg.local).is_some_and(|known| {
            known.rtp.spec.signalled == leg.rtp.signalled && known.rtcp.spec.signalled == leg.rtcp.signalled
        })
    });
    if unmoved {
        current.epoch
    } else {
        current.epoch.wrapping_add(1)
    }
}

fn stats(state: &FlowState) -> StreamStats {
    let account = &state.account;
    StreamStats {
        packets: account.packets,
        bytes: account.bytes,
        lost: account.lost(),
        reordered: account.reordered,
        duplicates: account.duplicates,
        dropped: state.dropped_in_all(),
        jitter_ms: account.jitter_ns() as f64 / 1e6,
        ssrc: account.ssrc,
        source: state.latch.source().get().map(SocketAddr::V4),
    }
}
