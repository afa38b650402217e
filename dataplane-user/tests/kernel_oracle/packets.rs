//! Packets of all sorts: media, reports, noise, from the right and the wrong, whole and spoilt.

use std::net::SocketAddr;

use proptest::prelude::*;
use voxlane_common::drops::DropReason;
use voxlane_common::outcome::{Outcome, PassReason};

use crate::kernel_support::{report, rtp};

/// Where a packet enters the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Caller,
    Callee,
}

/// Which of a leg's two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    Rtp,
    Rtcp,
}

/// Who sends it.
#[derive(Clone, Copy, Debug)]
pub enum Sender {
    Signalled,
    /// The signalled address, another port: behind NAT.
    Nat,
    Stranger,
}

/// How the frame is spoilt, so that it is none of the relay's business.
#[derive(Clone, Copy, Debug)]
pub enum Spoil {
    OtherFamily,
    OtherType,
    Version,
    Tcp,
    Options,
    Fragment,
    MoreFragments,
    UdpLength,
    IpLength,
    OtherPort,
    FreePort,
    OtherAddress,
    OneTagTooMany,
    /// By its place between the Ethernet header and the end of the UDP header.
    Cut(usize),
}

/// One packet that arrives.
#[derive(Clone, Debug)]
pub struct Step {
    pub side: Side,
    pub port: Port,
    pub sender: Sender,
    pub payload: Vec<u8>,
    pub ttl: u8,
    pub tos: u8,
    pub id: u16,
    pub checksum: bool,
    pub padding: usize,
    /// A tag that the network has left on.
    pub tag: Option<u16>,
    pub spoil: Option<Spoil>,
}

fn payload() -> impl Strategy<Value = (Port, Vec<u8>)> {
    let media = (
        prop::sample::select(vec![0u8, 0, 0, 0, 8, 13, 96, 101, 0x80, 0xe5]),
        0u16..12,
        0u32..2,
    )
        .prop_map(|(kind, sequence, ssrc)| (Port::Rtp, rtp(kind, sequence.wrapping_sub(4), ssrc)));
    let port = || prop::sample::select(vec![Port::Rtcp, Port::Rtcp, Port::Rtp]);
    let reports = (port(), any::<u32>(), 200u8..=204).prop_map(|(port, ssrc, kind)| {
        let mut packet = report(ssrc);
        packet[1] = kind;
        (port, packet)
    });
    let noise = (port(), prop::collection::vec(any::<u8>(), 0..40));
    let short = (port(), 0usize..16).prop_map(|(port, length)| {
        let mut packet = match port {
            Port::Rtp => rtp(0, 1, 1),
            Port::Rtcp => report(1),
        };
        packet.truncate(length);
        (port, packet)
    });
    prop_oneof![6 => media, 2 => reports, 1 => noise, 1 => short]
}

fn spoils() -> impl Strategy<Value = Spoil> {
    use Spoil::*;
    let named = prop::sample::select(vec![
        OtherFamily,
        OtherType,
        Version,
        Tcp,
        Options,
        Fragment,
        MoreFragments,
        UdpLength,
        IpLength,
        OtherPort,
        FreePort,
        OtherAddress,
        OneTagTooMany,
    ]);
    prop_oneof![3 => named, 1 => (0usize..100).prop_map(Cut)]
}

pub fn step() -> impl Strategy<Value = Step> {
    let side = prop::sample::select(vec![Side::Caller, Side::Caller, Side::Callee]);
    let sender = prop::sample::select(vec![
        Sender::Signalled,
        Sender::Signalled,
        Sender::Nat,
        Sender::Stranger,
    ]);
    let header = (
        any::<u8>(),
        any::<u8>(),
        any::<u16>(),
        prop::bool::weighted(0.8),
        0usize..20,
    );
    let around = (
        prop::option::weighted(0.2, 1u16..4095),
        prop::option::weighted(0.15, spoils()),
    );
    (side, sender, payload(), header, around).prop_map(
        |(side, sender, (port, payload), (ttl, tos, id, checksum, padding), (tag, spoil))| Step {
            side,
            port,
            sender,
            payload,
            ttl,
            tos,
            id,
            checksum,
            padding,
            tag,
            spoil,
        },
    )
}

/// Spoils a frame to `local`, whose IP header is at `ip`; returns how it must end.
pub fn spoil(frame: &mut Vec<u8>, ip: usize, local: SocketAddr, how: Spoil) -> Outcome {
    use PassReason as Pass;
    let v6 = local.is_ipv6();
    let udp = ip + if v6 { 40 } else { 20 };
    let reason = match how {
        Spoil::OtherFamily => {
            frame[ip - 2..ip].copy_from_slice(if v6 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
            Pass::NotUdp
        }
        Spoil::OtherType => {
            frame[ip - 2..ip].copy_from_slice(&[0x88, 0xcc]);
            Pass::NotUdp
        }
        Spoil::Version => {
            frame[ip] = if v6 { 0x50 } else { 0x44 };
            Pass::NotUdp
        }
        Spoil::Tcp => {
            frame[ip + if v6 { 6 } else { 9 }] = 6;
            Pass::NotUdp
        }
        Spoil::Options => {
            // Destination options; an IPv4 header of six words.
            let (place, byte) = if v6 { (6, 60) } else { (0, 0x46) };
            frame[ip + place] = byte;
            Pass::Options
        }
        Spoil::Fragment => {
            let (place, byte) = if v6 { (6, 44) } else { (7, 1) };
            frame[ip + place] = byte;
            Pass::Fragment
        }
        Spoil::MoreFragments => {
            let (place, byte) = if v6 { (6, 44) } else { (6, 0x20) };
            frame[ip + place] = byte;
            Pass::Fragment
        }
        Spoil::UdpLength => {
            frame[udp + 5] ^= 1;
            Pass::BadLength
        }
        Spoil::IpLength => {
            frame[ip + if v6 { 4 } else { 2 }] = 0x7f;
            Pass::BadLength
        }
        Spoil::OtherPort => {
            frame[udp + 2..udp + 4].copy_from_slice(&9_999u16.to_be_bytes());
            Pass::OtherPort
        }
        Spoil::FreePort => {
            frame[udp + 2..udp + 4].copy_from_slice(&10_050u16.to_be_bytes());
            return Outcome::Dropped(DropReason::Unallocated);
        }
        Spoil::OtherAddress => {
            frame[udp - 1] = 200;
            Pass::OtherPort
        }
        Spoil::OneTagTooMany => {
            let tags = [0x81, 0, 0, 5, 0x81, 0, 0, 6];
            frame.splice(12..12, tags);
            Pass::NotUdp
        }
        Spoil::Cut(place) => {
            // A frame that has no whole Ethernet header never reaches the program.
            let length = 14 + place % (udp + 8 - 14);
            frame.truncate(length);
            if length >= udp { Pass::BadLength } else { Pass::NotUdp }
        }
    };
    Outcome::Passed(reason)
}
