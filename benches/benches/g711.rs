//! G.711 on a packet of 20 ms, against a copy of as many samples.

use std::hint::black_box;

use voxlane_benches::compare;
use voxlane_dataplane::codec::g711::{alaw_to_linear, linear_to_alaw, linear_to_ulaw, ulaw_to_linear};

const SAMPLES: usize = 160;

fn main() {
    encode("PCMU encode, 160 samples", linear_to_ulaw);
    encode("PCMA encode, 160 samples", linear_to_alaw);
    decode("PCMU decode, 160 samples", ulaw_to_linear);
    decode("PCMA decode, 160 samples", alaw_to_linear);
}

fn encode(name: &str, code: impl Fn(i16) -> u8 + Copy) {
    let samples: [i16; SAMPLES] = std::array::from_fn(|n| (n * 397 % 65_536) as u16 as i16);
    compare(name, || black_box(&samples).map(code), || *black_box(&samples));
}

fn decode(name: &str, code: impl Fn(u8) -> i16 + Copy) {
    let samples: [u8; SAMPLES] = std::array::from_fn(|n| (n * 131 % 256) as u8);
    compare(name, || black_box(&samples).map(code), || *black_box(&samples));
}
