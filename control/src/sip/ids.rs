//! Names the core makes up: tags, branches, Call-IDs. Hard to guess for whoever does not see our messages.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::syntax::via::MAGIC_COOKIE;

/// The source of such names.
#[derive(Debug)]
pub struct Ids(StdRng);

impl Ids {
    /// A source that gives the same names for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A tag: 64 random bits (RFC 3261 section 19.3 asks for 32).
    pub fn tag(&mut self) -> String {
        format!("{:016x}", self.0.random::<u64>())
    }

    /// A branch.
    pub fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{:016x}", self.0.random::<u64>())
    }

    /// A Call-ID.
    pub fn call_id(&mut self) -> String {
        format!("{:032x}", self.0.random::<u128>())
    }

    /// A client's nonce (RFC 7616 section 3.4).
    pub fn cnonce(&mut self) -> String {
        format!("{:016x}", self.0.random::<u64>())
    }

    /// What makes nonces of the same time differ.
    pub fn salt(&mut self) -> u16 {
        self.0.random()
    }

    /// A key that is worth no more than the seed.
    pub fn key(&mut self) -> [u8; 32] {
        self.0.random()
    }

    /// A number that spreads what would happen at once.
    pub fn chance(&mut self) -> u32 {
        self.0.random()
    }

    /// Seconds for a Retry-After, 0-10 (RFC 3261 section 14.2).
    pub fn retry_after(&mut self) -> u8 {
        self.0.random_range(0..=10)
    }

    /// First RSeq of an INVITE: 1 to 2^31-1 (RFC 3262 section 3), with room to count.
    pub fn rseq(&mut self) -> u32 {
        self.0.random_range(1..1 << 30)
    }

    /// How long a re-INVITE waits that met one of the other side's (RFC 3261 section 14.1): whoever made the Call-ID waits
    /// longer.
    pub fn glare(&mut self, made_call_id: bool) -> Duration {
        let units = match made_call_id {
            true => self.0.random_range(210..=400),
            false => self.0.random_range(0..=200),
        };
        Duration::from_millis(units * 10)
    }

    /// First CSeq of a dialog we start: less than 2^31, with room to count (RFC 3261 section 8.1.1.5).
    pub fn cseq(&mut self) -> u32 {
        self.0.random_range(1..1 << 16)
    }
}
