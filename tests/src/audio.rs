//! Tones made and recognised, at 8 kHz.

use std::f64::consts::TAU;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Samples a second.
pub const RATE: u32 = 8000;

/// Samples looked at together: 50 ms, whole periods of every multiple of 20 Hz.
const WINDOW: usize = 400;

/// RMS of a window below which it is silence: about -50 dBm0.
const SILENCE: f64 = 50.0;

/// A sine at a level far from both noise and clipping.
pub fn tone(frequency: u32, milliseconds: u32) -> Vec<i16> {
    let step = TAU * f64::from(frequency) / f64::from(RATE);
    // The product is within ±8000, so the cast is exact but for rounding.
    (0..RATE / 1000 * milliseconds)
        .map(|n| (8000.0 * (step * f64::from(n)).sin()) as i16)
        .collect()
}

/// How much of the sound is a tone of this frequency, 0 to 1, and how long the sound lasts.
///
/// Silent windows are left out; gaps and phase jumps between windows do not count.
pub fn purity(samples: &[i16], frequency: u32) -> Sound {
    let windows: Vec<f64> = samples
        .chunks_exact(WINDOW)
        .filter_map(|window| {
            let energy: f64 = window.iter().map(|&sample| f64::from(sample).powi(2)).sum();
            let loud = (energy / WINDOW as f64).sqrt() > SILENCE;
            loud.then(|| 2.0 * goertzel(window, frequency) / (energy * WINDOW as f64))
        })
        .collect();
    let seconds = windows.len() as f64 * WINDOW as f64 / f64::from(RATE);
    let share = windows.iter().sum::<f64>() / windows.len().max(1) as f64;
    Sound { seconds, share }
}

/// How often a tone of this frequency breaks off: windows amid the sound that are less than pure, or that do not go on
/// where the one before has ended, because something is missing, or is there twice. Frequencies for which a packet of 20 ms
/// is not whole periods show it.
pub fn breaks(samples: &[i16], frequency: u32) -> usize {
    let windows: Vec<&[i16]> = samples.chunks_exact(WINDOW).collect();
    let loud = |window: &&[i16]| phase(window, frequency, 0).is_some();
    let Some((first, last)) = windows.iter().position(loud).zip(windows.iter().rposition(loud)) else {
        return 0;
    };
    // The sound begins somewhere in the first loud window. What is heard after its last packet is made up and fades within
    // 60 ms: two windows more, at most.
    let Some(amid) = windows.get(first + 1..last.saturating_sub(2)) else {
        return 0;
    };
    let impure = amid.iter().filter(|window| purity(window, frequency).share < PURE);
    let phases: Vec<f64> = amid
        .iter()
        .enumerate()
        .filter_map(|(number, window)| phase(window, frequency, number * WINDOW))
        .collect();
    let jumps = phases.windows(2).filter(|pair| {
        let turn = pair[1] - pair[0];
        ((turn + TAU / 2.0).rem_euclid(TAU) - TAU / 2.0).abs() > BREAK
    });
    impure.count() + jumps.count()
}

/// Share of a tone that G.711 leaves pure.
const PURE: f64 = 0.95;

/// Turn of the phase, radians, that is a break: 1 ms of 300 Hz.
const BREAK: f64 = 0.3;

/// Phase of a tone in a window that begins at a sample of the recording, unless the window is silent.
fn phase(window: &[i16], frequency: u32, begin: usize) -> Option<f64> {
    let step = TAU * f64::from(frequency) / f64::from(RATE);
    let energy: f64 = window.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    if (energy / WINDOW as f64).sqrt() <= SILENCE {
        return None;
    }
    let (sine, cosine) = window
        .iter()
        .enumerate()
        .fold((0.0, 0.0), |(sine, cosine), (n, &sample)| {
            let angle = step * (begin + n) as f64;
            (
                sine + f64::from(sample) * angle.sin(),
                cosine + f64::from(sample) * angle.cos(),
            )
        });
    Some(cosine.atan2(sine))
}

