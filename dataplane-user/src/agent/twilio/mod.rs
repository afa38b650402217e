//! An agent behind a WebSocket that speaks Twilio Media Streams. The gateway is the client, as Twilio is.
//!
//! - [`protocol`]: the messages, as text;
//! - [`connection`]: the WebSocket, without blocking;
//! - here: what is said when, and when the bot is taken for dead.

mod connection;
mod protocol;

use std::collections::VecDeque;
use std::time::Duration;

use tracing::debug;
use tungstenite::Message;

use self::connection::{Connection, Incoming};
use self::protocol::{FromBot, Writer};
use super::{AgentEvent, Session};
use crate::dtmf::{self, Press};
use crate::media_plane::{AgentFailure, TwilioSpec};
use crate::playout::Playout;

/// Messages read before other calls get their turn; the rest is read at the next tick.
const READ_BATCH: usize = 64;

/// µ-law bytes a millisecond.
const BYTES_PER_MS: u64 = 8;

/// See the [module](self).
pub struct Twilio {
    connection: Option<Connection>,
    writer: Writer,
    parameters: Vec<(String, String)>,
    phase: Phase,
    events: VecDeque<AgentEvent>,
    connect_by: Duration,
    /// When the next address is tried, if there is one.
    skip_at: Duration,
    silence_timeout: Duration,
    last_heard: Duration,
    last_ping: Duration,
    /// Audio sent to the bot, bytes.
    sent: u64,
    /// Decoded audio of the message at hand.
    audio: Vec<u8>,
    /// Messages of the bot that were no use, and audio beyond the queue's limit; told in the log at the end.
    unusable: u64,
    refused_bytes: u64,
    /// There may be more to read than the last batch took.
    more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Talking,
    /// We have said `stop` and closed; the other side has not yet.
    Closing,
    Over,
}

/// Makes ready what a connection to `url` needs and may take long to get.
pub fn prepare(url: &str) {
    if url.starts_with("wss:") {
        // A failure is told when the call connects.
        let _ = connection::tls_config();
    }
}

impl Twilio {
    /// Begins to connect.
    pub fn start(spec: TwilioSpec, now: Duration) -> Self {
        let mut twilio = Self {
            connection: None,
            writer: Writer::new(&spec),
            parameters: spec.parameters,
            phase: Phase::Connecting,
            events: VecDeque::new(),
            connect_by: now + spec.connect_timeout,
            skip_at: now,
            silence_timeout: spec.silence_timeout,
            last_heard: now,
            last_ping: now,
            sent: 0,
            audio: Vec::new(),
            unusable: 0,
            refused_bytes: 0,
            more: false,
        };
        match Connection::start(&spec.url, &spec.headers, &spec.addresses) {
            Ok(connection) => {
                twilio.connection = Some(connection);
                twilio.share_time(now);
            }
            Err(failure) => twilio.end(AgentEvent::Failed(failure)),
        }
        twilio
    }

    /// Gives the address that is tried now its share of the time that is left.
    fn share_time(&mut self, now: Duration) {
        let left = self.connection.as_ref().map_or(0, Connection::addresses_left);
        let shares = u32::try_from(left).unwrap_or(u32::MAX).saturating_add(1);
        self.skip_at = now + self.connect_by.saturating_sub(now) / shares;
    }

