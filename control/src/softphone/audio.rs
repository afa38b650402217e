//! What the softphone plays, and what can be said of what it heard.

use std::f64::consts::TAU;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;
use voxlane_dataplane::codec::resample::{Rate, Resampler};

/// Samples a second.
pub const RATE: usize = 8000;
/// Silence before a tone, so that its start can be found in what comes back.
pub const LEAD_IN: usize = RATE / 2;
/// Level of a played tone.
const TONE_DBM0: f64 = -10.0;
/// A sine of the largest amplitude that µ-law can code has this level (ITU-T G.711 section 4).
const FULL_SCALE_DBM0: f64 = 3.17;
/// That amplitude, in 16-bit samples.
const FULL_SCALE: f64 = 32_124.0;
/// Below this nothing was heard.
const SILENCE_DBM0: f64 = -55.0;

/// What was heard.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Heard {
    /// The strongest frequency, Hz; `None` if there was silence.
    pub frequency_hz: Option<f64>,
    /// Level of the loudest second, dBm0.
    pub level_dbm0: Option<f64>,
    /// From a sample being sent to its coming back, if what came back is the tone that was sent.
    pub round_trip_ms: Option<f64>,
}

/// A sine after [`LEAD_IN`] of silence.
pub fn tone(frequency: u16, seconds: f64) -> Vec<i16> {
    let amplitude = FULL_SCALE * 10f64.powf((TONE_DBM0 - FULL_SCALE_DBM0) / 20.0);
    let length = (seconds * RATE as f64) as usize;
    let sample = |n: usize| (amplitude * (TAU * f64::from(frequency) * n as f64 / RATE as f64).sin()) as i16;
    std::iter::repeat_n(0, LEAD_IN)
        .chain((0..length.saturating_sub(LEAD_IN)).map(sample))
        .collect()
}

/// Reads a WAV file of 8, 16, 24 or 48 kHz, mono, 16 bit; what comes out has 8 kHz.
pub fn read(path: &Path) -> anyhow::Result<Vec<i16>> {
    let mut reader = hound::WavReader::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let spec = reader.spec();
    let rate = Rate::of_hz(spec.sample_rate).filter(|_| (spec.channels, spec.bits_per_sample) == (1, 16));
    let Some(rate) = rate else {
        bail!(
            "{} is {} Hz, {} channels, {} bit; make it 8000, 16000, 24000 or 48000 Hz, mono, 16 bit: \
             sox {0} -r 8000 -c 1 -b 16 out.wav",
            path.display(),
            spec.sample_rate,
            spec.channels,
            spec.bits_per_sample
        );
    };
    let samples: Vec<i16> = reader
        .samples::<i16>()
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot read {}", path.display()))?;
    if rate == Rate::Khz8 {
        return Ok(samples);
    }
    let mut narrow = Vec::with_capacity(samples.len());
    Resampler::new(rate, Rate::Khz8).run(&samples, |made| narrow.extend_from_slice(made));
    Ok(narrow)
}

/// Writes a WAV file: 8 kHz, mono, 16 bit.
pub fn write(path: &Path, samples: &[i16]) -> anyhow::Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let save = || {
        let mut writer = hound::WavWriter::create(path, spec)?;
        samples.iter().try_for_each(|&sample| writer.write_sample(sample))?;
        writer.finalize()
    };
    save().with_context(|| format!("cannot write {}", path.display()))
}

/// Analyses a recording; `sent` is the frequency that was played after [`LEAD_IN`], if any.
pub fn analyse(recording: &[i16], sent: Option<u16>) -> Heard {
    let Some(loudest) = loudest_second(recording) else {
        return Heard::default();
    };
    let level = level_dbm0(loudest);
    if level < SILENCE_DBM0 {
        return Heard::default();
    }
    let frequency = strongest_frequency(loudest);
    let round_trip_ms = sent
        .filter(|&sent| (f64::from(sent) - frequency).abs() < 5.0)
        .and_then(|sent| onset(recording, f64::from(sent), loudest))
        .and_then(|onset| onset.checked_sub(LEAD_IN))
        .map(|samples| samples as f64 * 1000.0 / RATE as f64);
    Heard {
        frequency_hz: Some((frequency * 10.0).round() / 10.0),
        level_dbm0: Some((level * 10.0).round() / 10.0),
        round_trip_ms,
    }
}

