//! One codec's audio turned into another's.

mod together;

pub use self::together::run_together;
use super::g711::{
    ALAW_SILENCE, ULAW_SILENCE, alaw_to_ulaw, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw, ulaw_to_alaw,
};
use super::resample::{Rate, Resampler};
use super::{Codec, g722};
use crate::cache::ask_for;

/// Bytes that are worked off together: 10 ms.
const BLOCK: usize = 80;

/// Samples they may stand for.
const SAMPLES: usize = 2 * BLOCK;

/// Turns one stream from one codec into another, in place: every codec takes a byte for the same time. Pieces may be of
/// any size. Nothing is allocated after [`Self::new`].
#[derive(Clone, Debug)]
pub struct Transcoder(Way);

#[derive(Clone, Debug)]
enum Way {
    /// They are the same.
    None(Codec),
    /// Both are G.711.
    Table { to: Codec, turn: fn(&mut [u8]) },
    /// By way of linear samples.
    Linear(Box<Linear>),
}

#[derive(Clone, Debug)]
struct Linear {
    decoder: Decoder,
    /// Where the sample rates differ.
    resampler: Option<Resampler>,
    encoder: Encoder,
}

#[derive(Clone, Debug)]
enum Decoder {
    Ulaw,
    Alaw,
    G722(Box<g722::Decoder>),
}

#[derive(Clone, Debug)]
enum Encoder {
    Ulaw,
    Alaw,
    G722(Box<g722::Encoder>),
}

/// One that leaves everything as it is.
impl Default for Transcoder {
    fn default() -> Self {
        Self(Way::None(Codec::Pcmu))
    }
}

impl Transcoder {
    /// A transcoder that has heard nothing.
    pub fn new(from: Codec, to: Codec) -> Self {
        Self(match (from, to) {
            (from, to) if from == to => Way::None(to),
            (Codec::Pcmu, Codec::Pcma) => Way::Table { to, turn: ulaw_to_alaw },
            (Codec::Pcma, Codec::Pcmu) => Way::Table { to, turn: alaw_to_ulaw },
            (from, to) => Way::Linear(Box::new(Linear::new(from, to))),
        })
    }

    /// Audio is about to be taken.
    pub(crate) fn expect(&self) {
        if let Way::Linear(linear) = &self.0 {
            ask_for(&linear.decoder);
            ask_for(&linear.encoder);
            if let Some(resampler) = &linear.resampler {
                resampler.expect();
            }
        }
    }

    /// Takes audio of the one codec, and puts that of the other in its place.
    pub fn run(&mut self, audio: &mut [u8]) {
        match &mut self.0 {
            Way::None(_) => {}
            Way::Table { turn, .. } => turn(audio),
            Way::Linear(linear) => audio.chunks_mut(BLOCK).for_each(|block| linear.run(block)),
        }
    }
}

impl Transcoder {
    /// Fills `audio` with what the other codec has for silence, as if that had come.
    pub fn silence(&mut self, audio: &mut [u8]) {
        match &mut self.0 {
            Way::None(codec) => audio.fill(silence_of(*codec)),
            Way::Table { to, .. } => audio.fill(silence_of(*to)),
            Way::Linear(linear) => audio.chunks_mut(BLOCK).for_each(|block| linear.silence(block)),
        }
    }
}

/// A byte that stands for silence. G.722 has none, but many of this one are the next best: half a step up in the lower
/// band, as small as steps become.
fn silence_of(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => ULAW_SILENCE,
        Codec::Pcma => ALAW_SILENCE,
        Codec::G722 => 0xfe,
    }
}

impl Linear {
    fn new(from: Codec, to: Codec) -> Self {
        let (rate, other) = (from.sample_rate(), to.sample_rate());
        Self {
            decoder: match from {
                Codec::Pcmu => Decoder::Ulaw,
                Codec::Pcma => Decoder::Alaw,
                Codec::G722 => Decoder::G722(Box::default()),
            },
            resampler: (rate != other).then(|| Resampler::new(rate, other)),
            encoder: match to {
                Codec::Pcmu => Encoder::Ulaw,
                Codec::Pcma => Encoder::Alaw,
                Codec::G722 => Encoder::G722(Box::default()),
            },
        }
    }

    /// Of at most [`BLOCK`] bytes.
    fn run(&mut self, block: &mut [u8]) {
        let mut decoded = [0; SAMPLES];
        let count = self.decoder.run(block, &mut decoded);
        self.encode(&decoded[..count], block);
    }

    /// The same of silence.
    fn silence(&mut self, block: &mut [u8]) {
        let count = block.len() * self.decoder.samples_a_byte();
        self.encode(&[0; SAMPLES][..count.min(SAMPLES)], block);
    }

    fn encode(&mut self, decoded: &[i16], block: &mut [u8]) {
        let mut resampled = [0; SAMPLES];
        let samples = match &mut self.resampler {
            None => decoded,
            Some(resampler) => {
                let mut made = 0;
                resampler.run(decoded, |samples| {
                    // One sample becomes two, or two one: there is room for as many as the block has bytes of G.722.
                    let room = &mut resampled[made..];
                    let taken = samples.len().min(room.len());
                    room[..taken].copy_from_slice(&samples[..taken]);
                    made += taken;
                });
                &resampled[..made]
            }
        };
        self.encoder.run(samples, block);
    }
}

impl Decoder {
    fn samples_a_byte(&self) -> usize {
        match self {
            Self::Ulaw | Self::Alaw => 1,
            Self::G722(_) => 2,
        }
    }

