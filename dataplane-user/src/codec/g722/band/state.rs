//! What a band's coder has come to, as numbers in a row: for coders that work in lanes.

use super::{HIGH_OFFSET, High, LOW_OFFSET, Low, Predictor, STEP, Scale, ZEROS, place};

/// Numbers of a band: the coefficients and the differences, then those named in [`save`]. The step follows from its
/// logarithm.
pub(in crate::codec::g722) const NUMBERS: usize = 2 * ZEROS + 8;

fn save(predictor: &Predictor, scale: &Scale) -> [i16; NUMBERS] {
    let mut numbers = [0; NUMBERS];
    // All of them are within 16 bits.
    for (number, zero) in numbers
        .iter_mut()
        .zip(predictor.zeros.iter().chain(&predictor.differences))
    {
        *number = *zero as i16;
    }
    let [one, two] = predictor.poles;
    let [before, first] = predictor.signs;
    numbers[2 * ZEROS..].copy_from_slice(&[
        one,
        two,
        predictor.sample,
        before,
        first,
        predictor.by_zeros,
        predictor.guess,
        scale.logarithm,
    ]);
    numbers
}

fn load(numbers: &[i16; NUMBERS], offset: usize) -> (Predictor, Scale) {
    let [rest @ .., one, two, sample, before, first, by_zeros, guess, logarithm] = *numbers;
    let mut predictor = Predictor {
        poles: [one, two],
        sample,
        signs: [before, first],
        by_zeros,
        guess,
        ..Predictor::default()
    };
    let zeros = predictor.zeros.iter_mut().chain(&mut predictor.differences);
    for (zero, number) in zeros.zip(rest) {
        *zero = number.into();
    }
    let step = STEP[place(logarithm) + offset];
    (predictor, Scale { logarithm, step })
}

impl Low {
    pub(in crate::codec::g722) fn state(&self) -> [i16; NUMBERS] {
        save(&self.predictor, &self.scale)
    }

    /// Goes on from a state of [`Self::state`].
    pub(in crate::codec::g722) fn set_state(&mut self, numbers: &[i16; NUMBERS]) {
        (self.predictor, self.scale) = load(numbers, LOW_OFFSET);
    }
}

impl High {
    pub(in crate::codec::g722) fn state(&self) -> [i16; NUMBERS] {
        save(&self.predictor, &self.scale)
    }

    /// Goes on from a state of [`Self::state`].
    pub(in crate::codec::g722) fn set_state(&mut self, numbers: &[i16; NUMBERS]) {
        (self.predictor, self.scale) = load(numbers, HIGH_OFFSET);
    }
}
