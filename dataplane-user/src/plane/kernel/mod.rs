//! The kernel lane as the plane sees it: there, or not there for a reason.

#[cfg(feature = "ebpf")]
mod built_in;
#[cfg(not(feature = "ebpf"))]
mod left_out;

use std::net::SocketAddr;

#[cfg(feature = "ebpf")]
pub(super) use built_in::Kernel;
#[cfg(not(feature = "ebpf"))]
pub(super) use left_out::Kernel;

use crate::media_plane::StreamStats;

/// What the kernel lane saw of one leg.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Where its RTP is sent on.
    pub(super) forwarded_to: Option<SocketAddr>,
    /// RTP that arrived.
    pub(super) received: StreamStats,
    /// RTP packets sent to its far end.
    pub(super) sent_packets: u64,
}
