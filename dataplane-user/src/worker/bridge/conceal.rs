//! What a leg is sent in place of what has not come from the other: where packets were lost the waveform goes on, and fades;
//! where the far end sends nothing because nobody speaks there is the noise that it has described. Both as for agents.
//!
//! It is made of G.711, before the audio is turned into the leg's codec or after it, whichever of the two is G.711. Where
//! none is, what is lost is silence, and where nobody speaks is a pause.

use crate::cache::ask_for;
use crate::codec::Codec;
use crate::codec::g711::{ALAW_SILENCE, ULAW_SILENCE, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use crate::reception::{Concealer, HISTORY, MAX_SCALE, Noise};

/// Bytes of the past that are kept.
const KEPT: usize = HISTORY / MAX_SCALE;

/// Bytes that are made at once, and the longest fade into what comes: 10 ms.
pub(super) const BLOCK: usize = 80;

/// Where the audio is G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// As it comes.
    Before,
    /// As it leaves.
    After,
}

/// Fills what is lost of one way of a bridge.
#[derive(Debug)]
pub(super) struct Filler {
    /// The law, and where the audio is of it; `None` if it is nowhere.
    domain: Option<(Codec, Where)>,
    concealer: Concealer,
    /// The newest last.
    past: [u8; KEPT],
}

impl Filler {
    /// A filler that has heard silence.
    pub(super) fn new([from, to]: [Codec; 2]) -> Self {
        let domain = match (from, to) {
            (Codec::Pcmu | Codec::Pcma, _) => Some((from, Where::Before)),
            (Codec::G722, Codec::Pcmu | Codec::Pcma) => Some((to, Where::After)),
            (Codec::G722, Codec::G722) => None,
        };
        let silence = match domain {
            Some((Codec::Pcma, _)) => ALAW_SILENCE,
            _ => ULAW_SILENCE,
        };
        Self {
            domain,
            concealer: Concealer::new(1),
            past: [silence; KEPT],
        }
    }

    /// Where it works.
    pub(super) fn place(&self) -> Option<Where> {
        self.domain.map(|(_, place)| place)
    }

    /// Audio is about to be heard at one of the places.
    pub(super) fn expect(&self, place: Where) {
        ask_for(&self.domain);
        if self.place() == Some(place) {
            ask_for(&self.past);
        }
    }

    /// Audio has been heard at one of the places.
    pub(super) fn heard(&mut self, place: Where, audio: &[u8]) {
        if self.place() != Some(place) {
            return;
        }
        let audio = &audio[audio.len().saturating_sub(KEPT)..];
        self.past.copy_within(audio.len().., 0);
        self.past[KEPT - audio.len()..].copy_from_slice(audio);
    }

    /// Fills the whole of `lost`, at most [`BLOCK`] bytes, which follow what was heard or filled before.
    pub(super) fn fill(&mut self, lost: &mut [u8]) {
        let Some((law, place)) = self.domain else { return };
        let mut past = [0; KEPT];
        if !self.concealer.is_filling() {
            decode(law, &self.past, &mut past);
        }
        let mut made = [0; BLOCK];
        let count = lost.len().min(BLOCK);
        self.concealer.fill(&past, &mut made[..count]);
        encode(law, &made[..count], lost);
        self.heard(place, lost);
    }

    /// Fills the whole of `pause`, at most [`BLOCK`] bytes, with noise.
    pub(super) fn fill_with(&mut self, noise: &mut Noise, pause: &mut [u8]) {
        let Some((law, place)) = self.domain else { return };
        let mut made = [0; BLOCK];
        made.fill_with(|| noise.next());
        encode(law, &made, pause);
        self.heard(place, pause);
    }

    /// Audio comes again: blends what was made up into it.
    pub(super) fn blend(&mut self, audio: &mut [u8]) {
        let Some((law, _)) = self.domain else { return };
        let count = audio.len().min(BLOCK);
        let mut samples = [0; BLOCK];
        decode(law, audio, &mut samples[..count]);
        self.concealer.end(&mut samples[..count]);
        encode(law, &samples[..count], audio);
    }
}

/// Of G.711.
fn decode(law: Codec, codes: &[u8], samples: &mut [i16]) {
    match law {
        Codec::Pcma => decode_alaw(codes, samples),
        Codec::Pcmu | Codec::G722 => decode_ulaw(codes, samples),
    }
}

/// To G.711.
fn encode(law: Codec, samples: &[i16], codes: &mut [u8]) {
    match law {
        Codec::Pcma => encode_alaw(samples, codes),
        Codec::Pcmu | Codec::G722 => encode_ulaw(samples, codes),
    }
}
