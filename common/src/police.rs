//! A token bucket a flow: what comes faster than its ptime and packet size allow is dropped.
//!
//! The bucket is kept as a time, the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371): every
//! packet moves it on by its cost, and a packet that finds it too far in the future is in excess. One word of state, no
//! refill.

use bytemuck::{Pod, Zeroable};

/// A flow may come at this many times the rate that was agreed: a sender that resends, or adds telephone events, is not
/// an attacker.
const GENEROSITY: u32 = 2;

/// Small packets may come at this many times the rate of packets: another ptime than was agreed is not an attack either.
const PACKET_GENEROSITY: u32 = 4;

/// How much media may come at once, after the network has held it up: 1 s.
const BURST_MS: u32 = 1000;

/// RTP header, and room for CSRCs and header extensions.
const HEADERS: u32 = 12 + 28;

/// The rate of a flow. All zero: not policed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Police {
    /// Cost of a packet however small, ns.
    packet_ns: u32,
    /// Cost of a byte of UDP payload, 1/16 ns.
    byte_x16: u32,
    /// How far the bucket's time may run ahead of the clock, ns.
    ahead_ns: u32,
}

impl Police {
    /// No limit.
    pub const OFF: Self = Self {
        packet_ns: 0,
        byte_x16: 0,
        ahead_ns: 0,
    };

    /// The rate of RTP with `ptime_ms` (at least 1) of media a packet, each media millisecond taking
    /// `bytes_a_millisecond`.
    pub const fn of_rtp(ptime_ms: u8, bytes_a_millisecond: u8) -> Self {
        let ptime_ms = if ptime_ms == 0 { 1 } else { ptime_ms as u32 };
        let bytes = HEADERS + ptime_ms * bytes_a_millisecond as u32;
        Self {
            packet_ns: ptime_ms * 1_000_000 / PACKET_GENEROSITY,
            byte_x16: 16 * 1_000_000 / GENEROSITY * ptime_ms / bytes,
            ahead_ns: BURST_MS * 1_000_000 / GENEROSITY,
        }
    }

    /// The rate of RTCP: ten packets a second, each up to a whole frame.
    pub const fn of_rtcp() -> Self {
        Self {
            packet_ns: 100_000_000,
            byte_x16: 0,
            ahead_ns: 2_000_000_000,
        }
    }

    /// A rate that nobody comes near, at the cost of any other: for benchmarks.
    #[cfg(feature = "lab")]
    pub const fn out_of_reach() -> Self {
        Self {
            packet_ns: 1,
            byte_x16: 0,
            ahead_ns: u32::MAX,
        }
    }

    /// Whether a packet of `bytes` of UDP payload that comes at `now_ns` is within the rate; moves `tat_ns`, the flow's
    /// bucket, if it is.
    #[inline(always)]
    pub const fn admits(&self, tat_ns: &mut u64, bytes: u32, now_ns: u64) -> bool {
        if self.packet_ns == 0 {
            return true;
        }
        let start = if *tat_ns > now_ns { *tat_ns } else { now_ns };
        if start - now_ns > self.ahead_ns as u64 {
            return false;
        }
        // At most 32 + 16 bits: a payload is shorter than 65,536 bytes.
        let size_ns = (self.byte_x16 as u64 * bytes as u64) >> 4;
        let packet_ns = self.packet_ns as u64;
        *tat_ns = start + if size_ns > packet_ns { size_ns } else { packet_ns };
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const PCMU: Police = Police::of_rtp(20, 8);

    /// How many of `count` packets, `gap_ns` apart, are let through.
    fn admitted(police: Police, bytes: u32, gap_ns: u64, count: u64) -> u64 {
        let mut tat = 0;
        (0..count)
            .filter(|place| police.admits(&mut tat, bytes, 1 + place * gap_ns))
            .count() as u64
    }

    #[test]
    fn what_was_agreed_passes_for_ever_in_any_ptime() {
        for (bytes, gap_ms) in [(172, 20), (92, 10), (252, 30), (332, 40), (16, 20), (172, 11)] {
            assert_eq!(admitted(PCMU, bytes, gap_ms * MS, 100_000), 100_000, "{bytes} bytes");
        }
    }

    #[test]
    fn a_second_of_media_may_come_at_once_and_then_no_more() {
        let burst = admitted(PCMU, 172, 0, 1000);
        assert!((50..=65).contains(&burst), "{burst}");
        let burst = admitted(Police::of_rtcp(), 80, 0, 1000);
        assert!((20..=22).contains(&burst), "{burst}");
    }

    #[test]
    fn a_flood_is_held_to_the_rate() {
        // Ten times the rate for 100 s: twice the rate and the burst come through.
        let through = admitted(PCMU, 172, 2 * MS, 50_000);
        assert!((10_000..13_000).contains(&through), "{through}");
        // Large packets at the agreed rate of packets.
        let through = admitted(PCMU, 1400, 20 * MS, 5_000);
        assert!(through < 1_500, "{through}");
        assert_eq!(admitted(Police::OFF, 1400, 0, 5_000), 5_000);
    }

    #[test]
    fn a_flow_that_paused_has_no_more_than_a_burst() {
        let mut tat = 0;
        assert!(PCMU.admits(&mut tat, 172, 1));
        let after = 3_600_000 * MS;
        let burst = (0..1000).filter(|_| PCMU.admits(&mut tat, 172, after)).count();
        assert!(burst <= 65, "{burst}");
    }

    proptest! {
        #[test]
        fn nothing_overflows(times in prop::collection::vec((any::<u64>(), any::<u16>()), 0..50), ptime: u8, bytes: u8) {
            let police = Police::of_rtp(ptime, bytes);
            let mut tat = 0;
            for (now, length) in times {
                police.admits(&mut tat, length.into(), now >> 1);
            }
        }
    }
}
