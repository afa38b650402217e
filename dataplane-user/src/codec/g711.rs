//! G.711 (ITU-T G.711): µ-law and A-law, 8 kHz, one byte a sample.
//!
//! Linear samples are 16 bit, the code's 14 (µ-law) or 13 (A-law) bits left-aligned. Single samples are looked up in
//! tables made at compile time from the definition. Packets are worked out many samples at once: a code is a small
//! floating-point number, sign, exponent and mantissa, so the processor's own conversions do most of it. Tests hold both
//! against each other and against the reference, for every sample and code.

use super::wide::widest;

/// Bytes of a millisecond, in either law.
pub const BYTES_A_MILLISECOND: usize = 8;

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

/// Samples that are worked out together.
const GROUP: usize = 32;

/// Encodes as many samples in µ-law as there is room for.
pub fn encode_ulaw(samples: &[i16], codes: &mut [u8]) {
    in_groups(samples, codes, ulaw_group, linear_to_ulaw);
}

/// Encodes as many samples in A-law as there is room for.
pub fn encode_alaw(samples: &[i16], codes: &mut [u8]) {
    in_groups(samples, codes, alaw_group, linear_to_alaw);
}

/// Decodes as many µ-law samples as there is room for.
pub fn decode_ulaw(codes: &[u8], samples: &mut [i16]) {
    in_groups(codes, samples, linear_group_of_ulaw, ulaw_to_linear);
}

/// Decodes as many A-law samples as there is room for.
pub fn decode_alaw(codes: &[u8], samples: &mut [i16]) {
    in_groups(codes, samples, linear_group_of_alaw, alaw_to_linear);
}

/// Whole groups by the one, what is left by the other.
#[inline(always)]
fn in_groups<F: Copy, T>(
    from: &[F],
    to: &mut [T],
    group: impl Fn(&[F; GROUP], &mut [T; GROUP]),
    single: impl Fn(F) -> T,
) {
    let length = from.len().min(to.len());
    let (groups, rest) = from[..length].as_chunks::<GROUP>();
    let (made, rest_made) = to[..length].as_chunks_mut::<GROUP>();
    widest(|| {
        for (from, to) in groups.iter().zip(made) {
            group(from, to);
        }
    });
    for (from, to) in rest.iter().zip(rest_made) {
        *to = single(*from);
    }
}

/// Bits of a float's mantissa below the four that a code keeps.
const BELOW: u32 = 19;
/// The exponent of 32, the least biased magnitude, above the bits of a code's step.
const LEAST: i16 = (127 + 5) << 4;
/// A float's mantissa begins at one here: adding it leaves a whole number in the lowest bits.
const WHOLE: f32 = (1 << 23) as f32;
/// The bits of a float that is 2^7, four times 32, and half a step: what a code's seven bits are added to.
const DECODED: u32 = (127 + 7) << 23 | 1 << (BELOW - 1);

#[inline(always)]
fn ulaw_group(samples: &[i16; GROUP], codes: &mut [u8; GROUP]) {
    for (code, sample) in codes.iter_mut().zip(samples) {
        let biased = (sample >> 2).abs().min(8158) + ULAW_BIAS as i16;
        let magnitude = (f32::from(biased).to_bits() >> BELOW) as i16 - LEAST;
        // All bits are turned.
        *code = (255 - magnitude - ((sample >> 15) & 0x80)) as u8;
    }
}

#[inline(always)]
fn alaw_group(samples: &[i16; GROUP], codes: &mut [u8; GROUP]) {
    for (code, sample) in codes.iter_mut().zip(samples) {
        let sign = sample >> 15;
        // Eighths, as the three lowest bits do not count.
        let eighths = sample ^ sign;
        // The lowest segment has the steps of the next, and no exponent: it is counted from there.
        let above = (f32::from(eighths.max(8 * 32)).to_bits() >> BELOW) as i16 - (LEAST + (3 << 4));
        let magnitude = above + (eighths.min(8 * 32) >> 4);
        // Every other bit is turned.
        *code = (magnitude ^ 0xd5 ^ (sign & 0x80)) as u8;
    }
}

#[inline(always)]
fn linear_group_of_ulaw(codes: &[u8; GROUP], samples: &mut [i16; GROUP]) {
    for (sample, code) in samples.iter_mut().zip(codes) {
        let code = !code;
        let sign = i16::from(code as i8 >> 7);
        let biased = f32::from_bits((u32::from(code & 0x7f) << BELOW) + DECODED);
        let magnitude = (biased + (WHOLE - 4.0 * ULAW_BIAS as f32)).to_bits() as i16;
        *sample = (magnitude ^ sign).wrapping_sub(sign);
    }
}

#[inline(always)]
fn linear_group_of_alaw(codes: &[u8; GROUP], samples: &mut [i16; GROUP]) {
    for (sample, code) in samples.iter_mut().zip(codes) {
        let code = code ^ 0x55;
        let sign = !i16::from(code as i8 >> 7);
        let code = code & 0x7f;
        // As when encoding: the lowest segment is counted from the next.
        let above = f32::from_bits((u32::from(code.max(16)) << BELOW) + DECODED);
        let magnitude = ((above + (WHOLE - 256.0)).to_bits() as i16).wrapping_add(i16::from(code.min(16)) << 4);
        *sample = (magnitude ^ sign).wrapping_sub(sign);
    }
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
    fn groups_are_coded_as_their_samples() {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let codes: Vec<u8> = (0..=255).collect();
        type Encode = (fn(&[i16], &mut [u8]), fn(i16) -> u8);
        for (encode, single) in [(encode_ulaw, linear_to_ulaw), (encode_alaw, linear_to_alaw)] as [Encode; 2] {
            // One more or less than whole groups, too.
            for length in [samples.len(), 33, 31, 0] {
                let mut coded = vec![0; length];
                encode(&samples, &mut coded);
                assert!(
                    coded
                        .iter()
                        .zip(&samples)
                        .all(|(code, sample)| *code == single(*sample))
                );
            }
        }
        type Decode = (fn(&[u8], &mut [i16]), fn(u8) -> i16);
        for (decode, single) in [(decode_ulaw, ulaw_to_linear), (decode_alaw, alaw_to_linear)] as [Decode; 2] {
            let mut decoded = vec![0; codes.len()];
            decode(&codes, &mut decoded);
            assert!(
                decoded
                    .iter()
                    .zip(&codes)
                    .all(|(sample, code)| *sample == single(*code))
            );
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