    /// Tries the next address if this one has had its time.
    fn try_next_address(&mut self, now: Duration) -> Result<(), AgentFailure> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if now >= self.skip_at && connection.addresses_left() > 0 {
            connection.skip("no answer".to_owned())?;
            self.share_time(now);
        }
        Ok(())
    }

    /// Ends the session with its last event.
    fn end(&mut self, event: AgentEvent) {
        if self.phase != Phase::Over {
            if self.phase != Phase::Closing {
                self.events.push_back(event);
            }
            self.phase = Phase::Over;
            self.connection = None;
            if self.unusable > 0 || self.refused_bytes > 0 {
                debug!(
                    unusable_messages = self.unusable,
                    refused_bytes = self.refused_bytes,
                    "the agent sent what could not be used"
                );
            }
        }
    }

    /// Runs a step that may fail, and ends the session if it does.
    fn attempt<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, AgentFailure>) -> Option<T> {
        match step(self) {
            Ok(value) => Some(value),
            Err(failure) => {
                self.end(AgentEvent::Failed(failure));
                None
            }
        }
    }

    fn connect(&mut self, now: Duration) -> Result<(), AgentFailure> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if !connection.advance()? {
            return Ok(());
        }
        connection.send(Message::text(protocol::CONNECTED))?;
        connection.send(Message::text(self.writer.start(&self.parameters)))?;
        self.phase = Phase::Talking;
        self.last_heard = now;
        self.last_ping = now;
        self.events.push_back(AgentEvent::Ready);
        Ok(())
    }

    fn read(&mut self, playout: &mut Playout, now: Duration) -> Result<(), AgentFailure> {
        self.more = false;
        for _ in 0..READ_BATCH {
            let Some(connection) = &mut self.connection else {
                return Ok(());
            };
            match connection.read()? {
                Incoming::Text(text) => {
                    self.last_heard = now;
                    self.on_message(text.as_str(), playout);
                }
                Incoming::Sign => self.last_heard = now,
                Incoming::Nothing => return Ok(()),
                Incoming::Closed => {
                    self.end(AgentEvent::Ended);
                    return Ok(());
                }
            }
        }
        self.more = true;
        Ok(())
    }

    fn on_message(&mut self, text: &str, playout: &mut Playout) {
        match FromBot::parse(text) {
            Ok(FromBot::Media { payload }) => {
                self.audio.clear();
                match protocol::decode(&payload, &mut self.audio) {
                    Ok(()) => self.refused_bytes += playout.push(&self.audio) as u64,
                    Err(_) => self.unusable += 1,
                }
            }
            Ok(FromBot::Mark { name }) => playout.mark(name.into_owned()),
            Ok(FromBot::Clear) => playout.clear(),
            Ok(FromBot::Unknown) | Err(_) => self.unusable += 1,
        }
    }

    fn return_marks(&mut self, playout: &mut Playout) -> Result<(), AgentFailure> {
        while let Some(name) = playout.take_mark() {
            let message = Message::text(self.writer.mark(&name));
            if let Some(connection) = &mut self.connection {
                connection.send(message)?;
            }
        }
        Ok(())
    }

    /// Asks for a sign of life, and notices when none comes.
    fn watch(&mut self, now: Duration) -> Result<(), AgentFailure> {
        if now.saturating_sub(self.last_heard) >= self.silence_timeout {
            return Err(AgentFailure::Timeout("waiting for a sign of life"));
        }
        if now.saturating_sub(self.last_ping) >= self.silence_timeout / 2 {
            self.last_ping = now;
            if let Some(connection) = &mut self.connection {
                connection.send(Message::Ping(Default::default()))?;
            }
        }
        Ok(())
    }
}

impl Session for Twilio {
    fn source(&mut self) -> Option<&mut mio::net::TcpStream> {
        self.connection.as_mut()?.source()
    }

    fn generation(&self) -> u32 {
        self.connection.as_ref().map_or(0, Connection::generation)
    }

    fn on_ready(&mut self, playout: &mut Playout, now: Duration) {
        if self.phase == Phase::Connecting {
            self.attempt(|twilio| twilio.connect(now));
        }
        if matches!(self.phase, Phase::Talking | Phase::Closing) {
            self.attempt(|twilio| {
                twilio.read(playout, now)?;
                twilio.return_marks(playout)?;
                twilio.connection.as_mut().map_or(Ok(()), Connection::flush)
            });
        }
    }

    fn on_audio(&mut self, ulaw: &[u8], _playout: &mut Playout, _now: Duration) {
        if self.phase == Phase::Talking {
            let message = Message::text(self.writer.media(ulaw, self.sent / BYTES_PER_MS));
            self.sent += ulaw.len() as u64;
            self.attempt(|twilio| {
                twilio
                    .connection
                    .as_mut()
                    .map_or(Ok(()), |connection| connection.send(message))
            });
        }
    }

    fn on_digit(&mut self, press: &Press) {
        if self.phase == Phase::Talking {
            let message = Message::text(self.writer.dtmf(press.digit));
            self.attempt(|twilio| {
                twilio
                    .connection
                    .as_mut()
                    .map_or(Ok(()), |connection| connection.send(message))
            });
        }
    }

    fn on_tick(&mut self, playout: &mut Playout, _dtmf: &mut dtmf::Sender, now: Duration) {
        match self.phase {
            Phase::Connecting if now >= self.connect_by => {
                self.end(AgentEvent::Failed(AgentFailure::Timeout("connecting")));
            }
            Phase::Connecting => {
                self.attempt(|twilio| twilio.try_next_address(now));
            }
            Phase::Closing if self.more => {
                self.attempt(|twilio| twilio.read(playout, now));
            }
            Phase::Talking => {
                self.attempt(|twilio| {
                    if twilio.more {
                        twilio.read(playout, now)?;
                    }
                    twilio.return_marks(playout)?;
                    twilio.watch(now)
                });
            }
            Phase::Closing | Phase::Over => {}
        }
    }

    fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Connecting => Some(self.connect_by.min(self.skip_at)),
            Phase::Talking if self.more => Some(Duration::ZERO),
            Phase::Talking => Some(self.last_heard.min(self.last_ping) + self.silence_timeout / 2),
            Phase::Closing | Phase::Over => None,
        }
    }

    fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    fn stop(&mut self, _now: Duration) -> bool {
        match self.phase {
            Phase::Talking => {
                let message = Message::text(self.writer.stop());
                self.attempt(|twilio| {
                    let Some(connection) = &mut twilio.connection else {
                        return Ok(());
                    };
                    connection.send(message)?;
                    connection.close();
                    Ok(())
                });
                self.phase = if self.connection.is_some() {
                    Phase::Closing
                } else {
                    Phase::Over
                };
            }
            Phase::Connecting => {
                self.phase = Phase::Over;
                self.connection = None;
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
