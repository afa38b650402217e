//! The neighbours that flows are sent to: their table in the kernel, kept as the host's own routing has it.
//!
//! A *path* is a pair of addresses, ours and the far end's. Its route names a neighbour: the far end itself, or a router
//! that many paths share. Each neighbour has an entry in the map `NEXT_HOPS`, which flows name by its number; a router
//! that gets another hardware address is one write. When routes change, every path is asked again, and the flows of
//! those that lead elsewhere now are written anew ([`NextHops::reroute`]).

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use aya::maps::{Array, HashMap as BpfHashMap, MapData};
use voxlane_common::next_hop::{Device, HardwareAddresses, MAX_NEXT_HOPS, NextHop, NextHopId, VlanTag};

use super::error::{KernelError, Refusal};
use super::netlink::{Link, Neighbour, Netlink};
use crate::lane::Reason;

/// Our address and the far end's.
pub(super) type Path = (IpAddr, IpAddr);

/// The table of neighbours.
pub(super) struct NextHops {
    netlink: Netlink,
    map: Array<MapData, NextHop>,
    devices: BpfHashMap<MapData, u32, Device>,
    /// Interfaces the XDP program is attached to.
    attached: Vec<u32>,
    links: HashMap<u32, Link>,
    /// By interface (of the route) and address.
    neighbours: HashMap<(u32, IpAddr), Known>,
    /// Entries nobody uses.
    free: Vec<NextHopId>,
    /// Entries that flows of an earlier process name, as long as nobody knows of which neighbours they are.
    left: HashSet<NextHopId>,
    paths: HashMap<Path, NextHopId>,
    /// Counts what may have changed the way of a path.
    version: u64,
}

/// A neighbour of ours.
#[derive(Clone, Copy)]
struct Known {
    id: NextHopId,
    /// As it was last written.
    written: NextHop,
}

impl NextHops {
    /// A table for flows that leave by the interfaces `attached`. Of the map, what flows of an earlier process name is
    /// `left` as it is.
    pub(super) fn new(
        netlink: Netlink,
        map: Array<MapData, NextHop>,
        devices: BpfHashMap<MapData, u32, Device>,
        attached: Vec<u32>,
        left: HashSet<NextHopId>,
    ) -> Result<Self, KernelError> {
        let mut hops = Self {
            netlink,
            map,
            devices,
            attached: Vec::new(),
            links: HashMap::new(),
            neighbours: HashMap::new(),
            // The first entry means "not known".
            free: (1..MAX_NEXT_HOPS)
                .rev()
                .map(NextHopId)
                .filter(|id| !left.contains(id))
                .collect(),
            left,
            paths: HashMap::new(),
            version: 1,
        };
        hops.set_attached(attached)?;
        Ok(hops)
    }

    /// These are the interfaces the XDP program is attached to.
    pub(super) fn set_attached(&mut self, attached: Vec<u32>) -> Result<(), KernelError> {
        self.attached = attached;
        self.read_links()
            .map_err(|error| KernelError::io("list the network interfaces", error))
    }

    /// The interfaces the XDP program is attached to: index and name.
    pub(super) fn attached(&self) -> Vec<(u32, String)> {
        let name = |ifindex: &u32| self.links.get(ifindex).map(|link| link.name.clone());
        let attached = self.attached.iter();
        attached
            .map(|ifindex| (*ifindex, name(ifindex).unwrap_or_default()))
            .collect()
    }

    /// Another number whenever a path may lead elsewhere, or a neighbour has another hardware address.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The neighbour a path leads to; not known where it leads past the lane's interfaces, or nobody has answered.
    pub(super) fn way(&mut self, path: Path) -> NextHop {
        let Ok(id) = self.of_path(path) else {
            return NextHop::default();
        };
        let known = self.neighbours.values().find(|known| known.id == id);
        known.map_or(NextHop::default(), |known| known.written)
    }

    /// The XDP program of each interface that has one.
    pub(super) fn programs(&self) -> HashMap<u32, u32> {
        let links = self.links.values();
        links.filter_map(|link| Some((link.ifindex, link.xdp?))).collect()
    }

    /// Takes over the paths of an earlier process, with the entries that were written for them: what they hold is better
    /// than nothing, until the kernel says otherwise. Returns the entries that are to be used from now on.
    pub(super) fn adopt(&mut self, paths: &HashMap<Path, NextHopId>) -> Vec<(Path, NextHopId)> {
        let mut adopted = Vec::new();
        for (path, left) in paths {
            let id = self.resolve(*path, Some(*left)).unwrap_or_else(|refusal| {
                tracing::warn!(destination = %path.1, %refusal, "a call of an earlier process is out of reach");
                NextHopId::UNKNOWN
            });
            self.paths.insert(*path, id);
            adopted.push((*path, id));
        }
        adopted
    }

