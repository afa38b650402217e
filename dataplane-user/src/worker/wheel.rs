//! The packet-time grid: who is due when.
//!
//! A packet time is divided into slots of one millisecond. A resident belongs to one slot and is due once a packet
//! time, at an absolute time that never drifts; residents are spread over the slots so that the work is too.

use std::time::Duration;

/// A worker that is more than this many frames late gives up the older ones: sending them all at once would only
/// overflow the far end's jitter buffer.
const MAX_CATCH_UP: u64 = 3;

/// The residents of one slot are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Whose turn it is.
    pub slot: usize,
    /// Number of the frame on the grid: one more each packet time, and more than one after frames were given up. Media
    /// timestamps follow it.
    pub frame: u64,
}

/// The grid of one worker.
#[derive(Debug)]
pub(super) struct Wheel {
    /// Keys of the residents, by slot.
    slots: Vec<Vec<usize>>,
    /// The next millisecond to look at, counted from the start of the clock.
    cursor: u64,
    residents: usize,
    given_up: u64,
}

impl Wheel {
    /// A wheel for frames of `ptime` milliseconds (at least one).
    pub(super) fn new(ptime: u8) -> Self {
        Self {
            slots: vec![Vec::new(); usize::from(ptime.max(1))],
            cursor: 0,
            residents: 0,
            given_up: 0,
        }
    }

    /// Gives a resident its place and returns the slot: one of the emptiest, and of those the one that is due first.
    pub(super) fn insert(&mut self, key: usize, now: Duration) -> usize {
        if self.residents == 0 {
            // Nobody has waited for the milliseconds gone by.
            self.cursor = milliseconds(now) + 1;
        }
        let first = self.slot_at(self.cursor);
        let count = self.slots.len();
        let slot = (first..first + count)
            .map(|slot| slot % count)
            .min_by_key(|slot| self.slots[*slot].len())
            .unwrap_or(first);
        self.slots[slot].push(key);
        self.residents += 1;
        slot
    }

    /// Turns that are due at once, of so many residents, at most.
    pub(super) fn most_due(residents: usize) -> usize {
        residents * MAX_CATCH_UP as usize
    }

    /// Takes a resident off the grid.
    pub(super) fn remove(&mut self, slot: usize, key: usize) {
        let keys = &mut self.slots[slot];
        if let Some(place) = keys.iter().position(|other| *other == key) {
            keys.swap_remove(place);
            self.residents -= 1;
        }
    }

    /// Who is in a slot.
    pub(super) fn slot(&self, slot: usize) -> &[usize] {
        &self.slots[slot]
    }

    /// When the next resident is due, on the clock; `None` if there is none.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.next_occupied().map(Duration::from_millis)
    }

    /// The next slot that is due by `now`, if one is. Each slot and frame is returned once.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Due> {
        let count = self.slots.len() as u64;
        let laps_late = milliseconds(now).saturating_sub(self.next_occupied()?) / count;
        if laps_late >= MAX_CATCH_UP {
            let laps = laps_late - (MAX_CATCH_UP - 1);
            self.cursor += laps * count;
            self.given_up += laps * self.residents as u64;
        }
        let at = self.next_occupied()?;
        if at > milliseconds(now) {
            return None;
        }
        self.cursor = at + 1;
        Some(Due {
            slot: self.slot_at(at),
            frame: at / count,
        })
    }

    /// When a frame was due.
    pub(super) fn time_of(&self, due: Due) -> Duration {
        Duration::from_millis(due.frame * self.slots.len() as u64 + due.slot as u64)
    }

    /// Frames that were due and given up because the worker was late.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    fn next_occupied(&self) -> Option<u64> {
        (self.cursor..self.cursor + self.slots.len() as u64).find(|at| !self.slots[self.slot_at(*at)].is_empty())
    }

    fn slot_at(&self, millisecond: u64) -> usize {
        (millisecond % self.slots.len() as u64) as usize
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn frames_until(wheel: &mut Wheel, now: Duration) -> Vec<u64> {
        std::iter::from_fn(|| wheel.take_due(now).map(|due| due.frame)).collect()
    }

    #[test]
    fn residents_spread_over_the_slots() {
        let mut wheel = Wheel::new(20);
        let mut slots: Vec<usize> = (0..20).map(|key| wheel.insert(key, ms(7))).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn each_frame_is_due_once_on_an_absolute_grid() {
        let mut wheel = Wheel::new(20);
        let slot = wheel.insert(5, ms(100));
        assert_eq!(wheel.next_due(), Some(ms(101)));
        assert_eq!(wheel.take_due(ms(100)), None);
        assert_eq!(wheel.take_due(ms(104)), Some(Due { slot, frame: 5 }));
        assert_eq!(wheel.take_due(ms(104)), None);
        assert_eq!(wheel.next_due(), Some(ms(121)));
        assert_eq!(wheel.slot(slot), [5]);
    }

    #[test]
    fn a_late_worker_catches_up_by_three_frames_and_counts_the_rest() {
        let mut wheel = Wheel::new(20);
        wheel.insert(0, ms(0));
        assert_eq!(frames_until(&mut wheel, ms(45)), [0, 1, 2]);
        assert_eq!(wheel.given_up(), 0);
        assert_eq!(frames_until(&mut wheel, ms(61 + 20 * 10)), [11, 12, 13]);
        assert_eq!(wheel.given_up(), 8);
    }

    #[test]
    fn an_empty_wheel_is_never_late() {
        let mut wheel = Wheel::new(20);
        let slot = wheel.insert(0, ms(0));
        wheel.remove(slot, 0);
        assert_eq!((wheel.next_due(), wheel.take_due(ms(500))), (None, None));
        wheel.insert(1, ms(900));
        assert_eq!(frames_until(&mut wheel, ms(901)), [45]);
        assert_eq!(wheel.given_up(), 0);
    }
}
