//! Round-trip times between the gateway and the far ends of a relayed call (RFC 3550 section 6.4.1), from reports that
//! only pass through.
//!
//! A sender report that goes through to one leg is answered, seconds later, by a report of that leg's far end that names
//! it and says how long it was held there. What remains of the time between the two is the way to the far end and back.

use std::time::Duration;

use super::reports::{Block, reports};

/// Reports remembered a leg: they come every few seconds, and are answered by the next.
const REMEMBERED: usize = 8;

/// The reports of one of a call's two legs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    /// Sender reports that came from this leg: name, and when they went through, ns.
    sent: [(u32, u64); REMEMBERED],
    next: usize,
    /// To this leg's far end and back, ns.
    round_trip_ns: Option<u64>,
    /// What its far end reported last of what it is sent.
    reported: Option<Block>,
}

impl RoundTrip {
    /// Takes an RTCP packet that came from this leg, at `at_ns` on any steady clock; `other` is the leg it goes to.
    pub fn on_packet(&mut self, other: &Self, packet: &[u8], at_ns: u64) {
        for report in reports(packet) {
            self.reported = report.blocks().next().or(self.reported);
            for block in report.blocks().filter(|block| block.last_report != 0) {
                let mut sent = other.sent.iter();
                let named = sent.find(|(name, at)| *at != 0 && *name == block.last_report);
                if let Some((_, sent_ns)) = named {
                    let held_ns = (u64::from(block.delay) * 1_000_000_000) >> 16;
                    self.round_trip_ns = Some(at_ns.saturating_sub(*sent_ns).saturating_sub(held_ns));
                }
            }
            if let Some(name) = report.sent {
                self.sent[self.next % REMEMBERED] = (name, at_ns);
                self.next = (self.next + 1) % REMEMBERED;
            }
        }
    }

    /// The newest report that came from this leg with a block, its first: a leg is sent one stream.
    pub fn reported(&self) -> Option<Block> {
        self.reported
    }

    /// To the leg's far end and back, as last measured.
    pub fn measured(&self) -> Option<Duration> {
        self.round_trip_ns.map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reports::tests::report;
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_way_there_and_back_is_what_was_not_held() {
        let (mut a, mut b) = (RoundTrip::default(), RoundTrip::default());
        a.on_packet(&b, &report(Some(77), 0, 0), 1000 * MS);
        assert_eq!(b.measured(), None);
        // Held for half a second, answered after 540 ms.
        b.on_packet(&a, &report(Some(99), 77, 32_768), 1540 * MS);
        assert_eq!((b.measured(), a.measured()), (Some(Duration::from_millis(40)), None));
        a.on_packet(&b, &report(None, 99, 0), 1547 * MS);
        assert_eq!(a.measured(), Some(Duration::from_millis(7)));
    }

    #[test]
    fn an_answer_to_nothing_says_nothing() {
        let (mut a, mut b) = (RoundTrip::default(), RoundTrip::default());
        b.on_packet(&a, &report(None, 77, 0), 10 * MS);
        b.on_packet(&a, &report(None, 0, 0), 10 * MS);
        assert_eq!((a.measured(), b.measured()), (None, None));
        for name in 1..=20 {
            a.on_packet(&b, &report(Some(name), 0, 0), u64::from(name) * MS);
        }
        b.on_packet(&a, &report(None, 5, 0), 30 * MS);
        assert_eq!(b.measured(), None);
        b.on_packet(&a, &report(None, 20, 0), 30 * MS);
        assert_eq!(b.measured(), Some(Duration::from_millis(10)));
        // A far end whose clock is off does not make it negative.
        b.on_packet(&a, &report(None, 20, u32::MAX), 31 * MS);
        assert_eq!(b.measured(), Some(Duration::ZERO));
    }
}
