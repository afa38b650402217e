//! What an agent hears of a leg: packets wait in the jitter buffer, and come out as µ-law on the grid.

use std::time::Duration;

use voxlane_common::rtp::RtpHeader;

use crate::codec::g711::{alaw_to_ulaw, decode_ulaw, encode_ulaw};
use crate::codec::resample::{Rate, Resampler};
use crate::codec::{Codec, g722};
use crate::reception::{Figures, Frame, Inserted, Kind, Limits, Reception};

/// Sample rate of what an agent hears.
const RATE: Rate = Rate::Khz8;

/// µ-law has two zeros, which are one in linear samples. The negative one is taken for the sample below, which no code
/// stands for, so that what passes through is what came.
const NEGATIVE_ZERO: (u8, i16) = (0x7f, -1);

/// Bytes of A-law that are turned into µ-law together: 20 ms.
const BLOCK: usize = 160;

/// The ear of one leg.
pub(in crate::worker) struct Ear {
    limits: Limits,
    ptime: u8,
    reception: Reception,
    codec: Codec,
    /// Of a codec with a wider band than the agent's.
    wide: Option<Box<Wide>>,
    samples: Vec<i16>,
    ulaw: Vec<u8>,
}

/// Whether a codec is the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Codecs {
    /// It is.
    Same,
    /// It is another.
    New,
}

/// What makes an agent's audio of G.722.
struct Wide {
    decoder: g722::Decoder,
    resampler: Resampler,
}

impl Ear {
    /// An ear that hears frames of `ptime` milliseconds, of G.711 until it is told otherwise.
    pub(in crate::worker) fn new(limits: Limits, ptime: u8) -> Self {
        Self {
            limits,
            ptime,
            reception: reception(limits, RATE, ptime),
            codec: Codec::Pcmu,
            wide: None,
            samples: vec![0; samples(RATE, ptime)],
            ulaw: vec![0; samples(RATE, ptime)],
        }
    }

    /// Goes on with a codec; what waits in another one is forgotten.
    pub(in crate::worker) fn set_codec(&mut self, codec: Codec) -> Codecs {
        if codec == self.codec {
            return Codecs::Same;
        }
        let (rate, before) = (codec.sample_rate(), self.codec.sample_rate());
        self.codec = codec;
        if rate == before {
            self.reception.clear();
        } else {
            self.reception = reception(self.limits, rate, self.ptime);
            self.samples = vec![0; samples(rate, self.ptime)];
        }
        self.wide = (rate != RATE).then(|| {
            Box::new(Wide {
                decoder: g722::Decoder::new(),
                resampler: Resampler::new(rate, RATE),
            })
        });
        Codecs::New
    }

    /// The codec it hears.
    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Hears nothing for a while: what waits is forgotten.
    pub(super) fn close(&mut self) {
        self.reception.clear();
    }

    /// Takes a packet.
    pub(in crate::worker) fn insert(
        &mut self,
        header: &RtpHeader,
        kind: Kind,
        payload: &[u8],
        now: Duration,
    ) -> Inserted {
        self.reception.insert(header, kind, payload, now)
    }

    /// The frame that is due at `due`, in µ-law; `None` as long as nothing has come. Telephone events whose turn it is go
    /// to `event`.
    pub(in crate::worker) fn hear(&mut self, due: Duration, event: impl FnMut(&RtpHeader, &[u8])) -> Option<&[u8]> {
        let Self {
            reception,
            codec,
            wide,
            samples,
            ulaw,
            ..
        } = self;
        let decode = |payload: &[u8], out: &mut [i16]| match wide {
            Some(wide) => wide.decoder.decode(payload, out),
            None => decode(*codec, payload, out),
        };
        match reception.hear(samples, due, decode, event) {
            Frame::Nothing => return None,
            Frame::Audio => {}
        }
        match wide {
            Some(wide) => {
                let mut left = &mut ulaw[..];
                wide.resampler.run(samples, |samples| {
                    let count = samples.len().min(left.len());
                    let (now, later) = std::mem::take(&mut left).split_at_mut(count);
                    encode(samples, now);
                    left = later;
                });
            }
            None => encode(samples, ulaw),
        }
        Some(&self.ulaw)
    }

    /// What was done so far.
    pub(super) fn figures(&self) -> Figures {
        self.reception.figures()
    }
}

