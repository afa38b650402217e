//! The flow table: writes flows into the maps that the program reads, and reads its counts back.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aya::maps::{Array, MapData, PerCpuArray};
use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;
use voxlane_common::duration;
use voxlane_common::flow::{Counts, Flow, FlowKind, FlowSpec, FlowState, Mirror};
use voxlane_common::next_hop::NextHopId;
use voxlane_common::outcome::{Frames, Loss, Outcome};
use voxlane_common::ports::PortMap;
use voxlane_common::sockets::WorkerId;

use super::error::KernelError;
use super::next_hops::Path;
use super::pair::LegFlows;
use crate::flows::{Heard, LegState, above};
use crate::media_plane::{FarEnd, StreamStats};
use crate::worker::monotonic_ns;

/// What was seen of one leg in the kernel lane.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRecord {
    /// Where its RTP arrives.
    pub local: SocketAddr,
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
    /// RTCP packets that arrived and were sent on.
    pub rtcp_forwarded: u64,
    /// Packets, RTP and RTCP, that were dropped, by reason; reasons that never occurred are left out.
    pub drops: Vec<(DropReason, u64)>,
    /// Whether what is sent on leaves at its times.
    pub paced: bool,
    /// Datagrams of the leg that sockets have received, in another lane.
    pub datagrams: u64,
    /// Keys pressed by the leg's far end.
    pub digits: u64,
    /// To the leg's far end and back.
    pub round_trip: Option<Duration>,
    /// What its far end reported last.
    pub far: Option<FarEnd>,
}

/// One flow as it was last written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) index: u32,
    pub(super) spec: FlowSpec,
}

/// The flows that arrive at one leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct LegEntry {
    pub(super) rtp: Entry,
    pub(super) rtcp: Entry,
    /// RTP address of the leg it is joined with.
    pub(super) peer: SocketAddr,
    /// Whether the flows are still in the map.
    pub(super) live: bool,
    /// Left by an earlier process: no call of this one.
    pub(super) orphan: bool,
    /// Packets that were in the sockets of another lane when it handed the leg over.
    pub(super) late: Late,
    /// RTP packets that its peer's flow had sent to it, once the peer is gone.
    pub(super) sent_by_peer: u64,
}

/// What another lane has counted of a leg's flows, RTP and RTCP, after it had handed the leg over.
pub(super) type Late = [Counts; 2];

impl LegEntry {
    pub(super) fn entries(&self) -> [Entry; 2] {
        [self.rtp, self.rtcp]
    }
}

/// The maps of the flow table.
pub(super) struct Maps {
    pub(super) port_map: Array<MapData, PortMap>,
    pub(super) flows: Array<MapData, Flow>,
    pub(super) states: Array<MapData, FlowState>,
    pub(super) frames: PerCpuArray<MapData, Frames>,
    pub(super) durations: PerCpuArray<MapData, u64>,
    pub(super) lost: PerCpuArray<MapData, u64>,
}

/// The maps and what was written to them.
pub(super) struct Table {
    pub(super) ports: PortMap,
    pub(super) maps: Maps,
    pub(super) legs: HashMap<SocketAddr, LegEntry>,
    /// RTP address of the leg by the entry of its RTP or RTCP flow.
    pub(super) by_index: HashMap<u32, SocketAddr>,
    pub(super) generation: u32,
    /// When the table was made.
    pub(super) since_ns: u64,
}

impl Table {
    /// A table for `ports`; what the maps hold of an earlier process is taken over.
    pub(super) fn new(ports: PortMap, maps: Maps) -> Result<Self, KernelError> {
        let earlier = maps.port_map.get(&0, 0)?;
        let mut table = Self {
            ports,
            maps,
            legs: HashMap::new(),
            by_index: HashMap::new(),
            generation: 0,
            since_ns: monotonic_ns(),
        };
        if earlier != PortMap::default() {
            table.adopt(&earlier)?;
        }
        table.maps.port_map.set(0, table.ports, 0)?;
        Ok(table)
    }

