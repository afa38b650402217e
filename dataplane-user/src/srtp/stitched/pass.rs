//! One packet in one pass: the rounds of AES between those of SHA-1.

use std::arch::asm;
use std::arch::x86_64::{__m128i, _mm_add_epi32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32};

use super::aes::{Counter, encrypt, round, xor};
use super::sha1::{State, groups, load, next_words, of_inner, tag, words_at};
use super::{BLOCK, Keys};
use crate::srtp::portable::{self, HMAC_LEN};

/// The text is encrypted 64 bytes ahead of the hash, at least. The first 128 bytes have been.
pub(super) const ENCRYPT: u8 = 0;

/// The text is decrypted behind the hash.
pub(super) const DECRYPT: u8 = 1;

/// One packet: encrypted and then hashed, or hashed and decrypted, as `WAY` says. Its HMAC.
#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
pub(super) fn one<const ROUNDS: usize, const WAY: u8>(
    keys: &Keys,
    packet: &mut [u8],
    clear: usize,
    iv: u128,
    trailer: u32,
) -> [u8; HMAC_LEN] {
    let clear = clear.min(packet.len());
    let counter = Counter::new(iv, &keys.round_keys);
    if WAY == ENCRYPT {
        encrypt::<ROUNDS>(counter, &mut packet[clear..], 0);
        encrypt::<ROUNDS>(counter, &mut packet[clear..], 1);
    }
    pass::<ROUNDS, WAY>(keys, packet, clear, counter, trailer)
}

/// Goes through the blocks of the HMAC: those of the packet, the ending, and the outer hash.
#[inline]
#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
fn pass<const ROUNDS: usize, const WAY: u8>(
    keys: &Keys,
    packet: &mut [u8],
    clear: usize,
    counter: Counter<'_>,
    trailer: u32,
) -> [u8; HMAC_LEN] {
    let length = packet.len();
    let whole = length / BLOCK;
    // Blocks of header alone.
    let before = clear / BLOCK;
    // The ending is made as soon as its bytes are final, and not when they are read as words: they are in memory by then.
    let final_at = match WAY {
        ENCRYPT => before + (length - clear).div_ceil(BLOCK).saturating_sub(2),
        _ => 0,
    };
    let mut ending = ([0; 2 * BLOCK], 1);
    let mut state = load(keys.inner);
    let mut place = 0;
    loop {
        if place == final_at {
            ending = portable::ending(&packet[whole * BLOCK..], trailer, length);
        }
        let (blocks, count) = &ending;
        let is_outer = place == whole + count && place >= final_at;
        let words = if is_outer {
            let words = of_inner(state);
            state = load(keys.outer);
            words
        } else if place < whole {
            words_at(packet, place)
        } else {
            words_at(blocks, place - whole)
        };
        // 64 bytes of text begin in one block and end in the next.
        let four = match WAY {
            ENCRYPT => place.checked_sub(before).map(|four| four + 2),
            _ => place.checked_sub(before + 1),
        };
        let rest = four.and_then(|four| packet.get_mut(clear + BLOCK * four..));
        let rest = rest.unwrap_or_default();
        state = if rest.is_empty() {
            block::<0, WAY>(state, words, counter, 0, &mut [0; BLOCK])
        } else {
            let mut keystream = [0; BLOCK];
            let (text, rest) = match rest.first_chunk_mut() {
                Some(text) => (text, None),
                None => (&mut keystream, Some(())),
            };
            let state = block::<ROUNDS, WAY>(state, words, counter, four.unwrap_or_default(), text);
            if rest.is_some() {
                portable::xor(&mut packet[clear + BLOCK * four.unwrap_or_default()..], &keystream);
            }
            state
        };
        if is_outer {
            return tag(state);
        }
        place += 1;
    }
}

/// Keeps the compiler from moving what follows before what came: it would do all of AES first, then all of SHA-1, which
/// look independent to it. To the processor it is nothing.
#[inline]
#[target_feature(enable = "sse2")]
fn tie(state: &mut __m128i, lanes: &mut [__m128i; 4]) {
    let [a, b, c, d] = lanes;
    // SAFETY: there is no instruction in it.
    unsafe {
        asm!(
            "/* {0} {1} {2} {3} {4} */",
            inout(xmm_reg) * state,
            inout(xmm_reg) * a,
            inout(xmm_reg) * b,
            inout(xmm_reg) * c,
            inout(xmm_reg) * d,
            options(nomem, nostack, preserves_flags),
        );
    }
}

/// Hashes a block, and if `ROUNDS` is not 0 encrypts 64 bytes of `text` meanwhile. Each of its users has one of its own
/// (`WAY`), so that it becomes part of that: its arguments would go through memory otherwise.
#[inline]
#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
fn block<const ROUNDS: usize, const WAY: u8>(
    state: State,
    words: [__m128i; 4],
    counter: Counter<'_>,
    four: usize,
    text: &mut [u8; BLOCK],
) -> State {
    let [mut w0, mut w1, mut w2, mut w3] = words;
    let mut w4;
    let mut lanes = if ROUNDS == 0 { words } else { counter.blocks(four) };
    // A round of AES after each group of SHA-1, then what it was for.
    macro_rules! aes {
        ($group:literal, $state:ident) => {
            if ROUNDS != 0 && $group < ROUNDS + 1 {
                lanes = round::<ROUNDS>(lanes, counter, $group);
                tie(&mut $state, &mut lanes);
            } else if ROUNDS != 0 && $group == ROUNDS + 1 {
                xor(text, lanes);
            }
        };
    }
    // Four rounds of SHA-1: those of FIPS 180-4 section 6.1.2 with this function and constant.
    macro_rules! rounds {
        ($group:literal, $from:ident, $to:ident, $word:expr, $function:literal) => {
            $to = _mm_sha1rnds4_epu32($from, _mm_sha1nexte_epu32($to, $word), $function);
            aes!($group, $to);
        };
    }
    // The same, with the words that follow from the sixteen before.
    macro_rules! scheduled {
        ($group:literal, $from:ident, $to:ident, $function:literal,
         $a:ident, $b:ident, $c:ident, $d:ident => $next:ident) => {
            $next = next_words($a, $b, $c, $d);
            rounds!($group, $from, $to, $next, $function);
        };
    }
    let mut x = state.abcd;
    let mut y = _mm_sha1rnds4_epu32(x, _mm_add_epi32(state.e, w0), 0);
    aes!(0, y);
    groups!(rounds, scheduled, x, y, w0, w1, w2, w3, w4);
    State {
        abcd: _mm_add_epi32(state.abcd, x),
        e: _mm_sha1nexte_epu32(y, state.e),
    }
}
