//! What one leg of a bridge is to be sent: audio that comes at its source's times and in its source's codec leaves in the
//! leg's codec, in packets of the leg's packet time, that far apart.
//!
//! Packets leave on a grid of [`TICK_MS`] milliseconds. When one is due and its audio is not there yet, it leaves a tick
//! later, and all after it; when for a while more audio has waited than was needed, the next one leaves a tick sooner. So
//! the delay follows what the source needs, up to a tick more, and clocks that drift apart never cost a sample: media
//! timestamps go on without a gap whatever the ticks do.
//!
//! When nothing comes for a while, or a key is pressed, or the call was held, the stream is broken off: what is left of a
//! packet is filled with silence. The next audio begins anew: its timestamp says how much time has gone by, and it carries
//! the marker.
//!
//! Telephone events go past the grid at once, after all audio before them.
//!
//! What comes is kept as it came until the next tick, so that it can be coded together with what comes for others; what is
//! needed sooner is coded by itself.

mod expect;

use std::collections::VecDeque;

use super::super::leg::{Content, MAX_AUDIO, Marker};
use super::coder::Piece;
use super::conceal::{BLOCK, Filler, Where};
use super::order::Gap;
use crate::codec::{Codec, Transcoder};
use crate::reception::Noise;

/// How often [`Outlet::tick`] is to be called: every packet time is a multiple of it.
pub(in crate::worker) const TICK_MS: u8 = 10;

/// Bytes of a millisecond of every codec.
const BYTES: usize = 8;

/// Bytes of a tick.
const TICK: usize = TICK_MS as usize * BYTES;

/// Longest packet: 40 ms.
const LONGEST: usize = 40 * BYTES;

/// Most audio that waits: 200 ms. What waits longer than that has come in a burst, and the oldest of it is left out.
const MOST: usize = 200 * BYTES;

const _: () = assert!(MAX_AUDIO <= MOST);

/// A stream of which nothing came for so many ticks is broken off.
const PATIENCE: u8 = 10;

/// Packets over which is watched whether more audio waits than is needed.
const WATCHED: u8 = 25;

/// A packet of a telephone event (RFC 4733).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// When the event began, on its source's media clock: the event's name.
    pub(super) began: u32,
    /// What follows the RTP header.
    pub(super) payload: [u8; 4],
}

/// Where packets go.
pub(super) trait Sink {
    /// The media time of a packet that is sent now, after a pause.
    fn resumed(&mut self, ptime: u8) -> u32;

    /// Sends a packet.
    fn send(&mut self, timestamp: u32, marker: Marker, content: Content<'_>);
}

/// Whether what is sent goes on with what was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Broken,
    /// The next packet has this timestamp.
    Flowing(u32),
}

/// A telephone event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    /// When it began, on its source's media clock.
    began: u32,
    /// The same on this leg's.
    at: u32,
}

/// The outlet of one leg.
#[derive(Debug)]
pub(super) struct Outlet {
    /// What has come and is not coded yet, and what codes it.
    piece: Piece,
    filler: Filler,
    /// Bytes that were lost before what has come, which are made up once that is coded.
    lost: usize,
    /// What is heard while the source sends nothing because nobody speaks.
    noise: Option<Noise>,
    codecs: [Codec; 2],
    ptime: u8,
    /// Audio of the leg's codec.
    queue: VecDeque<u8>,
    stream: Stream,
    /// Ticks until the next packet.
    wait: u8,
    /// Ticks for which it has been due.
    late: u8,
    /// Packets watched, and the least that waited after one.
    watched: (u8, usize),
    event: Option<Event>,
}

impl Outlet {
    /// An outlet that has sent nothing; nothing is allocated after this.
    pub(super) fn new(from: Codec, to: Codec, ptime: u8) -> Self {
        Self {
            piece: Piece {
                transcoder: Transcoder::new(from, to),
                // What waits, and the longest packet that a line hands on.
                audio: Vec::with_capacity(2 * MOST),
            },
            filler: Filler::new([from, to]),
            lost: 0,
            noise: None,
            codecs: [from, to],
            ptime: usable(ptime),
            // What waits, silence for what is missing, and the longest packet that a line hands on.
            queue: VecDeque::with_capacity(3 * MOST),
            stream: Stream::Broken,
            wait: 1,
            late: 0,
            watched: (0, usize::MAX),
            event: None,
        }
    }

