//! The receiving end of a leg: from packets as they come to audio as it is heard, a packet time at a time.
//!
//! [`Reception`] takes packets when they arrive and is asked for audio on the grid. What is whole passes bit by bit; what
//! is missing is made up; and how long packets wait follows how late they come. It does no I/O, has no clock, and
//! allocates only when it is made.
//!
//! - `arrivals`: how late packets come.
//! - `buffer`: where they wait, and whose turn it is.
//! - `conceal`: what is heard in place of what did not come.
//! - `noise`: what is heard while the far end says that there is nothing but noise.
//! - `stretch`: makes what is heard a little shorter or longer, where packets have come to wait too long or not long
//!   enough: because they come otherwise than before, or because the far end's clock is not ours.

mod arrivals;
mod buffer;
mod conceal;
mod noise;
mod stretch;
#[cfg(test)]
mod tests;

use std::time::Duration;

use voxlane_common::rtp::RtpHeader;

use self::buffer::{Balance, Next};
pub use self::buffer::{Counts, Inserted, JitterBuffer, Kind, Limits};
use self::conceal::fade;
pub(crate) use self::conceal::{Concealer, HISTORY, MAX_SCALE};
pub(crate) use self::noise::Noise;
use self::stretch::Care;

/// Most samples that one step adds at 8 kHz: a packet or a part of one, or what is made up for it.
const MOST_AT_ONCE: usize = 320;

/// Steps for which there is room in each frame.
const STEPS: usize = 6;

/// Samples kept: what was heard, and what waits to be.
const ROOM: usize = HISTORY + STEPS * MOST_AT_ONCE * MAX_SCALE;

/// Packet times for which packets must have waited wrongly before anything is done about it.
const PATIENCE: u32 = 3;

/// Packet times after which they are made to wait less even if it can be heard.
const IMPATIENCE: u32 = 100;

/// 10 ms at 8 kHz, in which noise and audio fade into each other.
const FADE: usize = 80;

/// What the far end has done to the ear so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// What became of the packets.
    pub counts: Counts,
    /// Audio that was made up, 8,000ths of a second.
    pub concealed: u64,
    /// Times the audio was made shorter.
    pub shortened: u64,
    /// Times it was made longer.
    pub lengthened: u64,
    /// How long packets are to wait.
    pub target: Duration,
    /// How long the last one did.
    pub delay: Duration,
}

/// What is in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Nothing: the far end has not begun yet.
    Nothing,
    /// Audio.
    Audio,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Reception {
    buffer: JitterBuffer,
    concealer: Concealer,
    noise: Option<Noise>,
    /// Whether noise was heard last.
    in_noise: bool,
    /// Samples a tick of the RTP clock, and 8,000ths of the sample rate.
    scale: usize,
    /// What was heard, and from `heard` to `end` what waits.
    line: Box<[i16; ROOM]>,
    heard: usize,
    end: usize,
    concealed: u64,
    shortened: u64,
    lengthened: u64,
    /// Packet times for which the balance has been what it is.
    unbalanced: (Balance, u32),
    /// Packet times until something may be done again.
    rest: u32,
}

impl Reception {
    /// The receiving end of a stream with an RTP clock of 8 kHz whose decoder makes `rate` samples a second, 8,000 or
    /// 16,000; it will be asked for a frame every `period`, of 40 ms at most.
    pub fn new(limits: Limits, rate: u32, period: Duration) -> Self {
        let scale = if rate > 8000 { MAX_SCALE } else { 1 };
        Self {
            buffer: JitterBuffer::new(limits, 8000, period),
            concealer: Concealer::new(scale),
            noise: None,
            in_noise: false,
            scale,
            line: Box::new([0; ROOM]),
            heard: HISTORY,
            end: HISTORY,
            concealed: 0,
            shortened: 0,
            lengthened: 0,
            unbalanced: (Balance::Right, 0),
            rest: 0,
        }
    }

    /// Takes a packet that came at `now`; `payload` is what follows its header.
    pub fn insert(&mut self, header: &RtpHeader, kind: Kind, payload: &[u8], now: Duration) -> Inserted {
        self.buffer.insert(header, kind, payload, now)
    }

