//! One flow: one direction of one media stream, arriving at one local address and port.
//!
//! A flow has two halves, each in a map of its own, so that neither writer can undo the other's work: [`Flow`] is
//! written by the control plane and only read on the packet path, [`FlowState`] is written on the packet path and only
//! read by the control plane. A generation number ties them together: a state of another generation belongs to an
//! earlier call on the same port and is begun afresh by the first packet that finds it.
//!
//! - `spec`: what the control plane has to say of a flow, in words.
//! - here: the same as a map entry.
//! - `state`: what the packet path has to say.

#![allow(unsafe_code)]

mod spec;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use bytemuck::{Pod, Zeroable};

use crate::account::Tick;
use crate::address::TransportAddress;
use crate::latch::LatchMode;
use crate::next_hop::NextHopId;
use crate::pace::Pacing;
use crate::police::Police;
use crate::sockets::WorkerId;
use crate::splice::Continuity;

pub use self::spec::{Events, FlowKind, FlowSpec, Forwarding, Mirror, PayloadRewrite, PayloadTypes, RtcpPort};
pub(crate) use self::state::clear;
pub use self::state::{Beside, Counts, FlowState};

/// Changes whenever a type of a pinned map changes, or what it means: a gateway adopts the maps of another only if both
/// agree on it (docs/kernel-lane.md).
pub const LAYOUT: u32 = 5;

/// The control plane's half of a flow: two cache lines. All zero: no flow.
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
    police: Police,
    next_hop: NextHopId,
    rewrites: [PayloadRewrite; 2],
    modes: Modes,
    tos: u8,
    ptime: u8,
}

/// The choices of a flow, a few bits each.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
struct Modes(u16);

impl Modes {
    const KIND: u16 = 0;
    const FORWARDING: u16 = 2;
    const LATCH: u16 = 3;
    const RTCP_PORT: u16 = 5;
    const CONTINUITY: u16 = 6;
    const PACING: u16 = 7;
    const MIRROR: u16 = 9;
    const EVENTS: u16 = 10;

    const fn of(spec: &FlowSpec) -> Self {
        Self(
            (spec.kind as u16) << Self::KIND
                | (spec.forwarding as u16) << Self::FORWARDING
                | (spec.latch as u16) << Self::LATCH
                | (spec.rtcp_port as u16) << Self::RTCP_PORT
                | (spec.continuity as u16) << Self::CONTINUITY
                | (spec.pacing as u16) << Self::PACING
                | (spec.mirror as u16) << Self::MIRROR
                | (spec.events as u16) << Self::EVENTS,
        )
    }

    #[inline(always)]
    const fn one(self, place: u16) -> u16 {
        self.0 >> place & 1
    }

    #[inline(always)]
    const fn two(self, place: u16) -> u16 {
        self.0 >> place & 3
    }
}

impl Flow {
    /// The map entry of a flow.
    pub const fn new(spec: &FlowSpec) -> Self {
        Self {
            generation: spec.generation,
            epoch: spec.epoch,
            signalled: spec.signalled,
            outgoing: spec.outgoing,
            destination: spec.destination,
            payload_types: spec.payload_types,
            peer: spec.peer,
            tick: spec.tick,
            police: spec.police,
            next_hop: spec.next_hop,
            rewrites: spec.rewrites,
            modes: Modes::of(spec),
            tos: spec.tos,
            ptime: spec.ptime,
        }
    }

    /// What a map entry says; `None` if it is no flow.
    pub const fn spec(&self) -> Option<FlowSpec> {
        if !self.is_active() {
            return None;
        }
        Some(FlowSpec {
            generation: self.generation,
            epoch: self.epoch,
            kind: self.kind(),
            signalled: self.signalled,
            outgoing: self.outgoing,
            destination: self.destination,
            next_hop: self.next_hop,
            payload_types: self.payload_types,
            rewrites: self.rewrites,
            events: match self.modes.one(Modes::EVENTS) {
                0 => Events::None,
                _ => Events::Second,
            },
            tick: self.tick,
            ptime: self.ptime,
            forwarding: self.forwarding(),
            latch: self.latch(),
            rtcp_port: self.rtcp_port(),
            continuity: self.continuity(),
            pacing: self.pacing(),
            police: self.police,
            mirror: self.mirror(),
            tos: self.tos,
            peer: self.peer,
        })
    }