    /// Changes what it makes of what.
    pub(super) fn set(&mut self, from: Codec, to: Codec, ptime: u8) {
        if self.codecs != [from, to] {
            // What waits is of the old codec.
            self.queue.clear();
            self.piece.audio.clear();
            self.lost = 0;
            self.piece.transcoder = Transcoder::new(from, to);
            self.codecs = [from, to];
            self.filler = Filler::new(self.codecs);
            self.noise = None;
        }
        self.ptime = usable(ptime);
    }

    /// Forgets what waits: the call was held.
    pub(super) fn interrupt(&mut self) {
        self.code();
        self.queue.clear();
        self.noise = None;
        self.break_off();
    }

    /// Takes audio of the source's codec, after what is missing before it.
    pub(super) fn push(&mut self, gap: Gap, audio: &[u8]) {
        let noise = self.noise.take();
        match gap {
            // After a pause nothing is missing.
            _ if self.stream == Stream::Broken || noise.is_some() => self.take(audio),
            Gap::None => self.take(audio),
            Gap::Silence(bytes) => {
                self.push_silence(bytes as usize);
                self.take(audio);
            }
            Gap::Lost(bytes) => self.make_up(bytes as usize, audio),
        }
        let excess = self.waiting().saturating_sub(MOST);
        if excess > 0 {
            self.code();
            self.queue.drain(..excess);
        }
    }

    /// Keeps audio until it is coded.
    fn take(&mut self, audio: &[u8]) {
        if self.lost > 0 && self.piece.audio.len() < BLOCK {
            // What was made up is blended into the packet after it, not further.
            self.code();
        }
        self.filler.heard(Where::Before, audio);
        self.piece.audio.extend_from_slice(audio);
    }

    /// Makes up what was lost before this audio, and blends it into it: now, or once it is coded.
    fn make_up(&mut self, bytes: usize, audio: &[u8]) {
        match self.filler.place() {
            None => {
                self.push_silence(bytes);
                self.take(audio);
            }
            Some(Where::Before) => {
                let bytes = bytes.min(MOST);
                if self.piece.audio.len() + bytes + audio.len() > self.piece.audio.capacity() {
                    self.code();
                }
                fill(&mut self.filler, bytes, |lost| self.piece.audio.extend_from_slice(lost));
                let begin = self.piece.audio.len();
                self.piece.audio.extend_from_slice(audio);
                self.filler.blend(&mut self.piece.audio[begin..]);
                self.filler.heard(Where::Before, &self.piece.audio[begin..]);
            }
            Some(Where::After) => {
                self.code();
                self.lost = bytes.min(MOST);
                self.piece.audio.extend_from_slice(audio);
            }
        }
    }

    /// Takes a packet of comfort noise (RFC 3389): it is heard from when it is needed until audio comes, or a key.
    pub(super) fn on_noise(&mut self, payload: &[u8]) {
        match (&mut self.noise, Noise::of(payload)) {
            (Some(noise), Some(other)) => noise.go_on(&other),
            (None, described) if self.filler.place().is_some() => self.noise = described,
            (_, None) | (None, _) => {}
        }
    }

    /// Fills what a packet lacks with noise, if nobody speaks.
    fn add_noise(&mut self) {
        let (Some(mut noise), Some(place)) = (self.noise.take(), self.filler.place()) else {
            return;
        };
        let mut left = self.frame().saturating_sub(self.queue.len());
        while left > 0 {
            let mut pause = [0; BLOCK];
            let pause = &mut pause[..left.min(BLOCK)];
            self.filler.fill_with(&mut noise, pause);
            match place {
                Where::Before => {
                    self.piece.audio.extend_from_slice(pause);
                    self.code();
                }
                Where::After => self.queue.extend(&*pause),
            }
            left -= pause.len();
        }
        self.noise = Some(noise);
    }

    /// Bytes that wait, coded or not.
    fn waiting(&self) -> usize {
        self.queue.len() + self.lost + self.piece.audio.len()
    }

    /// What is to be coded together with others', if anything is.
    pub(super) fn give(&mut self) -> Option<Piece> {
        (!self.piece.audio.is_empty()).then(|| std::mem::take(&mut self.piece))
    }

    /// The same, coded.
    pub(super) fn take_back(&mut self, piece: Piece) {
        self.piece = piece;
        self.coded();
    }

    /// Codes what has come, by itself.
    fn code(&mut self) {
        if !self.piece.audio.is_empty() {
            self.piece.transcoder.run(&mut self.piece.audio);
            self.coded();
        }
    }

