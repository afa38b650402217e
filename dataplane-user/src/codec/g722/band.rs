//! The adaptive coders of the two bands (G.722 clauses 3.2 to 3.6).

#[cfg(target_arch = "x86_64")]
mod state;

#[cfg(target_arch = "x86_64")]
pub(super) use self::state::NUMBERS;
use super::qmf::{limit, saturated};

/// Product of two numbers of 15 bits after the point.
#[inline(always)]
fn product(a: i16, b: i16) -> i16 {
    saturated((i32::from(a) * i32::from(b)) >> 15)
}

/// 0 or -1.
#[inline(always)]
fn sign(value: i16) -> i16 {
    value >> 15
}

/// `value` where the signs are alike, else its negative.
#[inline(always)]
fn by_sign(value: i16, one: i16, other: i16) -> i16 {
    let turned = one ^ other;
    (value ^ turned) - turned
}

/// Differences that the predictor looks back on.
pub(super) const ZEROS: usize = 6;

/// Guesses the next sample from six differences and two samples before it (clause 3.6).
#[derive(Clone, Debug, Default)]
struct Predictor {
    /// Coefficients of the differences.
    zeros: [i32; ZEROS],
    /// Differences, newest first.
    differences: [i32; ZEROS],
    /// Coefficients of the samples.
    poles: [i16; 2],
    /// The newest sample.
    sample: i16,
    /// Signs of the last two sums of difference and guess by the differences.
    signs: [i16; 2],
    /// What is guessed by the differences.
    by_zeros: i16,
    /// What is guessed.
    guess: i16,
}

impl Predictor {
    /// The guess was off by `difference`.
    #[inline(always)]
    fn update(&mut self, difference: i16) {
        let sample = self.guess.saturating_add(difference);
        let sign_now = sign(difference.saturating_add(self.by_zeros));
        let by_zeros = self.update_zeros(difference);
        let [before, first] = self.signs;
        self.signs = [sign_now, before];
        self.update_poles(sign_now, before, first);
        self.by_zeros = by_zeros;
        let [one, two] = self.poles;
        let by_poles = product(one, sample.saturating_add(sample))
            .saturating_add(product(two, self.sample.saturating_add(self.sample)));
        self.sample = sample;
        self.guess = by_poles.saturating_add(self.by_zeros);
    }

    /// Fits the coefficients of the differences; what is guessed by them now.
    #[inline(always)]
    fn update_zeros(&mut self, difference: i16) -> i16 {
        let step = if difference == 0 { 0 } else { 128 };
        let difference = i32::from(difference);
        let mut newer = difference;
        let mut products = [0; ZEROS];
        let past = self.zeros.iter_mut().zip(&mut self.differences);
        for ((coefficient, past), product) in past.zip(&mut products) {
            let older = std::mem::replace(past, newer);
            let turned = (difference ^ older) >> 31;
            // 255/256 of it, rounded down, which leaves room for the step in 16 bits.
            *coefficient = ((*coefficient * 255) >> 8) + ((step ^ turned) - turned);
            // No difference is above a third of 16 bits: twice of it are 16 bits.
            *product = (newer * *coefficient) >> 14;
            newer = older;
        }
        let most: i32 = products.iter().map(|product| product.abs()).sum();
        if most <= i16::MAX.into() {
            return products.iter().sum::<i32>() as i16;
        }
        saturated_sum(&products)
    }

    #[inline(always)]
    fn update_poles(&mut self, now: i16, before: i16, first: i16) {
        let [one, two] = self.poles.map(i32::from);
        let four = saturated(4 * one);
        let turned = i32::from(if now == before { 0i16.saturating_sub(four) } else { four } >> 7);
        let two = turned + i32::from(by_sign(128, now, first)) + ((two * 32_512) >> 15);
        let two = two.clamp(-12_288, 12_288);
        let bound = 15_360 - two;
        let one = i32::from(by_sign(192, now, before)) + ((one * 32_640) >> 15);
        // Both are within 16 bits by their bounds.
        self.poles = [one.clamp(-bound, bound) as i16, two as i16];
    }
}

/// In the order of the standard, the oldest first, each sum within 16 bits.
#[cold]
#[inline(never)]
fn saturated_sum(products: &[i32; ZEROS]) -> i16 {
    let oldest_first = products.iter().rev();
    oldest_first.fold(0, |sum, product| saturated(i32::from(sum) + product))
}

