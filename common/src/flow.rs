//! One flow: one direction of one media stream, arriving at one local address and port.
//!
//! A flow has two halves, each in a map of its own, so that neither writer can undo the other's work: [`Flow`] is
//! written by the control plane and only read on the packet path, [`FlowState`] is written on the packet path and only
//! read by the control plane. A generation number ties them together: a state of another generation belongs to an
//! earlier call on the same port and is begun afresh by the first packet that finds it.

#![allow(unsafe_code)]

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use crate::account::{StreamAccount, Tick};
use crate::address::TransportAddress;
use crate::drops::DropReason;
use crate::latch::{Latch, LatchMode};
use crate::next_hop::NextHopId;
use crate::pace::{Departure, Pacer, Pacing};
use crate::police::Police;
use crate::sockets::WorkerId;
use crate::splice::{Continuity, SentStream};

/// Changes whenever a type of a pinned map changes, or what it means: a gateway adopts the maps of another only if both
/// agree on it (docs/kernel-lane.md).
pub const LAYOUT: u32 = 4;

/// What arrives on a flow.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKind {
    /// RTP; with [`RtcpPort::Shared`] RTCP, too.
    Rtp = 0,
    /// RTCP, on its own port, or seen through the RTP port beside it.
    Rtcp = 1,
    /// Whatever the worker lane takes: the packets are a worker's ([`Flow::worker`]), or a socket's.
    Worker = 2,
}

/// Where the RTCP beside an RTP flow arrives.
#[repr(u8)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RtcpPort {
    /// On the port above (RFC 3550 section 11).
    #[default]
    Own = 0,
    /// On the same port (rtcp-mux, RFC 5761).
    Shared = 1,
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

/// Whether userspace is given a copy of every packet that arrives.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mirror {
    /// It is not.
    #[default]
    Off = 0,
    /// It is.
    On = 1,
}

/// Whether a call's telephone events have a payload type of their own.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Events {
    /// There are none.
    #[default]
    None = 0,
    /// The second of [`FlowSpec::rewrites`] is theirs.
    Second = 1,
}

/// The set of RTP payload types that were agreed.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PayloadTypes([u64; 2]);

impl PayloadTypes {
    /// No payload type.
    pub const NONE: Self = Self([0; 2]);

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

/// What the control plane says about a flow, in host types; [`Flow::new`] makes the map entry of it, [`Flow::spec`] reads
/// it back.
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
    pub signalled: TransportAddress,
    /// Our address and port on the outgoing leg.
    pub outgoing: TransportAddress,
    /// Where the outgoing leg said it wants its media.
    pub destination: TransportAddress,
    /// The neighbour on the way to `destination`.
    pub next_hop: NextHopId,
    /// Payload types that may arrive (RTP only).
    pub payload_types: PayloadTypes,
    /// Payload types to renumber: the codec's and telephone-event's.
    pub rewrites: [PayloadRewrite; 2],
    /// Whether there are telephone events.
    pub events: Events,
    /// Media clock (RTP only).
    pub tick: Tick,
    /// Packet time, milliseconds (RTP only).
    pub ptime: u8,
    /// Whether what arrives is sent on.
    pub forwarding: Forwarding,
    /// Who may own the flow.
    pub latch: LatchMode,
    /// Where the RTCP beside it arrives (RTP only).
    pub rtcp_port: RtcpPort,
    /// Whether SSRC, sequence numbers and timestamps are passed on as they come.
    pub continuity: Continuity,
    /// Whether it is paced.
    pub pacing: Pacing,
    /// The rate it is held to.
    pub police: Police,
    /// Whether userspace gets copies.
    pub mirror: Mirror,
    /// The TOS byte (IPv6: traffic class) of what is sent on.
    pub tos: u8,
    /// Table entry of the flow in the other direction; of a worker's flow, its [`WorkerId`].
    pub peer: u32,
}

impl FlowSpec {
    /// The flow of a port of the worker lane: its packets are those of the worker's AF_XDP sockets; without a worker, of a
    /// UDP socket.
    pub const fn of_worker(generation: u32, worker: WorkerId) -> Self {
        Self {
            generation,
            epoch: 0,
            kind: FlowKind::Worker,
            signalled: TransportAddress::NONE,
            outgoing: TransportAddress::NONE,
            destination: TransportAddress::NONE,
            next_hop: NextHopId::UNKNOWN,
            payload_types: PayloadTypes::NONE,
            rewrites: [PayloadRewrite { from: 0, to: 0 }; 2],
            events: Events::None,
            tick: Tick::of_rate(0),
            ptime: 0,
            forwarding: Forwarding::Held,
            latch: LatchMode::Strict,
            rtcp_port: RtcpPort::Own,
            continuity: Continuity::Transparent,
            pacing: Pacing::Off,
            police: Police::OFF,
            mirror: Mirror::Off,
            tos: 0,
            peer: worker.0,
        }
    }
}

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

// SAFETY: repr(C) of plain integers, without padding or invalid values (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Flow {}

