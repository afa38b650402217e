//! Sends a packet on: next hop, then headers and checksums, then the way out.

use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_fib_lookup as FibLookup;
use aya_ebpf::bindings::{BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS};
use aya_ebpf::helpers::{bpf_fib_lookup, bpf_xdp_adjust_head};
use aya_ebpf::programs::XdpContext;
use voxlane_common::address::{Family, TransportAddress};
use voxlane_common::drops::DropReason;
use voxlane_common::flow::FlowKind;
use voxlane_common::frame::{
    Datagram, ETHERNET, Frame, IPV4, IPV6, Ipv4Header, Ipv6Header, PROTOCOL_UDP, TAG, TYPE, TYPE_VLAN, UDP, UdpHeader,
};
use voxlane_common::next_hop::{HardwareAddresses, NextHop};
use voxlane_common::pace::Departure;
use voxlane_common::relay::Forward;
use voxlane_common::rewrite;
use voxlane_common::rtp::Head;

use crate::parse::{XdpFrame, store};
use crate::{SendResult, Sent, hand_over, maps};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// The loopback interface of every network namespace. A lookup "from" it is the lookup of a locally sent packet, and
/// needs no router to be made of the host: only `lo` must have forwarding on, where nothing is ever forwarded.
const LOOPBACK: u32 = 1;

/// A packet to send on.
pub struct Packet<'a> {
    /// Where its headers are.
    pub datagram: &'a Datagram,
    /// What its payload begins with.
    pub head: &'a Head,
    /// What it is.
    pub kind: FlowKind,
}

/// Rewrites the packet and sends it on.
#[inline(always)]
pub fn send(ctx: &XdpContext, packet: &Packet, forward: &Forward) -> SendResult {
    let datagram = packet.datagram;
    let ip_length = datagram.payload_offset - datagram.ip_offset + datagram.length as usize;
    let next_hop = match maps::next_hop(forward.next_hop) {
        Some(known) => known,
        None => {
            let question = Question {
                source: forward.headers.source,
                destination: forward.headers.destination,
                tos: forward.headers.tos,
                family: datagram.family,
                ip_length: ip_length as u32,
            };
            look_up(ctx, &question)?;
            maps::looked_up().ok_or(DropReason::NoRoute)?
        }
    };
    if ip_length > usize::from(next_hop.mtu) {
        return Err(DropReason::TooBig);
    }
    let sent = match forward.departure {
        Departure::At(_) => Sent::Later,
        Departure::Now if next_hop.ifindex as usize == ctx.ingress_ifindex() => Sent::Back,
        Departure::Now => {
            maps::redirect(next_hop.ifindex).ok_or(DropReason::NoRoute)?;
            Sent::Across
        }
    };
    let ip_offset = make_room(ctx, datagram.ip_offset, next_hop).ok_or(DropReason::NoRoute)?;
    rewrite(ctx, packet, ip_offset, forward).ok_or(DropReason::TooShort)?;
    address(ctx, next_hop).ok_or(DropReason::TooShort)?;
    match forward.departure {
        Departure::At(time_ns) => hand_over::to_pace(ctx, next_hop.ifindex, time_ns).map(|()| sent),
        Departure::Now => Ok(sent),
    }
}

/// Its IPv6 addresses are written eight bytes at once, and the verifier wants those aligned.
#[repr(align(8))]
struct Aligned(FibLookup);

/// What a next hop is looked up for. A copy, so that what is known of the packet otherwise stays out of memory.
struct Question {
    source: TransportAddress,
    destination: TransportAddress,
    tos: u32,
    family: Family,
    ip_length: u32,
}

