//! Sends a packet on: next hop, then headers and checksums, then the way out.
//!
//! The frame that leaves is the one a UDP socket would have sent (`IP_TTL` 64, `IP_TOS` EF, `IP_PMTUDISC_DO`, whose
//! identification is zero), except that a packet without a UDP checksum stays without one.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_fib_lookup as FibLookup;
use aya_ebpf::bindings::{BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS};
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::programs::XdpContext;
use voxlane_common::checksum::Change;
use voxlane_common::drops::DropReason;
use voxlane_common::relay::Forward;

use crate::parse::{self, Headers};
use crate::{SendResult, Sent, maps};

/// Expedited forwarding (RFC 3246), as the TOS byte.
const TOS_EF: u8 = 0xb8;

/// The relay ends one IP path and begins another: hops are counted anew.
const TTL: u8 = 64;

/// "Do not fragment", offset 0.
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

const AF_INET: u8 = 2;

const UDP: u8 = 17;

/// The loopback interface of every network namespace. A lookup "from" it is the lookup of a locally sent packet, and
/// needs no router to be made of the host: only `lo` must have forwarding on, where nothing is ever forwarded.
const LOOPBACK: u32 = 1;

/// Where a packet goes next on the wire.
struct NextHop {
    ifindex: u32,
    source: [u8; 6],
    destination: [u8; 6],
}

/// Rewrites the packet and sends it on. After an error the packet is as it was.
#[inline(always)]
pub fn send(ctx: &XdpContext, headers: &mut Headers, forward: &Forward) -> SendResult {
    let next_hop = next_hop(ctx, headers, forward)?;
    let media_type = parse::media_type(ctx).ok_or(DropReason::TooShort)?;
    let sent = if next_hop.ifindex as usize == ctx.ingress_ifindex() {
        Sent::Back
    } else {
        maps::redirect(next_hop.ifindex).ok_or(DropReason::NoRoute)?;
        Sent::Across
    };
    rewrite(headers, media_type, forward);
    headers.ethernet.src_addr = next_hop.source;
    headers.ethernet.dst_addr = next_hop.destination;
    Ok(sent)
}

#[inline(always)]
fn next_hop(ctx: &XdpContext, headers: &Headers, forward: &Forward) -> Result<NextHop, DropReason> {
    // SAFETY: integers, byte arrays and unions of them, for all of which zero is a value.
    let mut lookup: FibLookup = unsafe { core::mem::zeroed() };
    lookup.family = AF_INET;
    lookup.l4_protocol = UDP;
    lookup.sport = u16::from_ne_bytes(forward.source.port_bytes());
    lookup.dport = u16::from_ne_bytes(forward.destination.port_bytes());
    lookup.__bindgen_anon_1.tot_len = u16::from_be_bytes(headers.ip.tot_len);
    lookup.ifindex = LOOPBACK;
    lookup.__bindgen_anon_2.tos = TOS_EF;
    lookup.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(forward.source.ip_bytes());
    lookup.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(forward.destination.ip_bytes());
    // SAFETY: the context is the program's own, and the length is that of the structure.
    let answer = unsafe { bpf_fib_lookup(ctx.as_ptr(), &mut lookup, size_of::<FibLookup>() as i32, 0) };
    match u32::try_from(answer) {
        Ok(BPF_FIB_LKUP_RET_SUCCESS) => Ok(NextHop {
            ifindex: lookup.ifindex,
            source: lookup.smac,
            destination: lookup.dmac,
        }),
        Ok(BPF_FIB_LKUP_RET_NO_NEIGH) => Err(DropReason::NoNeighbour),
        Ok(BPF_FIB_LKUP_RET_FRAG_NEEDED) => Err(DropReason::TooBig),
        _ => Err(DropReason::NoRoute),
    }
}

#[inline(always)]
fn rewrite(headers: &mut Headers, media_type: &mut [u8; 2], forward: &Forward) {
    let (ip, udp) = (&mut headers.ip, &mut headers.udp);
    let source = (forward.source.ip_bytes(), forward.source.port_bytes());
    let destination = (forward.destination.ip_bytes(), forward.destination.port_bytes());
    let new_media_type = [media_type[0], forward.second_byte];

    let addresses = Change::NONE
        .address(ip.src_addr, source.0)
        .address(ip.dst_addr, destination.0);
    ip.check = addresses
        .word([ip.vihl, ip.tos], [ip.vihl, TOS_EF])
        .word(ip.id, [0, 0])
        .word(ip.frags, DONT_FRAGMENT)
        .word([ip.ttl, ip.proto], [TTL, ip.proto])
        .apply(ip.check);
    udp.check = addresses
        .word(udp.src, source.1)
        .word(udp.dst, destination.1)
        .word(*media_type, new_media_type)
        .apply_udp(udp.check);

    ip.tos = TOS_EF;
    ip.id = [0, 0];
    ip.frags = DONT_FRAGMENT;
    ip.ttl = TTL;
    ip.src_addr = source.0;
    ip.dst_addr = destination.0;
    udp.src = source.1;
    udp.dst = destination.1;
    *media_type = new_media_type;
}