    /// No flow names entries of an earlier process any more, but those that were taken over.
    pub(super) fn forget_left(&mut self) {
        for id in std::mem::take(&mut self.left) {
            self.write(id, NextHop::default(), NextHop::default());
            self.free.push(id);
        }
    }

    /// The entry of a path that is to be used from now on; not known if there is no room for it.
    ///
    /// # Errors
    /// If the path does not lead through an interface of the kernel lane.
    pub(super) fn of_path(&mut self, path: Path) -> Result<NextHopId, Refusal> {
        if let Some(id) = self.paths.get(&path) {
            return Ok(*id);
        }
        let id = self.resolve(path, None)?;
        self.paths.insert(path, id);
        Ok(id)
    }

    /// Asks every path anew; returns those that lead to another neighbour now.
    pub(super) fn reroute(&mut self) -> Vec<(Path, NextHopId)> {
        self.version += 1;
        let mut moved = Vec::new();
        for (path, id) in self.paths.clone() {
            let now = self.resolve(path, None).unwrap_or_else(|refusal| {
                tracing::warn!(destination = %path.1, %refusal, "live flows are out of the kernel lane's reach");
                // The program asks for itself, and counts what it is told.
                NextHopId::UNKNOWN
            });
            if now != id {
                self.paths.insert(path, now);
                moved.push((path, now));
            }
        }
        moved
    }

    /// Forgets the paths that are not `in_use`, and the neighbours only they used.
    pub(super) fn retain(&mut self, in_use: &HashSet<Path>) {
        self.paths.retain(|path, _| in_use.contains(path));
        let used: HashSet<NextHopId> = self.paths.values().copied().collect();
        let unused: Vec<(u32, IpAddr)> = self
            .neighbours
            .iter()
            .filter(|(_, known)| !used.contains(&known.id))
            .map(|(neighbour, _)| *neighbour)
            .collect();
        for neighbour in unused {
            if let Some(known) = self.neighbours.remove(&neighbour) {
                self.write(known.id, NextHop::default(), known.written);
                self.free.push(known.id);
            }
        }
    }

    /// Keeps the kernel looking for the neighbours' hardware addresses: one that only the XDP program uses looks unused
    /// to it.
    pub(super) fn prime(&mut self) {
        let neighbours: Vec<(u32, IpAddr)> = self.neighbours.keys().copied().collect();
        for (ifindex, address) in neighbours {
            if let Err(error) = self.netlink.prime(ifindex, address) {
                tracing::debug!(%address, %error, "cannot ask for a neighbour's hardware address");
            }
        }
    }

    /// The kernel has learned, or lost, a neighbour's hardware address.
    pub(super) fn on_neighbour(&mut self, neighbour: &Neighbour) {
        self.update(neighbour.ifindex, neighbour.address, neighbour.mac);
    }

    /// An interface has changed, come or gone.
    pub(super) fn on_links(&mut self) {
        if let Err(error) = self.read_links() {
            tracing::warn!(%error, "cannot list the network interfaces");
        }
        let neighbours: Vec<(u32, IpAddr)> = self.neighbours.keys().copied().collect();
        for (ifindex, address) in neighbours {
            self.ask_for(ifindex, address);
        }
    }

    /// Whether packets sent to this entry's neighbour pass queues that keep departure times; and the interface.
    pub(super) fn keeps_departure_times(&mut self, id: NextHopId) -> Option<(String, bool)> {
        let (ifindex, _) = *self.neighbours.iter().find(|(_, known)| known.id == id)?.0;
        let device = self.device(ifindex)?;
        let name = self.links.get(&device.ifindex)?.name.clone();
        let keeps = self
            .netlink
            .keeps_departure_times(device.ifindex)
            .unwrap_or_else(|error| {
                tracing::warn!(interface = %name, %error, "cannot ask for the queueing discipline");
                false
            });
        Some((name, keeps))
    }

