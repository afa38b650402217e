//! The HTTP upgrade that a WebSocket begins with (RFC 6455 section 4). tungstenite does it; all that follows is ours.

use std::io::{self, Read, Write};
use std::ops::Range;

use mio::net::TcpStream;
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::{ClientHandshake, Request};
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, WebSocket};

use super::stream::Stream;
use crate::media_plane::AgentFailure;

/// The header that offers subprotocols, and with which one of them is picked (RFC 6455 section 11.3.4).
const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol";

/// Bytes read at a time: an answer is a few hundred.
const PIECE: usize = 1 << 10;

/// An upgrade that waits for the other side.
pub type Upgrade = MidHandshake<ClientHandshake<Upgrading>>;

/// What a step of it came to.
pub enum Step {
    /// It is done: the stream, and what has come behind the answer.
    Done(Stream, Vec<u8>),
    /// It waits for the other side.
    Waits(Box<Upgrade>),
    /// There is no WebSocket.
    Failed(Error),
}

/// What to ask for: `subprotocols` are offered, unless `headers` offer others.
///
/// # Errors
/// The URL or a header is no good.
pub fn request(
    url: &str,
    headers: &[(String, String)],
    subprotocols: Option<&'static str>,
) -> Result<Request, AgentFailure> {
    let bad = |what: &str, error: &dyn std::fmt::Display| AgentFailure::Connect(format!("{what}: {error}"));
    let mut request = url.into_client_request().map_err(|error| bad(url, &error))?;
    for (name, value) in headers {
        let header = HeaderName::try_from(name.as_str()).map_err(|error| bad(name, &error))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|error| bad(name, &error))?;
        request.headers_mut().append(header, value);
    }
    if let Some(subprotocols) = subprotocols
        && !request.headers().contains_key(SUBPROTOCOL)
    {
        let value = HeaderValue::from_static(subprotocols);
        request
            .headers_mut()
            .insert(HeaderName::from_static("sec-websocket-protocol"), value);
    }
    Ok(request)
}

/// Asks.
pub fn begin(request: Request, stream: Stream) -> Step {
    // No message is read by tungstenite: room for one would be for nothing.
    let config = WebSocketConfig::default().read_buffer_size(PIECE);
    let offered = request
        .headers()
        .get(SUBPROTOCOL)
        .and_then(|offered| offered.to_str().ok());
    let offered = offered
        .and_then(|offered| offered.split(',').next())
        .map(|first| first.trim().to_owned());
    let upgrading = Upgrading::new(stream, offered);
    step(client_with_config(request, upgrading, Some(config)))
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
        Err(HandshakeError::Interrupted(upgrade)) => Step::Waits(Box::new(upgrade)),
        Err(HandshakeError::Failure(error)) => Step::Failed(error),
    }
}

/// A stream whose reader gets the answer's head and no more, for what follows it is no longer HTTP.
///
/// A server need not pick one of the subprotocols it was offered (RFC 6455 section 4.1 has a client object to another one
/// only), and many bots do not know that they were. tungstenite wants one picked: where none was, the first stands there.
pub struct Upgrading {
    stream: Stream,
    /// The first of the subprotocols that were offered.
    offered: Option<String>,
    came: Vec<u8>,
    given: usize,
    /// Where the head ends, once that has come.
    end: Option<usize>,
}

impl Upgrading {
    fn new(stream: Stream, offered: Option<String>) -> Self {
        Self {
            stream,
            offered,
            came: Vec::new(),
            given: 0,
            end: None,
        }
    }

    /// The socket.
    pub fn tcp(&mut self) -> &mut TcpStream {
        self.stream.tcp()
    }

    /// How far there is something to give.
    fn ready(&self) -> usize {
        match self.end {
            Some(end) if self.given < end => end,
            // It may begin the empty line, before which something may have to be said.
            None if self.came.ends_with(b"\n\r") => self.came.len() - 1,
            // A reader for whom the end was not the end gets all there is.
            None | Some(_) => self.came.len(),
        }
    }

    /// The stream, and what has come behind the head.
    fn into_parts(mut self) -> (Stream, Vec<u8>) {
        let rest = self.came.split_off(self.given);
        (self.stream, rest)
    }
}

impl Read for Upgrading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready() {
            let mut piece = [0; PIECE];
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Ok(0);
            }
            self.came.extend_from_slice(&piece[..count]);
            if self.end.is_none() {
                self.end = complete_head(&mut self.came, self.offered.as_deref());
            }
        }
        let end = self.ready();
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

/// Where the head of an HTTP message ends, once that has come; by then it picks a subprotocol if any was offered.
fn complete_head(bytes: &mut Vec<u8>, offered: Option<&str>) -> Option<usize> {
    let empty = empty_line(bytes)?;
    let picks = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next();
        name.is_some_and(|name| name.eq_ignore_ascii_case(SUBPROTOCOL.as_bytes()))
    };
    match offered {
        Some(offered) if !bytes[..empty.start].split(|byte| *byte == b'\n').any(picks) => {
            let line = format!("{SUBPROTOCOL}: {offered}\r\n");
            bytes.splice(empty.start..empty.start, line.bytes());
            Some(empty.end + line.len())
        }
        Some(_) | None => Some(empty.end),
    }
}

/// The empty line that ends the head of an HTTP message.
fn empty_line(bytes: &[u8]) -> Option<Range<usize>> {
    let lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines
        .map(|(place, _)| place + 1)
        .find_map(|begin| match bytes.get(begin..)? {
            [b'\n', ..] => Some(begin..begin + 1),
            [b'\r', b'\n', ..] => Some(begin..begin + 2),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line() {
        let end = |bytes: &[u8]| complete_head(&mut bytes.to_vec(), None);
        assert_eq!(end(b"HTTP/1.1 101 X\r\nA: b\r\n\r\n\x81\x01\n"), Some(24));
        assert_eq!(end(b"HTTP/1.1 101 X\n\n"), Some(16));
        assert_eq!(end(b"HTTP/1.1 101 X\r\nA: b\r\n\r"), None);
        assert_eq!(end(b""), None);
    }

    #[test]
    fn a_server_need_not_pick_a_subprotocol() {
        let complete = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let end = complete_head(&mut bytes, Some("media")).unwrap();
            (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end..].to_vec())
        };
        let (head, rest) = complete(b"HTTP/1.1 101 X\r\nA: b\r\n\r\n\x81");
        assert_eq!(head, "HTTP/1.1 101 X\r\nA: b\r\nSec-WebSocket-Protocol: media\r\n\r\n");
        assert_eq!(rest, [0x81]);
        let (head, rest) = complete(b"HTTP/1.1 101 X\r\nsec-websocket-protocol: other\r\n\r\n");
        assert_eq!(head, "HTTP/1.1 101 X\r\nsec-websocket-protocol: other\r\n\r\n");
        assert!(rest.is_empty());
    }
}
