//! Incremental update of Internet checksums (RFC 1624, equation 3).
//!
//! Sums are made of the words as they stand in memory: the Internet checksum does not depend on byte order as long as
//! it is stored the way it was summed (RFC 1071 section 2), and 32 bits at once sum up to the same as 16 and 16.
//!
//! A checksum that was wrong stays wrong: rewriting never launders a damaged packet.

use crate::address::Host;

/// What has changed in the data under a checksum: the sum of `~m + m'` over the changed words. Fields must lie at even
/// offsets.
///
/// Holds thousands of millions of changed words without overflow; a packet has at most thirty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change(u64);

impl Change {
    /// Nothing has changed.
    pub const NONE: Self = Self(0);

    /// Two bytes have changed.
    #[inline(always)]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Four bytes have changed.
    #[inline(always)]
    pub const fn double_word(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// An IPv6 address has changed.
    #[inline(always)]
    pub const fn host(self, old: Host, new: Host) -> Self {
        let ([a, b], [c, d]) = (old.words(), new.words());
        self.double_word(a as u32, c as u32)
            .double_word((a >> 32) as u32, (c >> 32) as u32)
            .double_word(b as u32, d as u32)
            .double_word((b >> 32) as u32, (d >> 32) as u32)
    }

    /// Both changes.
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum of an IPv4 header after the change.
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        let sum = self.0 + !checksum as u64;
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        // Twice: the first fold can carry again.
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }

    /// The UDP checksum after the change (RFC 768): zero means that the sender computed none, and stays; a sum that
    /// comes out as zero is written as all ones.
    #[inline(always)]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            sum => sum,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// RFC 1071, from scratch.
    fn whole(words: &[[u8; 2]]) -> u16 {
        let mut sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::from_ne_bytes((!(sum as u16)).to_be_bytes())
    }

    fn native(word: [u8; 2]) -> u16 {
        u16::from_ne_bytes(word)
    }

    #[test]
    fn example_of_rfc_1624() {
        // Section 4: the case in which RFC 1141's equation gives 0xffff.
        let change = Change::NONE.word(native([0x55, 0x55]), native([0x32, 0x85]));
        assert_eq!(change.apply(native([0xdd, 0x2f])), 0);
    }

    #[test]
    fn no_udp_checksum_stays_none() {
        assert_eq!(Change::NONE.word(0x0102, 0x0304).apply_udp(0), 0);
    }

    proptest! {
        #[test]
        fn incremental_equals_whole(
            // The first word is never zero, as in any IPv4 header and any UDP pseudo-header.
            words in prop::collection::vec(any::<[u8; 2]>(), 2..40),
            changes in prop::collection::vec((1usize..40, any::<[u8; 2]>()), 0..12),
        ) {
            let mut words: Vec<[u8; 2]> = words;
            words[0] = [0x45, 0];
            let before = whole(&words);
            let mut change = Change::NONE;
            for (place, new) in changes {
                if let Some(word) = words.get_mut(place) {
                    change = change.word(native(*word), native(new));
                    *word = new;
                }
            }
            prop_assert_eq!(change.apply(before), whole(&words));
            if before != 0 {
                let udp = match whole(&words) { 0 => 0xffff, sum => sum };
                prop_assert_eq!(change.apply_udp(before), udp);
            }
        }

        #[test]
        fn an_address_is_its_words(old: [u8; 16], new: [u8; 16], checksum: u16) {
            let at = |bytes: &[u8; 16], place: usize| native([bytes[place], bytes[place + 1]]);
            let words = (0..16).step_by(2).fold(Change::NONE, |change, place| {
                change.word(at(&old, place), at(&new, place))
            });
            prop_assert_eq!(Change::NONE.host(Host::v6(old), Host::v6(new)).apply(checksum), words.apply(checksum));
            let first = |bytes: &[u8; 16]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let two = Change::NONE.word(at(&old, 0), at(&new, 0)).word(at(&old, 2), at(&new, 2));
            prop_assert_eq!(Change::NONE.double_word(first(&old), first(&new)).apply(checksum), two.apply(checksum));
        }
    }
}
