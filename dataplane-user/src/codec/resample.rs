//! Sample rates turned into each other: 8, 16, 24 and 48 kHz.
//!
//! A fixed linear-phase filter in as many phases as there are output samples between input samples (polyphase FIR,
//! designed with Kaiser's window). Up to 0.45 of the lower rate (3.6 kHz of 8 kHz) levels stay within 0.02 dB; what is
//! above 0.525 of it (4.2 kHz) is down by more than 60 dB. So what folds over lies above 3.8 kHz of 8, where telephones
//! end (ITU-T G.712 asks for 14 dB at 4 kHz): docs/decisions.md. Sound is delayed by 28 samples of the lower rate (3.5 ms at
//! 8 kHz), whichever the rates are.

#[cfg(target_arch = "x86_64")]
pub(super) mod lanes;

use std::f64::consts::PI;
use std::sync::OnceLock;

use crate::cache::ask_for;

/// Input samples that are worked off together.
const BLOCK: usize = 80;

/// Taps of the filter in samples of the lower rate: what Kaiser's formula gives for 67 dB between 0.45 and 0.525 of the
/// lower rate, 55, rounded up to whole groups and an even number.
const SPAN: usize = 56;

/// Shape of Kaiser's window for 67 dB.
const BETA: f64 = 0.1102 * (67.0 - 8.7);

/// Middle between the end of the pass band and the beginning of the stop band, as part of the lower rate.
const CORNER: f64 = (PASSED + STOPPED) / 2.0;

/// End of the pass band, as part of the lower rate.
const PASSED: f64 = 0.45;

/// Beginning of the stop band, as part of the lower rate.
const STOPPED: f64 = 0.525;

/// Bits after the point of a tap.
const POINT: u32 = 14;

/// Taps that are worked off together.
const GROUP: usize = 8;

/// Most taps a phase has: from 48 to 8 kHz.
const MOST_TAPS: usize = (SPAN * 6).next_multiple_of(GROUP);

/// Most samples for each input sample: from 8 to 48 kHz.
const MOST_PHASES: usize = 6;

/// A sample rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rate {
    /// 8 kHz, as of telephony.
    Khz8,
    /// 16 kHz, wideband.
    Khz16,
    /// 24 kHz, as speech models have it.
    Khz24,
    /// 48 kHz.
    Khz48,
}

impl Rate {
    /// Every rate.
    pub const ALL: [Self; 4] = [Self::Khz8, Self::Khz16, Self::Khz24, Self::Khz48];

    /// The rate of so many samples a second.
    pub fn of_hz(hz: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|rate| rate.samples_a_millisecond() * 1000 == hz as usize)
    }

    /// Samples a millisecond.
    pub const fn samples_a_millisecond(self) -> usize {
        match self {
            Self::Khz8 => 8,
            Self::Khz16 => 16,
            Self::Khz24 => 24,
            Self::Khz48 => 48,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Khz8 => 0,
            Self::Khz16 => 1,
            Self::Khz24 => 2,
            Self::Khz48 => 3,
        }
    }
}

/// The taps between two rates, the same for every stream.
#[derive(Debug)]
struct Filter {
    /// Output samples between two input samples: phases.
    up: usize,
    /// Of which every so many is wanted.
    down: usize,
    /// Taps of each phase, whole groups; the oldest samples may have none.
    taps: usize,
    /// Phase by phase, for the oldest sample first.
    phases: Vec<i16>,
}

impl Filter {
    /// The one between two rates, made when it is asked for first.
    fn between(from: Rate, to: Rate) -> &'static Self {
        static FILTERS: [[OnceLock<Filter>; 4]; 4] = [const { [const { OnceLock::new() }; 4] }; 4];
        FILTERS[from.index()][to.index()].get_or_init(|| Self::design(from, to))
    }

    fn design(from: Rate, to: Rate) -> Self {
        let (from, to) = (from.samples_a_millisecond(), to.samples_a_millisecond());
        let common = greatest_common_divisor(from, to);
        let (up, down) = (to / common, from / common);
        // Taps at the rate of which both rates are parts.
        let spread = up.max(down);
        let taps = SPAN * spread / up;
        let length = taps * up;
        // A whole number, so that the delay is one; the first tap, which has no counterpart, is none.
        let middle = (length / 2) as f64;
        let tap = |place: usize| match place {
            0 => 0.0,
            place => {
                let distance = place as f64 - middle;
                sinc(2.0 * CORNER / spread as f64 * distance) * kaiser(distance / middle)
            }
        };
        let whole = taps.next_multiple_of(GROUP);
        let mut phases = Vec::with_capacity(whole * up);
        for phase in 0..up {
            let of_phase: Vec<f64> = (0..taps).map(|place| tap(place * up + phase)).collect();
            let sum: f64 = of_phase.iter().sum();
            // Every phase passes a steady level as it is.
            let scale = f64::from(1 << POINT) / sum;
            phases.extend(std::iter::repeat_n(0, whole - taps));
            let rounded = rounded(&of_phase.iter().map(|tap| tap * scale).collect::<Vec<_>>());
            // The newest sample has the first tap.
            phases.extend(rounded.iter().rev());
        }
        Self {
            up,
            down,
            taps: whole,
            phases,
        }
    }

    fn phase(&self, phase: usize) -> &[i16] {
        &self.phases[phase * self.taps..(phase + 1) * self.taps]
    }
}

