//! AES in counter mode with registers of 512 bits, four blocks in each: for two packets at a time it takes an instruction where
//! `aes` takes four, and keeps out of the registers that SHA-1 needs.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_insert_epi16, _mm512_aesenc_epi128, _mm512_aesenclast_epi128, _mm512_broadcast_i32x4,
    _mm512_loadu_si512, _mm512_set_epi64, _mm512_storeu_si512, _mm512_xor_si512,
};

use super::aes::{Counter, xor_part};
use super::{BLOCK, Rounds, Task};

/// Bytes of keystream that are made of a packet at a time.
const PIECE: usize = 3 * BLOCK;

/// Those of one packet.
type Piece = [__m512i; 3];

/// Whether this processor has the instructions.
pub(super) fn is_known() -> bool {
    is_x86_feature_detected!("vaes") && is_x86_feature_detected!("avx512f")
}

/// Encrypts, or decrypts, the text of both.
#[inline]
#[target_feature(enable = "sse2,ssse3,avx512f,vaes")]
pub(super) fn encrypt<const WAY: u8>(tasks: &mut [Task<'_>; 2]) {
    let [a, b] = tasks
        .each_ref()
        .map(|task| task.packet.len().saturating_sub(task.clear));
    for place in 0..a.max(b).div_ceil(PIECE) {
        let pieces = pieces::<WAY>(tasks, place);
        for (task, piece) in tasks.iter_mut().zip(pieces) {
            let text = task.packet.get_mut(task.clear + PIECE * place..);
            xor(text.unwrap_or_default(), piece);
        }
    }
}

#[inline]
#[target_feature(enable = "sse2,ssse3,avx512f,vaes")]
fn pieces<const WAY: u8>(tasks: &[Task<'_>; 2], place: usize) -> [Piece; 2] {
    let [a, b] = tasks;
    let counters = [
        Counter::new(a.iv, &a.keys.round_keys),
        Counter::new(b.iv, &b.keys.round_keys),
    ];
    match (a.keys.rounds, b.keys.rounds) {
        (Rounds::Ten, Rounds::Ten) => keystreams::<10, 2, WAY>(counters, place),
        (Rounds::Fourteen, Rounds::Fourteen) => keystreams::<14, 2, WAY>(counters, place),
        (Rounds::Ten, Rounds::Fourteen) => {
            let ([a], [b]) = (
                keystreams::<10, 1, WAY>([counters[0]], place),
                keystreams::<14, 1, WAY>([counters[1]], place),
            );
            [a, b]
        }
        (Rounds::Fourteen, Rounds::Ten) => {
            let ([a], [b]) = (
                keystreams::<14, 1, WAY>([counters[0]], place),
                keystreams::<10, 1, WAY>([counters[1]], place),
            );
            [a, b]
        }
    }
}

#[inline]
#[target_feature(enable = "sse2,avx512f,vaes")]
fn keystreams<const ROUNDS: usize, const PACKETS: usize, const WAY: u8>(
    counters: [Counter<'_>; PACKETS],
    place: usize,
) -> [Piece; PACKETS] {
    let mut pieces = [[blocks(counters[0].first, 0); 3]; PACKETS];
    for (piece, counter) in pieces.iter_mut().zip(&counters) {
        let key = wide(counter.key(0));
        for (four, lanes) in piece.iter_mut().enumerate() {
            *lanes = _mm512_xor_si512(blocks(counter.first, 3 * place + four), key);
        }
    }
    for round in 1..ROUNDS {
        for (piece, counter) in pieces.iter_mut().zip(&counters) {
            let key = wide(counter.key(round));
            for lanes in piece {
                *lanes = _mm512_aesenc_epi128(*lanes, key);
            }
        }
    }
    for (piece, counter) in pieces.iter_mut().zip(&counters) {
        let key = wide(counter.key(ROUNDS));
        for lanes in piece {
            *lanes = _mm512_aesenclast_epi128(*lanes, key);
        }
    }
    pieces
}

/// Four times the same.
#[inline]
#[target_feature(enable = "avx512f")]
fn wide(lane: __m128i) -> __m512i {
    _mm512_broadcast_i32x4(lane)
}

/// Four counter blocks from this one of four on. No datagram has 2^16 of them.
#[inline]
#[target_feature(enable = "sse2,avx512f")]
fn blocks(first: __m128i, four: usize) -> __m512i {
    let [a, b, c, d] = [0, 1, 2, 3].map(|block| i64::from(((4 * four + block) as u16).swap_bytes()) << 48);
    let counts = _mm512_set_epi64(d, 0, c, 0, b, 0, a, 0);
    _mm512_xor_si512(wide(_mm_insert_epi16(first, 0, 7)), counts)
}

#[inline]
#[target_feature(enable = "sse2,avx512f")]
fn xor(text: &mut [u8], piece: Piece) {
    for (bytes, lanes) in text.chunks_mut(BLOCK).zip(piece) {
        match bytes.first_chunk_mut::<BLOCK>() {
            // SAFETY: they are 64 bytes, as is what is read and written.
            Some(whole) => unsafe {
                let before = _mm512_loadu_si512(whole.as_ptr().cast());
                _mm512_storeu_si512(whole.as_mut_ptr().cast(), _mm512_xor_si512(before, lanes));
            },
            None => {
                let mut keystream = [0u8; BLOCK];
                // SAFETY: they are 64 bytes, as is what is written.
                unsafe { _mm512_storeu_si512(keystream.as_mut_ptr().cast(), lanes) };
                xor_part(bytes, bytemuck::cast(keystream));
            }
        }
    }
}
