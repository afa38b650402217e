//! What an agent wants the caller to hear, waiting for its time on the wire.
//!
//! Bots send speech far faster than it is played: a minute at once is normal. The queue is deep, takes audio in order and
//! gives it out a frame at a time. A mark is a place in the queue; it comes back when everything before it was given out, or
//! cleared. While the queue is paused, nothing is given out.

use std::collections::VecDeque;

use crate::codec::g711::ULAW_SILENCE;

/// Bytes of µ-law a second.
const RATE: usize = 8000;

/// Audio an agent may have waiting, unless configured otherwise: 120 s.
pub const DEFAULT_LIMIT: usize = 120 * RATE;

/// Marks that may be pending; an agent that sets more than that is not using them as marks.
const MARK_LIMIT: usize = 1000;

/// A mark whose audio is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What the agent calls it.
    pub name: String,
    /// How its audio went.
    pub reached: Reached,
}

/// How a mark was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// What was queued before it was given out.
    Played,
    /// Some of that was cleared.
    Cleared,
}

/// The queue of one call.
#[derive(Debug, Default)]
pub struct Playout {
    queue: VecDeque<u8>,
    /// Marks not reached yet, with how many bytes had been queued since the start when they were set.
    marks: VecDeque<(u64, String)>,
    /// Marks reached and not taken yet.
    reached: VecDeque<Mark>,
    /// Bytes queued since the start, those cleared included.
    queued: u64,
    /// Bytes given out or cleared since the start.
    gone: u64,
    limit: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Playing,
    Paused,
}

impl Playout {
    /// An empty queue that holds at most `limit` bytes of µ-law.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Queues audio (µ-law). Returns how many bytes were refused because the queue is full.
    pub fn push(&mut self, ulaw: &[u8]) -> usize {
        let taken = ulaw.len().min(self.limit.saturating_sub(self.queue.len()));
        self.queue.extend(&ulaw[..taken]);
        self.queued += taken as u64;
        ulaw.len() - taken
    }

    /// Sets a mark behind everything queued so far.
    pub fn mark(&mut self, name: String) {
        if self.marks.len() < MARK_LIMIT {
            self.marks.push_back((self.queued, name));
        }
        self.reach(Reached::Played);
    }

    /// Forgets the marks that were not reached.
    pub fn forget_marks(&mut self) {
        self.marks.clear();
    }

    /// Gives out silence until [`Self::go_on`].
    pub fn pause(&mut self) {
        self.state = State::Paused;
    }

    /// Gives out what is queued again.
    pub fn go_on(&mut self) {
        self.state = State::Playing;
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.state == State::Paused
    }

