//! The softphone's end of a leg: plays samples, presses keys, records.

use std::collections::VecDeque;
use std::time::Duration;

use super::{AgentEvent, Session};
use crate::codec::g711::{linear_to_ulaw, ulaw_to_linear};
use crate::dtmf;
use crate::media_plane::{PhoneSpec, Recording};
use crate::playout::Playout;

/// Samples that are played and recorded at each tick: 20 ms.
const FRAME: usize = 160;

/// Most audio heard and not yet recorded: what arrives in bursts waits here, up to 100 ms.
const HEARD_LIMIT: usize = 5 * FRAME;

/// How long a key is held.
const KEY: Duration = Duration::from_millis(100);

/// See the [module](self).
#[derive(Debug)]
pub struct Phone {
    spec: PhoneSpec,
    /// First tick: the recording's beginning.
    began: Option<Duration>,
    played: usize,
    pressed: bool,
    heard: VecDeque<u8>,
    recording: Vec<i16>,
    told_ready: bool,
    done: Done,
}

/// Whether everything is played and dialled.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    No,
    Untold,
    Told,
}

impl Phone {
    /// A phone that starts at its first tick.
    pub fn new(spec: PhoneSpec) -> Self {
        // A long limit is not reserved at once: a minute is, more is asked for as it comes.
        let reserved = spec.record_limit.min(60 * 50 * FRAME);
        Self {
            spec,
            began: None,
            played: 0,
            pressed: false,
            heard: VecDeque::with_capacity(2 * HEARD_LIMIT),
            recording: Vec::with_capacity(reserved),
            told_ready: false,
            done: Done::No,
        }
    }

    /// Records as much as is played in the same tick, so that both share one clock.
    fn record(&mut self) {
        for _ in 0..FRAME.min(self.spec.record_limit - self.recording.len()) {
            self.recording.push(self.heard.pop_front().map_or(0, ulaw_to_linear));
        }
    }

    fn press(&mut self, dtmf: &mut dtmf::Sender, since_start: Duration) {
        if self.pressed || since_start < self.spec.digits_after {
            return;
        }
        self.pressed = true;
        for digit in self.spec.digits.chars() {
            if let Err(error) = dtmf.press(digit, KEY) {
                tracing::warn!("{error}");
            }
        }
    }
}

impl Session for Phone {
    fn on_audio(&mut self, ulaw: &[u8], _playout: &mut Playout, _now: Duration) {
        self.heard.extend(ulaw);
        let excess = self.heard.len().saturating_sub(HEARD_LIMIT);
        self.heard.drain(..excess);
    }

    fn on_tick(&mut self, playout: &mut Playout, dtmf: &mut dtmf::Sender, now: Duration) {
        let began = *self.began.get_or_insert(now);
        self.record();
        let end = (self.played + FRAME).min(self.spec.play.len());
        let mut frame = [0; FRAME];
        let samples = &self.spec.play[self.played..end];
        for (to, sample) in frame.iter_mut().zip(samples) {
            *to = linear_to_ulaw(*sample);
        }
        playout.push(&frame[..samples.len()]);
        self.played = end;
        self.press(dtmf, now.saturating_sub(began));
        let nothing_left = end == self.spec.play.len() && (self.spec.digits.is_empty() || self.pressed);
        if self.done == Done::No && nothing_left && !dtmf.is_active() {
            self.done = Done::Untold;
        }
    }

    fn poll_event(&mut self) -> Option<AgentEvent> {
        if !std::mem::replace(&mut self.told_ready, true) {
            return Some(AgentEvent::Ready);
        }
        if self.done == Done::Untold {
            self.done = Done::Told;
            return Some(AgentEvent::PhoneDone);
        }
        None
    }

    fn into_recording(self: Box<Self>) -> Option<Recording> {
        Some(Recording {
            samples: self.recording,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::DEFAULT_LIMIT;

    #[test]
    fn what_is_heard_is_recorded_beside_what_is_sent() {
        let spec = PhoneSpec {
            play: vec![1000; 400].into(),
            digits: "5".into(),
            digits_after: Duration::from_millis(40),
            record_limit: 8000,
        };
        let mut phone = Phone::new(spec);
        let (mut playout, mut dtmf) = (Playout::new(DEFAULT_LIMIT), dtmf::Sender::new(160));
        let mut now = Duration::from_secs(7);
        let mut sent = Vec::new();
        let mut events = Vec::new();
        for tick in 0..20u32 {
            phone.on_tick(&mut playout, &mut dtmf, now);
            events.extend(std::iter::from_fn(|| phone.poll_event()).map(|event| (tick, event)));
            if dtmf.next(160 * tick).is_none() {
                let mut frame = [0; FRAME];
                playout.next(&mut frame);
                sent.extend_from_slice(&frame);
                // An echo of two ticks: heard after the frame was sent, recorded at the next tick.
                phone.on_audio(&frame, &mut playout, now);
            }
            now += Duration::from_millis(20);
        }
        let recording = Box::new(phone).into_recording().unwrap().samples;
        assert_eq!(recording.len(), 20 * FRAME);
        assert!(recording[..FRAME].iter().all(|sample| *sample == 0));
        assert_eq!(recording[FRAME], ulaw_to_linear(sent[0]));
        assert_eq!(events[0], (0, AgentEvent::Ready));
        assert!(matches!(events[1..], [(_, AgentEvent::PhoneDone)]), "{events:?}");
    }

    #[test]
    fn a_recording_ends_at_its_limit() {
        let mut phone = Phone::new(PhoneSpec {
            record_limit: 200,
            ..PhoneSpec::default()
        });
        let (mut playout, mut dtmf) = (Playout::new(DEFAULT_LIMIT), dtmf::Sender::new(160));
        for _ in 0..3 {
            phone.on_audio(&[0xff; 10_000], &mut playout, Duration::ZERO);
            phone.on_tick(&mut playout, &mut dtmf, Duration::ZERO);
        }
        assert_eq!(Box::new(phone).into_recording().unwrap().samples.len(), 200);
    }
}
