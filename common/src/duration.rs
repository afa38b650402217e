//! A histogram of the time a packet takes: buckets that grow by a quarter of their octave.

/// How many buckets there are. The last takes all that is longer.
pub const BUCKETS: u32 = 64;

/// One packet of this many is measured: reading the clock a second time costs as much as the rest.
pub const SAMPLED: u64 = 64;

/// The bucket of `nanoseconds`: exact up to 7, then four to an octave.
#[inline(always)]
pub const fn bucket(nanoseconds: u64) -> u32 {
    let value = if nanoseconds > u32::MAX as u64 {
        u32::MAX
    } else {
        nanoseconds as u32
    };
    if value < 8 {
        return value;
    }
    let mut octave = 2;
    let mut rest = value >> 3;
    // At most 29 steps, without an instruction that counts leading zeros.
    while rest != 0 && octave < 32 {
        octave += 1;
        rest >>= 1;
    }
    let bucket = 8 + (octave - 3) * 4 + (value >> (octave - 2) & 3);
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The least time that is longer than those of `bucket`, ns; `None` for the last, which has no end.
pub const fn end_of(bucket: u32) -> Option<u64> {
    if bucket < 8 {
        Some(bucket as u64 + 1)
    } else if bucket + 1 < BUCKETS {
        let (octave, quarter) = ((bucket - 8) / 4 + 3, (bucket - 8) % 4);
        Some((5 + quarter as u64) << (octave - 2))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_bucket() {
        let mut last = 0;
        for nanoseconds in (0..70_000).chain([1 << 20, u64::MAX]) {
            let bucket = bucket(nanoseconds);
            assert!(bucket < BUCKETS && bucket >= last, "{nanoseconds}");
            last = bucket;
            assert!(end_of(bucket).is_none_or(|end| nanoseconds < end), "{nanoseconds}");
            let begin = bucket.checked_sub(1).and_then(end_of).unwrap_or(0);
            assert!(nanoseconds >= begin, "{nanoseconds}: {begin}");
        }
        assert_eq!((bucket(7), bucket(8), bucket(9), bucket(10)), (7, 8, 8, 9));
        assert_eq!(end_of(BUCKETS - 1), None);
    }
}
