//! G.722 (ITU-T G.722) at 64 kbit/s, mode 1: 16 kHz audio, one byte for two samples.
//!
//! A filter pair (`qmf`) splits the audio into two bands of 8 kHz each; in each an adaptive predictor (`band`) guesses the
//! next sample, and what the guess misses is coded: six bits in the lower band, two in the upper. Linear samples are 16
//! bit, of which the code keeps 14, left-aligned as everywhere in this crate.
//!
//! Every operation has the width and the saturation of the ITU's reference software (G.191), so that encoder and decoder
//! are bit exact with it on any input: see the tests for how that was checked. The RTP clock of G.722 runs at 8 kHz
//! (RFC 3551 section 4.5.2).
//!
//! One stream is coded by [`Encoder`] and [`Decoder`]; many at once by `lanes`, which takes their states and gives them back.

mod band;
#[cfg(target_arch = "x86_64")]
pub(super) mod lanes;
mod qmf;
#[cfg(target_arch = "x86_64")]
mod state;

use self::band::{High, Low};
use self::qmf::{Analysis, BLOCK, Synthesis};
#[cfg(target_arch = "x86_64")]
pub(super) use self::state::STATE;

/// Codes linear samples.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    low: Low,
    high: High,
    split: Analysis,
}

impl Encoder {
    /// An encoder that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Codes pairs of samples (16 kHz), one byte each, as many as there is room for in `codes`; returns how many. A sample
    /// without its second is left out.
    pub fn encode(&mut self, samples: &[i16], codes: &mut [u8]) -> usize {
        let (pairs, _) = samples.as_chunks::<2>();
        let count = pairs.len().min(codes.len());
        let mut bands = [[0; 2]; BLOCK];
        for (pairs, codes) in pairs[..count].chunks(BLOCK).zip(codes.chunks_mut(BLOCK)) {
            self.split.run(pairs, &mut bands);
            for (code, [low, high]) in codes.iter_mut().zip(&bands[..pairs.len()]) {
                // Six bits and two.
                *code = self.low.encode(*low) | self.high.encode(*high) << 6;
            }
        }
        count
    }
}

/// Decodes to linear samples.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    low: Low,
    high: High,
    join: Synthesis,
}

impl Decoder {
    /// A decoder that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes bytes to two samples (16 kHz) each, as many as there is room for in `samples`; returns how many samples.
    pub fn decode(&mut self, codes: &[u8], samples: &mut [i16]) -> usize {
        let (pairs, _) = samples.as_chunks_mut::<2>();
        let count = pairs.len().min(codes.len());
        let mut bands = [[0; 2]; BLOCK];
        for (codes, pairs) in codes[..count].chunks(BLOCK).zip(pairs.chunks_mut(BLOCK)) {
            for (bands, code) in bands.iter_mut().zip(codes) {
                *bands = [self.low.decode(code & 0x3f), self.high.decode(code >> 6)];
            }
            self.join.run(&bands[..codes.len()], pairs);
        }
        2 * count
    }
}

#[cfg(test)]
mod tests;
