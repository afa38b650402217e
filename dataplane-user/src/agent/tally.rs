//! What an agent has sent that is of no use, over all its calls.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by the sessions of one agent, which add to it, and whoever reports it. Sessions add only when something is wrong.
#[derive(Debug, Default)]
pub struct AgentTally {
    malformed: AtomicU64,
    oversized: AtomicU64,
}

impl AgentTally {
    /// A message could not be understood.
    pub(super) fn misunderstood(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// A message was longer than may be.
    pub(super) fn too_long(&self) {
        self.oversized.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that could not be understood.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Messages that were longer than may be.
    pub fn oversized(&self) -> u64 {
        self.oversized.load(Ordering::Relaxed)
    }
}
