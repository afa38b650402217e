//! The coder for [`LANES`] streams at once, bit by bit what it does for one.

mod band;
mod qmf;

use self::band::Band;
use self::qmf::Line;
use super::super::lanes::{LANES, Vector, columns, nothing, rows};
use super::STATE;
use super::band::{HIGH_OFFSET, LOW_OFFSET, NUMBERS};

pub(in crate::codec) use super::qmf::BLOCK;

/// The two bands of a sample of each stream, and the filter pair.
pub(in crate::codec) struct Coders {
    low: Band,
    high: Band,
    line: Line,
}

impl Coders {
    /// Goes on from what each stream's coder has come to.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn of(states: &[[i16; STATE]; LANES]) -> Self {
        let mut turned = [nothing(); STATE];
        columns(states, &mut turned);
        let (bands, line) = turned.split_at(2 * NUMBERS);
        let (low, high) = bands.split_at(NUMBERS);
        Self {
            low: Band::of(low, LOW_OFFSET),
            high: Band::of(high, HIGH_OFFSET),
            line: Line::of(line),
        }
    }

    /// What each stream's coder has come to.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn states(&self) -> [[i16; STATE]; LANES] {
        let mut turned = [nothing(); STATE];
        let (bands, line) = turned.split_at_mut(2 * NUMBERS);
        let (low, high) = bands.split_at_mut(NUMBERS);
        self.low.state(low);
        self.high.state(high);
        self.line.state(line);
        let mut states = [[0; STATE]; LANES];
        rows(&turned, &mut states);
        states
    }

    /// Codes up to [`BLOCK`] pairs of samples of each stream.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn encode(&mut self, samples: &[Vector], codes: &mut [Vector; BLOCK]) {
        let mut bands = [[nothing(); 2]; BLOCK];
        let count = self.line.split(samples, &mut bands);
        for (code, [low, high]) in codes.iter_mut().zip(&bands[..count]) {
            *code = band::joined(self.low.encode_low(*low), self.high.encode_high(*high));
        }
    }

    /// Decodes up to [`BLOCK`] bytes of each stream.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn decode(&mut self, codes: &[Vector], samples: &mut [Vector; 2 * BLOCK]) {
        let mut bands = [[nothing(); 2]; BLOCK];
        let codes = &codes[..codes.len().min(BLOCK)];
        for (bands, code) in bands.iter_mut().zip(codes) {
            let [low, high] = band::parted(*code);
            *bands = [self.low.decode_low(low), self.high.decode_high(high)];
        }
        self.line.join(&bands[..codes.len()], samples);
    }
}

/// What becomes of samples and of codes that are coded side by side, so many bytes at a time.
#[cfg(test)]
#[allow(unsafe_code)]
pub(super) fn check(streams: &[(Vec<i16>, Vec<u8>); LANES], size: usize) -> ([Vec<u8>; LANES], [Vec<i16>; LANES]) {
    use super::{Decoder, Encoder};

    #[target_feature(enable = "avx2")]
    fn run(streams: &[(Vec<i16>, Vec<u8>); LANES], size: usize) -> ([Vec<u8>; LANES], [Vec<i16>; LANES]) {
        const LENGTH: usize = 2 * BLOCK;
        let (mut codes, mut samples) = ([const { Vec::new() }; LANES], [const { Vec::new() }; LANES]);
        let mut encoders = [Encoder::new().state(); LANES];
        let mut decoders = [Decoder::new().state(); LANES];
        let count = streams
            .iter()
            .map(|(samples, codes)| codes.len().min(samples.len() / 2))
            .min();
        for begin in (0..count.unwrap_or_default() - size).step_by(size) {
            let mut sound = [[0; LENGTH]; LANES];
            let mut coded = [[0; BLOCK]; LANES];
            for lane in 0..LANES {
                let (samples, codes) = &streams[lane];
                sound[lane][..2 * size].copy_from_slice(&samples[2 * begin..2 * (begin + size)]);
                for (place, code) in coded[lane].iter_mut().zip(&codes[begin..begin + size]) {
                    *place = i16::from(*code);
                }
            }
            let mut wide = [nothing(); LENGTH];
            let mut narrow = [nothing(); BLOCK];
            columns(&sound, &mut wide);
            // States are taken out and laid in again, as from piece to piece of a call.
            let mut coders = Coders::of(&encoders);
            coders.encode(&wide[..2 * size], &mut narrow);
            encoders = coders.states();
            let mut made = [[0; BLOCK]; LANES];
            rows(&narrow, &mut made);
            columns(&coded, &mut narrow);
            let mut coders = Coders::of(&decoders);
            coders.decode(&narrow[..size], &mut wide);
            decoders = coders.states();
            rows(&wide, &mut sound);
            for lane in 0..LANES {
                codes[lane].extend(made[lane][..size].iter().map(|code| *code as u8));
                samples[lane].extend_from_slice(&sound[lane][..2 * size]);
            }
        }
        (codes, samples)
    }
    // SAFETY: the test has asked for AVX2.
    unsafe { run(streams, size) }
}
