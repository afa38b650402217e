//! An IPv4 address and a UDP port in one 64-bit word.

#![allow(unsafe_code)]

use core::net::{Ipv4Addr, SocketAddrV4};

use bytemuck::{Pod, Zeroable};

/// An IPv4 address and port, or none.
///
/// In memory: four bytes of address and two of port, both in network order, and two zero bytes. It is one aligned word
/// so that a reader on another core sees the old value or the new one, never half of each; all zero means "none".
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct TransportAddress(u64);

impl TransportAddress {
    /// No address.
    pub const NONE: Self = Self(0);

    /// From the address and the port as they stand in a packet.
    #[inline(always)]
    pub const fn from_network(ip: [u8; 4], port: [u8; 2]) -> Self {
        Self(u64::from_ne_bytes([ip[0], ip[1], ip[2], ip[3], port[0], port[1], 0, 0]))
    }

    /// From host types. Port 0 or address 0.0.0.0 (an old way to hold a call) cannot be sent to: they become
    /// [`Self::NONE`].
    pub const fn new(address: SocketAddrV4) -> Self {
        if address.port() == 0 || address.ip().is_unspecified() {
            return Self::NONE;
        }
        Self::from_network(address.ip().octets(), address.port().to_be_bytes())
    }

    /// Whether this is [`Self::NONE`].
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether both name the same host, and a host at all.
    #[inline(always)]
    pub const fn same_host(self, other: Self) -> bool {
        !self.is_none() && u32::from_ne_bytes(self.ip_bytes()) == u32::from_ne_bytes(other.ip_bytes())
    }

    /// The address as it stands in a packet.
    #[inline(always)]
    pub const fn ip_bytes(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0.to_ne_bytes();
        [a, b, c, d]
    }

    /// The port as it stands in a packet.
    #[inline(always)]
    pub const fn port_bytes(self) -> [u8; 2] {
        let [.., high, low, _, _] = self.0.to_ne_bytes();
        [high, low]
    }

    /// The address in host types; `None` for [`Self::NONE`].
    pub const fn get(self) -> Option<SocketAddrV4> {
        if self.is_none() {
            return None;
        }
        let [a, b, c, d] = self.ip_bytes();
        Some(SocketAddrV4::new(
            Ipv4Addr::new(a, b, c, d),
            u16::from_be_bytes(self.port_bytes()),
        ))
    }
}

impl From<SocketAddrV4> for TransportAddress {
    fn from(address: SocketAddrV4) -> Self {
        Self::new(address)
    }
}

// SAFETY: a plain integer word, without padding or invalid values (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for TransportAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_network_forms_agree() {
        let host = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 7), 10_002);
        let address = TransportAddress::new(host);
        assert_eq!(address, TransportAddress::from_network([192, 0, 2, 7], [0x27, 0x12]));
        assert_eq!(address.get(), Some(host));
        assert_eq!(address.ip_bytes(), [192, 0, 2, 7]);
        assert_eq!(address.port_bytes(), [0x27, 0x12]);
    }

    #[test]
    fn what_cannot_be_sent_to_is_none() {
        for text in ["0.0.0.0:4000", "192.0.2.7:0", "0.0.0.0:0"] {
            let address = TransportAddress::new(text.parse().unwrap());
            assert!(address.is_none(), "{text}");
            assert_eq!(address.get(), None);
        }
    }
}
