//! A WebSocket client that never blocks: TCP, TLS for `wss`, HTTP upgrade, messages.
//!
//! It knows nothing of what is said. [`Connection::advance`] takes it as far as it gets; each step that is made is told
//! once.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::error::ProtocolError;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::{ClientHandshake, Request};
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::media_plane::AgentFailure;

/// Bytes that may wait to be written before the other side is taken for stalled: 1 MiB, some two minutes of audio.
const WRITE_LIMIT: usize = 1 << 20;

/// Longest message read: 2 MiB, some three minutes of audio.
const MESSAGE_LIMIT: usize = 2 << 20;

/// Longest HTTP answer to a handshake is bounded by tungstenite; frames are read in pieces of this size.
const READ_PIECE: usize = 16 << 10;

/// The connection, as far as it has come.
pub struct Connection {
    request: Request,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Addresses not tried yet, last first.
    addresses: Vec<SocketAddr>,
    /// Why the last address was no good.
    refused: Option<String>,
    generation: u32,
    state: State,
}

enum State {
    Connecting(TcpStream),
    Handshaking(MidHandshake<ClientHandshake<Stream>>),
    Open(WebSocket<Stream>),
    /// Taken apart for a step, or over.
    Gone,
}

/// TCP with or without TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// What was read.
pub enum Incoming {
    /// A text message.
    Text(tungstenite::Utf8Bytes),
    /// Something else that shows that the other side is alive.
    Sign,
    /// Nothing now.
    Nothing,
    /// The other side closed in good order; nothing follows.
    Closed,
}

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    /// The URL or a header is no good, TLS has no trusted certificates, or no address can be tried.
    pub fn start(url: &str, headers: &[(String, String)], addresses: &[SocketAddr]) -> Result<Self, AgentFailure> {
        let request = request(url, headers)?;
        let tls = match request.uri().scheme_str() {
            Some("wss") => {
                let host = request
                    .uri()
                    .host()
                    .unwrap_or_default()
                    .trim_matches(['[', ']'])
                    .to_owned();
                let name = ServerName::try_from(host).map_err(|error| AgentFailure::Connect(error.to_string()))?;
                Some((tls_config()?, name))
            }
            _ => None,
        };
        let addresses = addresses.iter().rev().copied().collect();
        let mut connection = Self {
            request,
            tls,
            addresses,
            refused: None,
            generation: 0,
            state: State::Gone,
        };
        connection.try_next_address()?;
        Ok(connection)
    }

    /// The socket, if there is one.
    pub fn source(&mut self) -> Option<&mut TcpStream> {
        match &mut self.state {
            State::Connecting(stream) => Some(stream),
            State::Handshaking(handshake) => Some(handshake.get_mut().get_mut().tcp()),
            State::Open(socket) => Some(socket.get_mut().tcp()),
            State::Gone => None,
        }
    }

    /// Changes whenever [`Self::source`] is another socket.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Goes on connecting as far as possible; returns whether messages can be exchanged now.
    ///
    /// # Errors
    /// No address could be reached, or the handshake failed.
    pub fn advance(&mut self) -> Result<bool, AgentFailure> {
        loop {
            let step = match std::mem::replace(&mut self.state, State::Gone) {
                State::Connecting(stream) => match connected(&stream) {
                    Ok(true) => self.handshake(stream)?,
                    Ok(false) => {
                        self.state = State::Connecting(stream);
                        return Ok(false);
                    }
                    Err(error) => {
                        self.skip(error.to_string())?;
                        continue;
                    }
                },
                State::Handshaking(handshake) => handshake.handshake().map(|(socket, _)| socket),
                State::Open(socket) => {
                    self.state = State::Open(socket);
                    return Ok(true);
                }
                State::Gone => return Ok(false),
            };
            match step {
                Ok(socket) => self.state = State::Open(socket),
                Err(HandshakeError::Interrupted(handshake)) => {
                    self.state = State::Handshaking(handshake);
                    return Ok(false);
                }
                // Nobody who speaks for the agent has answered yet: another address may have somebody who does.
                Err(HandshakeError::Failure(
                    error @ (Error::Io(_) | Error::Protocol(ProtocolError::HandshakeIncomplete)),
                )) => self.skip(error.to_string())?,
                Err(HandshakeError::Failure(error)) => return Err(handshake_failure(error)),
            }
        }
    }

    /// Queues a message and writes what the socket takes.
    ///
    /// # Errors
    /// The connection is lost, or the other side has not read for so long that too much waits.
    pub fn send(&mut self, message: Message) -> Result<(), AgentFailure> {
        let State::Open(socket) = &mut self.state else {
            return Ok(());
        };
        let written = socket.write(message).or_else(unless_blocked);
        written
            .and_then(|()| socket.flush().or_else(unless_blocked))
            .map_err(lost)
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn flush(&mut self) -> Result<(), AgentFailure> {
        let State::Open(socket) = &mut self.state else {
            return Ok(());
        };
        socket.flush().or_else(unless_blocked).map_err(lost)
    }

    /// Reads one message, if there is one.
    ///
    /// # Errors
    /// The connection is lost, or was closed with a code that says something went wrong.
    pub fn read(&mut self) -> Result<Incoming, AgentFailure> {
        let State::Open(socket) = &mut self.state else {
            return Ok(Incoming::Nothing);
        };
        match socket.read() {
            Ok(Message::Text(text)) => Ok(Incoming::Text(text)),
            Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Incoming::Sign),
            Ok(Message::Close(frame)) => {
                // The answer to the close waits to be written; what cannot be written now need not be.
                let _ = socket.flush();
                self.state = State::Gone;
                closed(frame)
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(Incoming::Nothing),
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                self.state = State::Gone;
                Ok(Incoming::Closed)
            }
            Err(error) => Err(lost(error)),
        }
    }

    /// Says that this side is done. The connection is over when [`Self::read`] returns [`Incoming::Closed`].
    pub fn close(&mut self) {
        if let State::Open(socket) = &mut self.state {
            let frame = CloseFrame {
                code: CloseCode::Normal,
                reason: Default::default(),
            };
            // If this fails the connection is gone, which is what was wanted.
            let _ = socket.close(Some(frame));
            let _ = socket.flush();
        }
    }

    /// Addresses that have not been tried.
    pub fn addresses_left(&self) -> usize {
        self.addresses.len()
    }

    /// Gives the address that is being tried up for the next one.
    ///
    /// # Errors
    /// There is none: `why` the last was given up.
    pub fn skip(&mut self, why: String) -> Result<(), AgentFailure> {
        self.refused = Some(why);
        self.try_next_address()
    }

    fn try_next_address(&mut self) -> Result<(), AgentFailure> {
        while let Some(address) = self.addresses.pop() {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    self.generation += 1;
                    self.state = State::Connecting(stream);
                    return Ok(());
                }
                Err(error) => self.refused = Some(error.to_string()),
            }
        }
        let why = self
            .refused
            .take()
            .unwrap_or_else(|| "the host has no address".to_owned());
        Err(AgentFailure::Connect(why))
    }

    fn handshake(&self, stream: TcpStream) -> Result<Handshake, AgentFailure> {
        // Frames are small and must not wait for one another.
        let _ = stream.set_nodelay(true);
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some((config, name)) => {
                let session = ClientConnection::new(Arc::clone(config), name.clone())
                    .map_err(|error| AgentFailure::Connect(error.to_string()))?;
                Stream::Tls(Box::new(StreamOwned::new(session, stream)))
            }
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_PIECE)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_LIMIT)
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        Ok(client_with_config(self.request.clone(), stream, Some(config)).map(|(socket, _)| socket))
    }
}

