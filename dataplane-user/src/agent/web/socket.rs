//! An open WebSocket that never blocks: what waits to be sent leaves together, what has come is read in place.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use super::frames::{self, Fault, Inbox, KEPT, Opcode, Reason, Received};
use super::stream::Stream;
use crate::media_plane::{AgentFailure, AgentLimits};

/// Room for what waits at first: a few messages.
const ROOM: usize = 2 << 10;

/// Closed in good order, because of going away, and because the other side does not keep to what was agreed (RFC 6455 section
/// 7.4.1).
const NORMAL: u16 = 1000;
const AWAY: u16 = 1001;
const POLICY: u16 = 1008;

/// See the [module](self).
pub struct Socket {
    stream: Stream,
    inbox: Inbox,
    outbox: Outbox,
}

/// What is to be sent.
struct Outbox {
    bytes: Vec<u8>,
    /// So many of them have been.
    written: usize,
    /// So many may wait before the other side is taken for stalled.
    limit: usize,
    /// Our last frame is among them, or has left.
    closing: bool,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A message that is no text.
    Binary(&'a [u8]),
    /// Something else that shows that the other side is alive.
    Sign,
    /// The other side closed in good order; nothing follows.
    Closed,
}

/// What there was to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes, and there may be more.
    Some(usize),
    /// All there was, if there was anything.
    All,
}

impl Socket {
    /// A socket whose upgrade is done, and what has come behind that.
    pub fn new(stream: Stream, came: &[u8], limits: &AgentLimits) -> Self {
        Self {
            stream,
            inbox: Inbox::new(came, limits.message),
            outbox: Outbox {
                bytes: Vec::with_capacity(ROOM),
                written: 0,
                limit: limits.write,
                closing: false,
            },
        }
    }

    /// The TCP socket.
    pub fn tcp(&mut self) -> &mut TcpStream {
        self.stream.tcp()
    }

    /// Queues a text message.
    ///
    /// # Errors
    /// The other side has not read for so long that too much waits.
    pub fn send(&mut self, text: &str) -> Result<(), AgentFailure> {
        self.outbox.queue(Opcode::Text, text.as_bytes())
    }

    /// Queues a message that is no text.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), AgentFailure> {
        self.outbox.queue(Opcode::Binary, bytes)
    }

    /// Queues a ping.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub fn ping(&mut self) -> Result<(), AgentFailure> {
        self.outbox.queue(Opcode::Ping, &[])
    }

    /// Writes what waits, as far as the system takes it.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn flush(&mut self) -> Result<(), AgentFailure> {
        self.outbox.write_to(&mut self.stream).map_err(lost)
    }

    /// Says that this side is done. The connection is over when [`Self::next`] returns [`Incoming::Closed`].
    pub fn close(&mut self) {
        let reason = Reason { code: NORMAL, text: "" };
        self.outbox.close(Some(reason), &mut self.stream);
    }

    /// Says that the other side does not keep to what was agreed. What cannot be written now need not be.
    pub fn refuse(&mut self) {
        let reason = Reason { code: POLICY, text: "" };
        self.outbox.close(Some(reason), &mut self.stream);
    }

    /// Reads once.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn read(&mut self) -> Result<Heard, AgentFailure> {
        let room = self.inbox.room();
        let asked = room.len();
        match self.stream.read(room) {
            Ok(0) => Err(AgentFailure::Lost("closed without a closing handshake".to_owned())),
            Ok(count) => {
                self.inbox.take(count);
                let is_all = count < asked && self.stream.short_reads_are_last();
                Ok(if is_all { Heard::All } else { Heard::Some(count) })
            }
            Err(error) => unless_later(error).map(|()| Heard::All).map_err(lost),
        }
    }

    /// The next of what was read.
    ///
    /// # Errors
    /// The other side breaks the protocol, or has closed with a code that says something went wrong.
    pub fn next(&mut self) -> Result<Option<Incoming<'_>>, AgentFailure> {
        match self.inbox.next() {
            Ok(None) => Ok(None),
            Ok(Some(Received::Text(text))) => Ok(Some(Incoming::Text(text))),
            Ok(Some(Received::Binary(bytes))) => Ok(Some(Incoming::Binary(bytes))),
            Ok(Some(Received::Pong)) => Ok(Some(Incoming::Sign)),
            Ok(Some(Received::Ping(payload))) => {
                self.outbox.queue(Opcode::Pong, payload)?;
                Ok(Some(Incoming::Sign))
            }
            Ok(Some(Received::Close(reason))) => {
                self.outbox.close(reason, &mut self.stream);
                closed(reason).map(Some)
            }
            Err(fault) => {
                let code = fault.code();
                self.outbox.close(Some(Reason { code, text: "" }), &mut self.stream);
                Err(match fault {
                    Fault::TooLong(limit) => AgentFailure::Oversized(limit),
                    fault => AgentFailure::Lost(fault.to_string()),
                })
            }
        }
    }
}

impl Outbox {
    fn queue(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), AgentFailure> {
        // Nothing follows a close (RFC 6455 section 5.5.1).
        if self.closing {
            return Ok(());
        }
        if self.bytes.len() - self.written + payload.len() > self.limit {
            return Err(AgentFailure::Stalled(self.limit));
        }
        frames::write(&mut self.bytes, opcode, payload, rand::random());
        Ok(())
    }

    /// Writes the last frame, if it has not been. What cannot be written now need not be.
    fn close(&mut self, reason: Option<Reason<'_>>, stream: &mut Stream) {
        if !std::mem::replace(&mut self.closing, true) {
            frames::write_close(&mut self.bytes, reason, rand::random());
            let _ = self.write_to(stream);
        }
    }

    fn write_to(&mut self, stream: &mut Stream) -> io::Result<()> {
        let done = self.write_all(stream);
        if self.written == self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::with_capacity(ROOM);
            }
        } else if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        done
    }

    fn write_all(&mut self, stream: &mut Stream) -> io::Result<()> {
        while let Some(left @ [_, ..]) = self.bytes.get(self.written..) {
            match stream.write(left) {
                Ok(count) => self.written += count,
                Err(error) => return unless_later(error),
            }
        }
        // TLS keeps what TCP does not take.
        stream.flush().or_else(unless_later)
    }
}

fn lost(error: io::Error) -> AgentFailure {
    AgentFailure::Lost(error.to_string())
}

fn closed(reason: Option<Reason<'_>>) -> Result<Incoming<'static>, AgentFailure> {
    match reason {
        None
        | Some(Reason {
            code: NORMAL | AWAY, ..
        }) => Ok(Incoming::Closed),
        Some(Reason { code, text }) => Err(AgentFailure::Lost(format!("closed with {text} ({code})"))),
    }
}

/// An error that asks to try again later is none.
fn unless_later(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}
