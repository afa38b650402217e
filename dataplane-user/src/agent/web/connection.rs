//! A connection to an agent on its way to an open WebSocket: addresses, TCP, TLS for `wss`, HTTP upgrade.
//!
//! [`Connection::advance`] takes it as far as it gets without blocking.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::client::Request;

use super::socket::Socket;
use super::stream::Stream;
use super::upgrade::{self, Step, Upgrade};
use crate::media_plane::{AgentFailure, AgentLimits, WebSpec};

/// The connection, as far as it has come.
pub struct Connection {
    request: Request,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Addresses not tried yet, last first.
    addresses: Vec<SocketAddr>,
    /// Why the last address was no good.
    refused: Option<String>,
    generation: u32,
    limits: AgentLimits,
    state: State,
}

enum State {
    Connecting(TcpStream),
    Upgrading(Box<Upgrade>),
    Open(Socket),
    /// Taken apart for a step, or over.
    Gone,
}

impl Connection {
    /// Begins to connect; `subprotocols` are offered, and `trust` says whom TLS trusts, if it is needed.
    ///
    /// # Errors
    /// The URL or a header is no good, TLS has no trusted certificates, or no address can be tried.
    pub fn start(
        spec: &WebSpec,
        subprotocols: Option<&'static str>,
        trust: impl FnOnce() -> Result<Arc<ClientConfig>, AgentFailure>,
    ) -> Result<Self, AgentFailure> {
        let request = upgrade::request(&spec.url, &spec.headers, subprotocols)?;
        let tls = match request.uri().scheme_str() {
            Some("wss") => {
                let host = request
                    .uri()
                    .host()
                    .unwrap_or_default()
                    .trim_matches(['[', ']'])
                    .to_owned();
                let name = ServerName::try_from(host).map_err(|error| AgentFailure::Connect(error.to_string()))?;
                Some((trust()?, name))
            }
            _ => None,
        };
        let addresses = spec.addresses.iter().rev().copied().collect();
        let mut connection = Self {
            request,
            tls,
            addresses,
            refused: None,
            generation: 0,
            limits: spec.limits,
            state: State::Gone,
        };
        connection.try_next_address()?;
        Ok(connection)
    }

    /// The socket, if there is one.
    pub fn source(&mut self) -> Option<&mut TcpStream> {
        match &mut self.state {
            State::Connecting(stream) => Some(stream),
            State::Upgrading(upgrade) => Some(upgrade.get_mut().get_mut().tcp()),
            State::Open(socket) => Some(socket.tcp()),
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
                    Ok(true) => self.upgrade(stream)?,
                    Ok(false) => {
                        self.state = State::Connecting(stream);
                        return Ok(false);
                    }
                    Err(error) => {
                        self.skip(error.to_string())?;
                        continue;
                    }
                },
                State::Upgrading(upgrade) => upgrade::go_on(*upgrade),
                State::Open(socket) => {
                    self.state = State::Open(socket);
                    return Ok(true);
                }
                State::Gone => return Ok(false),
            };
            match step {
                Step::Done(stream, came) => self.state = State::Open(Socket::new(stream, &came, &self.limits)),
                Step::Waits(upgrade) => {
                    self.state = State::Upgrading(upgrade);
                    return Ok(false);
                }
                // Nobody who speaks for the agent has answered yet: another address may have somebody who does.
                Step::Failed(error @ (Error::Io(_) | Error::Protocol(ProtocolError::HandshakeIncomplete))) => {
                    self.skip(error.to_string())?;
                }
                Step::Failed(error) => return Err(refused(error)),
            }
        }
    }

    /// The WebSocket, once it is open.
    pub fn socket(&mut self) -> Option<&mut Socket> {
        match &mut self.state {
            State::Open(socket) => Some(socket),
            State::Connecting(_) | State::Upgrading(_) | State::Gone => None,
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

    fn upgrade(&self, stream: TcpStream) -> Result<Step, AgentFailure> {
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
        Ok(upgrade::begin(self.request.clone(), stream))
    }
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

fn refused(error: Error) -> AgentFailure {
    match error {
        Error::Http(response) => AgentFailure::Refused(response.status().to_string()),
        error => AgentFailure::Refused(error.to_string()),
    }
}
