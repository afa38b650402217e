//! Nobody yet: an agent whose address is still looked for. What is said meanwhile is kept for it, since this one is never
//! ready.

use super::{AgentEvent, Session};

/// See the [module](self).
pub struct Awaited;

impl Session for Awaited {
    fn poll_event(&mut self) -> Option<AgentEvent> {
        None
    }
}
