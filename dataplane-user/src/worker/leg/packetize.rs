//! The RTP stream a leg sends: one SSRC, sequence numbers without a gap, timestamps on the grid (RFC 3550 section 5.1).

use voxlane_common::account::Tick;
use voxlane_common::rtp::HEADER_LEN;
use voxlane_common::splice::SentStream;

/// Longest payload: 100 ms of G.711.
const MAX_PAYLOAD: usize = 800;

const MARKER: u8 = 0x80;

/// What is heard in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sound {
    Talk,
    Silence,
}

/// Writes the packets of one stream.
#[derive(Debug)]
pub(super) struct Packetizer {
    ssrc: u32,
    sequence: u16,
    /// Timestamp of frame 0.
    origin: u32,
    samples_a_frame: u32,
    last: Sound,
    packets: u64,
    octets: u64,
    /// Timestamp of the newest packet, and when it was sent.
    newest: (u32, u64),
    /// The stream of another that this one goes on with, until its first packet.
    takes_up: Option<SentStream>,
    packet: [u8; HEADER_LEN + MAX_PAYLOAD],
}

impl Packetizer {
    /// A stream that begins at a random sequence number, timestamp and SSRC.
    pub(super) fn new(samples_a_frame: usize) -> Self {
        Self {
            ssrc: rand::random(),
            sequence: rand::random(),
            origin: rand::random(),
            samples_a_frame: u32::try_from(samples_a_frame).unwrap_or(u32::MAX),
            last: Sound::Silence,
            packets: 0,
            octets: 0,
            newest: (0, 0),
            takes_up: None,
            packet: [0; HEADER_LEN + MAX_PAYLOAD],
        }
    }

    /// Goes on with the stream that another has sent.
    pub(super) fn take_up(&mut self, sent: SentStream) {
        self.ssrc = sent.ssrc;
        self.sequence = sent.sequence.wrapping_add(1);
        self.newest = (sent.timestamp, sent.at_ns);
        self.takes_up = Some(sent);
    }

    /// To be called before the packet of a frame is written, with the time and the media clock's tick: a stream that goes
    /// on with another's learns where it is.
    pub(super) fn begin(&mut self, frame: u64, now_ns: u64, tick: Tick) {
        if let Some(sent) = self.takes_up.take() {
            let ptime_ns = tick.span_ns(self.samples_a_frame);
            let timestamp = sent.next_timestamp(now_ns, tick, ptime_ns);
            self.origin = timestamp.wrapping_sub((frame as u32).wrapping_mul(self.samples_a_frame));
        }
    }

    /// The packet that was written last was sent at this time.
    pub(super) fn sent_at(&mut self, now_ns: u64) {
        self.newest.1 = now_ns;
    }

    /// The stream as it is, for another to go on with.
    pub(super) fn sent(&self) -> SentStream {
        let (timestamp, at_ns) = self.newest;
        SentStream::left_at(self.ssrc, self.sequence.wrapping_sub(1), timestamp, at_ns)
    }

    /// SSRC of the stream.
    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets written so far.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload bytes in them.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Timestamp of a frame of the grid.
    pub(super) fn timestamp(&self, frame: u64) -> u32 {
        // Media time wraps, and so may the frame number.
        self.origin
            .wrapping_add((frame as u32).wrapping_mul(self.samples_a_frame))
    }

    /// A packet of encoded audio. It carries the marker if talk begins here, or the stream (RFC 3551 section 4.1).
    pub(super) fn audio(&mut self, frame: u64, payload_type: u8, sound: Sound, payload: &[u8]) -> &[u8] {
        let talk_begins = self.last == Sound::Silence && sound == Sound::Talk;
        let marker = talk_begins || self.packets == 0;
        self.last = sound;
        self.write(payload_type, marker, self.timestamp(frame), payload)
    }

    /// A telephone-event packet, whose timestamp is that of the key press (RFC 4733 section 2.1).
    pub(super) fn event(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) -> &[u8] {
        self.write(payload_type, marker, timestamp, payload)
    }

    fn write(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) -> &[u8] {
        let length = payload.len().min(MAX_PAYLOAD);
        let (header, body) = self.packet.split_at_mut(HEADER_LEN);
        header[0] = 0x80;
        header[1] = payload_type & !MARKER | if marker { MARKER } else { 0 };
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        body[..length].copy_from_slice(&payload[..length]);
        self.newest.0 = timestamp;
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.octets += length as u64;
        &self.packet[..HEADER_LEN + length]
    }
}

#[cfg(test)]
mod tests {
    use voxlane_common::rtp::{RtpHeader, media};

    use super::*;

    #[test]
    fn packets_follow_each_other_and_the_grid() {
        let mut packetizer = Packetizer::new(160);
        let first = packetizer.audio(4, 0, Sound::Silence, &[0xff; 160]).to_vec();
        let second = packetizer.audio(5, 0, Sound::Talk, &[1; 160]).to_vec();
        let third = packetizer.audio(8, 0, Sound::Talk, &[2; 160]).to_vec();
        let [a, b, c] = [&first, &second, &third].map(|packet| RtpHeader::parse(packet).unwrap());
        assert_eq!(b.sequence(), a.sequence().wrapping_add(1));
        assert_eq!(c.sequence(), b.sequence().wrapping_add(1));
        assert_eq!(b.timestamp().wrapping_sub(a.timestamp()), 160);
        assert_eq!(c.timestamp().wrapping_sub(b.timestamp()), 480);
        assert_eq!([a, b, c].map(|header| header.marker()), [true, true, false]);
        assert_eq!([a, b, c].map(|header| header.ssrc()), [packetizer.ssrc(); 3]);
        assert_eq!(media(&third), Some(&[2; 160][..]));
        assert_eq!((packetizer.packets(), packetizer.octets()), (3, 480));
    }

    #[test]
    fn an_event_takes_the_next_number_and_keeps_its_own_time() {
        let mut packetizer = Packetizer::new(160);
        let audio = RtpHeader::parse(packetizer.audio(0, 0, Sound::Talk, &[0; 160])).unwrap();
        let event = RtpHeader::parse(packetizer.event(101, true, 77, &[5, 0, 0, 160])).unwrap();
        assert_eq!(event.sequence(), audio.sequence().wrapping_add(1));
        assert_eq!(
            (event.payload_type(), event.timestamp(), event.marker()),
            (101, 77, true)
        );
    }
}
