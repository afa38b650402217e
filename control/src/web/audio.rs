//! From a file to samples: WAV of PCM, A-law or µ-law becomes 8 kHz µ-law.

use std::io::Cursor;
use std::sync::Arc;

use hound::{SampleFormat, WavReader, WavSpec};
use voxlane_dataplane::codec::g711::{alaw_to_linear, linear_to_ulaw};
use voxlane_dataplane::codec::resample::{Rate, Resampler};

/// Formats of the `fmt ` chunk that hound does not read (RFC 2361).
const ALAW: u16 = 6;
const ULAW: u16 = 7;

const EXPECTED: &str = "make it a WAV file of 8000, 16000, 24000 or 48000 Hz, 16 bit, or of 8000 Hz in A-law or u-law";

/// Reads a file.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn ulaw(file: &[u8]) -> Result<Arc<[u8]>, String> {
    match Chunks::of(file)?.g711() {
        Some(companded) => companded,
        None => pcm(file),
    }
}

fn pcm(file: &[u8]) -> Result<Arc<[u8]>, String> {
    let unreadable = |error: hound::Error| format!("the file cannot be read: {error}; {EXPECTED}");
    let mut reader = WavReader::new(Cursor::new(file)).map_err(unreadable)?;
    let spec = reader.spec();
    let wrong = || {
        let WavSpec {
            channels,
            sample_rate,
            bits_per_sample,
            ..
        } = spec;
        format!("the file has {sample_rate} Hz, {channels} channels, {bits_per_sample} bit; {EXPECTED}")
    };
    let rate = Rate::of_hz(spec.sample_rate).ok_or_else(wrong)?;
    let shift = match (spec.sample_format, spec.bits_per_sample) {
        (SampleFormat::Int, bits @ (8 | 16 | 24 | 32)) => i32::from(bits) - 16,
        (SampleFormat::Int | SampleFormat::Float, _) => return Err(wrong()),
    };
    let channels = usize::from(spec.channels.max(1));
    let scaled = |sample: i32| match shift {
        ..0 => sample << -shift,
        _ => sample >> shift,
    };
    let samples: Vec<i32> = reader
        .samples::<i32>()
        .map(|sample| sample.map(scaled))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    // Several channels are one of them all.
    let mono: Vec<i16> = samples
        .chunks_exact(channels)
        .map(|together| (together.iter().map(|&sample| i64::from(sample)).sum::<i64>() / channels as i64) as i16)
        .collect();
    let mut made = Vec::with_capacity(mono.len());
    match rate {
        Rate::Khz8 => made.extend(mono.iter().map(|&sample| linear_to_ulaw(sample))),
        _ => Resampler::new(rate, Rate::Khz8).run(&mono, |some| {
            made.extend(some.iter().map(|&sample| linear_to_ulaw(sample)))
        }),
    }
    Ok(made.into())
}

/// The chunks of a RIFF file that matter.
struct Chunks<'a> {
    format: &'a [u8],
    data: &'a [u8],
}

impl<'a> Chunks<'a> {
    fn of(file: &'a [u8]) -> Result<Self, String> {
        let not_wav = || format!("the file is no WAV file; {EXPECTED}");
        let is_wav = file.get(..4) == Some(b"RIFF") && file.get(8..12) == Some(b"WAVE");
        if !is_wav {
            return Err(not_wav());
        }
        let mut rest = &file[12..];
        let (mut format, mut data) = (None, None);
        while let Some((head, behind)) = rest.split_first_chunk::<8>() {
            let [a, b, c, d, length @ ..] = *head;
            // Who streams a file does not know how long it will be.
            let length = (u32::from_le_bytes(length) as usize).min(behind.len());
            let (chunk, after) = behind.split_at(length);
            match &[a, b, c, d] {
                b"fmt " => format = Some(chunk),
                b"data" => data = Some(chunk),
                _ => {}
            }
            // A chunk of odd length is padded.
            rest = after.get(length % 2..).unwrap_or_default();
        }
        Ok(Self {
            format: format.ok_or_else(not_wav)?,
            data: data.ok_or_else(not_wav)?,
        })
    }

