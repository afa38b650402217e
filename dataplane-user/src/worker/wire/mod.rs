//! How packets leave a worker: together, whatever legs they are of.
//!
//! - `packet`: the headers of a packet that does not leave by its leg's own socket.
//! - `xdp`: AF_XDP sockets, past the network stack, where they can be had.
//! - `batch`: raw sockets, many packets to a system call.

mod batch;
mod packet;
mod xdp;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crossbeam_channel::Sender;
use mio::net::UdpSocket;
use voxlane_common::next_hop::NextHop;

use self::batch::Batch;
pub(super) use self::packet::{Envelope, is_sound};
use self::xdp::Express;
use super::command::{Ask, Path};
use super::io::send_to;
use crate::xsk;

/// The way out of a worker, which all its legs share.
#[derive(Clone)]
pub(super) struct Wire(Rc<RefCell<Ways>>);

struct Ways {
    express: Option<Express>,
    batch: Batch,
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
        })))
    }

    /// Sends a packet, at the latest with the next [`Self::flush`]; whether it was taken. `socket` is that of the address it
    /// leaves from. What is taken and refused by the system after that is counted in `unsent`.
    pub(super) fn send(&self, socket: &UdpSocket, envelope: &Envelope, payload: &[u8], unsent: &Unsent) -> bool {
        let mut ways = self.0.borrow_mut();
        let Ways { express, batch } = &mut *ways;
        // AF_XDP knows no departure times.
        let took = express
            .as_mut()
            .filter(|_| envelope.departs.is_none())
            .map_or(Took::No, |express| express.push(envelope, payload));
        if took == Took::Yes || batch.push(envelope, payload, unsent) == Took::Yes {
            return true;
        }
        send_to(socket, payload, envelope.to)
    }

    /// Sends what waits.
    pub(super) fn flush(&self) {
        let mut ways = self.0.borrow_mut();
        let Ways { express, batch } = &mut *ways;
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
