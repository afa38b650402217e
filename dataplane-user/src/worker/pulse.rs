//! Whether a worker lives: what it says of itself at every turn of its loop, and what is made of that by a thread that
//! looks.
//!
//! A worker beats at least every [`IDLE`]. One whose last beat is older than [`STALLED`] is stalled: it hangs in a system
//! call, or has lost its core. Looked at every [`LOOK`], that is noticed within a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::clock::Clock;

/// Longest that a worker waits for something to do.
pub(super) const IDLE: Duration = Duration::from_millis(200);

/// A worker that has not beaten for this long is stalled.
const STALLED: Duration = Duration::from_millis(700);

/// How often workers are looked at.
const LOOK: Duration = Duration::from_millis(150);

/// Over how long load and lateness are measured.
const WINDOW: Duration = Duration::from_secs(1);

/// What a worker says of itself. It is the only writer of the first five.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// The last turn of the loop, ns on the workers' clock.
    beat: AtomicU64,
    /// Time spent working, ns.
    busy: AtomicU64,
    /// Frames given up.
    given_up: AtomicU64,
    /// Frames lost on the way past the network stack.
    strays: AtomicU64,
    /// Greatest lateness of a frame since the last window began, ns; taken back to 0 by whoever looks.
    late: AtomicU64,
    /// Written by whoever looks.
    stalled: AtomicBool,
    /// Share of time spent working, 1/1000, in the last window.
    load: AtomicU64,
    /// Greatest lateness in the last window, ns.
    latest: AtomicU64,
}

impl Pulse {
    /// A turn of the loop begins.
    pub(super) fn beat(&self, now: Duration) {
        self.beat.store(nanos(now), Relaxed);
    }

    /// A turn that began at `since` ends.
    pub(super) fn worked(&self, since: Duration, now: Duration) {
        // One writer: no read-modify-write is needed.
        let busy = self.busy.load(Relaxed) + nanos(now.saturating_sub(since));
        self.busy.store(busy, Relaxed);
        self.beat.store(nanos(now), Relaxed);
    }

    /// A frame that was due at `due` is worked off.
    pub(super) fn frame(&self, due: Duration, now: Duration) {
        self.late.fetch_max(nanos(now.saturating_sub(due)), Relaxed);
    }

    /// So many frames were given up so far.
    pub(super) fn set_given_up(&self, frames: u64) {
        self.given_up.store(frames, Relaxed);
    }

    /// So many frames were lost on the way past the network stack so far.
    pub(super) fn set_strays(&self, frames: u64) {
        self.strays.store(frames, Relaxed);
    }

    /// Frames lost on the way past the network stack.
    pub(super) fn strays(&self) -> u64 {
        self.strays.load(Relaxed)
    }

    /// Whether the worker is stalled.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }

    /// Share of time spent working, 0 to 1.
    pub(super) fn load(&self) -> f64 {
        self.load.load(Relaxed) as f64 / 1000.0
    }

    /// Greatest lateness of a frame within the last second or so.
    pub(super) fn lateness(&self) -> Duration {
        Duration::from_nanos(self.latest.load(Relaxed).max(self.late.load(Relaxed)))
    }

    /// Frames given up.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up.load(Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What has changed of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It has not beaten for this long.
    Stalled(Duration),
    /// It beats again.
    Recovered,
}

/// Looks at one worker.
#[derive(Debug, Default)]
struct Watch {
    window_began: Duration,
    busy_then: u64,
}

impl Watch {
    /// Looks at `now`, on the workers' clock.
    fn look(&mut self, pulse: &Pulse, now: Duration) -> Option<Change> {
        let quiet = now.saturating_sub(Duration::from_nanos(pulse.beat.load(Relaxed)));
        let is_stalled = quiet > STALLED;
        let was_stalled = pulse.stalled.swap(is_stalled, Relaxed);
        let lasted = now.saturating_sub(self.window_began);
        if lasted >= WINDOW {
            let busy = pulse.busy.load(Relaxed);
            let share = if is_stalled {
                1000
            } else {
                (busy - self.busy_then) * 1000 / nanos(lasted).max(1)
            };
            pulse.load.store(share.min(1000), Relaxed);
            pulse.latest.store(pulse.late.swap(0, Relaxed), Relaxed);
            (self.window_began, self.busy_then) = (now, busy);
        }
        match (was_stalled, is_stalled) {
            (false, true) => Some(Change::Stalled(quiet)),
            (true, false) => Some(Change::Recovered),
            (true, true) | (false, false) => None,
        }
    }
}

/// The thread that looks. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Watchdog {
    stop: Option<Sender<()>>,
    join: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Looks at these workers from now on.
    pub(super) fn start(pulses: Vec<Arc<Pulse>>, clock: Clock) -> std::io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let join = std::thread::Builder::new()
            .name("media-watch".to_owned())
            .spawn(move || watch(&pulses, clock, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            join: Some(join),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(join) = self.join.take() {
            // It has nothing to say.
            let _ = join.join();
        }
    }
}

fn watch(pulses: &[Arc<Pulse>], clock: Clock, stopped: &Receiver<()>) {
    let mut watches: Vec<Watch> = pulses.iter().map(|_| Watch::default()).collect();
    while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let now = clock.now();
        for (worker, (pulse, watch)) in pulses.iter().zip(&mut watches).enumerate() {
            match watch.look(pulse, now) {
                Some(Change::Stalled(quiet)) => tracing::error!(
                    worker,
                    quiet_ms = quiet.as_millis(),
                    "a media worker is stalled: its calls have no media, and it gets no new ones"
                ),
                Some(Change::Recovered) => tracing::warn!(worker, "a media worker that was stalled works again"),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_worker_that_stops_beating_is_noticed_within_a_second_and_so_is_its_return() {
        let (pulse, mut watch) = (Pulse::default(), Watch::default());
        let mut now = Duration::ZERO;
        for _ in 0..100 {
            now += LOOK;
            pulse.beat(now - 10 * MS);
            assert_eq!(watch.look(&pulse, now), None);
        }
        let last = now;
        let noticed = loop {
            now += LOOK;
            if let Some(change) = watch.look(&pulse, now) {
                break change;
            }
        };
        assert!(now - last < Duration::from_secs(1), "{:?}", now - last);
        assert!(matches!(noticed, Change::Stalled(quiet) if quiet > STALLED) && pulse.is_stalled());
        assert_eq!(watch.look(&pulse, now + LOOK), None);
        pulse.beat(now + 2 * LOOK);
        assert_eq!(watch.look(&pulse, now + 2 * LOOK), Some(Change::Recovered));
        assert!(!pulse.is_stalled());
    }

    #[test]
    fn load_and_lateness_are_those_of_the_last_second() {
        let (pulse, mut watch) = (Pulse::default(), Watch::default());
        let mut now = Duration::ZERO;
        for turn in 0..1000u32 {
            pulse.frame(now, now + MS * (turn % 7));
            pulse.worked(now, now + 5 * MS);
            now += 20 * MS;
            watch.look(&pulse, now);
        }
        assert!((pulse.load() - 0.25).abs() < 0.01, "{}", pulse.load());
        assert_eq!(pulse.lateness(), 6 * MS);
        for _ in 0..120 {
            now += 20 * MS;
            pulse.beat(now);
            watch.look(&pulse, now);
        }
        assert_eq!((pulse.load(), pulse.lateness()), (0.0, Duration::ZERO));
    }
}