    /// The samples, if they are A-law or µ-law.
    fn g711(&self) -> Option<Result<Arc<[u8]>, String>> {
        let word = |at: usize| Some(u16::from_le_bytes([*self.format.get(at)?, *self.format.get(at + 1)?]));
        let kind = word(0).filter(|kind| matches!(*kind, ALAW | ULAW))?;
        let hertz = u32::from(word(4)?) | u32::from(word(6)?) << 16;
        match (kind, word(2), hertz) {
            (ULAW, Some(1), 8000) => Some(Ok(self.data.into())),
            (_, Some(1), 8000) => {
                let ulaw = |&byte: &u8| linear_to_ulaw(alaw_to_linear(byte));
                Some(Ok(self.data.iter().map(ulaw).collect()))
            }
            (_, channels, _) => {
                let channels = channels.unwrap_or_default();
                Some(Err(format!(
                    "the file has {hertz} Hz, {channels} channels, 8 bit companded; {EXPECTED}"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softphone::audio::{analyse, tone};
    use voxlane_dataplane::codec::g711::{linear_to_alaw, ulaw_to_linear};

    fn wav(rate: u32, channels: u16, bits: u16, samples: impl Iterator<Item = i32>) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let spec = WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: bits,
            sample_format: SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        samples.for_each(|sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        file.into_inner()
    }

    fn sine(rate: u32) -> impl Iterator<Item = f64> {
        (0..2 * rate).map(move |n| (std::f64::consts::TAU * 1004.0 * f64::from(n) / f64::from(rate)).sin())
    }

    fn frequency(file: &[u8]) -> Option<f64> {
        let samples: Vec<i16> = ulaw(file).unwrap().iter().map(|&byte| ulaw_to_linear(byte)).collect();
        assert_eq!(samples.len(), 16_000);
        analyse(&samples, None).frequency_hz
    }

    #[test]
    fn every_kind_of_file_is_the_same_sound() {
        for rate in [8000, 16_000, 24_000, 48_000] {
            for (bits, peak) in [(8, 60.0), (16, 8000.0), (24, 2_000_000.0), (32, 500_000_000.0)] {
                let mono = wav(rate, 1, bits, sine(rate).map(|sample| (peak * sample) as i32));
                assert_eq!(frequency(&mono), Some(1004.0), "{rate} Hz, {bits} bit");
            }
            let both = sine(rate).flat_map(|sample| [(8000.0 * sample) as i32; 2]);
            assert_eq!(frequency(&wav(rate, 2, 16, both)), Some(1004.0), "{rate} Hz, stereo");
        }
    }

    /// A file as sox writes it: `fmt ` of 18 bytes, a `fact` chunk, then `data`.
    fn companded(kind: u16, channels: u16, hertz: u32, data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0".to_vec();
        for word in [
            kind,
            channels,
            hertz as u16,
            (hertz >> 16) as u16,
            hertz as u16,
            0,
            1,
            8,
            0,
        ] {
            file.extend(word.to_le_bytes());
        }
        file.extend(b"fact\x04\0\0\0\0\0\0\0data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn companded_files_are_read() {
        let sound = &tone(1004, 2.0)[..];
        let coded: Vec<u8> = sound.iter().map(|&sample| linear_to_ulaw(sample)).collect();
        assert_eq!(&*ulaw(&companded(7, 1, 8000, &coded)).unwrap(), &coded[..]);
        let coded: Vec<u8> = sound.iter().map(|&sample| linear_to_alaw(sample)).collect();
        assert_eq!(frequency(&companded(6, 1, 8000, &coded)), Some(1004.0));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let stereo = wav(44_100, 2, 16, std::iter::repeat_n(0, 100));
        for (file, expected) in [
            (&b"ID3\x04"[..], "the file is no WAV file; "),
            (&b"RIFF\0\0\0\0WAVEfmt "[..], "the file is no WAV file; "),
            (&stereo, "the file has 44100 Hz, 2 channels, 16 bit; "),
            (
                &companded(7, 2, 8000, &[0; 8]),
                "the file has 8000 Hz, 2 channels, 8 bit companded; ",
            ),
        ] {
            let said = ulaw(file).unwrap_err();
            assert!(said.starts_with(expected) && said.ends_with(EXPECTED), "{said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(mut file in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), wav in proptest::prelude::any::<bool>()) {
            if wav {
                file.splice(0..0, companded(1, 1, 8000, &[]));
            }
            let _ = ulaw(&file);
        }
    }
}
