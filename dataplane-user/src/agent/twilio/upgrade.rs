//! The HTTP upgrade that a WebSocket begins with (RFC 6455 section 4). tungstenite does it; all that follows is ours.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::{ClientHandshake, Request};
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, WebSocket};

use super::stream::Stream;
use crate::media_plane::AgentFailure;

/// Bytes read at a time: an answer is a few hundred.
const PIECE: usize = 1 << 10;

/// An upgrade that waits for the other side.
pub type Upgrade = MidHandshake<ClientHandshake<Upgrading>>;

/// What a step of it came to.
pub enum Step {
    /// It is done: the stream, and what has come behind the answer.
    Done(Stream, Vec<u8>),
    /// It waits for the other side.
    Waits(Upgrade),
    /// There is no WebSocket.
    Failed(Error),
}

/// What to ask for.
///
/// # Errors
/// The URL or a header is no good.
pub fn request(url: &str, headers: &[(String, String)]) -> Result<Request, AgentFailure> {
    let bad = |what: &str, error: &dyn std::fmt::Display| AgentFailure::Connect(format!("{what}: {error}"));
    let mut request = url.into_client_request().map_err(|error| bad(url, &error))?;
    for (name, value) in headers {
        let header = HeaderName::try_from(name.as_str()).map_err(|error| bad(name, &error))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|error| bad(name, &error))?;
        request.headers_mut().append(header, value);
    }
    Ok(request)
}

/// Asks.
pub fn begin(request: Request, stream: Stream) -> Step {
    // No message is read by tungstenite: room for one would be for nothing.
    let config = WebSocketConfig::default().read_buffer_size(PIECE);
    step(client_with_config(request, Upgrading::new(stream), Some(config)))
}

/// Waits no longer: the answer may have come.
pub fn go_on(upgrade: Upgrade) -> Step {
    step(upgrade.handshake())
}

fn step<T>(made: Result<(WebSocket<Upgrading>, T), HandshakeError<ClientHandshake<Upgrading>>>) -> Step {
    match made {
        Ok((socket, _)) => {
            let (stream, came) = socket.into_inner().into_parts();
            Step::Done(stream, came)
        }
        Err(HandshakeError::Interrupted(upgrade)) => Step::Waits(upgrade),
        Err(HandshakeError::Failure(error)) => Step::Failed(error),
    }
}

/// A stream whose reader gets the answer's head and no more, for what follows it is no longer HTTP.
pub struct Upgrading {
    stream: Stream,
    came: Vec<u8>,
    given: usize,
    /// Where the head ends, once that has come.
    end: Option<usize>,
}

impl Upgrading {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            came: Vec::new(),
            given: 0,
            end: None,
        }
    }

    /// The socket.
    pub fn tcp(&mut self) -> &mut TcpStream {
        self.stream.tcp()
    }

    /// The stream, and what has come behind the head.
    fn into_parts(mut self) -> (Stream, Vec<u8>) {
        let rest = self.came.split_off(self.given);
        (self.stream, rest)
    }
}

impl Read for Upgrading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.came.len() {
            let mut piece = [0; PIECE];
            let count = self.stream.read(&mut piece)?;
            self.came.extend_from_slice(&piece[..count]);
        }
        if self.end.is_none() {
            self.end = end_of_head(&self.came);
        }
        // A reader for whom that was not the end gets all there is.
        let end = self.end.filter(|end| self.given < *end).unwrap_or(self.came.len());
        let all = &self.came[self.given..end];
        let count = all.len().min(buffer.len());
        buffer[..count].copy_from_slice(&all[..count]);
        self.given += count;
        Ok(count)
    }
}

impl Write for Upgrading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Where an empty line ends the head of an HTTP message.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines
        .map(|(place, _)| place + 1)
        .find_map(|begin| match bytes.get(begin..)? {
            [b'\n', ..] => Some(begin + 1),
            [b'\r', b'\n', ..] => Some(begin + 2),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line() {
        assert_eq!(end_of_head(b"HTTP/1.1 101 X\r\nA: b\r\n\r\n\x81\x01\n"), Some(24));
        assert_eq!(end_of_head(b"HTTP/1.1 101 X\n\n"), Some(16));
        assert_eq!(end_of_head(b"HTTP/1.1 101 X\r\nA: b\r\n\r"), None);
        assert_eq!(end_of_head(b""), None);
    }
}
