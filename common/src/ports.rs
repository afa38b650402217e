//! From (local address, port) to an entry of the flow table.
//!
//! The RTP port range is small and dense, so the table is an array: a part for each address slot, and in it the even
//! ports, RTP's, before the odd ones, RTCP's. RTCP comes once in some hundred packets: between the RTP entries it would
//! take up half of the memory pages they stand in. Userspace and the XDP program compute the same index from the same
//! [`PortMap`].

#![allow(unsafe_code)]

use core::net::{IpAddr, SocketAddr};

use bytemuck::{Pod, Zeroable};

use crate::address::{Host, TransportAddress};

/// Most local addresses a kernel lane serves.
pub const MAX_ADDRESSES: usize = 8;

/// What happens to a packet to a port of the range that is nobody's.
#[repr(u8)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unallocated {
    /// It is dropped and counted: a port scan costs nothing and learns nothing.
    #[default]
    Drop = 0,
    /// It is left to the network stack: other programs of the host use ports of the range.
    Pass = 1,
}

/// The local addresses and the port range of the flow table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PortMap {
    /// Local addresses; none marks a free slot.
    addresses: [Host; MAX_ADDRESSES],
    first: u16,
    last: u16,
    unallocated: u8,
    /// No padding in a map value.
    reserved: [u8; 3],
}

impl PortMap {
    /// A map of `first..=last` that knows no address yet. An empty range (`last < first`) maps nothing.
    pub const fn new(first: u16, last: u16, unallocated: Unallocated) -> Self {
        Self {
            addresses: [Host::NONE; MAX_ADDRESSES],
            first,
            last,
            unallocated: unallocated as u8,
            reserved: [0; 3],
        }
    }

    /// What happens to a packet to a port that is nobody's.
    #[inline(always)]
    pub const fn unallocated(&self) -> Unallocated {
        match self.unallocated {
            0 => Unallocated::Drop,
            _ => Unallocated::Pass,
        }
    }

    /// Pairs of an even port and the one above for each address; of the first or last pair one may be out of the range.
    #[inline(always)]
    const fn pairs(&self) -> u32 {
        if self.last < self.first {
            0
        } else {
            (self.last / 2 - self.first / 2) as u32 + 1
        }
    }

    /// Entries that the flow table needs for all slots.
    pub const fn entries(&self) -> u32 {
        2 * self.pairs() * MAX_ADDRESSES as u32
    }

    /// The entry of the RTCP beside the RTP of an entry.
    #[inline(always)]
    pub const fn rtcp_beside(&self, rtp: u32) -> u32 {
        rtp.wrapping_add(self.pairs())
    }

    /// The entry of the RTP beside the RTCP of an entry.
    #[inline(always)]
    pub const fn rtp_beside(&self, rtcp: u32) -> u32 {
        rtcp.wrapping_sub(self.pairs())
    }

    /// Gives `address` a slot, unless it has one. `false` if it is unspecified or no slot is free.
    pub fn add(&mut self, address: IpAddr) -> bool {
        let address = Host::new(address);
        if address.is_none() {
            return false;
        }
        if self.addresses.contains(&address) {
            return true;
        }
        match self.addresses.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                *slot = address;
                true
            }
            None => false,
        }
    }

    /// Whether both map the same ports.
    pub const fn has_ports_of(&self, other: &Self) -> bool {
        self.first == other.first && self.last == other.last
    }

    /// Takes the addresses of another map, each in the slot that it has there.
    pub const fn take_addresses(&mut self, other: &Self) {
        self.addresses = other.addresses;
    }

    /// Frees the slots of addresses that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(IpAddr) -> bool) {
        for slot in &mut self.addresses {
            if slot.get().is_some_and(|address| !keep(address)) {
                *slot = Host::NONE;
            }
        }
    }

    /// The addresses that have a slot.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().filter_map(|slot| slot.get())
    }

    /// The address and port of an entry; `None` if its slot is free.
    pub fn address_of(&self, index: u32) -> Option<SocketAddr> {
        let half = index.checked_div(self.pairs())?;
        let address = self.addresses.get(usize::try_from(half / 2).ok()?)?.get()?;
        let pair = u32::from(self.first / 2) + index % self.pairs();
        let port = u16::try_from(2 * pair + half % 2).ok()?;
        (self.first..=self.last)
            .contains(&port)
            .then_some(SocketAddr::new(address, port))
    }

    /// The entry of a local address and port as they stand in a packet; `None` if it is not ours.
    #[inline(always)]
    pub fn index(&self, local: TransportAddress) -> Option<u32> {
        let port = u16::from_be_bytes(local.port_bytes());
        if port < self.first || port > self.last {
            return None;
        }
        let host = local.host();
        if host.is_none() {
            return None;
        }
        let pairs = self.pairs();
        let mut base = u32::from(port / 2 - self.first / 2);
        if port % 2 == 1 {
            base += pairs;
        }
        for address in &self.addresses {
            if address.is(host) {
                return Some(base);
            }
            base += 2 * pairs;
        }
        None
    }

    /// The entry of a local address and port.
    pub fn index_of(&self, local: SocketAddr) -> Option<u32> {
        self.index(TransportAddress::new(local))
    }
}

