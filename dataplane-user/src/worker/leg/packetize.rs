//! The RTP stream a leg sends: one SSRC, sequence numbers without a gap, timestamps on the grid (RFC 3550 section 5.1).

use voxlane_common::account::Tick;
use voxlane_common::rtp::HEADER_LEN;
use voxlane_common::splice::SentStream;

use crate::cache::ask_for;
use crate::worker::command::Left;

/// The RTP clock of every codec, Hz.
const CLOCK_RATE: u32 = 8000;

/// Longest payload: 100 ms of G.711.
const MAX_PAYLOAD: usize = 800;

const MARKER: u8 = 0x80;

/// The marker bit (RFC 3551 section 4.1, RFC 4733 section 2.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Marker {
    /// Something begins here.
    Set,
    /// It goes on.
    Clear,
}

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
    /// Timestamp of frame 0; `None` until a stream that another has sent, or this one with other packets, is gone on with.
    origin: Option<u32>,
    samples_a_frame: u32,
    last: Sound,
    packets: u64,
    octets: u64,
    /// Timestamp of the newest packet.
    newest: u32,
    /// The stream so far.
    sent: SentStream,
    packet: [u8; HEADER_LEN + MAX_PAYLOAD],
}

impl Packetizer {
    /// A stream that begins at a random sequence number, timestamp and SSRC.
    pub(super) fn new(samples_a_frame: usize) -> Self {
        Self {
            ssrc: rand::random(),
            // SRTP's far end cannot miss a wrap that is far away (RFC 3711 section 3.3.1).
            sequence: rand::random::<u16>() >> 1,
            origin: Some(rand::random()),
            samples_a_frame: u32::try_from(samples_a_frame).unwrap_or(u32::MAX),
            last: Sound::Silence,
            packets: 0,
            octets: 0,
            newest: 0,
            sent: SentStream::default(),
            packet: [0; HEADER_LEN + MAX_PAYLOAD],
        }
    }

    /// A packet is about to be written.
    pub(super) fn expect(&self) {
        ask_for(&self.sent);
        ask_for(&self.packets);
        ask_for(&self.ssrc);
        ask_for(&self.packet[..(HEADER_LEN + self.samples_a_frame as usize).min(self.packet.len())]);
    }

    /// Goes on with the stream that another has sent, if anything was.
    pub(super) fn take_up(&mut self, left: &Left) {
        self.packets = left.sent_packets;
        self.sent = left.sent;
        if self.sent.has_begun() {
            self.ssrc = self.sent.ssrc;
            self.sequence = self.sent.sequence.wrapping_add(1);
            self.origin = None;
        }
    }

    /// Goes on with packets of this many samples each; media time goes on as time does.
    pub(super) fn set_samples(&mut self, samples_a_frame: usize) {
        let samples = u32::try_from(samples_a_frame).unwrap_or(u32::MAX);
        if samples != self.samples_a_frame {
            self.samples_a_frame = samples;
            if self.sent.has_begun() {
                self.origin = None;
            }
        }
    }

    /// To be called before the packet of a frame is written, with the time and the media clock's tick: a stream that goes
    /// on with another's learns where it is. Whether a packet is due: not yet if the other has sent one just now, or more
    /// than real time allows.
    pub(super) fn begin(&mut self, frame: u64, now_ns: u64, tick: Tick) -> bool {
        if self.origin.is_none() {
            let ptime_ns = tick.span_ns(self.samples_a_frame);
            if !self.sent.is_due(now_ns, ptime_ns) {
                return false;
            }
            let timestamp = self.sent.resume(now_ns, tick, ptime_ns);
            self.origin = Some(timestamp.wrapping_sub((frame as u32).wrapping_mul(self.samples_a_frame)));
        }
        true
    }

    /// The packet that was written last was sent at this time.
    pub(super) fn sent_at(&mut self, now_ns: u64) {
        let sequence = self.sequence.wrapping_sub(1);
        self.sent.sent(self.ssrc, sequence, self.newest, now_ns);
    }

    /// The stream as it is, for another to go on with.
    pub(super) fn sent(&self) -> SentStream {
        self.sent.left()
    }

