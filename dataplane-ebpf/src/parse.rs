//! From a frame to a UDP packet that could be media.

use aya_ebpf::programs::XdpContext;
use network_types::eth::{EthHdr, EtherType};
use network_types::ip::{IpProto, Ipv4Hdr};
use network_types::udp::UdpHdr;
use voxlane_common::address::TransportAddress;
use voxlane_common::outcome::PassReason;
use voxlane_common::relay::PacketView;
use voxlane_common::{rtcp, rtp};

/// The headers of every frame this program forwards: they have no options, so they stand one behind the other.
#[repr(C)]
pub struct Headers {
    /// Ethernet.
    pub ethernet: EthHdr,
    /// IPv4 without options.
    pub ip: Ipv4Hdr,
    /// UDP.
    pub udp: UdpHdr,
}

const _: () = assert!(size_of::<Headers>() == 42);

/// A UDP packet.
pub struct Packet<'a> {
    /// Its headers, in the frame.
    pub headers: &'a mut Headers,
    /// Where it is sent to.
    pub local: TransportAddress,
    /// What the relay decision looks at.
    pub view: PacketView,
}

/// More fragments follow, or an offset: a piece of a packet.
const FRAGMENT: u16 = 0x3fff;

/// Finds the headers and checks that their lengths agree with the frame.
#[inline(always)]
pub fn udp(ctx: &XdpContext) -> Result<Packet<'_>, PassReason> {
    let headers = at::<Headers>(ctx, 0).ok_or(PassReason::NotUdp)?;
    // SAFETY: the bytes are in the frame and belong to this program while it runs; Headers is valid for any bytes and
    // needs an alignment of 2, which every driver gives a frame. No other reference to them exists: what follows reads
    // the payload behind them.
    let headers = unsafe { &mut *headers };
    let ip = &headers.ip;

    if headers.ethernet.ether_type != EtherType::Ipv4 as u16 || ip.proto != IpProto::Udp as u8 {
        return Err(PassReason::NotUdp);
    }
    match ip.vihl {
        0x45 => {}
        0x46..=0x4f => return Err(PassReason::Options),
        _ => return Err(PassReason::NotUdp),
    }
    if u16::from_be_bytes(ip.frags) & FRAGMENT != 0 {
        return Err(PassReason::Fragment);
    }

    let frame_length = ctx.data_end() - ctx.data();
    let ip_length = u16::from_be_bytes(ip.tot_len);
    let udp_length = u16::from_be_bytes(headers.udp.len);
    let headers_agree = usize::from(ip_length) == usize::from(udp_length) + Ipv4Hdr::LEN;
    // A short packet is padded to the least length of a frame: the frame may be longer than the packet.
    let frame_agrees = usize::from(ip_length) + EthHdr::LEN <= frame_length;
    if !headers_agree || !frame_agrees || usize::from(udp_length) < UdpHdr::LEN {
        return Err(PassReason::BadLength);
    }

    let view = PacketView {
        source: TransportAddress::from_network(ip.src_addr, headers.udp.src),
        head: head(ctx),
        length: udp_length - UdpHdr::LEN as u16,
        rtp_owner: TransportAddress::NONE,
    };
    Ok(Packet {
        local: TransportAddress::from_network(ip.dst_addr, headers.udp.dst),
        headers,
        view,
    })
}

/// The first bytes of the payload, as far as the relay decision can look: it rejects a packet by its length before it
/// reads further.
#[inline(always)]
fn head(ctx: &XdpContext) -> [u8; rtp::HEADER_LEN] {
    if let Some(head) = at::<[u8; rtp::HEADER_LEN]>(ctx, size_of::<Headers>()) {
        // SAFETY: in the frame, and bytes need no alignment.
        return unsafe { *head };
    }
    let mut head = [0; rtp::HEADER_LEN];
    if let Some(short) = at::<[u8; rtcp::MIN_LEN]>(ctx, size_of::<Headers>()) {
        // SAFETY: as above.
        let short = unsafe { *short };
        head[..rtcp::MIN_LEN].copy_from_slice(&short);
    }
    head
}

/// The first two bytes of the payload, in the frame.
#[inline(always)]
pub fn media_type<'a>(ctx: &'a XdpContext) -> Option<&'a mut [u8; 2]> {
    let bytes = at::<[u8; 2]>(ctx, size_of::<Headers>())?;
    // SAFETY: in the frame, and bytes need no alignment. The caller holds no other reference to the payload.
    Some(unsafe { &mut *bytes })
}

/// A pointer to a `T` that lies wholly in the frame.
#[inline(always)]
fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    (start + size_of::<T>() <= ctx.data_end()).then_some(start as *mut T)
}
