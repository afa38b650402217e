//! The TCP connection to an AudioSocket server that never blocks: the way there, and the bytes both ways.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::messages::LONGEST;
use crate::media_plane::AgentFailure;

/// Room for what comes: at first, and what is kept. 100 ms of audio, twice.
const ROOM: usize = 4 << 10;

/// See the [module](self).
pub struct Link {
    stream: Option<TcpStream>,
    /// Addresses not tried yet, last first.
    addresses: Vec<SocketAddr>,
    generation: u32,
    /// What has come and was not taken, from `taken` on, up to `filled`.
    inbox: Vec<u8>,
    taken: usize,
    filled: usize,
    /// What is to be sent, from `written` on.
    pub outbox: Vec<u8>,
    written: usize,
}

/// What there was to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes, and there may be more.
    Some(usize),
    /// Nothing more, for now.
    All,
    /// Nothing more: the other side has closed.
    Closed,
}

impl Link {
    /// Begins to connect to the first of these that can be tried.
    ///
    /// # Errors
    /// None can.
    pub fn start(addresses: &[SocketAddr]) -> Result<Self, AgentFailure> {
        let mut link = Self {
            stream: None,
            addresses: addresses.iter().rev().copied().collect(),
            generation: 0,
            inbox: vec![0; ROOM],
            taken: 0,
            filled: 0,
            outbox: Vec::with_capacity(ROOM),
            written: 0,
        };
        link.try_next("the host has no address")?;
        Ok(link)
    }

    /// The socket.
    pub fn source(&mut self) -> Option<&mut TcpStream> {
        self.stream.as_mut()
    }

    /// Changes whenever [`Self::source`] is another socket.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Addresses that have not been tried.
    pub fn addresses_left(&self) -> usize {
        self.addresses.len()
    }

    /// Gives the address that is being tried up for the next one.
    ///
    /// # Errors
    /// There is none: `why` the last was given up.
    pub fn try_next(&mut self, why: &str) -> Result<(), AgentFailure> {
        let mut why = why.to_owned();
        while let Some(address) = self.addresses.pop() {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    self.generation += 1;
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(AgentFailure::Connect(why))
    }

    /// Whether the connection is there by now.
    ///
    /// # Errors
    /// No address could be reached.
    pub fn connected(&mut self) -> Result<bool, AgentFailure> {
        let Some(stream) = &self.stream else {
            return Ok(false);
        };
        let state = match stream.take_error() {
            Ok(None) => stream.peer_addr().map(|_| ()),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match state {
            Ok(()) => {
                // Messages are small and must not wait for one another.
                let _ = stream.set_nodelay(true);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => self.try_next(&error.to_string()).map(|()| false),
        }
    }

    /// What has come and was not taken.
    pub fn unread(&self) -> &[u8] {
        &self.inbox[self.taken..self.filled]
    }

    /// So many bytes of it are of no more use.
    pub fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.filled);
    }

    /// Reads once.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn read(&mut self) -> Result<Heard, AgentFailure> {
        let Some(stream) = &mut self.stream else {
            return Ok(Heard::All);
        };
        self.inbox.copy_within(self.taken..self.filled, 0);
        (self.taken, self.filled) = (0, self.filled - self.taken);
        if self.filled == self.inbox.len() {
            // A message that does not fit: none is longer than this.
            self.inbox.resize((2 * self.filled).min(LONGEST + ROOM), 0);
        }
        let room = &mut self.inbox[self.filled..];
        let asked = room.len();
        match stream.read(room) {
            Ok(0) => Ok(Heard::Closed),
            Ok(count) => {
                self.filled += count;
                Ok(if count < asked { Heard::All } else { Heard::Some(count) })
            }
            Err(error) if is_later(&error) => Ok(Heard::All),
            Err(error) => Err(AgentFailure::Lost(error.to_string())),
        }
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.outbox.len() - self.written
    }

    /// Writes what waits, as far as the system takes it.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn flush(&mut self) -> Result<(), AgentFailure> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        while let Some(left @ [_, ..]) = self.outbox.get(self.written..) {
            match stream.write(left) {
                Ok(count) => self.written += count,
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(AgentFailure::Lost(error.to_string())),
            }
        }
        if self.written == self.outbox.len() {
            self.written = 0;
            self.outbox.clear();
            self.outbox.shrink_to(2 * ROOM);
        } else if self.written > self.outbox.len() / 2 {
            self.outbox.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