    /// Forgets the audio that waits; its marks count as reached.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.gone = self.queued;
        self.reach(Reached::Cleared);
    }

    /// Fills a frame; what the queue cannot fill is silence. Returns whether anything was queued.
    pub fn next(&mut self, frame: &mut [u8]) -> bool {
        let taken = match self.state {
            State::Playing => frame.len().min(self.queue.len()),
            State::Paused => 0,
        };
        let (front, back) = self.queue.as_slices();
        let (first, second) = frame[..taken].split_at_mut(taken.min(front.len()));
        first.copy_from_slice(&front[..first.len()]);
        second.copy_from_slice(&back[..second.len()]);
        self.queue.drain(..taken);
        frame[taken..].fill(ULAW_SILENCE);
        self.gone += taken as u64;
        self.reach(Reached::Played);
        taken > 0
    }

    /// Whether a mark waits to be taken.
    pub fn has_mark(&self) -> bool {
        !self.reached.is_empty()
    }

    /// The next mark whose audio is gone.
    pub fn take_mark(&mut self) -> Option<Mark> {
        self.reached.pop_front()
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Most audio that may wait, bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn reach(&mut self, reached: Reached) {
        while let Some((_, name)) = self.marks.pop_front_if(|(place, _)| *place <= self.gone) {
            self.reached.push_back(Mark { name, reached });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marks(playout: &mut Playout) -> Vec<String> {
        std::iter::from_fn(|| playout.take_mark())
            .map(|mark| mark.name)
            .collect()
    }

    #[test]
    fn a_mark_comes_back_when_the_audio_before_it_has_left() {
        let mut playout = Playout::new(DEFAULT_LIMIT);
        playout.push(&[1; 200]);
        playout.mark("a".into());
        playout.push(&[2; 100]);
        playout.mark("b".into());
        let mut frame = [0; 160];
        assert!(playout.next(&mut frame));
        assert_eq!(frame, [1; 160]);
        assert!(marks(&mut playout).is_empty());
        assert!(playout.next(&mut frame));
        assert_eq!((frame[39], frame[40], frame[139], frame[140]), (1, 2, 2, ULAW_SILENCE));
        assert_eq!(marks(&mut playout), ["a", "b"]);
        assert!(!playout.next(&mut frame));
        assert_eq!(frame, [ULAW_SILENCE; 160]);
    }

    #[test]
    fn a_mark_on_an_empty_queue_comes_back_at_once_and_clear_returns_all() {
        let mut playout = Playout::new(DEFAULT_LIMIT);
        playout.mark("now".into());
        assert_eq!(marks(&mut playout), ["now"]);
        playout.push(&[1; 1000]);
        playout.mark("later".into());
        playout.clear();
        assert_eq!(marks(&mut playout), ["later"]);
        assert_eq!(playout.queued(), 0);
    }

    #[test]
    fn marks_tell_whether_their_audio_was_played_and_can_be_forgotten() {
        let mut playout = Playout::new(DEFAULT_LIMIT);
        playout.push(&[1; 160]);
        playout.mark("played".into());
        assert!(playout.next(&mut [0; 160]));
        playout.push(&[1; 160]);
        playout.mark("cleared".into());
        playout.clear();
        playout.push(&[1; 160]);
        playout.mark("forgotten".into());
        playout.forget_marks();
        assert!(playout.next(&mut [0; 160]));
        let marks: Vec<Mark> = std::iter::from_fn(|| playout.take_mark()).collect();
        let mark = |name: &str, reached| Mark {
            name: name.to_owned(),
            reached,
        };
        assert_eq!(
            marks,
            [mark("played", Reached::Played), mark("cleared", Reached::Cleared)]
        );
    }

    #[test]
    fn what_is_paused_waits() {
        let mut playout = Playout::new(DEFAULT_LIMIT);
        playout.push(&[1; 200]);
        playout.mark("end".into());
        playout.pause();
        let mut frame = [0; 160];
        assert!(!playout.next(&mut frame));
        assert_eq!(
            (frame, playout.queued(), playout.is_paused()),
            ([ULAW_SILENCE; 160], 200, true)
        );
        playout.push(&[1; 120]);
        playout.go_on();
        assert!(playout.next(&mut frame) && playout.next(&mut frame) && !playout.next(&mut frame));
        assert_eq!(marks(&mut playout), ["end"]);
    }

    #[test]
    fn a_full_queue_refuses_the_rest() {
        let mut playout = Playout::new(100);
        assert_eq!(playout.push(&[1; 60]), 0);
        assert_eq!(playout.push(&[1; 60]), 20);
        assert_eq!(playout.queued(), 100);
    }

    proptest! {
        /// Whatever is pushed comes out once, in order, whatever the sizes.
        #[test]
        fn audio_comes_out_as_it_went_in(pushes in prop::collection::vec(prop::collection::vec(0u8..0xff, 0..500), 0..8)) {
            let mut playout = Playout::new(DEFAULT_LIMIT);
            for push in &pushes {
                playout.push(push);
            }
            let mut heard = Vec::new();
            let mut frame = [0; 160];
            while playout.next(&mut frame) {
                heard.extend_from_slice(&frame);
            }
            let sent = pushes.concat();
            heard.truncate(sent.len());
            prop_assert_eq!(heard, sent);
        }
    }
}