/// 2048 times the powers of two from 0 to 31/32 (clause 3.5, table 20).
pub(super) const POWERS: [i16; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025,
    3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// Entries of the table of step sizes.
const STEPS: usize = 353;

/// Step sizes by their logarithm in 32nds.
static STEP: [i16; STEPS] = {
    let mut steps = [0; STEPS];
    let mut place = 0;
    while place < STEPS {
        let power = POWERS[place & 31] as i32;
        let octave = place >> 5;
        steps[place] = (((power << 1) >> (11 - octave)) << 2) as i16;
        place += 1;
    }
    steps
};

/// What a step of the quantiser is worth, and how it grows and shrinks (clause 3.5).
#[derive(Clone, Debug)]
struct Scale {
    logarithm: i16,
    step: i16,
}

impl Scale {
    /// Learns that a code of this weight was sent. `limit` is that of the logarithm, `offset` that in the table.
    #[inline(always)]
    fn update(&mut self, weight: i16, limit: i16, offset: usize) {
        // Both are far from the limits of 16 bits.
        let faded = ((i32::from(self.logarithm) * 32_512) >> 15) as i16;
        self.logarithm = (faded + weight).clamp(0, limit);
        self.step = STEP[place(self.logarithm) + offset];
    }
}

/// The logarithm in 32nds; it is never negative.
#[inline(always)]
fn place(logarithm: i16) -> usize {
    (logarithm as u16 >> 6) as usize
}

/// Logarithm of the largest step in the lower band.
pub(super) const LOW_LIMIT: i16 = 18_432;
/// Where the lower band's smallest step is in the table.
pub(super) const LOW_OFFSET: usize = 64;
/// Steps of the lower band.
const LOW_STEPS: usize = STEPS - LOW_OFFSET;

/// Decision levels of the lower band's quantiser (table 7), without the first, which is zero; the last two are never
/// reached.
pub(super) const LEVELS: [i16; 32] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
    1458, 1612, 1765, 1980, 2195, 2557, 2919, 4095, 4095, 4095,
];

/// How many of the levels count.
pub(super) const LEVEL_COUNT: i16 = 29;

/// The decision levels at every step size.
static LOW_LEVELS: [[i16; 32]; LOW_STEPS] = {
    let mut levels = [[0; 32]; LOW_STEPS];
    let mut place = 0;
    while place < LOW_STEPS {
        let mut level = 0;
        while level < 32 {
            let product = ((LEVELS[level] as i32) << 3) * STEP[place + LOW_OFFSET] as i32;
            levels[place][level] = (product >> 15) as i16;
            level += 1;
        }
        place += 1;
    }
    levels
};

/// Output levels of four, and of six bits (tables 9 and 7), in eighths.
const COARSE: [i16; 8] = [0, 150, 323, 530, 786, 1121, 1612, 2557];
const FINE: [i16; 31] = [
    0, 17, 54, 91, 130, 170, 211, 254, 300, 347, 396, 447, 501, 558, 618, 682, 750, 822, 899, 982, 1072, 1170, 1279,
    1399, 1535, 1689, 1873, 2088, 2376, 2738, 3101,
];
/// How the step grows by the interval that was sent (table 13).
const LOW_WEIGHTS: [i16; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];

/// The code of an interval (1 to 30) by its sign: table 8.
const fn low_code(negative: bool, interval: usize) -> u8 {
    match (negative, interval) {
        (true, 1) => 0x3f,
        (true, 2) => 0x3e,
        (true, _) => 0x22 - interval as u8,
        (false, _) => 0x3e - interval as u8,
    }
}

/// The codes by sign and interval, one row of 32 each.
static LOW_CODES: [u8; 64] = {
    let mut codes = [0; 64];
    let mut interval = 1;
    while interval < 31 {
        codes[interval] = low_code(false, interval);
        codes[32 + interval] = low_code(true, interval);
        interval += 1;
    }
    codes
};

/// What a code of six bits stands for: the interval's output level, with its sign. Codes that no encoder sends count as
/// negative of the smallest level.
pub(super) static FINE_OUT: [i16; 64] = {
    let mut out = [-(FINE[1] << 3); 64];
    let mut interval = 1;
    while interval < 31 {
        out[low_code(false, interval) as usize] = FINE[interval] << 3;
        out[low_code(true, interval) as usize] = -(FINE[interval] << 3);
        interval += 1;
    }
    out
};

/// The interval of four bits that a code of six bits is in.
const fn coarse_interval(code: usize) -> usize {
    match code >> 2 {
        0 => 0,
        code @ 1..8 => 8 - code,
        code => 15 - code,
    }
}

