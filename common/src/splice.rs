//! One stream out of several: what a flow sends on keeps its SSRC and goes on in sequence number and timestamp when its
//! source changes, so that the far end does not hear it (a translator's and mixer's right, RFC 3550 section 7.2).

use bytemuck::{Pod, Zeroable};

use crate::account::Tick;
use crate::rtp::{Head, RtpHeader};

/// Whether a flow passes its source's SSRC, sequence number and timestamp on.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Continuity {
    /// As they come.
    #[default]
    Transparent = 0,
    /// As one stream, whatever the source does.
    Spliced = 1,
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Media of the time that its timestamp says.
    Media,
    /// A telephone event, whose timestamp says when it began.
    Event,
}

/// The stream that a flow sends on. All zero: nothing was sent yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SentStream {
    /// When the newest timestamp was sent first, ns on the monotonic clock; 0: none was. (All packets of a telephone event
    /// carry the one of its beginning.)
    pub at_ns: u64,
    /// SSRC.
    pub ssrc: u32,
    /// Media timestamp of the newest packet.
    pub timestamp: u32,
    /// SSRC of the source that the differences below are for.
    source_ssrc: u32,
    /// What is added to the source's timestamps.
    timestamp_ahead: u32,
    /// Sequence number of the newest packet.
    pub sequence: u16,
    /// What is added to the source's sequence numbers.
    sequence_ahead: u16,
    /// Whether the differences are known: [`APART`], [`BY_EVENT`], [`JOINED`].
    joined: u16,
    /// How far the timestamps run ahead of real time, in 2^15 ns: each source's packets come at times of their own, and
    /// what is rounded for one is made good with the next.
    ahead: i16,
}

const APART: u16 = 0;
/// That of the timestamps only until the source's next media: a telephone event does not say what time it is now.
const BY_EVENT: u16 = 1;
const JOINED: u16 = 2;

/// A power of two, as eBPF has no division of signed numbers.
const AHEAD_SHIFT: u32 = 15;

impl SentStream {
    /// The stream as another sender has left it: what is sent on after this goes on from here. `at_ns` is when its last
    /// timestamp was sent first.
    pub const fn left_at(ssrc: u32, sequence: u16, timestamp: u32, at_ns: u64) -> Self {
        Self {
            at_ns,
            ssrc,
            timestamp,
            source_ssrc: 0,
            timestamp_ahead: 0,
            sequence,
            sequence_ahead: 0,
            joined: APART,
            ahead: 0,
        }
    }

    /// The stream as it is, for a source that joins it: the next packet goes on from here, whoever sends it.
    #[must_use]
    pub const fn left(&self) -> Self {
        Self {
            ahead: self.ahead,
            ..Self::left_at(self.ssrc, self.sequence, self.timestamp, self.at_ns)
        }
    }

    /// Whether a packet that follows is sent on after this as it would be after `other`, but for what is newest of the two.
    pub const fn continues_as(&self, other: &Self) -> bool {
        self.source_ssrc == other.source_ssrc
            && self.timestamp_ahead == other.timestamp_ahead
            && self.sequence_ahead == other.sequence_ahead
            && self.joined == other.joined
    }

    /// Whether packets of this source have a place in the stream.
    pub const fn has_joined(&self, source_ssrc: u32) -> bool {
        self.joined != APART && self.source_ssrc == source_ssrc
    }

    /// Whether anything was sent.
    pub const fn has_begun(&self) -> bool {
        self.at_ns != 0
    }

    /// The header with which a packet of this `content` is sent on. `now_ns` is the time, `tick` that of the stream's media clock, and its
    /// packets hold `ptime_ns`.
    #[inline(always)]
    pub fn on_packet(
        &mut self,
        continuity: Continuity,
        content: Content,
        header: &RtpHeader,
        now_ns: u64,
        tick: Tick,
        ptime_ns: u32,
    ) -> Head {
        match continuity {
            Continuity::Transparent => {
                if self.joined == APART || self.ssrc != header.ssrc() || self.is_newer(header.sequence()) {
                    self.advance(header.ssrc(), header.sequence(), header.timestamp(), now_ns);
                }
                self.source_ssrc = header.ssrc();
                self.sequence_ahead = 0;
                self.timestamp_ahead = 0;
                self.joined = JOINED;
                header.head()
            }
            Continuity::Spliced => self.splice(content, header, now_ns, tick, ptime_ns),
        }
    }

