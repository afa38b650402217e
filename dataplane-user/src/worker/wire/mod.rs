//! How packets leave a worker: together, whatever legs they are of.
//!
//! - `pairs`: packets of legs whose SRTP is faster two at a time wait here for each other.
//! - `packet`: the headers of a packet that does not leave by its leg's own socket.
//! - `xdp`: AF_XDP sockets, past the network stack, where they can be had.
//! - `batch`: raw sockets, many packets to a system call.

mod batch;
mod packet;
mod pairs;
mod xdp;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crossbeam_channel::Sender;
use mio::net::UdpSocket;
use voxlane_common::next_hop::NextHop;

use self::batch::{Batch, LONGEST};
pub(super) use self::packet::{Envelope, is_sound};
use self::pairs::Pairs;
use self::xdp::Express;
use super::command::{Ask, Path};
use super::guard::Guard;
use super::io::send_to;
use crate::srtp::{Kind, MAX_OVERHEAD, Refusal};
use crate::xsk;

/// The way out of a worker, which all its legs share.
#[derive(Clone)]
pub(super) struct Wire(Rc<RefCell<Ways>>);

struct Ways {
    express: Option<Express>,
    batch: Batch,
    pairs: Pairs,
    /// Where packets are protected whose sender has no room for it.
    copy: Box<[u8; LONGEST + MAX_OVERHEAD]>,
}

/// Whether a packet was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    Yes,
    No,
}

/// Packets that were taken and then refused by the system.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsent(Rc<Cell<u32>>);

impl Unsent {
    fn add(&self) {
        self.0.set(self.0.get().saturating_add(1));
    }

    /// How many, since this was asked last.
    pub(super) fn take(&self) -> u32 {
        self.0.take()
    }
}

impl Wire {
    /// A way out that sends nothing before it is told to.
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new(Ways {
            express: None,
            batch: Batch::default(),
            pairs: Pairs::new(),
            copy: Box::new([0; LONGEST + MAX_OVERHEAD]),
        })))
    }

    /// Sends a packet, at the latest with the next [`Self::flush`]; whether it was taken. `socket` is that of the address it
    /// leaves from. What is taken and refused by the system after that is counted in `unsent`.
    pub(super) fn send(&self, socket: &UdpSocket, envelope: &Envelope, payload: &[u8], unsent: &Unsent) -> bool {
        let took = self.0.borrow_mut().push(envelope, payload, unsent);
        took == Took::Yes || send_to(socket, payload, envelope.to)
    }

    /// Protects a copy of a packet, and sends it as [`Self::send`] does.
    ///
    /// # Errors
    /// If SRTP refuses it, which has counted it.
    pub(super) fn send_copy(
        &self,
        socket: &UdpSocket,
        envelope: &Envelope,
        (kind, packet): (Kind, &[u8]),
        guard: &RefCell<Guard>,
        unsent: &Unsent,
    ) -> Result<bool, Refusal> {
        let mut ways = self.0.borrow_mut();
        let Ways {
            express, batch, copy, ..
        } = &mut *ways;
        // `protect` refuses what has no room.
        if let Some(place) = copy.get_mut(..packet.len()) {
            place.copy_from_slice(packet);
        }
        let length = guard.borrow_mut().protect(kind, &mut copy[..], packet.len())?;
        let packet = copy.get(..length).unwrap_or_default();
        let took = push(express, batch, envelope, packet, unsent);
        Ok(took == Took::Yes || send_to(socket, packet, envelope.to))
    }

    /// Protects a packet together with one of another leg, and sends it, at the latest with the next [`Self::flush`]. `None` if
    /// packets of this kind do not leave together.
    ///
    /// # Errors
    /// If SRTP refuses it, which has counted it.
    pub(super) fn send_in_pairs(
        &self,
        envelope: &Envelope,
        packet: (Kind, &[u8]),
        guard: &Rc<RefCell<Guard>>,
        unsent: &Unsent,
    ) -> Option<Result<(), Refusal>> {
        let mut ways = self.0.borrow_mut();
        let Ways {
            express, batch, pairs, ..
        } = &mut *ways;
        // What it would be given back for, once it is protected: there is no socket to send it by then.
        if packet.1.len() + MAX_OVERHEAD > LONGEST || !batch.has_line(envelope.from.ip()) {
            return None;
        }
        Some(pairs.take(packet, envelope, guard, unsent, pusher(express, batch)))
    }

    /// Protects what waits for a second packet.
    pub(super) fn finish(&self) {
        self.0.borrow_mut().finish();
    }

    /// Sends what waits.
    pub(super) fn flush(&self) {
        let mut ways = self.0.borrow_mut();
        ways.finish();
        let Ways { express, batch, .. } = &mut *ways;
        express.iter_mut().for_each(Express::flush);
        batch.flush();
    }

    /// Sends by these from now on, where a neighbour is known; `asks` is for whoever knows them.
    pub(super) fn set_senders(&self, worker: usize, senders: Vec<xsk::Sender>, asks: Sender<Ask>) {
        self.0.borrow_mut().express = Some(Express::new(worker, senders, asks));
    }

    /// What is known of the way to a far end now.
    pub(super) fn set_route(&self, path: Path, hop: NextHop) {
        if let Some(express) = &mut self.0.borrow_mut().express {
            express.set_route(path, hop);
        }
    }

    /// To be called now and then: forgets ways that are not used.
    pub(super) fn forget_unused(&self) {
        if let Some(express) = &mut self.0.borrow_mut().express {
            express.forget_unused();
        }
    }
}

impl Ways {
    fn push(&mut self, envelope: &Envelope, payload: &[u8], unsent: &Unsent) -> Took {
        push(&mut self.express, &mut self.batch, envelope, payload, unsent)
    }

    fn finish(&mut self) {
        let Self {
            express, batch, pairs, ..
        } = self;
        pairs.finish(pusher(express, batch));
    }
}

/// Takes a packet, by the better way that there is.
fn push(
    express: &mut Option<Express>,
    batch: &mut Batch,
    envelope: &Envelope,
    payload: &[u8],
    unsent: &Unsent,
) -> Took {
    // AF_XDP knows no departure times.
    let took = express
        .as_mut()
        .filter(|_| envelope.departs.is_none())
        .map_or(Took::No, |express| express.push(envelope, payload));
    match took {
        Took::Yes => Took::Yes,
        Took::No => batch.push(envelope, payload, unsent),
    }
}

/// The same, of packets that cannot be given back.
fn pusher(express: &mut Option<Express>, batch: &mut Batch) -> impl FnMut(&Envelope, &[u8], &Unsent) {
    |envelope, payload, unsent| {
        if push(express, batch, envelope, payload, unsent) == Took::No {
            unsent.add();
        }
    }
}
