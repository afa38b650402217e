//! The named corpus: what each packet is, and how it ends.

use std::net::{IpAddr, SocketAddr};

use voxlane_common::drops::DropReason as Drop;
use voxlane_common::outcome::PassReason as Pass;

use super::Ending::{self, Dropped, Passed, SentOn};
use super::{FAR_END, HELD, NOBODYS, OURS, PLAIN, STRICT, WORKER};

const RTP: [u8; 16] = [0x80, 0, 0, 7, 0, 0, 0, 160, 1, 2, 3, 4, 0xd5, 0xd5, 0xd5, 0xd5];
const EVENT: [u8; 16] = [0x80, 0xe5, 0, 7, 0, 0, 0, 160, 1, 2, 3, 4, 5, 0x0a, 0, 160];
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 1, 2, 3, 4];

#[derive(Clone, Copy)]
enum Ip {
    V4 = 0,
    V6 = 1,
}
use Ip::{V4, V6};

/// A frame with a packet of the far end to a port of ours; reports come from the port above.
fn udp(ip: Ip, port: u16, payload: &[u8]) -> Vec<u8> {
    let from: SocketAddr = FAR_END[ip as usize].parse().unwrap();
    let to: SocketAddr = OURS[ip as usize].parse().unwrap();
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9];
    let length = (8 + payload.len() as u16).to_be_bytes();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (28 + payload.len() as u16).to_be_bytes();
            frame.extend([0x08, 0x00, 0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, 17, 0, 0]);
            frame.extend(from.octets().into_iter().chain(to.octets()));
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], 17, 64]);
            frame.extend(from.octets().into_iter().chain(to.octets()));
        }
        _ => unreachable!("both are of one family"),
    }
    let from = from.port() + port % 2;
    frame.extend(from.to_be_bytes().into_iter().chain(port.to_be_bytes()));
    // Nobody on this way looks at the checksum.
    frame.extend(length.into_iter().chain([0, 0]));
    frame.extend(payload);
    frame
}

/// A packet of the IPv4 far end, as no network may carry it: over IPv6, with IPv4-mapped addresses.
fn mapped() -> Vec<u8> {
    let mut frame = udp(V6, PLAIN, &RTP);
    for (at, address) in [(IP + 8, FAR_END[0]), (IP + 24, OURS[0])] {
        let address: SocketAddr = address.parse().unwrap();
        let IpAddr::V4(ip) = address.ip() else {
            unreachable!("the first of each is of IPv4")
        };
        frame = with(frame, at, &ip.to_ipv6_mapped().octets());
    }
    let port = FAR_END[0].parse::<SocketAddr>().unwrap().port();
    with(frame, UDP_V6, &port.to_be_bytes())
}

/// A frame with some bytes changed.
fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, 0, 33]);
    frame
}

fn cut(mut frame: Vec<u8>, length: usize) -> Vec<u8> {
    frame.truncate(length);
    frame
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len() + 6, 0);
    frame
}

/// Where headers stand behind an Ethernet header.
const IP: usize = 14;
const UDP_V4: usize = IP + 20;
const UDP_V6: usize = IP + 40;

