//! Frames that come past the network stack, and whose they are.
//!
//! The XDP program gives a worker what arrives at the ports of its legs. A leg's packets may also come by its UDP sockets: as
//! long as nobody has told the program, for what is longer than a frame, and where a queue has no AF_XDP socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use voxlane_common::frame::{self, Datagram};
use voxlane_common::sockets::LONGEST_FRAME;

use super::owners::Owners;
use super::token::receiver;
use super::wire::is_sound;
use crate::cache::Nearness;
use crate::xsk::{self, GROUP};

/// Frames of legs that the worker does not know yet which are kept: a leg that changes hands may be known in a moment.
const MOST_EARLY: usize = 16;

/// How long they are kept.
const KEPT: Duration = Duration::from_millis(100);

/// Room behind the longest packet for what SRTP adds.
const ROOM: usize = LONGEST_FRAME + 256;

/// What comes by AF_XDP sockets.
#[derive(Default)]
pub(super) struct Inlet {
    receivers: Vec<xsk::Receiver>,
    /// Whose the ports are. An entry may be of a leg that has left.
    legs: Owners,
    early: Vec<Early>,
    used: usize,
    strays: u64,
}

/// A packet that has come in a frame.
pub(super) struct Arrival<'a> {
    pub(super) local: SocketAddr,
    pub(super) from: SocketAddr,
    /// The packet and room for what SRTP adds, and its length.
    pub(super) packet: (&'a mut [u8], usize),
}

/// Those to whom packets may belong.
pub(super) trait Takers {
    /// A packet for a descriptor is about to be taken.
    fn expect(&self, owner: Token, nearness: Nearness);

    /// Takes a packet; whether it was known whose it is.
    fn take(&mut self, inlet: &Inlet, arrival: Arrival<'_>) -> bool;
}

/// A packet that is kept.
struct Early {
    came: Duration,
    local: SocketAddr,
    from: SocketAddr,
    length: usize,
    bytes: Box<[u8; ROOM]>,
}

impl Inlet {
    /// Takes what comes by these from now on.
    pub(super) fn open(&mut self, receivers: Vec<xsk::Receiver>, registry: &Registry) -> io::Result<()> {
        for (place, receiver_of) in receivers.iter().enumerate() {
            let fd = receiver_of.as_raw_fd();
            registry.register(&mut SourceFd(&fd), receiver(place), Interest::READABLE)?;
        }
        self.receivers = receivers;
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        self.early = std::iter::repeat_with(|| Early {
            came: Duration::ZERO,
            local: unspecified,
            from: unspecified,
            length: 0,
            bytes: Box::new([0; ROOM]),
        })
        .take(MOST_EARLY)
        .collect();
        Ok(())
    }

    /// How many sockets there are.
    pub(super) fn receivers(&self) -> usize {
        self.receivers.len()
    }

    /// What arrives at `local` belongs to this descriptor of a resident from now on.
    pub(super) fn add(&mut self, local: SocketAddr, token: Token) {
        if !self.receivers.is_empty() {
            self.legs.insert(local, token);
        }
    }

    /// Whose `local` is, if it is one's.
    pub(super) fn owner(&self, local: SocketAddr) -> Option<Token> {
        self.legs.get(local)
    }

    /// Takes at most `most` frames of one socket; whether there may be more.
    pub(super) fn receive(&mut self, place: usize, most: usize, now: Duration, takers: &mut impl Takers) -> bool {
        let mut receivers = std::mem::take(&mut self.receivers);
        let more = receivers
            .get_mut(place)
            .is_some_and(|receiver| self.receive_from(receiver, most, now, takers));
        self.receivers = receivers;
        more
    }

    fn receive_from(
        &mut self,
        receiver: &mut xsk::Receiver,
        most: usize,
        now: Duration,
        takers: &mut impl Takers,
    ) -> bool {
        let mut taken = 0;
        while taken < most {
            let count = receiver.fetch(most - taken);
            if count == 0 {
                break;
            }
            taken += count;
            self.announce(receiver, takers);
            for place in 0..count {
                if let Some((bytes, start, length)) = receiver.frame(place) {
                    self.offer(bytes, start, length, now, takers);
                }
            }
            receiver.let_go();
        }
        if taken > 0 {
            receiver.replace();
        }
        taken == most
    }

    /// Lets takers know of the frames in hand before they get them.
    fn announce(&self, receiver: &mut xsk::Receiver, takers: &impl Takers) {
        let mut owners = [None; GROUP];
        for (place, owner) in owners.iter_mut().enumerate() {
            let Some((bytes, start, length)) = receiver.frame(place) else {
                break;
            };
            let datagram = frame::datagram(&bytes[start..start + length]).ok();
            *owner = datagram.and_then(|datagram| self.owner(datagram.local.get()?));
            owner.inspect(|owner| takers.expect(*owner, Nearness::Near));
        }
        for owner in owners.into_iter().flatten() {
            takers.expect(owner, Nearness::Next);
        }
    }

    fn offer(&mut self, bytes: &mut [u8], start: usize, length: usize, now: Duration, takers: &mut impl Takers) {
        let Some((datagram, from, local)) = understood(&bytes[start..start + length]) else {
            self.strays += 1;
            return;
        };
        let begin = start + datagram.payload_offset;
        let length = datagram.length as usize;
        let arrival = Arrival {
            local,
            from,
            packet: (&mut bytes[begin..], length),
        };
        if !takers.take(self, arrival) {
            self.keep(local, from, &bytes[begin..begin + length], now);
        }
    }

    fn keep(&mut self, local: SocketAddr, from: SocketAddr, packet: &[u8], now: Duration) {
        let place = self.early.get_mut(self.used).zip(Some(packet.len()));
        let Some((early, length)) = place.filter(|(_, length)| *length <= LONGEST_FRAME) else {
            self.strays += 1;
            return;
        };
        early.bytes[..length].copy_from_slice(packet);
        (early.came, early.local, early.from, early.length) = (now, local, from, length);
        self.used += 1;
    }

    /// Offers what was kept once more; what nobody has known for long enough is a stray.
    pub(super) fn offer_early(&mut self, now: Duration, takers: &mut impl Takers) {
        let mut early = std::mem::take(&mut self.early);
        let mut left = 0;
        for place in 0..std::mem::take(&mut self.used) {
            let kept = &mut early[place];
            let arrival = Arrival {
                local: kept.local,
                from: kept.from,
                packet: (&mut kept.bytes[..], kept.length),
            };
            if takers.take(self, arrival) {
                continue;
            }
            if now.saturating_sub(kept.came) > KEPT {
                self.strays += 1;
            } else {
                early.swap(left, place);
                left += 1;
            }
        }
        (self.early, self.used) = (early, left);
    }

    /// Frames that came for nobody, were damaged, or were lost because the worker did not take them in time.
    pub(super) fn lost(&self) -> u64 {
        let dropped = self.receivers.iter().map(|receiver| receiver.dropped());
        self.strays + dropped.sum::<u64>()
    }
}

/// The datagram in a frame, whence it comes and where it is sent to; `None` if it is damaged, or comes from nowhere that could
/// be answered.
fn understood(frame: &[u8]) -> Option<(Datagram, SocketAddr, SocketAddr)> {
    let datagram = frame::datagram(frame).ok()?;
    let (from, local) = (datagram.source.get()?, datagram.local.get()?);
    is_sound(frame, &datagram).then_some((datagram, from, local))
}
