//! What an agent hears of a leg: packets wait in the jitter buffer, and come out as µ-law on the grid.

use std::time::Duration;

use voxlane_common::rtp::RtpHeader;

use crate::codec::Codec;
use crate::codec::g711::{linear_to_ulaw, to_ulaw, ulaw_to_linear};
use crate::reception::{Figures, Frame, Inserted, Kind, Limits, Reception};

/// Samples a second of what an agent hears.
const RATE: u32 = 8000;

/// µ-law has two zeros, which are one in linear samples. The negative one is taken for the sample below, which no code
/// stands for, so that what passes through is what came.
const NEGATIVE_ZERO: (u8, i16) = (0x7f, -1);

/// The ear of one leg.
pub(super) struct Ear {
    reception: Reception,
    codec: Codec,
    samples: Vec<i16>,
    ulaw: Vec<u8>,
}

impl Ear {
    /// An ear that hears frames of `ptime` milliseconds.
    pub(super) fn new(limits: Limits, ptime: u8) -> Self {
        let samples = usize::from(ptime) * RATE as usize / 1000;
        Self {
            reception: Reception::new(limits, RATE, Duration::from_millis(ptime.into())),
            codec: Codec::Pcmu,
            samples: vec![0; samples],
            ulaw: vec![0; samples],
        }
    }

    /// Goes on with another codec; what waits in the old one is forgotten.
    pub(super) fn set_codec(&mut self, codec: Codec) {
        if codec != self.codec {
            self.codec = codec;
            self.reception.clear();
        }
    }

    /// Hears nothing for a while: what waits is forgotten.
    pub(super) fn close(&mut self) {
        self.reception.clear();
    }

    /// Takes a packet.
    pub(super) fn insert(&mut self, header: &RtpHeader, kind: Kind, payload: &[u8], now: Duration) -> Inserted {
        self.reception.insert(header, kind, payload, now)
    }

    /// The frame that is due at `due`, in µ-law; `None` as long as nothing has come. Telephone events whose turn it is go
    /// to `event`.
    pub(super) fn hear(&mut self, due: Duration, event: impl FnMut(&RtpHeader, &[u8])) -> Option<&[u8]> {
        let codec = self.codec;
        let decode = |payload: &[u8], out: &mut [i16]| decode(codec, payload, out);
        match self.reception.hear(&mut self.samples, due, decode, event) {
            Frame::Nothing => None,
            Frame::Audio => {
                for (code, sample) in self.ulaw.iter_mut().zip(&self.samples) {
                    *code = match *sample {
                        sample if sample == NEGATIVE_ZERO.1 => NEGATIVE_ZERO.0,
                        sample => linear_to_ulaw(sample),
                    };
                }
                Some(&self.ulaw)
            }
        }
    }

    /// What was done so far.
    pub(super) fn figures(&self) -> Figures {
        self.reception.figures()
    }
}

fn decode(codec: Codec, payload: &[u8], out: &mut [i16]) -> usize {
    for (sample, code) in out.iter_mut().zip(payload) {
        let mut ulaw = [*code];
        to_ulaw(codec, &mut ulaw);
        *sample = match ulaw[0] {
            code if code == NEGATIVE_ZERO.0 => NEGATIVE_ZERO.1,
            code => ulaw_to_linear(code),
        };
    }
    payload.len().min(out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_passes_as_it_is() {
        let codes: Vec<u8> = (0..=255).collect();
        for codec in Codec::ALL {
            let mut expected = codes.clone();
            to_ulaw(codec, &mut expected);
            let mut ear = Ear::new(Limits::default(), 32);
            ear.set_codec(codec);
            let header = RtpHeader::parse(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
            let kind = Kind::Audio { ticks_a_byte: 1 };
            ear.insert(&header, kind, &codes, Duration::ZERO);
            let heard = ear.hear(Duration::from_millis(32), |_, _| {}).unwrap();
            assert_eq!(heard, expected, "{codec}");
        }
    }
}
