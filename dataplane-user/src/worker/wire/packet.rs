//! The headers of a packet that a worker sends past the UDP sockets: those that a socket of its leg would have written.

use std::net::{IpAddr, SocketAddr};

use voxlane_common::address::Family;
use voxlane_common::frame::{Datagram, ETHERNET, IPV4, IPV6, PROTOCOL_UDP, TAG, UDP};
use voxlane_common::rewrite::TTL;

/// Where the payload of a packet begins in its buffer: behind the longest headers there are.
pub(super) const HEADROOM: usize = ETHERNET + TAG + IPV6 + UDP;

/// "Do not fragment", offset 0.
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// Whence, where to, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Envelope {
    pub(in crate::worker) from: SocketAddr,
    pub(in crate::worker) to: SocketAddr,
    /// The TOS byte or traffic class.
    pub(in crate::worker) tos: u8,
    /// When it is to leave, ns on the monotonic clock; at once if not.
    pub(in crate::worker) departs: Option<u64>,
}

/// Writes IP and UDP headers (RFC 791, 8200, 768) before the `length` bytes at [`HEADROOM`]; where they begin. `None` if
/// there is no such packet: addresses of two families, or too long a payload.
pub(super) fn seal(buffer: &mut [u8], length: usize, envelope: &Envelope) -> Option<usize> {
    let udp_at = HEADROOM - UDP;
    let udp_length = u16::try_from(length + UDP).ok()?.to_be_bytes();
    let packet = buffer.get_mut(..HEADROOM + length)?;
    let udp: &mut [u8; UDP] = packet.get_mut(udp_at..)?.first_chunk_mut()?;
    udp[..2].copy_from_slice(&envelope.from.port().to_be_bytes());
    udp[2..4].copy_from_slice(&envelope.to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_length);
    udp[6..].fill(0);
    let (ip_at, addresses) = match (envelope.from.ip(), envelope.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let at = udp_at - IPV4;
            let ip: &mut [u8; IPV4] = packet.get_mut(at..)?.first_chunk_mut()?;
            let total = u16::try_from(IPV4 + UDP + length).ok()?.to_be_bytes();
            *ip = [0; IPV4];
            [ip[0], ip[1]] = [0x45, envelope.tos];
            ip[2..4].copy_from_slice(&total);
            ip[6..8].copy_from_slice(&DONT_FRAGMENT);
            [ip[8], ip[9]] = [TTL, PROTOCOL_UDP];
            ip[12..16].copy_from_slice(&from.octets());
            ip[16..].copy_from_slice(&to.octets());
            let checksum = folded(sum(ip));
            ip[10..12].copy_from_slice(&checksum.to_ne_bytes());
            (at, at + 12)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let at = udp_at - IPV6;
            let ip: &mut [u8; IPV6] = packet.get_mut(at..)?.first_chunk_mut()?;
            let first = 0x6000_0000 | u32::from(envelope.tos) << 20;
            ip[..4].copy_from_slice(&first.to_be_bytes());
            ip[4..6].copy_from_slice(&udp_length);
            [ip[6], ip[7]] = [PROTOCOL_UDP, TTL];
            ip[8..24].copy_from_slice(&from.octets());
            ip[24..].copy_from_slice(&to.octets());
            (at, at + 8)
        }
        _ => return None,
    };
    let checksum = udp_checksum(packet.get(addresses..)?, udp_length);
    packet[udp_at + 6..udp_at + 8].copy_from_slice(&checksum.to_ne_bytes());
    Some(ip_at)
}

/// The checksum of what begins with the two IP addresses and goes on with a UDP header, whose own is zero, and its payload.
fn udp_checksum(addresses_on: &[u8], udp_length: [u8; 2]) -> u16 {
    match folded(sum(addresses_on) + pseudo_header(udp_length)) {
        // Zero would say that there is none.
        0 => 0xffff,
        checksum => checksum,
    }
}

/// The sum over what the checksum covers beside the addresses and the datagram.
fn pseudo_header(udp_length: [u8; 2]) -> u64 {
    u64::from(u16::from_ne_bytes([0, PROTOCOL_UDP])) + u64::from(u16::from_ne_bytes(udp_length))
}

/// Whether the UDP checksum of a datagram in `frame` is right (RFC 768, 8200 section 8.1). That of a packet which has never
/// been on a wire may cover the pseudo-header only: a virtual interface leaves the rest to network cards.
pub(in crate::worker) fn is_sound(frame: &[u8], datagram: &Datagram) -> bool {
    let udp_at = datagram.payload_offset - UDP;
    let addresses_at = match datagram.family {
        Family::V4 => datagram.ip_offset + 12,
        Family::V6 => datagram.ip_offset + 8,
    };
    let end = datagram.payload_offset + datagram.length as usize;
    let (Some(covered), Some(addresses)) = (frame.get(addresses_at..end), frame.get(addresses_at..udp_at)) else {
        return false;
    };
    let Some([_, _, _, _, high, low, first, second]) = frame.get(udp_at..).and_then(|udp| udp.first_chunk()) else {
        return false;
    };
    let checksum = u16::from_ne_bytes([*first, *second]);
    if checksum == 0 {
        return datagram.family == Family::V4;
    }
    let pseudo = pseudo_header([*high, *low]);
    folded(sum(covered) + pseudo) == 0 || !folded(sum(addresses) + pseudo) == checksum
}

