//! The contract across voxlane's kernel boundary.
//!
//! Everything here is `no_std`, allocation-free and pure: the XDP program, the userspace relay and the tests call the
//! same functions, so a packet is judged the same way wherever it is handled.
//!
//! In the order a packet meets it: [`rtp`] (is this RTP?), …
#![no_std]

pub mod rtp;
