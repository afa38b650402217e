//! What an outlet is about to need, asked for.

use super::super::conceal::Where;
use super::{Outlet, TICK};
use crate::cache::{Nearness, ask_for, ask_for_bytes};

impl Outlet {
    /// Audio is about to be pushed.
    pub(in crate::worker::bridge) fn expect_audio(&self, nearness: Nearness) {
        match nearness {
            Nearness::Near => {
                ask_for(&self.piece);
                ask_for(&self.stream);
                ask_for(&self.queue);
                self.filler.expect(Where::Before);
            }
            Nearness::Next => {
                let end = self.piece.audio.as_ptr().wrapping_add(self.piece.audio.len());
                ask_for_bytes(end, 2 * TICK);
            }
        }
    }

    /// What there is to code is about to be asked for.
    pub(in crate::worker::bridge) fn expect_coding(&self, nearness: Nearness) {
        match nearness {
            Nearness::Near => {
                ask_for(&self.piece);
                ask_for(&self.queue);
                self.filler.expect(Where::After);
            }
            Nearness::Next => {
                ask_for_bytes(self.piece.audio.as_ptr(), self.piece.audio.len());
                self.piece.transcoder.expect();
            }
        }
    }

    /// A tick is about to come.
    pub(in crate::worker::bridge) fn expect_tick(&self, nearness: Nearness) {
        match nearness {
            Nearness::Near => {
                ask_for(&self.piece);
                ask_for(&self.queue);
                ask_for(&self.watched);
                ask_for(&self.stream);
            }
            Nearness::Next => {
                let (first, _) = self.queue.as_slices();
                ask_for_bytes(first.as_ptr(), first.len().min(self.frame()));
            }
        }
    }
}
