//! A worker that is run by hand (feature `stages`): one turn of its loop at a time, on the caller's thread and by simulated
//! time. What it does for a packet is then the same every time, and can be counted.
//!
//! The sockets are real, and nothing waits for anything: what is sent on loopback has arrived when `send` returns.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use mio::{Events, Waker};

use super::Settings;
use super::clock::Clock;
use super::command::{Command, NewLeg, NewRelay, ResidentId};
use super::pulse::Pulse;
use super::run::Worker;
use super::stats::LegStats;
use crate::agent;
use crate::media_plane::MediaEvent;

/// More descriptors than a count has.
const EVENTS: usize = 64;

thread_local! {
    /// What the clock of this thread's worker says, if it is simulated.
    static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
    /// Whether the regression is planted.
    static PLANTED: Cell<bool> = const { Cell::new(false) };
}

/// What a worker must not have: something that is locked for each packet.
static PACKETS: Mutex<u64> = Mutex::new(0);

/// What [`Clock::now`] is to say on this thread.
pub(super) fn simulated_time() -> Option<Duration> {
    NOW.get()
}

/// Takes a lock if that is planted; called for each packet from a socket.
pub(super) fn planted() {
    if PLANTED.get() {
        *PACKETS.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
}

/// Lets the worker of this thread take a lock for each packet from now on: a regression that a count must show.
pub fn plant_lock() {
    PLANTED.set(true);
}

/// See the [module](self). There is one at a time on a thread.
pub struct Stages {
    worker: Worker,
    inbox: Sender<Command>,
    /// Nobody sleeps: it is kept for the poll, which knows it.
    _waker: Arc<Waker>,
    reported: Events,
    residents: u64,
    now: Duration,
}

impl Stages {
    /// A worker at the beginning of its time, which stands still but for [`Self::pass`].
    ///
    /// # Errors
    /// If the system gives no poll.
    pub fn start(settings: impl Into<Settings>, events: Sender<MediaEvent>) -> io::Result<Self> {
        let now = Duration::ZERO;
        NOW.set(Some(now));
        let (inbox, commands) = unbounded();
        let (settings, pulse) = (settings.into(), Arc::new(Pulse::default()));
        let (worker, waker) = Worker::new(settings, Clock::start(), commands, events, pulse)?;
        Ok(Self {
            worker,
            inbox,
            _waker: waker,
            reported: Events::with_capacity(EVENTS),
            residents: 0,
            now,
        })
    }

    /// Adds a leg with its agent; its counters.
    pub fn add_leg(&mut self, leg: NewLeg) -> Arc<[LegStats]> {
        agent::prepare(&leg.agent);
        self.add(1, |id, stats| Command::AddLeg(id, Box::new(leg), stats))
    }

    /// Adds a pair; the counters of its legs.
    pub fn add_relay(&mut self, pair: NewRelay) -> Arc<[LegStats]> {
        self.add(2, |id, stats| Command::AddRelay(id, Box::new(pair), stats))
    }

    fn add(&mut self, legs: usize, command: impl FnOnce(ResidentId, Arc<[LegStats]>) -> Command) -> Arc<[LegStats]> {
        let stats: Arc<[LegStats]> = (0..legs).map(|_| LegStats::default()).collect();
        self.residents += 1;
        // The worker, who has the other end, is here.
        let _ = self.inbox.send(command(ResidentId(self.residents), Arc::clone(&stats)));
        self.turn();
        stats
    }

    /// Time goes by.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        NOW.set(Some(self.now));
    }

    /// The worker takes what has come and works off what is due.
    pub fn turn(&mut self) {
        self.worker.look(&mut self.reported, Duration::ZERO);
        self.worker.turn(self.now);
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        NOW.set(None);
    }
}
