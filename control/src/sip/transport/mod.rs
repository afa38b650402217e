//! The only SIP I/O: messages between sockets and the [`Endpoint`](super::Endpoint).
//!
//! [`Transports`] is all of it: [`udp`] for datagrams, of which [`returned`] tells whether they could not
//! be delivered, [`streams`] for connections, which [`tls`] may encrypt. [`counts`] is
//! what is told of connections.

pub mod counts;
mod returned;
mod routes;
mod socket;
pub mod streams;
pub mod tls;
pub mod udp;

use std::io;
use std::net::SocketAddr;

use socket2::Socket;

pub use counts::ConnectionCounts;
pub use returned::Returned;
pub use streams::{Settings, StreamEvent, Streams};
pub use udp::{Received, UdpTransport};

use super::api::Transmit;
use super::path::{Listen, Transport};
use routes::Routes;

/// Every socket that SIP comes and goes by.
#[derive(Debug)]
pub struct Transports {
    /// Datagrams.
    pub udp: UdpTransport,
    /// Connections.
    pub streams: Streams,
    /// What is listened on; a port that was 0 is the one the system chose.
    listen: Vec<Listen>,
    routes: Routes,
}

impl Transports {
    /// Listens. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses one of the addresses.
    pub fn bind(listen: &[Listen], settings: Settings) -> io::Result<Self> {
        let of_udp: Vec<SocketAddr> = listen
            .iter()
            .filter(|listen| listen.transport == Transport::Udp)
            .map(|listen| listen.address)
            .collect();
        let of_streams = listen.iter().filter(|listen| listen.transport != Transport::Udp);
        let udp = UdpTransport::bind(&of_udp, settings.tos)?;
        let streams = Streams::bind(of_streams.copied(), settings)?;
        let bound = udp.local_addrs().into_iter().map(|address| Listen {
            transport: Transport::Udp,
            address,
        });
        let listen = bound.chain(streams.listen().iter().copied()).collect();
        Ok(Self {
            udp,
            streams,
            listen,
            routes: Routes::default(),
        })
    }

    /// What is listened on.
    pub fn listen(&self) -> &[Listen] {
        &self.listen
    }

    /// Our address towards `remote` by this transport: the one the route to it starts from, where that is listened on,
    /// else the first of the family.
    ///
    /// # Errors
    /// Nothing is listened on by this transport in this family, or there is no route.
    pub fn local_for(&self, transport: Transport, remote: SocketAddr) -> io::Result<SocketAddr> {
        let fits = |listen: &&Listen| listen.transport == transport && listen.address.is_ipv4() == remote.is_ipv4();
        let first = self.listen.iter().find(fits).ok_or_else(|| {
            let version = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
            let message = format!("sip.listen has no {transport} address of {version} for {remote}");
            io::Error::new(io::ErrorKind::AddrNotAvailable, message)
        })?;
        let source = self.routes.source(remote)?;
        let exact = self
            .listen
            .iter()
            .filter(fits)
            .find(|listen| listen.address.ip() == source);
        let wildcard = self
            .listen
            .iter()
            .filter_map(|listen| listen.at(transport, source))
            .next();
        Ok(exact.map(|listen| listen.address).or(wildcard).unwrap_or(first.address))
    }

    /// Sends a message. A datagram waits for room in its socket; a connection never is waited for.
    ///
    /// # Errors
    /// Those of datagrams: see [`udp::is_unreachable`]. What becomes of a connection is a [`StreamEvent`].
    pub async fn send(&self, transmit: Transmit) -> io::Result<()> {
        match transmit.path.transport {
            Transport::Udp => self.udp.send(&transmit).await,
            Transport::Tcp | Transport::Tls => {
                self.streams.send(transmit);
                Ok(())
            }
        }
    }
}

/// Marks what a socket sends: the TOS byte of IPv4, the traffic class of IPv6.
fn mark(socket: &Socket, address: SocketAddr, tos: u8) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_tos_v4(tos.into()),
        SocketAddr::V6(_) => socket.set_tclass_v6(tos.into()),
    }
}
