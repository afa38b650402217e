//! AES in counter mode and HMAC-SHA1 in one pass, with the instructions that x86-64 has for both.
//!
//! A packet of 172 bytes is four blocks of SHA-1, each of which is one long chain: every group of four rounds waits for the
//! one before. AES is ten rounds for each 16 bytes, which wait for nothing. So while a block is hashed, the rounds of four
//! blocks of keystream are put between its groups, where the processor has nothing else to do: encrypting is nearly free.
//! A processor does not find this by itself if the two follow each other: the chain fills its scheduler.
//!
//! Everywhere else [`super::portable`] does the same with crates, and is what this is tested against.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_aeskeygenassist_si128, _mm_cvtsi128_si32,
    _mm_extract_epi32, _mm_insert_epi16, _mm_set_epi32, _mm_set_epi64x, _mm_sha1msg1_epu32, _mm_sha1msg2_epu32,
    _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32, _mm_shuffle_epi8, _mm_xor_si128,
};

use zeroize::ZeroizeOnDrop;

use super::portable::{self, HMAC_LEN};

/// A block of SHA-1, and four of AES.
const BLOCK: usize = 64;

/// Most rounds of AES, plus one: a key for each.
const ROUND_KEYS: usize = 15;

/// The keys of one direction.
#[derive(ZeroizeOnDrop)]
pub(super) struct Keys {
    round_keys: [u128; ROUND_KEYS],
    #[zeroize(skip)]
    rounds: Rounds,
    inner: [u32; 5],
    outer: [u32; 5],
}

#[derive(Clone, Copy)]
enum Rounds {
    Ten,
    Fourteen,
}

impl Keys {
    /// `None` if this processor lacks an instruction, or the key is not of 16 or 32 bytes.
    pub(super) fn new(cipher_key: &[u8], auth_key: &[u8]) -> Option<Self> {
        let has_all = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        let rounds = match cipher_key.len() {
            16 => Rounds::Ten,
            32 => Rounds::Fourteen,
            _ => return None,
        };
        if !has_all {
            return None;
        }
        let [inner, outer] = portable::hmac_states(auth_key);
        Some(Self {
            // SAFETY: the processor has the instructions.
            round_keys: unsafe { expand(cipher_key) },
            rounds,
            inner,
            outer,
        })
    }

    /// Encrypts `packet[clear..]`, then returns the HMAC of the whole and `trailer`.
    pub(super) fn encrypt_then_tag(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        // SAFETY: `new` has seen that the processor has the instructions.
        unsafe {
            match self.rounds {
                Rounds::Ten => encrypt_then_tag::<10>(self, packet, clear, iv, trailer),
                Rounds::Fourteen => encrypt_then_tag::<14>(self, packet, clear, iv, trailer),
            }
        }
    }

    /// Returns the HMAC of the whole and `trailer`, and decrypts `packet[clear..]` meanwhile.
    pub(super) fn tag_and_decrypt(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        // SAFETY: `new` has seen that the processor has the instructions.
        unsafe {
            match self.rounds {
                Rounds::Ten => tag_and_decrypt::<10>(self, packet, clear, iv, trailer),
                Rounds::Fourteen => tag_and_decrypt::<14>(self, packet, clear, iv, trailer),
            }
        }
    }
}

