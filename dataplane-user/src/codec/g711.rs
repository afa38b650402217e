//! G.711 (ITU-T G.711): µ-law and A-law, 8 kHz, one byte a sample.
//!
//! Linear samples are 16 bit, the code's 14 (µ-law) or 13 (A-law) bits left-aligned. Everything is a table made at
//! compile time from the definition; encoding looks up the upper 14 or 13 bits.

/// A sample of silence in µ-law.
pub const ULAW_SILENCE: u8 = 0xff;

/// A sample of silence in A-law.
pub const ALAW_SILENCE: u8 = 0xd5;

static ULAW_DECODE: [i16; 256] = decode_table(Law::Mu);
static ALAW_DECODE: [i16; 256] = decode_table(Law::A);
/// Indexed by the sample's upper 14 bits, sign first.
static ULAW_ENCODE: [u8; 1 << 14] = encode_table::<{ 1 << 14 }>(2, Law::Mu);
/// Indexed by the sample's upper 13 bits, sign first.
static ALAW_ENCODE: [u8; 1 << 13] = encode_table::<{ 1 << 13 }>(3, Law::A);
static ULAW_TO_ALAW: [u8; 256] = transcode_table(Law::Mu);
static ALAW_TO_ULAW: [u8; 256] = transcode_table(Law::A);

/// Decodes a µ-law sample.
pub fn ulaw_to_linear(code: u8) -> i16 {
    ULAW_DECODE[usize::from(code)]
}

/// Decodes an A-law sample.
pub fn alaw_to_linear(code: u8) -> i16 {
    ALAW_DECODE[usize::from(code)]
}

/// Encodes a sample in µ-law.
pub fn linear_to_ulaw(sample: i16) -> u8 {
    ULAW_ENCODE[usize::from(sample as u16 >> 2)]
}

/// Encodes a sample in A-law.
pub fn linear_to_alaw(sample: i16) -> u8 {
    ALAW_ENCODE[usize::from(sample as u16 >> 3)]
}

/// Turns A-law samples into µ-law, in place.
pub fn alaw_to_ulaw(samples: &mut [u8]) {
    for sample in samples {
        *sample = ALAW_TO_ULAW[usize::from(*sample)];
    }
}

/// Turns µ-law samples into A-law, in place.
pub fn ulaw_to_alaw(samples: &mut [u8]) {
    for sample in samples {
        *sample = ULAW_TO_ALAW[usize::from(*sample)];
    }
}

#[derive(Clone, Copy)]
enum Law {
    Mu,
    A,
}

impl Law {
    const fn decode(self, code: u8) -> i16 {
        match self {
            Self::Mu => ulaw_decode(code),
            Self::A => alaw_decode(code),
        }
    }

    const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => ulaw_encode(sample),
            Self::A => alaw_encode(sample),
        }
    }
}

/// Added to the magnitude, in 14-bit samples, so that every segment begins at a power of two.
const ULAW_BIAS: i32 = 33;

const fn ulaw_decode(code: u8) -> i16 {
    let code = !code;
    let (segment, step) = ((code >> 4) & 7, (code & 15) as i32);
    let magnitude = ((2 * step + ULAW_BIAS) << segment) - ULAW_BIAS;
    let sample = (magnitude << 2) as i16;
    if code & 0x80 != 0 { -sample } else { sample }
}

const fn ulaw_encode(sample: i16) -> u8 {
    // Towards minus infinity, as an arithmetic shift does; the clip is that of the largest code.
    let sample = (sample >> 2) as i32;
    let magnitude = if sample < 0 { -sample } else { sample };
    let biased = if magnitude > 8158 { 8158 } else { magnitude } + ULAW_BIAS;
    let segment = 31 - biased.leading_zeros() - 5;
    let step = (biased >> (segment + 1)) & 15;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | step as u8)
}

const fn alaw_decode(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = ((code >> 4) & 7, (code & 15) as i32);
    let magnitude = match segment {
        0 => 2 * step + 1,
        segment => (2 * step + 33) << (segment - 1),
    };
    let sample = (magnitude << 3) as i16;
    if code & 0x80 != 0 { sample } else { -sample }
}

