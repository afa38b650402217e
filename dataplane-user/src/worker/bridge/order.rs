//! Puts what arrives into the order in which it was sent, without waiting: what comes too late is left out, and what
//! is missing is said.

use voxlane_common::rtp::RtpHeader;

/// Most packets' worth of what is missing that is made up for; a wider gap is not worth hearing.
const MAX_FILLED: u32 = 10;

/// A packet up to this far behind the newest is late; from further away, the sender has started anew (RFC 3550 A.1
/// `MAX_MISORDER`).
const MAX_MISORDER: u16 = 100;

/// The order of one leg's packets, of audio and of everything else, which share one sequence of numbers.
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
    /// What lies between the last audio and the next.
    between: Between,
}

/// What comes between audio and audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Between {
    Nothing,
    /// Packets that did not come.
    Lost,
    /// Something that is not audio.
    Other,
}

/// What belongs before the audio that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    None,
    /// So many samples were lost.
    Lost(u32),
    /// So many samples of silence, in which there was no audio.
    Silence(u32),
}

/// The packet is a duplicate, or later ones have been handed on already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Late;

impl Sequencer {
    /// Takes an audio packet of `samples` samples; what belongs before it.
    pub(super) fn on_audio(&mut self, header: &RtpHeader, samples: u32) -> Result<Gap, Late> {
        let stream = self.on_packet(header)?;
        let missing = stream
            .next_timestamp
            .map_or(0, |expected| header.timestamp().wrapping_sub(expected));
        let between = std::mem::replace(&mut stream.between, Between::Nothing);
        stream.next_timestamp = Some(header.timestamp().wrapping_add(samples));
        Ok(match between {
            _ if missing == 0 || missing > samples.saturating_mul(MAX_FILLED) => Gap::None,
            Between::Nothing => Gap::None,
            Between::Lost => Gap::Lost(missing),
            Between::Other => Gap::Silence(missing),
        })
    }

    /// Takes a packet that is not audio: a telephone event, or comfort noise.
    pub(super) fn on_other(&mut self, header: &RtpHeader) -> Result<(), Late> {
        self.on_packet(header)?.between = Between::Other;
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
                if behind != 0 {
                    stream.between = stream.between.max(Between::Lost);
                }
                stream.next_sequence = next_sequence;
            }
            Some(_) | None => self.stream = None,
        }
        Ok(self.stream.get_or_insert(Stream {
            ssrc: header.ssrc(),
            next_sequence,
            next_timestamp: None,
            between: Between::Nothing,
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
    fn steady(sequences: &[u16]) -> Vec<Result<Gap, Late>> {
        let mut sequencer = Sequencer::default();
        sequences
            .iter()
            .map(|sequence| sequencer.on_audio(&header(*sequence, u32::from(*sequence) * 160, 1), 160))
            .collect()
    }

    #[test]
    fn a_steady_stream_has_no_gap() {
        assert_eq!(steady(&[7, 8, 9]), [Ok(Gap::None), Ok(Gap::None), Ok(Gap::None)]);
    }

    #[test]
    fn duplicates_and_late_packets_are_left_out() {
        assert_eq!(
            steady(&[7, 7, 9, 8, 10]),
            [Ok(Gap::None), Err(Late), Ok(Gap::Lost(160)), Err(Late), Ok(Gap::None)]
        );
    }

    #[test]
    fn up_to_ten_missing_packets_are_made_up_for() {
        assert_eq!(steady(&[0, 11]), [Ok(Gap::None), Ok(Gap::Lost(1600))]);
        assert_eq!(steady(&[0, 12]), [Ok(Gap::None), Ok(Gap::None)]);
    }

    #[test]
    fn a_sender_that_starts_anew_is_heard_at_once() {
        assert_eq!(steady(&[5000, 200, 201]), [Ok(Gap::None), Ok(Gap::None), Ok(Gap::None)]);
        let mut sequencer = Sequencer::default();
        assert_eq!(sequencer.on_audio(&header(50, 0, 1), 160), Ok(Gap::None));
        assert_eq!(sequencer.on_audio(&header(40, 9_999, 2), 160), Ok(Gap::None));
        assert_eq!(sequencer.on_audio(&header(41, 10_159, 2), 160), Ok(Gap::None));
    }

    #[test]
    fn the_time_of_a_digit_that_replaced_the_audio_is_silence() {
        let mut sequencer = Sequencer::default();
        assert_eq!(sequencer.on_audio(&header(1, 0, 1), 160), Ok(Gap::None));
        assert_eq!(sequencer.on_other(&header(2, 160, 1)), Ok(()));
        assert_eq!(sequencer.on_other(&header(2, 160, 1)), Err(Late));
        assert_eq!(sequencer.on_other(&header(3, 160, 1)), Ok(()));
        assert_eq!(sequencer.on_audio(&header(4, 480, 1), 160), Ok(Gap::Silence(320)));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut sequencer = Sequencer::default();
        assert_eq!(sequencer.on_audio(&header(65_535, 0, 1), 160), Ok(Gap::None));
        assert_eq!(sequencer.on_audio(&header(0, 160, 1), 160), Ok(Gap::None));
        assert_eq!(sequencer.on_audio(&header(65_535, 0, 1), 160), Err(Late));
    }
}
