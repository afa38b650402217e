//! An agent that speaks Asterisk's AudioSocket: linear audio over TCP. The gateway is the client, as Asterisk is.
//!
//! - [`messages`]: what they look like;
//! - [`link`]: the connection;
//! - here: what is said when, and what is made of what is heard.
//!
//! As with agents behind WebSockets, the poll watches the socket only until it is open; from then on it is looked at once a
//! packet time. AudioSocket knows no pings: an agent that says nothing is not taken for dead, it may have nothing to say.

mod link;
mod messages;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use self::link::{Heard, Link};
use self::messages::Message;
use super::patience::Patience;
use super::{AgentEvent, Session, Watch};
use crate::codec::g711::{linear_to_ulaw, ulaw_to_linear};
use crate::codec::resample::{Rate, Resampler};
use crate::dtmf::{self, Press};
use crate::media_plane::{AgentFailure, AudioSocketSpec};
use crate::playout::Playout;

/// Bytes read before other calls get their turn, 16 s of audio at 8 kHz; the rest is read at the next tick.
const READ_BATCH: usize = 256 << 10;

/// Samples that are turned into µ-law at a time.
const PIECE: usize = 160;

/// How long a key of the agent is held.
const KEY: Duration = Duration::from_millis(100);

/// See the [module](self).
pub struct AudioSocket {
    spec: AudioSocketSpec,
    link: Option<Link>,
    phase: Phase,
    events: VecDeque<AgentEvent>,
    connect_by: Duration,
    /// When the next address is tried, if there is one.
    skip_at: Duration,
    /// From what the caller says to what the agent wants.
    up: Resampler,
    /// From what the agent says, and the rate that it says it at.
    down: (Rate, Resampler),
    samples: Vec<i16>,
    patience: Patience,
    refused_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Talking,
    /// What we have said last is on its way.
    Closing,
    Over,
}

impl AudioSocket {
    /// Begins to connect.
    pub fn start(spec: AudioSocketSpec, now: Duration) -> Self {
        let mut agent = Self {
            link: None,
            phase: Phase::Connecting,
            events: VecDeque::new(),
            connect_by: now + spec.connect_timeout,
            skip_at: now,
            up: Resampler::new(Rate::Khz8, spec.rate),
            down: (spec.rate, Resampler::new(spec.rate, Rate::Khz8)),
            // 40 ms at the highest rate.
            samples: Vec::with_capacity(1920),
            patience: Patience::new(
                format!("{:032x}", u128::from_be_bytes(spec.uuid)),
                spec.limits.malformed,
                Arc::clone(&spec.tally),
            ),
            refused_bytes: 0,
            spec,
        };
        match Link::start(&agent.spec.addresses) {
            Ok(link) => {
                agent.link = Some(link);
                agent.share_time(now);
            }
            Err(failure) => agent.end(AgentEvent::Failed(failure)),
        }
        agent
    }

    /// Gives the address that is tried now its share of the time that is left.
    fn share_time(&mut self, now: Duration) {
        let left = self.link.as_ref().map_or(0, Link::addresses_left);
        let shares = u32::try_from(left).unwrap_or(u32::MAX).saturating_add(1);
        self.skip_at = now + self.connect_by.saturating_sub(now) / shares;
    }

    /// Ends the session with its last event.
    fn end(&mut self, event: AgentEvent) {
        if self.phase != Phase::Over {
            if self.phase != Phase::Closing {
                self.events.push_back(event);
            }
            self.phase = Phase::Over;
            self.link = None;
            if self.patience.malformed() > 0 || self.refused_bytes > 0 {
                debug!(
                    stream = self.patience.stream(),
                    malformed_messages = self.patience.malformed(),
                    refused_bytes = self.refused_bytes,
                    "the agent sent what could not be used"
                );
            }
        }
    }

