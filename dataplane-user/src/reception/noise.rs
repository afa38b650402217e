//! Comfort noise (RFC 3389): what is heard while the far end sends nothing because nobody speaks there.

/// Most reflection coefficients that are used (RFC 3389 section 3 leaves the order open; senders have ten or so).
const ORDER: usize = 12;

/// Noise as the far end has described it last.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    /// Root mean square of the excitation.
    gain: f32,
    reflection: [f32; ORDER],
    state: [f32; ORDER],
    seed: u32,
}

impl Noise {
    /// The noise a comfort noise packet describes; `None` if it is empty.
    pub(crate) fn of(payload: &[u8]) -> Option<Self> {
        let [level, coefficients @ ..] = payload else {
            return None;
        };
        // -dBov, seven bits (section 3.1).
        let level = i32::from(level & 0x7f);
        let mut reflection = [0.0; ORDER];
        let mut left = 1.0f32;
        for (to, from) in reflection.iter_mut().zip(coefficients) {
            // Section 3.2: 127 is zero, and a step 258/32768.
            *to = (f32::from(*from) - 127.0) * 258.0 / 32768.0;
            left *= 1.0 - *to * *to;
        }
        Some(Self {
            gain: 32768.0 * 10f32.powf(-level as f32 / 20.0) * left.max(0.0).sqrt(),
            reflection,
            state: [0.0; ORDER],
            seed: 0x2545_f491,
        })
    }

    /// Goes on as another describes it, without a joint.
    pub(crate) fn go_on(&mut self, other: &Self) {
        (self.gain, self.reflection) = (other.gain, other.reflection);
    }

    /// The next sample.
    pub(crate) fn next(&mut self) -> i16 {
        // Sum of two uniform ones, of variance 1.
        let mut signal = (self.uniform() + self.uniform()) * 1.224_744_9 * self.gain;
        // All-pole lattice: from the last section to the first.
        for section in (0..ORDER).rev() {
            let reflection = self.reflection[section];
            signal -= reflection * self.state[section];
            let backward = self.state[section] + reflection * signal;
            if section + 1 < ORDER {
                self.state[section + 1] = backward;
            }
        }
        self.state[0] = signal;
        // A cast from float saturates.
        signal as i16
    }

    /// From -1 to 1.
    fn uniform(&mut self) -> f32 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        (self.seed as i32) as f32 / 2_147_483_648.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(payload: &[u8]) -> f64 {
        let mut noise = Noise::of(payload).unwrap();
        let energy: f64 = (0..16_000).map(|_| f64::from(noise.next()).powi(2)).sum();
        20.0 * ((energy / 16_000.0).sqrt() / 32768.0).log10()
    }

    #[test]
    fn it_is_as_loud_as_described() {
        for loudness in [30, 50, 65] {
            assert!(
                (level(&[loudness]) + f64::from(loudness)).abs() < 0.7,
                "{}",
                level(&[loudness])
            );
            // Coloured noise, too.
            let coloured = [loudness, 60, 150, 127, 120];
            assert!(
                (level(&coloured) + f64::from(loudness)).abs() < 1.0,
                "{}",
                level(&coloured)
            );
        }
        assert!(level(&[127]) < -90.0);
    }

    #[test]
    fn nothing_a_packet_holds_is_too_much() {
        assert!(Noise::of(&[]).is_none());
        for byte in 0..=255 {
            let mut noise = Noise::of(&[byte; 40]).unwrap();
            (0..2000).for_each(|_| {
                noise.next();
            });
        }
    }
}
