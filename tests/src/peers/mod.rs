//! Peers from other projects: what a carrier or a bot may really be.
//!
//! * [`sipp`]: scenario-driven SIP, many calls at once
//! * [`baresip`]: a softphone with its own SIP stack, SDP, codecs and jitter buffer
//! * [`agent`]: WebSocket agents in Python, well-behaved and not

pub mod agent;
pub mod baresip;
pub mod sipp;
