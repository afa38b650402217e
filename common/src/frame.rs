//! From an Ethernet frame to a UDP datagram that could be media: the one parser of the XDP program, the fuzz target and
//! the tests.
//!
//! It never borrows from the frame and never indexes: headers are had from [`Frame::read`], which copies one or says that
//! it is not there. That is one bounds check the eBPF verifier can follow, and no way to read past the end on the host.
//! Headers are structures of words as they stand in memory, at their natural alignment: the program loads them whole, and
//! its copies keep to the alignment the verifier wants of the stack.

use bytemuck::{Pod, Zeroable};

use crate::address::{Family, Host, TransportAddress};
use crate::outcome::PassReason;
use crate::rtp::Head;

/// Length of an Ethernet header, bytes.
pub const ETHERNET: usize = 14;

/// Where the type of the packet stands in it.
pub const TYPE: usize = 12;

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
    /// A copy of what stands at `offset`; `None` if it does not lie wholly in the frame.
    fn read<T: Pod>(&self, offset: usize) -> Option<T>;

    /// Length of the frame, bytes.
    fn length(&self) -> usize;
}

impl Frame for [u8] {
    fn read<T: Pod>(&self, offset: usize) -> Option<T> {
        let bytes = self.get(offset..)?.get(..size_of::<T>())?;
        Some(bytemuck::pod_read_unaligned(bytes))
    }

    fn length(&self) -> usize {
        self.len()
    }
}

/// IPv4 header without options (RFC 791), words as they stand in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ipv4Header {
    /// Version and header length, TOS, length of the packet.
    pub(crate) first: u32,
    /// Identification, flags and fragment offset.
    pub(crate) second: u32,
    /// TTL, protocol, checksum.
    pub(crate) third: u32,
    pub(crate) source: u32,
    pub(crate) destination: u32,
}

/// IPv6 header (RFC 8200), words as they stand in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ipv6Header {
    /// Version, traffic class, flow label.
    pub(crate) first: u32,
    pub(crate) length: u16,
    pub(crate) next: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: [u64; 2],
    pub(crate) destination: [u64; 2],
}

/// UDP header (RFC 768), as one word of memory: it is loaded and stored as a whole, and a processor is slow to load what
/// has just been stored in parts.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct UdpHeader(u64);

impl UdpHeader {
    /// Source port, destination port, length and checksum as they stand in a packet.
    #[inline(always)]
    pub(crate) const fn of_fields(fields: [[u8; 2]; 4]) -> Self {
        let [[a, b], [c, d], [e, f], [g, h]] = fields;
        Self(u64::from_ne_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The same, back.
    #[inline(always)]
    pub(crate) const fn fields(self) -> [[u8; 2]; 4] {
        let [a, b, c, d, e, f, g, h] = self.0.to_ne_bytes();
        [[a, b], [c, d], [e, f], [g, h]]
    }
}

const _: () =
    assert!(size_of::<Ipv4Header>() == IPV4 && size_of::<Ipv6Header>() == IPV6 && size_of::<UdpHeader>() == UDP);

/// A UDP datagram in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Which IP it came over.
    pub family: Family,
    /// Where its IP header begins: 14, or 18 behind a tag.
    pub ip_offset: usize,
    /// Where its UDP payload begins.
    pub payload_offset: usize,
    /// Length of the UDP payload, bytes: at most 65,527. It lies wholly in the frame.
    pub length: u32,
    /// Where it comes from.
    pub source: TransportAddress,
    /// Where it is sent to.
    pub local: TransportAddress,
}

/// Types of packets, as they stand in memory.
const TYPE_IPV4: u16 = u16::from_ne_bytes([0x08, 0x00]);
const TYPE_IPV6: u16 = u16::from_ne_bytes([0x86, 0xdd]);
/// Type of an 802.1Q tag, as it stands in memory.
pub const TYPE_VLAN: u16 = u16::from_ne_bytes([0x81, 0x00]);

/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

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
    match frame.read::<u16>(TYPE).ok_or(PassReason::NotUdp)? {
        TYPE_IPV4 => ipv4(frame, ETHERNET),
        TYPE_IPV6 => ipv6(frame, ETHERNET),
        // Which VLAN it is, is the network's business.
        TYPE_VLAN => match frame.read::<u16>(TYPE + TAG).ok_or(PassReason::NotUdp)? {
            TYPE_IPV4 => ipv4(frame, ETHERNET + TAG),
            TYPE_IPV6 => ipv6(frame, ETHERNET + TAG),
            _ => Err(PassReason::NotUdp),
        },
        _ => Err(PassReason::NotUdp),
    }
}

