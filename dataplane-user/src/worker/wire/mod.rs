//! How packets leave a worker: together, whatever legs they are of.
//!
//! - `packet`: the headers of a packet that does not leave by its leg's own socket.
//! - `batch`: raw sockets, many packets to a system call.

mod batch;
mod packet;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mio::net::UdpSocket;

use self::batch::Batch;
pub(super) use self::packet::Envelope;
use super::io::send_to;

/// The way out of a worker, which all its legs share.
#[derive(Clone)]
pub(super) struct Wire(Rc<RefCell<Ways>>);

struct Ways {
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
            batch: Batch::default(),
        })))
    }

    /// Sends a packet, at the latest with the next [`Self::flush`]; whether it was taken. `socket` is that of the address it
    /// leaves from. What is taken and refused by the system after that is counted in `unsent`.
    pub(super) fn send(&self, socket: &UdpSocket, envelope: &Envelope, payload: &[u8], unsent: &Unsent) -> bool {
        let mut ways = self.0.borrow_mut();
        match ways.batch.push(envelope, payload, unsent) {
            Took::Yes => true,
            Took::No => send_to(socket, payload, envelope.to),
        }
    }

    /// Sends what waits.
    pub(super) fn flush(&self) {
        self.0.borrow_mut().batch.flush();
    }
}
