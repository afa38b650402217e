//! AF_XDP sockets: frames between the XDP program and a worker, past the network stack.
//!
//! - `area`: the memory that frames lie in, and which of it is free.
//! - `ring`: the rings by which frames change hands with the kernel.
//! - `queue`: the sockets on one receive queue of one interface, one for each worker.
//!
//! Frames are copied between the network card's memory and the area (`XDP_COPY`): the queues are the kernel lane's in the
//! first place, and in the zero-copy mode of a driver every packet that is not for a worker would be copied instead.

#![allow(unsafe_code)]
#![cfg_attr(
    not(feature = "ebpf"),
    allow(dead_code, reason = "the XDP program alone can feed them")
)]

mod area;
mod queue;
mod ring;

#[cfg(feature = "ebpf")]
pub(crate) use queue::open;
pub(crate) use queue::{GROUP, Receiver, Sender};
