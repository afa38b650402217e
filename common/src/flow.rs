//! One flow: one direction of one media stream, arriving at one local address and port.
//!
//! A flow has two halves, each in a map of its own, so that neither writer can undo the other's work: [`Flow`] is
//! written by the control plane and only read on the packet path, [`FlowState`] is written on the packet path and only
//! read by the control plane. A generation number ties them together: a state of another generation belongs to an
//! earlier call on the same port and is begun afresh by the first packet that finds it.

#![allow(unsafe_code)]

use core::net::SocketAddrV4;

use bytemuck::{Pod, Zeroable};

use crate::account::{StreamAccount, Tick};
use crate::address::TransportAddress;
use crate::drops::DropReason;
use crate::latch::Latch;

/// What arrives on a flow.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKind {
    /// RTP.
    Rtp = 0,
    /// RTCP, on its own port.
    Rtcp = 1,
}

/// Whether what arrives is sent on.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// Counted and dropped: the call is on hold in this direction.
    Held = 0,
    /// Sent on.
    On = 1,
}

/// The set of RTP payload types that were agreed.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PayloadTypes([u64; 2]);

impl PayloadTypes {
    /// The set of these payload types; what is not a payload type (above 127) is left out.
    pub fn of(types: impl IntoIterator<Item = u8>) -> Self {
        let mut set = [0; 2];
        for kind in types {
            if let Some(word) = set.get_mut(usize::from(kind >> 6)) {
                *word |= 1 << (kind & 63);
            }
        }
        Self(set)
    }

    /// Whether the set has `payload_type`.
    #[inline(always)]
    pub const fn contains(&self, payload_type: u8) -> bool {
        let word = if payload_type & 64 == 0 { self.0[0] } else { self.0[1] };
        payload_type < 128 && word >> (payload_type & 63) & 1 != 0
    }
}

/// A payload type that is numbered differently on the two legs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PayloadRewrite {
    /// As it arrives.
    pub from: u8,
    /// As it is sent on.
    pub to: u8,
}

/// What the control plane says about a flow, in host types; [`Flow::new`] makes the map entry of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSpec {
    /// Which use of the port this is: never 0, and different from the last one on the same port.
    pub generation: u32,
    /// Counts how often signalling moved the legs within one generation; a new value opens both latches again. The
    /// flows of one pair share generation and epoch.
    pub epoch: u32,
    /// What arrives.
    pub kind: FlowKind,
    /// Where the arriving leg said it would send from: its own media address, as RTP is symmetric.
    pub signalled: SocketAddrV4,
    /// Our address and port on the outgoing leg.
    pub outgoing: SocketAddrV4,
    /// Where the outgoing leg said it wants its media.
    pub destination: SocketAddrV4,
    /// Payload types that may arrive (RTP only).
    pub payload_types: PayloadTypes,
    /// Payload types to renumber: the codec's and telephone-event's.
    pub rewrites: [PayloadRewrite; 2],
    /// Media clock, Hz (RTP only).
    pub clock_rate: u32,
    /// Whether what arrives is sent on.
    pub forwarding: Forwarding,
    /// Table entry of the flow in the other direction.
    pub peer: u32,
}

/// The control plane's half of a flow. All zero: no flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Flow {
    generation: u32,
    epoch: u32,
    signalled: TransportAddress,
    outgoing: TransportAddress,
    destination: TransportAddress,
    payload_types: PayloadTypes,
    peer: u32,
    tick: Tick,
    rewrites: [PayloadRewrite; 2],
    kind: u8,
    forwarding: u8,
    /// No padding in a map value.
    reserved: [u8; 2],
}

impl Flow {
    /// The map entry of a flow.
    pub fn new(spec: &FlowSpec) -> Self {
        Self {
            generation: spec.generation,
            epoch: spec.epoch,
            signalled: spec.signalled.into(),
            outgoing: spec.outgoing.into(),
            destination: spec.destination.into(),
            payload_types: spec.payload_types,
            peer: spec.peer,
            tick: Tick::of_rate(spec.clock_rate),
            rewrites: spec.rewrites,
            kind: spec.kind as u8,
            forwarding: spec.forwarding as u8,
            reserved: [0; 2],
        }
    }

    /// Whether there is a flow here at all.
    #[inline(always)]
    pub const fn is_active(&self) -> bool {
        self.generation != 0
    }

    /// Which use of the port this is.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// How often signalling has opened the latch again.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What arrives.
    #[inline(always)]
    pub const fn kind(&self) -> FlowKind {
        match self.kind {
            0 => FlowKind::Rtp,
            _ => FlowKind::Rtcp,
        }
    }

    /// Whether what arrives is sent on.
    #[inline(always)]
    pub const fn forwarding(&self) -> Forwarding {
        match self.forwarding {
            0 => Forwarding::Held,
            _ => Forwarding::On,
        }
    }

    /// Where the arriving leg said it would send from.
    #[inline(always)]
    pub const fn signalled(&self) -> TransportAddress {
        self.signalled
    }

    /// Our address and port on the outgoing leg.
    #[inline(always)]
    pub const fn outgoing(&self) -> TransportAddress {
        self.outgoing
    }

    /// Where the outgoing leg said it wants its media.
    #[inline(always)]
    pub const fn destination(&self) -> TransportAddress {
        self.destination
    }

    /// Payload types that may arrive.
    #[inline(always)]
    pub const fn payload_types(&self) -> &PayloadTypes {
        &self.payload_types
    }

    /// The payload type under which `payload_type` is sent on.
    #[inline(always)]
    pub const fn outgoing_payload_type(&self, payload_type: u8) -> u8 {
        let [first, second] = self.rewrites;
        if payload_type == first.from {
            first.to
        } else if payload_type == second.from {
            second.to
        } else {
            payload_type
        }
    }

