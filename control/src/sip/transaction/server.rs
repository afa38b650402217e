//! The server's transaction of any request but INVITE and ACK (RFC 3261 section 17.2.2).
//!
//! The core answers such requests at once and never provisionally (RFC 4320), so the transaction is born Completed.

use serde::{Deserialize, Serialize};

use super::{Context, Fate, Path, Timer, Timings};

/// One request of theirs, answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    path: Path,
    response: Vec<u8>,
}

impl Server {
    /// Sends the final response; timer J runs.
    pub fn start(cx: &mut Context<'_>, path: Path, response: Vec<u8>) -> Self {
        cx.send(path, response.clone());
        cx.arm(Timer::J, Timings::linger(path.transport, cx.timings.patience()));
        Self { path, response }
    }

    /// The request came again.
    pub fn on_repeated(&self, cx: &mut Context<'_>) {
        cx.resend(self.path, self.response.clone());
    }

    /// A timer fired.
    pub fn on_timer(&self, timer: Timer) -> Fate {
        match timer {
            Timer::J => Fate::Done,
            _ => Fate::Lives,
        }
    }
}
