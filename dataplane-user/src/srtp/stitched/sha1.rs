//! SHA-1 as HMAC uses it: its state, and the words of its blocks, as the instructions have them.

use std::arch::x86_64::{
    __m128i, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_sha1msg1_epu32, _mm_sha1msg2_epu32,
    _mm_shuffle_epi8, _mm_xor_si128,
};

use super::BLOCK;
use crate::srtp::portable::HMAC_LEN;

/// SHA-1 between two blocks: four words, the first of them highest, and the fifth alone.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) abcd: __m128i,
    pub(super) e: __m128i,
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn load(state: [u32; 5]) -> State {
    let [a, b, c, d, e] = state.map(u32::cast_signed);
    State {
        abcd: _mm_set_epi32(a, b, c, d),
        e: _mm_set_epi32(e, 0, 0, 0),
    }
}

/// Turns 16 bytes round: words are big-endian, and the first is highest.
#[inline]
#[target_feature(enable = "sse2,ssse3")]
fn reverse(bytes: __m128i) -> __m128i {
    _mm_shuffle_epi8(bytes, _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f))
}

#[inline]
#[target_feature(enable = "sse2,ssse3")]
fn words(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(*block);
    [reverse(a), reverse(b), reverse(c), reverse(d)]
}

/// The words of a whole block of the packet.
#[inline]
#[target_feature(enable = "sse2,ssse3")]
pub(super) fn words_at(packet: &[u8], place: usize) -> [__m128i; 4] {
    // The callers count whole blocks.
    let block = packet.get(place * BLOCK..).and_then(|rest| rest.first_chunk());
    words(block.unwrap_or(&[0; BLOCK]))
}

/// The block of the outer hash: the inner one, and its padding (FIPS 180-4 section 5.1.1). It is as it stands in the
/// registers.
#[inline]
#[target_feature(enable = "sse2,sse4.1")]
pub(super) fn of_inner(inner: State) -> [__m128i; 4] {
    const BITS: i32 = 8 * (BLOCK + HMAC_LEN) as i32;
    let e = _mm_extract_epi32(inner.e, 3);
    [
        inner.abcd,
        _mm_set_epi32(e, i32::MIN, 0, 0),
        _mm_set_epi32(0, 0, 0, 0),
        _mm_set_epi32(0, 0, 0, BITS),
    ]
}

#[inline]
#[target_feature(enable = "sse2,ssse3,sse4.1")]
pub(super) fn tag(state: State) -> [u8; HMAC_LEN] {
    let mut tag = [0; HMAC_LEN];
    let (abcd, e) = tag.split_at_mut(16);
    abcd.copy_from_slice(&bytemuck::cast::<_, [u8; 16]>(reverse(state.abcd)));
    e.copy_from_slice(&_mm_extract_epi32(state.e, 3).to_be_bytes());
    tag
}

/// Four words that follow from the sixteen before (FIPS 180-4 section 6.1.2).
#[inline]
#[target_feature(enable = "sha,sse2")]
pub(super) fn next_words(a: __m128i, b: __m128i, c: __m128i, d: __m128i) -> __m128i {
    _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(a, b), c), d)
}

/// The groups of four rounds after the first one (FIPS 180-4 section 6.1.2): `rounds` is a macro that gets the number of a
/// group, the states it goes from and to, its words, and the number of its function and constant; `scheduled` gets the words
/// of before, and where the next go, instead of its words.
macro_rules! groups {
    ($rounds:ident, $scheduled:ident, $x:ident, $y:ident, $w0:ident, $w1:ident, $w2:ident, $w3:ident, $w4:ident) => {
        $rounds!(1, $y, $x, $w1, 0);
        $rounds!(2, $x, $y, $w2, 0);
        $rounds!(3, $y, $x, $w3, 0);
        $scheduled!(4, $x, $y, 0, $w0, $w1, $w2, $w3 => $w4);
        $scheduled!(5, $y, $x, 1, $w1, $w2, $w3, $w4 => $w0);
        $scheduled!(6, $x, $y, 1, $w2, $w3, $w4, $w0 => $w1);
        $scheduled!(7, $y, $x, 1, $w3, $w4, $w0, $w1 => $w2);
        $scheduled!(8, $x, $y, 1, $w4, $w0, $w1, $w2 => $w3);
        $scheduled!(9, $y, $x, 1, $w0, $w1, $w2, $w3 => $w4);
        $scheduled!(10, $x, $y, 2, $w1, $w2, $w3, $w4 => $w0);
        $scheduled!(11, $y, $x, 2, $w2, $w3, $w4, $w0 => $w1);
        $scheduled!(12, $x, $y, 2, $w3, $w4, $w0, $w1 => $w2);
        $scheduled!(13, $y, $x, 2, $w4, $w0, $w1, $w2 => $w3);
        $scheduled!(14, $x, $y, 2, $w0, $w1, $w2, $w3 => $w4);
        $scheduled!(15, $y, $x, 3, $w1, $w2, $w3, $w4 => $w0);
        $scheduled!(16, $x, $y, 3, $w2, $w3, $w4, $w0 => $w1);
        $scheduled!(17, $y, $x, 3, $w3, $w4, $w0, $w1 => $w2);
        $scheduled!(18, $x, $y, 3, $w4, $w0, $w1, $w2 => $w3);
        $scheduled!(19, $y, $x, 3, $w0, $w1, $w2, $w3 => $w4);
    };
}

pub(super) use groups;