    /// The media clock's tick.
    #[inline(always)]
    pub const fn tick(&self) -> Tick {
        self.tick
    }

    /// Table entry of the flow in the other direction.
    #[inline(always)]
    pub const fn peer(&self) -> u32 {
        self.peer
    }
}

/// The data plane's half of a flow. All zero before the first packet of the port.
///
/// Counters are not atomic: the packets of one sender meet one receive queue, hence one core.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowState {
    generation: u32,
    epoch: u32,
    /// Who owns the flow.
    pub latch: Latch,
    /// Where the flow in the other direction was found to come from: overrides the signalled destination.
    found_destination: TransportAddress,
    /// RFC 3550 account of the accepted packets.
    pub account: StreamAccount,
    /// Packets sent on.
    pub forwarded: u64,
    /// Packets dropped, by [`DropReason::index`].
    drops: [u64; DropReason::COUNT],
}

impl FlowState {
    /// Forgets what belongs to an earlier call on this port, and what signalling has made void.
    #[inline(always)]
    pub fn enter(&mut self, flow: &Flow) {
        if self.generation != flow.generation {
            *self = Self {
                generation: flow.generation,
                epoch: flow.epoch,
                ..Self::default()
            };
        } else if self.epoch != flow.epoch {
            self.epoch = flow.epoch;
            self.latch = Latch::default();
            self.found_destination = TransportAddress::NONE;
        }
    }

    /// Whether this is a state of `flow`, rather than of an earlier use of its port.
    pub const fn belongs_to(&self, flow: &Flow) -> bool {
        self.generation == flow.generation
    }

    /// Who owns this RTP flow, as far as `rtcp`, the flow beside it, may rely on it: not the owner of an earlier call on
    /// the port, nor one that signalling has made void.
    #[inline(always)]
    pub fn owner_beside(&self, rtcp: &Flow) -> TransportAddress {
        if self.generation == rtcp.generation && self.epoch == rtcp.epoch {
            self.latch.source()
        } else {
            TransportAddress::NONE
        }
    }

    /// Tells the flow that its peer, `other`, has been found to come from `address`: this flow is sent there from now
    /// on.
    #[inline(always)]
    pub fn peer_found(&mut self, other: &Flow, address: TransportAddress) {
        self.enter(other);
        self.found_destination = address;
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

    /// Counts a packet that was sent on.
    #[inline(always)]
    pub fn on_forwarded(&mut self) {
        self.forwarded += 1;
    }

    /// Counts a packet that was dropped.
    #[inline(always)]
    pub fn on_dropped(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason.index()) {
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

// SAFETY: repr(C) of plain integers, without padding or invalid values (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Flow {}

// SAFETY: as for `Flow`.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FlowState {}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> FlowSpec {
        FlowSpec {
            generation: 3,
            epoch: 0,
            kind: FlowKind::Rtp,
            signalled: "192.0.2.1:4000".parse().unwrap(),
            outgoing: "198.51.100.1:10002".parse().unwrap(),
            destination: "198.51.100.9:5000".parse().unwrap(),
            payload_types: PayloadTypes::of([0, 101]),
            rewrites: [PayloadRewrite { from: 0, to: 0 }, PayloadRewrite { from: 101, to: 96 }],
            clock_rate: 8000,
            forwarding: Forwarding::On,
            peer: 7,
        }
    }

    #[test]
    fn a_flow_is_one_cache_line_and_both_halves_keep_to_the_memory_goal() {
        assert_eq!(size_of::<Flow>(), 64);
        assert!(size_of::<Flow>() + size_of::<FlowState>() <= 512);
    }

    #[test]
    fn a_flow_says_what_its_spec_says() {
        let flow = Flow::new(&spec());
        assert!(flow.is_active() && !Flow::default().is_active());
        assert_eq!(
            (flow.kind(), flow.forwarding(), flow.peer()),
            (FlowKind::Rtp, Forwarding::On, 7)
        );
        assert_eq!(flow.signalled().get(), Some(spec().signalled));
        assert_eq!(flow.outgoing().get(), Some(spec().outgoing));
        assert_eq!(flow.destination().get(), Some(spec().destination));
        assert_eq!([0, 8, 101].map(|kind| flow.outgoing_payload_type(kind)), [0, 8, 96]);
    }

    #[test]
    fn payload_type_sets_hold_what_they_were_given() {
        let set = PayloadTypes::of([0, 63, 64, 127, 128, 255]);
        for kind in 0..=255 {
            assert_eq!(set.contains(kind), [0, 63, 64, 127].contains(&kind), "{kind}");
        }
    }

    #[test]
    fn a_new_generation_begins_afresh_and_a_new_epoch_keeps_the_counts() {
        let mut state = FlowState::default();
        let flow = Flow::new(&spec());
        let found = TransportAddress::from_network([203, 0, 113, 5], [9, 9]);
        state.peer_found(&flow, found);
        state.on_forwarded();
        state.on_dropped(DropReason::Held);
        assert_eq!(state.destination(&flow), found);

        let moved = Flow::new(&FlowSpec { epoch: 1, ..spec() });
        state.enter(&moved);
        assert_eq!(state.destination(&moved), moved.destination());
        assert_eq!(
            (state.forwarded, state.dropped(DropReason::Held), state.dropped_in_all()),
            (1, 1, 1)
        );

        let next = Flow::new(&FlowSpec {
            generation: 4,
            ..spec()
        });
        assert!(!state.belongs_to(&next));
        state.enter(&next);
        assert!(state.belongs_to(&next));
        assert_eq!((state.forwarded, state.dropped_in_all()), (0, 0));
    }
}
