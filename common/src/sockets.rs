//! Where a worker's AF_XDP sockets stand in the map of all of them.
//!
//! A socket takes the frames of one receive queue of one interface, and each worker has one on every queue: so whichever
//! queue the network card puts a packet into, the program hands it to the worker that has the call.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

/// Entries of the map: interfaces, by queues, by workers.
pub const MAX_SOCKETS: u32 = 4096;

/// Longest frame that a worker takes this way, bytes; a longer one goes through the network stack.
pub const LONGEST_FRAME: usize = 1536;

/// The sockets of one interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SocketRange {
    /// The first of its entries.
    pub first: u32,
    /// Receive queues that have sockets.
    pub queues: u32,
    /// Workers that have a socket on each of them.
    pub workers: u32,
}

impl SocketRange {
    /// The entry of the socket of `worker` on `queue`; `None` if there is none.
    #[inline(always)]
    pub const fn place(&self, queue: u32, worker: WorkerId) -> Option<u32> {
        let worker = worker.0 ^ WorkerId::MARK;
        if queue >= self.queues || worker >= self.workers {
            return None;
        }
        Some(self.first + queue * self.workers + worker)
    }

    /// How many entries it has.
    pub const fn entries(&self) -> u32 {
        self.queues * self.workers
    }
}

/// A worker as a flow names it, or none: the packets are the network stack's. It stands where other flows have the entry of
/// their peer, and is never to be taken for one: a program may see a flow half written.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct WorkerId(pub(crate) u32);

impl WorkerId {
    /// In every number of a worker, in no entry of a flow.
    const MARK: u32 = 1 << 31;

    /// No worker.
    pub const NONE: Self = Self(0);

    /// The worker of this number, from 0 on.
    pub const fn new(number: u32) -> Self {
        Self(number | Self::MARK)
    }

    /// Whether it is [`Self::NONE`].
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 & Self::MARK == 0
    }
}

// SAFETY: repr(C) of plain integers, without padding (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for SocketRange {}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_queue_and_worker_has_its_own_entry() {
        let range = SocketRange {
            first: 7,
            queues: 3,
            workers: 2,
        };
        let places: HashSet<u32> = (0..3)
            .flat_map(|queue| (0..2).map(move |worker| (queue, worker)))
            .map(|(queue, worker)| range.place(queue, WorkerId::new(worker)).unwrap())
            .collect();
        assert_eq!(places, (7..13).collect());
        assert_eq!(range.entries(), 6);
    }

    #[test]
    fn what_is_not_there_has_none() {
        let range = SocketRange {
            first: 7,
            queues: 3,
            workers: 2,
        };
        assert_eq!(range.place(3, WorkerId::new(0)), None);
        assert_eq!(range.place(0, WorkerId::new(2)), None);
        assert_eq!(range.place(0, WorkerId::NONE), None);
        assert_eq!(range.place(0, WorkerId(1)), None);
        assert_eq!(SocketRange::default().place(0, WorkerId::new(0)), None);
    }
}
