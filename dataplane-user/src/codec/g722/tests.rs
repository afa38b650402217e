//! The ITU's own test sequences may not be passed on, so the expected values here were made with its reference software
//! (G.191, the software tool library's G.722, functions `lsbcod`, `hsbcod`, `lsbdec`, `hsbdec`, `qmf_tx` and `qmf_rx`)
//! from input that anybody can make again by the rules below: noise at four levels, square waves up to full scale, a saw
//! tooth, impulses, silence; and codes that no encoder sends. 20 MB of random samples and as many random codes came out
//! the same, too. ffmpeg and spandsp agree with both on speech, but not on overload, where they leave out saturation.

use proptest::prelude::*;

use super::{Decoder, Encoder};

/// Random numbers as everybody's textbook has them, the upper 16 bits.
fn noise(seed: u32) -> impl FnMut() -> u16 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u16
    }
}

fn signal() -> Vec<i16> {
    const PART: usize = 4000;
    let mut samples = Vec::new();
    let mut random = noise(722);
    for shift in [0, 3, 6, 10] {
        samples.extend((0..PART).map(|_| random() as i16 >> shift));
    }
    for (period, amplitude) in [(10, 32_767), (3, 20_000), (250, 32_767)] {
        let square = |n: usize| {
            if (n / period).is_multiple_of(2) {
                amplitude
            } else {
                -amplitude
            }
        };
        samples.extend((0..PART).map(square));
    }
    samples.extend((0..PART).map(|n| (n * 397) as u16 as i16));
    samples.extend((0..PART).map(|n| if n.is_multiple_of(97) { i16::MIN } else { 0 }));
    samples.extend([0; PART]);
    samples
}

/// Random codes, then each of 200 a hundred times in a row.
fn codes() -> Vec<u8> {
    let mut random = noise(191);
    let mut codes: Vec<u8> = (0..16_000).map(|_| random() as u8).collect();
    for _ in 0..200 {
        codes.extend([random() as u8; 100]);
    }
    codes
}

/// CRC-32 of IEEE 802.3, as `cksum -a crc32b` and zlib have it.
fn crc(bytes: impl IntoIterator<Item = u8>) -> u32 {
    !bytes.into_iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 0 { 0 } else { 0xedb8_8320 }
        })
    })
}

fn encoded(samples: &[i16]) -> Vec<u8> {
    let mut codes = vec![0; samples.len() / 2];
    assert_eq!(Encoder::new().encode(samples, &mut codes), codes.len());
    codes
}

fn decoded(codes: &[u8]) -> Vec<i16> {
    let mut samples = vec![0; 2 * codes.len()];
    assert_eq!(Decoder::new().decode(codes, &mut samples), samples.len());
    samples
}

fn bytes(samples: &[i16]) -> impl Iterator<Item = u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes())
}

#[test]
fn the_encoder_is_bit_exact_with_the_reference() {
    let codes = encoded(&signal());
    assert_eq!(codes[..8], [0x22, 0x84, 0x20, 0x84, 0x20, 0x84, 0x1a, 0xa8]);
    assert_eq!(crc(codes), 0x57b9_c342);
}

#[test]
fn the_decoder_is_bit_exact_with_the_reference() {
    let samples = decoded(&encoded(&signal()));
    assert_eq!(samples[30..38], [-4732, 9008, 17_083, 13_390, 1866, -6806, -3222, 8975]);
    assert_eq!(crc(bytes(&samples)), 0xe23b_8cef);
    assert_eq!(crc(bytes(&decoded(&codes()))), 0xc0d2_56b6);
}

#[test]
fn a_tone_comes_back_as_it_was() {
    let tone = |n: usize| (8000.0 * (std::f64::consts::TAU * 1004.0 / 16_000.0 * n as f64).sin()) as i16;
    let sent: Vec<i16> = (0..16_000).map(tone).collect();
    let heard = decoded(&encoded(&sent));
    // The two filters delay it by 22 samples.
    let pairs = sent[1000..15_000].iter().zip(&heard[1022..15_022]);
    let (signal, error) = pairs.fold((0.0, 0.0), |(signal, error), (sent, heard)| {
        let (sent, heard) = (f64::from(*sent), f64::from(*heard));
        (signal + sent * sent, error + (sent - heard).powi(2))
    });
    let ratio = 10.0 * f64::log10(signal / error);
    assert!(ratio > 35.0, "{ratio:.1} dB");
}

#[test]
fn what_has_no_room_or_no_second_is_left_out() {
    assert_eq!(Encoder::new().encode(&[1, 2, 3], &mut [0; 9]), 1);
    assert_eq!(Encoder::new().encode(&[0; 320], &mut [0; 7]), 7);
    assert_eq!(Decoder::new().decode(&[0; 9], &mut [0; 7]), 6);
    assert_eq!(Decoder::new().decode(&[], &mut []), 0);
}

proptest! {
    /// Whatever comes in pieces of whatever size is coded as one.
    #[test]
    fn pieces_are_coded_as_the_whole(
        samples in prop::collection::vec(any::<i16>(), 0..800),
        sizes in prop::collection::vec(0usize..200, 1..20),
    ) {
        let samples = &samples[..samples.len() / 2 * 2];
        let whole = encoded(samples);
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let (mut codes, mut heard) = (Vec::new(), Vec::new());
        let (mut rest, mut sizes) = (samples, sizes.into_iter().cycle());
        let mut left = 100;
        while !rest.is_empty() {
            left -= 1;
            let size = if left > 0 { sizes.next().unwrap_or(400).min(rest.len() / 2) } else { rest.len() / 2 };
            let (piece, after) = rest.split_at(2 * size);
            let mut coded = vec![0; size];
            encoder.encode(piece, &mut coded);
            let mut back = vec![0; 2 * size];
            decoder.decode(&coded, &mut back);
            codes.extend(coded);
            heard.extend(back);
            rest = after;
        }
        prop_assert_eq!(&codes, &whole);
        prop_assert_eq!(heard, decoded(&whole));
    }
}

/// Every kind of sound and of code in another order in each lane, in pieces: what was made of one by itself is bit exact
/// with the reference.
#[cfg(target_arch = "x86_64")]
#[test]
fn lanes_are_coded_as_each_by_itself() {
    use super::lanes::{BLOCK, check};

    if !std::arch::is_x86_feature_detected!("avx2") {
        return;
    }
    let turned = |lane: usize| {
        let (mut samples, mut codes) = (signal(), codes());
        samples.rotate_left(lane * 2500);
        codes.rotate_left(lane * 2123);
        (samples, codes)
    };
    let streams: [_; 16] = std::array::from_fn(turned);
    for size in [BLOCK, 37] {
        let (made, heard) = check(&streams, size);
        for ((samples, codes), (made, heard)) in streams.iter().zip(made.iter().zip(&heard)) {
            assert!(*made == encoded(samples)[..made.len()]);
            assert!(*heard == decoded(codes)[..heard.len()]);
        }
    }
}
