//! AES in counter mode and HMAC-SHA1 in one pass, with the instructions that x86-64 has for both.
//!
//! A packet of 172 bytes is four blocks of SHA-1, each of which is one long chain: every group of four rounds waits for the
//! one before. AES is ten rounds for each 16 bytes, which wait for nothing. So while a block is hashed, the rounds of four
//! blocks of keystream are put between its groups, where the processor has nothing else to do: encrypting is nearly free.
//! A processor does not find this by itself if the two follow each other: the chain fills its scheduler.
//!
//! Everywhere else [`super::portable`] does the same with crates, and is what this is tested against.

#![allow(unsafe_code)]

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

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn load(state: [u32; 5]) -> State {
    let [a, b, c, d, e] = state.map(u32::cast_signed);
    State {
        abcd: _mm_set_epi32(a, b, c, d),
        e: _mm_set_epi32(e, 0, 0, 0),
    }
}

/// Turns 16 bytes round: words are big-endian, and the first is highest.
#[target_feature(enable = "sse2,ssse3")]
fn reverse(bytes: __m128i) -> __m128i {
    _mm_shuffle_epi8(bytes, _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f))
}

#[target_feature(enable = "sse2,ssse3")]
fn words(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(*block);
    [reverse(a), reverse(b), reverse(c), reverse(d)]
}

impl<'a> Counter<'a> {
    #[target_feature(enable = "sse2,ssse3")]
    fn new(iv: u128, round_keys: &'a [u128; ROUND_KEYS]) -> Self {
        Self {
            first: bytemuck::cast(iv.to_be_bytes()),
            round_keys,
        }
    }

    /// Four blocks from this one of four on. No datagram has 2^16 of them.
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

/// Hashes a block, and if `ROUNDS` is not 0 encrypts 64 bytes of `text` meanwhile.
#[inline]
#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
fn block<const ROUNDS: usize>(
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
        ($group:literal) => {
            if ROUNDS != 0 && $group < ROUNDS + 1 {
                lanes = round::<ROUNDS>(lanes, counter, $group);
            } else if ROUNDS != 0 && $group == ROUNDS + 1 {
                xor(text, lanes);
            }
        };
    }
    // Four rounds of SHA-1: those of FIPS 180-4 section 6.1.2 with this function and constant.
    macro_rules! rounds {
        ($group:literal, $from:ident, $to:ident, $word:expr, $function:literal) => {
            $to = _mm_sha1rnds4_epu32($from, _mm_sha1nexte_epu32($to, $word), $function);
            aes!($group);
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
    aes!(0);
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
    rounds!(19, y, x, _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(w0, w1), w2), w3), 3);
    State {
        abcd: _mm_add_epi32(state.abcd, x),
        e: _mm_sha1nexte_epu32(y, state.e),
    }
}

/// Hashes a block and nothing else.
#[inline]
#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
fn hash(state: State, words: [__m128i; 4], counter: Counter<'_>) -> State {
    block::<0>(state, words, counter, 0, &mut [0; BLOCK])
}

/// Hashes a block, and encrypts these 64 bytes of the text meanwhile, or as many as there are.
#[inline]
#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
fn stitch<const ROUNDS: usize>(
    state: State,
    words: [__m128i; 4],
    counter: Counter<'_>,
    text: &mut [u8],
    four: usize,
) -> State {
    let rest = text.get_mut(BLOCK * four..).unwrap_or_default();
    if let Some(whole) = rest.first_chunk_mut() {
        return block::<ROUNDS>(state, words, counter, four, whole);
    }
    if rest.is_empty() {
        return hash(state, words, counter);
    }
    let mut keystream = [0; BLOCK];
    let state = block::<ROUNDS>(state, words, counter, four, &mut keystream);
    portable::xor(rest, &keystream);
    state
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

/// What is hashed after the last whole block, in one block or two.
struct Ending {
    blocks: [[u8; BLOCK]; 2],
    count: usize,
}

impl Ending {
    /// `rest` is shorter than a block; `length` is that of the packet.
    #[inline]
    fn new(rest: &[u8], trailer: u32, length: usize) -> Self {
        let (bytes, count) = portable::ending(rest, trailer, length);
        Self {
            blocks: bytemuck::cast(bytes),
            count,
        }
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
    let counter = Counter::new(iv, &keys.round_keys);
    let mut state = load(keys.inner);
    let length = packet.len();
    let whole = length / BLOCK;
    let clear = clear.min(length);
    // Blocks of header alone.
    let before = clear / BLOCK;
    encrypt::<ROUNDS>(counter, &mut packet[clear..], 0);
    encrypt::<ROUNDS>(counter, &mut packet[clear..], 1);
    // From here on the text is encrypted 64 bytes ahead of the hash, at least.
    let fours = (length - clear).div_ceil(BLOCK).saturating_sub(2);
    for place in 0..before {
        state = hash(state, words_at(packet, place), counter);
    }
    for four in 0..fours {
        let words = words_at(packet, before + four);
        state = stitch::<ROUNDS>(state, words, counter, &mut packet[clear..], four + 2);
    }
    // Before the last blocks: its bytes are in memory by the time they are read as words.
    let ending = Ending::new(&packet[whole * BLOCK..], trailer, length);
    for place in before + fours..whole {
        state = hash(state, words_at(packet, place), counter);
    }
    for block in &ending.blocks[..ending.count] {
        state = hash(state, words(block), counter);
    }
    let outer = load(keys.outer);
    tag(hash(outer, of_inner(state), counter))
}

#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
fn tag_and_decrypt<const ROUNDS: usize>(
    keys: &Keys,
    packet: &mut [u8],
    clear: usize,
    iv: u128,
    trailer: u32,
) -> [u8; HMAC_LEN] {
    let counter = Counter::new(iv, &keys.round_keys);
    let mut state = load(keys.inner);
    let length = packet.len();
    let whole = length / BLOCK;
    let clear = clear.min(length);
    let before = clear / BLOCK;
    let ending = Ending::new(&packet[whole * BLOCK..], trailer, length);
    // The text is decrypted behind the hash: 64 bytes begin in one of its blocks and end in the next.
    let mut four = 0;
    for place in 0..whole {
        let words = words_at(packet, place);
        if place <= before {
            state = hash(state, words, counter);
        } else {
            state = stitch::<ROUNDS>(state, words, counter, &mut packet[clear..], four);
            four += 1;
        }
    }
    for (place, block) in ending.blocks[..ending.count].iter().enumerate() {
        if place == 0 && whole > before {
            state = stitch::<ROUNDS>(state, words(block), counter, &mut packet[clear..], four);
            four += 1;
        } else {
            state = hash(state, words(block), counter);
        }
    }
    let outer = load(keys.outer);
    tag(stitch::<ROUNDS>(
        outer,
        of_inner(state),
        counter,
        &mut packet[clear..],
        four,
    ))
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