    /// Runs a step that may fail, and ends the session if it does.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> Result<(), AgentFailure>) {
        if let Err(failure) = step(self) {
            self.end(AgentEvent::Failed(failure));
        }
    }

    fn connect(&mut self, now: Duration) -> Result<(), AgentFailure> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let before = link.generation();
        if link.connected()? {
            messages::identity(&mut link.outbox, self.spec.uuid);
            link.flush()?;
            self.phase = Phase::Talking;
            self.events.push_back(AgentEvent::Ready);
        } else if link.generation() != before {
            self.share_time(now);
        }
        Ok(())
    }

    fn try_next_address(&mut self, now: Duration) -> Result<(), AgentFailure> {
        match &mut self.link {
            Some(link) if now >= self.skip_at && link.addresses_left() > 0 => {
                link.try_next("no answer")?;
                self.share_time(now);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Appends a message, unless the agent has not read for too long.
    fn say(&mut self, what: impl FnOnce(&mut Vec<u8>)) {
        let limit = self.spec.limits.write;
        let Some(link) = self.link.as_mut().filter(|_| self.phase == Phase::Talking) else {
            return;
        };
        what(&mut link.outbox);
        if link.waiting() > limit {
            self.end(AgentEvent::Failed(AgentFailure::Stalled(limit)));
        }
    }

    /// Hears what the agent has said since.
    fn read(&mut self, playout: &mut Playout, keys: &mut dtmf::Sender) -> Result<(), AgentFailure> {
        let mut taken = 0;
        loop {
            let Some(link) = &mut self.link else { return Ok(()) };
            let heard = link.read()?;
            while let Some(length) = self.hear(playout, keys)? {
                if let Some(link) = &mut self.link {
                    link.take(length);
                }
            }
            match heard {
                Heard::Some(count) if taken < READ_BATCH => taken += count,
                Heard::Some(_) | Heard::All => return Ok(()),
                Heard::Closed => return self.closed(),
            }
        }
    }

    /// The agent has closed: that is as good as saying so, unless it broke off.
    fn closed(&mut self) -> Result<(), AgentFailure> {
        match &self.link {
            Some(link) if !link.unread().is_empty() => {
                Err(AgentFailure::Lost("closed in the middle of a message".to_owned()))
            }
            Some(_) | None => {
                self.end(AgentEvent::Ended);
                Ok(())
            }
        }
    }

    /// Hears one message; gives its length.
    fn hear(&mut self, playout: &mut Playout, keys: &mut dtmf::Sender) -> Result<Option<usize>, AgentFailure> {
        let Some(link) = &self.link else { return Ok(None) };
        let Some((message, length)) = messages::read(link.unread()) else {
            return Ok(None);
        };
        match message {
            Message::Audio(rate, samples) => {
                if self.down.0 != rate {
                    self.down = (rate, Resampler::new(rate, Rate::Khz8));
                }
                self.refused_bytes += play(&mut self.down.1, samples, playout);
            }
            Message::Digit(digit) if keys.press(digit, KEY).is_ok() => {}
            Message::HangUp => self.end(AgentEvent::Ended),
            Message::Error(code) => {
                let code = code.map_or_else(|| "no code".to_owned(), |code| format!("code {code}"));
                return Err(AgentFailure::Lost(format!("the agent tells of an error ({code})")));
            }
            Message::Unknown => {}
            Message::Digit(_) | Message::Malformed => self.patience.misunderstood()?,
        }
        Ok(Some(length))
    }
}

/// Queues audio of the agent; gives how many bytes of µ-law did not fit.
fn play(resampler: &mut Resampler, bytes: &[u8], playout: &mut Playout) -> u64 {
    let mut refused = 0;
    let mut linear = [0; PIECE];
    for piece in bytes.chunks(2 * PIECE) {
        let (samples, _) = piece.as_chunks::<2>();
        for (sample, bytes) in linear.iter_mut().zip(samples) {
            *sample = i16::from_le_bytes(*bytes);
        }
        resampler.run(&linear[..samples.len()], |resampled| {
            let mut ulaw = [0; PIECE];
            for piece in resampled.chunks(PIECE) {
                for (code, sample) in ulaw.iter_mut().zip(piece) {
                    *code = linear_to_ulaw(*sample);
                }
                refused += playout.push(&ulaw[..piece.len()]) as u64;
            }
        });
    }
    refused
}

impl Session for AudioSocket {
    fn source(&mut self) -> Option<&mut mio::net::TcpStream> {
        self.link.as_mut()?.source()
    }

    fn generation(&self) -> u32 {
        self.link.as_ref().map_or(0, Link::generation)
    }

    fn watch(&self) -> Watch {
        match self.phase {
            Phase::Connecting => Watch::Events,
            Phase::Talking | Phase::Closing | Phase::Over => Watch::Ticks,
        }
    }

    fn on_ready(&mut self, _playout: &mut Playout, now: Duration) {
        if self.phase == Phase::Connecting {
            self.attempt(|agent| agent.connect(now));
        }
    }

    fn on_audio(&mut self, ulaw: &[u8], _playout: &mut Playout, _now: Duration) {
        let mut samples = std::mem::take(&mut self.samples);
        samples.clear();
        let mut linear = [0; PIECE];
        for piece in ulaw.chunks(PIECE) {
            for (sample, code) in linear.iter_mut().zip(piece) {
                *sample = ulaw_to_linear(*code);
            }
            self.up
                .run(&linear[..piece.len()], |resampled| samples.extend_from_slice(resampled));
        }
        let rate = self.spec.rate;
        self.say(|outbox| messages::audio(outbox, rate, &samples));
        self.samples = samples;
    }

    fn on_digit(&mut self, press: &Press) {
        self.say(|outbox| messages::digit(outbox, press.digit));
    }

    fn on_tick(&mut self, playout: &mut Playout, dtmf: &mut dtmf::Sender, now: Duration) {
        match self.phase {
            Phase::Connecting if now >= self.connect_by => {
                self.end(AgentEvent::Failed(AgentFailure::ConnectTimeout));
            }
            Phase::Connecting => self.attempt(|agent| agent.try_next_address(now)),
            Phase::Talking => self.attempt(|agent| {
                agent.read(playout, dtmf)?;
                agent.link.as_mut().map_or(Ok(()), Link::flush)
            }),
            Phase::Closing => {
                self.attempt(|agent| agent.link.as_mut().map_or(Ok(()), Link::flush));
                if self.link.as_ref().is_none_or(|link| link.waiting() == 0) {
                    self.phase = Phase::Over;
                    self.link = None;
                }
            }
            Phase::Over => {}
        }
    }

    fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Connecting => Some(self.connect_by.min(self.skip_at)),
            // The poll does not watch.
            Phase::Talking | Phase::Closing => Some(Duration::ZERO),
            Phase::Over => None,
        }
    }

    fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    fn stop(&mut self, _now: Duration) -> bool {
        match self.phase {
            Phase::Talking => {
                self.say(messages::hang_up);
                self.phase = Phase::Closing;
                self.attempt(|agent| agent.link.as_mut().map_or(Ok(()), Link::flush));
                if self.link.as_ref().is_none_or(|link| link.waiting() == 0) {
                    self.phase = Phase::Over;
                    self.link = None;
                }
            }
            Phase::Connecting => {
                self.phase = Phase::Over;
                self.link = None;
            }
            Phase::Closing | Phase::Over => {}
        }
        self.is_done()
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Over
    }
}

#[cfg(test)]
mod tests;
