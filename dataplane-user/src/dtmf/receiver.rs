//! From event packets to presses.

use std::time::Duration;

use voxlane_common::rtp::RtpHeader;

use super::{Press, key};

/// An event whose packets stop without an end is over after this long.
const TIMEOUT: Duration = Duration::from_millis(200);

/// A segment that has come this far may be full: its next packet would not fit into 16 bits of duration.
const FULL: u32 = 0xf000;

/// Hears one stream's telephone events.
///
/// All packets of an event carry the timestamp of its beginning, which names the event: a second press of the same key
/// has another. So it does not matter which of an event's packets are lost, as long as one arrives. A key held for longer
/// than a duration can say goes on under a new timestamp, from where the full segment ends (section 2.5.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    clock_rate: u32,
    current: Option<Event>,
    /// Timestamp of the last event that was reported, to know its repeated and late packets.
    reported: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    digit: char,
    timestamp: u32,
    /// Longest duration seen, in the clock's units.
    duration: u16,
    /// Duration of its segments before this one.
    before: u64,
    last_packet: Duration,
}

impl Event {
    /// Whether `digit` at `timestamp` is the same key, still held, in a new segment.
    fn goes_on(&self, digit: char, timestamp: u32) -> bool {
        let since = timestamp.wrapping_sub(self.timestamp);
        digit == self.digit && (FULL..=u32::from(u16::MAX)).contains(&since) && u32::from(self.duration) >= FULL
    }
}

impl Default for Receiver {
    /// For the clock that telephone events have beside G.711 and G.722.
    fn default() -> Self {
        Self::new(8000)
    }
}

