//! Takes over the flows that an earlier process has left in the kernel: they carry media of calls nobody here knows.
//!
//! Such legs are *orphans*: their ports are not given to new calls, their next hops are kept fresh, and when nothing has
//! been heard on them for a while they are removed.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use voxlane_common::flow::{Flow, FlowKind, FlowSpec, FlowState, Mirror};
use voxlane_common::next_hop::{NextHop, NextHopId};
use voxlane_common::ports::PortMap;

use super::error::KernelError;
use super::pins::Earlier;
use super::table::{Entry, Late, LegEntry, Table};
use crate::flows::above;
use crate::worker::monotonic_ns;

/// An orphan from which nothing was heard for this long has ended: longer than any gap that comfort noise or hold leaves
/// between reports.
pub(super) const QUIET: Duration = Duration::from_secs(60);

/// What an earlier process has left of its table.
struct Found {
    ports: PortMap,
    flows: HashMap<u32, FlowSpec>,
}

impl Table {
    /// Takes over what is in the maps, which are for the same ports. Ports of workers' sockets, which have ended with
    /// their process, become nobody's; so do those of half a call, which it was about to begin or to end.
    pub(super) fn adopt(&mut self, earlier: &PortMap) -> Result<(), KernelError> {
        if !earlier.has_ports_of(&self.ports) {
            return Err(KernelError::Object("the pinned PORT_MAP is for other ports".to_owned()));
        }
        // Every address keeps its slot.
        self.ports.take_addresses(earlier);
        let mut flows = HashMap::new();
        let mut worker = Vec::new();
        for index in used(earlier) {
            let Some(spec) = self.maps.flows.get(&index, 0)?.spec() else {
                continue;
            };
            self.generation = self.generation.max(spec.generation);
            match spec.kind {
                FlowKind::Rtp | FlowKind::Rtcp => drop(flows.insert(index, spec)),
                FlowKind::Worker => worker.push(index),
            }
        }
        let legs = legs_of(&self.ports, &flows);
        let whole: HashSet<u32> = legs
            .iter()
            .flat_map(|(_, leg)| leg.entries())
            .map(|entry| entry.index)
            .collect();
        let halves = flows.into_keys().filter(|index| !whole.contains(index));
        for index in halves.chain(worker) {
            self.maps.flows.set(index, Flow::default(), 0)?;
        }
        let in_use: HashSet<_> = legs.iter().map(|(local, _)| local.ip()).collect();
        self.ports.retain(|address| in_use.contains(&address));
        self.insert_orphans(legs)
    }

    /// Copies the flows of an earlier table, which is for other ports, into this one; returns how many, and how many are
    /// lost, as their ports are none of this one's. Its programs go on meanwhile: what they count between this and the
    /// swap is not counted here.
    pub(super) fn carry_over(
        &mut self,
        earlier: &Earlier,
        next_hops: &mut Array<MapData, NextHop>,
    ) -> Result<(usize, usize), KernelError> {
        let (left, states) = (Found::read(earlier)?, open::<FlowState>(earlier, "STATES")?);
        let their_next_hops = open::<NextHop>(earlier, "NEXT_HOPS")?;
        // The numbers of one process, or of this one's predecessor, but not of several.
        let is_first = self.legs.is_empty();
        let mut from = HashMap::new();
        let mut flows = HashMap::new();
        for (index, spec) in &left.flows {
            for index in [*index, spec.peer] {
                let local = left.ports.address_of(index);
                if let Some(Err(error)) = local.map(|local| self.add_address(local.ip())) {
                    tracing::debug!(%error, "a call of an earlier process is not carried over");
                }
            }
            let here = |index| self.ports.index_of(left.ports.address_of(index)?);
            let (Some(new_index), Some(peer)) = (here(*index), here(spec.peer)) else {
                continue;
            };
            self.generation = self.generation.max(spec.generation);
            let next_hop = if is_first { spec.next_hop } else { NextHopId::UNKNOWN };
            from.insert(new_index, *index);
            flows.insert(
                new_index,
                FlowSpec {
                    peer,
                    next_hop,
                    ..*spec
                },
            );
        }
        let legs = legs_of(&self.ports, &flows);
        let carried = 2 * legs.len();
        for entry in legs.iter().flat_map(|(_, leg)| leg.entries()) {
            let id = entry.spec.next_hop;
            if id != NextHopId::UNKNOWN {
                next_hops.set(id.0, their_next_hops.get(&id.0, 0)?, 0)?;
            }
            let (Some(index), flow) = (from.get(&entry.index), Flow::new(&entry.spec)) else {
                continue;
            };
            let (there, here) = (states.get(index, 0)?, self.maps.states.get(&entry.index, 0)?);
            // A process that died between the swap and the end of this has left both.
            if !here.belongs_to(&flow) || here.account.last_seen_ns <= there.account.last_seen_ns {
                self.maps.states.set(entry.index, there, 0)?;
            }
        }
        self.insert_orphans(legs)?;
        Ok((carried, left.flows.len() - carried))
    }

