//! Telephone events (RFC 4733): keys pressed and keys heard.
//!
//! - [`Receiver`]: from event packets to one [`Press`] for each time a key was held;
//! - [`Sender`]: from keys to event packets, one a packet time.

mod receiver;
mod sender;

use std::time::Duration;

pub use receiver::Receiver;
pub use sender::{EventPacket, Sender};

/// The keys, by event code (RFC 4733 section 3.2).
const KEYS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

/// A key that was held for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// `0`-`9`, `*`, `#`, `A`-`D`.
    pub digit: char,
    /// How long.
    pub duration: Duration,
}

/// Not one of `0`-`9`, `*`, `#`, `A`-`D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key: 0-9 * # A-D")]
pub struct NotAKey(pub char);

/// Whether this is a key.
pub fn is_key(digit: char) -> bool {
    KEYS.contains(&digit)
}

/// The event code of a key.
fn code(digit: char) -> Result<u8, NotAKey> {
    KEYS.iter()
        .position(|key| *key == digit)
        .map(|code| code as u8)
        .ok_or(NotAKey(digit))
}

/// The key of an event code; `None` for events that are no keys (16 is hook flash).
fn key(code: u8) -> Option<char> {
    KEYS.get(usize::from(code)).copied()
}
