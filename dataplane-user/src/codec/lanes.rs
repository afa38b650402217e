//! Numbers of 16 bits of [`LANES`] streams side by side in one vector of AVX2, one stream a lane.
//!
//! What a stream's coder does from sample to sample cannot be done at once, as each step needs the one before; but it can be
//! done for many streams at once. Everything here needs a processor that has AVX2, which `together` asks.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_blendv_epi8, _mm256_madd_epi16, _mm256_max_epi16,
    _mm256_min_epi16, _mm256_mulhi_epi16, _mm256_mullo_epi16, _mm256_or_si256, _mm256_permute2x128_si256,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16,
    _mm256_srli_epi16, _mm256_unpackhi_epi16, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi16,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

use bytemuck::cast;

/// Streams that are worked off together.
pub(super) const LANES: usize = 16;

/// A number of each stream.
pub(super) type Vector = __m256i;

/// Numbers of 32 bits: of the lanes 0 to 3 and 8 to 11, and of the others.
pub(super) type Wide = [__m256i; 2];

/// The same number of each stream.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn each(number: i16) -> Vector {
    _mm256_set1_epi16(number)
}

/// Products of numbers of 15 bits after the point, rounded down. Not for -1 times -1.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn product(a: Vector, b: Vector) -> Vector {
    let high = _mm256_mulhi_epi16(a, b);
    let lowest = _mm256_srli_epi16::<15>(_mm256_mullo_epi16(a, b));
    _mm256_add_epi16(_mm256_add_epi16(high, high), lowest)
}

/// Within bounds.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn clamp(numbers: Vector, least: Vector, most: Vector) -> Vector {
    _mm256_min_epi16(_mm256_max_epi16(numbers, least), most)
}

/// The one where all bits of the mask are set, the other where none is.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn choose(mask: Vector, one: Vector, other: Vector) -> Vector {
    _mm256_blendv_epi8(other, one, mask)
}

/// 16 numbers, of which each stream looks up its own.
#[derive(Clone, Copy)]
pub(super) struct Table {
    /// The lower bytes of the numbers, twice: a lookup reaches 16 bytes.
    low: [u8; 32],
    high: [u8; 32],
}

impl Table {
    pub(super) const fn new(numbers: [i16; 16]) -> Self {
        let (mut low, mut high) = ([0; 32], [0; 32]);
        let mut place = 0;
        while place < 32 {
            [low[place], high[place]] = numbers[place % 16].to_le_bytes();
            place += 1;
        }
        Self { low, high }
    }

    /// Looks up.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn at(&self, places: Places) -> Vector {
        let low = _mm256_shuffle_epi8(cast(self.low), places.low);
        _mm256_or_si256(low, _mm256_shuffle_epi8(cast(self.high), places.high))
    }
}

/// Which number of a [`Table`] each stream looks up.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// The place in the lower byte, and what stands for zero in the other; the other way round.
    low: Vector,
    high: Vector,
}

impl Places {
    /// Places from 0 to 15.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(places: Vector) -> Self {
        Self {
            low: _mm256_or_si256(places, each(0x8000u16 as i16)),
            high: _mm256_or_si256(_mm256_slli_epi16::<8>(places), each(0x80)),
        }
    }
}

/// Neighbours in time, to be weighed together.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn pair(first: Vector, second: Vector) -> Wide {
    [
        _mm256_unpacklo_epi16(first, second),
        _mm256_unpackhi_epi16(first, second),
    ]
}

/// Adds what neighbours come to with a weight each.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn weigh(sum: &mut Wide, pair: &Wide, weights: [i16; 2]) {
    let weights = _mm256_set1_epi32(cast(weights));
    sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(pair[0], weights));
    sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(pair[1], weights));
}

/// Nothing.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn nothing() -> Vector {
    _mm256_setzero_si256()
}

/// Of numbers that each stream has in a row, a vector for each place in the rows. `LENGTH` is a multiple of 16; places that
/// `columns` has no room for are left out.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn columns<const LENGTH: usize>(rows: &[[i16; LENGTH]; LANES], columns: &mut [Vector]) {
    for (tile, columns) in columns.chunks_mut(LANES).enumerate().take(LENGTH / LANES) {
        let mut square = [nothing(); LANES];
        for (line, row) in square.iter_mut().zip(rows) {
            *line = cast(row.as_chunks::<LANES>().0[tile]);
        }
        let turned = turned(&square);
        columns.copy_from_slice(&turned[..columns.len()]);
    }
}

/// The same the other way round; places that `columns` does not have are left as they are, but for those up to the next
/// multiple of 16.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn rows<const LENGTH: usize>(columns: &[Vector], rows: &mut [[i16; LENGTH]; LANES]) {
    for (tile, columns) in columns.chunks(LANES).enumerate().take(LENGTH / LANES) {
        let mut square = [nothing(); LANES];
        square[..columns.len()].copy_from_slice(columns);
        for (row, line) in rows.iter_mut().zip(turned(&square)) {
            row.as_chunks_mut::<LANES>().0[tile] = cast(line);
        }
    }
}

/// Rows become columns.
#[inline]
#[target_feature(enable = "avx2")]
fn turned(rows: &[Vector; LANES]) -> [Vector; LANES] {
    let [a, b] = [turned_halves(rows, 0), turned_halves(rows, 8)];
    let mut columns = [nothing(); LANES];
    for place in 0..8 {
        columns[place] = _mm256_permute2x128_si256::<0x20>(a[place], b[place]);
        columns[place + 8] = _mm256_permute2x128_si256::<0x31>(a[place], b[place]);
    }
    columns
}

/// Of eight rows, the columns 0 and 8, 1 and 9, and so on.
#[inline]
#[target_feature(enable = "avx2")]
fn turned_halves(rows: &[Vector; LANES], first: usize) -> [Vector; 8] {
    let mut twos = [nothing(); 8];
    for pair in 0..4 {
        let (one, other) = (rows[first + 2 * pair], rows[first + 2 * pair + 1]);
        twos[pair] = _mm256_unpacklo_epi16(one, other);
        twos[4 + pair] = _mm256_unpackhi_epi16(one, other);
    }
    // The first two places of each four are those of the lower columns.
    let mut fours = [nothing(); 8];
    for half in 0..2 {
        for pair in 0..2 {
            let (one, other) = (twos[4 * half + 2 * pair], twos[4 * half + 2 * pair + 1]);
            fours[4 * half + pair] = _mm256_unpacklo_epi32(one, other);
            fours[4 * half + 2 + pair] = _mm256_unpackhi_epi32(one, other);
        }
    }
    let mut eights = [nothing(); 8];
    for quarter in 0..4 {
        let (one, other) = (fours[2 * quarter], fours[2 * quarter + 1]);
        eights[2 * quarter] = _mm256_unpacklo_epi64(one, other);
        eights[2 * quarter + 1] = _mm256_unpackhi_epi64(one, other);
    }
    eights
}
