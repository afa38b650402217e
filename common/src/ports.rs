//! From (local address, port) to an entry of the flow table.
//!
//! The RTP port range is small and dense, so the table is an array: address slot times range length, plus the port's
//! place in the range. Userspace and the XDP program compute the same index from the same [`PortMap`].

#![allow(unsafe_code)]

use core::net::{Ipv4Addr, SocketAddrV4};

use bytemuck::{Pod, Zeroable};

use crate::address::TransportAddress;

/// Most local addresses a kernel lane serves.
pub const MAX_ADDRESSES: usize = 8;

/// The local addresses and the port range of the flow table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PortMap {
    /// Local addresses in network order; 0.0.0.0 marks a free slot.
    addresses: [[u8; 4]; MAX_ADDRESSES],
    first: u16,
    last: u16,
}

impl PortMap {
    /// A map of `first..=last` that knows no address yet. An empty range (`last < first`) maps nothing.
    pub const fn new(first: u16, last: u16) -> Self {
        Self {
            addresses: [[0; 4]; MAX_ADDRESSES],
            first,
            last,
        }
    }

    /// Ports for each address.
    #[inline(always)]
    pub const fn count(&self) -> u32 {
        if self.last < self.first {
            0
        } else {
            (self.last - self.first) as u32 + 1
        }
    }

    /// Entries that the flow table needs for all slots.
    pub const fn entries(&self) -> u32 {
        self.count() * MAX_ADDRESSES as u32
    }

    /// Gives `address` a slot, unless it has one. `false` if it is unspecified or no slot is free.
    pub fn add(&mut self, address: Ipv4Addr) -> bool {
        let address = address.octets();
        if address == [0; 4] {
            return false;
        }
        if self.addresses.contains(&address) {
            return true;
        }
        match self.addresses.iter_mut().find(|slot| **slot == [0; 4]) {
            Some(slot) => {
                *slot = address;
                true
            }
            None => false,
        }
    }

    /// The addresses that have a slot.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.addresses
            .iter()
            .filter(|slot| **slot != [0; 4])
            .map(|slot| Ipv4Addr::from(*slot))
    }

    /// The entry of a local address and port as they stand in a packet; `None` if it is not ours.
    #[inline(always)]
    pub fn index(&self, local: TransportAddress) -> Option<u32> {
        let port = u16::from_be_bytes(local.port_bytes());
        if port < self.first || port > self.last {
            return None;
        }
        let ip = local.ip_bytes();
        if ip == [0; 4] {
            return None;
        }
        let mut base = 0;
        for address in &self.addresses {
            if *address == ip {
                return Some(base + u32::from(port - self.first));
            }
            base += self.count();
        }
        None
    }

    /// The entry of a local address and port.
    pub fn index_of(&self, local: SocketAddrV4) -> Option<u32> {
        self.index(TransportAddress::new(local))
    }
}

// SAFETY: repr(C) of plain integers, without padding or invalid values (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for PortMap {}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_port_of_every_address_has_its_own_entry() {
        let mut map = PortMap::new(10_000, 10_009);
        for slot in 0..MAX_ADDRESSES as u8 {
            assert!(map.add(Ipv4Addr::new(192, 0, 2, slot + 1)));
        }
        let mut seen = HashSet::new();
        for address in map.addresses() {
            for port in 10_000..=10_009 {
                let index = map.index_of(SocketAddrV4::new(address, port)).unwrap();
                assert!(index < map.entries());
                assert!(seen.insert(index));
            }
        }
        assert_eq!(seen.len(), 80);
    }

    #[test]
    fn what_is_not_ours_has_none() {
        let mut map = PortMap::new(10_000, 10_009);
        let ours = Ipv4Addr::new(192, 0, 2, 1);
        assert!(map.add(ours) && map.add(ours));
        assert_eq!(map.addresses().count(), 1);
        assert!(!map.add(Ipv4Addr::UNSPECIFIED));
        assert_eq!(map.index_of(SocketAddrV4::new(ours, 9_999)), None);
        assert_eq!(map.index_of(SocketAddrV4::new(ours, 10_010)), None);
        assert_eq!(
            map.index_of(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 10_000)),
            None
        );
        assert_eq!(map.index_of(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 10_000)), None);
    }

    #[test]
    fn a_ninth_address_is_refused_and_an_empty_range_maps_nothing() {
        let mut map = PortMap::new(10, 9);
        for slot in 1..=8 {
            assert!(map.add(Ipv4Addr::new(192, 0, 2, slot)));
        }
        assert!(!map.add(Ipv4Addr::new(192, 0, 2, 9)));
        assert_eq!(map.entries(), 0);
        assert_eq!(map.index_of("192.0.2.1:10".parse().unwrap()), None);
    }
}