/// The sum of 16-bit words (RFC 1071), unfolded, as they stand in memory.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_ne_bytes(last));
    sum
}

/// The checksum that a sum stands for.
fn folded(sum: u64) -> u16 {
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
    use proptest::prelude::*;

    use super::*;

    fn envelope(v6: bool, hosts: [u8; 32], ports: [u16; 2], tos: u8) -> Envelope {
        let address = |place: usize| {
            let bytes: [u8; 16] = hosts[16 * place..][..16].try_into().unwrap();
            let ip: IpAddr = if v6 {
                bytes.into()
            } else {
                [bytes[0], bytes[1], bytes[2], bytes[3]].into()
            };
            SocketAddr::new(ip, ports[place])
        };
        Envelope {
            from: address(0),
            to: address(1),
            tos,
            departs: None,
        }
    }

    proptest! {
        #[test]
        fn a_packet_is_one_for_others_too(
            v6: bool,
            hosts in prop::array::uniform32(any::<u8>()),
            ports: [u16; 2],
            tos: u8,
            payload in prop::collection::vec(any::<u8>(), 0..300),
            dirt: u8,
        ) {
            let envelope = envelope(v6, hosts, ports, tos);
            let mut buffer = vec![dirt; HEADROOM];
            buffer.extend(&payload);
            let at = seal(&mut buffer, payload.len(), &envelope).unwrap();
            let packet = &buffer[at..];
            let headers = PacketHeaders::from_ip_slice(packet).unwrap();
            prop_assert_eq!(headers.payload.slice(), &payload[..]);
            let Some(TransportHeader::Udp(udp)) = headers.transport else {
                return Err(TestCaseError::fail("not UDP"));
            };
            prop_assert_eq!([udp.source_port, udp.destination_port], ports);
            let (source, destination, class, ttl, checksum) = match headers.net.unwrap() {
                NetHeaders::Ipv4(ip, _) => {
                    prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                    prop_assert!(ip.dont_fragment && ip.identification == 0);
                    let class = ip.dscp.value() << 2 | ip.ecn.value();
                    let checksum = udp.calc_checksum_ipv4(&ip, &payload).unwrap();
                    (IpAddr::from(ip.source), IpAddr::from(ip.destination), class, ip.time_to_live, checksum)
                }
                NetHeaders::Ipv6(ip, _) => {
                    prop_assert_eq!(ip.flow_label.value(), 0);
                    let checksum = udp.calc_checksum_ipv6(&ip, &payload).unwrap();
                    (IpAddr::from(ip.source), IpAddr::from(ip.destination), ip.traffic_class, ip.hop_limit, checksum)
                }
                NetHeaders::Arp(_) => return Err(TestCaseError::fail("not IP")),
            };
            prop_assert_eq!([source, destination], [envelope.from.ip(), envelope.to.ip()]);
            prop_assert_eq!((class, ttl, udp.checksum), (tos, TTL, checksum));

            // The same in a frame, for those that receive it.
            let mut frame = vec![0; ETHERNET];
            [frame[12], frame[13]] = if v6 { [0x86, 0xdd] } else { [8, 0] };
            frame.extend(packet);
            if let Ok(datagram) = voxlane_common::frame::datagram(&*frame) {
                prop_assert!(is_sound(&frame, &datagram));
                let udp_at = datagram.payload_offset - UDP;
                if let Some(last) = frame.get_mut(datagram.payload_offset..).and_then(|bytes| bytes.last_mut()) {
                    *last ^= 0x10;
                    let of_pseudo_header = (!folded(sum(&frame[datagram.ip_offset + if v6 { 8 } else { 12 }..udp_at])
                        + pseudo_header([frame[udp_at + 4], frame[udp_at + 5]]))).to_ne_bytes();
                    // One datagram in 65,536 has the same as its pseudo-header.
                    let same = frame[udp_at + 6..udp_at + 8] == of_pseudo_header;
                    prop_assert_eq!(is_sound(&frame, &datagram), same);
                    frame[udp_at + 6..udp_at + 8].copy_from_slice(&of_pseudo_header);
                    prop_assert!(is_sound(&frame, &datagram));
                }
                [frame[udp_at + 6], frame[udp_at + 7]] = [0, 0];
                prop_assert_eq!(is_sound(&frame, &datagram), !v6);
            }
        }
    }

    #[test]
    fn there_is_no_packet_between_families_nor_one_too_long() {
        let mut buffer = vec![0; HEADROOM + 70_000];
        let (v4, v6) = (envelope(false, [1; 32], [1, 2], 0), envelope(true, [1; 32], [1, 2], 0));
        let mixed = Envelope { to: v6.to, ..v4 };
        assert_eq!(seal(&mut buffer, 10, &mixed), None);
        assert_eq!(seal(&mut buffer, 65_530, &v4), None);
        assert_eq!(seal(&mut buffer[..HEADROOM + 9], 10, &v4), None);
        assert!(seal(&mut buffer, 10, &v4).is_some());
    }
}