#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, ip_offset: usize) -> Result<Datagram, PassReason> {
    let ip = frame.read::<Ipv4Header>(ip_offset).ok_or(PassReason::NotUdp)?;
    let [version, _, high, low] = ip.first.to_ne_bytes();
    let length = u16::from_be_bytes([high, low]);
    let [_, _, high, low] = ip.second.to_ne_bytes();
    let fragment = u16::from_be_bytes([high, low]);
    let [_, protocol, ..] = ip.third.to_ne_bytes();
    if protocol != PROTOCOL_UDP {
        return Err(PassReason::NotUdp);
    }
    match version {
        0x45 => {}
        0x46..=0x4f => return Err(PassReason::Options),
        _ => return Err(PassReason::NotUdp),
    }
    if fragment & FRAGMENT != 0 {
        return Err(PassReason::Fragment);
    }
    let headers = Headers {
        family: Family::V4,
        ip_offset,
        udp_offset: ip_offset + IPV4,
        // Underflow is caught there: no UDP header says so much.
        rest: u32::from(length).wrapping_sub(IPV4 as u32),
    };
    udp(
        frame,
        headers,
        Host::v4(ip.source.to_ne_bytes()),
        Host::v4(ip.destination.to_ne_bytes()),
    )
}

#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, ip_offset: usize) -> Result<Datagram, PassReason> {
    let ip = frame.read::<Ipv6Header>(ip_offset).ok_or(PassReason::NotUdp)?;
    if u32::from_be(ip.first) >> 28 != 6 {
        return Err(PassReason::NotUdp);
    }
    if ip.next != PROTOCOL_UDP {
        return Err(match ip.next {
            FRAGMENT_HEADER => PassReason::Fragment,
            next if is_extension(next) => PassReason::Options,
            _ => PassReason::NotUdp,
        });
    }
    let (source, local) = (Host::of_words(ip.source), Host::of_words(ip.destination));
    // On a wire an IPv4-mapped address (RFC 4291 section 2.5.5.2) is nobody's; here it would be taken for the IPv4 one.
    if matches!((source.family(), local.family()), (Family::V4, _) | (_, Family::V4)) {
        return Err(PassReason::OtherPort);
    }
    let headers = Headers {
        family: Family::V6,
        ip_offset,
        udp_offset: ip_offset + IPV6,
        rest: u32::from(u16::from_be(ip.length)),
    };
    udp(frame, headers, source, local)
}

/// The first bytes of the payload, as far as the relay decision looks: those behind the end of a shorter payload are what
/// follows it in the frame, or zero.
#[inline(always)]
pub fn head<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Head {
    if let Some(head) = frame.read::<Head>(datagram.payload_offset) {
        return head;
    }
    match frame.read::<[u32; 2]>(datagram.payload_offset) {
        Some([first, second]) => [first, second, 0],
        None => [0; 3],
    }
}

/// IPv6 extension headers (RFC 7045): hop-by-hop, routing, authentication, destination options, mobility, HIP, shim6.
#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(next, 0 | 43 | 51 | 60 | 135 | 139 | 140)
}

/// What is known before the UDP header.
struct Headers {
    family: Family,
    ip_offset: usize,
    udp_offset: usize,
    /// Bytes that the IP header says come behind it.
    rest: u32,
}

#[inline(always)]
fn udp<F: Frame + ?Sized>(frame: &F, headers: Headers, source: Host, local: Host) -> Result<Datagram, PassReason> {
    let udp = frame
        .read::<UdpHeader>(headers.udp_offset)
        .ok_or(PassReason::BadLength)?;
    let [source_port, local_port, udp_length, _] = udp.fields();
    let udp_length = u32::from(u16::from_be_bytes(udp_length));
    // A short packet is padded to the least length of a frame: the frame may be longer than the packet.
    let fits = headers.udp_offset + udp_length as usize <= frame.length();
    if udp_length != headers.rest || !fits || udp_length < UDP as u32 {
        return Err(PassReason::BadLength);
    }
    Ok(Datagram {
        family: headers.family,
        ip_offset: headers.ip_offset,
        payload_offset: headers.udp_offset + UDP,
        length: udp_length - UDP as u32,
        source: TransportAddress::from_network(source, source_port),
        local: TransportAddress::from_network(local, local_port),
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
            for (frame, ip_offset) in [
                (frame.clone(), 14),
                (tagged(frame.clone(), 100), 18),
                (tagged(frame.clone(), 0), 18),
            ] {
                let found = datagram(&*frame).unwrap();
                assert_eq!((found.family, found.ip_offset), (family, ip_offset));
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
                prop_assert!(found.payload_offset + found.length as usize <= frame.len());
            }
        }
    }
}
