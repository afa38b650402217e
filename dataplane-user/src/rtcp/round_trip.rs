//! Round-trip times between the gateway and the far ends of a relayed call (RFC 3550 section 6.4.1), from reports that
//! only pass through.
//!
//! A sender report that goes through to one leg is answered, seconds later, by a report of that leg's far end that names
//! it and says how long it was held there. What remains of the time between the two is the way to the far end and back.

use super::reports::reports;

/// Reports remembered a leg: they come every few seconds, and are answered by the next.
const REMEMBERED: usize = 8;

/// The reports of a call's two legs.
#[derive(Clone, Debug, Default)]
pub struct RoundTrip {
    legs: [Leg; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Leg {
    /// Sender reports that came from this leg: name, and when they went through, ns.
    sent: [(u32, u64); REMEMBERED],
    next: usize,
    /// To this leg's far end and back, ns.
    round_trip_ns: Option<u64>,
}

impl RoundTrip {
    /// Takes an RTCP packet that came from a leg, 0 or 1, at `at_ns` on any steady clock.
    pub fn on_packet(&mut self, leg: usize, packet: &[u8], at_ns: u64) {
        let leg = leg & 1;
        for report in reports(packet) {
            for block in report.blocks().filter(|block| block.last_report != 0) {
                let other = &self.legs[1 - leg];
                let named = other
                    .sent
                    .iter()
                    .find(|(name, at)| *at != 0 && *name == block.last_report);
                if let Some((_, sent_ns)) = named {
                    let held_ns = (u64::from(block.delay) * 1_000_000_000) >> 16;
                    self.legs[leg].round_trip_ns = Some(at_ns.saturating_sub(*sent_ns).saturating_sub(held_ns));
                }
            }
            if let Some(name) = report.sent {
                let leg = &mut self.legs[leg];
                leg.sent[leg.next % REMEMBERED] = (name, at_ns);
                leg.next = (leg.next + 1) % REMEMBERED;
            }
        }
    }

    /// To a leg's far end and back, ns, as last measured.
    pub fn round_trip_ns(&self, leg: usize) -> Option<u64> {
        self.legs[leg & 1].round_trip_ns
    }
}

#[cfg(test)]
mod tests {
    use super::super::reports::tests::report;
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_way_there_and_back_is_what_was_not_held() {
        let mut trips = RoundTrip::default();
        trips.on_packet(0, &report(Some(77), 0, 0), 1000 * MS);
        assert_eq!(trips.round_trip_ns(1), None);
        // Held for half a second, answered after 540 ms.
        trips.on_packet(1, &report(Some(99), 77, 32_768), 1540 * MS);
        assert_eq!((trips.round_trip_ns(1), trips.round_trip_ns(0)), (Some(40 * MS), None));
        trips.on_packet(0, &report(None, 99, 0), 1547 * MS);
        assert_eq!(trips.round_trip_ns(0), Some(7 * MS));
    }

    #[test]
    fn an_answer_to_nothing_says_nothing() {
        let mut trips = RoundTrip::default();
        trips.on_packet(1, &report(None, 77, 0), 10 * MS);
        trips.on_packet(1, &report(None, 0, 0), 10 * MS);
        assert_eq!((trips.round_trip_ns(0), trips.round_trip_ns(1)), (None, None));
        for name in 1..=20 {
            trips.on_packet(0, &report(Some(name), 0, 0), u64::from(name) * MS);
        }
        trips.on_packet(1, &report(None, 5, 0), 30 * MS);
        assert_eq!(trips.round_trip_ns(1), None);
        trips.on_packet(1, &report(None, 20, 0), 30 * MS);
        assert_eq!(trips.round_trip_ns(1), Some(10 * MS));
        // A far end whose clock is off does not make it negative.
        trips.on_packet(1, &report(None, 20, u32::MAX), 31 * MS);
        assert_eq!(trips.round_trip_ns(1), Some(0));
    }
}
