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
        let begun = guard.borrow_mut().begin(kind, packet)?;
        let [first, second] = &mut self.0;
        match &first.order {
            None => first.hold(begun, packet, envelope, guard, unsent),
            Some((other, _)) if Rc::ptr_eq(other, guard) => {
                first.finish(push);
                first.hold(begun, packet, envelope, guard, unsent);
            }
            Some(_) => {
                second.hold(begun, packet, envelope, guard, unsent);
                finish_both(first, second, push);
            }
        }
        Ok(())
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

    fn hold(&mut self, begun: Begun, packet: &[u8], envelope: &Envelope, guard: &Rc<RefCell<Guard>>, unsent: &Unsent) {
        // The caller knows that there is room.
        if let Some(place) = self.buffer.get_mut(..packet.len()) {
            place.copy_from_slice(packet);
        }
        self.envelope = *envelope;
        self.unsent = unsent.clone();
        self.order = Some((Rc::clone(guard), begun));
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
