//! SIP, sans-IO (RFC 3261).
//!
//! One [`Endpoint`] holds every transaction and dialog of the gateway. It is driven like this:
//!
//! 1. feed it: [`Endpoint::handle_input`] with a datagram, or [`Endpoint::handle_timeout`] when the time it asked for has
//!    come, or one of its commands ([`Endpoint::invite`], [`Endpoint::answer`], …);
//! 2. then call [`Endpoint::poll_output`] until it returns [`Output::Timeout`]: send each [`Output::Transmit`], act on
//!    each [`Output::Event`].
//!
//! It reads no clock, opens no socket and draws no randomness but from the seed it was made with.

pub mod api;

pub use api::*;
