//! Puts what arrives into the order in which it was sent, without waiting: what comes too late is left out, what is
//! missing becomes silence.

use voxlane_common::rtp::RtpHeader;

/// Most packets' worth of silence put in for what is missing; a wider gap is not worth hearing.
const MAX_FILLED: u32 = 10;

/// A packet up to this far behind the newest is late; from further away, the sender has started anew (RFC 3550 A.1
/// `MAX_MISORDER`).
const MAX_MISORDER: u16 = 100;

/// The order of one leg's packets, audio and telephone events, which share one sequence of numbers.
#[derive(Debug, Default)]
pub(super) struct Sequencer {
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    next_sequence: u16,
    /// Media time at the end of the last audio; `None` if there was none.
    next_timestamp: Option<u32>,
    /// Something that is not audio lies between the last audio and the next.
    interrupted: bool,
}

/// The packet is a duplicate, or later ones have been handed on already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Late;

impl Sequencer {
    /// Takes an audio packet of `samples` samples; how many samples of silence belong before it.
    pub(super) fn on_audio(&mut self, header: &RtpHeader, samples: u32) -> Result<u32, Late> {
        let stream = self.on_packet(header)?;
        let gap = match stream.next_timestamp {
            Some(expected) if stream.interrupted => header.timestamp().wrapping_sub(expected),
            Some(_) | None => 0,
        };
        stream.next_timestamp = Some(header.timestamp().wrapping_add(samples));
        stream.interrupted = false;
        Ok(if gap <= samples.saturating_mul(MAX_FILLED) {
            gap
        } else {
            0
        })
    }

    /// Takes a telephone-event packet.
    pub(super) fn on_event(&mut self, header: &RtpHeader) -> Result<(), Late> {
        self.on_packet(header)?.interrupted = true;
        Ok(())
    }

    fn on_packet(&mut self, header: &RtpHeader) -> Result<&mut Stream, Late> {
        let sequence = header.sequence();
        let next_sequence = sequence.wrapping_add(1);
        match &mut self.stream {
            Some(stream) if stream.ssrc == header.ssrc() => {
                let behind = stream.next_sequence.wrapping_sub(sequence);
                if (1..=MAX_MISORDER).contains(&behind) {
                    return Err(Late);
                }
                stream.interrupted |= behind != 0;
                stream.next_sequence = next_sequence;
            }
            Some(_) | None => self.stream = None,
        }
        Ok(self.stream.get_or_insert(Stream {
            ssrc: header.ssrc(),
            next_sequence,
            next_timestamp: None,
            interrupted: false,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u16, timestamp: u32, ssrc: u32) -> RtpHeader {
        let mut bytes = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
        RtpHeader::parse(&bytes).unwrap()
    }

    /// What becomes of packets of one steady stream with these sequence numbers.
    fn steady(sequences: &[u16]) -> Vec<Result<u32, Late>> {
        let mut sequencer = Sequencer::default();
        sequences
            .iter()
            .map(|sequence| sequencer.on_audio(&header(*sequence, u32::from(*sequence) * 160, 1), 160))
            .collect()
    }

    #[test]
    fn a_steady_stream_has_no_silence() {
        assert_eq!(steady(&[7, 8, 9]), [Ok(0), Ok(0), Ok(0)]);
    }

    #[test]
    fn duplicates_and_late_packets_are_left_out() {
        assert_eq!(steady(&[7, 7, 9, 8, 10]), [Ok(0), Err(Late), Ok(160), Err(Late), Ok(0)]);
    }

    #[test]
    fn up_to_ten_missing_packets_become_silence() {
        assert_eq!(steady(&[0, 11]), [Ok(0), Ok(1600)]);
        assert_eq!(steady(&[0, 12]), [Ok(0), Ok(0)]);
    }

    #[test]
    fn a_sender_that_starts_anew_is_heard_at_once() {
        assert_eq!(steady(&[5000, 200, 201]), [Ok(0), Ok(0), Ok(0)]);
        let mut sequencer = Sequencer::default();
        assert_eq!(sequencer.on_audio(&header(50, 0, 1), 160), Ok(0));
        assert_eq!(sequencer.on_audio(&header(40, 9_999, 2), 160), Ok(0));
        assert_eq!(sequencer.on_audio(&header(41, 10_159, 2), 160), Ok(0));
    }

    #[test]
    fn the_time_of_a_digit_that_replaced_the_audio_is_silence() {
        let mut sequencer = Sequencer::default();
        assert_eq!(sequencer.on_audio(&header(1, 0, 1), 160), Ok(0));
        assert_eq!(sequencer.on_event(&header(2, 160, 1)), Ok(()));
        assert_eq!(sequencer.on_event(&header(2, 160, 1)), Err(Late));
        assert_eq!(sequencer.on_event(&header(3, 160, 1)), Ok(()));
        assert_eq!(sequencer.on_audio(&header(4, 480, 1), 160), Ok(320));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut sequencer = Sequencer::default();
        assert_eq!(sequencer.on_audio(&header(65_535, 0, 1), 160), Ok(0));
        assert_eq!(sequencer.on_audio(&header(0, 160, 1), 160), Ok(0));
        assert_eq!(sequencer.on_audio(&header(65_535, 0, 1), 160), Err(Late));
    }
}
