//! An IP address and a UDP port, of either family, in three 64-bit words.

#![allow(unsafe_code)]

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytemuck::{Pod, Zeroable};

/// Which Internet Protocol.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 (RFC 791).
    V4,
    /// IPv6 (RFC 8200).
    V6,
}

/// A host: an IPv4 address as the IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), an IPv6 address as it is. All
/// zero: none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Host([u64; 2]);

impl Host {
    /// No host.
    pub const NONE: Self = Self([0; 2]);

    /// From an IPv4 address as it stands in a packet.
    #[inline(always)]
    pub const fn v4(ip: [u8; 4]) -> Self {
        Self([0, u64::from_ne_bytes([0, 0, 0xff, 0xff, ip[0], ip[1], ip[2], ip[3]])])
    }

    /// From an IPv6 address as it stands in a packet.
    #[inline(always)]
    pub const fn v6(ip: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = ip;
        Self([
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        ])
    }

    /// As words of memory: the first eight bytes of the IPv6 address and the last.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        self.0
    }

    /// From [`Self::words`].
    #[inline(always)]
    pub const fn of_words(words: [u64; 2]) -> Self {
        Self(words)
    }

    /// The IPv4 address as a word of memory.
    #[inline(always)]
    pub const fn v4_word(self) -> u32 {
        u32::from_ne_bytes(self.v4_bytes())
    }

    /// From a host type; an unspecified address becomes [`Self::NONE`].
    pub const fn new(ip: IpAddr) -> Self {
        if ip.is_unspecified() {
            return Self::NONE;
        }
        match ip {
            IpAddr::V4(ip) => Self::v4(ip.octets()),
            IpAddr::V6(ip) => Self::v6(ip.octets()),
        }
    }

    /// Whether this is [`Self::NONE`].
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0[0] | self.0[1] == 0
    }

    /// Whether both are the same.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        self.0[0] ^ other.0[0] | self.0[1] ^ other.0[1] == 0
    }

    /// Its family.
    #[inline(always)]
    pub const fn family(self) -> Family {
        let [a, b, c, d, ..] = self.0[1].to_ne_bytes();
        if self.0[0] == 0 && u32::from_ne_bytes([a, b, c, d]) == u32::from_ne_bytes([0, 0, 0xff, 0xff]) {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// The IPv4 address as it stands in a packet; of an IPv6 address its last four bytes.
    #[inline(always)]
    pub const fn v4_bytes(self) -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = self.0[1].to_ne_bytes();
        [a, b, c, d]
    }

    /// The IPv6 address, or IPv4-mapped address, as it stands in a packet.
    #[inline(always)]
    pub const fn v6_bytes(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.0[0].to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.0[1].to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// In host types; `None` for [`Self::NONE`].
    pub fn get(self) -> Option<IpAddr> {
        (!self.is_none()).then(|| Ipv6Addr::from(self.v6_bytes()).to_canonical())
    }
}

/// An address and port, or none.
///
/// The last word holds the port in network order and is zero for "none". It is written last and read first, so that a
/// reader on another core that catches a change half way sees none rather than a mixture ([`Self::publish`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct TransportAddress {
    host: Host,
    port: u64,
}

impl TransportAddress {
    /// No address.
    pub const NONE: Self = Self {
        host: Host::NONE,
        port: 0,
    };

    /// From a host and the port as it stands in a packet.
    #[inline(always)]
    pub const fn from_network(host: Host, port: [u8; 2]) -> Self {
        Self {
            host,
            port: u64::from_ne_bytes([port[0], port[1], 0, 0, 0, 0, 0, 0]),
        }
    }

    /// From host types. Port 0 or an unspecified address (an old way to hold a call) cannot be sent to: they become
    /// [`Self::NONE`]. An IPv4-mapped IPv6 address is the IPv4 address.
    pub const fn new(address: SocketAddr) -> Self {
        let host = Host::new(address.ip());
        if address.port() == 0 || host.is_none() {
            return Self::NONE;
        }
        Self::from_network(host, address.port().to_be_bytes())
    }

    /// Whether this is [`Self::NONE`].
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.port == 0
    }

    /// Whether both are the same.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        self.host.is(other.host) && self.port == other.port
    }

    /// Whether both name the same host, and a host at all.
    #[inline(always)]
    pub const fn same_host(self, other: Self) -> bool {
        !self.is_none() && self.host.is(other.host)
    }

    /// The host.
    #[inline(always)]
    pub const fn host(self) -> Host {
        self.host
    }

    /// The port as it stands in a packet.
    #[inline(always)]
    pub const fn port_bytes(self) -> [u8; 2] {
        let [high, low, ..] = self.port.to_ne_bytes();
        [high, low]
    }

    /// The address in host types; `None` for [`Self::NONE`].
    pub fn get(self) -> Option<SocketAddr> {
        if self.is_none() {
            return None;
        }
        Some(SocketAddr::new(self.host.get()?, u16::from_be_bytes(self.port_bytes())))
    }

    /// Writes `address` where a reader on another core may be looking: there is none until all of it is there.
    #[inline(always)]
    pub fn publish(&mut self, address: Self) {
        let place: *mut Self = self;
        // SAFETY: `place` comes from an exclusive reference; volatile writes keep their order in the program, and the
        // processors that have XDP in production (x86-64) keep the order of stores. Elsewhere one packet may be
        // dropped for want of a destination.
        unsafe {
            (&raw mut (*place).port).write_volatile(0);
            (&raw mut (*place).host).write_volatile(address.host);
            (&raw mut (*place).port).write_volatile(address.port);
        }
    }
}

impl From<SocketAddr> for TransportAddress {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> TransportAddress {
        TransportAddress::new(text.parse().unwrap())
    }

    #[test]
    fn host_and_network_forms_agree() {
        let v4 = address("192.0.2.7:10002");
        assert_eq!(
            v4,
            TransportAddress::from_network(Host::v4([192, 0, 2, 7]), [0x27, 0x12])
        );
        assert_eq!(v4.get(), "192.0.2.7:10002".parse().ok());
        assert_eq!((v4.host().family(), v4.host().v4_bytes()), (Family::V4, [192, 0, 2, 7]));
        let v6 = address("[2001:db8::7]:10002");
        assert_eq!(v6.get(), "[2001:db8::7]:10002".parse().ok());
        assert_eq!((v6.host().family(), v6.port_bytes()), (Family::V6, [0x27, 0x12]));
        assert_eq!(Host::v6(v6.host().v6_bytes()), v6.host());
        assert_eq!(address("[::ffff:192.0.2.7]:10002"), v4);
    }

    #[test]
    fn hosts_are_told_apart_and_from_none() {
        let (one, other) = (address("[2001:db8::7]:10002"), address("[2001:db8::7]:9"));
        assert!(one.same_host(other) && !one.is(other) && one.is(one));
        assert!(!one.same_host(address("[2001:db9::7]:10002")));
        assert!(!TransportAddress::NONE.same_host(TransportAddress::NONE));
        assert_eq!((Host::NONE.get(), TransportAddress::NONE.get()), (None, None));
    }

    #[test]
    fn what_cannot_be_sent_to_is_none() {
        for text in [
            "0.0.0.0:4000",
            "192.0.2.7:0",
            "0.0.0.0:0",
            "[::]:4000",
            "[2001:db8::1]:0",
        ] {
            assert!(address(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_published_is_there() {
        let mut place = address("192.0.2.7:10002");
        place.publish(address("[2001:db8::7]:9"));
        assert_eq!(place, address("[2001:db8::7]:9"));
        place.publish(TransportAddress::NONE);
        assert!(place.is_none());
    }
}
