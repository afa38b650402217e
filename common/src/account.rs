//! What RFC 3550 wants to be known about a received stream: extended sequence numbers (A.1), loss (A.3) and
//! interarrival jitter (A.8).
//!
//! Unlike the RFC's sample code, jitter is kept in nanoseconds rather than in units of the media clock: nothing is
//! rounded to 125 us, and the media timestamp is converted by one multiplication. A stream that restarts (new SSRC, or
//! a jump in sequence numbers) begins a new count without forgetting what was lost before.

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use crate::rtp::RtpHeader;

/// A gap of this many packets is taken for loss, a wider one for a restart (RFC 3550 A.1 `MAX_DROPOUT`).
const MAX_DROPOUT: u16 = 3000;

/// A packet this far behind the highest is taken for a late one (RFC 3550 A.1 `MAX_MISORDER`).
const MAX_MISORDER: u16 = 100;

/// [`StreamAccount::restart_at`] when no restart is suspected: no sequence number.
const NO_RESTART: u32 = 1 << 16;

/// Longest spacing that enters the jitter: one second. It bounds what a paused or hostile stream can do to the
/// estimate.
const MAX_SPACING_NS: i64 = 1_000_000_000;

/// Length of one tick of a media clock, in 1/256 ns: what the hot path needs of a clock rate, divided out beforehand.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Tick(u32);

impl Tick {
    /// The tick of a clock of `rate` Hz. Rates below 60 Hz, which no payload format has, saturate.
    pub const fn of_rate(rate: u32) -> Self {
        if rate == 0 {
            return Self(0);
        }
        let length = 256 * 1_000_000_000 / rate as u64;
        Self(if length > u32::MAX as u64 {
            u32::MAX
        } else {
            length as u32
        })
    }

    /// Ticks in `nanoseconds`; none on a clock that does not run.
    #[inline(always)]
    pub const fn ticks(self, nanoseconds: u64) -> u32 {
        if self.0 == 0 {
            return 0;
        }
        // More than 2^55 ns are a year: no stream pauses that long. Rounded to the nearest.
        ((((nanoseconds & (u64::MAX >> 9)) << 8) + (self.0 >> 1) as u64) / self.0 as u64) as u32
    }

    /// Nanoseconds in `ticks` that are no more than four seconds.
    pub const fn span_ns(self, ticks: u32) -> u32 {
        ((ticks as u64 * self.0 as u64) >> 8) as u32
    }

    /// Nanoseconds in `ticks`.
    #[inline(always)]
    const fn nanoseconds(self, ticks: i32) -> i64 {
        // 31 + 32 bits.
        (ticks as i64 * self.0 as i64) >> 8
    }
}

/// Sequence numbers behind the highest that are remembered, to tell a duplicate from a late packet.
const WINDOW: u16 = 64;

/// One received stream. All zero before its first packet.
///
/// What every packet touches stands first: 88 bytes, up to `restart_at`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct StreamAccount {
    /// Packets received.
    pub packets: u64,
    /// UDP payload bytes of those packets.
    pub bytes: u64,
    /// Arrival of the last packet, ns on the monotonic clock; 0 before the first.
    pub last_seen_ns: u64,
    /// Interarrival jitter, 1/16 ns.
    jitter_x16: u64,
    /// Arrival of the packet that spacing is measured from.
    spaced_ns: u64,
    /// Which of the last [`WINDOW`] sequence numbers have been seen: bit n is the highest minus n.
    seen: u64,
    /// SSRC of the last packet.
    pub ssrc: u32,
    /// Media timestamp of the packet that spacing is measured from.
    spaced_timestamp: u32,
    /// Sequence number cycles, counted in the upper 16 bits.
    cycles: u32,
    highest: u16,
    base: u16,
    /// Sum of the jitter after each packet that was measured, ns.
    jitter_sum_ns: u64,
    /// Greatest jitter, ns.
    jitter_max_ns: u64,
    /// Packets whose spacing was measured.
    spacings: u32,
    /// The sequence number that would confirm a restart, or [`NO_RESTART`].
    restart_at: u32,
    /// Packets that came after one with a higher sequence number.
    pub reordered: u64,
    /// Packets that had come before.
    pub duplicates: u64,
    /// Packets expected of what the stream was before its last restart.
    expected_before: u64,
}