    pub(super) fn add_address(&mut self, address: IpAddr) -> Result<(), KernelError> {
        let mut ports = self.ports;
        let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        if address.is_multicast() || broadcast || !ports.add(address) {
            return Err(KernelError::Address(address));
        }
        if ports != self.ports {
            self.maps.port_map.set(0, ports, 0)?;
            self.ports = ports;
        }
        Ok(())
    }

    /// Flows there is room for.
    #[cfg(feature = "lab")]
    pub(super) fn capacity(&self) -> u32 {
        self.ports.entries()
    }

    /// Changes the flows of all legs.
    #[cfg(feature = "lab")]
    pub(super) fn change_all(
        &mut self,
        mut change: impl FnMut(&mut FlowSpec) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        for mut entry in self.legs.values().flat_map(LegEntry::entries).collect::<Vec<_>>() {
            change(&mut entry.spec)?;
            self.write(&entry)?;
        }
        Ok(())
    }

    /// Legs of this process's calls.
    pub(super) fn legs(&self) -> usize {
        self.legs.values().filter(|leg| !leg.orphan).count()
    }

    /// Gives the packets of a leg's two ports to a worker's AF_XDP sockets; without a worker, to the UDP sockets that have
    /// the ports.
    pub(super) fn reserve(&mut self, local: SocketAddr, worker: WorkerId) -> Result<(), KernelError> {
        self.add_address(local.ip())?;
        let generation = self.next_generation();
        for index in self.indices(local)? {
            self.write(&Entry {
                index,
                spec: FlowSpec::of_worker(generation, worker),
            })?;
        }
        Ok(())
    }

    /// Makes a leg's two ports nobody's.
    pub(super) fn release(&mut self, local: SocketAddr) {
        let Ok(indices) = self.indices(local) else {
            return;
        };
        for index in indices {
            self.clear(index);
        }
    }

