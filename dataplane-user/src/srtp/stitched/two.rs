//! Two packets at a time: their chains of SHA-1 side by side.

use std::arch::x86_64::{__m128i, _mm_add_epi32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32};

use super::aes::{Counter, encrypt_all};
use super::pass::{DECRYPT, ENCRYPT};
use super::sha1::{State, groups, load, next_words, of_inner, tag, words_at};
use super::{BLOCK, Keys, Rounds, Task, wide};
use crate::srtp::portable::{self, HMAC_LEN};

/// Which of the two functions below something is part of. Each has its own of everything, so that it becomes part of that: what
/// is passed between them would go through memory otherwise.
const NARROW: u8 = 0;
const WIDE: u8 = 1;

/// The HMACs of two packets, which are encrypted before or decrypted after, as `WAY` says.
#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1")]
pub(super) fn two<const WAY: u8>(mut tasks: [Task<'_>; 2]) -> [[u8; HMAC_LEN]; 2] {
    if WAY == ENCRYPT {
        for task in &mut tasks {
            encrypt(task);
        }
    }
    let tags = tags::<WAY, NARROW>(&tasks);
    if WAY == DECRYPT {
        for task in &mut tasks {
            encrypt(task);
        }
    }
    tags
}

/// The same with registers of 512 bits.
#[target_feature(enable = "aes,sha,sse2,ssse3,sse4.1,avx512f,vaes")]
pub(super) fn two_wide<const WAY: u8>(mut tasks: [Task<'_>; 2]) -> [[u8; HMAC_LEN]; 2] {
    if WAY == ENCRYPT {
        wide::encrypt::<WAY>(&mut tasks);
    }
    let tags = tags::<WAY, WIDE>(&tasks);
    if WAY == DECRYPT {
        wide::encrypt::<WAY>(&mut tasks);
    }
    tags
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn tags<const WAY: u8, const WIDTH: u8>([a, b]: &[Task<'_>; 2]) -> [[u8; HMAC_LEN]; 2] {
    // They are not moved: their bytes are on the way to memory until they are read as words.
    let endings = [ending(a), ending(b)];
    hash::<WAY, WIDTH>([Chain::new(a, &endings[0]), Chain::new(b, &endings[1])])
}

/// Which is also how it is decrypted.
#[inline]
#[target_feature(enable = "aes,sse2,ssse3,sse4.1")]
fn encrypt(task: &mut Task<'_>) {
    let counter = Counter::new(task.iv, &task.keys.round_keys);
    let text = task.packet.get_mut(task.clear..).unwrap_or_default();
    match task.keys.rounds {
        Rounds::Ten => encrypt_all::<10>(counter, text),
        Rounds::Fourteen => encrypt_all::<14>(counter, text),
    }
}

/// What follows the whole blocks of a packet, and how many blocks it is.
#[inline]
fn ending(task: &Task<'_>) -> ([u8; 2 * BLOCK], usize) {
    let (_, rest) = task.packet.as_chunks::<BLOCK>();
    portable::ending(rest, task.trailer, task.packet.len())
}

/// The blocks of one HMAC: those of the packet, the ending, and the outer hash.
struct Chain<'a> {
    keys: &'a Keys,
    whole: &'a [[u8; BLOCK]],
    ending: &'a [u8; 2 * BLOCK],
    /// Where the outer hash is.
    outer: usize,
    place: usize,
    state: State,
}

impl<'a> Chain<'a> {
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn new(task: &'a Task<'_>, (ending, count): &'a ([u8; 2 * BLOCK], usize)) -> Self {
        let (whole, _) = task.packet.as_chunks();
        Self {
            keys: task.keys,
            whole,
            ending,
            outer: whole.len() + count,
            place: 0,
            state: load(task.keys.inner),
        }
    }

    /// The words of the next block. Before that of the outer hash, what was hashed becomes part of it.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn next(&mut self) -> [__m128i; 4] {
        let place = self.place;
        self.place += 1;
        if place == self.outer {
            let words = of_inner(self.state);
            self.state = load(self.keys.outer);
            words
        } else {
            match self.whole.get(place) {
                Some(block) => words_at(block, 0),
                None => words_at(self.ending, place - self.whole.len()),
            }
        }
    }

    #[inline]
    fn is_done(&self) -> bool {
        self.place > self.outer
    }
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn hash<const WAY: u8, const WIDTH: u8>([mut a, mut b]: [Chain<'_>; 2]) -> [[u8; HMAC_LEN]; 2] {
    while !a.is_done() && !b.is_done() {
        let words = [a.next(), b.next()];
        [a.state, b.state] = blocks::<2, WAY, WIDTH>([a.state, b.state], words);
    }
    // The longer one goes on alone.
    for chain in [&mut a, &mut b] {
        while !chain.is_done() {
            let words = chain.next();
            [chain.state] = blocks::<1, WAY, WIDTH>([chain.state], [words]);
        }
    }
    [tag(a.state), tag(b.state)]
}

/// Hashes a block of each chain.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn blocks<const CHAINS: usize, const WAY: u8, const WIDTH: u8>(
    states: [State; CHAINS],
    words: [[__m128i; 4]; CHAINS],
) -> [State; CHAINS] {
    // Closures would not be made part of this, for they have not its instructions.
    let [mut w0, mut w1, mut w2, mut w3] = [[words[0][0]; CHAINS]; 4];
    let (mut x, mut y) = ([states[0].abcd; CHAINS], [states[0].abcd; CHAINS]);
    for chain in 0..CHAINS {
        [w0[chain], w1[chain], w2[chain], w3[chain]] = words[chain];
        x[chain] = states[chain].abcd;
        y[chain] = _mm_sha1rnds4_epu32(x[chain], _mm_add_epi32(states[chain].e, w0[chain]), 0);
    }
    let mut w4 = w0;
    macro_rules! rounds {
        ($group:literal, $from:ident, $to:ident, $words:ident, $function:literal) => {
            for chain in 0..CHAINS {
                $to[chain] = _mm_sha1rnds4_epu32(
                    $from[chain],
                    _mm_sha1nexte_epu32($to[chain], $words[chain]),
                    $function,
                );
            }
        };
    }
    macro_rules! scheduled {
        ($group:literal, $from:ident, $to:ident, $function:literal,
         $a:ident, $b:ident, $c:ident, $d:ident => $next:ident) => {
            for chain in 0..CHAINS {
                $next[chain] = next_words($a[chain], $b[chain], $c[chain], $d[chain]);
            }
            rounds!($group, $from, $to, $next, $function);
        };
    }
    groups!(rounds, scheduled, x, y, w0, w1, w2, w3, w4);
    let mut states = states;
    for chain in 0..CHAINS {
        states[chain] = State {
            abcd: _mm_add_epi32(states[chain].abcd, x[chain]),
            e: _mm_sha1nexte_epu32(y[chain], states[chain].e),
        };
    }
    states
}
