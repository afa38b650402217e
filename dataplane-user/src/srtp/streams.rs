//! Where each SSRC is in its sequence of packets: the rollover counter, and which of the last packets were there.

use super::refusal::Refusal;

/// SSRCs that are kept apart under one key.
const STREAMS: usize = 16;

/// Packets before the newest that are told apart (RFC 3711 section 3.3.2 wants 64).
const WINDOW: u64 = 128;

/// The indices that there are: the rollover counter, 32 bits, before the sequence number (RFC 3711 section 3.3.1).
const RTP_INDICES: u64 = 1 << 48;

/// The indices that SRTCP has (RFC 3711 section 3.4).
const RTCP_INDICES: u64 = 1 << 31;

/// One SSRC.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    ssrc: u32,
    newest: u64,
    /// The newest, lowest, and those before it.
    seen: u128,
}

/// The streams under one key.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    streams: [Stream; STREAMS],
    count: usize,
    /// Packets in all.
    taken: u64,
}

/// The place of a packet in its stream, before it is known to be genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Rollover counter and sequence number, or SRTCP's index.
    pub(super) index: u64,
    stream: usize,
    ssrc: u32,
}

impl Streams {
    pub(super) const fn new() -> Self {
        Self {
            streams: [Stream {
                ssrc: 0,
                newest: 0,
                seen: 0,
            }; STREAMS],
            count: 0,
            taken: 0,
        }
    }

    /// Genuine packets so far, of all streams.
    #[inline]
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The place of an RTP packet: of the three that its sequence number can stand for, the one nearest to the newest.
    #[inline]
    pub(super) fn of_rtp(&self, ssrc: u32, sequence: u16) -> Result<Place, Refusal> {
        let (stream, known) = self.find(ssrc)?;
        let index = match known {
            None => u64::from(sequence),
            Some(known) => {
                let ahead = sequence.wrapping_sub(known.newest as u16).cast_signed();
                let index = known.newest.checked_add_signed(ahead.into());
                // Before the first of its stream.
                index.ok_or(Refusal::Replayed)?
            }
        };
        self.fresh(Place { index, stream, ssrc }, known, RTP_INDICES)
    }

    /// The place of an SRTCP packet, which says it itself.
    #[inline]
    pub(super) fn of_rtcp(&self, ssrc: u32, index: u32) -> Result<Place, Refusal> {
        let (stream, known) = self.find(ssrc)?;
        let index = index.into();
        self.fresh(Place { index, stream, ssrc }, known, RTCP_INDICES)
    }

    /// The place of the next SRTCP packet that is sent.
    #[inline]
    pub(super) fn next_rtcp(&self, ssrc: u32) -> Result<Place, Refusal> {
        let (stream, known) = self.find(ssrc)?;
        let index = known.map_or(1, |known| known.newest + 1);
        self.fresh(Place { index, stream, ssrc }, known, RTCP_INDICES)
    }

    /// A genuine packet was at this place, which was got since the last one was.
    #[inline]
    pub(super) fn take(&mut self, place: Place) {
        let Some(stream) = self.streams.get_mut(place.stream) else {
            return;
        };
        self.taken += 1;
        if place.stream >= self.count {
            self.count = place.stream + 1;
            *stream = Stream {
                ssrc: place.ssrc,
                newest: place.index,
                seen: 1,
            };
        } else if let Some(ahead) = place.index.checked_sub(stream.newest) {
            stream.seen = if ahead < WINDOW { stream.seen << ahead | 1 } else { 1 };
            stream.newest = place.index;
        } else {
            // `fresh` has refused what is older than the window.
            stream.seen |= 1 << ((stream.newest - place.index) % WINDOW);
        }
    }

    /// The stream of this SSRC, or the place for it.
    #[inline]
    fn find(&self, ssrc: u32) -> Result<(usize, Option<&Stream>), Refusal> {
        let known = self.streams[..self.count].iter().position(|stream| stream.ssrc == ssrc);
        match known {
            Some(place) => Ok((place, Some(&self.streams[place]))),
            None if self.count < STREAMS => Ok((self.count, None)),
            None => Err(Refusal::Sources),
        }
    }

