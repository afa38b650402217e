//! The server's transaction of any request but INVITE and ACK (RFC 3261 section 17.2.2).
//!
//! The core answers most such requests at once, and none provisionally (RFC 4320).

use serde::{Deserialize, Serialize};

use super::{Context, Fate, Path, Timer, Timings};

/// One request of theirs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    path: Path,
    /// The final response, once there is one.
    response: Option<Vec<u8>>,
}

impl Server {
    /// The request came; its response goes along this path.
    pub fn new(path: Path) -> Self {
        Self { path, response: None }
    }

    /// The request came and is answered at once.
    pub fn start(cx: &mut Context<'_>, path: Path, response: Vec<u8>) -> Self {
        let mut server = Self::new(path);
        server.respond(cx, response);
        server
    }

    /// Sends the final response, if none was sent before; timer J runs.
    pub fn respond(&mut self, cx: &mut Context<'_>, response: Vec<u8>) {
        if self.response.is_none() {
            cx.send(self.path, response.clone());
            cx.arm(Timer::J, Timings::linger(self.path.transport, cx.timings.patience()));
            self.response = Some(response);
        }
    }

    /// The request came again.
    pub fn on_repeated(&self, cx: &mut Context<'_>) {
        if let Some(response) = &self.response {
            cx.resend(self.path, response.clone());
        }
    }

    /// A timer fired.
    pub fn on_timer(&self, timer: Timer) -> Fate {
        match timer {
            Timer::J => Fate::Done,
            _ => Fate::Lives,
        }
    }
}
