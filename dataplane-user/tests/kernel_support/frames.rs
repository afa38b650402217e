//! Frames, made by a builder that shares nothing with the program under test.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder, VlanId};

pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_TX: u32 = 3;
pub const XDP_REDIRECT: u32 = 4;

/// What varies in the headers of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub ttl: u8,
    pub tos: u8,
    /// IPv4 identification; IPv6 flow label.
    pub id: u16,
    pub dont_fragment: bool,
    /// Hardware addresses of sender and receiver.
    pub macs: [[u8; 6]; 2],
    /// VLAN identifier.
    pub vlan: Option<u16>,
}

impl Header {
    /// The headers of what a UDP socket of the gateway sends (see `rewrite` in voxlane-common).
    pub fn of_relay(macs: [[u8; 6]; 2], vlan: Option<u16>) -> Self {
        Self {
            ttl: 64,
            tos: 0xb8,
            id: 0,
            dont_fragment: true,
            macs,
            vlan,
        }
    }
}

/// A UDP packet in an Ethernet frame, with or without a UDP checksum (IPv6 always has one).
pub fn frame(header: &Header, from: SocketAddr, to: SocketAddr, payload: &[u8], checksum: bool) -> Vec<u8> {
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut ip = Ipv4Header::new(0, header.ttl, IpNumber::UDP, from.octets(), to.octets()).unwrap();
            ip.dscp = (header.tos >> 2).try_into().unwrap();
            ip.ecn = (header.tos & 3).try_into().unwrap();
            ip.identification = header.id;
            ip.dont_fragment = header.dont_fragment;
            ip.fragment_offset = IpFragOffset::ZERO;
            IpHeaders::Ipv4(ip, Default::default())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let ip = Ipv6Header {
                traffic_class: header.tos,
                flow_label: Ipv6FlowLabel::try_new(header.id.into()).unwrap(),
                payload_length: 0,
                next_header: IpNumber::UDP,
                hop_limit: header.ttl,
                source: from.octets(),
                destination: to.octets(),
            };
            IpHeaders::Ipv6(ip, Default::default())
        }
        (from, to) => panic!("{from} and {to} are of different families"),
    };
    let ethernet = PacketBuilder::ethernet2(header.macs[0], header.macs[1]);
    let builder = match header.vlan {
        Some(identifier) => ethernet.single_vlan(VlanId::try_new(identifier).unwrap()).ip(ip),
        None => ethernet.ip(ip),
    }
    .udp(from.port(), to.port());
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    if !checksum && from.is_ipv4() {
        let at = 40 + if header.vlan.is_some() { 4 } else { 0 };
        frame[at..at + 2].fill(0);
    }
    frame
}
