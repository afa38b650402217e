//! The headers of a packet that is sent on, and their checksums (RFC 1624).
//!
//! What leaves is what a UDP socket of the host would have sent (`IP_TTL` 64, `IP_PMTUDISC_DO`, whose IPv4
//! identification is zero; IPv6 without a flow label), except that an IPv4 packet without a UDP checksum stays without
//! one. A checksum that was wrong stays wrong.

use crate::address::{Host, TransportAddress};
use crate::checksum::Change;
use crate::frame::{Ipv4Header, Ipv6Header, UdpHeader};
use crate::rtp::Head;

/// The relay ends one IP path and begins another: hops are counted anew.
pub const TTL: u8 = 64;

/// Identification 0, "do not fragment", offset 0, as they stand in memory.
const DONT_FRAGMENT: u32 = u32::from_ne_bytes([0, 0, 0x40, 0]);

/// What is written into the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewHeaders {
    /// Source address and port.
    pub source: TransportAddress,
    /// Destination address and port, of the same family.
    pub destination: TransportAddress,
    /// The TOS byte of IPv4, the traffic class of IPv6; a word, as all that the eBPF program keeps on its stack.
    pub tos: u32,
}

impl Ipv4Header {
    /// Writes a new header. Returns what has changed in what the UDP checksum covers, too: the addresses.
    #[inline(always)]
    pub fn rewrite(&mut self, new: &NewHeaders) -> Change {
        let (source, destination) = (new.source.host().v4_word(), new.destination.host().v4_word());
        let addresses = Change::NONE
            .double_word(self.source, source)
            .double_word(self.destination, destination);
        let [version, _, length_high, length_low] = self.first.to_ne_bytes();
        let first = u32::from_ne_bytes([version, new.tos as u8, length_high, length_low]);
        let [ttl, protocol, checksum_high, checksum_low] = self.third.to_ne_bytes();
        let [checksum_high, checksum_low] = addresses
            .double_word(self.first, first)
            .double_word(self.second, DONT_FRAGMENT)
            .word(u16::from_ne_bytes([ttl, protocol]), u16::from_ne_bytes([TTL, protocol]))
            .apply(u16::from_ne_bytes([checksum_high, checksum_low]))
            .to_ne_bytes();
        self.first = first;
        self.second = DONT_FRAGMENT;
        self.third = u32::from_ne_bytes([TTL, protocol, checksum_high, checksum_low]);
        self.source = source;
        self.destination = destination;
        addresses
    }
}

impl Ipv6Header {
    /// Writes a new header. Returns what has changed in what the UDP checksum covers, too: the addresses.
    #[inline(always)]
    pub fn rewrite(&mut self, new: &NewHeaders) -> Change {
        let (source, destination) = (new.source.host(), new.destination.host());
        let addresses = Change::NONE
            .host(Host::of_words(self.source), source)
            .host(Host::of_words(self.destination), destination);
        self.first = (0x6000_0000 | (new.tos & 0xff) << 20).to_be();
        self.hop_limit = TTL;
        self.source = source.words();
        self.destination = destination.words();
        addresses
    }
}

impl UdpHeader {
    /// Writes a new header, of a datagram under whose checksum `covered` has changed beside the ports.
    #[inline(always)]
    pub fn rewrite(&mut self, new: &NewHeaders, covered: Change) {
        let [old_source, old_destination, length, checksum] = self.fields();
        let (source, destination) = (new.source.port_bytes(), new.destination.port_bytes());
        let checksum = covered
            .word(u16::from_ne_bytes(old_source), u16::from_ne_bytes(source))
            .word(u16::from_ne_bytes(old_destination), u16::from_ne_bytes(destination))
            .apply_udp(u16::from_ne_bytes(checksum));
        *self = Self::of_fields([source, destination, length, checksum.to_ne_bytes()]);
    }
}

