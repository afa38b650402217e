//! The filter pair that splits audio into two bands and joins them again (G.722 clauses 3.1 and 4.4): 24 taps, symmetric.

use std::array;

/// Pairs of samples that are worked off together: 10 ms.
pub(in crate::codec) const BLOCK: usize = 80;

const TAPS: usize = 24;

/// Samples before a pair that its result depends on.
pub(super) const PAST: usize = TAPS - 2;

/// The impulse response, in units of 2^-12.
pub(super) const RESPONSE: [i16; TAPS] = {
    let half = [3, -11, -11, 53, 12, -156, 32, 362, -210, -805, 951, 3876];
    let mut taps = [0; TAPS];
    let mut place = 0;
    while place < TAPS / 2 {
        taps[place] = half[place];
        taps[TAPS - 1 - place] = half[place];
        place += 1;
    }
    taps
};

/// The same for the upper band: every other tap is turned.
const TURNED: [i16; TAPS] = {
    let mut taps = RESPONSE;
    let mut place = 0;
    while place < TAPS {
        taps[place] = -taps[place];
        place += 2;
    }
    taps
};

/// The taps of every other sample, for joining: first the odd ones, whose results come first.
const ODD: [i16; TAPS] = every_other(1);
const EVEN: [i16; TAPS] = every_other(0);

const fn every_other(first: usize) -> [i16; TAPS] {
    let mut taps = [0; TAPS];
    let mut place = first;
    while place < TAPS {
        taps[place] = RESPONSE[place];
        place += 2;
    }
    taps
}

/// Samples as they came, with those before them.
#[derive(Clone, Debug)]
pub(super) struct Line([i16; PAST + 2 * BLOCK]);

impl Default for Line {
    fn default() -> Self {
        Self([0; PAST + 2 * BLOCK])
    }
}

impl Line {
    /// Takes up to [`BLOCK`] pairs, in the place of those before.
    fn fill(&mut self, pairs: impl ExactSizeIterator<Item = [i16; 2]>) {
        let (new, _) = self.0[PAST..].as_chunks_mut::<2>();
        for (place, pair) in new.iter_mut().zip(pairs) {
            *place = pair;
        }
    }

    /// The samples that the result of each pair depends on, the pair last.
    fn windows(&self) -> impl Iterator<Item = &[i16; TAPS]> {
        self.0.windows(TAPS).step_by(2).filter_map(<[i16]>::first_chunk)
    }

    /// The samples before the next pair.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn past(&self) -> &[i16] {
        &self.0[..PAST]
    }

    /// The same, to be changed.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn past_mut(&mut self) -> &mut [i16] {
        &mut self.0[..PAST]
    }

    /// The last samples of so many pairs are those before the next.
    fn keep(&mut self, pairs: usize) {
        self.0.copy_within(2 * pairs..2 * pairs + PAST, 0);
    }
}

/// At most 2 * 6482 * 2^15 in magnitude.
#[inline(always)]
fn sum(window: &[i16; TAPS], taps: &[i16; TAPS]) -> i32 {
    let products: [i32; TAPS] = array::from_fn(|place| i32::from(window[place]) * i32::from(taps[place]));
    products.iter().sum()
}

/// Splits audio.
#[derive(Clone, Debug, Default)]
pub(super) struct Analysis(pub(super) Line);

impl Analysis {
    /// Of up to [`BLOCK`] pairs of samples, the sample of the lower band and that of the upper, 15 bits each.
    pub(super) fn run(&mut self, pairs: &[[i16; 2]], bands: &mut [[i16; 2]; BLOCK]) {
        let pairs = &pairs[..pairs.len().min(BLOCK)];
        self.0.fill(pairs.iter().copied());
        for (band, window) in bands[..pairs.len()].iter_mut().zip(self.0.windows()) {
            *band = [sum(window, &RESPONSE), sum(window, &TURNED)].map(|sum| limit(sum >> 14));
        }
        self.0.keep(pairs.len());
    }
}

/// Joins the bands.
#[derive(Clone, Debug, Default)]
pub(super) struct Synthesis(pub(super) Line);

impl Synthesis {
    /// Of up to [`BLOCK`] samples of the lower band and the upper, 15 bits each, pairs of samples.
    pub(super) fn run(&mut self, bands: &[[i16; 2]], pairs: &mut [[i16; 2]]) {
        let bands = &bands[..bands.len().min(BLOCK)];
        // 15 bits and 15 bits are 16.
        self.0.fill(bands.iter().map(|[low, high]| [low + high, low - high]));
        for ((pair, _), window) in pairs.iter_mut().zip(bands).zip(self.0.windows()) {
            *pair = [sum(window, &ODD), sum(window, &EVEN)].map(|sum| saturated(sum >> 11));
        }
        self.0.keep(bands.len());
    }
}

/// To 15 bits.
#[inline(always)]
pub(super) fn limit(value: i32) -> i16 {
    value.clamp(-16_384, 16_383) as i16
}

/// To 16 bits.
#[inline(always)]
pub(super) fn saturated(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}
