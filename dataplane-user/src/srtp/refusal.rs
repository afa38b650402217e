//! Why a packet was not protected or unprotected: a closed set.

/// Why a packet was refused. The discriminant is the index of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    /// Not RTP or RTCP, or too short for what it has to hold.
    #[error("not a packet of its kind")]
    Malformed = 0,
    /// The tag is wrong: another key, or the packet was changed.
    #[error("wrong authentication tag")]
    Authentication = 1,
    /// It, or one with its number, was there before, or is too old to know.
    #[error("replayed")]
    Replayed = 2,
    /// It names another master key than the one that was agreed.
    #[error("unknown master key identifier")]
    Mki = 3,
    /// SRTCP that is authenticated only, which was not agreed.
    #[error("not encrypted")]
    Unencrypted = 4,
    /// The key has protected as many packets as it may (RFC 3711 section 9.2): it is time for another.
    #[error("the master key is used up")]
    KeyExhausted = 5,
    /// More SSRCs under one key than are kept apart.
    #[error("too many sources")]
    Sources = 6,
    /// The buffer has no room for what protection adds.
    #[error("no room for the authentication tag")]
    NoRoom = 7,
}

impl Refusal {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Authentication,
        Self::Replayed,
        Self::Mki,
        Self::Unencrypted,
        Self::KeyExhausted,
        Self::Sources,
        Self::NoRoom,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The index of its counter, below [`Self::COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in reports and metrics, among the other reasons for which packets are dropped.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "srtp_malformed",
            Self::Authentication => "srtp_authentication",
            Self::Replayed => "srtp_replayed",
            Self::Mki => "srtp_mki",
            Self::Unencrypted => "srtp_unencrypted",
            Self::KeyExhausted => "srtp_key_exhausted",
            Self::Sources => "srtp_sources",
            Self::NoRoom => "srtp_no_room",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_place_in_the_list() {
        for (place, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place, "{}", reason.name());
        }
    }
}
