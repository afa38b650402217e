//! RTCP (RFC 3550 section 6), as it is read: who reported what and when, and how long it took to come back.

mod reports;
mod round_trip;

/// RTP clock of every codec there is, Hz (G.722 has it by an old mistake: RFC 3551 section 4.5.2).
pub(crate) const CLOCK_RATE: u64 = 8000;

pub use reports::{Block, Report, reports};
pub use round_trip::RoundTrip;
