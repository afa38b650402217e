//! The built-in agent that sends back what it hears.

use std::time::Duration;

use super::{AgentEvent, Session};
use crate::playout::Playout;

/// Most audio that may wait to be sent back: 200 ms. More would gather if the caller's clock runs faster than ours.
const LIMIT: usize = 1600;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Echo {
    told_ready: bool,
}

impl Session for Echo {
    fn on_audio(&mut self, ulaw: &[u8], playout: &mut Playout, _now: Duration) {
        if playout.queued() < LIMIT {
            playout.push(ulaw);
        }
    }

    fn poll_event(&mut self) -> Option<AgentEvent> {
        (!std::mem::replace(&mut self.told_ready, true)).then_some(AgentEvent::Ready)
    }
}
