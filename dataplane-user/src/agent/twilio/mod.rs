//! An agent behind a WebSocket that speaks Twilio Media Streams. The gateway is the client, as Twilio is.
//!
//! - [`protocol`]: the messages, as text;
//! - [`connection`]: the way to an open WebSocket, with its HTTP [`upgrade`], over a [`stream`];
//! - [`socket`]: an open WebSocket, of [`frames`];
//! - here: what is said when, and when the bot is taken for dead.
//!
//! The poll watches the socket only until the WebSocket is open. From then on it is looked at once a packet time, just
//! before the next frame is taken from the playout queue: nothing of what a bot says could be heard any sooner, and what is
//! said to it leaves in one piece.

mod connection;
mod frames;
mod protocol;
mod socket;
mod stream;
mod upgrade;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tracing::debug;

use self::connection::Connection;
use self::protocol::{Decoder, FromBot, Writer};
use self::socket::{Heard, Incoming, Socket};
use super::{AgentEvent, Session, Watch};
use crate::dtmf::{self, Press};
use crate::media_plane::{AgentFailure, AgentNotice, TransferRequest, TwilioSpec};
use crate::playout::Playout;

/// Bytes read before other calls get their turn, 24 s of audio; the rest is read at the next tick.
const READ_BATCH: usize = 256 << 10;

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
    said: Said,
}

/// What the bot says.
#[derive(Default)]
struct Said {
    decoder: Decoder,
    /// Messages that were no use, and audio beyond the queue's limit; told in the log at the end.
    unusable: u64,
    refused_bytes: u64,
    /// A transfer it asks for, until that is passed on: one at a time is all there can be.
    transfer: Option<TransferRequest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Talking,
    /// We have said `stop` and closed; the other side has not yet.
    Closing,
    Over,
}

/// Makes ready what a connection needs and may take long to get.
pub fn prepare(spec: &TwilioSpec) {
    if spec.tls.is_none() && spec.url.starts_with("wss:") {
        // A failure is told when the call connects.
        let _ = stream::tls_config();
    }
}

impl Twilio {
    /// Begins to connect.
    pub fn start(spec: TwilioSpec, now: Duration) -> Self {
        let own = spec.tls.clone();
        Self::start_with(spec, now, || own.map_or_else(stream::tls_config, Ok))
    }

