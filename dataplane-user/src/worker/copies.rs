//! Copies of what arrives at a leg and of what leaves it, for whoever listens to its call.
//!
//! A copy goes into a channel that has room for a few: nobody waits, nothing is allocated, and what finds no room is lost to
//! the listener alone.

use std::cell::RefCell;
use std::net::SocketAddr;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// Longest packet that is copied, bytes: 120 ms of G.711 with a long header. No telephony has longer ones.
const ROOM: usize = 1024;

/// Packets that wait for a listener: 640 ms of 20 ms each. They are taken once a packet time.
const WAITING: usize = 32;

/// Which packets of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Those of its far end.
    Arrives,
    /// Those that it is sent.
    Leaves,
}

/// A packet without the protection of SRTP.
pub(crate) struct Copied {
    /// Where it came from, of one that has arrived.
    from: Option<SocketAddr>,
    length: usize,
    bytes: [u8; ROOM],
}

impl Copied {
    fn of(packet: &[u8], from: Option<SocketAddr>) -> Option<Self> {
        let mut bytes = [0; ROOM];
        bytes.get_mut(..packet.len())?.copy_from_slice(packet);
        Some(Self {
            from,
            length: packet.len(),
            bytes,
        })
    }

    /// It.
    pub(crate) fn packet(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Where it came from, of one that has arrived.
    pub(crate) fn from(&self) -> Option<SocketAddr> {
        self.from
    }
}

/// The way of copies.
pub(crate) fn channel() -> (Sender<Copied>, Receiver<Copied>) {
    bounded(WAITING)
}

/// Who is sent copies of a leg's packets.
#[derive(Default)]
pub(super) struct Copies {
    receivers: RefCell<Vec<(Way, Sender<Copied>)>>,
}

impl Copies {
    /// Sends copies there too, until nobody receives them.
    pub(super) fn add(&self, way: Way, into: Sender<Copied>) {
        self.receivers.borrow_mut().push((way, into));
    }

    /// A packet has arrived or leaves.
    pub(super) fn copy(&self, way: Way, packet: &[u8], from: Option<SocketAddr>) {
        if !self.receivers.borrow().is_empty() {
            self.send(way, packet, from);
        }
    }

    #[cold]
    fn send(&self, way: Way, packet: &[u8], from: Option<SocketAddr>) {
        self.receivers
            .borrow_mut()
            .retain(|(of, into)| match Copied::of(packet, from).filter(|_| *of == way) {
                Some(copied) => !matches!(into.try_send(copied), Err(TrySendError::Disconnected(_))),
                None => true,
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_takes_nothing_keeps_nobody_waiting_and_one_who_has_gone_is_forgotten() {
        let copies = Copies::default();
        let (idle, waits) = channel();
        let (busy, taken) = channel();
        copies.add(Way::Arrives, idle);
        copies.add(Way::Arrives, busy);
        let from = Some(SocketAddr::from(([192, 0, 2, 1], 9)));
        for number in 0..=255 {
            copies.copy(Way::Arrives, &[number; 172], from);
            let copied = taken.try_recv().unwrap();
            assert_eq!((copied.packet(), copied.from()), (&[number; 172][..], from));
        }
        assert_eq!(waits.len(), WAITING);
        drop((waits, taken));
        copies.copy(Way::Arrives, &[0; 172], from);
        assert!(copies.receivers.borrow().is_empty());
    }

    #[test]
    fn only_what_was_asked_for_is_copied_and_nothing_that_has_no_room() {
        let copies = Copies::default();
        let (sender, copied) = channel();
        copies.add(Way::Leaves, sender);
        copies.copy(Way::Arrives, &[1; 172], None);
        copies.copy(Way::Leaves, &[2; ROOM + 1], None);
        copies.copy(Way::Leaves, &[3; ROOM], None);
        let lengths: Vec<(u8, usize)> = copied.try_iter().map(|one| (one.packet()[0], one.length)).collect();
        assert_eq!(lengths, [(3, ROOM)]);
    }
}
