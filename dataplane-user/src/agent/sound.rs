//! Audio as bots want it, where that is not the 8 kHz µ-law of everything inside.

use crate::codec::g711::{alaw_to_ulaw, decode_ulaw, encode_ulaw, ulaw_to_alaw};
use crate::codec::resample::{Rate, Resampler};

/// Samples that are worked off together.
const BLOCK: usize = 80;

/// A buffer that a long message has made longer than this is given back after it: 1 s of linear samples at 16 kHz.
const KEPT: usize = 32 << 10;

/// Audio of one channel, without header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// G.711 µ-law at 8 kHz.
    Ulaw,
    /// G.711 A-law at 8 kHz.
    Alaw,
    /// Linear samples of 16 bits, the lower byte first.
    Linear(Rate),
}

impl Format {
    /// Bytes that a millisecond takes.
    pub const fn bytes_a_millisecond(self) -> usize {
        match self {
            Self::Ulaw | Self::Alaw => 8,
            Self::Linear(rate) => 2 * rate.samples_a_millisecond(),
        }
    }

    /// Samples a second.
    pub const fn hertz(self) -> usize {
        match self {
            Self::Ulaw | Self::Alaw => 8000,
            Self::Linear(rate) => 1000 * rate.samples_a_millisecond(),
        }
    }
}

/// Turns what is heard into what a bot wants. Nothing is allocated once it has turned a packet.
#[derive(Debug)]
pub struct ToBot {
    format: Format,
    resampler: Option<Resampler>,
    bytes: Vec<u8>,
}

impl ToBot {
    /// Audio from now on.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            resampler: resampler(format, Direction::ToBot),
            bytes: Vec::new(),
        }
    }

    /// The next of it; what comes out is as long, to a sample, as what goes in.
    pub fn turn<'a>(&'a mut self, ulaw: &'a [u8]) -> &'a [u8] {
        let Self {
            format,
            resampler,
            bytes,
        } = self;
        empty(bytes);
        match format {
            Format::Ulaw => return ulaw,
            Format::Alaw => {
                bytes.extend_from_slice(ulaw);
                ulaw_to_alaw(bytes);
            }
            Format::Linear(_) => {
                let mut samples = [0; BLOCK];
                for codes in ulaw.chunks(BLOCK) {
                    let samples = &mut samples[..codes.len()];
                    decode_ulaw(codes, samples);
                    let mut write =
                        |samples: &[i16]| bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
                    match resampler {
                        Some(resampler) => resampler.run(samples, write),
                        None => write(samples),
                    }
                }
            }
        }
        bytes
    }
}

/// Turns what a bot says into what is played.
#[derive(Debug)]
pub struct FromBot {
    format: Format,
    resampler: Option<Resampler>,
    /// The first byte of a sample whose second has not come.
    odd: Option<u8>,
    ulaw: Vec<u8>,
}