    /// What has come is of the leg's codec now.
    fn coded(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            fill(&mut self.filler, lost, |lost| self.queue.extend(lost));
            self.filler.blend(&mut self.piece.audio);
        }
        self.filler.heard(Where::After, &self.piece.audio);
        self.queue.extend(&self.piece.audio);
        self.piece.audio.clear();
    }

    /// A tick has passed. What has come is coded by itself unless it has been with others'.
    pub(super) fn tick(&mut self, sink: &mut impl Sink) {
        self.code();
        self.wait = self.wait.saturating_sub(1);
        if self.wait == 0 {
            self.add_noise();
        }
        while self.wait == 0 && self.queue.len() >= self.frame() {
            self.send_frame(sink);
            self.late = 0;
            self.wait = self.ptime / TICK_MS - self.hurry();
        }
        if self.wait > 0 {
            return;
        }
        self.wait = 1;
        if let Stream::Flowing(_) = self.stream {
            self.late += 1;
            if self.late >= PATIENCE {
                self.flush(sink);
                self.break_off();
            }
        }
    }

    /// Passes a telephone event's packet on, after all audio before it.
    pub(super) fn on_key(&mut self, key: &Key, sink: &mut impl Sink) {
        let (event, marker) = match self.event {
            Some(event) if event.began == key.began => (event, Marker::Clear),
            _ => {
                self.flush(sink);
                self.noise = None;
                let at = match self.stream {
                    Stream::Flowing(next) => next,
                    Stream::Broken => sink.resumed(self.ptime),
                };
                self.break_off();
                let began = key.began;
                (Event { began, at }, Marker::Set)
            }
        };
        self.event = Some(event);
        sink.send(event.at, marker, Content::Key(&key.payload));
    }

    /// Sends what waits, at once; the last packet is filled with silence.
    pub(super) fn flush(&mut self, sink: &mut impl Sink) {
        self.code();
        let over = self.queue.len() % self.frame();
        if over > 0 {
            self.push_silence(self.frame() - over);
        }
        while self.queue.len() >= self.frame() {
            self.send_frame(sink);
        }
    }

    fn break_off(&mut self) {
        self.stream = Stream::Broken;
        self.wait = 1;
        self.late = 0;
        self.watched = (0, usize::MAX);
    }

    /// Bytes of a packet.
    fn frame(&self) -> usize {
        usize::from(self.ptime) * BYTES
    }

    fn push_silence(&mut self, bytes: usize) {
        let mut left = bytes.min(MOST);
        if left > 0 {
            self.code();
        }
        while left > 0 {
            let mut silence = [0; TICK];
            let silence = &mut silence[..left.min(TICK)];
            self.piece.transcoder.silence(silence);
            self.queue.extend(&*silence);
            left -= silence.len();
        }
    }

    fn send_frame(&mut self, sink: &mut impl Sink) {
        let (timestamp, marker) = match self.stream {
            Stream::Flowing(next) => (next, Marker::Clear),
            Stream::Broken => (sink.resumed(self.ptime), Marker::Set),
        };
        let length = self.frame();
        let (first, second) = self.queue.as_slices();
        if let Some(frame) = first.get(..length) {
            sink.send(timestamp, marker, Content::Audio(frame));
        } else {
            let mut frame = [0; LONGEST];
            let (one, other) = frame[..length].split_at_mut(first.len());
            one.copy_from_slice(first);
            other.copy_from_slice(&second[..other.len()]);
            sink.send(timestamp, marker, Content::Audio(&frame[..length]));
        }
        self.queue.drain(..length);
        self.stream = Stream::Flowing(timestamp.wrapping_add(u32::from(self.ptime) * BYTES as u32));
    }

    /// How many ticks sooner than planned the next packet is to leave.
    fn hurry(&mut self) -> u8 {
        let (packets, least) = self.watched;
        let least = least.min(self.queue.len());
        if packets + 1 < WATCHED {
            self.watched = (packets + 1, least);
            return 0;
        }
        self.watched = (0, usize::MAX);
        u8::from(least >= TICK)
    }
}

/// Makes up so many bytes, and hands them on in blocks.
fn fill(filler: &mut Filler, bytes: usize, mut take: impl FnMut(&[u8])) {
    let mut left = bytes;
    while left > 0 {
        let mut lost = [0; BLOCK];
        let lost = &mut lost[..left.min(BLOCK)];
        filler.fill(lost);
        take(lost);
        left -= lost.len();
    }
}

/// A packet time that the grid has and a packet can hold.
fn usable(ptime: u8) -> u8 {
    (ptime / TICK_MS * TICK_MS).clamp(TICK_MS, (LONGEST / BYTES) as u8)
}

#[cfg(test)]
mod tests;
