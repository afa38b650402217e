//! From an Ethernet frame to a UDP datagram that could be media: the one parser of the XDP program, the fuzz target and
//! the tests.
//!
//! It never borrows from the frame and never indexes: bytes are had from [`Frame::read`], which copies a constant number
//! of them or says that they are not there. That is one bounds check the eBPF verifier can follow, and no way to read
//! past the end on the host.

use crate::address::{Family, Host, TransportAddress};
use crate::next_hop::VlanTag;
use crate::outcome::PassReason;

/// Length of an Ethernet header, bytes.
pub const ETHERNET: usize = 14;

/// Length of an 802.1Q tag, bytes.
pub const TAG: usize = 4;

/// Length of an IPv4 header without options, bytes.
pub const IPV4: usize = 20;

/// Length of an IPv6 header, bytes.
pub const IPV6: usize = 40;

/// Length of a UDP header, bytes.
pub const UDP: usize = 8;

/// The bytes of a frame.
pub trait Frame {
    /// A copy of `N` bytes from `offset` on; `None` if they do not lie in the frame.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Length of the frame, bytes.
    fn length(&self) -> usize;
}

impl Frame for [u8] {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }

    fn length(&self) -> usize {
        self.len()
    }
}

/// A UDP datagram in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The tag of its frame.
    pub vlan: VlanTag,
    /// Which IP it came over.
    pub family: Family,
    /// Where its IP header begins: 14, or 18 behind a tag.
    pub ip_offset: usize,
    /// Where its UDP payload begins.
    pub payload_offset: usize,
    /// Length of the UDP payload, bytes. It lies wholly in the frame.
    pub length: u16,
    /// Where it comes from.
    pub source: TransportAddress,
    /// Where it is sent to.
    pub local: TransportAddress,
}

const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const TYPE_VLAN: [u8; 2] = [0x81, 0x00];

/// Protocol number of UDP.
const PROTOCOL_UDP: u8 = 17;

/// IPv6 extension headers (RFC 7045): hop-by-hop, routing, authentication, destination options, mobility, HIP, shim6.
const EXTENSIONS: [u8; 7] = [0, 43, 51, 60, 135, 139, 140];

/// The IPv6 fragment header.
const FRAGMENT_HEADER: u8 = 44;

/// "More fragments", or an offset: a piece of an IPv4 packet.
const FRAGMENT: u16 = 0x3fff;

/// Finds a UDP datagram and checks that its lengths agree with the frame.
///
/// # Errors
/// Why the frame is the network stack's business.
#[inline(always)]
pub fn datagram<F: Frame + ?Sized>(frame: &F) -> Result<Datagram, PassReason> {
    let [.., high, low] = frame.read::<ETHERNET>(0).ok_or(PassReason::NotUdp)?;
    match [high, low] {
        TYPE_IPV4 => ipv4(frame, VlanTag::NONE, ETHERNET),
        TYPE_IPV6 => ipv6(frame, VlanTag::NONE, ETHERNET),
        TYPE_VLAN => {
            let [high, low, kind @ ..] = frame.read::<TAG>(ETHERNET).ok_or(PassReason::NotUdp)?;
            // Priority and drop eligibility are the link's business; identifier 0 is a frame that has only those.
            let vlan = VlanTag::of(u16::from_be_bytes([high, low]) & 0x0fff);
            match kind {
                TYPE_IPV4 => ipv4(frame, vlan, ETHERNET + TAG),
                TYPE_IPV6 => ipv6(frame, vlan, ETHERNET + TAG),
                _ => Err(PassReason::NotUdp),
            }
        }
        _ => Err(PassReason::NotUdp),
    }
}

#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, vlan: VlanTag, ip_offset: usize) -> Result<Datagram, PassReason> {
    let ip = frame.read::<IPV4>(ip_offset).ok_or(PassReason::NotUdp)?;
    if ip[9] != PROTOCOL_UDP {
        return Err(PassReason::NotUdp);
    }
    match ip[0] {
        0x45 => {}
        0x46..=0x4f => return Err(PassReason::Options),
        _ => return Err(PassReason::NotUdp),
    }
    if u16::from_be_bytes([ip[6], ip[7]]) & FRAGMENT != 0 {
        return Err(PassReason::Fragment);
    }
    let ip_length = u16::from_be_bytes([ip[2], ip[3]]);
    let source = Host::v4([ip[12], ip[13], ip[14], ip[15]]);
    let local = Host::v4([ip[16], ip[17], ip[18], ip[19]]);
    let headers = Headers {
        vlan,
        family: Family::V4,
        ip_offset,
        udp_offset: ip_offset + IPV4,
        // Underflow is caught there: no UDP header says so much.
        rest: ip_length.wrapping_sub(IPV4 as u16),
    };
    udp(frame, headers, source, local)
}

#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, vlan: VlanTag, ip_offset: usize) -> Result<Datagram, PassReason> {
    let ip = frame.read::<IPV6>(ip_offset).ok_or(PassReason::NotUdp)?;
    if ip[0] >> 4 != 6 {
        return Err(PassReason::NotUdp);
    }
    let next = ip[6];
    if next != PROTOCOL_UDP {
        return Err(match next {
            FRAGMENT_HEADER => PassReason::Fragment,
            _ if EXTENSIONS.contains(&next) => PassReason::Options,
            _ => PassReason::NotUdp,
        });
    }
    let mut source = [0; 16];
    let mut local = [0; 16];
    source.copy_from_slice(&ip[8..24]);
    local.copy_from_slice(&ip[24..40]);
    let headers = Headers {
        vlan,
        family: Family::V6,
        ip_offset,
        udp_offset: ip_offset + IPV6,
        rest: u16::from_be_bytes([ip[4], ip[5]]),
    };
    udp(frame, headers, Host::v6(source), Host::v6(local))
}