fn loudest_second(samples: &[i16]) -> Option<&[i16]> {
    let energy = |window: &&[i16]| window.iter().map(|&s| i64::from(s) * i64::from(s)).sum::<i64>();
    let window = RATE.min(samples.len());
    if window == 0 {
        return None;
    }
    samples.windows(window).step_by(RATE / 10).max_by_key(energy)
}

fn level_dbm0(samples: &[i16]) -> f64 {
    let mean = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len().max(1) as f64;
    20.0 * (mean.sqrt().max(1e-3) / (FULL_SCALE / 2f64.sqrt())).log10() + FULL_SCALE_DBM0
}

/// Power of one frequency (Goertzel's algorithm).
fn power(samples: &[i16], frequency: f64) -> f64 {
    let coefficient = 2.0 * (TAU * frequency / RATE as f64).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in samples {
        (last, before) = (f64::from(sample) + coefficient * last - before, last);
    }
    last * last + before * before - coefficient * last * before
}

fn strongest_frequency(samples: &[i16]) -> f64 {
    let strongest = |candidates: &mut dyn Iterator<Item = f64>| {
        candidates
            .map(|f| (f, power(samples, f)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(0.0, |(f, _)| f)
    };
    // A second of samples resolves 1 Hz; a shorter recording less.
    let coarse = strongest(&mut (50..3800).map(f64::from));
    strongest(&mut (-10..=10).map(|tenth| coarse + f64::from(tenth) / 10.0))
}

/// The first sample after which the tone has a good part of the level it reaches, to 5 ms.
fn onset(recording: &[i16], frequency: f64, loudest: &[i16]) -> Option<usize> {
    const WINDOW: usize = RATE / 100;
    let full =
        loudest.chunks_exact(WINDOW).map(|w| power(w, frequency)).sum::<f64>() / (loudest.len() / WINDOW).max(1) as f64;
    let (index, _) = recording
        .windows(WINDOW)
        .enumerate()
        .step_by(WINDOW / 20)
        .find(|(_, window)| power(window, frequency) > full / 4.0)?;
    // A quarter of the power is half of the amplitude: half of the window is tone.
    Some(index + WINDOW / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_heard_as_what_it_is() {
        let heard = analyse(&tone(1004, 3.0), Some(1004));
        assert_eq!(heard.frequency_hz, Some(1004.0));
        assert!((heard.level_dbm0.unwrap() - TONE_DBM0).abs() < 0.2, "{heard:?}");
        assert!(heard.round_trip_ms.unwrap() < 2.0, "{heard:?}");
    }

    #[test]
    fn a_file_of_another_rate_is_the_same_sound() {
        let directory = tempfile::tempdir().unwrap();
        for rate in [8000u32, 16_000, 24_000, 48_000] {
            let file = directory.path().join(format!("{rate}.wav"));
            let spec = hound::WavSpec {
                channels: 1,
                sample_rate: rate,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            };
            let mut writer = hound::WavWriter::create(&file, spec).unwrap();
            for n in 0..2 * rate {
                let sample = 8000.0 * (TAU * 1004.0 * f64::from(n) / f64::from(rate)).sin();
                writer.write_sample(sample as i16).unwrap();
            }
            writer.finalize().unwrap();
            let samples = read(&file).unwrap();
            assert_eq!(samples.len(), 2 * RATE);
            assert_eq!(analyse(&samples, None).frequency_hz, Some(1004.0), "{rate} Hz");
        }
    }

    #[test]
    fn delay_is_found() {
        let delayed: Vec<i16> = std::iter::repeat_n(0, 400).chain(tone(440, 2.0)).collect();
        let heard = analyse(&delayed, Some(440));
        assert!((heard.round_trip_ms.unwrap() - 50.0).abs() < 3.0, "{heard:?}");
    }

    #[test]
    fn another_tone_is_no_echo_and_silence_is_nothing() {
        assert_eq!(analyse(&tone(600, 2.0), Some(1004)).round_trip_ms, None);
        assert_eq!(analyse(&vec![3; 8000], Some(1004)), Heard::default());
        assert_eq!(analyse(&[], None), Heard::default());
    }
}
