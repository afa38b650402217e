//! How much that cannot be understood an agent may send.

use std::sync::Arc;

use tracing::warn;

use super::tally::AgentTally;
use crate::media_plane::AgentFailure;

/// Counts what cannot be understood, tells of the first in the log, and ends with a failure.
#[derive(Debug)]
pub struct Patience {
    /// Whose stream it is, as logs name it.
    stream: String,
    limit: u64,
    malformed: u64,
    /// Of all calls of the agent.
    tally: Arc<AgentTally>,
}

impl Patience {
    /// That endures so many messages.
    pub fn new(stream: String, limit: u64, tally: Arc<AgentTally>) -> Self {
        Self {
            stream,
            limit,
            malformed: 0,
            tally,
        }
    }

    /// A message could not be understood.
    ///
    /// # Errors
    /// It was one too many.
    pub fn misunderstood(&mut self) -> Result<(), AgentFailure> {
        self.malformed += 1;
        self.tally.misunderstood();
        if self.malformed == 1 {
            warn!(
                stream = self.stream,
                "the agent has sent a message that cannot be understood; there may be more"
            );
        }
        match self.malformed > self.limit {
            true => Err(AgentFailure::Malformed(self.malformed)),
            false => Ok(()),
        }
    }

    /// The session has failed, which is counted if a message was too long for it.
    pub fn failed(&self, failure: &AgentFailure) {
        if matches!(failure, AgentFailure::Oversized(_)) {
            self.tally.too_long();
        }
    }

    /// Whose stream it is.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// How many messages could not be understood.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}
