//! What is said to an agent before it is ready: kept, and handed on in order once it is.
//!
//! Whoever answers a call says "hello" at once, and a bot may take a second to connect. What is kept is the end of what was
//! said, so that it goes on without a gap in what is said then.

use std::collections::VecDeque;

use crate::dtmf::Press;

/// Keys that are kept.
const MOST_PRESSES: usize = 256;

/// Audio and keys that wait for an agent.
pub(super) struct FirstWords {
    /// µ-law, in whole frames.
    audio: VecDeque<u8>,
    /// Keys, with how much audio had come before them.
    presses: VecDeque<(u64, Press)>,
    /// Bytes that have come.
    came: u64,
    /// Bytes that are kept at most.
    limit: usize,
    /// The bytes of a frame, for whoever hears it.
    frame: Vec<u8>,
}

/// What comes next.
#[derive(Debug, PartialEq)]
pub(super) enum Next<'a> {
    /// A frame of µ-law.
    Audio(&'a [u8]),
    /// A key.
    Press(Press),
}

impl FirstWords {
    /// Room for the last `limit` bytes, in frames of `frame` bytes.
    pub(super) fn new(limit: usize, frame: usize) -> Self {
        Self {
            audio: VecDeque::new(),
            presses: VecDeque::new(),
            came: 0,
            limit,
            frame: vec![0; frame.max(1)],
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.audio.is_empty() && self.presses.is_empty()
    }

    /// Keeps a frame; the oldest gives way.
    pub(super) fn hear(&mut self, frame: &[u8]) {
        if self.audio.capacity() == 0 {
            // All at once: nothing is to be moved later, in a call that is up.
            self.audio.reserve_exact(self.limit + frame.len());
        }
        self.came += frame.len() as u64;
        self.audio.extend(frame);
        let over = self.audio.len().saturating_sub(self.limit);
        let frames = over.div_ceil(self.frame.len());
        self.audio.drain(..(frames * self.frame.len()).min(self.audio.len()));
    }

    /// Keeps a key.
    pub(super) fn press(&mut self, press: Press) {
        if self.presses.len() < MOST_PRESSES {
            self.presses.push_back((self.came, press));
        }
    }

    /// Takes what was said first.
    pub(super) fn take(&mut self) -> Option<Next<'_>> {
        let gone = self.came - self.audio.len() as u64;
        if let Some((_, press)) = self.presses.pop_front_if(|(place, _)| *place <= gone) {
            return Some(Next::Press(press));
        }
        if self.audio.is_empty() {
            return None;
        }
        let length = self.frame.len().min(self.audio.len());
        for (byte, kept) in self.frame.iter_mut().zip(self.audio.drain(..length)) {
            *byte = kept;
        }
        Some(Next::Audio(&self.frame[..length]))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn press(digit: char) -> Press {
        Press {
            digit,
            duration: Duration::from_millis(100),
        }
    }

    /// Frames by their first byte, keys by their digit.
    fn taken(words: &mut FirstWords) -> String {
        let mut taken = String::new();
        while let Some(next) = words.take() {
            taken.push(match next {
                Next::Audio(frame) => {
                    assert_eq!(frame.len(), 4);
                    char::from(frame[0])
                }
                Next::Press(press) => press.digit,
            });
        }
        taken
    }

    #[test]
    fn words_and_keys_come_in_the_order_in_which_they_came() {
        let mut words = FirstWords::new(400, 4);
        words.press(press('0'));
        words.hear(b"aaaa");
        words.hear(b"bbbb");
        words.press(press('1'));
        words.press(press('2'));
        words.hear(b"cccc");
        assert!(!words.is_empty());
        assert_eq!(taken(&mut words), "0ab12c");
        assert!(words.is_empty());
        words.hear(b"dddd");
        words.press(press('#'));
        assert_eq!(taken(&mut words), "d#");
    }

    #[test]
    fn the_end_of_what_was_said_is_kept_and_every_key() {
        let mut words = FirstWords::new(10, 4);
        for (frame, digit) in [(b"aaaa", '1'), (b"bbbb", '2'), (b"cccc", '3'), (b"dddd", '4')] {
            words.hear(frame);
            words.press(press(digit));
        }
        assert_eq!(taken(&mut words), "12c3d4");
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_to_be() {
        let mut words = FirstWords::new(0, 4);
        words.hear(b"aaaa");
        assert!(words.is_empty());
        assert_eq!(taken(&mut words), "");
    }
}
