//! The filter pair, of each stream.

use std::arch::x86_64::{
    _mm256_add_epi16, _mm256_add_epi32, _mm256_packs_epi32, _mm256_srai_epi32, _mm256_sub_epi16, _mm256_sub_epi32,
};

use super::super::super::lanes::{Vector, Wide, clamp, each, nothing, pair, weigh};
use super::super::qmf::{BLOCK, PAST, RESPONSE};

/// Samples as they came, with those before them.
pub(super) struct Line([Vector; PAST + 2 * BLOCK]);

/// Every sample with the next but one: the taps of even and of odd places are weighed apart.
type Pairs = [Wide; PAST + 2 * BLOCK];

impl Line {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn of(state: &[Vector]) -> Self {
        let mut line = [nothing(); PAST + 2 * BLOCK];
        line[..PAST].copy_from_slice(&state[..PAST]);
        Self(line)
    }

    pub(super) fn state(&self, state: &mut [Vector]) {
        state[..PAST].copy_from_slice(&self.0[..PAST]);
    }

    /// Splits up to [`BLOCK`] pairs of samples into the lower and the upper band; returns how many.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn split(&mut self, samples: &[Vector], bands: &mut [[Vector; 2]; BLOCK]) -> usize {
        let count = (samples.len() / 2).min(BLOCK);
        self.0[PAST..PAST + 2 * count].copy_from_slice(&samples[..2 * count]);
        let pairs = self.pairs(count);
        let (least, most) = (each(-16_384), each(16_383));
        for (place, bands) in bands[..count].iter_mut().enumerate() {
            let [even, odd] = sums(&pairs, place);
            let mut low = [nothing(); 2];
            let mut high = [nothing(); 2];
            for half in 0..2 {
                low[half] = _mm256_srai_epi32::<14>(_mm256_add_epi32(odd[half], even[half]));
                high[half] = _mm256_srai_epi32::<14>(_mm256_sub_epi32(odd[half], even[half]));
            }
            let [low, high] = [_mm256_packs_epi32(low[0], low[1]), _mm256_packs_epi32(high[0], high[1])];
            *bands = [clamp(low, least, most), clamp(high, least, most)];
        }
        self.keep(count);
        count
    }

    /// Joins up to [`BLOCK`] samples of the bands.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn join(&mut self, bands: &[[Vector; 2]], samples: &mut [Vector; 2 * BLOCK]) {
        let count = bands.len().min(BLOCK);
        let (places, _) = self.0[PAST..].as_chunks_mut::<2>();
        for ([first, second], [low, high]) in places.iter_mut().zip(bands) {
            (*first, *second) = (_mm256_add_epi16(*low, *high), _mm256_sub_epi16(*low, *high));
        }
        let pairs = self.pairs(count);
        let (made, _) = samples.as_chunks_mut::<2>();
        for (place, made) in made[..count].iter_mut().enumerate() {
            let [even, odd] = sums(&pairs, place);
            for (made, sum) in made.iter_mut().zip([odd, even]) {
                let [one, other] = [_mm256_srai_epi32::<11>(sum[0]), _mm256_srai_epi32::<11>(sum[1])];
                *made = _mm256_packs_epi32(one, other);
            }
        }
        self.keep(count);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn pairs(&self, count: usize) -> Pairs {
        let mut pairs = [[nothing(); 2]; PAST + 2 * BLOCK];
        let samples = &self.0[..PAST + 2 * count];
        for ((pairs, first), second) in pairs.iter_mut().zip(samples).zip(&samples[2..]) {
            *pairs = pair(*first, *second);
        }
        pairs
    }

    /// The last samples of so many pairs are those before the next.
    fn keep(&mut self, count: usize) {
        self.0.copy_within(2 * count..2 * count + PAST, 0);
    }
}

/// What the even and the odd taps make of the samples that belong to the pair at `place`.
#[inline]
#[target_feature(enable = "avx2")]
fn sums(pairs: &Pairs, place: usize) -> [Wide; 2] {
    let window = &pairs[2 * place..2 * place + PAST];
    let mut sums = [[nothing(); 2]; 2];
    for (taps, pairs) in RESPONSE.as_chunks::<4>().0.iter().zip(window.chunks(4)) {
        weigh(&mut sums[0], &pairs[0], [taps[0], taps[2]]);
        weigh(&mut sums[1], &pairs[1], [taps[1], taps[3]]);
    }
    sums
}