    /// SSRC of the stream.
    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Timestamp of the newest packet.
    pub(super) fn newest(&self) -> u32 {
        self.newest
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
            .unwrap_or_default()
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

    /// A packet of audio or of a telephone event that is not of the grid.
    pub(super) fn at(&mut self, payload_type: u8, marker: Marker, timestamp: u32, payload: &[u8]) -> &[u8] {
        self.write(payload_type, marker == Marker::Set, timestamp, payload)
    }

    /// The timestamp of what is sent now: after the stream so far as long as time has gone by, in whole packets of `ptime`
    /// milliseconds; that of frame 0 if there was nothing.
    pub(super) fn resumed(&mut self, ptime: u8, now_ns: u64) -> u32 {
        if self.sent.has_begun() {
            self.sent
                .resume(now_ns, Tick::of_rate(CLOCK_RATE), u32::from(ptime) * 1_000_000)
        } else {
            self.origin.unwrap_or_default()
        }
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
        self.newest = timestamp;
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

    const TICK: Tick = Tick::of_rate(8000);
    const MS: u64 = 1_000_000;

    fn header(packet: &[u8]) -> RtpHeader {
        RtpHeader::parse(packet).unwrap()
    }

    #[test]
    fn a_stream_that_another_has_sent_goes_on_at_its_time() {
        let left = Left {
            sent: SentStream::left_at(9, 65_535, 8000, 1000 * MS),
            sent_packets: 70,
            ..Left::default()
        };
        let mut packetizer = Packetizer::new(160);
        packetizer.take_up(&left);
        assert_eq!((packetizer.ssrc(), packetizer.sent()), (9, left.sent));
        // Right after the other's last packet it waits.
        assert!(!packetizer.begin(697, 1003 * MS, TICK));
        // 61 ms after it, in whatever frame that is here.
        assert!(packetizer.begin(700, 1061 * MS, TICK));
        let first = header(packetizer.audio(700, 0, Sound::Talk, &[0; 160]));
        packetizer.sent_at(1061 * MS);
        assert!(packetizer.begin(702, 1101 * MS, TICK));
        let second = header(packetizer.audio(702, 0, Sound::Talk, &[0; 160]));
        packetizer.sent_at(1101 * MS);
        assert_eq!((first.ssrc(), first.sequence(), first.timestamp()), (9, 0, 8480));
        assert_eq!((second.ssrc(), second.sequence(), second.timestamp()), (9, 1, 8800));
        assert_eq!(packetizer.packets(), 72);

        // And back.
        let mut back = packetizer.sent();
        assert_eq!((back.ssrc, back.sequence, back.timestamp), (9, 1, 8800));
        assert_eq!(back.resume(1121 * MS, TICK, 20_000_000), 8960);
    }

    #[test]
    fn a_stream_goes_on_with_packets_of_another_length() {
        let mut packetizer = Packetizer::new(160);
        // A frame of 20 ms at 1000 ms, and the next with 30 ms at the first place of that grid that does not say it twice.
        assert!(packetizer.begin(50, 1000 * MS, TICK));
        let first = header(packetizer.audio(50, 0, Sound::Talk, &[0; 160]));
        packetizer.sent_at(1000 * MS);
        packetizer.set_samples(240);
        assert!(!packetizer.begin(33, 1005 * MS, TICK));
        assert!(packetizer.begin(34, 1020 * MS, TICK));
        let second = header(packetizer.audio(34, 0, Sound::Talk, &[0; 240]));
        packetizer.sent_at(1020 * MS);
        assert!(packetizer.begin(35, 1050 * MS, TICK));
        let third = header(packetizer.audio(35, 0, Sound::Talk, &[0; 240]));
        assert_eq!(second.sequence(), first.sequence().wrapping_add(1));
        assert_eq!(second.timestamp().wrapping_sub(first.timestamp()), 240);
        assert_eq!(third.timestamp().wrapping_sub(second.timestamp()), 240);
        assert_eq!(
            [first, second, third].map(|header| header.ssrc()),
            [packetizer.ssrc(); 3]
        );
    }

    #[test]
    fn a_leg_that_was_sent_nothing_begins_a_stream_of_its_own() {
        let mut packetizer = Packetizer::new(160);
        let before = (packetizer.ssrc(), packetizer.timestamp(3));
        packetizer.take_up(&Left::default());
        assert!(packetizer.begin(3, 5, TICK));
        assert_eq!((packetizer.ssrc(), packetizer.timestamp(3)), before);
        assert!(!packetizer.sent().has_begun());
    }

    #[test]
    fn a_key_that_is_held_does_not_hold_the_time() {
        let mut packetizer = Packetizer::new(160);
        packetizer.audio(0, 0, Sound::Talk, &[0; 160]);
        packetizer.sent_at(100 * MS);
        let origin = packetizer.timestamp(0);
        for frame in 1..51u64 {
            packetizer.event(101, frame == 1, origin.wrapping_add(160), &[5, 0, 0, 160]);
            packetizer.sent_at((100 + 20 * frame) * MS);
        }
        let next = packetizer.sent().resume(1120 * MS, TICK, 20_000_000);
        assert_eq!(next.wrapping_sub(origin), 51 * 160);
    }
}