    /// Begins to connect; `trust` says whom TLS trusts, if it is needed.
    fn start_with(
        spec: TwilioSpec,
        now: Duration,
        trust: impl FnOnce() -> Result<Arc<ClientConfig>, AgentFailure>,
    ) -> Self {
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
            said: Said::default(),
        };
        match Connection::start(&spec.url, &spec.headers, &spec.addresses, trust) {
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
                // What it has asked for holds, though it did not wait for it.
                self.events.extend(self.said.transfer.take().map(AgentEvent::Asks));
                self.events.push_back(event);
            }
            self.phase = Phase::Over;
            self.connection = None;
            if self.said.unusable > 0 || self.said.refused_bytes > 0 {
                debug!(
                    unusable_messages = self.said.unusable,
                    refused_bytes = self.said.refused_bytes,
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
        if let Some(socket) = connection.socket() {
            socket.send(protocol::CONNECTED)?;
            socket.send(self.writer.start(&self.parameters))?;
            socket.flush()?;
        }
        self.phase = Phase::Talking;
        self.last_heard = now;
        self.last_ping = now;
        self.events.push_back(AgentEvent::Ready);
        Ok(())
    }

    /// The WebSocket, while it is open.
    fn socket(&mut self) -> Option<&mut Socket> {
        self.connection.as_mut()?.socket()
    }

    /// Hears what the bot has said since.
    fn read(&mut self, playout: &mut Playout, now: Duration) -> Result<(), AgentFailure> {
        let mut taken = 0;
        let mut is_all = false;
        loop {
            // What came with the upgrade's answer is there before anything is read.
            let Some(socket) = self.connection.as_mut().and_then(Connection::socket) else {
                return Ok(());
            };
            while let Some(incoming) = socket.next()? {
                self.last_heard = now;
                match incoming {
                    Incoming::Text(text) => self.said.take(text, playout),
                    Incoming::Sign => {}
                    Incoming::Closed => {
                        self.end(AgentEvent::Ended);
                        return Ok(());
                    }
                }
            }
            if is_all || taken >= READ_BATCH {
                return Ok(());
            }
            match socket.read()? {
                Heard::Some(count) => taken += count,
                Heard::All => is_all = true,
            }
        }
    }

    /// Tells the bot which of its marks were reached.
    fn return_marks(&mut self, playout: &mut Playout) -> Result<(), AgentFailure> {
        while let Some(name) = playout.take_mark() {
            if let Some(socket) = self.connection.as_mut().and_then(Connection::socket) {
                socket.send(self.writer.mark(&name))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), AgentFailure> {
        self.socket().map_or(Ok(()), Socket::flush)
    }

    /// Asks for a sign of life, and notices when none comes.
    fn watch_life(&mut self, now: Duration) -> Result<(), AgentFailure> {
        if now.saturating_sub(self.last_heard) >= self.silence_timeout {
            return Err(AgentFailure::Timeout("waiting for a sign of life"));
        }
        if now.saturating_sub(self.last_ping) >= self.silence_timeout / 2 {
            self.last_ping = now;
            if let Some(socket) = self.socket() {
                socket.ping()?;
            }
        }
        Ok(())
    }
}

impl Said {
    fn take(&mut self, text: &str, playout: &mut Playout) {
        match FromBot::parse(text) {
            Ok(FromBot::Media { payload }) => match self.decoder.decode(payload) {
                Ok(ulaw) => self.refused_bytes += playout.push(ulaw) as u64,
                Err(_) => self.unusable += 1,
            },
            Ok(FromBot::Mark { name }) => playout.mark(name.into_owned()),
            Ok(FromBot::Clear) => playout.clear(),
            Ok(FromBot::Transfer(request)) => self.transfer = Some(request),
            Ok(FromBot::Unknown) | Err(_) => self.unusable += 1,
        }
    }
}

impl Session for Twilio {
    fn source(&mut self) -> Option<&mut mio::net::TcpStream> {
        self.connection.as_mut()?.source()
    }

    fn generation(&self) -> u32 {
        self.connection.as_ref().map_or(0, Connection::generation)
    }

    fn watch(&self) -> Watch {
        match self.phase {
            Phase::Connecting => Watch::Events,
            Phase::Talking | Phase::Closing | Phase::Over => Watch::Ticks,
        }
    }

    fn on_ready(&mut self, _playout: &mut Playout, now: Duration) {
        if self.phase == Phase::Connecting {
            self.attempt(|twilio| twilio.connect(now));
        }
    }

    fn on_audio(&mut self, ulaw: &[u8], _playout: &mut Playout, _now: Duration) {
        if self.phase == Phase::Talking {
            let milliseconds = self.sent / BYTES_PER_MS;
            self.sent += ulaw.len() as u64;
            self.attempt(|twilio| match twilio.connection.as_mut().and_then(Connection::socket) {
                Some(socket) => socket.send(twilio.writer.media(ulaw, milliseconds)),
                None => Ok(()),
            });
        }
    }

    fn on_digit(&mut self, press: &Press) {
        if self.phase == Phase::Talking {
            self.attempt(|twilio| match twilio.connection.as_mut().and_then(Connection::socket) {
                Some(socket) => socket.send(twilio.writer.dtmf(press.digit)),
                None => Ok(()),
            });
        }
    }

    fn on_notice(&mut self, notice: &AgentNotice) {
        if self.phase == Phase::Talking {
            self.attempt(|twilio| match twilio.connection.as_mut().and_then(Connection::socket) {
                Some(socket) => socket.send(twilio.writer.transfer(notice)),
                None => Ok(()),
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
            Phase::Talking => {
                self.attempt(|twilio| {
                    twilio.read(playout, now)?;
                    let asked = twilio.said.transfer.take();
                    twilio.events.extend(asked.map(AgentEvent::Asks));
                    twilio.return_marks(playout)?;
                    twilio.watch_life(now)?;
                    twilio.flush()
                });
            }
            Phase::Closing => {
                self.attempt(|twilio| {
                    twilio.read(playout, now)?;
                    twilio.flush()
                });
            }
            Phase::Over => {}
        }
    }

    fn on_marks(&mut self, playout: &mut Playout) {
        if self.phase == Phase::Talking {
            self.attempt(|twilio| {
                twilio.return_marks(playout)?;
                twilio.flush()
            });
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
                self.attempt(|twilio| {
                    if let Some(socket) = twilio.connection.as_mut().and_then(Connection::socket) {
                        socket.send(twilio.writer.stop())?;
                        socket.close();
                    }
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
