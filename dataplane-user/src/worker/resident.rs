//! What a worker carries.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Registry;
use mio::net::UdpSocket;

use super::ports::Kind;
use super::relay::{RelayPair, Side};
use super::token::Source;

/// One of a worker's residents.
pub(super) enum Resident {
    /// A relayed pair.
    Relay(Box<RelayPair>),
}

impl Resident {
    /// Asks to be told when something has arrived.
    pub(super) fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        match self {
            Self::Relay(pair) => {
                let [a, b] = pair.ports_mut();
                for (side, ports) in [(Side::A, a), (Side::B, b)] {
                    let token = |kind| Source::Port(side, kind).token(key);
                    ports.register(registry, token(Kind::Rtp), token(Kind::Rtcp))?;
                }
                Ok(())
            }
        }
    }

    /// One of its sockets, if it has it.
    pub(super) fn socket(&self, side: Side, kind: Kind) -> Option<&UdpSocket> {
        match self {
            Self::Relay(pair) => Some(pair.ports(side).socket(kind)),
        }
    }

    /// Handles one datagram that arrived at one of its sockets.
    pub(super) fn on_datagram(&mut self, side: Side, kind: Kind, datagram: &mut [u8], from: SocketAddr, now: Duration) {
        match self {
            Self::Relay(pair) => pair.on_datagram(side, kind, datagram, from, now),
        }
    }
}
