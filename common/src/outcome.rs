//! How a frame ends in the XDP program: a closed set, each with a counter of its own.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

use crate::drops::DropReason;

/// Why a frame is left to the network stack.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassReason {
    /// Not UDP over IP over Ethernet with one VLAN tag at most.
    NotUdp = 0,
    /// IPv4 with options, or IPv6 with extension headers.
    Options = 1,
    /// A fragment, of either IP.
    Fragment = 2,
    /// Lengths that contradict each other.
    BadLength = 3,
    /// To an address or port outside the flow table.
    OtherPort = 4,
    /// To a port of the flow table that is nobody's, where such packets are not to be dropped.
    NoFlow = 5,
    /// To a port of the worker lane whose packets no AF_XDP socket takes.
    Worker = 6,
}

impl PassReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 7] = [
        Self::NotUdp,
        Self::Options,
        Self::Fragment,
        Self::BadLength,
        Self::OtherPort,
        Self::NoFlow,
        Self::Worker,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotUdp => "pass_not_udp",
            Self::Options => "pass_options",
            Self::Fragment => "pass_fragment",
            Self::BadLength => "pass_bad_length",
            Self::OtherPort => "pass_other_port",
            Self::NoFlow => "pass_no_flow",
            Self::Worker => "pass_worker",
        }
    }
}

/// How a frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Left to the network stack.
    Passed(PassReason),
    /// Sent on through the interface it came from.
    Reflected,
    /// Sent on through another interface.
    Redirected,
    /// Handed to the program `pace`, which sends it on at its time.
    Paced,
    /// Handed to a worker's AF_XDP socket.
    Worker,
    /// Dropped.
    Dropped(DropReason),
}

impl Outcome {
    /// How many counters there are.
    pub const COUNT: usize = PassReason::COUNT + 4 + DropReason::COUNT;

    /// Every outcome, in the order of the counters.
    pub fn all() -> impl Iterator<Item = Self> {
        PassReason::ALL
            .into_iter()
            .map(Self::Passed)
            .chain([Self::Reflected, Self::Redirected, Self::Paced, Self::Worker])
            .chain(DropReason::ALL.into_iter().map(Self::Dropped))
    }

    /// The index of its counter, below [`Self::COUNT`].
    #[inline(always)]
    pub const fn index(self) -> u32 {
        let index = match self {
            Self::Passed(reason) => reason as usize,
            Self::Reflected => PassReason::COUNT,
            Self::Redirected => PassReason::COUNT + 1,
            Self::Paced => PassReason::COUNT + 2,
            Self::Worker => PassReason::COUNT + 3,
            Self::Dropped(reason) => PassReason::COUNT + 4 + reason.index(),
        };
        index as u32
    }

    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed(reason) => reason.name(),
            Self::Reflected => "reflected",
            Self::Redirected => "redirected",
            Self::Paced => "paced",
            Self::Worker => "to_worker",
            Self::Dropped(reason) => reason.name(),
        }
    }
}

/// The frames of one core: those that the program has begun with, and how it was done with them. The two agree unless it is at
/// work on one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Frames {
    begun: u64,
    ended: [u64; Outcome::COUNT],
}

impl Frames {
    /// The program sees a frame, and reads what it goes by after that. Whoever changes that, and a system call later finds no frame
    /// begun, knows that the next one meets the change: no core takes so long to show what it has written.
    #[inline(always)]
    pub fn begin(&mut self) {
        let begun = self.begun.wrapping_add(1);
        // SAFETY: a place of one's own; volatile, so that it is not put off.
        unsafe { core::ptr::write_volatile(&raw mut self.begun, begun) };
    }

    /// It is done with the frame.
    #[inline(always)]
    pub fn end(&mut self, outcome: Outcome) {
        if let Some(ended) = self.ended.get_mut(outcome.index() as usize) {
            let count = ended.wrapping_add(1);
            // SAFETY: as above.
            unsafe { core::ptr::write_volatile(core::ptr::from_mut(ended), count) };
        }
    }

    /// Frames that have ended so.
    pub const fn ended_so(&self, outcome: Outcome) -> u64 {
        self.ended[outcome.index() as usize]
    }

    /// Frames that have ended.
    pub fn ended(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Whether a frame that the program was at work on when the core had counted `before` may be in it still.
    pub fn may_be_at_work_since(&self, before: &Self) -> bool {
        before.ended() < before.begun && self.ended() == before.ended()
    }
}

// SAFETY: repr(C) of plain integers, without padding (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Frames {}

/// What userspace was not told because a ring was full. The discriminant is the index of its counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// A copy of a telephone event or report, or an address that was found.
    Event = 0,
    /// A mirrored frame.
    Mirrored = 1,
}

/// How many kinds of [`Loss`] there are.
pub const LOSSES: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_counter() {
        for (place, outcome) in Outcome::all().enumerate() {
            assert_eq!(outcome.index() as usize, place, "{}", outcome.name());
        }
        assert_eq!(Outcome::all().count(), Outcome::COUNT);
    }

    #[test]
    fn a_frame_is_in_the_program_from_its_beginning_to_its_end() {
        let mut frames = Frames::zeroed();
        let idle = frames;
        assert!(!frames.may_be_at_work_since(&idle));
        frames.begin();
        let busy = frames;
        assert!(busy.may_be_at_work_since(&busy));
        // One that began afterwards has met whatever was changed before.
        assert!(!busy.may_be_at_work_since(&idle));
        frames.end(Outcome::Reflected);
        assert!(!frames.may_be_at_work_since(&busy));
        assert_eq!((frames.ended(), frames.ended_so(Outcome::Reflected)), (1, 1));
        // The next one, too.
        frames.begin();
        assert!(!frames.may_be_at_work_since(&busy));
    }
}