/// What is known before the UDP header.
struct Headers {
    vlan: VlanTag,
    family: Family,
    ip_offset: usize,
    udp_offset: usize,
    /// Bytes that the IP header says come behind it.
    rest: u16,
}

#[inline(always)]
fn udp<F: Frame + ?Sized>(frame: &F, headers: Headers, source: Host, local: Host) -> Result<Datagram, PassReason> {
    let [a, b, c, d, e, f, ..] = frame.read::<UDP>(headers.udp_offset).ok_or(PassReason::BadLength)?;
    let udp_length = u16::from_be_bytes([e, f]);
    // A short packet is padded to the least length of a frame: the frame may be longer than the packet.
    let fits = headers.udp_offset + usize::from(udp_length) <= frame.length();
    if udp_length != headers.rest || !fits || usize::from(udp_length) < UDP {
        return Err(PassReason::BadLength);
    }
    Ok(Datagram {
        vlan: headers.vlan,
        family: headers.family,
        ip_offset: headers.ip_offset,
        payload_offset: headers.udp_offset + UDP,
        length: udp_length - UDP as u16,
        source: TransportAddress::from_network(source, [a, b]),
        local: TransportAddress::from_network(local, [c, d]),
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn v4() -> Vec<u8> {
        let mut frame = std::vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 32, 0, 7, 0x40, 0, 9, 17, 0, 0]);
        frame.extend([192, 0, 2, 9, 192, 0, 2, 1]);
        frame.extend([0x0f, 0xa0, 0x27, 0x10, 0, 12, 0, 0, 1, 2, 3, 4]);
        frame
    }

    fn v6() -> Vec<u8> {
        let mut frame = std::vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 12, 17, 9]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        frame.extend([0x0f, 0xa0, 0x27, 0x10, 0, 12, 0, 0, 1, 2, 3, 4]);
        frame
    }

    fn tagged(mut frame: Vec<u8>, identifier: u16) -> Vec<u8> {
        let [high, low] = identifier.to_be_bytes();
        frame.splice(12..12, [0x81, 0, 0x60 | high, low]);
        frame
    }

    #[test]
    fn datagrams_of_both_families_with_and_without_a_tag() {
        for (frame, family, source, ip_header) in [
            (v4(), Family::V4, "192.0.2.9:4000", IPV4),
            (v6(), Family::V6, "[2001:db8::9]:4000", IPV6),
        ] {
            for (frame, vlan, ip_offset) in [
                (frame.clone(), VlanTag::NONE, 14),
                (tagged(frame.clone(), 100), VlanTag::of(100), 18),
                (tagged(frame.clone(), 0), VlanTag::NONE, 18),
            ] {
                let found = datagram(&*frame).unwrap();
                assert_eq!((found.vlan, found.family, found.ip_offset), (vlan, family, ip_offset));
                assert_eq!(found.source.get(), source.parse().ok());
                assert_eq!(found.payload_offset, ip_offset + ip_header + UDP);
                assert_eq!((found.length, found.local.port_bytes()), (4, [0x27, 0x10]));
            }
        }
    }

    #[test]
    fn what_is_not_ours_says_why() {
        type Change = fn(&mut Vec<u8>);
        let cases: [(Vec<u8>, Change, PassReason); 14] = [
            (v4(), |f| f[12] = 9, PassReason::NotUdp),
            (v4(), |f| f[23] = 6, PassReason::NotUdp),
            (v4(), |f| f[14] = 0x46, PassReason::Options),
            (v4(), |f| f[14] = 0x44, PassReason::NotUdp),
            (v4(), |f| f[20] = 0x60, PassReason::Fragment),
            (v4(), |f| f[21] = 1, PassReason::Fragment),
            (v4(), |f| f[17] = 19, PassReason::BadLength),
            (v4(), |f| f[39] = 13, PassReason::BadLength),
            (v4(), |f| f.truncate(45), PassReason::BadLength),
            (v6(), |f| f[14] = 0x50, PassReason::NotUdp),
            (v6(), |f| f[20] = 44, PassReason::Fragment),
            (v6(), |f| f[20] = 60, PassReason::Options),
            (v6(), |f| f[20] = 58, PassReason::NotUdp),
            (v6(), |f| f[19] = 11, PassReason::BadLength),
        ];
        for (place, (mut frame, change, reason)) in cases.into_iter().enumerate() {
            change(&mut frame);
            assert_eq!(datagram(&*frame), Err(reason), "case {place}");
        }
        // A second tag is one too many.
        assert_eq!(datagram(&*tagged(tagged(v4(), 5), 6)), Err(PassReason::NotUdp));
    }

    proptest! {
        #[test]
        fn what_is_found_lies_in_the_frame(
            kind in prop::sample::select(std::vec![v4(), v6(), tagged(v4(), 5), tagged(v6(), 5)]),
            changes in prop::collection::vec((0usize..70, any::<u8>()), 0..6),
            length in 0usize..80,
        ) {
            let mut frame = kind;
            for (place, byte) in changes {
                if let Some(place) = frame.get_mut(place) {
                    *place = byte;
                }
            }
            frame.resize(length, 0);
            if let Ok(found) = datagram(&*frame) {
                prop_assert!(found.payload_offset + usize::from(found.length) <= frame.len());
            }
        }
    }
}
