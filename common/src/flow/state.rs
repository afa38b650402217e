//! The half of a flow that the packet path writes.

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::Flow;
use crate::account::StreamAccount;
use crate::address::TransportAddress;
use crate::drops::DropReason;
use crate::latch::Latch;
use crate::pace::{Departure, Pacer, Pacing};
use crate::splice::{Continuity, SentStream};

/// The data plane's half of a flow: six cache lines, of which a packet that is sent on touches the middle three, from the
/// latch's owner to the account's `restart_at`. All zero before the first packet of the port.
///
/// Counters are not atomic: the packets of one sender meet one receive queue, hence one core.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowState {
    /// When the next packet may leave, if the flow is paced.
    pacer: Pacer,
    /// Keeps what follows to its cache lines.
    reserved: [u64; 3],
    /// Who owns the flow.
    pub latch: Latch,
    generation: u32,
    epoch: u32,
    /// Where the flow in the other direction was found to come from: overrides the signalled destination.
    found_destination: TransportAddress,
    /// The bucket of [`Police`].
    police_ns: u64,
    /// What was sent on.
    pub sent: SentStream,
    /// Packets sent on.
    pub forwarded: u64,
    /// RFC 3550 account of the accepted packets.
    pub account: StreamAccount,
    /// Packets dropped, by [`DropReason::index`].
    drops: [u64; DropReason::COUNT],
}

const LINE: usize = 64;
const _: () = assert!(size_of::<Flow>() == 2 * LINE && size_of::<FlowState>() == 6 * LINE);
const _: () = assert!(offset_of!(FlowState, latch) + Latch::SOURCE == LINE);
const _: () = assert!(offset_of!(FlowState, account) + StreamAccount::TOUCHED == 4 * LINE);

/// Zeroes a value in place, word by word. A second value would not fit the stack of an eBPF program, and `memset` is a call
/// and a loop there: the verifier follows it byte by byte, and before Linux 6.8 it takes all it has seen before a call for
/// important, and never comes to an end.
#[inline(always)]
pub(crate) fn clear<T: Pod>(value: &mut T) {
    const {
        assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>().is_multiple_of(8));
    }
    let words: *mut u64 = core::ptr::from_mut(value).cast();
    let mut place = 0;
    while place < size_of::<T>() / 8 {
        // SAFETY: a word of the value, by the bound and the assertion above; zero is a value of every Pod.
        unsafe { words.add(place).write_volatile(0) };
        place += 1;
    }
}

/// What an RTCP packet needs to know of the RTP flow beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Who owns it.
    pub owner: TransportAddress,
    /// SSRC it is sent on with, if that is not the source's.
    pub ssrc: Option<u32>,
}

impl Beside {
    /// Nothing is known.
    pub const NOTHING: Self = Self {
        owner: TransportAddress::NONE,
        ssrc: None,
    };
}

/// What was counted in a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    packets: u64,
    bytes: u64,
    /// Packets that a state which had seen none before does not know to expect.
    unexpected: u64,
    forwarded: u64,
    drops: [u64; DropReason::COUNT],
}

impl FlowState {
    /// What has been counted since the state was `earlier`.
    pub fn counted_since(&self, earlier: &Self) -> Counts {
        let (account, before) = (&self.account, &earlier.account);
        let mut drops = self.drops;
        for (count, before) in drops.iter_mut().zip(earlier.drops) {
            *count = count.saturating_sub(before);
        }
        Counts {
            packets: account.packets.saturating_sub(before.packets),
            bytes: account.bytes.saturating_sub(before.bytes),
            unexpected: if before.packets == 0 { account.expected() } else { 0 },
            forwarded: self.forwarded.saturating_sub(earlier.forwarded),
            drops,
        }
    }

    /// Adds what was counted elsewhere of the same flow.
    pub fn add(&mut self, counts: &Counts) {
        self.account.add(counts.packets, counts.bytes, counts.unexpected);
        self.forwarded += counts.forwarded;
        for (count, more) in self.drops.iter_mut().zip(counts.drops) {
            *count += more;
        }
    }

    /// The far end is to be found anew, here and in the other direction: signalling has moved it.
    #[inline(always)]
    pub fn open_latch(&mut self) {
        clear(&mut self.latch);
        clear(&mut self.found_destination);
    }

