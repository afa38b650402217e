//! What a leg's media has come to, readable at any time by any thread without asking the worker.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use voxlane_common::account::StreamAccount;
use voxlane_common::address::TransportAddress;

use crate::media_plane::StreamStats;

/// The counters of one leg.
///
/// The worker is the only writer. Each value is whole by itself; two of them may differ by the packet that is being
/// handled.
#[derive(Debug, Default)]
pub struct LegStats {
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicI64,
    reordered: AtomicU64,
    duplicates: AtomicU64,
    dropped: AtomicU64,
    jitter_ns: AtomicU64,
    ssrc: AtomicU32,
    source: AtomicU64,
    sent: AtomicU64,
    userspace: AtomicU64,
}

impl LegStats {
    /// The RTP stream that arrives at this leg.
    pub fn stream(&self) -> StreamStats {
        let source: TransportAddress = bytemuck::cast(self.source.load(Relaxed));
        StreamStats {
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            lost: self.lost.load(Relaxed),
            reordered: self.reordered.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            jitter_ms: self.jitter_ns.load(Relaxed) as f64 / 1e6,
            ssrc: self.ssrc.load(Relaxed),
            source: source.get().map(SocketAddr::V4),
        }
    }

    /// RTP packets sent from this leg to its far end.
    pub fn sent_packets(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Datagrams, RTP and RTCP, that this leg's sockets have received.
    pub fn userspace_packets(&self) -> u64 {
        self.userspace.load(Relaxed)
    }

    /// A datagram was taken from one of the leg's sockets.
    pub(super) fn on_received(&self) {
        // One writer: no read-modify-write is needed.
        self.userspace.store(self.userspace.load(Relaxed) + 1, Relaxed);
    }

    /// What was received so far.
    pub(super) fn set_stream(&self, account: &StreamAccount, source: TransportAddress, dropped: u64) {
        self.packets.store(account.packets, Relaxed);
        self.bytes.store(account.bytes, Relaxed);
        self.lost.store(account.lost(), Relaxed);
        self.reordered.store(account.reordered, Relaxed);
        self.duplicates.store(account.duplicates, Relaxed);
        self.dropped.store(dropped, Relaxed);
        self.jitter_ns.store(account.jitter_ns(), Relaxed);
        self.ssrc.store(account.ssrc, Relaxed);
        self.source.store(bytemuck::cast(source), Relaxed);
    }

    /// How many RTP packets were sent so far.
    pub(super) fn set_sent(&self, packets: u64) {
        self.sent.store(packets, Relaxed);
    }
}
