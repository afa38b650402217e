//! 8 and 16 kHz turned into each other, of [`LANES`] streams at once, sample by sample what is done for one.

use std::arch::x86_64::{_mm256_add_epi32, _mm256_packs_epi32, _mm256_set1_epi32, _mm256_srai_epi32};

use super::super::lanes::{LANES, Vector, Wide, columns, nothing, pair, rows, weigh};
use super::{BLOCK, Filter, POINT, Rate, Resampler, SPAN};

/// Samples that twice as many depend on, and those that half as many do, without the next.
pub(in crate::codec) const PAST_UP: usize = SPAN - 1;
pub(in crate::codec) const PAST_DOWN: usize = 2 * SPAN - 1;

/// The samples before the next, filled up to whole vectors.
const UP: usize = SPAN.next_multiple_of(16);
const DOWN: usize = 2 * SPAN;

impl Resampler {
    /// Whether it doubles the rate, or halves it, and the next sample that comes is the first of those that it makes one of.
    pub(in crate::codec) fn is_aligned(&self) -> bool {
        self.next == 0
    }
}

/// Pairs of neighbours and the taps for them.
fn taps(phase: &[i16]) -> &[[i16; 2]] {
    phase.as_chunks::<2>().0
}

/// From 8 to 16 kHz.
pub(in crate::codec) struct Doublers {
    filter: &'static Filter,
    line: [Vector; PAST_UP + BLOCK],
}

impl Doublers {
    /// Goes on from where each stream's resampler is.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn of<'a>(resamplers: impl Iterator<Item = &'a Resampler>) -> Self {
        let mut line = [nothing(); PAST_UP + BLOCK];
        load::<UP>(resamplers, &mut line[..PAST_UP]);
        Self {
            filter: Filter::between(Rate::Khz8, Rate::Khz16),
            line,
        }
    }

    /// Leaves each stream's resampler where it would be.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn leave<'a>(&self, resamplers: impl Iterator<Item = &'a mut Resampler>) {
        store::<UP>(&self.line[..PAST_UP], resamplers);
    }

    /// Where up to [`BLOCK`] samples of 8 kHz belong.
    pub(in crate::codec) fn samples(&mut self) -> &mut [Vector] {
        &mut self.line[PAST_UP..]
    }

    /// Makes two of each of `count` samples.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn run(&mut self, count: usize, made: &mut [Vector; 2 * BLOCK]) {
        let mut pairs = [[nothing(); 2]; PAST_UP + BLOCK];
        let line = &self.line[..PAST_UP + count];
        for ((pairs, first), second) in pairs.iter_mut().zip(line).zip(&line[1..]) {
            *pairs = pair(*first, *second);
        }
        let phases = [taps(self.filter.phase(0)), taps(self.filter.phase(1))];
        for (window, made) in pairs.windows(PAST_UP).zip(made.as_chunks_mut::<2>().0).take(count) {
            let mut sums = [[nothing(); 2]; 2];
            for ((pair, first), second) in window.iter().step_by(2).zip(phases[0]).zip(phases[1]) {
                weigh(&mut sums[0], pair, *first);
                weigh(&mut sums[1], pair, *second);
            }
            *made = [round(sums[0]), round(sums[1])];
        }
        self.line.copy_within(count..count + PAST_UP, 0);
    }
}

/// From 16 to 8 kHz.
pub(in crate::codec) struct Halvers {
    filter: &'static Filter,
    line: [Vector; PAST_DOWN + 2 * BLOCK],
}

impl Halvers {
    /// Goes on from where each stream's resampler is.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn of<'a>(resamplers: impl Iterator<Item = &'a Resampler>) -> Self {
        let mut line = [nothing(); PAST_DOWN + 2 * BLOCK];
        load::<DOWN>(resamplers, &mut line[..PAST_DOWN]);
        Self {
            filter: Filter::between(Rate::Khz16, Rate::Khz8),
            line,
        }
    }

    /// Leaves each stream's resampler where it would be.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn leave<'a>(&self, resamplers: impl Iterator<Item = &'a mut Resampler>) {
        store::<DOWN>(&self.line[..PAST_DOWN], resamplers);
    }

    /// Where up to twice [`BLOCK`] samples of 16 kHz belong.
    pub(in crate::codec) fn samples(&mut self) -> &mut [Vector; 2 * BLOCK] {
        self.line.last_chunk_mut().expect("the line is longer than a block")
    }

    /// Makes `count` samples, one of each two.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::codec) fn run(&mut self, count: usize, made: &mut [Vector]) {
        const PAIRS: usize = (PAST_DOWN + 2 * BLOCK) / 2;
        let mut pairs = [[nothing(); 2]; PAIRS];
        for (pairs, [first, second]) in pairs.iter_mut().zip(self.line.as_chunks::<2>().0) {
            *pairs = pair(*first, *second);
        }
        let taps = taps(self.filter.phase(0));
        // Two at a time, which share the taps.
        for (place, made) in made[..count].chunks_mut(2).enumerate() {
            let window = &pairs[2 * place..];
            let mut sums = [[nothing(); 2]; 2];
            let next = window.get(1..).unwrap_or_default();
            for ((taps, first), second) in taps.iter().zip(window).zip(next) {
                weigh(&mut sums[0], first, *taps);
                weigh(&mut sums[1], second, *taps);
            }
            for (made, sum) in made.iter_mut().zip(sums) {
                *made = round(sum);
            }
        }
        self.line.copy_within(2 * count..2 * count + PAST_DOWN, 0);
    }
}

/// Without the bits after the point, within 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn round(sum: Wide) -> Vector {
    let half = _mm256_set1_epi32(1 << (POINT - 1));
    let [one, other] = [_mm256_add_epi32(sum[0], half), _mm256_add_epi32(sum[1], half)];
    const BITS: i32 = POINT as i32;
    _mm256_packs_epi32(_mm256_srai_epi32::<BITS>(one), _mm256_srai_epi32::<BITS>(other))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load<'a, const LENGTH: usize>(resamplers: impl Iterator<Item = &'a Resampler>, line: &mut [Vector]) {
    let mut pasts = [[0; LENGTH]; LANES];
    for (past, resampler) in pasts.iter_mut().zip(resamplers) {
        past[..line.len()].copy_from_slice(&resampler.line[..line.len()]);
    }
    columns(&pasts, line);
}

#[inline]
#[target_feature(enable = "avx2")]
fn store<'a, const LENGTH: usize>(line: &[Vector], resamplers: impl Iterator<Item = &'a mut Resampler>) {
    let mut pasts = [[0; LENGTH]; LANES];
    rows(line, &mut pasts);
    for (past, resampler) in pasts.iter().zip(resamplers) {
        resampler.line[..line.len()].copy_from_slice(&past[..line.len()]);
    }
}
