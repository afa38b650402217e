//! Several streams turned together: where the processor has AVX2, those between G.711 and G.722 sixteen at once.

#[cfg(target_arch = "x86_64")]
mod lanes;

use super::{BLOCK, Linear, Transcoder, Way};

/// Has each transcoder take its audio, and put what it makes of it in its place, as [`Transcoder::run`] does. The more there
/// are at once, the less each costs. Nothing is allocated.
pub fn run_together<'a>(pieces: impl IntoIterator<Item = (&'a mut Transcoder, &'a mut [u8])>) {
    let mut crowd = Crowd::default();
    for (transcoder, audio) in pieces {
        match &mut transcoder.0 {
            Way::Linear(linear) => crowd.add(Member { linear, audio }),
            Way::Table { turn, .. } => turn(audio),
            Way::None(_) => {}
        }
    }
    crowd.finish();
}

/// A stream that is to be turned.
struct Member<'a> {
    linear: &'a mut Linear,
    audio: &'a mut [u8],
}

impl Member<'_> {
    /// By itself.
    fn run(self) {
        self.audio.chunks_mut(BLOCK).for_each(|block| self.linear.run(block));
    }
}

#[cfg(target_arch = "x86_64")]
use self::lanes::Crowd;

/// Streams on a processor for which nothing better is known.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Default)]
struct Crowd;

#[cfg(not(target_arch = "x86_64"))]
impl Crowd {
    fn add(&mut self, member: Member<'_>) {
        member.run();
    }

    fn finish(self) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Codec;

    /// Each stream's codecs, and its audio in pieces: one a round.
    type Stream = (Codec, Codec, Vec<Vec<u8>>);

    const ROUNDS: usize = 4;

    /// Noise of any level, square waves up to full scale, silence, and bytes of any value, which an encoder need not have
    /// sent.
    fn audio() -> impl Strategy<Value = Vec<u8>> {
        let steps = prop_oneof![Just(0), Just(80), Just(160), Just(240), 0..500usize];
        let period = 1..60usize;
        (0..5u8, any::<u8>(), period, steps).prop_perturb(|(kind, value, period, length), mut random| {
            (0..length)
                .map(|place| match kind {
                    0 => random.random(),
                    1 => value,
                    // Loud, and in G.711 as loud as can be.
                    2 => (place / period % 2) as u8 * 0x80,
                    // Quiet, in either law.
                    3 => 0xd0 | (random.random::<u8>() & 0x8f),
                    _ => value ^ (random.random::<u8>() & 0x83),
                })
                .collect()
        })
    }

    fn stream() -> impl Strategy<Value = Stream> {
        let codec = || prop::sample::select(&Codec::ALL[..]);
        (codec(), codec(), prop::collection::vec(audio(), ROUNDS))
    }

    proptest! {
        /// Whoever meets whom, and however uneven the pieces are: each stream comes out as it does by itself.
        #[test]
        fn streams_are_turned_together_as_each_by_itself(streams in prop::collection::vec(stream(), 0..70)) {
            let coder = |stream: &Stream| Transcoder::new(stream.0, stream.1);
            let mut together: Vec<Transcoder> = streams.iter().map(coder).collect();
            let mut alone = together.clone();
            for round in 0..ROUNDS {
                let pieces: Vec<Vec<u8>> = streams.iter().map(|(.., pieces)| pieces[round].clone()).collect();
                let (mut made, mut expected) = (pieces.clone(), pieces);
                run_together(together.iter_mut().zip(made.iter_mut().map(Vec::as_mut_slice)));
                for (transcoder, piece) in alone.iter_mut().zip(&mut expected) {
                    transcoder.run(piece);
                }
                prop_assert_eq!(made, expected);
            }
        }
    }
}
