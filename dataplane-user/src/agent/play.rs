//! The built-in agent that plays samples, once or over and over, and ends.

use std::time::Duration;

use super::{AgentEvent, Session};
use crate::dtmf;
use crate::media_plane::PlaySpec;
use crate::playout::Playout;

/// Audio kept ready: 80 ms, more than the longest packet time.
const AHEAD: usize = 640;

/// See the [module](self).
#[derive(Debug)]
pub struct Play {
    spec: PlaySpec,
    /// The next sample.
    at: usize,
    /// Times that it has been played to its end.
    played: u32,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The worker has not been told that it is ready.
    New,
    Playing,
    /// Everything has left.
    Over,
    Told,
}

impl Play {
    /// One that begins at its first tick.
    pub fn new(spec: PlaySpec) -> Self {
        Self {
            spec,
            at: 0,
            played: 0,
            state: State::New,
        }
    }

    fn is_played(&self) -> bool {
        self.spec.audio.is_empty() || self.spec.times.is_some_and(|times| self.played >= times)
    }
}

impl Session for Play {
    fn on_tick(&mut self, playout: &mut Playout, _dtmf: &mut dtmf::Sender, _now: Duration) {
        while playout.queued() < AHEAD && !self.is_played() {
            let room = AHEAD - playout.queued();
            let end = (self.at + room).min(self.spec.audio.len());
            playout.push(&self.spec.audio[self.at..end]);
            self.at = end;
            if end == self.spec.audio.len() {
                self.at = 0;
                self.played = self.played.saturating_add(1);
            }
        }
        if self.state == State::Playing && self.is_played() && playout.queued() == 0 {
            self.state = State::Over;
        }
    }

    fn poll_event(&mut self) -> Option<AgentEvent> {
        match self.state {
            State::New => {
                self.state = State::Playing;
                Some(AgentEvent::Ready)
            }
            State::Over => {
                self.state = State::Told;
                Some(AgentEvent::Ended)
            }
            State::Playing | State::Told => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::DEFAULT_LIMIT;

    /// What is heard until it ends, or for a second.
    fn heard(audio: &[u8], times: Option<u32>) -> (Vec<u8>, bool) {
        let mut play = Play::new(PlaySpec {
            audio: audio.into(),
            times,
        });
        assert_eq!(play.poll_event(), Some(AgentEvent::Ready));
        let (mut playout, mut heard) = (Playout::new(DEFAULT_LIMIT), Vec::new());
        for _ in 0..50 {
            play.on_tick(&mut playout, &mut dtmf::Sender::new(160), Duration::ZERO);
            if play.poll_event() == Some(AgentEvent::Ended) {
                return (heard, true);
            }
            let mut frame = [0; 160];
            playout.next(&mut frame);
            heard.extend(frame);
        }
        (heard, false)
    }

    #[test]
    fn it_plays_to_the_end_and_says_so() {
        let sound: Vec<u8> = (0..1000u32).map(|n| (n % 100) as u8).collect();
        let (mut once, ended) = heard(&sound, Some(1));
        assert!(ended);
        once.truncate(sound.len());
        assert_eq!(once, sound);
        let (twice, ended) = heard(&sound, Some(2));
        assert!(ended);
        assert_eq!(twice[..2000], [&sound[..], &sound[..]].concat());
        let (on_and_on, ended) = heard(&sound, None);
        assert!(!ended);
        assert_eq!(on_and_on, sound.repeat(8));
    }

    #[test]
    fn nothing_is_over_at_once() {
        for times in [None, Some(1)] {
            assert_eq!(heard(&[], times), (Vec::new(), true));
        }
    }
}
