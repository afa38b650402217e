//! What a coder has come to, as numbers in a row: both bands, and the samples that the filters depend on.

use super::band::{High, Low, NUMBERS};
use super::qmf::{Line, PAST};
use super::{Decoder, Encoder};

/// Numbers of a state, filled up to whole vectors.
pub(in crate::codec) const STATE: usize = (2 * NUMBERS + PAST).next_multiple_of(16);

impl Encoder {
    /// Everything that the next code depends on.
    pub(in crate::codec) fn state(&self) -> [i16; STATE] {
        state(&self.low, &self.high, &self.split.0)
    }

    /// Goes on from another's state.
    pub(in crate::codec) fn set_state(&mut self, state: &[i16; STATE]) {
        set_state(&mut self.low, &mut self.high, &mut self.split.0, state);
    }
}

impl Decoder {
    /// Everything that the next samples depend on.
    pub(in crate::codec) fn state(&self) -> [i16; STATE] {
        state(&self.low, &self.high, &self.join.0)
    }

    /// Goes on from another's state.
    pub(in crate::codec) fn set_state(&mut self, state: &[i16; STATE]) {
        set_state(&mut self.low, &mut self.high, &mut self.join.0, state);
    }
}

fn state(low: &Low, high: &High, line: &Line) -> [i16; STATE] {
    let mut state = [0; STATE];
    state[..NUMBERS].copy_from_slice(&low.state());
    state[NUMBERS..2 * NUMBERS].copy_from_slice(&high.state());
    state[2 * NUMBERS..][..PAST].copy_from_slice(line.past());
    state
}

fn set_state(low: &mut Low, high: &mut High, line: &mut Line, state: &[i16; STATE]) {
    if let [of_low, of_high, ..] = state.as_chunks::<NUMBERS>().0 {
        low.set_state(of_low);
        high.set_state(of_high);
    }
    line.past_mut().copy_from_slice(&state[2 * NUMBERS..][..PAST]);
}