type Handshake = Result<WebSocket<Stream>, HandshakeError<ClientHandshake<Stream>>>;

fn request(url: &str, headers: &[(String, String)]) -> Result<Request, AgentFailure> {
    let bad = |what: &str, error: &dyn std::fmt::Display| AgentFailure::Connect(format!("{what}: {error}"));
    let mut request = url.into_client_request().map_err(|error| bad(url, &error))?;
    for (name, value) in headers {
        let header = HeaderName::try_from(name.as_str()).map_err(|error| bad(name, &error))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|error| bad(name, &error))?;
        request.headers_mut().append(header, value);
    }
    Ok(request)
}

/// The TLS settings of all agents: certificates that this host trusts, read once.
pub fn tls_config() -> Result<Arc<ClientConfig>, AgentFailure> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("this host has no trusted certificates (install ca-certificates)".to_owned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    });
    config.clone().map_err(AgentFailure::Connect)
}

/// Whether a non-blocking connect has come to an end.
fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

fn unless_blocked(error: Error) -> Result<(), Error> {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        error => Err(error),
    }
}

fn handshake_failure(error: Error) -> AgentFailure {
    match error {
        Error::Http(response) => AgentFailure::Refused(response.status().to_string()),
        error => AgentFailure::Refused(error.to_string()),
    }
}

fn lost(error: Error) -> AgentFailure {
    match error {
        Error::WriteBufferFull(_) => AgentFailure::Stalled(WRITE_LIMIT),
        error => AgentFailure::Lost(error.to_string()),
    }
}

fn closed(frame: Option<CloseFrame>) -> Result<Incoming, AgentFailure> {
    match frame {
        None
        | Some(CloseFrame {
            code: CloseCode::Normal | CloseCode::Away,
            ..
        }) => Ok(Incoming::Closed),
        Some(frame) => Err(AgentFailure::Lost(format!("closed with {frame}"))),
    }
}

impl Stream {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
