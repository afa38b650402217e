//! Transactions (RFC 3261 section 17, with the Accepted states of RFC 6026).
//!
//! Four state machines, one file each: [`client_invite`], [`client`], [`server_invite`], [`server`]. Each holds its own
//! copy of what it may have to repeat and is told of messages, timers and errors through a [`Context`], by which it sends
//! and arms timers. What the core must hear of is the return value. [`table`] finds the one a message belongs to; [`hop`] makes
//! the requests that share an INVITE's branch.

pub mod client;
pub mod client_invite;
pub mod hop;
mod index;
pub mod server;
pub mod server_invite;
pub mod table;
pub mod timer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::{Counters, EndpointConfig, Transmit};
use super::outbox::Outbox;
pub use super::path::Path;
use super::path::Transport;
use crate::time::Time;
pub use client::Client;
pub use client_invite::ClientInvite;
pub use hop::Hop;
pub use server::Server;
pub use server_invite::ServerInvite;
pub use table::{Key, Transaction, Transactions};
pub use timer::{Owner, Timer, Timers};

/// Names one transaction while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransactionId(pub u64);

/// The base timers (RFC 3261 section 17.1.1.1).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Timings {
    /// Round-trip estimate.
    pub t1: Duration,
    /// Longest retransmission interval.
    pub t2: Duration,
    /// Longest life of a message in the network.
    pub t4: Duration,
}

impl Timings {
    /// As configured.
    pub fn new(config: &EndpointConfig) -> Self {
        Self {
            t1: config.t1,
            t2: config.t2,
            t4: config.t4,
        }
    }

    /// How long repetitions of the other side are waited for, which a reliable transport does not make: timers D, I, J and
    /// K (RFC 3261 table 4).
    pub fn linger(transport: Transport, unreliable: Duration) -> Duration {
        if transport.is_reliable() {
            Duration::ZERO
        } else {
            unreliable
        }
    }

    /// 64*T1: how long anything is waited for.
    pub fn patience(&self) -> Duration {
        self.t1 * 64
    }

    /// The interval after this one: doubled, at most T2.
    pub fn next_interval(&self, interval: Duration) -> Duration {
        (interval * 2).min(self.t2)
    }
}

/// What a state machine works with: the time, its timers, the way out.
#[derive(Debug)]
pub struct Context<'a> {
    /// Now.
    pub now: Time,
    /// Whose timers are armed.
    pub owner: Owner,
    /// Base timers.
    pub timings: &'a Timings,
    /// All timers.
    pub timers: &'a mut Timers,
    /// Where messages go.
    pub outbox: &'a mut Outbox,
    /// What is counted.
    pub counters: &'a mut Counters,
}

impl Context<'_> {
    /// Sends a message for the first time.
    pub fn send(&mut self, path: Path, data: Vec<u8>) {
        self.outbox.send(Transmit { path, data });
    }

    /// Sends a message again.
    pub fn resend(&mut self, path: Path, data: Vec<u8>) {
        self.counters.retransmissions_sent += 1;
        self.send(path, data);
    }

    /// Arms a timer, or arms it anew.
    pub fn arm(&mut self, timer: Timer, after: Duration) {
        self.timers.arm(self.owner, timer, self.now + after);
    }

    /// Stops a timer.
    pub fn disarm(&mut self, timer: Timer) {
        self.timers.disarm(self.owner, timer);
    }
}

/// What became of a transaction when a timer fired or an address was unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Lives,
    /// It has done its work and is gone.
    Done,
    /// No answer came; it is gone, and the core is to act as on this status: 408 or 503 (RFC 3261 section 8.1.3.1).
    Failed(u16),
}
