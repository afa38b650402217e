//! The contract across voxlane's kernel boundary.
//!
//! Everything here is `no_std`, allocation-free and pure: the XDP program, the userspace relay and the tests call the
//! same functions, so a packet is judged the same way wherever it is handled.
//!
//! In the order a packet meets it:
//! 1. [`ports`]: is this (local address, port) one of ours, and which entry of the flow table is it?
//! 2. [`flow`]: what the control plane says about the flow, and what the data plane has seen of it.
//! 3. [`relay`]: the whole decision about one packet. It asks
//!    - [`rtp`] and [`rtcp`]: is this media at all?
//!    - [`latch`]: does it come from where it should?
//!    - [`account`]: what do sequence number, timestamp and arrival time tell (RFC 3550)?
//!    - and ends in a [`relay::Verdict`], or a [`drops::DropReason`].
//! 4. [`checksum`]: what the rewritten headers' checksums become (RFC 1624).
//! 5. [`outcome`]: how the frame ends in the XDP program, for its counters.
//!
//! With the feature `lab`: `lab`, what the programs for tests and benchmarks need.
#![no_std]

pub mod account;
pub mod address;
pub mod checksum;
pub mod drops;
pub mod flow;
#[cfg(feature = "lab")]
pub mod lab;
pub mod latch;
pub mod outcome;
pub mod ports;
pub mod relay;
pub mod rtcp;
pub mod rtp;