    /// Forgets what waits: the call is on hold.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.concealer.forget();
        (self.noise, self.in_noise) = (None, false);
        self.heard = self.end;
    }

    /// What was done so far.
    pub fn figures(&self) -> Figures {
        Figures {
            counts: self.buffer.counts(),
            concealed: self.concealed / self.scale as u64,
            shortened: self.shortened,
            lengthened: self.lengthened,
            target: self.buffer.target(),
            delay: self.buffer.delay(),
        }
    }

    /// Fills the frame that is due at `due`.
    ///
    /// `decode` writes the samples of a piece of payload and returns how many; it gets the pieces in order, each once.
    /// `event` is given the telephone events whose turn has come.
    pub fn hear(
        &mut self,
        frame: &mut [i16],
        due: Duration,
        mut decode: impl FnMut(&[u8], &mut [i16]) -> usize,
        mut event: impl FnMut(&RtpHeader, &[u8]),
    ) -> Frame {
        let wanted = frame.len().min(MOST_AT_ONCE * self.scale);
        self.make_room();
        while self.waiting() < wanted {
            let waiting = self.waiting();
            let need = (wanted - waiting).div_ceil(self.scale) as u32;
            if self.end + MOST_AT_ONCE * self.scale > ROOM {
                break;
            }
            match self.buffer.next(need, due) {
                Next::Nothing if waiting == 0 => return Frame::Nothing,
                Next::Nothing => break,
                Next::Event(header, payload) => event(&header, payload),
                Next::Noise(payload) => {
                    if let Some(described) = Noise::of(payload) {
                        match &mut self.noise {
                            Some(noise) => noise.go_on(&described),
                            None => self.noise = Some(described),
                        }
                    }
                }
                Next::Audio { payload, cut } => {
                    let (past, room) = self.line.split_at_mut(self.end);
                    let room = &mut room[..MOST_AT_ONCE * self.scale];
                    let length = decode(payload, room).min(room.len());
                    let audio = &mut room[..length];
                    if self.in_noise {
                        fade_from(self.noise.as_mut(), audio, FADE * self.scale);
                    } else if cut {
                        self.concealer.join(past, audio);
                    } else {
                        self.concealer.end(audio);
                    }
                    self.in_noise = false;
                    self.end += length;
                }
                Next::Missing(ticks) => {
                    let samples = ticks as usize * self.scale;
                    if !self.concealer.is_silent() {
                        self.concealed += samples as u64;
                    }
                    self.make_up(samples);
                }
                Next::Pause(ticks) => self.pause(ticks as usize * self.scale),
            }
        }
        self.adapt(wanted, due, &mut decode);
        let end = self.end.min(self.heard + wanted);
        let (audio, rest) = frame.split_at_mut(end - self.heard);
        audio.copy_from_slice(&self.line[self.heard..end]);
        rest.fill(0);
        self.heard = end;
        Frame::Audio
    }

    fn waiting(&self) -> usize {
        self.end - self.heard
    }

    /// Moves what is needed of the past to the front, if there is not room for a frame and all that may be done to it: each
    /// time would touch more memory than all else that a frame takes.
    fn make_room(&mut self) {
        if ROOM - self.end >= STEPS * MOST_AT_ONCE * self.scale {
            return;
        }
        let from = self.heard.saturating_sub(HISTORY);
        self.line.copy_within(from..self.end, 0);
        (self.heard, self.end) = (self.heard - from, self.end - from);
    }

    fn make_up(&mut self, samples: usize) {
        let (past, room) = self.line.split_at_mut(self.end);
        let length = samples.min(room.len());
        self.concealer.fill(past, &mut room[..length]);
        self.end += length;
    }

    /// Nothing was sent: noise, if it is known what noise, else what was heard last fades away.
    fn pause(&mut self, samples: usize) {
        let Some(noise) = &mut self.noise else {
            return self.make_up(samples);
        };
        let (past, room) = self.line.split_at_mut(self.end);
        let length = samples.min(room.len());
        let out = &mut room[..length];
        let fading = if self.in_noise {
            0
        } else {
            (FADE * self.scale).min(length)
        };
        self.concealer.fill(past, &mut out[..fading]);
        for (place, sample) in out.iter_mut().enumerate() {
            let noise = noise.next();
            *sample = match place < fading {
                true => fade(*sample, noise, place + 1, fading + 1),
                false => noise,
            };
        }
        self.concealer.forget();
        self.in_noise = true;
        self.end += length;
    }

    /// Makes what waits shorter or longer, if packets have waited too long or not long enough for a while.
    fn adapt(&mut self, wanted: usize, due: Duration, decode: &mut impl FnMut(&[u8], &mut [i16]) -> usize) {
        self.rest = self.rest.saturating_sub(1);
        let spare = self.waiting().saturating_sub(wanted) / self.scale;
        let balance = match self.concealer.is_filling() || self.in_noise {
            true => Balance::Right,
            false => self.buffer.balance(spare as u32, due),
        };
        let (before, lasted) = self.unbalanced;
        let same = std::mem::discriminant(&balance) == std::mem::discriminant(&before);
        let lasted = if same { lasted.saturating_add(1) } else { 1 };
        self.unbalanced = (balance, lasted);
        if lasted < PATIENCE || self.rest > 0 {
            return;
        }
        let done = match balance {
            Balance::Right => return,
            Balance::TooLong(excess) => {
                let care = if lasted > IMPATIENCE { Care::Best } else { Care::Unheard };
                self.shorten(wanted, excess as usize * self.scale, care, due, decode)
            }
            Balance::TooShort => self.lengthen(),
        };
        if done {
            self.rest = PATIENCE;
        }
    }

    fn shorten(
        &mut self,
        wanted: usize,
        excess: usize,
        care: Care,
        due: Duration,
        decode: &mut impl FnMut(&[u8], &mut [i16]) -> usize,
    ) -> bool {
        while self.waiting() < wanted + stretch::WANTED * self.scale {
            if !self.buffer.goes_on() || self.end + MOST_AT_ONCE * self.scale > ROOM {
                return false;
            }
            let Next::Audio { payload, cut: false } = self.buffer.next(1, due) else {
                return false;
            };
            let room = &mut self.line[self.end..][..MOST_AT_ONCE * self.scale];
            self.end += decode(payload, room).min(room.len());
        }
        match stretch::shorten(&mut self.line[self.heard..self.end], excess, self.scale, care) {
            Some(lag) => {
                self.end -= lag;
                self.shortened += 1;
                true
            }
            None => false,
        }
    }

    fn lengthen(&mut self) -> bool {
        let Some(lag) = stretch::repeatable(&self.line[..self.end], self.heard, self.scale) else {
            return false;
        };
        let Some(line) = self.line.get_mut(..self.end + lag) else {
            return false;
        };
        stretch::lengthen(line, self.heard, lag, self.scale);
        self.end += lag;
        self.lengthened += 1;
        true
    }
}

/// Audio begins where noise was.
fn fade_from(noise: Option<&mut Noise>, audio: &mut [i16], length: usize) {
    let Some(noise) = noise else { return };
    let length = length.min(audio.len());
    for (place, sample) in audio[..length].iter_mut().enumerate() {
        *sample = fade(noise.next(), *sample, place + 1, length + 1);
    }
}
