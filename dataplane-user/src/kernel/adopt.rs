//! Takes over the flows that an earlier process has left in the kernel: they carry media of calls nobody here knows.
//!
//! Such legs are *orphans*: their ports are not given to new calls, their next hops are kept fresh, and when nothing has
//! been heard on them for a while they are removed.

use std::collections::HashMap;
use std::net::SocketAddr;

use aya::maps::{Array, Map, MapData};
use voxlane_common::flow::{Flow, FlowKind, FlowSpec, FlowState, LAYOUT};
use voxlane_common::next_hop::NextHopId;
use voxlane_common::ports::PortMap;

use super::error::KernelError;
use super::pins::Earlier;
use super::table::{Entry, Late, LegEntry, Table};
use crate::flows::{LegState, above};
use crate::worker::monotonic_ns;

/// An orphan from which nothing was heard for this long has ended: longer than any gap that comfort noise or hold leaves
/// between reports.
const QUIET_NS: u64 = 60_000_000_000;

impl Table {
    /// Takes over what is in the map. Ports of workers' sockets, which have ended with their process, become nobody's.
    pub(super) fn adopt(&mut self) -> Result<(), KernelError> {
        let mut found = HashMap::new();
        for index in 0..self.ports.entries() {
            let Some(spec) = self.maps.flows.get(&index, 0)?.spec() else {
                continue;
            };
            self.generation = self.generation.max(spec.generation);
            match spec.kind {
                FlowKind::Rtp | FlowKind::Rtcp => drop(found.insert(index, spec)),
                FlowKind::Worker => self.maps.flows.set(index, Flow::default(), 0)?,
            }
        }
        self.insert_orphans(&found)
    }

    /// Copies the flows of an earlier table that is for other ports, or has another layout, into this one.
    pub(super) fn carry_over(&mut self, earlier: &Earlier) {
        let directory = earlier.directory.display();
        if earlier.layout != LAYOUT {
            tracing::warn!(%directory, "an earlier process's flow table cannot be read: its calls lose their media");
            return;
        }
        match self.copy_from(earlier) {
            Ok((carried, lost)) => {
                tracing::info!(%directory, flows = carried, lost, "flows of an earlier process are carried over");
            }
            Err(error) => tracing::warn!(%directory, %error, "an earlier process's flow table cannot be read"),
        }
    }

    fn copy_from(&mut self, earlier: &Earlier) -> Result<(usize, usize), KernelError> {
        let ports: PortMap = open::<PortMap>(earlier, "PORT_MAP")?.get(&0, 0)?;
        let flows: Array<MapData, Flow> = open(earlier, "FLOWS")?;
        let states: Array<MapData, FlowState> = open(earlier, "STATES")?;
        let (mut found, mut lost) = (HashMap::new(), 0);
        for index in 0..ports.entries() {
            let Some(mut spec) = flows.get(&index, 0)?.spec() else {
                continue;
            };
            if spec.kind == FlowKind::Worker {
                continue;
            }
            for index in [index, spec.peer] {
                if let Some(local) = ports.address_of(index) {
                    self.add_address(local.ip())?;
                }
            }
            let here = |index| self.ports.index_of(ports.address_of(index)?);
            let (Some(new_index), Some(new_peer)) = (here(index), here(spec.peer)) else {
                lost += 1;
                continue;
            };
            spec.peer = new_peer;
            self.generation = self.generation.max(spec.generation);
            let state = states.get(&index, 0)?;
            self.maps.states.set(new_index, state, 0)?;
            found.insert(new_index, spec);
        }
        self.insert_orphans(&found)?;
        Ok((found.len(), lost))
    }

    /// Enters flows into the book and the map. Next hops are not known yet: the numbers were another process's.
    fn insert_orphans(&mut self, found: &HashMap<u32, FlowSpec>) -> Result<(), KernelError> {
        let entry = |index: u32| {
            let spec = found.get(&index)?;
            Some(Entry {
                index,
                spec: FlowSpec {
                    next_hop: NextHopId::UNKNOWN,
                    ..*spec
                },
            })
        };
        let mut legs = Vec::new();
        for (index, spec) in found.iter().filter(|(_, spec)| spec.kind == FlowKind::Rtp) {
            let locals = self.ports.address_of(*index).zip(self.ports.address_of(spec.peer));
            let Some(((local, peer), rtp)) = locals.zip(entry(*index)) else {
                continue;
            };
            let rtcp = self.ports.index_of(above(local)).and_then(entry);
            let Some(rtcp) = rtcp else { continue };
            legs.push((
                local,
                LegEntry {
                    rtp,
                    rtcp,
                    peer,
                    live: true,
                    orphan: true,
                    late: Late::default(),
                    sent_by_peer: 0,
                },
            ));
        }
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

    /// Ends the orphans that have gone quiet.
    pub(super) fn drop_quiet_orphans(&mut self) {
        let now_ns = monotonic_ns();
        let orphans: Vec<SocketAddr> = self
            .legs
            .iter()
            .filter(|(_, leg)| leg.orphan)
            .map(|(local, _)| *local)
            .collect();
        let last_heard = |table: &Self, local: SocketAddr| {
            let state = table.leg_state(local).unwrap_or_default();
            let LegState { rtp, rtcp, heard: _ } = state;
            rtp.account.last_seen_ns.max(rtcp.account.last_seen_ns)
        };
        for local in orphans {
            // Gone with its peer.
            let Some(peer) = self.peer_of(local) else { continue };
            let heard_ns = last_heard(self, local).max(last_heard(self, peer));
            if now_ns.saturating_sub(heard_ns) > QUIET_NS {
                tracing::info!(%local, "a call of an earlier process has ended");
                self.remove(local);
                self.remove(peer);
            }
        }
    }
}

fn open<T: aya::Pod>(earlier: &Earlier, name: &str) -> Result<Array<MapData, T>, KernelError> {
    let data = MapData::from_pin(earlier.map(name))?;
    Ok(Array::try_from(Map::Array(data))?)
}
