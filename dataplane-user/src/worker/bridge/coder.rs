//! What bridges have to code is gathered and coded together: many calls at once cost little more than a few.

use slab::Slab;

use super::super::resident::Resident;
use crate::cache::Nearness;
use crate::codec::{Transcoder, run_together};

/// Pieces that are gathered before they are coded, at most.
const MOST: usize = 256;

/// A piece of audio of one leg, and what codes it.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) transcoder: Transcoder,
    /// Of the source's codec, then of the leg's.
    pub(super) audio: Vec<u8>,
}

/// What all bridges of a worker are coded with. Nothing is allocated once it is made: the pieces are the bridges' own.
#[derive(Debug)]
pub(in crate::worker) struct Coder {
    /// Whose they are, and for which leg.
    pieces: Vec<(usize, usize, Piece)>,
}

impl Coder {
    /// A coder with nothing to do.
    pub(in crate::worker) fn new() -> Self {
        Self {
            pieces: Vec::with_capacity(MOST),
        }
    }

    /// Codes all that has come for the bridges among these residents.
    ///
    /// `due` are their keys, with numbers that do not matter here.
    pub(in crate::worker) fn run(&mut self, due: &[(usize, u64)], residents: &mut Slab<Resident>) {
        for (place, (key, _)) in due.iter().enumerate() {
            for (ahead, nearness) in [(4, Nearness::Near), (2, Nearness::Next)] {
                if let Some(resident) = due.get(place + ahead).and_then(|(key, _)| residents.get(*key)) {
                    resident.expect_coding(nearness);
                }
            }
            for place in [0, 1] {
                let bridge = residents.get_mut(*key).and_then(Resident::bridge);
                if let Some(piece) = bridge.and_then(|bridge| bridge.give(place)) {
                    self.pieces.push((*key, place, piece));
                }
                if self.pieces.len() == MOST {
                    self.code(residents);
                }
            }
        }
        self.code(residents);
    }

    /// Codes what was gathered, and gives it back.
    fn code(&mut self, residents: &mut Slab<Resident>) {
        let pieces = self.pieces.iter_mut().map(|(.., piece)| piece);
        run_together(pieces.map(|Piece { transcoder, audio }| (transcoder, &mut audio[..])));
        for (key, place, piece) in self.pieces.drain(..) {
            if let Some(bridge) = residents.get_mut(key).and_then(Resident::bridge) {
                bridge.take_back(place, piece);
            }
        }
    }
}