/// Whole numbers whose sum is that of these, which are below 2^15 in magnitude: rounded down, but for those whose
/// fractions are greatest.
fn rounded(taps: &[f64]) -> Vec<i16> {
    let mut rounded: Vec<i16> = taps.iter().map(|tap| tap.floor() as i16).collect();
    let mut places: Vec<usize> = (0..taps.len()).collect();
    let fraction = |place: &usize| taps[*place] - taps[*place].floor();
    places.sort_by(|a, b| fraction(b).total_cmp(&fraction(a)));
    let missing = taps.iter().map(|tap| tap - tap.floor()).sum::<f64>().round() as usize;
    for place in places.into_iter().take(missing) {
        rounded[place] += 1;
    }
    rounded
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Kaiser's window over -1 to 1.
fn kaiser(x: f64) -> f64 {
    bessel(BETA * (1.0 - x * x).max(0.0).sqrt()) / bessel(BETA)
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    (1..40).fold(1.0, |sum, k| {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum + term
    })
}

/// Turns one stream's rate into another. Samples may come in pieces of any size; the result is the same.
#[derive(Clone, Debug)]
pub struct Resampler {
    filter: &'static Filter,
    /// The samples that the next output depends on, and room for a block.
    line: [i16; MOST_TAPS + BLOCK],
    /// Where in time the next output is, in output samples of the finer rate after the next input sample.
    next: usize,
}

impl Resampler {
    /// A resampler that has heard nothing; nothing is allocated after this.
    pub fn new(from: Rate, to: Rate) -> Self {
        Self {
            filter: Filter::between(from, to),
            line: [0; MOST_TAPS + BLOCK],
            next: 0,
        }
    }

    /// Samples are about to be taken.
    pub(super) fn expect(&self) {
        ask_for(&self.filter);
        ask_for(&self.next);
        // Of a filter between neighbouring rates. How long it is, is not read now.
        ask_for(&self.line[..2 * SPAN]);
    }

    /// Takes samples, and gives out what comes of them in pieces.
    pub fn run(&mut self, input: &[i16], mut output: impl FnMut(&[i16])) {
        let Filter { up, down, taps, .. } = *self.filter;
        let past = taps - 1;
        let mut made = [0; BLOCK * MOST_PHASES];
        for block in input.chunks(BLOCK) {
            self.line[past..past + block.len()].copy_from_slice(block);
            let mut count = 0;
            let (mut sample, mut phase) = (self.next / up, self.next % up);
            while sample < block.len() {
                made[count] = round(dot(&self.line[sample..sample + taps], self.filter.phase(phase)));
                count += 1;
                phase += down;
                // Dividing would cost more than the filter.
                while phase >= up {
                    phase -= up;
                    sample += 1;
                }
            }
            self.next = (sample - block.len()) * up + phase;
            self.line.copy_within(block.len()..block.len() + past, 0);
            output(&made[..count]);
        }
    }
}

/// Of whole groups.
#[inline(always)]
fn dot(samples: &[i16], taps: &[i16]) -> i32 {
    let (samples, taps) = (samples.as_chunks::<GROUP>().0, taps.as_chunks::<GROUP>().0);
    let groups = samples.iter().zip(taps);
    groups
        .map(|(samples, taps)| {
            let products: [i32; GROUP] =
                std::array::from_fn(|place| i32::from(samples[place]) * i32::from(taps[place]));
            products.iter().sum::<i32>()
        })
        .sum()
}

/// Without the bits after the point, within 16 bits.
#[inline(always)]
fn round(sum: i32) -> i16 {
    ((sum + (1 << (POINT - 1))) >> POINT).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    fn tone(rate: Rate, hz: f64, samples: usize) -> Vec<i16> {
        let step = TAU * hz / (rate.samples_a_millisecond() as f64 * 1000.0);
        (0..samples)
            .map(|n| (10_000.0 * (step * n as f64).sin()).round() as i16)
            .collect()
    }

    fn resampled(from: Rate, to: Rate, input: &[i16]) -> Vec<i16> {
        let mut output = Vec::new();
        Resampler::new(from, to).run(input, |made| output.extend_from_slice(made));
        output
    }

    /// Level of a sine of this frequency that fits best, and of what is left, in dB of the tone that was sent.
    fn levels(samples: &[i16], rate: Rate, hz: f64) -> (f64, f64) {
        let step = TAU * hz / (rate.samples_a_millisecond() as f64 * 1000.0);
        let (sine, cosine) = samples.iter().enumerate().fold((0.0, 0.0), |(s, c), (n, x)| {
            let (sin, cos) = (step * n as f64).sin_cos();
            (s + f64::from(*x) * sin, c + f64::from(*x) * cos)
        });
        let half = samples.len() as f64 / 2.0;
        let (sine, cosine) = (sine / half, cosine / half);
        let rest = samples.iter().enumerate().map(|(n, x)| {
            let (sin, cos) = (step * n as f64).sin_cos();
            (f64::from(*x) - sine * sin - cosine * cos).powi(2)
        });
        let decibel = |power: f64| 10.0 * (power / 1e8 + 1e-12).log10();
        (
            decibel(sine * sine + cosine * cosine),
            decibel(rest.sum::<f64>() / half),
        )
    }

    fn pairs() -> impl Iterator<Item = (Rate, Rate)> {
        let all = Rate::ALL.into_iter().flat_map(|from| Rate::ALL.map(|to| (from, to)));
        all.filter(|(from, to)| from != to)
    }

    /// A tenth of a second after the filter has filled: whole periods of every multiple of 10 Hz.
    fn settled(samples: &[i16], rate: Rate) -> &[i16] {
        let begin = rate.samples_a_millisecond() * 20;
        &samples[begin..begin + rate.samples_a_millisecond() * 100]
    }

    #[test]
    fn tones_of_the_pass_band_keep_their_level_and_are_pure() {
        for (from, to) in pairs() {
            let lower = from.min(to).samples_a_millisecond() as f64 * 1000.0;
            for part in [0.0125, 0.0375, 0.125, 0.25, 0.375, PASSED] {
                let hz = lower * part;
                let sent = tone(from, hz, from.samples_a_millisecond() * 200);
                let made = resampled(from, to, &sent);
                assert_eq!(made.len(), to.samples_a_millisecond() * 200);
                let (level, rest) = levels(settled(&made, to), to, hz);
                assert!(level.abs() < 0.05, "{from:?} to {to:?}: {hz} Hz at {level:.3} dB");
                assert!(rest < -65.0, "{from:?} to {to:?}: beside {hz} Hz {rest:.1} dB");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_suppressed() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            let (stopped, top) = (
                to.samples_a_millisecond() as f64 * 1000.0 * STOPPED,
                from.samples_a_millisecond() as f64 * 500.0,
            );
            let mut hz = stopped + 10.0;
            while hz < top {
                let sent = tone(from, hz, from.samples_a_millisecond() * 200);
                let made = resampled(from, to, &sent);
                let power = settled(&made, to).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
                let level = 10.0 * (2.0 * power / settled(&made, to).len() as f64 / 1e8 + 1e-12).log10();
                assert!(level < -60.0, "{from:?} to {to:?}: {hz} Hz at {level:.1} dB");
                hz += 370.0;
            }
        }
    }

    #[test]
    fn silence_and_full_scale_stay_what_they_are() {
        for (from, to) in pairs() {
            for level in [0, i16::MAX, i16::MIN] {
                let made = resampled(from, to, &[level; 2000]);
                let off = made[made.len() / 2..]
                    .iter()
                    .map(|sample| (i32::from(*sample) - i32::from(level)).abs());
                assert!(off.max().unwrap_or(0) <= 4, "{from:?} to {to:?}: {level}");
            }
            // As loud and fast as can be: nothing wraps.
            let harsh: Vec<i16> = (0..2000)
                .map(|n| if n / 3 % 2 == 0 { i16::MIN } else { i16::MAX })
                .collect();
            resampled(from, to, &harsh);
        }
    }

    proptest! {
        /// Whatever the size of the pieces, the result is the same.
        #[test]
        fn pieces_are_resampled_as_the_whole(
            samples in prop::collection::vec(any::<i16>(), 0..1000),
            cuts in prop::collection::vec(0usize..300, 0..20),
            pair in 0usize..12,
        ) {
            let (from, to) = pairs().nth(pair).unwrap_or((Rate::Khz8, Rate::Khz16));
            let whole = resampled(from, to, &samples);
            let mut resampler = Resampler::new(from, to);
            let mut made = Vec::new();
            let mut rest = &samples[..];
            for cut in cuts.into_iter().chain([samples.len()]) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                resampler.run(piece, |output| made.extend_from_slice(output));
                rest = after;
            }
            prop_assert_eq!(made, whole);
        }
    }
}
