//! G.711 on a packet of 20 ms, against a copy of as many samples.

use std::hint::black_box;

use voxlane_benches::compare;
use voxlane_dataplane::codec::g711::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

const SAMPLES: usize = 160;

fn main() {
    encode("PCMU encode, 160 samples", encode_ulaw);
    encode("PCMA encode, 160 samples", encode_alaw);
    decode("PCMU decode, 160 samples", decode_ulaw);
    decode("PCMA decode, 160 samples", decode_alaw);
}

fn encode(name: &str, code: impl Fn(&[i16], &mut [u8])) {
    let samples: [i16; SAMPLES] = std::array::from_fn(|n| (n * 397 % 65_536) as u16 as i16);
    let mut codes = [0; SAMPLES];
    compare(
        name,
        || code(black_box(&samples), black_box(&mut codes)),
        || *black_box(&samples),
    );
}

fn decode(name: &str, code: impl Fn(&[u8], &mut [i16])) {
    let samples: [u8; SAMPLES] = std::array::from_fn(|n| (n * 131 % 256) as u8);
    let mut linear = [0; SAMPLES];
    compare(
        name,
        || code(black_box(&samples), black_box(&mut linear)),
        || *black_box(&samples),
    );
}
