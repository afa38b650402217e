//! The adaptive coders of the two bands, of each stream.

use std::arch::x86_64::{
    _mm256_add_epi16, _mm256_adds_epi16, _mm256_and_si256, _mm256_andnot_si256, _mm256_cmpeq_epi16, _mm256_cmpgt_epi16,
    _mm256_mulhi_epi16, _mm256_mulhi_epu16, _mm256_or_si256, _mm256_sign_epi16, _mm256_slli_epi16, _mm256_srai_epi16,
    _mm256_srli_epi16, _mm256_sub_epi16, _mm256_subs_epi16, _mm256_xor_si256,
};

use super::super::super::lanes::{Places, Table, Vector, choose, clamp, each, nothing, product};
use super::super::band::{
    COARSE_OUT, FINE_OUT, HIGH_LEVEL, HIGH_LIMIT, HIGH_OFFSET, HIGH_OUT, HIGH_WEIGHT, LEVEL_COUNT, LEVELS, LOW_LIMIT,
    LOW_OFFSET, LOW_WEIGHT, POWERS, ZEROS,
};

/// 16 times the powers of two from 0 to 31/32.
static POWER: [Table; 2] = {
    let mut powers = [[0; 16]; 2];
    let mut place = 0;
    while place < 32 {
        // All 16 bits are used.
        powers[place / 16][place % 16] = (POWERS[place] << 4) as u16 as i16;
        place += 1;
    }
    [Table::new(powers[0]), Table::new(powers[1])]
};

/// What makes a power of two one of its octave, in 2^16ths.
static OCTAVE: Table = {
    let mut octaves = [0; 16];
    let mut octave = 0;
    while octave < 12 {
        octaves[octave] = 1 << (octave + 2);
        octave += 1;
    }
    Table::new(octaves)
};

/// What a code of six bits stands for if only its upper four are known, by those, and how the step grows by it.
static COARSE: Table = Table::new(every_fourth(&COARSE_OUT));
static COARSE_WEIGHT: Table = Table::new(every_fourth(&LOW_WEIGHT));

const fn every_fourth(numbers: &[i16; 64]) -> [i16; 16] {
    let mut chosen = [0; 16];
    let mut place = 0;
    while place < 16 {
        chosen[place] = numbers[4 * place];
        place += 1;
    }
    chosen
}

/// What a code of six bits stands for, by its lower four bits, for each of its upper two.
static FINE: [Table; 4] = {
    let mut parts = [[0; 16]; 4];
    let mut place = 0;
    while place < 64 {
        parts[place / 16][place % 16] = FINE_OUT[place];
        place += 1;
    }
    [
        Table::new(parts[0]),
        Table::new(parts[1]),
        Table::new(parts[2]),
        Table::new(parts[3]),
    ]
};

/// What a code of two bits stands for, and how the step grows by it.
static OUTER_INNER: Table = Table::new(four(&HIGH_OUT));
static OUTER_INNER_WEIGHT: Table = Table::new(four(&HIGH_WEIGHT));

const fn four(numbers: &[i16; 4]) -> [i16; 16] {
    let mut table = [0; 16];
    let mut place = 0;
    while place < 4 {
        table[place] = numbers[place];
        place += 1;
    }
    table
}

/// A byte of the codes of both bands.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn joined(low: Vector, high: Vector) -> Vector {
    _mm256_or_si256(low, _mm256_slli_epi16::<6>(high))
}

/// The codes of both bands, of a byte.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn parted(code: Vector) -> [Vector; 2] {
    [_mm256_and_si256(code, each(63)), _mm256_srli_epi16::<6>(code)]
}

/// 0 or -1.
#[inline]
#[target_feature(enable = "avx2")]
fn sign(numbers: Vector) -> Vector {
    _mm256_srai_epi16::<15>(numbers)
}

/// `number` where the signs are alike, else its negative.
#[inline]
#[target_feature(enable = "avx2")]
fn by_sign(number: i16, one: Vector, other: Vector) -> Vector {
    let turned = _mm256_xor_si256(one, other);
    _mm256_sub_epi16(_mm256_xor_si256(each(number), turned), turned)
}

/// The predictor and the step of one band. All but the step's logarithm is as in the scalar coder.
pub(super) struct Band {
    zeros: [Vector; ZEROS],
    /// Twice the differences, newest first.
    differences: [Vector; ZEROS],
    poles: [Vector; 2],
    sample: Vector,
    signs: [Vector; 2],
    by_zeros: Vector,
    guess: Vector,
    logarithm: Vector,
    step: Vector,
}

