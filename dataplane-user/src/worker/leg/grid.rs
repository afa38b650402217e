//! When packets leave that are not as long as what the agent hears at a time: on the worker's grid of ticks, of which every
//! packet time is a multiple.

use std::time::Duration;

use crate::worker::bridge::TICK_MS;

/// The times of one leg's packets.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// The leg's place among the ticks.
    slot: usize,
    /// Ticks of a packet.
    ticks: u64,
    /// The packet that was due last.
    last: Option<u64>,
}

impl Grid {
    /// Packets of `ptime` milliseconds, of a leg whose place among the ticks is `slot`.
    pub(super) fn new(slot: usize, ptime: u8) -> Self {
        Self {
            slot,
            ticks: u64::from((ptime / TICK_MS).max(1)),
            last: None,
        }
    }

    /// Its place among the ticks.
    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    /// The number of the packet that is due with a tick, and when it was: the first with the tick it begins with, a later one
    /// also with one after it, should the worker have been late and given that up. Ticks come in order.
    pub(super) fn take_due(&mut self, tick: u64) -> Option<(u64, Duration)> {
        let packet = tick / self.ticks;
        let is_due = self.last.map_or(tick.is_multiple_of(self.ticks), |last| packet > last);
        let due = packet * self.ticks * u64::from(TICK_MS) + self.slot as u64;
        is_due.then(|| {
            self.last = Some(packet);
            (packet, Duration::from_millis(due))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets, and when they were due, ms.
    fn due(ptime: u8, ticks: impl IntoIterator<Item = u64>) -> Vec<(u64, u128)> {
        let mut grid = Grid::new(7, ptime);
        let due = ticks.into_iter().filter_map(|tick| grid.take_due(tick));
        due.map(|(packet, at)| (packet, at.as_millis())).collect()
    }

    #[test]
    fn packets_are_a_packet_time_apart() {
        assert_eq!(due(30, 100..108), [(34, 1027), (35, 1057)]);
        assert_eq!(due(10, 100..103), [(100, 1007), (101, 1017), (102, 1027)]);
    }

    #[test]
    fn a_packet_whose_tick_was_given_up_leaves_with_the_next() {
        assert_eq!(
            due(40, [100, 101, 105, 106, 107, 108]),
            [(25, 1007), (26, 1047), (27, 1087)]
        );
        // Those that are over are not made up for.
        assert_eq!(due(30, [99, 110]), [(33, 997), (36, 1087)]);
    }
}
