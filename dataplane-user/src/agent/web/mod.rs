//! An agent behind a WebSocket, whatever it speaks. The gateway is the client.
//!
//! - [`protocol`]: what every protocol has to say and to understand; each is a module beside this one;
//! - [`connection`]: the way to an open WebSocket, with its HTTP [`upgrade`], over a [`stream`];
//! - [`socket`]: an open WebSocket, of [`frames`];
//! - [`json`], [`payload`], [`from_bot`], [`time`]: what several protocols write and read;
//! - here: what is done when, and when the bot is taken for dead.
//!
//! The poll watches the socket only until the WebSocket is open. From then on it is looked at once a packet time, just
//! before the next frame is taken from the playout queue: nothing of what a bot says could be heard any sooner, and what is
//! said to it leaves in one piece.

mod connection;
mod frames;
pub mod from_bot;
pub mod json;
pub mod payload;
pub mod protocol;
pub mod socket;
mod stream;
#[cfg(test)]
pub mod testing;
pub mod time;
mod upgrade;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tracing::debug;

use self::connection::Connection;
use self::protocol::{End, Protocol, Said, Sent, Unusable, When, Wishes};
use self::socket::{Heard, Incoming, Socket};
use super::patience::Patience;
use super::{AgentEvent, Session, Watch};
use crate::dtmf::{self, Press};
use crate::media_plane::{AgentFailure, AgentLimits, AgentNotice, WebSpec};
use crate::playout::Playout;

/// Bytes read before other calls get their turn, 24 s of audio; the rest is read at the next tick.
const READ_BATCH: usize = 256 << 10;

/// A conversation with a bot that speaks `P`.
pub struct Web<P> {
    connection: Option<Connection>,
    protocol: P,
    phase: Phase,
    events: VecDeque<AgentEvent>,
    connect_by: Duration,
    /// When the next address is tried, if there is one.
    skip_at: Duration,
    silence_timeout: Duration,
    last_heard: Duration,
    last_ping: Duration,
    limits: AgentLimits,
    patience: Patience,
    wishes: Wishes,
    /// Messages that were no use; told in the log at the end.
    unusable: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Talking,
    /// We have said our last and closed; the other side has not yet.
    Closing,
    Over,
}

/// Makes ready what a connection needs and may take long to get.
pub fn prepare(spec: &WebSpec) {
    if spec.tls.is_none() && spec.url.starts_with("wss:") {
        // A failure is told when the call connects.
        let _ = stream::tls_config();
    }
}

/// An identifier in Twilio's form, two letters and 32 hexadecimal digits, as a UUID (RFC 9562 section 4).
pub fn uuid(sid: &str) -> String {
    let digits = sid.get(2..).unwrap_or_default();
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32)
    )
}

impl<P: Protocol> Web<P> {
    /// Begins to connect to a bot that speaks this protocol.
    pub fn start(spec: &WebSpec, protocol: P, now: Duration) -> Self {
        let own = spec.tls.clone();
        Self::start_with(spec, protocol, now, || own.map_or_else(stream::tls_config, Ok))
    }