    /// How many samples there are.
    fn run(&mut self, codes: &[u8], samples: &mut [i16; SAMPLES]) -> usize {
        match self {
            Self::Ulaw => decode_ulaw(codes, samples),
            Self::Alaw => decode_alaw(codes, samples),
            Self::G722(decoder) => return decoder.decode(codes, samples),
        }
        codes.len().min(SAMPLES)
    }
}

impl Encoder {
    fn run(&mut self, samples: &[i16], codes: &mut [u8]) {
        match self {
            Self::Ulaw => encode_ulaw(samples, codes),
            Self::Alaw => encode_alaw(samples, codes),
            Self::G722(encoder) => {
                encoder.encode(samples, codes);
            }
        }
    }
}

/// A millisecond of every codec is as many bytes, which is what lets audio be turned in place.
const _: () = assert!(SAMPLES == BLOCK * Rate::Khz16.samples_a_millisecond() / Rate::Khz8.samples_a_millisecond());

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::super::g711::{linear_to_ulaw, ulaw_to_linear};
    use super::*;

    /// Codes a tone of 8 kHz samples, and what comes of it at the end of a way through codecs, as samples of 8 kHz.
    fn through(way: &[Codec], samples: &[i16]) -> Vec<i16> {
        let mut audio: Vec<u8> = samples.iter().map(|sample| linear_to_ulaw(*sample)).collect();
        let mut from = Codec::Pcmu;
        for codec in way.iter().copied().chain([Codec::Pcmu]) {
            let mut transcoder = Transcoder::new(from, codec);
            audio.chunks_mut(160).for_each(|frame| transcoder.run(frame));
            from = codec;
        }
        audio.into_iter().map(ulaw_to_linear).collect()
    }

    fn tone(hz: f64) -> Vec<i16> {
        (0..8000)
            .map(|n| (8000.0 * (TAU * hz / 8000.0 * f64::from(n)).sin()) as i16)
            .collect()
    }

    /// Level of a tone in dB of the one that was sent, and of all else.
    fn levels(samples: &[i16], hz: f64) -> (f64, f64) {
        let samples = &samples[800..7200];
        let (mut sine, mut cosine, mut all) = (0.0, 0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let (sin, cos) = (TAU * hz / 8000.0 * n as f64).sin_cos();
            let sample = f64::from(*sample);
            (sine, cosine, all) = (sine + sample * sin, cosine + sample * cos, all + sample * sample);
        }
        let half = samples.len() as f64 / 2.0;
        let level = (sine / half).powi(2) + (cosine / half).powi(2);
        let decibel = |power: f64| 10.0 * (power / 64e6 + 1e-12).log10();
        (decibel(level), decibel(all / half - level))
    }

    #[test]
    fn a_tone_keeps_its_level_on_every_way() {
        use Codec::{G722, Pcma, Pcmu};
        for way in [
            &[][..],
            &[Pcma],
            &[G722],
            &[Pcma, G722],
            &[G722, Pcma],
            &[G722, Pcmu, G722],
        ] {
            // Whole periods in the window, and none of a few samples.
            for hz in [303.75, 1003.75, 3003.75] {
                let (level, rest) = levels(&through(way, &tone(hz)), hz);
                assert!(level.abs() < 0.2, "{way:?}: {hz} Hz at {level:.2} dB");
                // G.711 itself leaves 38 dB between a tone and its noise.
                assert!(rest < -32.0, "{way:?}: beside {hz} Hz {rest:.1} dB");
            }
        }
    }

    #[test]
    fn silence_stays_silent() {
        for way in [Codec::Pcma, Codec::G722] {
            let heard = through(&[way], &[0; 4000]);
            assert!(heard.iter().all(|sample| sample.abs() <= 8), "{way}: {heard:?}");
        }
    }

    proptest! {
        /// Whatever the size of the pieces, and whatever is in them.
        #[test]
        fn pieces_are_turned_as_the_whole(
            audio in prop::collection::vec(any::<u8>(), 0..600),
            cuts in prop::collection::vec(0usize..200, 0..12),
            from in 0usize..3,
            to in 0usize..3,
        ) {
            let (from, to) = (Codec::ALL[from], Codec::ALL[to]);
            let mut whole = audio.clone();
            Transcoder::new(from, to).run(&mut whole);
            let mut pieces = audio;
            let mut transcoder = Transcoder::new(from, to);
            let mut rest = &mut pieces[..];
            for cut in cuts {
                let (piece, after) = rest.split_at_mut(cut.min(rest.len()));
                transcoder.run(piece);
                rest = after;
            }
            transcoder.run(rest);
            prop_assert_eq!(pieces, whole);
        }

        /// Silence is as long as is asked for, and silent, whatever came before.
        #[test]
        fn silence_is_put_in_anywhere(before in prop::collection::vec(any::<u8>(), 0..200), from in 0usize..3, to in 0usize..3) {
            let (from, to) = (Codec::ALL[from], Codec::ALL[to]);
            let mut transcoder = Transcoder::new(from, to);
            let mut heard = before;
            transcoder.run(&mut heard);
            let begin = heard.len() + 400;
            let mut silence = vec![0; 1600];
            transcoder.silence(&mut silence);
            heard.extend(silence);
            Transcoder::new(to, Codec::Pcmu).run(&mut heard);
            prop_assert!(heard[begin..].iter().all(|code| ulaw_to_linear(*code).abs() <= 64), "{:?}", heard);
        }
    }
}
