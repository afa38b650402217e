//! When a packet of a flow that is paced leaves: on a grid of its ptime, behind the packet before it.
//!
//! XDP cannot hold a packet; this decides the time, and the tc program `pace` and the `fq` queue of the interface keep
//! it (earliest departure time).

use bytemuck::{Pod, Zeroable};

/// Whether a flow is paced.
#[repr(u8)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pacing {
    /// Never.
    #[default]
    Off = 0,
    /// While its packets arrive in bursts.
    Auto = 1,
    /// Always.
    Always = 2,
}

/// A packet waits at most this many packet times.
const MAX_WAIT: u64 = 10;

/// What a flow's pacer remembers. All zero before its first packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Pacer {
    /// When the next packet may leave, ns on the monotonic clock; 0: the flow is not paced at present.
    next_ns: u64,
}

/// When a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// At once, unpaced.
    Now,
    /// At this time, ns on the monotonic clock.
    At(u64),
}

impl Pacer {
    /// Whether the last packet was given a time.
    pub const fn is_pacing(&self) -> bool {
        self.next_ns != 0
    }

    /// The departure of a packet that arrives at `now_ns` in a flow of this packet time and interarrival jitter.
    ///
    /// The first packet of a flow, or the first after its queue ran dry, waits one packet time: what is late by less
    /// than that does not show. No packet waits longer than ten packet times.
    #[inline(always)]
    pub const fn departure(&mut self, pacing: Pacing, ptime_ns: u32, jitter_ns: u64, now_ns: u64) -> Departure {
        let ptime_ns = ptime_ns as u64;
        let paced = match pacing {
            Pacing::Off => false,
            Pacing::Always => true,
            // Bursts of n packets every n packet times have a jitter of over a packet time; a quiet network has a
            // tenth of that. Begins at half a packet time and ends at an eighth, so that it does not flutter.
            Pacing::Auto if self.next_ns == 0 => jitter_ns > ptime_ns >> 1,
            Pacing::Auto => jitter_ns > ptime_ns >> 3,
        };
        if !paced {
            self.next_ns = 0;
            return Departure::Now;
        }
        let departure = if self.next_ns < now_ns {
            now_ns + ptime_ns
        } else if self.next_ns - now_ns > MAX_WAIT * ptime_ns {
            now_ns + MAX_WAIT * ptime_ns
        } else {
            self.next_ns
        };
        self.next_ns = departure + ptime_ns;
        Departure::At(departure)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const PTIME: u32 = 20_000_000;

    fn departures(pacing: Pacing, arrivals: impl IntoIterator<Item = (u64, u64)>) -> Vec<Departure> {
        let mut pacer = Pacer::default();
        arrivals
            .into_iter()
            .map(|(now, jitter)| pacer.departure(pacing, PTIME, jitter, now))
            .collect()
    }

    #[test]
    fn bursts_leave_on_the_grid() {
        // Five packets every 100 ms, each burst up to 15 ms late.
        let arrivals = (0..50u64).map(|place| (1000 * MS + place / 5 * 100 * MS + (place / 5 * 7 % 16) * MS, 0));
        let times: Vec<u64> = departures(Pacing::Always, arrivals)
            .into_iter()
            .map(|departure| match departure {
                Departure::At(time) => time,
                Departure::Now => 0,
            })
            .collect();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 20 * MS), "{times:?}");
    }

    #[test]
    fn auto_begins_with_bursts_and_ends_when_they_do() {
        let jitters = [0, 9 * MS, 11 * MS, 5 * MS, 3 * MS, 2 * MS, 5 * MS];
        let arrivals = jitters
            .iter()
            .enumerate()
            .map(|(n, jitter)| (1000 * MS + n as u64 * 20 * MS, *jitter));
        let paced: Vec<bool> = departures(Pacing::Auto, arrivals)
            .into_iter()
            .map(|departure| departure != Departure::Now)
            .collect();
        assert_eq!(paced, [false, false, true, true, true, false, false]);
    }

    proptest! {
        #[test]
        fn a_wait_is_bounded_and_order_is_kept(gaps in prop::collection::vec(0u64..100 * MS, 1..200)) {
            let mut now = 1000 * MS;
            let mut last = 0;
            let mut pacer = Pacer::default();
            for gap in gaps {
                now += gap;
                let Departure::At(at) = pacer.departure(Pacing::Always, PTIME, 0, now) else {
                    return Err(TestCaseError::fail("not paced"));
                };
                prop_assert!(at >= now && at - now <= 10 * 20 * MS);
                prop_assert!(at >= last);
                last = at;
            }
        }
    }
}
