//! What a leg's media has come to, readable at any time by any thread without asking the worker.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use voxlane_common::account::StreamAccount;
use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;

use crate::cache::ask_for;
use crate::flows::Heard;
use crate::flows::LegState;
use crate::media_plane::{BufferStats, FarEnd, StreamStats};
use crate::reception::Figures;
use crate::srtp::Refusal;

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
    mean_jitter_ns: AtomicU64,
    max_jitter_ns: AtomicU64,
    /// Three words: see [`TransportAddress`].
    source: [AtomicU64; 3],
    drops: [AtomicU64; DropReason::COUNT],
    digits: AtomicU64,
    /// ns, plus one; 0 while it is not known.
    round_trip_ns: AtomicU64,
    sent: AtomicU64,
    userspace: AtomicU64,
    far: FarWords,
    buffer: BufferWords,
    refused: [AtomicU64; Refusal::COUNT],
}

/// A [`FarEnd`], once there is one.
#[derive(Debug, Default)]
struct FarWords {
    /// 1/256, plus one; 0 while it is not known.
    loss: AtomicU32,
    lost: AtomicI32,
    jitter_us: AtomicU64,
}

/// The [`Figures`] of a leg that is heard here.
#[derive(Debug, Default)]
struct BufferWords {
    is_known: AtomicBool,
    delay_us: AtomicU64,
    target_us: AtomicU64,
    late: AtomicU64,
    early: AtomicU64,
    duplicates: AtomicU64,
    overflow: AtomicU64,
    concealed: AtomicU64,
    shortened: AtomicU64,
    lengthened: AtomicU64,
}

impl LegStats {
    /// A packet that arrived is about to be counted.
    pub(super) fn expect_received(&self) {
        ask_for(&self.packets);
        ask_for(&self.source);
        ask_for(&self.userspace);
    }

    /// A packet that was sent is about to be counted.
    pub(super) fn expect_sent(&self) {
        ask_for(&self.sent);
    }

    /// The RTP stream that arrives at this leg.
    pub fn stream(&self) -> StreamStats {
        let source: TransportAddress = bytemuck::cast(self.source.each_ref().map(|word| word.load(Relaxed)));
        StreamStats {
            packets: self.packets.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            lost: self.lost.load(Relaxed),
            reordered: self.reordered.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            dropped: self.dropped.load(Relaxed) + self.refusals().map(|(_, count)| count).sum::<u64>(),
            jitter_ms: self.jitter_ns.load(Relaxed) as f64 / 1e6,
            mean_jitter_ms: self.mean_jitter_ns.load(Relaxed) as f64 / 1e6,
            max_jitter_ms: self.max_jitter_ns.load(Relaxed) as f64 / 1e6,
            ssrc: self.ssrc.load(Relaxed),
            source: source.get(),
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

    /// Packets dropped, by reason; reasons that never occurred are left out.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let counts = self.drops.iter().map(|count| count.load(Relaxed));
        DropReason::ALL
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Packets that SRTP has refused, by reason; reasons that never occurred are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Relaxed));
        Refusal::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// Packets that SRTP has refused so far, in the order of [`Refusal::ALL`].
    pub(super) fn set_refused(&self, refused: &[u64; Refusal::COUNT]) {
        for (place, count) in self.refused.iter().zip(refused) {
            place.store(*count, Relaxed);
        }
    }

    /// Keys pressed by the far end.
    pub fn digits(&self) -> u64 {
        self.digits.load(Relaxed)
    }

    /// To the far end and back, once it is known.
    pub fn round_trip(&self) -> Option<Duration> {
        let time = self.round_trip_ns.load(Relaxed).checked_sub(1)?;
        Some(Duration::from_nanos(time))
    }

    /// What its far end reported last, once it has.
    pub fn far(&self) -> Option<FarEnd> {
        let loss = self.far.loss.load(Relaxed).checked_sub(1)?;
        Some(FarEnd {
            loss: f64::from(loss) / 256.0,
            lost: self.far.lost.load(Relaxed),
            jitter_ms: self.far.jitter_us.load(Relaxed) as f64 / 1000.0,
        })
    }

    /// Its jitter buffer, if it has one.
    pub fn buffer(&self) -> Option<BufferStats> {
        let words = &self.buffer;
        words.is_known.load(Relaxed).then(|| BufferStats {
            delay_ms: words.delay_us.load(Relaxed) as f64 / 1000.0,
            target_ms: words.target_us.load(Relaxed) as f64 / 1000.0,
            late: words.late.load(Relaxed),
            early: words.early.load(Relaxed),
            duplicates: words.duplicates.load(Relaxed),
            overflow: words.overflow.load(Relaxed),
            concealed_ms: words.concealed.load(Relaxed) / 8,
            shortened: words.shortened.load(Relaxed),
            lengthened: words.lengthened.load(Relaxed),
        })
    }

    /// What its jitter buffer has done so far; `concealed` in 8,000ths of a second.
    pub(super) fn set_buffer(&self, figures: &Figures) {
        let words = &self.buffer;
        words.is_known.store(true, Relaxed);
        words.delay_us.store(figures.delay.as_micros() as u64, Relaxed);
        words.target_us.store(figures.target.as_micros() as u64, Relaxed);
        words.late.store(figures.counts.late, Relaxed);
        words.early.store(figures.counts.early, Relaxed);
        words.duplicates.store(figures.counts.duplicates, Relaxed);
        words.overflow.store(figures.counts.overflow, Relaxed);
        words.concealed.store(figures.concealed, Relaxed);
        words.shortened.store(figures.shortened, Relaxed);
        words.lengthened.store(figures.lengthened, Relaxed);
    }

    /// Goes on from what another has heard of the leg.
    pub(super) fn begin(&self, heard: &Heard) {
        self.userspace.store(heard.datagrams, Relaxed);
        self.set_heard(heard);
    }

    /// What was heard of the leg so far.
    pub(super) fn set_heard(&self, heard: &Heard) {
        self.digits.store(heard.digits, Relaxed);
        let nanoseconds = heard.reports.measured().map(|time| time.as_nanos() as u64);
        self.round_trip_ns
            .store(nanoseconds.map_or(0, |time| time.saturating_add(1)), Relaxed);
        if let Some(far) = heard.far() {
            self.far.lost.store(far.lost, Relaxed);
            self.far.jitter_us.store((far.jitter_ms * 1000.0) as u64, Relaxed);
            self.far.loss.store((far.loss * 256.0) as u32 + 1, Relaxed);
        }
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
        self.mean_jitter_ns.store(account.mean_jitter_ns(), Relaxed);
        self.max_jitter_ns.store(account.max_jitter_ns(), Relaxed);
        let words: [u64; 3] = bytemuck::cast(source);
        for (place, word) in self.source.iter().zip(words) {
            place.store(word, Relaxed);
        }
    }

    /// What is known of the leg.
    pub(super) fn set(&self, state: &LegState) {
        let (rtp, rtcp) = (&state.rtp, &state.rtcp);
        self.set_stream(&rtp.account, rtp.latch.source(), rtp.dropped_in_all());
        self.set_drops(|reason| rtp.dropped(reason) + rtcp.dropped(reason));
    }

    /// Packets, RTP and RTCP, dropped so far, by reason.
    pub(super) fn set_drops(&self, dropped: impl Fn(DropReason) -> u64) {
        for (place, reason) in self.drops.iter().zip(DropReason::ALL) {
            place.store(dropped(reason), Relaxed);
        }
    }

    /// How many RTP packets were sent so far.
    pub(super) fn set_sent(&self, packets: u64) {
        self.sent.store(packets, Relaxed);
    }
}