    /// Whether there is a flow here at all.
    #[inline(always)]
    pub const fn is_active(&self) -> bool {
        self.generation != 0
    }

    /// Which use of the port this is.
    #[inline(always)]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// What arrives.
    #[inline(always)]
    pub const fn kind(&self) -> FlowKind {
        match self.modes.two(Modes::KIND) {
            0 => FlowKind::Rtp,
            1 => FlowKind::Rtcp,
            _ => FlowKind::Worker,
        }
    }

    /// Whether what arrives is sent on.
    #[inline(always)]
    pub const fn forwarding(&self) -> Forwarding {
        match self.modes.one(Modes::FORWARDING) {
            0 => Forwarding::Held,
            _ => Forwarding::On,
        }
    }

    /// Who may own the flow.
    #[inline(always)]
    pub const fn latch(&self) -> LatchMode {
        match self.modes.two(Modes::LATCH) {
            0 => LatchMode::Strict,
            1 => LatchMode::Nat,
            _ => LatchMode::Open,
        }
    }

    /// Where the RTCP beside it arrives.
    #[inline(always)]
    pub const fn rtcp_port(&self) -> RtcpPort {
        match self.modes.one(Modes::RTCP_PORT) {
            0 => RtcpPort::Own,
            _ => RtcpPort::Shared,
        }
    }

    /// Whether SSRC, sequence numbers and timestamps are passed on as they come.
    #[inline(always)]
    pub const fn continuity(&self) -> Continuity {
        match self.modes.one(Modes::CONTINUITY) {
            0 => Continuity::Transparent,
            _ => Continuity::Spliced,
        }
    }

    /// Whether it is paced.
    #[inline(always)]
    pub const fn pacing(&self) -> Pacing {
        match self.modes.two(Modes::PACING) {
            0 => Pacing::Off,
            1 => Pacing::Auto,
            _ => Pacing::Always,
        }
    }

    /// Whether userspace gets copies.
    #[inline(always)]
    pub const fn mirror(&self) -> Mirror {
        match self.modes.one(Modes::MIRROR) {
            0 => Mirror::Off,
            _ => Mirror::On,
        }
    }

    /// Whether `payload_type` is that of arriving telephone events.
    #[inline(always)]
    pub const fn is_event(&self, payload_type: u8) -> bool {
        let [_, second] = self.rewrites;
        self.modes.one(Modes::EVENTS) != 0 && second.from == payload_type
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

    /// The neighbour on the way to `destination`, as far as it is known: for the destination that was written with it.
    #[inline(always)]
    pub const fn next_hop_to(&self, destination: TransportAddress) -> NextHopId {
        if self.destination.is(destination) {
            self.next_hop
        } else {
            NextHopId::UNKNOWN
        }
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

    /// Packet time, ns.
    #[inline(always)]
    pub const fn ptime_ns(&self) -> u32 {
        self.ptime as u32 * 1_000_000
    }

    /// The rate it is held to.
    #[inline(always)]
    pub const fn police(&self) -> &Police {
        &self.police
    }

    /// The TOS byte of what is sent on.
    #[inline(always)]
    pub const fn tos(&self) -> u8 {
        self.tos
    }

    /// Table entry of the flow in the other direction.
    #[inline(always)]
    pub const fn peer(&self) -> u32 {
        self.peer
    }

    /// The worker whose AF_XDP sockets take the packets, if one does.
    #[inline(always)]
    pub const fn worker(&self) -> WorkerId {
        WorkerId(self.peer)
    }
}

// SAFETY: repr(C) of plain integers, without padding or invalid values (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Flow {}
