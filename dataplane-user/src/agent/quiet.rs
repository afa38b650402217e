//! The built-in agent that says nothing: the leg is kept for whoever is next.

use super::{AgentEvent, Session};

/// See the [module](self). Nobody waits for it: it tells nothing either.
#[derive(Debug)]
pub struct Quiet;

impl Session for Quiet {
    fn poll_event(&mut self) -> Option<AgentEvent> {
        None
    }
}
