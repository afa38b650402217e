//! The client's transaction of any request but INVITE and ACK (RFC 3261 section 17.1.2).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Context, Fate, Path, Timer, Timings};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Trying { interval: Duration },
    Proceeding,
    Completed,
}

/// What a response is to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The final response: the core acts on it.
    Final,
    /// Provisional: nothing to do.
    Provisional,
    /// A repetition.
    Repeated,
}

/// One request of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    state: State,
    path: Path,
    request: Vec<u8>,
    /// Whether it has not been sent a second time for the loss of its connection.
    may_repeat: bool,
}

impl Client {
    /// Sends the request; timers E, where it may be lost, and F run.
    pub fn start(cx: &mut Context<'_>, path: Path, request: Vec<u8>) -> Self {
        let interval = cx.timings.t1;
        cx.send(path, request.clone());
        if !path.transport.is_reliable() {
            cx.arm(Timer::E, interval);
        }
        cx.arm(Timer::F, cx.timings.patience());
        Self {
            state: State::Trying { interval },
            path,
            request,
            may_repeat: true,
        }
    }

    /// A response came.
    pub fn on_response(&mut self, cx: &mut Context<'_>, status: u16) -> Heard {
        match (self.state, status) {
            (State::Trying { .. } | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                Heard::Provisional
            }
            (State::Trying { .. } | State::Proceeding, _) => {
                cx.disarm(Timer::E);
                cx.disarm(Timer::F);
                cx.arm(Timer::K, Timings::linger(self.path.transport, cx.timings.t4));
                self.state = State::Completed;
                self.request = Vec::new();
                Heard::Final
            }
            (State::Completed, _) => Heard::Repeated,
        }
    }

    /// A timer fired.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, timer: Timer) -> Fate {
        match (timer, self.state) {
            (Timer::E, State::Trying { interval }) => {
                let interval = cx.timings.next_interval(interval);
                self.repeat(cx, interval);
                self.state = State::Trying { interval };
                Fate::Lives
            }
            (Timer::E, State::Proceeding) => {
                self.repeat(cx, cx.timings.t2);
                Fate::Lives
            }
            (Timer::F, State::Trying { .. } | State::Proceeding) => Fate::Failed(408),
            (Timer::K, State::Completed) => Fate::Done,
            _ => Fate::Lives,
        }
    }

    /// The address was unreachable.
    pub fn on_unreachable(&self) -> Fate {
        match self.state {
            State::Trying { .. } => Fate::Failed(503),
            State::Proceeding | State::Completed => Fate::Lives,
        }
    }

    /// The connection it was sent on is gone: it is sent once more, on another.
    pub fn on_lost(&mut self, cx: &mut Context<'_>) {
        let unanswered = matches!(self.state, State::Trying { .. } | State::Proceeding);
        if unanswered && std::mem::take(&mut self.may_repeat) {
            self.path.connection = None;
            cx.resend(self.path, self.request.clone());
        }
    }

    fn repeat(&self, cx: &mut Context<'_>, next: Duration) {
        cx.resend(self.path, self.request.clone());
        cx.arm(Timer::E, next);
    }
}
