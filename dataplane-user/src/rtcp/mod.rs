//! RTCP (RFC 3550 section 6), as far as a relay reads it: who reported when, and how long it took to come back.

mod reports;
mod round_trip;

pub use reports::{Block, Report, reports};
pub use round_trip::RoundTrip;
