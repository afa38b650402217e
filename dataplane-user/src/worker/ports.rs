//! A leg's port pair as the worker holds it: registered with the worker's poll.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use voxlane_common::rtcp;

use super::guard::Guard;
use super::io::Sockets;
use super::wire::{Envelope, Unsent, Wire};
pub(super) use crate::srtp::Kind;
use crate::srtp::{Refusal, SrtpKeys};

/// RTP and RTCP socket of one leg. Dropping it frees the ports.
pub(super) struct Ports {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    local_rtp: SocketAddr,
    tos: u8,
    guard: Guard,
    wire: Wire,
    /// When what is sent is to leave, ns on the monotonic clock; at once if not.
    departs: Option<u64>,
    /// RTP and RTCP that was taken and then not sent.
    unsent: [Unsent; 2],
}

impl Ports {
    /// Takes the sockets over; what is sent goes by `wire`.
    pub(super) fn new(sockets: Sockets, wire: &Wire) -> io::Result<Self> {
        Ok(Self {
            local_rtp: sockets.rtp.local_addr()?,
            rtp: UdpSocket::from_std(sockets.rtp),
            rtcp: UdpSocket::from_std(sockets.rtcp),
            tos: sockets.tos,
            guard: sockets.guard,
            wire: wire.clone(),
            departs: None,
            unsent: Default::default(),
        })
    }

    /// Where RTP arrives.
    pub(super) fn local_rtp(&self) -> SocketAddr {
        self.local_rtp
    }

    /// Where packets of one of the sockets arrive.
    pub(super) fn local(&self, kind: Kind) -> SocketAddr {
        let mut local = self.local_rtp;
        if kind == Kind::Rtcp {
            // There is one: it is bound.
            local.set_port(local.port().saturating_add(1));
        }
        local
    }

    /// One of the sockets.
    pub(super) fn socket(&self, kind: Kind) -> &UdpSocket {
        match kind {
            Kind::Rtp => &self.rtp,
            Kind::Rtcp => &self.rtcp,
        }
    }

    /// SRTP with these keys from now on, or none.
    pub(super) fn set_keys(&mut self, keys: Option<&SrtpKeys>) {
        self.guard.set_keys(keys);
    }

    /// Takes SRTP's protection off what has arrived, if this leg has it; its length then. What looks like RTCP is taken for
    /// it on either port: with rtcp-mux it is, and without it is nothing (RFC 5761 section 4).
    ///
    /// # Errors
    /// It is not to be used; it is counted.
    pub(super) fn unprotect(&mut self, kind: Kind, datagram: &mut [u8]) -> Result<usize, Refusal> {
        let kind = match datagram {
            [first, second, ..] if rtcp::is_rtcp(*first, *second) => Kind::Rtcp,
            _ => kind,
        };
        self.guard.unprotect(kind, datagram)
    }

    /// Protects the packet in the first `length` bytes, if this leg has SRTP; its length then.
    ///
    /// # Errors
    /// It is not to be sent; it is counted.
    pub(super) fn protect(&mut self, kind: Kind, buffer: &mut [u8], length: usize) -> Result<usize, Refusal> {
        self.guard.protect(kind, buffer, length)
    }

    /// Sends a packet by the socket of `by`, protected if this leg has SRTP; whether it was taken.
    pub(super) fn send(&mut self, kind: Kind, by: Kind, packet: &[u8], to: SocketAddr) -> bool {
        let envelope = self.envelope(by, to);
        let socket = match by {
            Kind::Rtp => &self.rtp,
            Kind::Rtcp => &self.rtcp,
        };
        match self.guard.sealed(kind, packet) {
            Ok(packet) => self.wire.send(socket, &envelope, packet, counter(&self.unsent, kind)),
            Err(_) => false,
        }
    }

    /// Sends what is protected already, if this leg has SRTP; whether it was taken.
    pub(super) fn send_sealed(&self, kind: Kind, by: Kind, packet: &[u8], to: SocketAddr) -> bool {
        let unsent = counter(&self.unsent, kind);
        self.wire.send(self.socket(by), &self.envelope(by, to), packet, unsent)
    }

    /// Packets of this kind that were taken and not sent, since this was asked last.
    pub(super) fn take_unsent(&self, kind: Kind) -> u32 {
        counter(&self.unsent, kind).take()
    }

    /// What is sent from now on is to leave then, ns on the monotonic clock; at once if at no time.
    pub(super) fn leave_at(&mut self, departs: Option<u64>) {
        self.departs = departs;
    }

    /// Sends what waits, of all legs.
    pub(super) fn flush(&self) {
        self.wire.flush();
    }

    fn envelope(&self, by: Kind, to: SocketAddr) -> Envelope {
        Envelope {
            from: self.local(by),
            to,
            tos: self.tos,
            departs: self.departs,
        }
    }

    /// Packets that SRTP has refused so far, in the order of [`Refusal::ALL`].
    pub(super) fn refused(&self) -> &[u64; Refusal::COUNT] {
        self.guard.refused()
    }

    /// Gives the sockets away, with what waits in them.
    pub(super) fn into_sockets(mut self, registry: &Registry) -> Sockets {
        self.flush();
        for socket in [&mut self.rtp, &mut self.rtcp] {
            if let Err(error) = registry.deregister(socket) {
                tracing::warn!(%error, "a socket that is given away was not watched");
            }
        }
        Sockets {
            rtp: self.rtp.into(),
            rtcp: self.rtcp.into(),
            tos: self.tos,
            guard: self.guard,
        }
    }

    /// Asks to be told when a datagram has arrived.
    pub(super) fn register(&mut self, registry: &Registry, rtp: Token, rtcp: Token) -> io::Result<()> {
        registry.register(&mut self.rtp, rtp, Interest::READABLE)?;
        registry.register(&mut self.rtcp, rtcp, Interest::READABLE)
    }
}

/// Where packets of a kind are counted that were taken and not sent.
fn counter(unsent: &[Unsent; 2], kind: Kind) -> &Unsent {
    let [rtp, rtcp] = unsent;
    match kind {
        Kind::Rtp => rtp,
        Kind::Rtcp => rtcp,
    }
}