/// Asks the kernel for the next hop, and leaves it in [`maps::looked_up`].
///
/// Not a function of its own, rare as it is: before Linux 6.8 the verifier takes all it has seen before a call for important
/// and tells every path through the program from every other, more than it has patience for.
#[inline(always)]
fn look_up(ctx: &XdpContext, question: &Question) -> Result<(), DropReason> {
    let (source, destination) = (question.source, question.destination);
    let mut lookup = MaybeUninit::<Aligned>::uninit();
    let start: *mut u64 = lookup.as_mut_ptr().cast();
    let mut place = 0;
    while place < size_of::<Aligned>() / 8 {
        // SAFETY: a word of the structure. Not by `memset`, a call of which old verifiers make too much.
        unsafe { start.add(place).write_volatile(0) };
        place += 1;
    }
    // SAFETY: integers, byte arrays and unions of them, for all of which zero is a value.
    let lookup = unsafe { &mut lookup.assume_init_mut().0 };
    lookup.l4_protocol = PROTOCOL_UDP;
    lookup.sport = u16::from_ne_bytes(source.port_bytes());
    lookup.dport = u16::from_ne_bytes(destination.port_bytes());
    lookup.__bindgen_anon_1.tot_len = question.ip_length as u16;
    lookup.ifindex = LOOPBACK;
    match question.family {
        Family::V4 => {
            lookup.family = AF_INET;
            lookup.__bindgen_anon_2.tos = question.tos as u8;
            lookup.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(source.host().v4_bytes());
            lookup.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(destination.host().v4_bytes());
        }
        Family::V6 => {
            lookup.family = AF_INET6;
            lookup.__bindgen_anon_3.ipv6_src = words(source.host().v6_bytes());
            lookup.__bindgen_anon_4.ipv6_dst = words(destination.host().v6_bytes());
        }
    }
    // SAFETY: the context is the program's own, and the length is that of the structure.
    let answer = unsafe { bpf_fib_lookup(ctx.as_ptr(), lookup, size_of::<FibLookup>() as i32, 0) };
    // Named by then if there is a route, but for packets that are too big for it.
    let device = maps::device(lookup.ifindex);
    let device = match (u32::try_from(answer), device) {
        (Ok(BPF_FIB_LKUP_RET_FRAG_NEEDED), _) => return Err(DropReason::TooBig),
        (Ok(BPF_FIB_LKUP_RET_SUCCESS), Some(device)) => device,
        // Whoever is behind another interface than the lane's does not matter.
        (Ok(BPF_FIB_LKUP_RET_NO_NEIGH), Some(_)) => return Err(DropReason::NoNeighbour),
        _ => return Err(DropReason::NoRoute),
    };
    let hop = maps::looked_up().ok_or(DropReason::NoRoute)?;
    *hop = NextHop {
        ifindex: device.ifindex,
        // The kernel has looked at the length.
        mtu: u16::MAX,
        vlan: device.vlan,
        addresses: HardwareAddresses::of_words(mac(&lookup.dmac), mac(&lookup.smac)),
    };
    Ok(())
}

/// A hardware address in words. Read one by one: the compiler would read two as one where the verifier wants it aligned.
#[inline(always)]
fn mac(bytes: &[u8; 6]) -> [u16; 3] {
    let words: *const u16 = bytes.as_ptr().cast();
    // SAFETY: three words in six bytes, at the even offset that the structure has them.
    unsafe {
        [
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
        ]
    }
}

#[inline(always)]
fn words(address: [u8; 16]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
        u32::from_ne_bytes([i, j, k, l]),
        u32::from_ne_bytes([m, n, o, p]),
    ]
}

/// Makes the frame begin where one with the next hop's tag, or without one, would; returns where its IP header is then.
#[inline(always)]
fn make_room(ctx: &XdpContext, ip_offset: usize, next_hop: &NextHop) -> Option<usize> {
    let wanted = if next_hop.vlan.is_none() {
        ETHERNET
    } else {
        ETHERNET + TAG
    };
    if wanted != ip_offset {
        let further = if wanted < ip_offset { TAG as i32 } else { -(TAG as i32) };
        // SAFETY: the context is the program's own. No pointer into the frame is kept across the call.
        if unsafe { bpf_xdp_adjust_head(ctx.ctx, further) } != 0 {
            return None;
        }
    }
    Some(wanted)
}

#[inline(always)]
fn rewrite(ctx: &XdpContext, packet: &Packet, ip_offset: usize, forward: &Forward) -> Option<()> {
    let frame = XdpFrame(ctx);
    let [first, second, third] = forward.head;
    let head = match packet.kind {
        FlowKind::Rtp => [first, second, third],
        // Of RTCP only the header and the sender's SSRC are ours to write.
        FlowKind::Rtcp | FlowKind::Worker => [first, second, packet.head[2]],
    };
    let change = rewrite::head_change(packet.head, &head);
    let (addresses, udp_offset) = match packet.datagram.family {
        Family::V4 => {
            let mut ip = frame.read::<Ipv4Header>(ip_offset)?;
            let addresses = ip.rewrite(&forward.headers);
            store(ctx, ip_offset, ip)?;
            (addresses, ip_offset + IPV4)
        }
        Family::V6 => {
            let mut ip = frame.read::<Ipv6Header>(ip_offset)?;
            let addresses = ip.rewrite(&forward.headers);
            store(ctx, ip_offset, ip)?;
            (addresses, ip_offset + IPV6)
        }
    };
    let mut udp = frame.read::<UdpHeader>(udp_offset)?;
    udp.rewrite(&forward.headers, addresses.and(change));
    store(ctx, udp_offset, udp)?;
    match packet.kind {
        FlowKind::Rtp => store(ctx, udp_offset + UDP, head),
        FlowKind::Rtcp | FlowKind::Worker => store(ctx, udp_offset + UDP, [first, second]),
    }
}

/// Writes the hardware addresses, and the tag if there is one; the type of the packet stands behind them already.
#[inline(always)]
fn address(ctx: &XdpContext, next_hop: &NextHop) -> Option<()> {
    store(ctx, 0, next_hop.addresses.words())?;
    if next_hop.vlan.is_none() {
        return Some(());
    }
    store(ctx, TYPE, TYPE_VLAN)?;
    store(ctx, TYPE + 2, next_hop.vlan.bytes())
}
