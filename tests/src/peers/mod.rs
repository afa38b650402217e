//! Peers from other projects: what a carrier or a bot may really be.
//!
//! * [`sipp`]: scenario-driven SIP, many calls at once
//! * [`baresip`]: a softphone with its own SIP stack, SDP, codecs and jitter buffer
//! * [`kamailio`]: a carrier's proxy
//! * [`conversation`]: calls with a scenario of sipp at either end, many at once
//! * [`dnsmasq`]: a DNS server
//! * [`scripted`]: a call that sipp signals and whose RTP the test sends itself
//! * [`libsrtp`]: SRTP as most others have it, in this process
//! * [`tshark`]: what Wireshark makes of a capture
//! * [`agent`]: WebSocket agents in Python, well-behaved and not
//! * [`documented`]: the agents of `docs/agents`

pub mod agent;
pub mod application;
pub mod baresip;
pub mod conversation;
pub mod dnsmasq;
pub mod documented;
pub mod kamailio;
pub mod libsrtp;
pub mod scripted;
pub mod sipp;
pub mod tshark;