impl Band {
    /// `offset` is where the band's smallest step is in the table of steps.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn of(state: &[Vector], offset: usize) -> Self {
        let mut band = Self {
            zeros: [nothing(); ZEROS],
            differences: [nothing(); ZEROS],
            poles: [state[12], state[13]],
            sample: state[14],
            signs: [state[15], state[16]],
            by_zeros: state[17],
            guess: state[18],
            logarithm: state[19],
            step: step(state[19], offset),
        };
        band.zeros.copy_from_slice(&state[..ZEROS]);
        for (twice, once) in band.differences.iter_mut().zip(&state[ZEROS..]) {
            *twice = _mm256_add_epi16(*once, *once);
        }
        band
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn state(&self, state: &mut [Vector]) {
        state[..ZEROS].copy_from_slice(&self.zeros);
        for (once, twice) in state[ZEROS..].iter_mut().zip(&self.differences) {
            *once = _mm256_srai_epi16::<1>(*twice);
        }
        [state[12], state[13]] = self.poles;
        state[14] = self.sample;
        [state[15], state[16]] = self.signs;
        (state[17], state[18], state[19]) = (self.by_zeros, self.guess, self.logarithm);
    }

    /// Codes of six bits for samples of the lower band.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn encode_low(&mut self, samples: Vector) -> Vector {
        let difference = _mm256_subs_epi16(samples, self.guess);
        let negative = sign(difference);
        let magnitude = _mm256_xor_si256(difference, negative);
        let mut interval = each(1 + LEVEL_COUNT);
        for level in &LEVELS[..LEVEL_COUNT as usize] {
            // Eight times the level, times the step, with 15 bits after the point.
            let level = _mm256_mulhi_epu16(self.step, each((level << 4) as u16 as i16));
            interval = _mm256_add_epi16(interval, _mm256_cmpgt_epi16(level, magnitude));
        }
        // Table 8: the two smallest negative intervals have codes apart.
        let apart = _mm256_and_si256(_mm256_cmpgt_epi16(each(3), interval), each(0x40 - 0x22));
        let first = choose(negative, _mm256_add_epi16(each(0x22), apart), each(0x3e));
        let code = _mm256_sub_epi16(first, interval);
        self.learn_low(code);
        code
    }

    /// Samples of the lower band.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn decode_low(&mut self, codes: Vector) -> Vector {
        let places = Places::new(_mm256_and_si256(codes, each(15)));
        let has = |bit: i16| _mm256_cmpeq_epi16(_mm256_and_si256(codes, each(bit)), each(bit));
        let (second, upper) = (has(16), has(32));
        let lower_half = choose(second, FINE[1].at(places), FINE[0].at(places));
        let upper_half = choose(second, FINE[3].at(places), FINE[2].at(places));
        let fine = product(self.step, choose(upper, upper_half, lower_half));
        let sample = _mm256_adds_epi16(self.guess, fine);
        self.learn_low(codes);
        clamp(sample, each(-16_384), each(16_383))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn learn_low(&mut self, codes: Vector) {
        let places = Places::new(_mm256_srli_epi16::<2>(codes));
        let difference = product(self.step, COARSE.at(places));
        self.scale(COARSE_WEIGHT.at(places), LOW_LIMIT, LOW_OFFSET);
        self.update(difference);
    }

    /// Codes of two bits for samples of the upper band.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn encode_high(&mut self, samples: Vector) -> Vector {
        let difference = _mm256_subs_epi16(samples, self.guess);
        let negative = sign(difference);
        let magnitude = _mm256_xor_si256(difference, negative);
        let level = _mm256_mulhi_epu16(self.step, each(2 * HIGH_LEVEL as i16));
        let inner = _mm256_and_si256(_mm256_cmpgt_epi16(level, magnitude), each(1));
        let code = _mm256_or_si256(_mm256_andnot_si256(negative, each(2)), inner);
        self.learn_high(code);
        code
    }

    /// Samples of the upper band.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn decode_high(&mut self, codes: Vector) -> Vector {
        let before = self.guess;
        let difference = self.learn_high(codes);
        clamp(_mm256_adds_epi16(before, difference), each(-16_384), each(16_383))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn learn_high(&mut self, codes: Vector) -> Vector {
        let places = Places::new(codes);
        let difference = product(self.step, OUTER_INNER.at(places));
        self.scale(OUTER_INNER_WEIGHT.at(places), HIGH_LIMIT, HIGH_OFFSET);
        self.update(difference);
        difference
    }

    /// Learns that codes of these weights were sent.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn scale(&mut self, weights: Vector, limit: i16, offset: usize) {
        // 127/128 of it, rounded down.
        let faded = _mm256_mulhi_epu16(self.logarithm, each(65_024u16 as i16));
        self.logarithm = clamp(_mm256_add_epi16(faded, weights), nothing(), each(limit));
        self.step = step(self.logarithm, offset);
    }

    /// The guess was off by `difference`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn update(&mut self, difference: Vector) {
        let sample = _mm256_adds_epi16(self.guess, difference);
        let sign_now = sign(_mm256_adds_epi16(difference, self.by_zeros));
        self.by_zeros = self.update_zeros(difference);
        let [before, first] = self.signs;
        self.signs = [sign_now, before];
        self.update_poles(sign_now, before, first);
        let [one, two] = self.poles;
        let by_poles = _mm256_adds_epi16(
            product(one, _mm256_adds_epi16(sample, sample)),
            product(two, _mm256_adds_epi16(self.sample, self.sample)),
        );
        self.sample = sample;
        self.guess = _mm256_adds_epi16(by_poles, self.by_zeros);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn update_zeros(&mut self, difference: Vector) -> Vector {
        let step = _mm256_andnot_si256(_mm256_cmpeq_epi16(difference, nothing()), each(128));
        let difference = _mm256_add_epi16(difference, difference);
        let mut newer = difference;
        let mut products = [nothing(); ZEROS];
        for (place, product_of_zero) in products.iter_mut().enumerate() {
            let older = std::mem::replace(&mut self.differences[place], newer);
            // A difference of zero counts as positive.
            let turned = _mm256_or_si256(_mm256_xor_si256(difference, older), each(1));
            let coefficient = self.zeros[place];
            // 255/256 of it, rounded down, which leaves room for the step.
            let faded = _mm256_add_epi16(coefficient, _mm256_mulhi_epi16(coefficient, each(-256)));
            self.zeros[place] = _mm256_add_epi16(faded, _mm256_sign_epi16(step, turned));
            *product_of_zero = product(newer, self.zeros[place]);
            newer = older;
        }
        // In the order of the standard, the oldest first.
        let mut sum = products[ZEROS - 1];
        for product in products[..ZEROS - 1].iter().rev() {
            sum = _mm256_adds_epi16(sum, *product);
        }
        sum
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn update_poles(&mut self, now: Vector, before: Vector, first: Vector) {
        let [one, two] = self.poles;
        let twice = _mm256_adds_epi16(one, one);
        let four = _mm256_adds_epi16(twice, twice);
        let minus_four = _mm256_subs_epi16(nothing(), four);
        let turned = _mm256_srai_epi16::<7>(choose(_mm256_cmpeq_epi16(now, before), minus_four, four));
        // 127/128, and 255/256, rounded down.
        let two = _mm256_add_epi16(two, _mm256_mulhi_epi16(two, each(-512)));
        let two = _mm256_add_epi16(_mm256_add_epi16(two, turned), by_sign(128, now, first));
        let two = clamp(two, each(-12_288), each(12_288));
        let bound = _mm256_sub_epi16(each(15_360), two);
        let one = _mm256_add_epi16(one, _mm256_mulhi_epi16(one, each(-256)));
        let one = _mm256_add_epi16(one, by_sign(192, now, before));
        self.poles = [clamp(one, _mm256_sub_epi16(nothing(), bound), bound), two];
    }
}

/// The step of a logarithm: its power of two, in its octave.
#[inline]
#[target_feature(enable = "avx2")]
fn step(logarithm: Vector, offset: usize) -> Vector {
    // At most 352.
    let place = _mm256_add_epi16(_mm256_srli_epi16::<6>(logarithm), each(offset as i16));
    let within = Places::new(_mm256_and_si256(place, each(15)));
    let upper = _mm256_cmpeq_epi16(_mm256_and_si256(place, each(16)), each(16));
    let power = choose(upper, POWER[1].at(within), POWER[0].at(within));
    let octave = OCTAVE.at(Places::new(_mm256_srli_epi16::<5>(place)));
    _mm256_slli_epi16::<2>(_mm256_mulhi_epu16(power, octave))
}
