//! Packets of a call, and what one of its ends has agreed.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{Direction, LatchMode, Pacing, RtcpPort, Session};
use voxlane_dataplane::srtp::SrtpKeys;

/// Of every stream here.
pub const PTIME: Duration = Duration::from_millis(20);

/// Where the sequence number and the timestamp stand in a packet.
const SEQUENCE: Range<usize> = 2..4;
const TIMESTAMP: Range<usize> = 4..8;

/// The packet of an end, whose number is to be written to it.
pub fn packet(codec: Codec, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, codec.payload_type()];
    packet.extend([0; 6]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160u32).map(|n| (n * 37 + 11) as u8));
    packet
}

/// Writes the number of a packet to it.
pub fn set_number(packet: &mut [u8], number: u32) {
    packet[SEQUENCE].copy_from_slice(&(number as u16).to_be_bytes());
    packet[TIMESTAMP].copy_from_slice(&(number * 160).to_be_bytes());
}

/// Whether a packet is a report, not media.
pub fn is_report(packet: &[u8]) -> bool {
    matches!(packet, [_, 200..=204, ..])
}

/// What an end has agreed.
pub fn session(codec: Codec, srtp: Option<SrtpKeys>, remote: SocketAddr) -> Session {
    Session {
        srtp,
        remote_rtp: remote,
        remote_rtcp: remote,
        rtcp_port: RtcpPort::Shared,
        codec,
        send_payload_type: codec.payload_type(),
        receive_payload_type: codec.payload_type(),
        telephone_event: None,
        ptime: PTIME.as_millis() as u8,
        direction: Direction::SendRecv,
        latch: LatchMode::Strict,
        pacing: Pacing::Off,
    }
}
