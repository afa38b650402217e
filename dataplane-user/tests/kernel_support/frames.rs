//! Frames, made by a builder that shares nothing with the program under test.

use std::net::SocketAddrV4;

use etherparse::{IpFragOffset, IpHeaders, IpNumber, Ipv4Header, PacketBuilder};

pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_TX: u32 = 3;
pub const XDP_REDIRECT: u32 = 4;

/// What varies in the headers of a frame.
pub struct Header {
    pub ttl: u8,
    pub tos: u8,
    pub id: u16,
    pub dont_fragment: bool,
    /// Hardware addresses of sender and receiver.
    pub macs: [[u8; 6]; 2],
}

impl Header {
    /// The headers of what a UDP socket of the gateway sends (see `forward` in the program).
    pub fn of_relay(macs: [[u8; 6]; 2]) -> Self {
        Self {
            ttl: 64,
            tos: 0xb8,
            id: 0,
            dont_fragment: true,
            macs,
        }
    }
}

/// A UDP packet in an Ethernet frame, with or without a UDP checksum.
pub fn frame(header: &Header, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8], checksum: bool) -> Vec<u8> {
    let mut ip = Ipv4Header::new(0, header.ttl, IpNumber::UDP, from.ip().octets(), to.ip().octets()).unwrap();
    ip.dscp = (header.tos >> 2).try_into().unwrap();
    ip.ecn = (header.tos & 3).try_into().unwrap();
    ip.identification = header.id;
    ip.dont_fragment = header.dont_fragment;
    ip.fragment_offset = IpFragOffset::ZERO;
    let builder = PacketBuilder::ethernet2(header.macs[0], header.macs[1])
        .ip(IpHeaders::Ipv4(ip, Default::default()))
        .udp(from.port(), to.port());
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    if !checksum {
        frame[40..42].fill(0);
    }
    frame
}