/// Sound found in a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sound {
    /// Its length without the silence.
    pub seconds: f64,
    /// Part of its energy that lies in the tone, 0 to 1.
    pub share: f64,
}

/// Energy at one frequency: the squared magnitude of that bin of the discrete Fourier transform.
fn goertzel(samples: &[i16], frequency: u32) -> f64 {
    let coefficient = 2.0 * (TAU * f64::from(frequency) / f64::from(RATE)).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in samples {
        let next = f64::from(sample) + coefficient * last - before;
        (before, last) = (last, next);
    }
    last * last + before * before - coefficient * last * before
}

/// Reads a WAV file of 16-bit samples; the first channel, every n-th sample where the rate is n times 8 kHz.
///
/// # Errors
/// If the file is missing or of another kind.
pub fn read_wav(file: &Path) -> Result<Vec<i16>> {
    let mut reader = hound::WavReader::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let format = reader.spec();
    ensure!(
        format.sample_rate.is_multiple_of(RATE),
        "{}: {} Hz",
        file.display(),
        format.sample_rate
    );
    let step = format.sample_rate / RATE * u32::from(format.channels);
    let samples = reader.samples::<i16>().step_by(usize::try_from(step)?);
    samples
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot read {}", file.display()))
}

/// Writes a WAV file of 16-bit samples, 8 kHz, one channel.
///
/// # Errors
/// If it cannot be written.
pub fn write_wav(file: &Path, samples: &[i16]) -> Result<()> {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file, format)?;
    for &sample in samples {
        writer.write_sample(sample)?;
    }
    Ok(writer.finalize()?)
}

/// One sample as G.711 µ-law (ITU-T G.711 table 2), by the textbook's segments.
pub fn to_ulaw(sample: i16) -> u8 {
    const BIAS: i32 = 132;
    let magnitude = i32::from(sample).abs().min(32_635) + BIAS;
    // With the bias the highest set bit is 7 to 14, which makes segments 0 to 7.
    let segment = magnitude.ilog2() - 7;
    let mantissa = (magnitude >> (segment + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    // Sign, segment and mantissa are 1, 3 and 4 bits.
    !(sign | (segment as u8) << 4 | mantissa as u8)
}

/// One G.711 µ-law byte as a sample.
pub fn from_ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (((i16::from(byte & 0x0f) << 3) + 132) << ((byte >> 4) & 7)) - 132;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_pure_and_another_is_not_it() {
        let samples = tone(440, 1000);
        let sound = purity(&samples, 440);
        assert!(sound.share > 0.99, "{sound:?}");
        assert_eq!(sound.seconds, 1.0);
        assert!(purity(&samples, 1000).share < 0.01);
    }

    #[test]
    fn a_packet_that_is_missing_or_there_twice_breaks_a_tone() {
        let whole = tone(440, 2000);
        assert_eq!(breaks(&whole, 440), 0);
        let missing = [&whole[..8000], &whole[8160..]].concat();
        let twice = [&whole[..8000], &whole[7840..]].concat();
        let silent = [&whole[..8000], &[0; 160], &whole[8160..]].concat();
        for broken in [missing, twice, silent] {
            assert!(breaks(&broken, 440) > 0);
        }
        let begins = [&[0; 100], &whole[..], &[0; 4000]].concat();
        assert_eq!(breaks(&begins, 440), 0);
    }

    #[test]
    fn silence_has_no_length() {
        assert_eq!(
            purity(&[0; 8000], 440),
            Sound {
                seconds: 0.0,
                share: 0.0
            }
        );
    }

    #[test]
    fn ulaw_there_and_back_stays_near() {
        for sample in (-32_000i16..=32_000).step_by(7) {
            let back = from_ulaw(to_ulaw(sample));
            let error = (i32::from(sample) - i32::from(back)).abs();
            assert!(
                error <= 4 + i32::from(sample).abs() / 16,
                "{sample} came back as {back}"
            );
        }
        assert_eq!(to_ulaw(0), 0xff);
        assert_eq!(from_ulaw(0xff), 0);
        assert_eq!(from_ulaw(0x00), -32_124);
    }
}
