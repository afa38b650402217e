//! Our SDP as text, in the order of interoperability requirement I16.

use std::net::IpAddr;

use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::Direction;

use super::Local;
use super::crypto::Crypto;
use super::description::{Profile, Stream};

/// The audio stream we describe.
pub(super) struct Ours {
    /// RTP or SRTP.
    pub(super) profile: Profile,
    /// Our keys.
    pub(super) crypto: Vec<Crypto>,
    /// Codecs and their payload types, in order.
    pub(super) codecs: Vec<(Codec, u8)>,
    /// Payload type of telephone-event.
    pub(super) telephone_event: Option<u8>,
    /// Packet time, milliseconds.
    pub(super) ptime: u8,
    /// Which way media flows, seen from us.
    pub(super) direction: Direction,
    /// Whether RTP and RTCP share a port, or may.
    pub(super) rtcp_mux: bool,
}

/// Writes a description with our audio stream at position `index` of `streams`; the others are refused (RFC 3264
/// section 6). The first offer of a session has no other streams.
pub(super) fn write(local: &Local<'_>, ours: &Ours, streams: &[Stream], index: usize) -> Vec<u8> {
    let ip = local.rtp.ip();
    let address = match ip {
        IpAddr::V4(ip) => format!("IP4 {ip}"),
        IpAddr::V6(ip) => format!("IP6 {ip}"),
    };
    let mut lines = vec![
        "v=0".to_owned(),
        format!(
            "o={} {} {} IN {address}",
            local.identity.origin_user, local.session_id, local.version
        ),
        format!("s={}", local.identity.session_name),
        format!("c=IN {address}"),
        "t=0 0".to_owned(),
    ];
    for stream in streams.iter().take(index) {
        lines.push(refused(stream));
    }
    audio(&mut lines, local.rtp.port(), ours);
    for stream in streams.iter().skip(index + 1) {
        lines.push(refused(stream));
    }
    let mut text = lines.join("\r\n");
    text.push_str("\r\n");
    text.into_bytes()
}

fn audio(lines: &mut Vec<String>, port: u16, ours: &Ours) {
    let payload_types = ours
        .codecs
        .iter()
        .map(|&(_, payload_type)| payload_type)
        .chain(ours.telephone_event);
    let payload_types: Vec<String> = payload_types.map(|payload_type| payload_type.to_string()).collect();
    lines.push(format!(
        "m=audio {port} {} {}",
        ours.profile.name(),
        payload_types.join(" ")
    ));
    for (codec, payload_type) in &ours.codecs {
        lines.push(format!("a=rtpmap:{payload_type} {codec}/{}", codec.clock_rate()));
    }
    if let Some(payload_type) = ours.telephone_event {
        lines.push(format!("a=rtpmap:{payload_type} telephone-event/8000"));
        lines.push(format!("a=fmtp:{payload_type} 0-16"));
    }
    lines.push(format!("a=ptime:{}", ours.ptime));
    match ours.direction {
        Direction::SendRecv => {}
        Direction::SendOnly => lines.push("a=sendonly".to_owned()),
        Direction::RecvOnly => lines.push("a=recvonly".to_owned()),
        Direction::Inactive => lines.push("a=inactive".to_owned()),
    }
    if ours.rtcp_mux {
        lines.push("a=rtcp-mux".to_owned());
    }
    lines.extend(ours.crypto.iter().map(|crypto| format!("a={crypto}")));
}

fn refused(stream: &Stream) -> String {
    format!("m={} 0 {} {}", stream.media, stream.proto, stream.formats)
}