/// What a code of six bits stands for if only its upper four are known, as the predictor has it.
pub(super) static COARSE_OUT: [i16; 64] = {
    let mut out = [0; 64];
    let mut code = 0;
    while code < 64 {
        let level = COARSE[coarse_interval(code)] << 3;
        out[code] = if code < 32 { -level } else { level };
        code += 1;
    }
    out
};

pub(super) static LOW_WEIGHT: [i16; 64] = {
    let mut weights = [0; 64];
    let mut code = 0;
    while code < 64 {
        weights[code] = LOW_WEIGHTS[coarse_interval(code)];
        code += 1;
    }
    weights
};

/// The lower band: six bits a sample.
#[derive(Clone, Debug)]
pub(super) struct Low {
    predictor: Predictor,
    scale: Scale,
}

impl Default for Low {
    fn default() -> Self {
        Self {
            predictor: Predictor::default(),
            scale: Scale {
                logarithm: 0,
                step: STEP[LOW_OFFSET],
            },
        }
    }
}

impl Low {
    /// Codes a sample of 15 bits.
    #[inline(always)]
    pub(super) fn encode(&mut self, sample: i16) -> u8 {
        let difference = sample.saturating_sub(self.predictor.guess);
        let negative = sign(difference);
        let magnitude = difference ^ negative;
        let levels = &LOW_LEVELS[place(self.scale.logarithm)];
        let reached: i16 = levels.iter().map(|level| i16::from(*level <= magnitude)).sum();
        let interval = 1 + reached.min(LEVEL_COUNT);
        let code = LOW_CODES[((negative & 32) + interval) as usize & 63];
        self.learn(code);
        code
    }

    /// The sample of 15 bits that a code of six bits stands for.
    #[inline(always)]
    pub(super) fn decode(&mut self, code: u8) -> i16 {
        let fine = product(self.scale.step, FINE_OUT[usize::from(code & 63)]);
        let sample = limit(self.predictor.guess.saturating_add(fine).into());
        self.learn(code);
        sample
    }

    #[inline(always)]
    fn learn(&mut self, code: u8) {
        let code = usize::from(code & 63);
        let difference = product(self.scale.step, COARSE_OUT[code]);
        self.scale.update(LOW_WEIGHT[code], LOW_LIMIT, LOW_OFFSET);
        self.predictor.update(difference);
    }
}

/// Logarithm of the largest step in the upper band.
pub(super) const HIGH_LIMIT: i16 = 22_528;
/// Where the upper band's smallest step is in the table.
pub(super) const HIGH_OFFSET: usize = 0;
/// The decision level of the upper band's quantiser.
pub(super) const HIGH_LEVEL: i32 = 564 << 3;
/// What a code of two bits stands for, and how the step grows by it (tables 10 and 14): outer and inner interval, first
/// negative.
pub(super) const HIGH_OUT: [i16; 4] = [-926 << 3, -202 << 3, 926 << 3, 202 << 3];
pub(super) const HIGH_WEIGHT: [i16; 4] = [798, -214, 798, -214];

/// The upper band: two bits a sample.
#[derive(Clone, Debug)]
pub(super) struct High {
    predictor: Predictor,
    scale: Scale,
}

impl Default for High {
    fn default() -> Self {
        Self {
            predictor: Predictor::default(),
            scale: Scale {
                logarithm: 0,
                step: STEP[HIGH_OFFSET],
            },
        }
    }
}

impl High {
    /// Codes a sample of 15 bits.
    #[inline(always)]
    pub(super) fn encode(&mut self, sample: i16) -> u8 {
        let difference = sample.saturating_sub(self.predictor.guess);
        let negative = sign(difference);
        let magnitude = i32::from(difference ^ negative);
        let inner = magnitude < (HIGH_LEVEL * i32::from(self.scale.step)) >> 15;
        let code = if negative == 0 { 2 } else { 0 } | u8::from(inner);
        self.learn(code);
        code
    }

    /// The sample of 15 bits that a code of two bits stands for.
    #[inline(always)]
    pub(super) fn decode(&mut self, code: u8) -> i16 {
        let before = self.predictor.guess;
        let difference = self.learn(code);
        limit(before.saturating_add(difference).into())
    }

    #[inline(always)]
    fn learn(&mut self, code: u8) -> i16 {
        let code = usize::from(code & 3);
        let difference = product(self.scale.step, HIGH_OUT[code]);
        self.scale.update(HIGH_WEIGHT[code], HIGH_LIMIT, HIGH_OFFSET);
        self.predictor.update(difference);
        difference
    }
}