    /// Goes on to another leg: where that leg was found, the stream it has been sent, and how many packets of it.
    pub fn lead_to(&mut self, found: TransportAddress, sent: SentStream, packets: u64) {
        self.found_destination = found;
        self.sent = sent;
        self.forwarded = packets;
    }

    /// The same state as that of another flow: of the same leg in another lane.
    pub fn moved_to(self, flow: &Flow) -> Self {
        Self {
            generation: flow.generation,
            epoch: flow.epoch,
            ..self
        }
    }

    /// Forgets what belongs to an earlier call on this port, and what signalling has made void.
    #[inline(always)]
    pub fn enter(&mut self, flow: &Flow) {
        if self.generation != flow.generation {
            clear(self);
            self.generation = flow.generation;
            self.epoch = flow.epoch;
        } else if self.epoch != flow.epoch {
            self.epoch = flow.epoch;
            self.open_latch();
        }
    }

    /// Whether this is a state of `flow`, rather than of an earlier use of its port.
    pub const fn belongs_to(&self, flow: &Flow) -> bool {
        self.generation == flow.generation
    }

    /// What the RTCP packets of `rtcp`, the flow beside this one, may rely on: nothing of an earlier call on the port, nor
    /// of what signalling has made void.
    #[inline(always)]
    pub fn beside(&self, rtcp: &Flow) -> Beside {
        if self.generation != rtcp.generation || self.epoch != rtcp.epoch {
            return Beside::NOTHING;
        }
        Beside {
            owner: self.latch.source(),
            ssrc: match rtcp.continuity() {
                Continuity::Transparent => None,
                Continuity::Spliced => self.sent.has_begun().then_some(self.sent.ssrc),
            },
        }
    }

    /// Tells the flow that its peer, `other`, has been found to come from `address`: this flow is sent there from now
    /// on.
    #[inline(always)]
    pub fn peer_found(&mut self, other: &Flow, address: TransportAddress) {
        self.enter(other);
        self.found_destination.publish(address);
    }

    /// Where the flow in the other direction was found to come from, if it was.
    #[inline(always)]
    pub const fn found_destination(&self) -> TransportAddress {
        self.found_destination
    }

    /// Where the flow is sent on to; none if neither signalling nor the peer's packets have told.
    #[inline(always)]
    pub const fn destination(&self, flow: &Flow) -> TransportAddress {
        if self.found_destination.is_none() {
            flow.destination
        } else {
            self.found_destination
        }
    }

    /// Whether a packet of `bytes` is within the rate of its flow.
    #[inline(always)]
    pub fn admits(&mut self, flow: &Flow, bytes: u32, now_ns: u64) -> bool {
        flow.police.admits(&mut self.police_ns, bytes, now_ns)
    }

    /// Whether packets leave at their times at present.
    pub const fn is_paced(&self, flow: &Flow) -> bool {
        !matches!(flow.pacing(), Pacing::Off) && self.pacer.is_pacing()
    }

    /// When a packet leaves.
    #[inline(always)]
    pub fn departure(&mut self, flow: &Flow, now_ns: u64) -> Departure {
        // Decided without the pacer, which has its cache line from memory for this alone.
        if let Pacing::Off = flow.pacing() {
            return Departure::Now;
        }
        let jitter_ns = self.account.jitter_ns();
        self.pacer.departure(flow.pacing(), flow.ptime_ns(), jitter_ns, now_ns)
    }

    /// Counts a packet that was sent on.
    #[inline(always)]
    pub fn on_forwarded(&mut self) {
        self.forwarded += 1;
    }

    /// A packet that was counted as sent on was not, after all.
    pub fn on_not_forwarded(&mut self, reason: DropReason) {
        self.forwarded = self.forwarded.saturating_sub(1);
        self.on_dropped(reason);
    }

    /// Counts a packet that was dropped.
    #[inline(always)]
    pub fn on_dropped(&mut self, reason: DropReason) {
        // The compiler knows that the index is in bounds, the eBPF verifier wants to see it.
        if let Some(count) = self.drops.get_mut(core::hint::black_box(reason.index())) {
            *count += 1;
        }
    }

    /// Packets dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()]
    }

    /// Packets dropped for any reason.
    pub fn dropped_in_all(&self) -> u64 {
        self.drops.iter().sum()
    }
}

// SAFETY: as for `Flow`.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FlowState {}
