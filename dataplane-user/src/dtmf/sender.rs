//! From keys to event packets.

use std::collections::VecDeque;
use std::time::Duration;

use super::{NotAKey, code};

/// The last packet of an event is sent this many times (RFC 4733 section 2.5.1.4).
const ENDS: u8 = 3;

/// Silence after a key, before the next.
const GAP: Duration = Duration::from_millis(100);

/// Level of the tone, in -dBm0.
const VOLUME: u8 = 10;

/// Clock of telephone events beside G.711, Hz.
const CLOCK_RATE: u32 = 8000;

/// An event packet, to be sent in place of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// First packet of the event.
    pub marker: bool,
    /// Timestamp of the event's beginning, the same in all its packets.
    pub timestamp: u32,
    /// What follows the RTP header.
    pub payload: [u8; 4],
}

/// Presses keys on one stream, one after another.
#[derive(Debug)]
pub struct Sender {
    samples_per_packet: u16,
    /// Keys, and for how long they are held, in samples.
    waiting: VecDeque<(u8, u16)>,
    current: Option<Event>,
    /// Packet times of silence still to pass.
    gap: u32,
}

#[derive(Debug)]
struct Event {
    code: u8,
    timestamp: u32,
    /// Sent so far, in samples; 0 before the first packet.
    duration: u16,
    /// To be sent, in samples.
    total: u16,
    ends_sent: u8,
}

impl Sender {
    /// A sender whose packets are this many samples apart.
    pub fn new(samples_per_packet: u16) -> Self {
        Self {
            samples_per_packet: samples_per_packet.max(1),
            waiting: VecDeque::new(),
            current: None,
            gap: 0,
        }
    }

    /// Goes on with packets that are this many samples apart.
    pub fn set_packet(&mut self, samples: u16) {
        self.samples_per_packet = samples.max(1);
    }

    /// Queues a key. It is held for a whole number of packets, at least two and at most eight seconds.
    ///
    /// # Errors
    /// It is not a key.
    pub fn press(&mut self, digit: char, duration: Duration) -> Result<(), NotAKey> {
        let code = code(digit)?;
        let samples = (duration.as_millis() * u128::from(CLOCK_RATE / 1000)).min(64_000) as u16;
        self.waiting.push_back((code, samples));
        Ok(())
    }

    /// Forgets what is left to send.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.current = None;
    }

    /// Keys that wait for the one that is pressed.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether anything is left to send.
    pub fn is_active(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    /// To be called once a packet time with the timestamp an audio packet would have: the event packet to send instead of
    /// it, if there is one.
    pub fn next(&mut self, timestamp: u32) -> Option<EventPacket> {
        if self.current.is_none() {
            if self.gap > 0 {
                self.gap -= 1;
                return None;
            }
            let (code, samples) = self.waiting.pop_front()?;
            let packet = self.samples_per_packet;
            self.current = Some(Event {
                code,
                timestamp,
                duration: 0,
                total: samples.div_ceil(packet).max(2) * packet,
                ends_sent: 0,
            });
        }
        let event = self.current.as_mut()?;
        let marker = event.duration == 0;
        if event.duration < event.total {
            event.duration += self.samples_per_packet;
        }
        let end = event.duration >= event.total;
        let [high, low] = event.duration.to_be_bytes();
        let packet = EventPacket {
            marker,
            timestamp: event.timestamp,
            payload: [event.code, VOLUME | if end { 0x80 } else { 0 }, high, low],
        };
        if end {
            event.ends_sent += 1;
            if event.ends_sent == ENDS {
                self.current = None;
                let packet_time = Duration::from_secs(self.samples_per_packet.into()) / CLOCK_RATE;
                self.gap = GAP.as_millis().div_ceil(packet_time.as_millis().max(1)) as u32;
            }
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_sent_as_rfc_4733_asks() {
        let mut sender = Sender::new(160);
        sender.press('#', Duration::from_millis(60)).unwrap();
        let packets: Vec<EventPacket> = (0..5).map_while(|n| sender.next(4000 + 160 * n)).collect();
        let expected = |marker, flags, duration: u16| EventPacket {
            marker,
            timestamp: 4000,
            payload: [11, flags, duration.to_be_bytes()[0], duration.to_be_bytes()[1]],
        };
        assert_eq!(
            packets,
            [
                expected(true, 10, 160),
                expected(false, 10, 320),
                expected(false, 0x8a, 480),
                expected(false, 0x8a, 480),
                expected(false, 0x8a, 480),
            ]
        );
        assert!(!sender.is_active());
    }

    #[test]
    fn keys_are_apart_and_in_order() {
        let mut sender = Sender::new(160);
        for digit in "1A".chars() {
            sender.press(digit, Duration::from_millis(40)).unwrap();
        }
        let codes: Vec<Option<u8>> = (0..15)
            .map(|n| sender.next(160 * n).map(|packet| packet.payload[0]))
            .collect();
        let (one, a, none) = (Some(1), Some(12), None);
        assert_eq!(
            codes,
            [one, one, one, one, none, none, none, none, none, a, a, a, a, none, none]
        );
    }

    #[test]
    fn what_cannot_be_sent_is_forgotten() {
        let mut sender = Sender::new(160);
        for digit in "12".chars() {
            sender.press(digit, Duration::from_millis(40)).unwrap();
        }
        assert!(sender.next(0).is_some());
        sender.clear();
        assert!(!sender.is_active());
        assert_eq!(sender.next(160), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(Sender::new(160).press('x', Duration::ZERO), Err(NotAKey('x')));
    }

    #[test]
    fn the_longest_press_does_not_wrap() {
        let mut sender = Sender::new(160);
        sender.press('1', Duration::from_secs(3600)).unwrap();
        let mut last = 0;
        while let Some(packet) = sender.next(0) {
            let duration = u16::from_be_bytes([packet.payload[2], packet.payload[3]]);
            assert!(duration >= last);
            last = duration;
        }
        assert_eq!(last, 64_000);
    }
}