    #[inline(always)]
    fn splice(&mut self, content: Content, header: &RtpHeader, now_ns: u64, tick: Tick, ptime_ns: u32) -> Head {
        let joins = self.joined == APART || self.source_ssrc != header.ssrc();
        let now_joined = match content {
            Content::Media => JOINED,
            Content::Event => BY_EVENT,
        };
        if joins && self.at_ns == 0 {
            self.ssrc = header.ssrc();
            self.sequence_ahead = 0;
            self.timestamp_ahead = 0;
            self.joined = JOINED;
        } else if joins || self.joined < now_joined {
            let now = self.resume(now_ns, tick, ptime_ns);
            self.timestamp_ahead = now.wrapping_sub(header.timestamp());
            if joins {
                self.sequence_ahead = self.sequence.wrapping_add(1).wrapping_sub(header.sequence());
            }
            self.joined = now_joined;
        }
        self.source_ssrc = header.ssrc();
        let sequence = header.sequence().wrapping_add(self.sequence_ahead);
        let timestamp = header.timestamp().wrapping_add(self.timestamp_ahead);
        if joins || self.is_newer(sequence) {
            let ssrc = self.ssrc;
            self.advance(ssrc, sequence, timestamp, now_ns);
        }
        header.sent_as(self.ssrc, sequence, timestamp)
    }

    /// The timestamp of what is sent at `now_ns` by a new source: as much media time as real time has gone by since the
    /// last packet, in whole packet times, since the two sources' packets have nothing to do with each other; at least one,
    /// so that nothing is heard twice.
    #[inline(always)]
    pub fn resume(&mut self, now_ns: u64, tick: Tick, ptime_ns: u32) -> u32 {
        let ptime_ns = if ptime_ns == 0 { 1 } else { u64::from(ptime_ns) };
        let elapsed_ns = now_ns.saturating_sub(self.at_ns);
        let due_ns = self.due_ns(now_ns, ptime_ns);
        let frames = if due_ns > 0 { due_ns as u64 / ptime_ns } else { 0 };
        let frames = if frames == 0 { 1 } else { frames };
        let media_ns = frames * ptime_ns;
        let ahead = i64::from(self.ahead) + ((media_ns as i64 - elapsed_ns as i64) >> AHEAD_SHIFT);
        self.ahead = if ahead > i64::from(i16::MAX) {
            i16::MAX
        } else {
            ahead as i16
        };
        self.timestamp.wrapping_add(tick.ticks(media_ns))
    }

    /// Whether real time has come as far as the stream would be with one more packet: a source that can wait should.
    pub fn is_due(&self, now_ns: u64, ptime_ns: u32) -> bool {
        self.due_ns(now_ns, ptime_ns.into()) >= i64::from(ptime_ns)
    }

    /// Media that is due, and half a packet.
    #[inline(always)]
    fn due_ns(&self, now_ns: u64, ptime_ns: u64) -> i64 {
        let elapsed_ns = now_ns.saturating_sub(self.at_ns);
        (elapsed_ns + ptime_ns / 2) as i64 - (i64::from(self.ahead) << AHEAD_SHIFT)
    }

    /// A packet that its sender has numbered itself was sent.
    #[inline(always)]
    pub fn sent(&mut self, ssrc: u32, sequence: u16, timestamp: u32, now_ns: u64) {
        self.advance(ssrc, sequence, timestamp, now_ns);
    }

    #[inline(always)]
    fn is_newer(&self, sequence: u16) -> bool {
        (sequence.wrapping_sub(self.sequence) as i16) > 0
    }

