//! The server's INVITE transaction (RFC 3261 section 17.2.1, RFC 6026 section 8.5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Context, Fate, Path, Timer, Timings};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Proceeding,
    Accepted,
    Completed { interval: Duration },
    Confirmed,
}

/// What an ACK with the INVITE's branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// The ACK to our non-2xx final: dealt with.
    Taken,
    /// It came before.
    Repeated,
    /// It acknowledges a 2xx (its sender reused the branch): the core's.
    Core,
    /// Nothing has been answered that it could acknowledge.
    Stray,
}

/// One INVITE of theirs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerInvite {
    state: State,
    path: Path,
    last: Vec<u8>,
}

impl ServerInvite {
    /// The INVITE came; responses go along this path.
    pub fn new(path: Path) -> Self {
        Self {
            state: State::Proceeding,
            path,
            last: Vec::new(),
        }
    }

    /// The core answers. Nothing is sent if a final response was sent before.
    pub fn respond(&mut self, cx: &mut Context<'_>, status: u16, response: Vec<u8>) {
        match (self.state, status) {
            (State::Proceeding, 100..=199) => {
                cx.send(self.path, response.clone());
                self.last = response;
            }
            (State::Proceeding, 200..=299) => {
                cx.send(self.path, response);
                cx.arm(Timer::L, cx.timings.patience());
                self.last = Vec::new();
                self.state = State::Accepted;
            }
            (State::Proceeding, _) => {
                cx.send(self.path, response.clone());
                self.last = response;
                if !self.path.transport.is_reliable() {
                    cx.arm(Timer::G, cx.timings.t1);
                }
                cx.arm(Timer::H, cx.timings.patience());
                self.state = State::Completed {
                    interval: cx.timings.t1,
                };
            }
            (State::Accepted | State::Completed { .. } | State::Confirmed, _) => {}
        }
    }

    /// The INVITE came again.
    pub fn on_repeated(&self, cx: &mut Context<'_>) {
        match self.state {
            State::Proceeding | State::Completed { .. } if !self.last.is_empty() => {
                cx.resend(self.path, self.last.clone());
            }
            State::Proceeding | State::Completed { .. } => {}
            // The core repeats its 2xx by its own timer.
            State::Accepted | State::Confirmed => {}
        }
    }

    /// An ACK with the INVITE's branch came.
    pub fn on_ack(&mut self, cx: &mut Context<'_>) -> Acked {
        match self.state {
            State::Completed { .. } => {
                cx.disarm(Timer::G);
                cx.disarm(Timer::H);
                cx.arm(Timer::I, Timings::linger(self.path.transport, cx.timings.t4));
                self.last = Vec::new();
                self.state = State::Confirmed;
                Acked::Taken
            }
            State::Confirmed => Acked::Repeated,
            State::Accepted => Acked::Core,
            State::Proceeding => Acked::Stray,
        }
    }

    /// A timer fired.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, timer: Timer) -> Fate {
        match (timer, self.state) {
            (Timer::G, State::Completed { interval }) => {
                let interval = cx.timings.next_interval(interval);
                cx.resend(self.path, self.last.clone());
                cx.arm(Timer::G, interval);
                self.state = State::Completed { interval };
                Fate::Lives
            }
            // No ACK to a refusal: there is no dialog left that would care.
            (Timer::H, State::Completed { .. }) => Fate::Done,
            (Timer::I, State::Confirmed) | (Timer::L, State::Accepted) => Fate::Done,
            _ => Fate::Lives,
        }
    }

    /// Whether no final response has been sent.
    pub fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }
}