    /// Begins to connect; `trust` says whom TLS trusts, if it is needed.
    fn start_with(
        spec: &WebSpec,
        protocol: P,
        now: Duration,
        trust: impl FnOnce() -> Result<Arc<ClientConfig>, AgentFailure>,
    ) -> Self {
        let mut web = Self {
            connection: None,
            protocol,
            phase: Phase::Connecting,
            events: VecDeque::new(),
            connect_by: now + spec.connect_timeout,
            skip_at: now,
            silence_timeout: spec.silence_timeout,
            last_heard: now,
            last_ping: now,
            limits: spec.limits,
            patience: Patience::new(spec.stream_sid.clone(), spec.limits.malformed, Arc::clone(&spec.tally)),
            wishes: Wishes::default(),
            unusable: 0,
        };
        match Connection::start(spec, P::SUBPROTOCOLS, trust) {
            Ok(connection) => {
                web.connection = Some(connection);
                web.share_time(now);
            }
            Err(failure) => web.end(AgentEvent::Failed(failure)),
        }
        web
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
            if let AgentEvent::Failed(failure) = &event {
                self.patience.failed(failure);
            }
            if self.phase != Phase::Closing {
                // What it has asked for holds, though it did not wait for it.
                self.events.extend(self.wishes.transfer.take().map(AgentEvent::Asks));
                self.events.push_back(event);
            }
            self.phase = Phase::Over;
            self.connection = None;
            if self.unusable > 0 || self.wishes.refused_bytes > 0 {
                debug!(
                    stream = self.patience.stream(),
                    unusable_messages = self.unusable,
                    malformed_messages = self.patience.malformed(),
                    refused_bytes = self.wishes.refused_bytes,
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
            self.protocol.start(socket)?;
            socket.flush()?;
        }
        self.phase = Phase::Talking;
        self.last_heard = now;
        self.last_ping = now;
        self.events.push_back(AgentEvent::Ready);
        Ok(())
    }

    /// Says something, if the WebSocket is open.
    fn say(&mut self, what: impl FnOnce(&mut P, &mut Socket) -> Sent) -> Sent {
        match self.connection.as_mut().and_then(Connection::socket) {
            Some(socket) => what(&mut self.protocol, socket),
            None => Ok(()),
        }
    }

    /// Says something in a conversation, which ends if that cannot be said.
    pub fn tell(&mut self, what: impl FnOnce(&mut P, &mut Socket) -> Sent) {
        if self.phase == Phase::Talking {
            self.attempt(|web| web.say(what));
        }
    }

    /// Hears what the bot has said since.
    fn read(&mut self, playout: &mut Playout, keys: &mut dtmf::Sender, now: Duration) -> Result<(), AgentFailure> {
        let mut taken = 0;
        let mut is_all = false;
        loop {
            // What came with the upgrade's answer is there before anything is read.
            let Some(socket) = self.connection.as_mut().and_then(Connection::socket) else {
                return Ok(());
            };
            while let Some(incoming) = socket.next()? {
                self.last_heard = now;
                let mut said = Said {
                    playout,
                    keys,
                    wishes: &mut self.wishes,
                };
                let understood = match incoming {
                    Incoming::Text(text) => self.protocol.text(text, &mut said),
                    Incoming::Binary(bytes) => self.protocol.binary(bytes, &mut said),
                    Incoming::Sign => Ok(()),
                    Incoming::Closed => {
                        self.end(AgentEvent::Ended);
                        return Ok(());
                    }
                };
                if let Err(unusable) = understood {
                    self.unusable += 1;
                    if unusable == Unusable::Malformed {
                        self.patience.misunderstood().inspect_err(|_| socket.refuse())?;
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

    /// Answers what the bot has said, after telling it which of its marks were reached.
    fn answer(&mut self, playout: &mut Playout) -> Result<(), AgentFailure> {
        if let Some(failure) = self.wishes.failure.take() {
            return Err(failure);
        }
        if self.wishes.transfer_when == When::Now || playout.queued() == 0 {
            self.events.extend(self.wishes.transfer.take().map(AgentEvent::Asks));
        }
        self.return_marks(playout)?;
        self.say(|protocol, socket| protocol.tick(playout, socket))
    }

    /// Tells the bot which of its marks were reached.
    fn return_marks(&mut self, playout: &mut Playout) -> Result<(), AgentFailure> {
        self.say(|protocol, socket| {
            while let Some(mark) = playout.take_mark() {
                protocol.mark(&mark, socket)?;
            }
            Ok(())
        })
    }

    /// Ends the call if the bot wants that now.
    fn end_as_wished(&mut self, playout: &Playout) -> Result<(), AgentFailure> {
        let is_wished = match self.wishes.end {
            End::Unasked => false,
            End::WhenPlayed => playout.queued() == 0,
            End::Now => true,
        };
        if is_wished && self.phase == Phase::Talking {
            self.close()?;
            self.events.push_back(AgentEvent::Ended);
        }
        Ok(())
    }

    /// Says its last, and closes.
    fn close(&mut self) -> Result<(), AgentFailure> {
        self.say(|protocol, socket| {
            protocol.stop(socket)?;
            socket.close();
            Ok(())
        })?;
        self.phase = Phase::Closing;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), AgentFailure> {
        self.say(|_, socket| socket.flush())
    }

    /// Asks for a sign of life, and notices when none comes.
    fn watch_life(&mut self, now: Duration) -> Result<(), AgentFailure> {
        if now.saturating_sub(self.last_heard) >= self.silence_timeout {
            return Err(AgentFailure::Silent);
        }
        if now.saturating_sub(self.last_ping) >= self.limits.ping_interval {
            self.last_ping = now;
            self.say(|_, socket| socket.ping())?;
        }
        Ok(())
    }
}

impl<P: Protocol> Session for Web<P> {
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
            self.attempt(|web| web.connect(now));
        }
    }

    fn on_audio(&mut self, ulaw: &[u8], _playout: &mut Playout, _now: Duration) {
        self.tell(|protocol, socket| protocol.audio(ulaw, socket));
    }

    fn on_digit(&mut self, press: &Press) {
        self.tell(|protocol, socket| protocol.digit(press, socket));
    }

    fn on_notice(&mut self, notice: &AgentNotice) {
        self.tell(|protocol, socket| protocol.notice(notice, socket));
    }

    fn on_marks(&mut self, playout: &mut Playout) {
        if self.phase == Phase::Talking {
            self.attempt(|web| {
                web.return_marks(playout)?;
                web.flush()
            });
        }
    }

    fn on_tick(&mut self, playout: &mut Playout, dtmf: &mut dtmf::Sender, now: Duration) {
        match self.phase {
            Phase::Connecting if now >= self.connect_by => {
                self.end(AgentEvent::Failed(AgentFailure::ConnectTimeout));
            }
            Phase::Connecting => {
                self.attempt(|web| web.try_next_address(now));
            }
            Phase::Talking => {
                self.attempt(|web| {
                    web.read(playout, dtmf, now)?;
                    web.answer(playout)?;
                    web.end_as_wished(playout)?;
                    web.watch_life(now)?;
                    web.flush()
                });
            }
            Phase::Closing => {
                self.attempt(|web| {
                    web.read(playout, dtmf, now)?;
                    web.flush()
                });
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
                self.attempt(Self::close);
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