    /// Finds the neighbour a path leads to now. One that is new here gets the entry an earlier process has `left` for the
    /// path, if there is one.
    fn resolve(&mut self, path: Path, left: Option<NextHopId>) -> Result<NextHopId, Refusal> {
        let (source, destination) = path;
        let refused = |detail: String| Refusal::new(Reason::InterfaceNotAttached, detail);
        let route = self
            .netlink
            .route(source, destination)
            .map_err(|error| refused(format!("no route from {source} to {destination}: {error}")))?;
        if !route.unicast || self.device(route.ifindex).is_none() {
            return Err(refused(format!(
                "{destination} is reached through an interface without the XDP program"
            )));
        }
        let address = route.gateway.unwrap_or(destination);
        if let Some(known) = self.neighbours.get(&(route.ifindex, address)) {
            return Ok(known.id);
        }
        if let Err(error) = self.netlink.prime(route.ifindex, address) {
            // Not fatal: the program asks for itself, and counts `no_neighbour` until the kernel has found it.
            tracing::warn!(%address, %error, "cannot ask for the next hop's hardware address");
        }
        let left = left.filter(|id| self.left.remove(id));
        let Some(id) = left.or_else(|| self.free.pop()) else {
            return Ok(NextHopId::UNKNOWN);
        };
        let written = left.and_then(|id| self.map.get(&id.0, 0).ok()).unwrap_or_default();
        self.neighbours.insert((route.ifindex, address), Known { id, written });
        match self.netlink.neighbour(route.ifindex, address) {
            Ok(Some(Neighbour { mac: Some(mac), .. })) => self.update(route.ifindex, address, Some(mac)),
            // It is asked for, and the answer will be told.
            Ok(_) => {}
            Err(error) => tracing::warn!(%address, %error, "cannot ask for a neighbour"),
        }
        Ok(id)
    }

    fn ask_for(&mut self, ifindex: u32, address: IpAddr) {
        match self.netlink.neighbour(ifindex, address) {
            Ok(neighbour) => self.update(ifindex, address, neighbour.and_then(|neighbour| neighbour.mac)),
            Err(error) => tracing::warn!(%address, %error, "cannot ask for a neighbour"),
        }
    }

    fn update(&mut self, ifindex: u32, address: IpAddr, mac: Option<[u8; 6]>) {
        let Some(known) = self.neighbours.get(&(ifindex, address)).copied() else {
            return;
        };
        let hop = mac.and_then(|mac| self.next_hop(ifindex, mac)).unwrap_or_default();
        if hop != known.written {
            self.write(known.id, hop, known.written);
            if let Some(known) = self.neighbours.get_mut(&(ifindex, address)) {
                known.written = hop;
            }
        }
    }

    fn next_hop(&self, ifindex: u32, destination: [u8; 6]) -> Option<NextHop> {
        let device = self.device(ifindex)?;
        let link = self.links.get(&ifindex)?;
        Some(NextHop {
            ifindex: device.ifindex,
            mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
            vlan: device.vlan,
            addresses: HardwareAddresses::new(destination, link.mac?),
        })
    }

    /// What stands on the wire for an interface, if it is of the kernel lane.
    fn device(&self, ifindex: u32) -> Option<Device> {
        let (ifindex, vlan) = match self.links.get(&ifindex)?.vlan {
            _ if self.attached.contains(&ifindex) => (ifindex, VlanTag::NONE),
            Some((below, identifier)) => (below, VlanTag::of(identifier)),
            None => return None,
        };
        self.attached.contains(&ifindex).then_some(Device {
            ifindex,
            vlan,
            reserved: 0,
        })
    }

    fn read_links(&mut self) -> std::io::Result<()> {
        let links = self.netlink.links()?;
        self.links = links.into_iter().map(|link| (link.ifindex, link)).collect();
        let gone: Vec<u32> = self
            .devices
            .keys()
            .filter_map(Result::ok)
            .filter(|ifindex| self.device(*ifindex).is_none())
            .collect();
        for ifindex in gone {
            // It may be gone already.
            let _ = self.devices.remove(&ifindex);
        }
        for ifindex in self.links.keys().copied().collect::<Vec<_>>() {
            if let Some(device) = self.device(ifindex)
                && let Err(error) = self.devices.insert(ifindex, device, 0)
            {
                tracing::error!(%error, ifindex, "cannot tell the kernel lane of an interface");
            }
        }
        Ok(())
    }

    /// Writes an entry so that no frame is sent to a mixture of the old and the new.
    fn write(&mut self, id: NextHopId, hop: NextHop, old: NextHop) {
        self.version += 1;
        let steps = [old.forgotten(), hop.forgotten(), hop];
        for step in steps {
            if let Err(error) = self.map.set(id.0, step, 0) {
                tracing::error!(%error, "cannot write a next hop of the kernel lane");
            }
        }
    }
}