const fn alaw_encode(sample: i16) -> u8 {
    let sample = (sample >> 3) as i32;
    // The complement, not the negative: the decision values of both signs lie alike around zero.
    let (sign, magnitude) = if sample < 0 { (0, -sample - 1) } else { (0x80, sample) };
    let segment = match magnitude {
        0..32 => 0,
        _ => 31 - magnitude.leading_zeros() as i32 - 4,
    };
    let step = (magnitude >> if segment < 2 { 1 } else { segment }) & 15;
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

const fn decode_table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = law.decode(code as u8);
        code += 1;
    }
    table
}

const fn encode_table<const LENGTH: usize>(shift: u32, law: Law) -> [u8; LENGTH] {
    let mut table = [0; LENGTH];
    let mut index = 0;
    while index < LENGTH {
        table[index] = law.encode(((index as u16) << shift) as i16);
        index += 1;
    }
    table
}

const fn transcode_table(from: Law) -> [u8; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let sample = from.decode(code as u8);
        table[code] = match from {
            Law::Mu => alaw_encode(sample),
            Law::A => ulaw_encode(sample),
        };
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The segment search of the widely used reference implementation (Sun Microsystems' g711.c), kept apart from the
    /// arithmetic above.
    fn segment(value: i32, ends: [i32; 8]) -> usize {
        ends.iter().position(|end| value <= *end).unwrap_or(8)
    }

    fn reference_ulaw(sample: i16) -> u8 {
        let mut value = i32::from(sample) >> 2;
        let mask = if value < 0 {
            value = -value;
            0x7f
        } else {
            0xff
        };
        value = value.min(8159) + 33;
        let ends = [0x3f, 0x7f, 0xff, 0x1ff, 0x3ff, 0x7ff, 0xfff, 0x1fff];
        match segment(value, ends) {
            8 => 0x7f ^ mask,
            found => ((found << 4) as u8 | ((value >> (found + 1)) & 0xf) as u8) ^ mask,
        }
    }

    fn reference_alaw(sample: i16) -> u8 {
        let mut value = i32::from(sample) >> 3;
        let mask = if value >= 0 {
            0xd5
        } else {
            value = -value - 1;
            0x55
        };
        let ends = [0x1f, 0x3f, 0x7f, 0xff, 0x1ff, 0x3ff, 0x7ff, 0xfff];
        let found = segment(value, ends);
        let step = if found < 2 { value >> 1 } else { value >> found };
        ((found << 4) as u8 | (step & 0xf) as u8) ^ mask
    }

    #[test]
    fn every_sample_is_coded_as_the_reference_codes_it() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(linear_to_ulaw(sample), reference_ulaw(sample), "µ-law of {sample}");
            assert_eq!(linear_to_alaw(sample), reference_alaw(sample), "A-law of {sample}");
        }
    }

    #[test]
    fn every_code_survives() {
        for code in 0..=u8::MAX {
            assert_eq!(linear_to_alaw(alaw_to_linear(code)), code);
            // µ-law has two zeros; the negative one comes back as the positive.
            let expected = if code == 0x7f { 0xff } else { code };
            assert_eq!(linear_to_ulaw(ulaw_to_linear(code)), expected);
        }
    }

    #[test]
    fn known_values() {
        assert_eq!([0xff, 0x80, 0x00, 0x7f].map(ulaw_to_linear), [0, 32_124, -32_124, 0]);
        assert_eq!([0xd5, 0x55, 0xaa, 0x2a].map(alaw_to_linear), [8, -8, 32_256, -32_256]);
    }

    #[test]
    fn transcoding_keeps_the_nearest_code() {
        let mut samples: Vec<u8> = (0..=255).collect();
        ulaw_to_alaw(&mut samples);
        for (ulaw, alaw) in (0..=255).zip(&samples) {
            assert_eq!(*alaw, linear_to_alaw(ulaw_to_linear(ulaw)));
        }
        alaw_to_ulaw(&mut samples);
        for (before, after) in (0..=255).zip(samples) {
            let error = (i32::from(ulaw_to_linear(before)) - i32::from(ulaw_to_linear(after))).abs();
            assert!(error <= 1024, "{before:#x} became {after:#x}");
        }
    }
}