impl FromBot {
    /// Audio from now on.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            resampler: resampler(format, Direction::FromBot),
            odd: None,
            ulaw: Vec::new(),
        }
    }

    /// What was said so far has nothing to do with what follows.
    pub fn restart(&mut self) {
        self.odd = None;
        self.resampler = resampler(self.format, Direction::FromBot);
    }

    /// The next of it, cut anywhere, in µ-law.
    pub fn turn<'a>(&'a mut self, bytes: &'a [u8]) -> &'a [u8] {
        empty(&mut self.ulaw);
        match self.format {
            Format::Ulaw => return bytes,
            Format::Alaw => {
                self.ulaw.extend_from_slice(bytes);
                alaw_to_ulaw(&mut self.ulaw);
            }
            Format::Linear(_) => self.linear(bytes),
        }
        &self.ulaw
    }

    fn linear(&mut self, mut bytes: &[u8]) {
        if let (Some(low), [high, rest @ ..]) = (self.odd, bytes) {
            self.odd = None;
            self.samples(&[i16::from_le_bytes([low, *high])]);
            bytes = rest;
        }
        let mut samples = [0; BLOCK];
        let (pairs, odd) = bytes.as_chunks();
        for pairs in pairs.chunks(BLOCK) {
            let samples = &mut samples[..pairs.len()];
            for (sample, pair) in samples.iter_mut().zip(pairs) {
                *sample = i16::from_le_bytes(*pair);
            }
            self.samples(samples);
        }
        self.odd = odd.first().copied().or(self.odd);
    }

    fn samples(&mut self, samples: &[i16]) {
        let ulaw = &mut self.ulaw;
        let mut write = |samples: &[i16]| {
            let begin = ulaw.len();
            ulaw.resize(begin + samples.len(), 0);
            encode_ulaw(samples, &mut ulaw[begin..]);
        };
        match &mut self.resampler {
            Some(resampler) => resampler.run(samples, write),
            None => write(samples),
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    ToBot,
    FromBot,
}

/// What turns the sample rate of one side into the other's, where they differ.
fn resampler(format: Format, direction: Direction) -> Option<Resampler> {
    match (format, direction) {
        (Format::Ulaw | Format::Alaw | Format::Linear(Rate::Khz8), _) => None,
        (Format::Linear(rate), Direction::ToBot) => Some(Resampler::new(Rate::Khz8, rate)),
        (Format::Linear(rate), Direction::FromBot) => Some(Resampler::new(rate, Rate::Khz8)),
    }
}

fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;
    use crate::codec::g711::ulaw_to_linear;

    const FORMATS: [Format; 6] = [
        Format::Ulaw,
        Format::Alaw,
        Format::Linear(Rate::Khz8),
        Format::Linear(Rate::Khz16),
        Format::Linear(Rate::Khz24),
        Format::Linear(Rate::Khz48),
    ];

    fn tone(hertz: f64, samples: usize, rate: f64) -> Vec<i16> {
        let sample = |n: usize| (8000.0 * (TAU * hertz * n as f64 / rate).sin()) as i16;
        (0..samples).map(sample).collect()
    }

    fn ulaw_of(samples: &[i16]) -> Vec<u8> {
        let mut ulaw = vec![0; samples.len()];
        encode_ulaw(samples, &mut ulaw);
        ulaw
    }

    /// How much of the audio is a tone: 1 is all of it.
    fn share(ulaw: &[u8], hertz: f64) -> f64 {
        let heard: Vec<f64> = ulaw.iter().map(|code| f64::from(ulaw_to_linear(*code))).collect();
        let part = |phase: f64| -> f64 {
            let wave = |n: usize| (TAU * hertz * n as f64 / 8000.0 + phase).sin();
            heard.iter().enumerate().map(|(n, sample)| sample * wave(n)).sum()
        };
        let energy: f64 = heard.iter().map(|sample| sample * sample).sum();
        (part(0.0).powi(2) + part(TAU / 4.0).powi(2)) * 2.0 / heard.len() as f64 / energy
    }

    #[test]
    fn a_tone_comes_back_from_every_format_as_it_was() {
        let ulaw = ulaw_of(&tone(1000.0, 8000, 8000.0));
        for format in FORMATS {
            let (mut to_bot, mut from_bot) = (ToBot::new(format), FromBot::new(format));
            let mut back = Vec::new();
            for frame in ulaw.chunks(160) {
                let bytes = to_bot.turn(frame);
                assert_eq!(bytes.len(), 20 * format.bytes_a_millisecond(), "{format:?}");
                back.extend_from_slice(from_bot.turn(bytes));
            }
            assert_eq!(back.len(), ulaw.len(), "{format:?}");
            let kept = share(&back[400..], 1000.0);
            assert!(kept > 0.99, "{format:?}: {kept}");
        }
    }

    #[test]
    fn what_a_bot_says_at_24_kilohertz_is_heard_at_its_pitch() {
        let bytes: Vec<u8> = tone(440.0, 24_000, 24_000.0)
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        let mut from_bot = FromBot::new(Format::Linear(Rate::Khz24));
        let ulaw = from_bot.turn(&bytes);
        assert_eq!(ulaw.len(), 8000);
        assert!(share(&ulaw[400..], 440.0) > 0.99);
    }

    #[test]
    fn a_restart_forgets_half_a_sample() {
        let mut from_bot = FromBot::new(Format::Linear(Rate::Khz8));
        assert_eq!(from_bot.turn(&[1, 2, 3]).len(), 1);
        from_bot.restart();
        let silence = ulaw_of(&[0, 0]);
        assert_eq!(from_bot.turn(&[0; 4]), silence);
    }

    proptest! {
        /// Wherever the bytes are cut.
        #[test]
        fn cuts_do_not_matter(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            cuts in prop::collection::vec(0usize..300, 0..20),
            format in 0..FORMATS.len(),
        ) {
            let format = FORMATS[format];
            let whole = FromBot::new(format).turn(&bytes).to_vec();
            let mut from_bot = FromBot::new(format);
            let mut parts = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                parts.extend_from_slice(from_bot.turn(part));
                rest = after;
            }
            parts.extend_from_slice(from_bot.turn(rest));
            prop_assert_eq!(parts, whole);
        }
    }
}