    #[inline]
    fn fresh(&self, place: Place, known: Option<&Stream>, indices: u64) -> Result<Place, Refusal> {
        if place.index >= indices {
            return Err(Refusal::KeyExhausted);
        }
        let Some(known) = known else {
            return Ok(place);
        };
        match known.newest.checked_sub(place.index) {
            None => Ok(place),
            Some(behind) if behind < WINDOW && known.seen >> behind & 1 == 0 => Ok(place),
            Some(_) => Err(Refusal::Replayed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What becomes of RTP packets of one stream.
    fn indices(sequences: &[u16]) -> Vec<Result<u64, Refusal>> {
        let mut streams = Streams::new();
        sequences.iter().map(|sequence| take(&mut streams, *sequence)).collect()
    }

    fn take(streams: &mut Streams, sequence: u16) -> Result<u64, Refusal> {
        let place = streams.of_rtp(1, sequence)?;
        streams.take(place);
        Ok(place.index)
    }

    #[test]
    fn the_counter_follows_a_wrap_with_loss_and_late_packets() {
        let got = indices(&[65_530, 65_534, 3, 65_535, 4, 4, 65_535, 65_531]);
        let wrapped = 1 << 16;
        let replayed = Err(Refusal::Replayed);
        let expected = [
            Ok(65_530),
            Ok(65_534),
            Ok(wrapped + 3),
            Ok(65_535),
            Ok(wrapped + 4),
            replayed,
            replayed,
            Ok(65_531),
        ];
        assert_eq!(got, expected);
        // Half a turn is the most that may be lost.
        assert_eq!(indices(&[0, 32_767, 65_534, 32_765])[3], Ok(65_536 + 32_765));
        assert_eq!(indices(&[5, 65_000])[1], replayed);
    }

    #[test]
    fn what_is_older_than_the_window_is_refused() {
        let got = indices(&[1000, 1000 - 127, 1000 - 128, 1127, 1000, 999]);
        let refused = Err(Refusal::Replayed);
        assert_eq!(got[1..], [Ok(873), refused, Ok(1127), refused, refused]);
    }

    #[test]
    fn the_last_index_of_a_key_is_its_last() {
        let mut streams = Streams::new();
        streams.take(Place {
            index: RTP_INDICES - 2,
            stream: 0,
            ssrc: 1,
        });
        assert_eq!(take(&mut streams, 65_535), Ok(RTP_INDICES - 1));
        assert_eq!(take(&mut streams, 0), Err(Refusal::KeyExhausted));

        let mut streams = Streams::new();
        let last = streams.of_rtcp(1, (1 << 31) - 1).unwrap();
        streams.take(last);
        assert_eq!(streams.next_rtcp(1), Err(Refusal::KeyExhausted));
    }

    #[test]
    fn streams_are_kept_apart_and_bounded() {
        let mut streams = Streams::new();
        for ssrc in 0..STREAMS as u32 {
            let place = streams.of_rtp(ssrc, 7).unwrap();
            streams.take(place);
        }
        assert_eq!(streams.of_rtp(99, 7), Err(Refusal::Sources));
        assert_eq!(streams.of_rtp(3, 7), Err(Refusal::Replayed));
        assert!(streams.of_rtp(3, 8).is_ok());
    }

    proptest! {
        /// Whatever is lost, and in whatever order what is not arrives within the window: each is known once.
        #[test]
        fn each_packet_counts_once(
            start in any::<u16>(),
            steps in prop::collection::vec((1u64..20_000, 0u64..100), 1..200),
        ) {
            let mut streams = Streams::new();
            let mut taken = std::collections::HashSet::new();
            let first = u64::from(start);
            prop_assert_eq!(take(&mut streams, start), Ok(first));
            taken.insert(first);
            let mut newest = first;
            for (ahead, behind) in steps {
                newest += ahead;
                prop_assert_eq!(take(&mut streams, newest as u16), Ok(newest));
                taken.insert(newest);
                let Some(late) = newest.checked_sub(behind) else { continue };
                let expected = if taken.insert(late) { Ok(late) } else { Err(Refusal::Replayed) };
                prop_assert_eq!(take(&mut streams, late as u16), expected);
            }
        }
    }
}
