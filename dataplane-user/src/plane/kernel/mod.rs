//! The kernel lane as the plane sees it: there, or not there for a reason.

#[cfg(feature = "ebpf")]
mod built_in;
#[cfg(not(feature = "ebpf"))]
mod left_out;

use std::net::SocketAddr;
use std::time::Duration;

#[cfg(feature = "ebpf")]
pub(super) use built_in::{Kernel, detach};
#[cfg(not(feature = "ebpf"))]
pub(super) use left_out::{Kernel, detach};

use voxlane_common::drops::DropReason;
use voxlane_common::splice::Continuity;

use crate::media_plane::{FarEnd, Session, StreamStats};

/// A leg of a relayed call.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelLeg<'a> {
    /// Its RTP address.
    pub(super) local: SocketAddr,
    /// What was agreed for it.
    pub(super) session: &'a Session,
    /// Whether what it is sent goes on with a stream it has been sent before.
    pub(super) continuity: Continuity,
}

/// What the kernel lane saw of one leg.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Where its RTP is sent on.
    pub(super) forwarded_to: Option<SocketAddr>,
    /// RTP that arrived.
    pub(super) received: StreamStats,
    /// RTP packets sent to its far end.
    pub(super) sent_packets: u64,
    /// Packets that were dropped.
    pub(super) drops: Vec<(DropReason, u64)>,
    /// Whether what is sent on leaves at its times.
    pub(super) paced: bool,
    /// Datagrams that sockets have received, in another lane.
    pub(super) datagrams: u64,
    /// Keys pressed by its far end.
    pub(super) digits: u64,
    /// To its far end and back.
    pub(super) round_trip: Option<Duration>,
    /// What its far end reported last.
    pub(super) far: Option<FarEnd>,
}
