//! One stream out of several: what a flow sends on keeps its SSRC and goes on in sequence number and timestamp when its
//! source changes, so that the far end does not hear it (a translator's and mixer's right, RFC 3550 section 7.2).

#![allow(unsafe_code)]

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

/// The stream that a flow sends on. All zero: nothing was sent yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SentStream {
    /// When the newest packet was sent, ns on the monotonic clock; 0: none was.
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
    /// 1 once the differences are known.
    joined: u32,
}

impl SentStream {
    /// The stream as another sender has left it: what is sent on after this goes on from here. `at_ns` is when its last
    /// packet was sent.
    pub const fn left_at(ssrc: u32, sequence: u16, timestamp: u32, at_ns: u64) -> Self {
        Self {
            at_ns,
            ssrc,
            timestamp,
            source_ssrc: 0,
            timestamp_ahead: 0,
            sequence,
            sequence_ahead: 0,
            joined: 0,
        }
    }

    /// Whether anything was sent.
    pub const fn has_begun(&self) -> bool {
        self.at_ns != 0
    }

    /// The header with which a packet is sent on. `now_ns` is the time, `tick` that of the stream's media clock, and its
    /// packets hold `ptime_ns`.
    #[inline(always)]
    pub fn on_packet(
        &mut self,
        continuity: Continuity,
        header: &RtpHeader,
        now_ns: u64,
        tick: Tick,
        ptime_ns: u32,
    ) -> Head {
        match continuity {
            Continuity::Transparent => {
                if self.joined == 0 || self.ssrc != header.ssrc() || self.is_newer(header.sequence()) {
                    self.advance(header.ssrc(), header.sequence(), header.timestamp(), now_ns);
                }
                self.source_ssrc = header.ssrc();
                self.sequence_ahead = 0;
                self.timestamp_ahead = 0;
                self.joined = 1;
                header.head()
            }
            Continuity::Spliced => self.splice(header, now_ns, tick, ptime_ns),
        }
    }

    #[inline(always)]
    fn splice(&mut self, header: &RtpHeader, now_ns: u64, tick: Tick, ptime_ns: u32) -> Head {
        let joins = self.joined == 0 || self.source_ssrc != header.ssrc();
        if joins {
            if self.at_ns == 0 {
                self.ssrc = header.ssrc();
                self.sequence_ahead = 0;
                self.timestamp_ahead = 0;
            } else {
                let now = self.next_timestamp(now_ns, tick, ptime_ns);
                self.sequence_ahead = self.sequence.wrapping_add(1).wrapping_sub(header.sequence());
                self.timestamp_ahead = now.wrapping_sub(header.timestamp());
            }
            self.source_ssrc = header.ssrc();
            self.joined = 1;
        }
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
    pub fn next_timestamp(&self, now_ns: u64, tick: Tick, ptime_ns: u32) -> u32 {
        let ptime_ns = if ptime_ns == 0 { 1 } else { u64::from(ptime_ns) };
        let frames = (now_ns.saturating_sub(self.at_ns) + ptime_ns / 2) / ptime_ns;
        let frames = if frames == 0 { 1 } else { frames };
        self.timestamp.wrapping_add(tick.ticks(frames * ptime_ns))
    }

    #[inline(always)]
    fn is_newer(&self, sequence: u16) -> bool {
        (sequence.wrapping_sub(self.sequence) as i16) > 0
    }

    #[inline(always)]
    fn advance(&mut self, ssrc: u32, sequence: u16, timestamp: u32, now_ns: u64) {
        self.ssrc = ssrc;
        self.sequence = sequence;
        self.timestamp = timestamp;
        self.at_ns = now_ns;
    }
}

// SAFETY: repr(C) of plain integers, without padding (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for SentStream {}

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
        let head = stream.on_packet(continuity, &from, now_ms * MS, Tick::of_rate(CLOCK), 20_000_000);
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
        assert_eq!(sent(&mut stream, spliced, header(9, 9, 4), 151), (4, 1640, 1));
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
            left.joined = 1;
            left
        });
    }

    proptest! {
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