pub fn corpus() -> Vec<(&'static str, Vec<u8>, Ending)> {
    let media = |ip| udp(ip, PLAIN, &RTP);
    let reports = |ip| udp(ip, PLAIN + 1, &REPORT);
    vec![
        ("ipv4_rtp", media(V4), SentOn),
        ("ipv6_rtp", media(V6), SentOn),
        ("ipv4_rtcp", reports(V4), SentOn),
        ("ipv6_rtcp", reports(V6), SentOn),
        ("ipv4_vlan_rtp", tagged(media(V4)), SentOn),
        ("ipv6_vlan_rtp", tagged(media(V6)), SentOn),
        ("ipv4_vlan_rtcp", tagged(reports(V4)), SentOn),
        ("ipv6_vlan_rtcp", tagged(reports(V6)), SentOn),
        ("ipv4_rtp_padded_frame", padded(media(V4)), SentOn),
        ("ipv4_telephone_event", udp(V4, PLAIN, &EVENT), SentOn),
        ("ipv4_rtcp_on_rtp_port", udp(V4, HELD, &REPORT), SentOn),
        ("ipv6_rtp_on_hold", udp(V6, HELD, &RTP), Dropped(Drop::Held)),
        (
            "ipv4_rtp_from_another_port",
            with(media(V4), UDP_V4, &[9, 9]),
            Dropped(Drop::Probation),
        ),
        (
            "ipv6_rtp_from_a_stranger",
            with(udp(V6, STRICT, &RTP), IP + 8, &[0x20, 2]),
            Dropped(Drop::WrongSource),
        ),
        (
            "ipv4_rtp_too_short",
            udp(V4, PLAIN, &RTP[..11]),
            Dropped(Drop::TooShort),
        ),
        ("ipv4_udp_empty", udp(V4, PLAIN, &[]), Dropped(Drop::TooShort)),
        (
            "ipv6_rtcp_too_short",
            udp(V6, PLAIN + 1, &REPORT[..7]),
            Dropped(Drop::TooShort),
        ),
        ("ipv4_stun_on_rtp_port", udp(V4, PLAIN, &[0; 20]), Dropped(Drop::NotRtp)),
        (
            "ipv4_rtp_on_rtcp_port",
            udp(V4, PLAIN + 1, &RTP),
            Dropped(Drop::NotRtcp),
        ),
        (
            "ipv6_rtp_of_a_foreign_codec",
            with(media(V6), UDP_V6 + 9, &[18]),
            Dropped(Drop::PayloadType),
        ),
        ("ipv4_port_of_a_worker", udp(V4, WORKER, &RTP), Passed(Pass::Worker)),
        (
            "ipv6_port_of_nobody",
            udp(V6, NOBODYS, &RTP),
            Dropped(Drop::Unallocated),
        ),
        (
            "ipv4_port_outside_the_range",
            udp(V4, 5060, b"OPTIONS"),
            Passed(Pass::OtherPort),
        ),
        (
            "ipv6_other_address",
            with(media(V6), UDP_V6 - 1, &[7]),
            Passed(Pass::OtherPort),
        ),
        ("ipv6_mapped_addresses", mapped(), Passed(Pass::OtherPort)),
        ("ipv4_tcp", with(media(V4), IP + 9, &[6]), Passed(Pass::NotUdp)),
        ("ipv6_icmp", with(media(V6), IP + 6, &[58]), Passed(Pass::NotUdp)),
        ("arp", with(cut(media(V4), 42), 12, &[8, 6]), Passed(Pass::NotUdp)),
        (
            "ipv4_type_ipv6_packet",
            with(media(V6), 12, &[8, 0]),
            Passed(Pass::NotUdp),
        ),
        ("ipv4_version_5", with(media(V4), IP, &[0x55]), Passed(Pass::NotUdp)),
        (
            "ipv4_header_of_four_words",
            with(media(V4), IP, &[0x44]),
            Passed(Pass::NotUdp),
        ),
        ("vlan_in_vlan", tagged(tagged(media(V4))), Passed(Pass::NotUdp)),
        ("ipv4_options", with(media(V4), IP, &[0x46]), Passed(Pass::Options)),
        ("ipv6_hop_by_hop", with(media(V6), IP + 6, &[0]), Passed(Pass::Options)),
        (
            "ipv6_routing_header",
            with(media(V6), IP + 6, &[43]),
            Passed(Pass::Options),
        ),
        (
            "ipv4_fragment_first",
            with(media(V4), IP + 6, &[0x20, 0]),
            Passed(Pass::Fragment),
        ),
        (
            "ipv4_fragment_later",
            with(media(V4), IP + 6, &[0, 3]),
            Passed(Pass::Fragment),
        ),
        (
            "ipv6_vlan_fragment",
            tagged(with(media(V6), IP + 6, &[44])),
            Passed(Pass::Fragment),
        ),
        (
            "udp_length_too_long",
            with(media(V4), UDP_V4 + 4, &[0, 25]),
            Passed(Pass::BadLength),
        ),
        (
            "udp_length_too_short",
            with(media(V6), UDP_V6 + 4, &[0, 7]),
            Passed(Pass::BadLength),
        ),
        (
            "ipv4_length_below_its_header",
            with(media(V4), IP + 2, &[0, 3]),
            Passed(Pass::BadLength),
        ),
        (
            "ipv6_length_beyond_the_frame",
            with(media(V6), IP + 4, &[0xff, 0xff]),
            Passed(Pass::BadLength),
        ),
        (
            "ipv6_jumbo_length_zero",
            with(media(V6), IP + 4, &[0, 0]),
            Passed(Pass::BadLength),
        ),
        (
            "ipv4_cut_in_payload",
            cut(media(V4), UDP_V4 + 12),
            Passed(Pass::BadLength),
        ),
        ("ipv4_cut_in_udp", cut(media(V4), UDP_V4 + 7), Passed(Pass::BadLength)),
        ("ipv6_cut_in_ip", cut(media(V6), UDP_V6 - 1), Passed(Pass::NotUdp)),
        ("vlan_cut_in_tag", cut(tagged(media(V4)), 16), Passed(Pass::NotUdp)),
        ("ethernet_cut", cut(media(V4), 13), Passed(Pass::NotUdp)),
        ("empty", vec![], Passed(Pass::NotUdp)),
    ]
}
