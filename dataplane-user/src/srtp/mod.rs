//! SRTP and SRTCP (RFC 3711): media that only its two ends can read or change.
//!
//! A leg with SRTP has an [`Srtp`]: [`Inbound`] takes the protection off what arrives, before anything else looks at it;
//! [`Outbound`] puts it on what leaves, after everything else. Both work in the packet's own buffer, allocate nothing, and
//! know neither sockets nor time.
//!
//! From the outside in:
//! - `suite`, `keys`: what the two ends agree on by SDP (RFC 4568): the crypto suite, and a master key for each direction;
//! - `context`: a direction of a leg, with the streams in it; `grace`: what was in force before a change of keys; `two`:
//!   packets of two legs at a time;
//! - `streams`: where each SSRC is in its sequence: rollover counter and replay window;
//! - `refusal`: why a packet was not taken, a closed set;
//! - `packet`: where in a packet what lies;
//! - `transform`: a packet and its place in the sequence, to and from its protected form;
//! - `derive`: the keys of a session from the master key;
//! - `stitched`, `portable`: AES in counter mode and HMAC-SHA1, for the processor at hand; `gcm`: AES in Galois/counter mode.

mod context;
mod derive;
mod gcm;
mod grace;
mod keys;
mod packet;
mod portable;
mod refusal;
#[cfg(target_arch = "x86_64")]
mod stitched;
mod streams;
mod suite;
#[cfg(test)]
mod tests;
mod transform;
mod two;

pub use context::{Begun, Inbound, Outbound, Srtp};
pub use keys::{BadKey, Keying, LONGEST_MKI, Mki, SrtpKeys};
pub use packet::{Kind, MAX_OVERHEAD};
pub use refusal::Refusal;
pub use suite::Suite;
pub use two::{Incoming, Outgoing, finish_two, unprotect_two};
