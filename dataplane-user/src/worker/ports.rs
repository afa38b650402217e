//! A leg's port pair as the worker holds it: registered with the worker's poll.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use super::io::Sockets;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rtp,
    Rtcp,
}

/// RTP and RTCP socket of one leg. Dropping it frees the ports.
pub(super) struct Ports {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    local_rtp: SocketAddr,
}

impl Ports {
    /// Takes the sockets over.
    pub(super) fn new(sockets: Sockets) -> io::Result<Self> {
        Ok(Self {
            local_rtp: sockets.rtp.local_addr()?,
            rtp: UdpSocket::from_std(sockets.rtp),
            rtcp: UdpSocket::from_std(sockets.rtcp),
        })
    }

    /// Where RTP arrives.
    pub(super) fn local_rtp(&self) -> SocketAddr {
        self.local_rtp
    }

    /// One of the sockets.
    pub(super) fn socket(&self, kind: Kind) -> &UdpSocket {
        match kind {
            Kind::Rtp => &self.rtp,
            Kind::Rtcp => &self.rtcp,
        }
    }

    /// Gives the sockets away, with what waits in them.
    pub(super) fn into_sockets(mut self, registry: &Registry) -> Sockets {
        for socket in [&mut self.rtp, &mut self.rtcp] {
            if let Err(error) = registry.deregister(socket) {
                tracing::warn!(%error, "a socket that is given away was not watched");
            }
        }
        Sockets {
            rtp: self.rtp.into(),
            rtcp: self.rtcp.into(),
        }
    }

    /// Asks to be told when a datagram has arrived.
    pub(super) fn register(&mut self, registry: &Registry, rtp: Token, rtcp: Token) -> io::Result<()> {
        registry.register(&mut self.rtp, rtp, Interest::READABLE)?;
        registry.register(&mut self.rtcp, rtcp, Interest::READABLE)
    }
}