/// The key schedule of AES (FIPS 197 section 5.2), words in memory order.
#[target_feature(enable = "aes,sse2,ssse3,sse4.1")]
fn expand(key: &[u8]) -> [u128; ROUND_KEYS] {
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

/// SHA-1 between two blocks: four words, the first of them highest, and the fifth alone.
#[derive(Clone, Copy)]
struct State {
    abcd: __m128i,
    e: __m128i,
}

/// The counter blocks of one packet.
#[derive(Clone, Copy)]
struct Counter<'a> {
    /// In the byte order of the cipher; the last two bytes count.
    first: __m128i,
    round_keys: &'a [u128; ROUND_KEYS],
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn load(state: [u32; 5]) -> State {
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

impl<'a> Counter<'a> {
    #[inline]
    #[target_feature(enable = "sse2,ssse3")]
    fn new(iv: u128, round_keys: &'a [u128; ROUND_KEYS]) -> Self {
        Self {
            first: bytemuck::cast(iv.to_be_bytes()),
            round_keys,
        }
    }

    /// Four blocks from this one of four on. No datagram has 2^16 of them.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn blocks(self, four: usize) -> [__m128i; 4] {
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
    fn key(self, round: usize) -> __m128i {
        bytemuck::cast(self.round_keys[round])
    }
}

/// One of the rounds (0 to `ROUNDS`) of four blocks of AES.
#[inline]
#[target_feature(enable = "aes,sse2")]
fn round<const ROUNDS: usize>(lanes: [__m128i; 4], counter: Counter<'_>, round: usize) -> [__m128i; 4] {
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

#[inline]
#[target_feature(enable = "sse2")]
fn xor(text: &mut [u8; BLOCK], lanes: [__m128i; 4]) {
    let before: [__m128i; 4] = bytemuck::cast(*text);
    *text = bytemuck::cast([
        _mm_xor_si128(before[0], lanes[0]),
        _mm_xor_si128(before[1], lanes[1]),
        _mm_xor_si128(before[2], lanes[2]),
        _mm_xor_si128(before[3], lanes[3]),
    ]);
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
            $next = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32($a, $b), $c), $d);
            rounds!($group, $from, $to, $next, $function);
        };
    }
    let mut x = state.abcd;
    let mut y = _mm_sha1rnds4_epu32(x, _mm_add_epi32(state.e, w0), 0);
    aes!(0, y);
    rounds!(1, y, x, w1, 0);
    rounds!(2, x, y, w2, 0);
    rounds!(3, y, x, w3, 0);
    scheduled!(4, x, y, 0, w0, w1, w2, w3 => w4);
    scheduled!(5, y, x, 1, w1, w2, w3, w4 => w0);
    scheduled!(6, x, y, 1, w2, w3, w4, w0 => w1);
    scheduled!(7, y, x, 1, w3, w4, w0, w1 => w2);
    scheduled!(8, x, y, 1, w4, w0, w1, w2 => w3);
    scheduled!(9, y, x, 1, w0, w1, w2, w3 => w4);
    scheduled!(10, x, y, 2, w1, w2, w3, w4 => w0);
    scheduled!(11, y, x, 2, w2, w3, w4, w0 => w1);
    scheduled!(12, x, y, 2, w3, w4, w0, w1 => w2);
    scheduled!(13, y, x, 2, w4, w0, w1, w2 => w3);
    scheduled!(14, x, y, 2, w0, w1, w2, w3 => w4);
    scheduled!(15, y, x, 3, w1, w2, w3, w4 => w0);
    scheduled!(16, x, y, 3, w2, w3, w4, w0 => w1);
    scheduled!(17, y, x, 3, w3, w4, w0, w1 => w2);
    scheduled!(18, x, y, 3, w4, w0, w1, w2 => w3);
    rounds!(
        19,
        y,
        x,
        _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(w0, w1), w2), w3),
        3
    );
    State {
        abcd: _mm_add_epi32(state.abcd, x),
        e: _mm_sha1nexte_epu32(y, state.e),
    }
}

/// Encrypts these 64 bytes of the text, or as many as there are, at once.
#[inline]
#[target_feature(enable = "aes,sse2,ssse3,sse4.1")]
fn encrypt<const ROUNDS: usize>(counter: Counter<'_>, text: &mut [u8], four: usize) {
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

#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
fn encrypt_then_tag<const ROUNDS: usize>(
    keys: &Keys,
    packet: &mut [u8],
    clear: usize,
    iv: u128,
    trailer: u32,
) -> [u8; HMAC_LEN] {
    let clear = clear.min(packet.len());
    let counter = Counter::new(iv, &keys.round_keys);
    encrypt::<ROUNDS>(counter, &mut packet[clear..], 0);
    encrypt::<ROUNDS>(counter, &mut packet[clear..], 1);
    pass::<ROUNDS, ENCRYPT>(keys, packet, clear, counter, trailer)
}

#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
fn tag_and_decrypt<const ROUNDS: usize>(
    keys: &Keys,
    packet: &mut [u8],
    clear: usize,
    iv: u128,
    trailer: u32,
) -> [u8; HMAC_LEN] {
    let clear = clear.min(packet.len());
    let counter = Counter::new(iv, &keys.round_keys);
    pass::<ROUNDS, DECRYPT>(keys, packet, clear, counter, trailer)
}

/// The text is encrypted 64 bytes ahead of the hash, at least. The first 128 bytes have been.
const ENCRYPT: u8 = 0;

/// The text is decrypted behind the hash.
const DECRYPT: u8 = 1;

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

/// The words of a whole block of the packet.
#[inline]
#[target_feature(enable = "sse2,ssse3")]
fn words_at(packet: &[u8], place: usize) -> [__m128i; 4] {
    // The callers count whole blocks.
    let block = packet.get(place * BLOCK..).and_then(|rest| rest.first_chunk());
    words(block.unwrap_or(&[0; BLOCK]))
}

/// The block of the outer hash: the inner one, and its padding (FIPS 180-4 section 5.1.1). It is as it stands in the
/// registers.
#[inline]
#[target_feature(enable = "sse2,sse4.1")]
fn of_inner(inner: State) -> [__m128i; 4] {
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
fn tag(state: State) -> [u8; HMAC_LEN] {
    let mut tag = [0; HMAC_LEN];
    let (abcd, e) = tag.split_at_mut(16);
    abcd.copy_from_slice(&bytemuck::cast::<_, [u8; 16]>(reverse(state.abcd)));
    e.copy_from_slice(&_mm_extract_epi32(state.e, 3).to_be_bytes());
    tag
}
