//! What is counted of connections.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Why a connection did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many as there may be.
    Limit,
    /// Its source has as many as one may have.
    SourceLimit,
    /// TLS was not agreed on.
    Handshake,
    /// Nobody took ours.
    Unreachable,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The other side closed it.
    Theirs,
    /// It broke.
    Failed,
    /// Nothing went over it for long.
    Idle,
    /// A message did not arrive whole in time.
    Slow,
    /// The other side did not read what we sent.
    NotRead,
    /// What arrived was no SIP, or without end.
    Malformed,
    /// A keep-alive was not answered.
    NoPong,
    /// There is no more use for it.
    Ours,
}

impl Refused {
    const ALL: [Self; 4] = [Self::Limit, Self::SourceLimit, Self::Handshake, Self::Unreachable];

    /// In metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::SourceLimit => "source_limit",
            Self::Handshake => "handshake",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Closed {
    const ALL: [Self; 8] = [
        Self::Theirs,
        Self::Failed,
        Self::Idle,
        Self::Slow,
        Self::NotRead,
        Self::Malformed,
        Self::NoPong,
        Self::Ours,
    ];

    /// In metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Theirs => "theirs",
            Self::Failed => "failed",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::NotRead => "not_read",
            Self::Malformed => "malformed",
            Self::NoPong => "no_pong",
            Self::Ours => "ours",
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    opened: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    closed: [AtomicU64; Closed::ALL.len()],
}

impl Counters {
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused(&self, why: Refused) {
        if let Some(counter) = self.refused.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn closed(&self, why: Closed) {
        if let Some(counter) = self.closed.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn report(&self, open: Vec<(String, u64)>) -> ConnectionCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConnectionCounts {
            open,
            accepted: read(&self.accepted),
            opened: read(&self.opened),
            refused: Refused::ALL
                .into_iter()
                .zip(&self.refused)
                .map(|(why, counter)| (why.name().to_owned(), read(counter)))
                .collect(),
            closed: Closed::ALL
                .into_iter()
                .zip(&self.closed)
                .map(|(why, counter)| (why.name().to_owned(), read(counter)))
                .collect(),
        }
    }
}

/// Connections, counted; since start, but for those that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// Open now, by transport.
    pub open: Vec<(String, u64)>,
    /// Accepted.
    pub accepted: u64,
    /// Opened by us.
    pub opened: u64,
    /// That did not come about, by why.
    pub refused: Vec<(String, u64)>,
    /// That ended, by why.
    pub closed: Vec<(String, u64)>,
}