    /// Writes the flows of a pair, with next hops as `next_hop` has them. If the same two legs are joined already, their
    /// counts go on; if not, those of `states` do, if there are any.
    pub(super) fn program(
        &mut self,
        pair: [LegFlows; 2],
        states: Option<[LegState; 2]>,
        mut next_hop: impl FnMut(Path) -> NextHopId,
    ) -> Result<(), KernelError> {
        let [mut first, mut second] = pair;
        for leg in [&first, &second] {
            self.add_address(leg.local.ip())?;
        }
        let current = self.joined(&first, &second);
        let goes_on = current.is_some();
        let (generation, epoch) = match current {
            Some(current) => (current.generation, next_epoch(self, &first, &second, current)),
            None => {
                self.retire(first.local);
                self.retire(second.local);
                (self.next_generation(), 0)
            }
        };
        let [first_mirror, second_mirror] = [first.local, second.local].map(|local| {
            let before = self.legs.get(&local).filter(|_| goes_on);
            before.map_or(Mirror::Off, |leg| leg.rtp.spec.mirror)
        });
        let [first_rtp, first_rtcp] = self.indices(first.local)?;
        let [second_rtp, second_rtcp] = self.indices(second.local)?;
        let found =
            states.map(|states| states.map(|state| [state.rtp, state.rtcp].map(|flow| flow.found_destination())));
        let [[to_second, to_second_rtcp], [to_first, to_first_rtcp]] = found.unwrap_or_default();
        for (spec, mirror, peer, found) in [
            (&mut first.rtp, first_mirror, second_rtp, to_second),
            (&mut first.rtcp, first_mirror, second_rtcp, to_second_rtcp),
            (&mut second.rtp, second_mirror, first_rtp, to_first),
            (&mut second.rtcp, second_mirror, first_rtcp, to_first_rtcp),
        ] {
            (spec.generation, spec.epoch, spec.peer) = (generation, epoch, peer);
            spec.mirror = mirror;
            if !found.is_none() {
                spec.destination = found;
            }
            spec.next_hop = path_of(spec).map_or(NextHopId::UNKNOWN, &mut next_hop);
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
                orphan: false,
                late: self
                    .legs
                    .get(&leg.local)
                    .filter(|_| goes_on)
                    .map_or(Late::default(), |leg| leg.late),
                sent_by_peer: 0,
            };
            self.legs.insert(leg.local, entry);
            self.by_index.extend([(rtp, leg.local), (rtcp, leg.local)]);
            written.extend([entry.rtp, entry.rtcp]);
        }
        let result = self
            .write_states(&written, states)
            .and_then(|()| written.iter().try_for_each(|entry| self.write(entry)));
        if result.is_err() {
            // Half a call is worse than none: the worker lane takes it whole.
            self.remove(first.local);
            self.remove(second.local);
        }
        result
    }

    /// Ends the pair of `local` and forgets the leg.
    pub(super) fn remove(&mut self, local: SocketAddr) -> Option<FlowRecord> {
        let record = self.read(local);
        self.retire(local);
        if let Some(leg) = self.legs.remove(&local) {
            let sent = self.state(&leg.rtp, &leg.late[0]).forwarded;
            if let Some(peer) = self.legs.get_mut(&leg.peer).filter(|peer| peer.peer == local) {
                peer.sent_by_peer = sent;
            }
            self.forget_entries(&leg);
        }
        record
    }

    /// Leaves the packets of a pair to sockets on its ports, at once, and returns the two legs, that of `local` first:
    /// [`Self::last_states`] is to follow. `None` if the pair is not in the table.
    pub(super) fn let_go(&mut self, local: SocketAddr) -> Result<Option<[SocketAddr; 2]>, KernelError> {
        let Some(leg) = self.legs.get(&local).copied().filter(|leg| leg.live) else {
            return Ok(None);
        };
        let Some(peer) = self.legs.get(&leg.peer).copied() else {
            return Ok(None);
        };
        let pair = [local, leg.peer];
        for entry in leg.entries().into_iter().chain(peer.entries()) {
            // One field changes: a program that is looking sees the flow or the worker's port.
            let spec = FlowSpec {
                kind: FlowKind::Worker,
                ..entry.spec
            };
            self.maps.flows.set(entry.index, Flow::new(&spec), 0)?;
        }
        for local in pair {
            if let Some(leg) = self.legs.get_mut(&local) {
                leg.live = false;
            }
        }
        Ok(Some(pair))
    }

    /// What the program knew of two legs that it was let go of; they are forgotten here.
    pub(super) fn last_states(&mut self, pair: [SocketAddr; 2]) -> [LegState; 2] {
        let states = pair.map(|local| self.last_state(local).unwrap_or_default());
        for local in pair {
            if let Some(leg) = self.legs.remove(&local) {
                self.forget_entries(&leg);
            }
        }
        states
    }

    fn forget_entries(&mut self, leg: &LegEntry) {
        for entry in leg.entries() {
            self.by_index.remove(&entry.index);
        }
    }

    pub(super) fn read(&self, local: SocketAddr) -> Option<FlowRecord> {
        let leg = self.legs.get(&local)?;
        let LegState { rtp, rtcp, heard: _ } = self.leg_state(local)?;
        let sent_packets = match self.legs.get(&leg.peer).filter(|peer| peer.peer == local) {
            Some(peer) => self.state(&peer.rtp, &peer.late[0]).forwarded,
            None => leg.sent_by_peer,
        };
        let drops = DropReason::ALL
            .into_iter()
            .map(|reason| (reason, rtp.dropped(reason) + rtcp.dropped(reason)));
        Some(FlowRecord {
            local,
            forwarded_to: rtp.destination(&Flow::new(&leg.rtp.spec)).get(),
            received: stats(&rtp),
            sent_packets,
            forwarded_packets: rtp.forwarded,
            rtcp_packets: rtcp.account.packets,
            rtcp_forwarded: rtcp.forwarded,
            drops: drops.filter(|(_, count)| *count > 0).collect(),
            paced: rtp.is_paced(&Flow::new(&leg.rtp.spec)),
            // The reader of events knows.
            datagrams: 0,
            digits: 0,
            round_trip: None,
            far: None,
        })
    }

    /// The leg whose flow has this entry, unless the flow is of another generation.
    pub(super) fn leg_at(&self, index: u32, generation: u32) -> Option<(SocketAddr, FlowKind)> {
        let local = *self.by_index.get(&index)?;
        let leg = self.legs.get(&local)?;
        let entry = leg.entries().into_iter().find(|entry| entry.index == index)?;
        (entry.spec.generation == generation).then_some((local, entry.spec.kind))
    }

    /// RTP address of the leg that a leg is joined with.
    pub(super) fn peer_of(&self, local: SocketAddr) -> Option<SocketAddr> {
        self.legs.get(&local).map(|leg| leg.peer)
    }

    /// Another lane knew `before` of a leg when this one got it, and knows `after` now that it has let go: what it has
    /// handled in between is taken into account.
    pub(super) fn add_late(
        &mut self,
        local: SocketAddr,
        before: &LegState,
        after: &LegState,
    ) -> Result<(), KernelError> {
        let Some(leg) = self.legs.get(&local).copied().filter(|leg| leg.live) else {
            return Ok(());
        };
        let flows = [(leg.rtp, before.rtp, after.rtp), (leg.rtcp, before.rtcp, after.rtcp)];
        for (place, (entry, before, after)) in flows.into_iter().enumerate() {
            let flow = Flow::new(&entry.spec);
            if after == before {
                continue;
            }
            // A source that was heard for the first time has to be told to the program, if it has seen nothing itself: its state is
            // replaced whole. Otherwise it is not: a packet that the program counts at that moment would not be counted.
            let learned = before.latch.source() != after.latch.source() || !before.sent.continues_as(&after.sent);
            if learned && self.maps.states.get(&entry.index, 0)? == before.moved_to(&flow) {
                self.maps.states.set(entry.index, after.moved_to(&flow), 0)?;
            } else if let Some(leg) = self.legs.get_mut(&local) {
                leg.late[place] = after.counted_since(&before);
            }
        }
        Ok(())
    }

    /// Gives userspace copies of all that arrives at a leg, or no longer.
    pub(super) fn set_mirror(&mut self, local: SocketAddr, mirror: Mirror) -> Result<(), KernelError> {
        let Some(leg) = self.legs.get_mut(&local).filter(|leg| leg.live) else {
            return Ok(());
        };
        leg.rtp.spec.mirror = mirror;
        leg.rtcp.spec.mirror = mirror;
        let leg = *leg;
        leg.entries().iter().try_for_each(|entry| self.write(entry))
    }

    /// A flow has been found to come from elsewhere than was signalled: from now on its peer is known to be sent there, by
    /// way of `next_hop`.
    pub(super) fn on_found(
        &mut self,
        index: u32,
        generation: u32,
        mut next_hop: impl FnMut(Path) -> NextHopId,
    ) -> Result<(), KernelError> {
        let Some((local, kind)) = self.leg_at(index, generation) else {
            return Ok(());
        };
        let Some(peer) = self.peer_of(local) else {
            return Ok(());
        };
        let Some(leg) = self.legs.get(&peer).filter(|leg| leg.live) else {
            return Ok(());
        };
        let mut entry = match kind {
            FlowKind::Rtp => leg.rtp,
            FlowKind::Rtcp | FlowKind::Worker => leg.rtcp,
        };
        let found = self.state(&entry, &Counts::default()).found_destination();
        if found.is_none() || found.is(entry.spec.destination) {
            return Ok(());
        }
        entry.spec.destination = found;
        entry.spec.next_hop = path_of(&entry.spec).map_or(NextHopId::UNKNOWN, &mut next_hop);
        self.rewrite(peer, entry)
    }

    /// Routes have changed: these paths have other next hops now.
    pub(super) fn reroute(&mut self, moved: &[(Path, NextHopId)]) -> Result<(), KernelError> {
        let moved: HashMap<Path, NextHopId> = moved.iter().copied().collect();
        let locals: Vec<SocketAddr> = self.legs.keys().copied().collect();
        for local in locals {
            let Some(leg) = self.legs.get(&local).filter(|leg| leg.live) else {
                continue;
            };
            for mut entry in leg.entries() {
                let next_hop = path_of(&entry.spec).and_then(|path| moved.get(&path).copied());
                if let Some(next_hop) = next_hop.filter(|next_hop| *next_hop != entry.spec.next_hop) {
                    entry.spec.next_hop = next_hop;
                    self.rewrite(local, entry)?;
                }
            }
        }
        Ok(())
    }

    /// The path of every live flow, and the next hop that was written for it.
    pub(super) fn paths(&self) -> HashMap<Path, NextHopId> {
        let live = self.legs.values().filter(|leg| leg.live);
        live.flat_map(LegEntry::entries)
            .filter_map(|entry| Some((path_of(&entry.spec)?, entry.spec.next_hop)))
            .collect()
    }

    pub(super) fn counters(&self) -> Vec<(Outcome, u64)> {
        let cores = self.frames();
        Outcome::all()
            .map(|outcome| (outcome, cores.iter().map(|core| core.ended_so(outcome)).sum()))
            .collect()
    }

    /// The frames of each core.
    pub(super) fn frames(&self) -> Vec<Frames> {
        match self.maps.frames.get(&0, 0) {
            Ok(cores) => cores.to_vec(),
            Err(error) => {
                tracing::error!(%error, "cannot read the counters of the XDP relay");
                Vec::new()
            }
        }
    }

    /// Packets by the time they took in the program: the end of each bucket (ns, exclusive; `None` for the last) and its
    /// count. One in [`duration::SAMPLED`] is measured.
    pub(super) fn durations(&self) -> Vec<(Option<u64>, u64)> {
        (0..duration::BUCKETS)
            .map(|bucket| (duration::end_of(bucket), sum(&self.maps.durations, bucket)))
            .collect()
    }

    pub(super) fn lost(&self, loss: Loss) -> u64 {
        sum(&self.maps.lost, loss as u32)
    }

    /// The RTP flow as it was last written, if these two legs are joined already, and not by an earlier process.
    fn joined(&self, first: &LegFlows, second: &LegFlows) -> Option<FlowSpec> {
        let (one, other) = (self.legs.get(&first.local)?, self.legs.get(&second.local)?);
        let ours = !one.orphan && !other.orphan;
        let same = ours && one.live && other.live && one.peer == second.local && other.peer == first.local;
        same.then_some(one.rtp.spec)
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.generation
    }

    /// The entries of a leg's RTP and RTCP flows.
    fn indices(&self, local: SocketAddr) -> Result<[u32; 2], KernelError> {
        let rtp = self.ports.index_of(local);
        let rtcp = self.ports.index_of(above(local));
        let both = rtp.zip(rtcp).map(|(rtp, rtcp)| [rtp, rtcp]);
        both.ok_or(KernelError::Address(local.ip()))
    }

    /// Takes the flows of a leg and of its peer out of the map; their states stay until the ports are used again.
    fn retire(&mut self, local: SocketAddr) {
        let Some(leg) = self.legs.get_mut(&local).filter(|leg| leg.live) else {
            return;
        };
        leg.live = false;
        let mut indices = leg.entries().map(|entry| entry.index).to_vec();
        let peer = leg.peer;
        if let Some(peer) = self
            .legs
            .get_mut(&peer)
            .filter(|other| other.live && other.peer == local)
        {
            peer.live = false;
            indices.extend(peer.entries().map(|entry| entry.index));
        }
        for index in indices {
            self.clear(index);
        }
    }

    fn clear(&mut self, index: u32) {
        if let Err(error) = self.maps.flows.set(index, Flow::default(), 0) {
            tracing::error!(%error, index, "cannot take a flow out of the kernel lane");
        }
    }

    /// Changes one flow of a leg, in the book and in the map.
    fn rewrite(&mut self, local: SocketAddr, entry: Entry) -> Result<(), KernelError> {
        if let Some(leg) = self.legs.get_mut(&local) {
            if leg.rtp.index == entry.index {
                leg.rtp = entry;
            } else {
                leg.rtcp = entry;
            }
        }
        self.write(&entry)
    }

    fn write_states(&mut self, entries: &[Entry], states: Option<[LegState; 2]>) -> Result<(), KernelError> {
        let Some([first, second]) = states else {
            return Ok(());
        };
        let states = [first.rtp, first.rtcp, second.rtp, second.rtcp];
        for (entry, state) in entries.iter().zip(states) {
            let state = state.moved_to(&Flow::new(&entry.spec));
            self.maps.states.set(entry.index, state, 0)?;
        }
        Ok(())
    }

    /// Writes a flow, in steps: a map write is not atomic, and the program may be looking. What is not a flow yet, or a
    /// worker's, becomes one when all else is there; a flow whose addresses change has none while they do.
    fn write(&mut self, entry: &Entry) -> Result<(), KernelError> {
        let flow = Flow::new(&entry.spec);
        let current = self.maps.flows.get(&entry.index, 0)?;
        let before = match current.spec() {
            None => Some(FlowSpec {
                generation: 0,
                ..entry.spec
            }),
            Some(current) if current.kind == FlowKind::Worker => Some(FlowSpec {
                kind: FlowKind::Worker,
                ..entry.spec
            }),
            Some(current) if !addresses(&current).iter().eq(&addresses(&entry.spec)) => Some(FlowSpec {
                destination: TransportAddress::NONE,
                ..current
            }),
            Some(_) => None,
        };
        if let Some(before) = before {
            self.maps.flows.set(entry.index, Flow::new(&before), 0)?;
        }
        Ok(self.maps.flows.set(entry.index, flow, 0)?)
    }

    /// What is known of a leg's flows.
    pub(super) fn leg_state(&self, local: SocketAddr) -> Option<LegState> {
        let leg = self.legs.get(&local)?;
        let [rtp, rtcp] = leg.late;
        Some(LegState {
            rtp: self.state(&leg.rtp, &rtp),
            rtcp: self.state(&leg.rtcp, &rtcp),
            // The reader of events knows.
            heard: Heard::default(),
        })
    }

    /// The same for somebody who goes on from it: without what signalling has made void since the last packet.
    fn last_state(&self, local: SocketAddr) -> Option<LegState> {
        let leg = self.legs.get(&local)?;
        let mut state = self.leg_state(local)?;
        state.rtp.enter(&Flow::new(&leg.rtp.spec));
        state.rtcp.enter(&Flow::new(&leg.rtcp.spec));
        Some(state)
    }

    /// What is known of the leg at `local` and of its peer, while both are joined.
    pub(super) fn states(&self, local: SocketAddr) -> Option<[LegState; 2]> {
        let leg = self.legs.get(&local).filter(|leg| leg.live)?;
        Some([self.last_state(local)?, self.last_state(leg.peer)?])
    }

    /// What the program has seen of a flow, nothing if the state in the map is an earlier call's, and what is `late`.
    fn state(&self, entry: &Entry, late: &Counts) -> FlowState {
        let mut state = match self.maps.states.get(&entry.index, 0) {
            Ok(state) if state.belongs_to(&Flow::new(&entry.spec)) => state,
            Ok(_) => FlowState::default(),
            Err(error) => {
                tracing::error!(%error, "cannot read a flow of the kernel lane");
                FlowState::default()
            }
        };
        state.add(late);
        state
    }
}

fn sum(counters: &PerCpuArray<MapData, u64>, index: u32) -> u64 {
    match counters.get(&index, 0) {
        Ok(cores) => cores.iter().sum(),
        Err(error) => {
            tracing::error!(%error, "cannot read the counters of the XDP relay");
            0
        }
    }
}

fn addresses(spec: &FlowSpec) -> [TransportAddress; 3] {
    [spec.signalled, spec.outgoing, spec.destination]
}

/// The path a flow is sent on; `None` while nobody knows where it goes.
pub(super) fn path_of(spec: &FlowSpec) -> Option<Path> {
    Some((spec.outgoing.get()?.ip(), spec.destination.get()?.ip()))
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
        mean_jitter_ms: account.mean_jitter_ns() as f64 / 1e6,
        max_jitter_ms: account.max_jitter_ns() as f64 / 1e6,
        ssrc: account.ssrc,
        source: state.latch.source().get(),
    }
}