impl StreamAccount {
    /// How much of it every packet touches, bytes.
    pub(crate) const TOUCHED: usize = offset_of!(Self, reordered);

    /// Takes one packet into account. `bytes` is the length of the UDP payload, `arrival_ns` a reading of the monotonic
    /// clock, `tick` that of the stream's media clock.
    #[inline(always)]
    pub fn on_packet(&mut self, header: &RtpHeader, bytes: u32, arrival_ns: u64, tick: Tick) {
        if self.packets == 0 {
            self.begin(header.sequence());
            self.space_from(header, arrival_ns);
        } else if header.ssrc() != self.ssrc {
            self.expected_before += self.expected_now();
            self.begin(header.sequence());
            self.space_from(header, arrival_ns);
        } else {
            self.on_sequence(header.sequence());
            self.on_timing(header, arrival_ns, tick);
        }
        self.ssrc = header.ssrc();
        self.packets += 1;
        self.bytes += u64::from(bytes);
        self.last_seen_ns = arrival_ns;
    }

    /// Counts one RTCP packet: it has neither sequence number nor media timestamp.
    #[inline(always)]
    pub fn on_report(&mut self, bytes: u32, arrival_ns: u64) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
        self.last_seen_ns = arrival_ns;
    }

    /// Counts packets of this stream that another has heard, `unexpected` of which came before its first one here.
    pub fn add(&mut self, packets: u64, bytes: u64, unexpected: u64) {
        self.packets += packets;
        self.bytes += bytes;
        self.expected_before += unexpected;
    }

    /// Packets expected from the sequence numbers seen.
    pub fn expected(&self) -> u64 {
        if self.packets == 0 {
            0
        } else {
            self.expected_before + self.expected_now()
        }
    }

    /// Packets expected minus received; duplicates can make it negative (RFC 3550 A.3).
    pub fn lost(&self) -> i64 {
        self.expected() as i64 - self.packets as i64
    }

    /// Interarrival jitter, ns.
    pub fn jitter_ns(&self) -> u64 {
        self.jitter_x16 >> 4
    }

    /// Mean of the jitter over the packets of the stream, ns.
    pub fn mean_jitter_ns(&self) -> u64 {
        self.jitter_sum_ns / u64::from(self.spacings.max(1))
    }

    /// Greatest jitter there was, ns.
    pub fn max_jitter_ns(&self) -> u64 {
        self.jitter_max_ns
    }

    /// Highest sequence number with its cycles, as a receiver report carries it (RFC 3550 section 6.4.1).
    pub fn extended_highest(&self) -> u32 {
        self.cycles.wrapping_add(u32::from(self.highest))
    }

    #[inline(always)]
    fn expected_now(&self) -> u64 {
        u64::from(self.cycles) + u64::from(self.highest) + 1 - u64::from(self.base)
    }

    #[inline(always)]
    fn begin(&mut self, sequence: u16) {
        self.base = sequence;
        self.highest = sequence;
        self.cycles = 0;
        self.seen = 1;
        self.restart_at = NO_RESTART;
    }

    #[inline(always)]
    fn on_sequence(&mut self, sequence: u16) {
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead == 0 {
            self.duplicates += 1;
        } else if ahead < MAX_DROPOUT {
            if sequence < self.highest {
                self.cycles = self.cycles.wrapping_add(1 << 16);
            }
            self.highest = sequence;
            self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
            self.restart_at = NO_RESTART;
        } else if ahead > u16::MAX - MAX_MISORDER {
            self.on_late(ahead.wrapping_neg());
        } else if u32::from(sequence) == self.restart_at {
            // Two in a row from elsewhere: the sender has restarted, and the first of the two was its first packet.
            self.expected_before += self.expected_now();
            self.begin(sequence.wrapping_sub(1));
            self.cycles = if sequence == 0 { 1 << 16 } else { 0 };
            self.highest = sequence;
            self.seen = 0b11;
        } else {
            self.restart_at = u32::from(sequence.wrapping_add(1));
        }
    }

    /// A packet `behind` (at least 1) the highest.
    #[inline(always)]
    fn on_late(&mut self, behind: u16) {
        // What is older than the window is taken for late.
        let bit = if behind < WINDOW { 1 << behind } else { 0 };
        if self.seen & bit != 0 {
            self.duplicates += 1;
        } else {
            self.seen |= bit;
            self.reordered += 1;
        }
    }

    #[inline(always)]
    fn on_timing(&mut self, header: &RtpHeader, arrival_ns: u64, tick: Tick) {
        // The packets of one telephone event share a timestamp (RFC 4733 section 2.2.2): their spacing says nothing.
        if header.timestamp() == self.spaced_timestamp {
            return;
        }
        let sent = tick.nanoseconds(header.timestamp().wrapping_sub(self.spaced_timestamp) as i32);
        let arrived = arrival_ns.wrapping_sub(self.spaced_ns) as i64;
        let difference = arrived.wrapping_sub(sent);
        let difference = if difference < 0 {
            difference.wrapping_neg()
        } else {
            difference
        };
        let difference = if (0..MAX_SPACING_NS).contains(&difference) {
            difference
        } else {
            MAX_SPACING_NS
        };
        self.jitter_x16 = self.jitter_x16 + difference as u64 - ((self.jitter_x16 + 8) >> 4);
        let jitter_ns = self.jitter_x16 >> 4;
        self.jitter_sum_ns += jitter_ns;
        self.spacings = self.spacings.wrapping_add(1);
        if jitter_ns > self.jitter_max_ns {
            self.jitter_max_ns = jitter_ns;
        }
        self.space_from(header, arrival_ns);
    }

    #[inline(always)]
    fn space_from(&mut self, header: &RtpHeader, arrival_ns: u64) {
        self.spaced_timestamp = header.timestamp();
        self.spaced_ns = arrival_ns;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const PACKET_NS: u64 = 20_000_000;

    fn header(sequence: u16, timestamp: u32, ssrc: u32) -> RtpHeader {
        let mut bytes = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
        RtpHeader::parse(&bytes).unwrap()
    }

    /// A steady stream of the given sequence numbers.
    fn after(sequences: impl IntoIterator<Item = u16>) -> StreamAccount {
        let mut account = StreamAccount::default();
        for (place, sequence) in sequences.into_iter().enumerate() {
            let header = header(sequence, place as u32 * 160, 1);
            account.on_packet(&header, 172, 1 + place as u64 * PACKET_NS, Tick::of_rate(8000));
        }
        account
    }

    #[test]
    fn a_steady_stream_loses_nothing_and_has_no_jitter() {
        let account = after((65_500..=65_535).chain(0..100));
        assert_eq!((account.packets, account.bytes), (136, 136 * 172));
        assert_eq!((account.expected(), account.lost(), account.jitter_ns()), (136, 0, 0));
        assert_eq!((account.reordered, account.duplicates), (0, 0));
        assert_eq!(account.extended_highest(), (1 << 16) + 99);
        assert_eq!(StreamAccount::default().expected(), 0);
    }

    #[test]
    fn loss_reordering_and_duplicates_are_told_apart() {
        let account = after([10, 11, 13, 12, 14, 14, 17]);
        assert_eq!((account.packets, account.expected(), account.lost()), (7, 8, 1));
        assert_eq!((account.reordered, account.duplicates), (1, 1));
    }

    #[test]
    fn a_late_packet_that_comes_twice_is_late_once() {
        let account = after([10, 11, 14, 12, 12, 13, 11, 14, 15]);
        assert_eq!((account.reordered, account.duplicates), (2, 3));
        assert_eq!((account.expected(), account.lost()), (6, -3));
        // Older than the window: cannot be told from a late one.
        let account = after((0..=100).filter(|place| *place != 20).chain([20, 50]));
        assert_eq!((account.reordered, account.duplicates), (1, 1));
    }

    #[test]
    fn ticks_and_nanoseconds_agree() {
        let tick = Tick::of_rate(8000);
        assert_eq!((tick.ticks(20_000_000), tick.nanoseconds(160)), (160, 20_000_000));
        assert_eq!(Tick::of_rate(44_100).ticks(1_000_000_000), 44_100);
        assert_eq!(Tick::of_rate(0).ticks(5), 0);
        assert_eq!(tick.ticks(u64::MAX), tick.ticks(u64::MAX >> 9));
    }

    #[test]
    fn late_packets_across_the_wrap_are_late() {
        let account = after([65_534, 0, 65_535, 1]);
        assert_eq!((account.expected(), account.lost(), account.reordered), (4, 0, 1));
    }

    #[test]
    fn a_restart_keeps_the_loss_before_it() {
        let account = after([100, 103, 30_000, 30_001, 30_002]);
        assert_eq!((account.expected(), account.lost()), (7, 2));
        let account = after([100, 103, 40_000 + 25_535, 0, 1]);
        assert_eq!((account.expected(), account.lost()), (7, 2));
    }

    #[test]
    fn a_new_source_keeps_the_loss_before_it() {
        let mut account = after([1, 3]);
        account.on_packet(&header(500, 9, 2), 172, 3 * PACKET_NS, Tick::of_rate(8000));
        account.on_packet(&header(501, 169, 2), 172, 4 * PACKET_NS, Tick::of_rate(8000));
        assert_eq!(
            (account.packets, account.expected(), account.lost(), account.ssrc),
            (4, 5, 1, 2)
        );
        assert_eq!(account.jitter_ns(), 0);
    }

    #[test]
    fn packets_of_one_telephone_event_do_not_count_as_jitter() {
        let mut account = StreamAccount::default();
        let tick = Tick::of_rate(8000);
        for place in 0..10u16 {
            let timestamp = if place < 8 { 160 } else { u32::from(place) * 160 + 160 };
            account.on_packet(&header(place, timestamp, 1), 16, 1 + u64::from(place) * PACKET_NS, tick);
        }
        assert_eq!(account.jitter_ns(), 0);
    }

    proptest! {
        /// Against RFC 3550 A.8 in floating point.
        #[test]
        fn jitter_is_that_of_the_rfc(
            delays in prop::collection::vec(0u64..50_000_000, 2..300),
            rate in prop::sample::select(Vec::from([8_000u32, 16_000, 44_100, 48_000, 90_000])),
        ) {
            let mut account = StreamAccount::default();
            let (mut expected, mut before) = (0.0f64, None::<f64>);
            let step = rate / 50;
            for (place, delay) in delays.iter().enumerate() {
                let arrival = 1 + place as u64 * PACKET_NS + delay;
                let timestamp = place as u32 * step;
                account.on_packet(&header(place as u16, timestamp, 1), 172, arrival, Tick::of_rate(rate));
                let transit = arrival as f64 - f64::from(timestamp) * 1e9 / f64::from(rate);
                if let Some(before) = before.replace(transit) {
                    expected += ((transit - before).abs() - expected) / 16.0;
                }
            }
            // Integer rounding: under 1 ns a packet, forgotten at 1/16 a packet.
            prop_assert!((account.jitter_ns() as f64 - expected).abs() < 20.0, "{} {}", account.jitter_ns(), expected);
        }

        #[test]
        fn nothing_a_sender_can_write_overflows(
            packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0u32..3, any::<u64>()), 0..200),
        ) {
            let mut account = StreamAccount::default();
            for (sequence, timestamp, ssrc, arrival) in &packets {
                account.on_packet(&header(*sequence, *timestamp, *ssrc), 172, *arrival, Tick::of_rate(1));
            }
            prop_assert_eq!(account.packets, packets.len() as u64);
            prop_assert!(account.jitter_ns() <= 1_000_000_000);
            prop_assert!(account.lost() >= -(packets.len() as i64));
        }
    }
}
