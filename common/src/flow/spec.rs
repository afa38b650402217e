//! What the control plane has to say of a flow.

use bytemuck::{Pod, Zeroable};

use crate::account::Tick;
use crate::address::TransportAddress;
use crate::latch::LatchMode;
use crate::next_hop::NextHopId;
use crate::pace::Pacing;
use crate::police::Police;
use crate::sockets::WorkerId;
use crate::splice::Continuity;

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