/// What changes in the sum over a payload that begins with `new`, and has begun with `old`.
#[inline(always)]
pub const fn head_change(old: &Head, new: &Head) -> Change {
    Change::NONE
        .double_word(old[0], new[0])
        .double_word(old[1], new[1])
        .double_word(old[2], new[2])
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// RFC 1071, from scratch.
    fn sum(bytes: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The sum over UDP header, payload and pseudo-header; all ones in a sound packet.
    fn udp_sum(addresses: &[u8], udp: &[u8], payload: &[u8]) -> u16 {
        let mut bytes = Vec::from(addresses);
        bytes.extend(((udp.len() + payload.len()) as u16).to_be_bytes());
        bytes.extend([0, 17]);
        bytes.extend(udp);
        bytes.extend(payload);
        sum(&bytes)
    }

    fn with_udp_checksum(addresses: &[u8], udp: &mut [u8], payload: &[u8]) {
        [udp[6], udp[7]] = [0, 0];
        let checksum = match !udp_sum(addresses, udp, payload) {
            0 => 0xffff,
            sum => sum,
        };
        [udp[6], udp[7]] = checksum.to_be_bytes();
    }

    /// The UDP header after it was rewritten.
    fn udp(old: &[u8], new: &NewHeaders, covered: Change) -> [u8; 8] {
        let mut header: UdpHeader = bytemuck::pod_read_unaligned(old);
        header.rewrite(new, covered);
        bytemuck::cast(header)
    }

    fn any_bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
        prop::collection::vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
    }

    fn new_headers(v6: bool) -> impl Strategy<Value = NewHeaders> {
        (any_bytes::<32>(), any_bytes::<4>(), any::<u8>()).prop_map(move |(hosts, ports, tos)| {
            let host = |at: usize| {
                if v6 {
                    Host::v6(hosts[at..at + 16].try_into().unwrap())
                } else {
                    Host::v4(hosts[at..at + 4].try_into().unwrap())
                }
            };
            NewHeaders {
                source: TransportAddress::from_network(host(0), [ports[0], ports[1]]),
                destination: TransportAddress::from_network(host(16), [ports[2], ports[3]]),
                tos: tos.into(),
            }
        })
    }

    proptest! {
        #[test]
        fn ipv4_headers_are_sound_and_complete(
            mut old in any_bytes::<28>(),
            payload in any_bytes::<12>(),
            new_payload in any_bytes::<12>(),
            new in new_headers(false),
            checksum: bool,
        ) {
            (old[0], old[9]) = (0x45, 17);
            [old[24], old[25]] = [0, 20];
            [old[10], old[11]] = [0, 0];
            let ip_sum = !sum(&old[..20]);
            [old[10], old[11]] = ip_sum.to_be_bytes();
            let addresses: Vec<u8> = Vec::from(&old[12..20]);
            if checksum {
                with_udp_checksum(&addresses, &mut old[20..], &payload);
            } else {
                [old[26], old[27]] = [0, 0];
            }
            let mut ip: Ipv4Header = bytemuck::pod_read_unaligned(&old[..20]);
            let addresses = ip.rewrite(&new);
            let payload_change = head_change(&bytemuck::cast(payload), &bytemuck::cast(new_payload));
            let header = [bytemuck::bytes_of(&ip), &udp(&old[20..], &new, addresses.and(payload_change))].concat();
            prop_assert_eq!(sum(&header[..20]), 0xffff);
            if checksum {
                prop_assert_eq!(udp_sum(&header[12..20], &header[20..], &new_payload), 0xffff);
                prop_assert_ne!(&header[26..28], &[0, 0][..]);
            } else {
                prop_assert_eq!(&header[26..28], &[0, 0][..]);
            }
            prop_assert_eq!((u32::from(header[1]), header[8]), (new.tos, 64));
            prop_assert_eq!(&header[12..16], &new.source.host().v4_bytes()[..]);
            prop_assert_eq!(&header[20..22], &new.source.port_bytes()[..]);
            prop_assert_eq!((header[0], header[9], &header[2..4]), (old[0], old[9], &old[2..4]));
        }

        #[test]
        fn ipv6_headers_are_sound_and_complete(
            mut old in any_bytes::<48>(),
            payload in any_bytes::<12>(),
            new_payload in any_bytes::<12>(),
            new in new_headers(true),
        ) {
            (old[0], old[6]) = (0x60 | old[0] & 0xf, 17);
            [old[44], old[45]] = [0, 20];
            let addresses: Vec<u8> = Vec::from(&old[8..40]);
            with_udp_checksum(&addresses, &mut old[40..], &payload);
            let mut ip: Ipv6Header = bytemuck::pod_read_unaligned(&old[..40]);
            let addresses = ip.rewrite(&new);
            let payload_change = head_change(&bytemuck::cast(payload), &bytemuck::cast(new_payload));
            let header = [bytemuck::bytes_of(&ip), &udp(&old[40..], &new, addresses.and(payload_change))].concat();
            prop_assert_eq!(udp_sum(&header[8..40], &header[40..], &new_payload), 0xffff);
            prop_assert_ne!(&header[46..48], &[0, 0][..]);
            prop_assert_eq!(u32::from_be_bytes([header[0], header[1], header[2], header[3]]), 0x6000_0000 | new.tos << 20);
            prop_assert_eq!((header[6], header[7], &header[4..6]), (17, 64, &old[4..6]));
            prop_assert_eq!(&header[24..40], &new.destination.host().v6_bytes()[..]);
            prop_assert_eq!(&header[42..44], &new.destination.port_bytes()[..]);
        }
    }
}