// SAFETY: repr(C) of plain integers, without padding or invalid values (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for PortMap {}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::collections::HashSet;

    use super::*;

    fn at(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), port))
    }

    #[test]
    fn every_port_of_every_address_has_its_own_entry() {
        let mut map = PortMap::new(10_000, 10_009, Unallocated::Drop);
        for slot in 0..4 {
            assert!(map.add(Ipv4Addr::new(192, 0, 2, slot + 1).into()));
            assert!(map.add(Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, slot.into()]).into()));
        }
        let mut seen = HashSet::new();
        for address in map.addresses() {
            for port in 10_000..=10_009 {
                let local = SocketAddr::new(address, port);
                let index = map.index_of(local).unwrap();
                assert!(index < map.entries());
                assert!(seen.insert(index));
                assert_eq!(map.address_of(index), Some(local));
            }
        }
        assert_eq!((seen.len(), map.address_of(80)), (80, None));
    }

    #[test]
    fn rtcp_stands_in_the_other_half() {
        for range in [(10_000, 10_009), (10_001, 10_008), (10_000, 10_008)] {
            let mut map = PortMap::new(range.0, range.1, Unallocated::Drop);
            assert!(map.add(at(1, 0).ip()) && map.add(at(2, 0).ip()));
            let index = |host, port| map.index_of(at(host, port)).unwrap();
            for host in [1, 2] {
                let (rtp, rtcp) = (index(host, 10_004), index(host, 10_005));
                assert_eq!(index(host, 10_006), rtp + 1);
                assert_eq!((map.rtcp_beside(rtp), map.rtp_beside(rtcp)), (rtcp, rtp));
            }
            for port in range.0..=range.1 {
                assert!(index(2, port) < map.entries());
                assert_eq!(map.address_of(index(2, port)), Some(at(2, port)));
            }
        }
    }

    #[test]
    fn what_is_not_ours_has_none() {
        let mut map = PortMap::new(10_000, 10_009, Unallocated::Pass);
        let ours = at(1, 0).ip();
        assert!(map.add(ours) && map.add(ours));
        assert_eq!((map.addresses().count(), map.unallocated()), (1, Unallocated::Pass));
        assert!(!map.add(Ipv4Addr::UNSPECIFIED.into()) && !map.add(Ipv6Addr::UNSPECIFIED.into()));
        for other in [
            at(1, 9_999),
            at(1, 10_010),
            at(2, 10_000),
            (Ipv4Addr::UNSPECIFIED, 10_000).into(),
            (Ipv6Addr::LOCALHOST, 10_000).into(),
        ] {
            assert_eq!(map.index_of(other), None, "{other}");
        }
        assert_eq!(map.address_of(10), None);
    }

    #[test]
    fn addresses_keep_their_slots_when_others_go() {
        let mut map = PortMap::new(10_000, 10_009, Unallocated::Drop);
        for host in 1..=3 {
            assert!(map.add(at(host, 0).ip()));
        }
        let mut next = PortMap::new(10_000, 10_009, Unallocated::Pass);
        next.take_addresses(&map);
        next.retain(|address| address != at(2, 0).ip());
        assert!(next.has_ports_of(&map));
        assert_eq!(next.index_of(at(3, 10_000)), map.index_of(at(3, 10_000)));
        assert_eq!(next.index_of(at(2, 10_000)), None);
        assert!(next.add(at(9, 0).ip()));
        assert_eq!(next.index_of(at(9, 10_000)), Some(10));
    }

    #[test]
    fn a_ninth_address_is_refused_and_an_empty_range_maps_nothing() {
        let mut map = PortMap::new(10, 9, Unallocated::Drop);
        for slot in 1..=8 {
            assert!(map.add(at(slot, 0).ip()));
        }
        assert!(!map.add(at(9, 0).ip()));
        assert_eq!((map.entries(), map.address_of(0)), (0, None));
        assert_eq!(map.index_of(at(1, 10)), None);
    }
}