    #[inline(always)]
    fn advance(&mut self, ssrc: u32, sequence: u16, timestamp: u32, now_ns: u64) {
        if timestamp != self.timestamp || self.at_ns == 0 {
            self.at_ns = now_ns;
        }
        self.ssrc = ssrc;
        self.sequence = sequence;
        self.timestamp = timestamp;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const CLOCK: u32 = 8000;

    fn header(sequence: u16, timestamp: u32, ssrc: u32) -> RtpHeader {
        let mut bytes = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
        RtpHeader::parse(&bytes).unwrap()
    }

    fn sent(stream: &mut SentStream, continuity: Continuity, from: RtpHeader, now_ms: u64) -> (u16, u32, u32) {
        sent_as(stream, continuity, Content::Media, from, now_ms)
    }

    fn sent_as(
        stream: &mut SentStream,
        continuity: Continuity,
        content: Content,
        from: RtpHeader,
        now_ms: u64,
    ) -> (u16, u32, u32) {
        let head = stream.on_packet(
            continuity,
            content,
            &from,
            now_ms * MS,
            Tick::of_rate(CLOCK),
            20_000_000,
        );
        let header = RtpHeader::new(head).unwrap();
        (header.sequence(), header.timestamp(), header.ssrc())
    }

    #[test]
    fn a_transparent_flow_changes_nothing_and_knows_where_it_is() {
        let mut stream = SentStream::default();
        for (sequence, ssrc) in [(65_535, 1), (0, 1), (65_534, 1), (7, 2)] {
            let from = header(sequence, 160, ssrc);
            assert_eq!(
                sent(&mut stream, Continuity::Transparent, from, 10),
                (sequence, 160, ssrc)
            );
        }
        assert_eq!((stream.ssrc, stream.sequence), (2, 7));
    }

    #[test]
    fn the_first_source_gives_the_stream_its_numbers_and_the_next_goes_on_from_them() {
        let mut stream = SentStream::default();
        let spliced = Continuity::Spliced;
        assert_eq!(
            sent(&mut stream, spliced, header(65_535, 1000, 1), 100),
            (65_535, 1000, 1)
        );
        assert_eq!(sent(&mut stream, spliced, header(500, 77, 2), 120), (0, 1160, 1));
        assert_eq!(sent(&mut stream, spliced, header(501, 237, 2), 140), (1, 1320, 1));
        // A late packet keeps its place.
        assert_eq!(
            sent(&mut stream, spliced, header(499, 77u32.wrapping_sub(160), 2), 150).0,
            65_535
        );
        assert_eq!(sent(&mut stream, spliced, header(9, 9, 3), 240), (2, 1320 + 800, 1));
    }

    #[test]
    fn a_source_that_comes_at_another_time_of_the_grid_leaves_no_gap() {
        let mut stream = SentStream::default();
        let spliced = Continuity::Spliced;
        sent(&mut stream, spliced, header(1, 1000, 1), 100);
        assert_eq!(sent(&mut stream, spliced, header(9, 9, 2), 107), (2, 1160, 1));
        assert_eq!(sent(&mut stream, spliced, header(9, 9, 3), 120), (3, 1320, 1));
        // 51 ms after the first: the 20 ms that the two before were ahead are made good.
        assert_eq!(sent(&mut stream, spliced, header(9, 9, 4), 151), (4, 1480, 1));
    }

    #[test]
    fn a_source_that_comes_after_a_held_key_goes_on_at_its_time() {
        let mut stream = SentStream::default();
        let spliced = Continuity::Spliced;
        for place in 0..50 {
            sent(
                &mut stream,
                spliced,
                header(place, 1000, 1),
                100 + 20 * u64::from(place),
            );
        }
        assert_eq!(sent(&mut stream, spliced, header(9, 9, 2), 1100), (50, 9000, 1));
    }

    #[test]
    fn a_flow_goes_on_where_a_worker_has_left_it() {
        let mut stream = SentStream::left_at(9, 41, 8000, 1000 * MS);
        assert!(stream.has_begun() && !SentStream::default().has_begun());
        let got = sent(&mut stream, Continuity::Spliced, header(3, 3, 1), 1020);
        assert_eq!(got, (42, 8160, 9));
        // And a transparent one leaves it where it is.
        let got = sent(&mut stream, Continuity::Transparent, header(4, 163, 1), 1040);
        assert_eq!(got, (4, 163, 1));
        assert_eq!(stream, {
            let mut left = SentStream::left_at(1, 4, 163, 1040 * MS);
            left.source_ssrc = 1;
            left.joined = JOINED;
            left
        });
    }

    #[test]
    fn a_source_that_comes_while_a_key_is_held_is_at_its_time_when_it_is_released() {
        let mut stream = SentStream::default();
        let spliced = Continuity::Spliced;
        sent(&mut stream, spliced, header(1, 1000, 1), 100);
        // The key has been held for a second.
        for place in 0..3 {
            let got = sent_as(
                &mut stream,
                spliced,
                Content::Event,
                header(50 + place, 0, 2),
                120 + 20 * u64::from(place),
            );
            assert_eq!(got, (2 + place, 1160, 1));
        }
        assert_eq!(sent(&mut stream, spliced, header(53, 8480, 2), 180), (5, 1640, 1));
        assert_eq!(sent(&mut stream, spliced, header(54, 8640, 2), 200), (6, 1800, 1));
        // The next key is where it belongs.
        let next = sent_as(&mut stream, spliced, Content::Event, header(55, 8800, 2), 220);
        assert_eq!(next, (7, 1960, 1));
    }

    #[test]
    fn a_source_that_comes_back_goes_on_where_it_left() {
        let mut stream = SentStream::default();
        let spliced = Continuity::Spliced;
        sent(&mut stream, spliced, header(10, 1000, 1), 100);
        let mut left = stream.left();
        // It has gone on for a second meanwhile, for somebody else.
        assert_eq!(sent(&mut left, spliced, header(60, 9000, 1), 1100), (11, 9000, 1));
        assert_eq!(sent(&mut stream, spliced, header(60, 9000, 1), 1100), (60, 9000, 1));
    }

    proptest! {
        /// Timestamps stay with real time, wherever in a packet time a source comes and goes.
        #[test]
        fn timestamps_do_not_run_away(sources in prop::collection::vec((0u64..60, 1u64..9), 1..50)) {
            let mut stream = SentStream::default();
            sent(&mut stream, Continuity::Spliced, header(0, 0, 1), 1000);
            let (mut last, mut now) = (0, 1000);
            for (ssrc, (pause, packets)) in sources.into_iter().chain([(2000, 1)]).enumerate() {
                now += pause;
                for place in 0..packets {
                    let from = header(place as u16, place as u32 * 160, ssrc as u32 + 2);
                    let (_, timestamp, _) = sent(&mut stream, Continuity::Spliced, from, now + 20 * place);
                    prop_assert!(timestamp >= last + 160);
                    last = timestamp;
                }
                now += 20 * (packets - 1);
                let ahead_ms = i64::from(last) / 8 - (now as i64 - 1000);
                prop_assert!(ahead_ms >= -11, "{ahead_ms}");
                // What was sent too early is made good in the next pause.
                prop_assert!(pause < 2000 || ahead_ms <= 11, "{ahead_ms}");
            }
        }

        /// However often the source changes, a stream of steady packets stays one.
        #[test]
        fn no_gap_and_no_jump(sources in prop::collection::vec((any::<u16>(), any::<u32>(), 1usize..8), 1..40)) {
            let mut stream = SentStream::default();
            let mut last: Option<(u16, u32, u32)> = None;
            let mut now = 1000;
            for (ssrc, (sequence, timestamp, packets)) in sources.into_iter().enumerate() {
                for place in 0..packets {
                    let from = header(
                        sequence.wrapping_add(place as u16),
                        timestamp.wrapping_add(place as u32 * 160),
                        ssrc as u32,
                    );
                    let got = sent(&mut stream, Continuity::Spliced, from, now);
                    if let Some(last) = last {
                        prop_assert_eq!(got, (last.0.wrapping_add(1), last.1.wrapping_add(160), last.2));
                    }
                    last = Some(got);
                    now += 20;
                }
            }
        }
    }
}
