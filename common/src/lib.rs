//! The contract across voxlane's kernel boundary.
//!
//! Everything here is `no_std`, allocation-free and pure: the XDP program, the userspace relay and the tests call the
//! same functions, so a packet is judged the same way wherever it is handled.
//!
//! In the order a packet meets it:
//! 1. [`frame`]: is there a UDP datagram in this frame, and where?
//! 2. [`ports`]: is its (local address, port) one of ours, and which entry of the flow table is it?
//! 3. [`flow`]: what the control plane says about the flow, and what the data plane has seen of it.
//! 4. [`relay`]: the whole decision about one packet. It asks
//!    - [`rtp`] and [`rtcp`]: is this media at all?
//!    - [`latch`]: does it come from where it should?
//!    - [`police`]: does it come no faster than it should?
//!    - [`account`]: what do sequence number, timestamp and arrival time tell (RFC 3550)?
//!    - [`splice`]: with which SSRC, sequence number and timestamp is it sent on?
//!    - [`pace`]: when does it leave?
//!    - and ends in a [`relay::Verdict`], or a [`drops::DropReason`].
//! 5. [`next_hop`]: which neighbour it is sent to.
//! 6. [`rewrite`] and [`checksum`]: what becomes of its headers (RFC 1624).
//! 7. [`event`]: what userspace is told.
//! 8. [`outcome`] and [`duration`]: how the frame ended in the XDP program and how long it took, for the counters.
//!
//! With the feature `lab`: `lab`, what the programs for tests and benchmarks need.
#![no_std]

pub mod account;
pub mod address;
pub mod checksum;
pub mod drops;
pub mod duration;
pub mod event;
pub mod flow;
pub mod frame;
#[cfg(feature = "lab")]
pub mod lab;
pub mod latch;
pub mod next_hop;
pub mod outcome;
pub mod pace;
pub mod police;
pub mod ports;
pub mod relay;
pub mod rewrite;
pub mod rtcp;
pub mod rtp;
pub mod sockets;
pub mod splice;
