//! A leg's port pair as the worker holds it: registered with the worker's poll.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crossbeam_channel::Sender;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use voxlane_common::rtcp;

use super::copies::{Copied, Copies, Way};
use super::guard::{Guard, Manner};
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
    /// Shared with the wire while that has a packet of this leg which is still to be protected.
    guard: Rc<RefCell<Guard>>,
    wire: Wire,
    /// When what is sent is to leave, ns on the monotonic clock; at once if not.
    departs: Option<u64>,
    /// RTP and RTCP that was taken and then not sent.
    unsent: [Unsent; 2],
    /// Who listens.
    copies: Copies,
}

impl Ports {
    /// Takes the sockets over; what is sent goes by `wire`.
    pub(super) fn new(sockets: Sockets, wire: &Wire) -> io::Result<Self> {
        Ok(Self {
            local_rtp: sockets.rtp.local_addr()?,
            rtp: UdpSocket::from_std(sockets.rtp),
            rtcp: UdpSocket::from_std(sockets.rtcp),
            tos: sockets.tos,
            guard: Rc::new(RefCell::new(sockets.guard)),
            wire: wire.clone(),
            departs: None,
            unsent: Default::default(),
            copies: Copies::default(),
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
    pub(super) fn set_keys(&mut self, keys: Option<&SrtpKeys>, now: Duration) {
        // What leaves before that leaves under the keys before.
        self.wire.finish();
        self.guard.borrow_mut().set_keys(keys, now);
    }

    /// How packets that arrive are to be rid of their protection.
    pub(super) fn opens(&self) -> Manner {
        self.guard.borrow().opens()
    }

    /// Takes SRTP's protection off what has arrived, if this leg has it; its length then.
    ///
    /// # Errors
    /// It is not to be used; it is counted.
    pub(super) fn unprotect(&self, kind: Kind, datagram: &mut [u8], now: Duration) -> Result<usize, Refusal> {
        let kind = kind_of(kind, datagram);
        self.guard.borrow_mut().unprotect(kind, datagram, now)
    }

    /// [`Self::unprotect`] of what has arrived at two legs.
    pub(super) fn unprotect_two(
        [(a, kind_a, datagram_a), (b, kind_b, datagram_b)]: [(&Self, Kind, &mut [u8]); 2],
        now: Duration,
    ) -> [Result<usize, Refusal>; 2] {
        let (mut a, mut b) = (a.guard.borrow_mut(), b.guard.borrow_mut());
        let [kind_a, kind_b] = [kind_of(kind_a, datagram_a), kind_of(kind_b, datagram_b)];
        Guard::unprotect_two([(&mut a, kind_a, datagram_a), (&mut b, kind_b, datagram_b)], now)
    }

    /// Sends a packet by the socket of `by`, protected if this leg has SRTP; whether it was taken. It is the first `length`
    /// bytes of `buffer`, which has room for what SRTP adds.
    ///
    /// # Errors
    /// If SRTP refuses it; it is counted.
    pub(super) fn send_in_place(
        &self,
        (kind, by): (Kind, Kind),
        (buffer, length): (&mut [u8], usize),
        to: SocketAddr,
    ) -> Result<bool, Refusal> {
        let unsent = counter(&self.unsent, kind);
        let envelope = self.envelope(by, to);
        if let Some(packet) = buffer.get(..length)
            && let Some(done) = self.send_in_pairs((kind, packet), &envelope, unsent)
        {
            return done.map(|()| true);
        }
        let length = self.guard.borrow_mut().protect(kind, buffer, length)?;
        let packet = buffer.get(..length).unwrap_or_default();
        Ok(self.wire.send(self.socket(by), &envelope, packet, unsent))
    }

    /// Sends copies of RTP that arrives or leaves, until nobody receives them.
    pub(super) fn copy_to(&self, way: Way, into: Sender<Copied>) {
        self.copies.add(way, into);
    }

    /// RTP has arrived, rid of its protection.
    pub(super) fn copy_arrived(&self, datagram: &[u8], from: SocketAddr) {
        self.copies.copy(Way::Arrives, datagram, Some(from));
    }

    /// Sends a packet by the socket of `by`, protected if this leg has SRTP; whether it was taken.
    pub(super) fn send(&self, kind: Kind, by: Kind, packet: &[u8], to: SocketAddr) -> bool {
        if kind == Kind::Rtp {
            self.copies.copy(Way::Leaves, packet, None);
        }
        let unsent = counter(&self.unsent, kind);
        let envelope = self.envelope(by, to);
        let socket = self.socket(by);
        if self.guard.borrow().seals() == Manner::Clear {
            return self.wire.send(socket, &envelope, packet, unsent);
        }
        let sent = match self.send_in_pairs((kind, packet), &envelope, unsent) {
            Some(done) => done.map(|()| true),
            None => {
                let packet = (kind, packet);
                self.wire.send_copy(socket, &envelope, packet, &self.guard, unsent)
            }
        };
        // SRTP has counted what it refused.
        sent.unwrap_or(false)
    }

    /// `None` if packets of this leg do not leave together with others.
    fn send_in_pairs(
        &self,
        packet: (Kind, &[u8]),
        envelope: &Envelope,
        unsent: &Unsent,
    ) -> Option<Result<(), Refusal>> {
        let seals = self.guard.borrow().seals();
        match seals {
            Manner::Pairs => self.wire.send_in_pairs(envelope, packet, &self.guard, unsent),
            Manner::Clear | Manner::Alone => None,
        }
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
    pub(super) fn refused(&self) -> [u64; Refusal::COUNT] {
        *self.guard.borrow().refused()
    }

    /// Gives the sockets away, with what waits in them.
    pub(super) fn into_sockets(mut self, registry: &Registry) -> Sockets {
        // Nobody else has its guard then.
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
            guard: self.guard.take(),
        }
    }

    /// Asks to be told when a datagram has arrived.
    pub(super) fn register(&mut self, registry: &Registry, rtp: Token, rtcp: Token) -> io::Result<()> {
        registry.register(&mut self.rtp, rtp, Interest::READABLE)?;
        registry.register(&mut self.rtcp, rtcp, Interest::READABLE)
    }
}

/// What looks like RTCP is taken for it on either port: with rtcp-mux it is, and without it is nothing (RFC 5761 section 4).
fn kind_of(kind: Kind, datagram: &[u8]) -> Kind {
    match datagram {
        [first, second, ..] if rtcp::is_rtcp(*first, *second) => Kind::Rtcp,
        _ => kind,
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
