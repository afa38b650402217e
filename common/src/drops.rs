//! Why a packet of a flow was not forwarded: a closed set.

/// Why a packet was dropped. The discriminant is the index of its counter.
///
/// It is a word: bytes beside each other on its stack the eBPF compiler may write as one, where the verifier wants words
/// aligned.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Shorter than the smallest RTP or RTCP packet.
    TooShort = 0,
    /// Arrived at an RTP port and is not RTP version 2.
    NotRtp = 1,
    /// Arrived at an RTCP port and is not RTCP version 2.
    NotRtcp = 2,
    /// RTP with a payload type that was not agreed.
    PayloadType = 3,
    /// From an address other than the one the flow is latched on: injected, or strayed.
    WrongSource = 4,
    /// Valid, but from an unexpected address that has yet to show a second packet in sequence.
    Probation = 5,
    /// The flow is on hold: its packets are counted and not sent on.
    Held = 6,
    /// Nobody knows yet where the other side wants its packets.
    NoDestination = 7,
    /// There is no route to the destination, or not through an interface of the kernel lane.
    NoRoute = 8,
    /// The next hop's hardware address is not known yet.
    NoNeighbour = 9,
    /// Larger than the path to the destination takes in one piece.
    TooBig = 10,
    /// Faster than the flow's ptime and packet size allow.
    Policed = 11,
    /// To a port of the RTP range that is nobody's: a scan, or a call that is over.
    Unallocated = 12,
}

impl DropReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 13] = [
        Self::TooShort,
        Self::NotRtp,
        Self::NotRtcp,
        Self::PayloadType,
        Self::WrongSource,
        Self::Probation,
        Self::Held,
        Self::NoDestination,
        Self::NoRoute,
        Self::NoNeighbour,
        Self::TooBig,
        Self::Policed,
        Self::Unallocated,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The index of its counter, below [`Self::COUNT`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::NotRtp => "not_rtp",
            Self::NotRtcp => "not_rtcp",
            Self::PayloadType => "payload_type",
            Self::WrongSource => "wrong_source",
            Self::Probation => "probation",
            Self::Held => "held",
            Self::NoDestination => "no_destination",
            Self::NoRoute => "no_route",
            Self::NoNeighbour => "no_neighbour",
            Self::TooBig => "too_big",
            Self::Policed => "policed",
            Self::Unallocated => "unallocated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_place_in_the_list() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), place, "{}", reason.name());
        }
    }
}
