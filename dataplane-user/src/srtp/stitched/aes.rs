//! AES in counter mode, four blocks at a time.

use std::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_aeskeygenassist_si128, _mm_cvtsi128_si32, _mm_insert_epi16,
    _mm_set_epi32, _mm_xor_si128,
};

use super::BLOCK;
use crate::srtp::portable;

/// Most rounds of AES, plus one: a key for each.
pub(super) const ROUND_KEYS: usize = 15;

/// The key schedule of AES (FIPS 197 section 5.2), words in memory order.
#[target_feature(enable = "aes,sse2,ssse3,sse4.1")]
pub(super) fn expand(key: &[u8]) -> [u128; ROUND_KEYS] {
    const WORDS: usize = 4 * ROUND_KEYS;
    let key_words = key.len() / 4;
    let mut words = zeroize::Zeroizing::new([0u32; WORDS]);
    for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let mut round_constant = 1u32;
    for place in key_words..WORDS {
        let mut word = words[place - 1];
        if place % key_words == 0 {
            word = substitute(word).rotate_right(8) ^ round_constant;
            // Doubled in the field of AES; a schedule longer than the cipher needs goes beyond 0x80.
            round_constant = (round_constant << 1) ^ if round_constant & 0x80 == 0 { 0 } else { 0x11b };
        } else if key_words > 6 && place % key_words == 4 {
            word = substitute(word);
        }
        words[place] = words[place - key_words] ^ word;
    }
    bytemuck::cast(*words)
}

/// The substitution box of AES on each byte.
#[target_feature(enable = "aes,sse2")]
fn substitute(word: u32) -> u32 {
    let words = _mm_set_epi32(0, 0, word.cast_signed(), 0);
    _mm_cvtsi128_si32(_mm_aeskeygenassist_si128(words, 0)).cast_unsigned()
}

/// The counter blocks of one packet.
#[derive(Clone, Copy)]
pub(super) struct Counter<'a> {
    /// In the byte order of the cipher; the last two bytes count.
    pub(super) first: __m128i,
    round_keys: &'a [u128; ROUND_KEYS],
}

impl<'a> Counter<'a> {
    #[inline]
    #[target_feature(enable = "sse2,ssse3")]
    pub(super) fn new(iv: u128, round_keys: &'a [u128; ROUND_KEYS]) -> Self {
        Self {
            first: bytemuck::cast(iv.to_be_bytes()),
            round_keys,
        }
    }

    /// Four blocks from this one of four on. No datagram has 2^16 of them.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn blocks(self, four: usize) -> [__m128i; 4] {
        let at = |block: usize| i32::from(((4 * four + block) as u16).swap_bytes());
        [
            _mm_insert_epi16(self.first, at(0), 7),
            _mm_insert_epi16(self.first, at(1), 7),
            _mm_insert_epi16(self.first, at(2), 7),
            _mm_insert_epi16(self.first, at(3), 7),
        ]
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn key(self, round: usize) -> __m128i {
        bytemuck::cast(self.round_keys[round])
    }
}

/// One of the rounds (0 to `ROUNDS`) of four blocks of AES.
#[inline]
#[target_feature(enable = "aes,sse2")]
pub(super) fn round<const ROUNDS: usize>(lanes: [__m128i; 4], counter: Counter<'_>, round: usize) -> [__m128i; 4] {
    let key = counter.key(round);
    let [a, b, c, d] = lanes;
    if round == 0 {
        [
            _mm_xor_si128(a, key),
            _mm_xor_si128(b, key),
            _mm_xor_si128(c, key),
            _mm_xor_si128(d, key),
        ]
    } else if round < ROUNDS {
        [
            _mm_aesenc_si128(a, key),
            _mm_aesenc_si128(b, key),
            _mm_aesenc_si128(c, key),
            _mm_aesenc_si128(d, key),
        ]
    } else {
        [
            _mm_aesenclast_si128(a, key),
            _mm_aesenclast_si128(b, key),
            _mm_aesenclast_si128(c, key),
            _mm_aesenclast_si128(d, key),
        ]
    }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn xor(text: &mut [u8; BLOCK], lanes: [__m128i; 4]) {
    let before: [__m128i; 4] = bytemuck::cast(*text);
    *text = bytemuck::cast([
        _mm_xor_si128(before[0], lanes[0]),
        _mm_xor_si128(before[1], lanes[1]),
        _mm_xor_si128(before[2], lanes[2]),
        _mm_xor_si128(before[3], lanes[3]),
    ]);
}

/// Encrypts these 64 bytes of the text, or as many as there are, at once.
#[inline]
#[target_feature(enable = "aes,sse2,ssse3,sse4.1")]
pub(super) fn encrypt<const ROUNDS: usize>(counter: Counter<'_>, text: &mut [u8], four: usize) {
    let rest = text.get_mut(BLOCK * four..).unwrap_or_default();
    if rest.is_empty() {
        return;
    }
    let mut lanes = counter.blocks(four);
    for place in 0..=ROUNDS {
        lanes = round::<ROUNDS>(lanes, counter, place);
    }
    match rest.first_chunk_mut() {
        Some(whole) => xor(whole, lanes),
        None => portable::xor(rest, &bytemuck::cast::<_, [u8; BLOCK]>(lanes)),
    }
}

/// Encrypts, or decrypts, the whole text, twelve blocks at a time: a round takes a processor as long for one as for eight.
#[inline]
#[target_feature(enable = "aes,sse2,ssse3,sse4.1")]
pub(super) fn encrypt_all<const ROUNDS: usize>(counter: Counter<'_>, text: &mut [u8]) {
    for (twelve, piece) in text.chunks_mut(3 * BLOCK).enumerate() {
        let first = 3 * twelve;
        let mut fours = [
            counter.blocks(first),
            counter.blocks(first + 1),
            counter.blocks(first + 2),
        ];
        for place in 0..=ROUNDS {
            for four in &mut fours {
                *four = round::<ROUNDS>(*four, counter, place);
            }
        }
        for (bytes, lanes) in piece.chunks_mut(BLOCK).zip(fours) {
            match bytes.first_chunk_mut() {
                Some(whole) => xor(whole, lanes),
                None => xor_part(bytes, lanes),
            }
        }
    }
}

/// The same with less than 64 bytes.
#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn xor_part(text: &mut [u8], lanes: [__m128i; 4]) {
    for (bytes, lane) in text.chunks_mut(16).zip(lanes) {
        match bytes.first_chunk_mut::<16>() {
            Some(whole) => *whole = bytemuck::cast(_mm_xor_si128(bytemuck::cast(*whole), lane)),
            None => portable::xor(bytes, &bytemuck::cast::<_, [u8; 16]>(lane)),
        }
    }
}
