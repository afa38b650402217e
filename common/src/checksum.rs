//! Incremental update of Internet checksums (RFC 1624, equation 3).
//!
//! A checksum that was wrong stays wrong: rewriting never launders a damaged packet.

/// What has changed in the data under a checksum: the sum of `~m + m'` over the changed words.
///
/// Holds 32,000 changed words without overflow; a header has ten.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change(u32);

impl Change {
    /// Nothing has changed.
    pub const NONE: Self = Self(0);

    /// A 16-bit word (two bytes at an even offset) has changed.
    #[inline(always)]
    pub const fn word(self, old: [u8; 2], new: [u8; 2]) -> Self {
        Self(self.0 + !u16::from_be_bytes(old) as u32 + u16::from_be_bytes(new) as u32)
    }

    /// An IPv4 address has changed.
    #[inline(always)]
    pub const fn address(self, old: [u8; 4], new: [u8; 4]) -> Self {
        self.word([old[0], old[1]], [new[0], new[1]])
            .word([old[2], old[3]], [new[2], new[3]])
    }

    /// The checksum of an IPv4 header after the change.
    #[inline(always)]
    pub const fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        let sum = self.0 + !u16::from_be_bytes(checksum) as u32;
        // Twice: the first fold of a 32-bit sum can carry again.
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        (!(sum as u16)).to_be_bytes()
    }

    /// The UDP checksum after the change (RFC 768): zero means that the sender computed none, and stays; a sum that
    /// comes out as zero is written as all ones.
    #[inline(always)]
    pub const fn apply_udp(self, checksum: [u8; 2]) -> [u8; 2] {
        if checksum[0] == 0 && checksum[1] == 0 {
            return checksum;
        }
        match self.apply(checksum) {
            [0, 0] => [0xff, 0xff],
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
    fn whole(words: &[[u8; 2]]) -> [u8; 2] {
        let mut sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    #[test]
    fn example_of_rfc_1624() {
        // Section 4: the case in which RFC 1141's equation gives 0xffff.
        assert_eq!(
            Change::NONE.word([0x55, 0x55], [0x32, 0x85]).apply([0xdd, 0x2f]),
            [0x00, 0x00]
        );
    }

    #[test]
    fn no_udp_checksum_stays_none() {
        assert_eq!(Change::NONE.word([1, 2], [3, 4]).apply_udp([0, 0]), [0, 0]);
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
                    change = change.word(*word, new);
                    *word = new;
                }
            }
            prop_assert_eq!(change.apply(before), whole(&words));
            if before != [0, 0] {
                let udp = match whole(&words) { [0, 0] => [0xff, 0xff], sum => sum };
                prop_assert_eq!(change.apply_udp(before), udp);
            }
        }

        #[test]
        fn an_address_is_two_words(old: [u8; 4], new: [u8; 4], checksum: [u8; 2]) {
            let words = Change::NONE.word([old[0], old[1]], [new[0], new[1]]).word([old[2], old[3]], [new[2], new[3]]);
            prop_assert_eq!(Change::NONE.address(old, new).apply(checksum), words.apply(checksum));
        }
    }
}