/// Samples of a packet time.
fn samples(rate: Rate, ptime: u8) -> usize {
    usize::from(ptime) * rate.samples_a_millisecond()
}

fn reception(limits: Limits, rate: Rate, ptime: u8) -> Reception {
    let hz = rate.samples_a_millisecond() as u32 * 1000;
    Reception::new(limits, hz, Duration::from_millis(ptime.into()))
}

fn encode(samples: &[i16], ulaw: &mut [u8]) {
    encode_ulaw(samples, ulaw);
    for (code, sample) in ulaw.iter_mut().zip(samples) {
        *code = if *sample == NEGATIVE_ZERO.1 {
            NEGATIVE_ZERO.0
        } else {
            *code
        };
    }
}

/// How many samples there are.
fn decode(codec: Codec, payload: &[u8], out: &mut [i16]) -> usize {
    let count = payload.len().min(out.len());
    let (payload, out) = (&payload[..count], &mut out[..count]);
    if codec == Codec::Pcma {
        let mut ulaw = [0; BLOCK];
        for (payload, out) in payload.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
            let ulaw = &mut ulaw[..payload.len()];
            ulaw.copy_from_slice(payload);
            alaw_to_ulaw(ulaw);
            decode_exactly(ulaw, out);
        }
    } else {
        decode_exactly(payload, out);
    }
    count
}

fn decode_exactly(ulaw: &[u8], out: &mut [i16]) {
    decode_ulaw(ulaw, out);
    for (sample, code) in out.iter_mut().zip(ulaw) {
        *sample = if *code == NEGATIVE_ZERO.0 {
            NEGATIVE_ZERO.1
        } else {
            *sample
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711::ulaw_to_linear;

    #[test]
    fn every_code_passes_as_it_is() {
        let codes: Vec<u8> = (0..=255).collect();
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let mut expected = codes.clone();
            if codec == Codec::Pcma {
                alaw_to_ulaw(&mut expected);
            }
            let mut ear = Ear::new(Limits::default(), 32);
            ear.set_codec(codec);
            let header = RtpHeader::parse(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
            let kind = Kind::Audio { ticks_a_byte: 1 };
            ear.insert(&header, kind, &codes, Duration::ZERO);
            let heard = ear.hear(Duration::from_millis(32), |_, _| {}).unwrap();
            assert_eq!(heard, expected, "{codec}");
        }
    }

    #[test]
    fn g722_is_heard_as_ulaw() {
        const FRAMES: u16 = 50;
        let tone = |hz: f64, rate: f64, n: usize| (std::f64::consts::TAU * hz * n as f64 / rate).sin();
        let mut encoder = g722::Encoder::new();
        let mut ear = Ear::new(Limits::default(), 20);
        ear.set_codec(Codec::G722);
        let mut heard = Vec::new();
        for number in 0..FRAMES {
            let samples: Vec<i16> = (0..320)
                .map(|n| (8000.0 * tone(1000.0, 16_000.0, usize::from(number) * 320 + n)) as i16)
                .collect();
            let mut codes = [0; 160];
            encoder.encode(&samples, &mut codes);
            let [high, low] = number.to_be_bytes();
            let [a, b, c, d] = (u32::from(number) * 160).to_be_bytes();
            let header = RtpHeader::parse(&[0x80, 9, high, low, a, b, c, d, 0, 0, 0, 1]).unwrap();
            let now = Duration::from_millis(u64::from(number) * 20);
            ear.insert(&header, Kind::Audio { ticks_a_byte: 1 }, &codes, now);
            let ulaw = ear.hear(now + Duration::from_millis(1), |_, _| {}).unwrap();
            assert_eq!(ulaw.len(), 160);
            heard.extend(ulaw.iter().map(|code| f64::from(ulaw_to_linear(*code))));
        }
        // What both filters hold back is over by then.
        let heard = &heard[800..];
        let energy: f64 = heard.iter().map(|sample| sample * sample).sum();
        let part = |phase: f64| -> f64 {
            let product = heard.iter().enumerate();
            product
                .map(|(n, sample)| sample * (std::f64::consts::TAU * 1000.0 * n as f64 / 8000.0 + phase).sin())
                .sum()
        };
        let tone = (part(0.0).powi(2) + part(std::f64::consts::FRAC_PI_2).powi(2)) * 2.0 / heard.len() as f64;
        assert!(tone / energy > 0.99, "{}", tone / energy);
    }
}