    /// Enters legs into the book and the map.
    fn insert_orphans(&mut self, legs: Vec<(SocketAddr, LegEntry)>) -> Result<(), KernelError> {
        for (local, leg) in legs {
            for entry in leg.entries() {
                self.maps.flows.set(entry.index, Flow::new(&entry.spec), 0)?;
                self.by_index.insert(entry.index, local);
            }
            self.legs.insert(local, leg);
        }
        Ok(())
    }

    /// Whether the ports of this RTP address carry a call of an earlier process.
    pub(super) fn holds_orphan(&self, local: SocketAddr) -> bool {
        self.legs.get(&local).is_some_and(|leg| leg.orphan)
    }

    /// Legs of earlier processes.
    pub(super) fn orphans(&self) -> usize {
        self.legs.values().filter(|leg| leg.orphan).count()
    }

    /// Whether no flow is live.
    pub(super) fn is_idle(&self) -> bool {
        !self.legs.values().any(|leg| leg.live)
    }

    /// Ends the orphans on which nothing was heard for this long. One that was quiet before has until then, too.
    pub(super) fn drop_quiet_orphans(&mut self, quiet: Duration) {
        let now_ns = monotonic_ns();
        let last_heard = |local: SocketAddr| {
            let state = self.leg_state(local).unwrap_or_default();
            state.rtp.account.last_seen_ns.max(state.rtcp.account.last_seen_ns)
        };
        let ended: Vec<(SocketAddr, SocketAddr)> = self
            .legs
            .iter()
            .filter(|(_, leg)| leg.orphan)
            .map(|(local, leg)| (*local, leg.peer))
            .filter(|(local, peer)| {
                let heard_ns = last_heard(*local).max(last_heard(*peer)).max(self.since_ns);
                u128::from(now_ns.saturating_sub(heard_ns)) >= quiet.as_nanos()
            })
            .collect();
        for (local, peer) in ended {
            // Unless it has gone with its peer, or its peer is another call's by now.
            for local in [local, peer]
                .into_iter()
                .filter(|local| self.holds_orphan(*local))
                .collect::<Vec<_>>()
            {
                tracing::info!(%local, "a call of an earlier process has ended");
                self.remove(local);
            }
        }
    }
}

impl Found {
    fn read(earlier: &Earlier) -> Result<Self, KernelError> {
        let ports: PortMap = open::<PortMap>(earlier, "PORT_MAP")?.get(&0, 0)?;
        let map: Array<MapData, Flow> = open(earlier, "FLOWS")?;
        let mut flows = HashMap::new();
        for index in used(&ports) {
            match map.get(&index, 0)?.spec() {
                Some(spec) if spec.kind != FlowKind::Worker => drop(flows.insert(index, spec)),
                Some(_) | None => {}
            }
        }
        Ok(Self { ports, flows })
    }
}

/// The entries of the addresses that have a slot.
fn used(ports: &PortMap) -> impl Iterator<Item = u32> + '_ {
    (0..ports.entries()).filter(|index| ports.address_of(*index).is_some())
}

/// The legs of whole calls among these flows: RTP and RTCP, both ways.
fn legs_of(ports: &PortMap, flows: &HashMap<u32, FlowSpec>) -> Vec<(SocketAddr, LegEntry)> {
    let entry = |index: u32| {
        let spec = FlowSpec {
            // Its reader has gone.
            mirror: Mirror::Off,
            ..*flows.get(&index)?
        };
        Some(Entry { index, spec })
    };
    let leg = |index: u32| {
        let rtp = entry(index).filter(|entry| entry.spec.kind == FlowKind::Rtp)?;
        let local = ports.address_of(index)?;
        let rtcp = entry(ports.index_of(above(local))?).filter(|entry| entry.spec.kind == FlowKind::Rtcp)?;
        let leg = LegEntry {
            rtp,
            rtcp,
            peer: ports.address_of(rtp.spec.peer)?,
            live: true,
            orphan: true,
            late: Late::default(),
            sent_by_peer: 0,
        };
        Some((local, leg))
    };
    let legs: HashMap<SocketAddr, LegEntry> = flows.keys().filter_map(|index| leg(*index)).collect();
    let is_whole = |local: &SocketAddr, leg: &LegEntry| {
        let peer = legs.get(&leg.peer).filter(|peer| peer.peer == *local);
        peer.is_some_and(|peer| peer.rtp.spec.generation == leg.rtp.spec.generation)
    };
    legs.iter()
        .filter(|(local, leg)| is_whole(local, leg))
        .map(|(local, leg)| (*local, *leg))
        .collect()
}

fn open<T: aya::Pod>(earlier: &Earlier, name: &str) -> Result<Array<MapData, T>, KernelError> {
    let data = MapData::from_pin(earlier.map(name))?;
    Ok(Array::try_from(Map::Array(data))?)
}
