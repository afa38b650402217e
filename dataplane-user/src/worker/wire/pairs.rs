//! Packets that are protected two at a time, which is faster: the first of two waits for the second, until the next flush at
//! most.
//!
//! A packet has its place in its stream when it comes here, so all that SRTP could refuse it for is behind it. Two packets of
//! one leg are no pair: the second sends the first on its way alone, and waits itself. So packets of a leg leave in the order
//! in which they came.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Unsent;
use super::batch::LONGEST;
use super::packet::Envelope;
use crate::srtp::{Begun, Kind, MAX_OVERHEAD, Outgoing, Refusal, finish_two};
use crate::worker::guard::Guard;

/// A packet that is to be protected.
struct Held {
    /// Whose packet it is, and its place; nothing while there is none.
    order: Option<(Rc<RefCell<Guard>>, Begun)>,
    envelope: Envelope,
    unsent: Unsent,
    buffer: [u8; LONGEST + MAX_OVERHEAD],
}

/// Two packets of different legs.
pub(super) struct Pairs([Box<Held>; 2]);

impl Pairs {
    pub(super) fn new() -> Self {
        Self([(); 2].map(|()| Box::new(Held::new())))
    }

    /// Takes a packet of at most [`LONGEST`] bytes. `push` is given what is protected, at once or later.
    ///
    /// # Errors
    /// If SRTP refuses it, which has counted it.
    pub(super) fn take(
        &mut self,
        (kind, packet): (Kind, &[u8]),
        envelope: &Envelope,
        guard: &Rc<RefCell<Guard>>,
        unsent: &Unsent,
        push: impl FnMut(&Envelope, &[u8], &Unsent),
    ) -> Result<(), Refusal> {
        let [first, second] = &mut self.0;
        match &first.order {
            Some((other, _)) if !Rc::ptr_eq(other, guard) => {
                second.hold((kind, packet), envelope, guard, unsent)?;
                finish_both(first, second, push);
                Ok(())
            }
            _ => {
                first.finish(push);
                first.hold((kind, packet), envelope, guard, unsent)
            }
        }
    }

    /// Protects what waits, and gives it to `push`.
    pub(super) fn finish(&mut self, push: impl FnMut(&Envelope, &[u8], &Unsent)) {
        self.0[0].finish(push);
    }
}

impl Held {
    fn new() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            order: None,
            envelope: Envelope {
                from: nowhere,
                to: nowhere,
                tos: 0,
                departs: None,
            },
            unsent: Unsent::default(),
            buffer: [0; LONGEST + MAX_OVERHEAD],
        }
    }

    fn hold(
        &mut self,
        (kind, packet): (Kind, &[u8]),
        envelope: &Envelope,
        guard: &Rc<RefCell<Guard>>,
        unsent: &Unsent,
    ) -> Result<(), Refusal> {
        // Before anything else: it is to be in memory when it is read in other pieces. The caller knows that there is room.
        if let Some(place) = self.buffer.get_mut(..packet.len()) {
            place.copy_from_slice(packet);
        }
        let begun = guard.borrow_mut().begin(kind, packet)?;
        self.envelope = *envelope;
        self.unsent = unsent.clone();
        self.order = Some((Rc::clone(guard), begun));
        Ok(())
    }

    fn finish(&mut self, push: impl FnMut(&Envelope, &[u8], &Unsent)) {
        let Some((guard, begun)) = self.order.take() else {
            return;
        };
        let guard = guard.borrow();
        let length = match guard.outbound() {
            Some(outbound) => outbound.finish(begun, &mut self.buffer),
            None => Err(Refusal::KeyExhausted),
        };
        self.leave(length, push);
    }

    /// Keys do not change while a packet waits, and there is room: what could be refused still is not sent, and counted.
    fn leave(&self, length: Result<usize, Refusal>, mut push: impl FnMut(&Envelope, &[u8], &Unsent)) {
        match length.ok().and_then(|length| self.buffer.get(..length)) {
            Some(packet) => push(&self.envelope, packet, &self.unsent),
            None => self.unsent.add(),
        }
    }
}

