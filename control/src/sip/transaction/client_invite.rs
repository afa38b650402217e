//! The client's INVITE transaction (RFC 3261 section 17.1.1, RFC 6026 section 8.4).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Context, Fate, Hop, Path, Timer, Timings};
use crate::sip::api::Transmit;

/// Most forks whose ACK is kept for repetition.
const MAX_FORKS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Calling { interval: Duration },
    Proceeding,
    Completed,
    Accepted,
}

/// What a response is to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// New: the core acts on it.
    New,
    /// A 2xx of a kind that was there before, or a further fork's: the core repeats or makes its ACK.
    FurtherSuccess,
    /// A repetition that is dealt with.
    Repeated,
}

/// One INVITE of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientInvite {
    state: State,
    /// What ACK and CANCEL copy.
    pub hop: Hop,
    request: Vec<u8>,
    /// The request as it goes over UDP, while it may have to.
    fallback: Option<(Path, Vec<u8>)>,
    /// Whether it has not been sent a second time for the loss of its connection.
    may_repeat: bool,
    /// Whether nobody waits for its end any more.
    abandoned: bool,
    ack: Option<Vec<u8>>,
    success_acks: Vec<(String, Path, Vec<u8>)>,
}

impl ClientInvite {
    /// Sends the INVITE; timers A, where it may be lost, and B run. `fallback` is the same request as it goes over UDP,
    /// which it does if it cannot be sent.
    pub fn start(cx: &mut Context<'_>, hop: Hop, request: Vec<u8>, fallback: Option<(Path, Vec<u8>)>) -> Self {
        let interval = cx.timings.t1;
        cx.send(hop.path, request.clone());
        if !hop.path.transport.is_reliable() {
            cx.arm(Timer::A, interval);
        }
        cx.arm(Timer::B, cx.timings.patience());
        Self {
            fallback,
            may_repeat: true,
            abandoned: false,
            state: State::Calling { interval },
            hop,
            request,
            ack: None,
            success_acks: Vec::new(),
        }
    }

    /// A response came; `to` is its To. A non-2xx final is acknowledged here.
    pub fn on_response(&mut self, cx: &mut Context<'_>, status: u16, to: &str) -> Heard {
        match (self.state, status) {
            (State::Calling { .. } | State::Proceeding, 100..=199) => {
                cx.disarm(Timer::A);
                // Whom nobody waits for may not put its end off.
                if !self.abandoned {
                    cx.disarm(Timer::B);
                }
                self.state = State::Proceeding;
                Heard::New
            }
            (State::Calling { .. } | State::Proceeding, 200..=299) => {
                self.stop_calling(cx);
                cx.arm(Timer::M, cx.timings.patience());
                self.state = State::Accepted;
                self.request = Vec::new();
                Heard::New
            }
            (State::Calling { .. } | State::Proceeding, _) => {
                self.stop_calling(cx);
                let ack = self.hop.request("ACK", to).finish(None);
                cx.send(self.hop.path, ack.clone());
                self.ack = Some(ack);
                self.request = Vec::new();
                cx.arm(
                    Timer::D,
                    Timings::linger(self.hop.path.transport, cx.timings.patience()),
                );
                self.state = State::Completed;
                Heard::New
            }
            (State::Completed, 300..) => {
                if let Some(ack) = &self.ack {
                    cx.resend(self.hop.path, ack.clone());
                }
                Heard::Repeated
            }
            (State::Accepted, 200..=299) => Heard::FurtherSuccess,
            (State::Completed | State::Accepted, _) => Heard::Repeated,
        }
    }

    /// A timer fired.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, timer: Timer) -> Fate {
        match (timer, self.state) {
            (Timer::A, State::Calling { interval }) => {
                cx.resend(self.hop.path, self.request.clone());
                // Timer A doubles without limit; B ends it.
                let interval = interval * 2;
                cx.arm(Timer::A, interval);
                self.state = State::Calling { interval };
                Fate::Lives
            }
            (Timer::B, State::Calling { .. }) => Fate::Failed(408),
            (Timer::B, State::Proceeding) => Fate::Done,
            (Timer::D, State::Completed) | (Timer::M, State::Accepted) => Fate::Done,
            _ => Fate::Lives,
        }
    }

    /// Nobody waits for its end any more: it does not wait for ever either.
    pub fn abandon(&mut self, cx: &mut Context<'_>) {
        self.abandoned = true;
        if self.state == State::Proceeding {
            cx.arm(Timer::B, cx.timings.patience());
        }
    }

    /// The address was unreachable by this transport.
    pub fn on_unreachable(&mut self, cx: &mut Context<'_>) -> Fate {
        match self.state {
            State::Calling { .. } => match self.fallback.take() {
                Some((path, request)) => {
                    self.hop.path = path;
                    self.request = request;
                    cx.send(path, self.request.clone());
                    let interval = cx.timings.t1;
                    cx.arm(Timer::A, interval);
                    self.state = State::Calling { interval };
                    Fate::Lives
                }
                None => Fate::Failed(503),
            },
            State::Proceeding | State::Completed | State::Accepted => Fate::Lives,
        }
    }

    /// The connection it was sent on is gone: it is sent once more, on another; if that one goes as well, the address counts
    /// as unreachable. Once something has answered it, the rest comes to our listener.
    pub fn on_lost(&mut self, cx: &mut Context<'_>) -> Fate {
        if !matches!(self.state, State::Calling { .. }) {
            return Fate::Lives;
        }
        if !std::mem::take(&mut self.may_repeat) {
            return self.on_unreachable(cx);
        }
        self.hop.path.connection = None;
        cx.resend(self.hop.path, self.request.clone());
        Fate::Lives
    }

    /// Whether a provisional response came, so that a CANCEL may be sent (RFC 3261 section 9.1).
    pub fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Keeps the ACK to the 2xx of one fork, to be sent again when the 2xx is.
    pub fn keep_ack(&mut self, remote_tag: &str, transmit: &Transmit) {
        if self.success_acks.len() < MAX_FORKS {
            self.success_acks
                .push((remote_tag.to_owned(), transmit.path, transmit.data.clone()));
        }
    }

    /// Sends the kept ACK of a fork again; false if there is none.
    pub fn repeat_ack(&self, cx: &mut Context<'_>, remote_tag: &str) -> bool {
        let Some((_, path, ack)) = self.success_acks.iter().find(|(tag, _, _)| tag == remote_tag) else {
            return false;
        };
        cx.resend(*path, ack.clone());
        true
    }

    /// Whether another fork's 2xx can be taken care of.
    pub fn has_room_for_fork(&self) -> bool {
        self.success_acks.len() < MAX_FORKS
    }

    fn stop_calling(&self, cx: &mut Context<'_>) {
        cx.disarm(Timer::A);
        cx.disarm(Timer::B);
    }
}
