//! What has arrived, on its way to the residents: SRTP's protection is taken off, two packets at a time where that is faster.
//!
//! The first of two waits for the second, until [`Opening::finish`] at most. Two packets of one leg are no pair: the second
//! sends the first on its way alone, and waits itself. So packets of a leg are handled in the order in which they came.

use std::net::SocketAddr;

use slab::Slab;
use voxlane_common::sockets::LONGEST_FRAME;

use super::clock::Clock;
use super::guard::Manner;
use super::ports::{Kind, Ports};
use super::relay::Side;
use super::resident::Resident;
use crate::srtp::Refusal;

/// Longest packet that waits. Others come by sockets only, and no telephony has them.
const LONGEST: usize = LONGEST_FRAME;

/// Room behind the longest packet for what SRTP adds.
const ROOM: usize = LONGEST + 256;

/// Where a packet has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The resident's key.
    pub(super) key: usize,
    pub(super) side: Side,
    pub(super) kind: Kind,
}

/// A packet after SRTP has looked at it.
pub(super) struct Opened<'a> {
    /// It, with room for what SRTP adds.
    pub(super) buffer: &'a mut [u8],
    /// Its length, or why it is not to be used.
    pub(super) length: Result<usize, Refusal>,
}

impl Opened<'_> {
    /// What has arrived, if it is to be used.
    pub(super) fn datagram(&self) -> Option<&[u8]> {
        self.buffer.get(..self.length.ok()?)
    }
}

/// A packet that waits for another.
struct Waiting {
    at: Place,
    from: SocketAddr,
    length: usize,
}

/// The way from the sockets to the residents.
pub(super) struct Opening {
    waiting: Option<Waiting>,
    bytes: Box<[u8; ROOM]>,
}

impl Opening {
    pub(super) fn new() -> Self {
        Self {
            waiting: None,
            bytes: Box::new([0; ROOM]),
        }
    }

    /// Takes a packet, the first `length` bytes of a buffer that has room for what SRTP adds. Its resident gets it at once, or
    /// with the next packet of another leg.
    pub(super) fn take(
        &mut self,
        residents: &mut Slab<Resident>,
        at: Place,
        (buffer, length): (&mut [u8], usize),
        from: SocketAddr,
        clock: Clock,
    ) {
        let Some(ports) = ports(residents, at) else {
            return;
        };
        let now = clock.now();
        if ports.opens() != Manner::Pairs || length > LONGEST {
            let length = ports.unprotect(at.kind, &mut buffer[..length], now);
            return give(residents, at, Opened { buffer, length }, from, clock);
        }
        let first = self
            .waiting
            .take_if(|first| (first.at.key, first.at.side) != (at.key, at.side));
        let Some(first) = first else {
            self.finish(residents, clock);
            self.bytes[..length].copy_from_slice(&buffer[..length]);
            self.waiting = Some(Waiting { at, from, length });
            return;
        };
        // Nobody leaves while packets are taken.
        let Some(ports_first) = self::ports(residents, first.at) else {
            return;
        };
        let packets = [
            (ports_first, first.at.kind, &mut self.bytes[..first.length]),
            (ports, at.kind, &mut buffer[..length]),
        ];
        let [length_first, length] = Ports::unprotect_two(packets, now);
        let opened = Opened {
            buffer: &mut self.bytes[..],
            length: length_first,
        };
        give(residents, first.at, opened, first.from, clock);
        give(residents, at, Opened { buffer, length }, from, clock);
    }

    /// Gives what waits to its resident.
    pub(super) fn finish(&mut self, residents: &mut Slab<Resident>, clock: Clock) {
        let Some(Waiting { at, from, length }) = self.waiting.take() else {
            return;
        };
        let Some(ports) = ports(residents, at) else {
            return;
        };
        let length = ports.unprotect(at.kind, &mut self.bytes[..length], clock.now());
        let buffer = &mut self.bytes[..];
        give(residents, at, Opened { buffer, length }, from, clock);
    }
}

/// The sockets of the leg where a packet has arrived. Its resident may have left since.
fn ports(residents: &Slab<Resident>, at: Place) -> Option<&Ports> {
    residents.get(at.key)?.ports(at.side)
}

fn give(residents: &mut Slab<Resident>, at: Place, opened: Opened<'_>, from: SocketAddr, clock: Clock) {
    if let Some(resident) = residents.get_mut(at.key) {
        resident.on_datagram(at.side, at.kind, opened, from, clock.now());
    }
}