fn finish_both(first: &mut Held, second: &mut Held, mut push: impl FnMut(&Envelope, &[u8], &Unsent)) {
    let (Some((guard_a, begun_a)), Some((guard_b, begun_b))) = (first.order.take(), second.order.take()) else {
        return;
    };
    let (guard_a, guard_b) = (guard_a.borrow(), guard_b.borrow());
    let lengths = match (guard_a.outbound(), guard_b.outbound()) {
        (Some(outbound_a), Some(outbound_b)) => finish_two([
            Outgoing {
                outbound: outbound_a,
                begun: begun_a,
                buffer: &mut first.buffer,
            },
            Outgoing {
                outbound: outbound_b,
                begun: begun_b,
                buffer: &mut second.buffer,
            },
        ]),
        _ => [Err(Refusal::KeyExhausted); 2],
    };
    let [length_a, length_b] = lengths;
    first.leave(length_a, &mut push);
    second.leave(length_b, push);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::srtp::{Inbound, Keying, SrtpKeys, Suite};

    /// A leg, and its far end.
    struct Leg {
        guard: Rc<RefCell<Guard>>,
        far: Inbound,
        envelope: Envelope,
    }

    fn leg(port: u16) -> Leg {
        let keying = || Keying::random(Suite::AesCm128HmacSha1Tag80, None);
        let keys = SrtpKeys {
            receive: keying(),
            send: keying(),
        };
        let mut guard = Guard::default();
        guard.set_keys(Some(&keys), Duration::ZERO);
        Leg {
            guard: Rc::new(RefCell::new(guard)),
            far: Inbound::new(&keys.send).unwrap(),
            envelope: Envelope {
                from: ([192, 0, 2, 1], port).into(),
                to: ([192, 0, 2, 9], port).into(),
                tos: 0,
                departs: None,
            },
        }
    }

    fn packet(sequence: u8) -> Vec<u8> {
        let mut packet = vec![0x80, 0, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.resize(172, sequence);
        packet
    }

    #[test]
    fn packets_leave_whole_in_the_order_of_their_legs_and_with_the_flush_at_the_latest() {
        let mut legs = [10_000, 10_002, 10_004].map(leg);
        let mut pairs = Pairs::new();
        let mut left = vec![];
        let mut push = |envelope: &Envelope, packet: &[u8], _: &Unsent| {
            left.push((envelope.from.port(), packet.to_vec()));
        };
        let unsent = Unsent::default();
        for (place, sequence) in [(0, 1), (0, 2), (1, 1), (2, 1), (2, 2), (2, 3), (0, 3), (1, 2)] {
            let Leg { guard, envelope, .. } = &legs[place];
            let packet = packet(sequence);
            pairs
                .take((Kind::Rtp, &packet), envelope, guard, &unsent, &mut push)
                .unwrap();
        }
        // A number that was sent before is refused at once.
        let Leg { guard, envelope, .. } = &legs[1];
        let again = pairs.take((Kind::Rtp, &packet(2)), envelope, guard, &unsent, &mut push);
        assert_eq!(again, Err(Refusal::Replayed));
        pairs.finish(&mut push);
        pairs.finish(&mut push);
        assert_eq!(unsent.take(), 0);
        let mut heard = vec![];
        for (port, mut packet) in left {
            let place = usize::from(port - 10_000) / 2;
            let length = legs[place].far.unprotect(Kind::Rtp, &mut packet).unwrap();
            assert_eq!(packet[..length], self::packet(packet[3]));
            heard.push((place, packet[3]));
        }
        assert_eq!(heard, [(0, 1), (0, 2), (1, 1), (2, 1), (2, 2), (2, 3), (0, 3), (1, 2)]);
    }
}