impl Receiver {
    /// A receiver for events on a clock of `clock_rate` Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            current: None,
            reported: None,
        }
    }

    /// Takes an event packet; `payload` is what follows the RTP header. Returns a press that this packet ends: its own, by
    /// its end bit, or the one before, whose end was lost.
    pub fn on_packet(&mut self, header: &RtpHeader, payload: &[u8], now: Duration) -> Option<Press> {
        // RFC 4733 section 2.3: event, end bit and volume, duration.
        let [code, flags, high, low] = *payload.first_chunk()?;
        let digit = key(code)?;
        let timestamp = header.timestamp();
        if self.is_old(timestamp) {
            return None;
        }
        let duration = u16::from_be_bytes([high, low]);
        let before = match &mut self.current {
            Some(event) if event.timestamp == timestamp => None,
            Some(event) if event.goes_on(digit, timestamp) => {
                event.before += u64::from(timestamp.wrapping_sub(event.timestamp));
                event.timestamp = timestamp;
                event.duration = 0;
                None
            }
            _ => self.finish(),
        };
        let event = self.current.get_or_insert(Event {
            digit,
            timestamp,
            duration,
            before: 0,
            last_packet: now,
        });
        event.duration = event.duration.max(duration);
        event.last_packet = now;
        let ended = flags & 0x80 != 0;
        // Two ends in one packet cannot be told at once; the later one is told by its repetition, or by time-out.
        before.or_else(|| if ended { self.finish() } else { None })
    }

    /// Ends an event whose packets have stopped.
    pub fn poll(&mut self, now: Duration) -> Option<Press> {
        let event = self.current.as_ref()?;
        if now.saturating_sub(event.last_packet) < TIMEOUT {
            return None;
        }
        self.finish()
    }

    /// Whether this is the event that was reported last, or one before it.
    fn is_old(&self, timestamp: u32) -> bool {
        let behind = |newer: u32| newer.wrapping_sub(timestamp) < 1 << 31;
        match (&self.current, self.reported) {
            (Some(current), _) if current.timestamp != timestamp && behind(current.timestamp) => true,
            (_, Some(reported)) => behind(reported) && reported.wrapping_sub(timestamp) < 10 * self.clock_rate,
            _ => false,
        }
    }

    fn finish(&mut self) -> Option<Press> {
        let event = self.current.take()?;
        self.reported = Some(event.timestamp);
        let samples = event.before + u64::from(event.duration);
        Some(Press {
            digit: event.digit,
            duration: Duration::from_secs(samples) / self.clock_rate,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Sender;
    use super::*;

    const PTIME: Duration = Duration::from_millis(20);

    struct Packet {
        timestamp: u32,
        payload: Vec<u8>,
    }

    fn packet(timestamp: u32, code: u8, end: bool, duration: u16) -> Packet {
        let [high, low] = duration.to_be_bytes();
        Packet {
            timestamp,
            payload: vec![code, if end { 0x8a } else { 10 }, high, low],
        }
    }

    fn hear(packets: impl IntoIterator<Item = Packet>) -> Vec<Press> {
        let mut receiver = Receiver::new(8000);
        let mut presses = Vec::new();
        let mut now = Duration::ZERO;
        for packet in packets {
            let mut head = [0; 12];
            head[0] = 0x80;
            head[1] = 101;
            head[4..8].copy_from_slice(&packet.timestamp.to_be_bytes());
            presses.extend(receiver.on_packet(&RtpHeader::parse(&head).unwrap(), &packet.payload, now));
            now += PTIME;
        }
        presses.extend(receiver.poll(now + TIMEOUT));
        presses
    }

    fn press(digit: char, milliseconds: u64) -> Press {
        Press {
            digit,
            duration: Duration::from_millis(milliseconds),
        }
    }

    #[test]
    fn a_press_is_told_once_though_its_end_is_sent_three_times() {
        let packets = [
            packet(0, 5, false, 160),
            packet(0, 5, false, 320),
            packet(0, 5, true, 480),
        ];
        let repeats = [packet(0, 5, true, 480), packet(0, 5, true, 480)];
        assert_eq!(hear(packets.into_iter().chain(repeats)), [press('5', 60)]);
    }

    #[test]
    fn lost_beginnings_and_lost_ends_do_not_matter() {
        assert_eq!(hear([packet(0, 11, true, 800)]), [press('#', 100)]);
        assert_eq!(
            hear([packet(0, 1, false, 160), packet(0, 1, false, 320)]),
            [press('1', 40)]
        );
        // The next key ends the one before.
        assert_eq!(
            hear([
                packet(0, 1, false, 160),
                packet(1600, 2, false, 160),
                packet(1600, 2, true, 320)
            ]),
            [press('1', 20), press('2', 40)]
        );
    }

    #[test]
    fn the_same_key_twice_is_two_presses() {
        let twice = [
            packet(0, 9, true, 400),
            packet(0, 9, true, 400),
            packet(1600, 9, true, 400),
        ];
        assert_eq!(hear(twice), [press('9', 50), press('9', 50)]);
    }

    #[test]
    fn late_packets_of_a_reported_event_are_not_a_new_one() {
        let late = [
            packet(0, 3, false, 160),
            packet(0, 3, true, 480),
            packet(0, 3, false, 320),
        ];
        assert_eq!(hear(late), [press('3', 60)]);
        let overtaken = [packet(1600, 4, true, 160), packet(0, 3, true, 480)];
        assert_eq!(hear(overtaken), [press('4', 20)]);
    }

    #[test]
    fn timestamps_wrap() {
        let wrap = [packet(u32::MAX - 100, 7, true, 160), packet(1500, 8, true, 160)];
        assert_eq!(hear(wrap), [press('7', 20), press('8', 20)]);
    }

    #[test]
    fn a_key_held_beyond_what_a_duration_can_say_is_one_press() {
        let segment = |start: u32, end: bool| (1..=4u32).map(move |n| (start, end && n == 4, (16_380 * n).min(65_520)));
        let packets = segment(0, false)
            .chain(segment(65_520, false))
            .chain([(131_040, true, 8000)]);
        let heard = hear(packets.map(|(start, end, duration)| packet(start, 6, end, duration as u16)));
        assert_eq!(heard, [press('6', (131_040 + 8000) / 8)]);
        // The same key pressed anew after a long one is another press.
        let anew = [packet(0, 6, true, 65_520), packet(65_600, 6, true, 800)];
        assert_eq!(hear(anew), [press('6', 8190), press('6', 100)]);
    }

    #[test]
    fn what_is_no_key_is_left_alone() {
        assert_eq!(hear([packet(0, 16, true, 160), packet(0, 200, true, 160)]), []);
        assert_eq!(
            hear([Packet {
                timestamp: 0,
                payload: vec![1, 2, 3]
            }]),
            []
        );
    }

    proptest! {
        /// Any keys, with any of their packets lost as long as one of each arrives: each is heard once, in order.
        #[test]
        fn every_press_is_heard_once(
            keys in prop::collection::vec(0usize..16, 1..12),
            lost in prop::collection::vec(any::<bool>(), 400),
        ) {
            let digits: String = keys.iter().map(|key| super::super::KEYS[*key]).collect();
            let mut sender = Sender::new(160);
            for digit in digits.chars() {
                sender.press(digit, Duration::from_millis(100)).unwrap();
            }
            let mut packets: Vec<Packet> = Vec::new();
            let mut timestamp = 1_000u32;
            while sender.is_active() {
                if let Some(event) = sender.next(timestamp) {
                    packets.push(Packet { timestamp: event.timestamp, payload: event.payload.to_vec() });
                }
                timestamp = timestamp.wrapping_add(160);
            }
            let last_of_each: Vec<usize> = (0..packets.len())
                .filter(|&index| packets.get(index + 1).is_none_or(|next| next.timestamp != packets[index].timestamp))
                .collect();
            let arrived = packets.into_iter().enumerate().filter(|(index, _)| {
                last_of_each.contains(index) || !lost.get(*index).copied().unwrap_or(false)
            });
            let heard: String = hear(arrived.map(|(_, packet)| packet)).iter().map(|press| press.digit).collect();
            prop_assert_eq!(heard, digits);
        }

        /// Any durations and gaps, beginnings and markers lost, ends said up to three times or lost: each press is told
        /// once, in order, and if an end of it arrived, with the duration it had.
        #[test]
        fn every_duration_is_told(
            presses in prop::collection::vec((0u8..16, 2u32..900, 1u32..20, 0usize..4, any::<u64>()), 1..8),
        ) {
            // Durations are in packets of 160: up to 18 s, beyond what 16 bits can say (section 2.5.1.3).
            const SEGMENT: u32 = 65_440;
            let mut began = 70_000u32;
            let mut packets = Vec::new();
            let mut expected = Vec::new();
            let mut last_code = 0;
            for (step, length, gap, ends, lost) in presses {
                // Another key: of one whose end is lost nobody can tell whether it was pressed anew or held on.
                let code = (last_code + 1 + step % 15) % 16;
                last_code = code;
                let total = length * 160;
                let mut longest = 0;
                for place in 1..=length {
                    let so_far = place * 160;
                    let segment = (so_far - 1) / SEGMENT;
                    let last = place == length;
                    // Every segment must be heard to its end: what names the next is where it stops.
                    let full = so_far % SEGMENT == 0;
                    let arrives = full || last && ends > 0 || lost >> (place % 64) & 1 == 0;
                    if arrives {
                        longest = so_far;
                        let duration = (so_far - segment * SEGMENT) as u16;
                        for _ in 0..if last { ends.max(1) } else { 1 } {
                            packets.push(packet(began + segment * SEGMENT, code, last && ends > 0, duration));
                        }
                    }
                }
                if longest > 0 {
                    expected.push((key(code).unwrap(), if ends > 0 { total } else { longest }));
                }
                began += total + gap * 160;
            }
            let heard = hear(packets);
            let told: Vec<(char, u32)> = heard
                .iter()
                .map(|press| (press.digit, (press.duration.as_nanos() / 125_000) as u32))
                .collect();
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn nothing_panics(packets in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..8)), 0..50)) {
            hear(packets.into_iter().map(|(timestamp, payload)| Packet { timestamp, payload }));
        }
    }
}