// SAFETY: as for `Flow`.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FlowState {}

#[cfg(test)]
pub(crate) mod tests {
    use core::net::SocketAddr;

    use super::*;

    fn address(text: &str) -> TransportAddress {
        TransportAddress::new(text.parse::<SocketAddr>().unwrap())
    }

    /// An RTP flow with telephone events, 101 here and 96 there.
    pub(crate) fn spec() -> FlowSpec {
        FlowSpec {
            generation: 1,
            epoch: 0,
            kind: FlowKind::Rtp,
            signalled: address("192.0.2.1:4000"),
            outgoing: address("198.51.100.1:10002"),
            destination: address("198.51.100.9:5000"),
            next_hop: NextHopId(5),
            payload_types: PayloadTypes::of([0, 101]),
            rewrites: [PayloadRewrite { from: 0, to: 0 }, PayloadRewrite { from: 101, to: 96 }],
            events: Events::Second,
            tick: Tick::of_rate(8000),
            ptime: 20,
            forwarding: Forwarding::On,
            latch: LatchMode::Nat,
            rtcp_port: RtcpPort::Own,
            continuity: Continuity::Transparent,
            pacing: Pacing::Off,
            police: Police::of_rtp(20, 8),
            mirror: Mirror::Off,
            tos: 0xb8,
            peer: 7,
        }
    }

    #[test]
    fn a_flow_says_what_its_spec_says() {
        let specs = [
            spec(),
            FlowSpec {
                kind: FlowKind::Rtcp,
                forwarding: Forwarding::Held,
                latch: LatchMode::Open,
                pacing: Pacing::Always,
                signalled: address("[2001:db8::1]:4000"),
                events: Events::None,
                ..spec()
            },
            FlowSpec {
                latch: LatchMode::Strict,
                rtcp_port: RtcpPort::Shared,
                continuity: Continuity::Spliced,
                pacing: Pacing::Auto,
                mirror: Mirror::On,
                ..spec()
            },
            FlowSpec::of_worker(9, WorkerId::new(3)),
        ];
        for spec in specs {
            assert_eq!(Flow::new(&spec).spec(), Some(spec));
        }
        assert_eq!(Flow::default().spec(), None);
        let flow = Flow::new(&spec());
        assert_eq!([0, 8, 101].map(|kind| flow.outgoing_payload_type(kind)), [0, 8, 96]);
        assert_eq!([0, 96, 101].map(|kind| flow.is_event(kind)), [false, false, true]);
        assert_eq!((flow.ptime_ns(), flow.tos()), (20_000_000, 0xb8));
    }

    #[test]
    fn a_next_hop_is_for_the_destination_it_was_found_for() {
        let flow = Flow::new(&spec());
        assert_eq!(flow.next_hop_to(spec().destination), NextHopId(5));
        assert_eq!(flow.next_hop_to(address("198.51.100.9:5002")), NextHopId::UNKNOWN);
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
        let found = address("203.0.113.5:2313");
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
        let resumed = state.moved_to(&next);
        assert!(resumed.belongs_to(&next));
        assert_eq!(resumed.forwarded, 1);
        state.enter(&next);
        assert!(state.belongs_to(&next));
        assert_eq!((state.forwarded, state.dropped_in_all()), (0, 0));
    }

    #[test]
    fn a_flow_that_leads_to_another_leg_goes_on_from_what_that_leg_was_sent() {
        let flow = Flow::new(&spec());
        let found = address("203.0.113.5:2313");
        let sent = SentStream::left_at(9, 8, 7, 6);
        let mut state = FlowState::default();
        state.lead_to(found, sent, 3);
        let mut state = state.moved_to(&flow);
        state.enter(&flow);
        assert_eq!(
            (state.destination(&flow), state.sent, state.forwarded),
            (found, sent, 3)
        );
        state.open_latch();
        assert_eq!((state.destination(&flow), state.sent), (flow.destination(), sent));
    }

    #[test]
    fn what_two_lanes_have_counted_adds_up() {
        let packet = |sequence: u8| {
            let bytes = [0x80, 0, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 1];
            crate::rtp::RtpHeader::parse(&bytes).unwrap()
        };
        let hear = |state: &mut FlowState, sequence: u8| {
            state.account.on_packet(&packet(sequence), 172, 1, Tick::of_rate(8000));
            state.on_forwarded();
        };
        // The third packet is heard by the one, the fourth by the other.
        for first in [1, 3] {
            let mut before = FlowState::default();
            (first..3).for_each(|sequence| hear(&mut before, sequence));
            let (mut one, mut other) = (before, before);
            hear(&mut one, 3);
            one.on_dropped(DropReason::Held);
            hear(&mut other, 4);
            other.add(&one.counted_since(&before));
            let all = u64::from(5 - first);
            assert_eq!((other.account.packets, other.account.bytes), (all, all * 172));
            assert_eq!((other.account.lost(), other.forwarded), (0, all));
            assert_eq!(other.dropped(DropReason::Held), 1);
        }
    }
}
