//! The worker threads, and who lives on which.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use mio::Waker;
#[cfg(feature = "ebpf")]
use voxlane_common::next_hop::NextHop;

use super::Settings;
use super::clock::Clock;
use super::command::{Command, NewLeg, NewRelay, Parted, Parting, Released, Removed, ResidentId};
#[cfg(feature = "ebpf")]
use super::command::{Express, Path};
use super::copies::{Copied, Way};
use super::io::{pin_to, usable_cores};
use super::pulse::{Pulse, Watchdog};
use super::relay::Side;
use super::run::Worker;
use super::stats::LegStats;
use crate::agent;
use crate::flows::LegState;
use crate::media_plane::{AgentNotice, MediaEvent, Session, Speech, WorkerHealth, WorkerStatus};

/// How long an answer is waited for before it is asked whether the worker works at all.
const PATIENCE: Duration = Duration::from_millis(100);

/// The worker threads. Dropping it ends them and every call they carry.
pub struct Workers {
    /// Ends before the workers do, who are then not missed.
    watchdog: Option<Watchdog>,
    threads: Vec<Thread>,
    events: Sender<MediaEvent>,
    next_id: AtomicU64,
}

/// One thread, seen from outside.
struct Thread {
    core: Option<usize>,
    commands: Sender<Command>,
    waker: Arc<Waker>,
    pulse: Arc<Pulse>,
    /// Residents it was given and not yet told to remove.
    residents: AtomicUsize,
    join: Option<JoinHandle<()>>,
}

/// One resident of a worker: a leg with its agent, or a relayed pair.
#[derive(Debug)]
pub struct Handle {
    worker: usize,
    id: ResidentId,
    stats: Arc<[LegStats]>,
}

/// Tells one worker of the way to far ends.
#[cfg(feature = "ebpf")]
pub(crate) struct Guide {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

#[cfg(feature = "ebpf")]
impl Guide {
    /// What is known of a way now.
    pub(crate) fn tell(&self, path: Path, hop: NextHop) {
        // One that has ended needs no way.
        if self.commands.send(Command::SetRoute(path, hop)).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

impl Handle {
    /// The number of its worker.
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }

    /// Counters of its legs: one for an agent leg, two for a pair, in the order they were given. They outlive the
    /// resident.
    pub fn stats(&self) -> &Arc<[LegStats]> {
        &self.stats
    }
}

impl Workers {
    /// Starts one thread for each of `cores`, pinned to it; without `cores` one thread, pinned to the last core this
    /// process may use if there is more than one. A thread that cannot be pinned runs unpinned, with a warning.
    ///
    /// `events` should be unbounded: a worker does not wait for its reader.
    ///
    /// # Errors
    /// If the system gives no poll or no thread, or if `cores` is empty.
    pub fn start(
        cores: Option<&[usize]>,
        settings: impl Into<Settings>,
        events: Sender<MediaEvent>,
    ) -> io::Result<Self> {
        let settings = settings.into();
        let cores = match cores {
            Some([]) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "no core to run a worker on",
                ));
            }
            Some(cores) => cores.iter().copied().map(Some).collect(),
            None => vec![last_of_several()?],
        };
        let clock = Clock::start();
        let threads = cores
            .into_iter()
            .enumerate()
            .map(|(index, core)| Thread::start(index, core, settings, clock, events.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let pulses = threads.iter().map(|thread| Arc::clone(&thread.pulse)).collect();
        Ok(Self {
            watchdog: Some(Watchdog::start(pulses, clock)?),
            threads,
            events,
            next_id: AtomicU64::new(0),
        })
    }

    /// The core each thread is pinned to, if it is.
    pub fn cores(&self) -> Vec<Option<usize>> {
        self.threads.iter().map(|thread| thread.core).collect()
    }

    /// How many there are.
    #[cfg(feature = "ebpf")]
    pub(crate) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Gives AF_XDP sockets to each thread, in their order.
    #[cfg(feature = "ebpf")]
    pub(crate) fn use_express(&self, sockets: Vec<Express>) {
        for (number, (thread, express)) in self.threads.iter().zip(sockets).enumerate() {
            thread.tell(Command::UseExpress(number, Box::new(express)));
        }
    }

    /// What tells threads of the way to far ends.
    #[cfg(feature = "ebpf")]
    pub(crate) fn guides(&self) -> Vec<Guide> {
        let guide = |thread: &Thread| Guide {
            commands: thread.commands.clone(),
            waker: Arc::clone(&thread.waker),
        };
        self.threads.iter().map(guide).collect()
    }

    /// How each thread fares.
    pub fn status(&self) -> Vec<WorkerStatus> {
        self.threads.iter().map(Thread::status).collect()
    }

    /// Gives a leg to the least loaded worker, which starts connecting its agent. What the agent needs and takes long to
    /// make is made here, not on the worker.
    pub fn add_leg(&self, leg: NewLeg) -> Handle {
        agent::prepare(&leg.agent);
        self.add(1, |id, stats| Command::AddLeg(id, Box::new(leg), stats))
    }

    /// Tells a leg what was agreed; again when a re-INVITE changed it.
    pub fn set_session(&self, handle: &Handle, session: Session) {
        self.threads[handle.worker].tell(Command::SetSession(handle.id, Box::new(session)));
    }

    /// Gives a pair to the least loaded worker, which relays from then on.
    pub fn add_relay(&self, pair: NewRelay) -> Handle {
        self.add(2, |id, stats| {
            // Known at once, not when the worker has come to it.
            if let (Some([a, b]), [stats_a, stats_b]) = (&pair.states, &*stats) {
                for (stats, here, there) in [(stats_a, a, b), (stats_b, b, a)] {
                    stats.set(here);
                    stats.set_sent(there.rtp.forwarded);
                }
            }
            Command::AddRelay(id, Box::new(pair), stats)
        })
    }

    /// Tells a pair what a re-INVITE has changed.
    pub fn set_relay_sessions(&self, handle: &Handle, sessions: [Session; 2]) {
        self.threads[handle.worker].tell(Command::SetRelaySessions(handle.id, Box::new(sessions)));
    }

    /// Stops a pair from taking packets, and returns what is known of its legs, in their order; packets that arrive wait in
    /// its sockets. `None` if the worker has lost it.
    pub fn hand_over(&self, handle: &Handle) -> Option<[LegState; 2]> {
        self.ask(handle, Command::HandOver)
    }

    /// Lets a pair take packets again that was to be handed over.
    pub fn resume(&self, handle: &Handle) {
        self.threads[handle.worker].tell(Command::Resume(handle.id));
    }

    /// Ends a pair, handed over or not: what waits in its sockets is worked off. Returns what is known of its legs then, and
    /// the sockets.
    pub fn finish(&self, handle: Handle, parting: Parting) -> Option<Parted> {
        let parted = self.ask(&handle, |id, answer| Command::Finish(id, parting, answer));
        self.threads[handle.worker].residents.fetch_sub(1, Relaxed);
        parted
    }

    /// Holds back what the agent of a leg says, or lets it go.
    pub fn set_speech(&self, handle: &Handle, speech: Speech) {
        self.threads[handle.worker].tell(Command::SetSpeech(handle.id, speech));
    }

    /// Tells the agent of a leg what happens to its call.
    pub fn tell(&self, handle: &Handle, notice: AgentNotice) {
        self.threads[handle.worker].tell(Command::Tell(handle.id, Box::new(notice)));
    }

    /// Ends a leg's agent, whose connection is closed in good order after that. Returns what is left of the leg.
    pub fn release(&self, handle: Handle) -> Option<Released> {
        let released = self.ask(&handle, Command::Release);
        self.threads[handle.worker].residents.fetch_sub(1, Relaxed);
        released
    }

    /// Sends copies of the packets of a resident's leg, the first or the second, until nobody receives them.
    pub(crate) fn copy(&self, handle: &Handle, leg: usize, way: Way, into: Sender<Copied>) {
        let side = if leg == 0 { Side::A } else { Side::B };
        self.threads[handle.worker].tell(Command::Copy(handle.id, side, way, into));
    }

    fn ask<A>(&self, handle: &Handle, command: impl FnOnce(ResidentId, Sender<Option<A>>) -> Command) -> Option<A> {
        let (answer, answered) = bounded(1);
        self.threads[handle.worker].tell(command(handle.id, answer));
        self.threads[handle.worker].wait_for(&answered).flatten()
    }

    /// Ends a resident, and returns when its ports are free. An agent's connection is closed in good order after that.
    pub fn remove(&self, handle: Handle) -> Removed {
        let thread = &self.threads[handle.worker];
        let (answer, removed) = bounded(1);
        thread.tell(Command::Remove(handle.id, answer));
        thread.residents.fetch_sub(1, Relaxed);
        thread.wait_for(&removed).unwrap_or_default()
    }

    fn add(&self, legs: usize, command: impl FnOnce(ResidentId, Arc<[LegStats]>) -> Command) -> Handle {
        let id = ResidentId(self.next_id.fetch_add(1, Relaxed));
        let stats: Arc<[LegStats]> = (0..legs).map(|_| LegStats::default()).collect();
        // A worker that died or is stalled gets nothing while another works.
        let load = |worker: &usize| {
            let thread = &self.threads[*worker];
            (thread.health(), thread.residents.load(Relaxed))
        };
        let worker = (0..self.threads.len()).min_by_key(load).unwrap_or_default();
        let thread = &self.threads[worker];
        thread.residents.fetch_add(1, Relaxed);
        let command = command(id, Arc::clone(&stats));
        let orphans = command.orphans();
        if !thread.tell(command) {
            for endpoint in orphans {
                // Without a reader nobody minds.
                let _ = self.events.send(MediaEvent::Lost(endpoint));
            }
        }
        Handle { worker, id, stats }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.watchdog = None;
        for thread in &self.threads {
            thread.tell(Command::Stop);
        }
        for thread in &mut self.threads {
            if thread.join.take().is_some_and(|join| join.join().is_err()) {
                tracing::error!(core = thread.core, "a media worker had panicked");
            }
        }
    }
}

impl Thread {
    fn start(
        index: usize,
        core: Option<usize>,
        settings: Settings,
        clock: Clock,
        events: Sender<MediaEvent>,
    ) -> io::Result<Self> {
        let (commands, inbox) = unbounded();
        let pulse = Arc::new(Pulse::default());
        pulse.beat(clock.now());
        let (started, start) = bounded(1);
        let join = {
            let pulse = Arc::clone(&pulse);
            let thread = std::thread::Builder::new().name(format!("media-{index}"));
            thread.spawn(move || {
                let core = core.filter(|core| pin(*core));
                let (worker, ready) = match Worker::new(settings, clock, inbox, events, pulse) {
                    Ok((worker, waker)) => (Some(worker), Ok((core, waker))),
                    Err(error) => (None, Err(error)),
                };
                // The receiver waits for this one message.
                let _ = started.send(ready);
                if let Some(worker) = worker {
                    worker.run();
                }
            })?
        };
        let (core, waker) = start.recv().map_err(io::Error::other)??;
        Ok(Self {
            core,
            commands,
            waker,
            pulse,
            residents: AtomicUsize::new(0),
            join: Some(join),
        })
    }

    /// Sends a command; whether there is a worker to obey it. Whoever waits for an answer from one that is gone sees the
    /// channel close.
    fn tell(&self, command: Command) -> bool {
        if self.commands.send(command).is_err() {
            return false;
        }
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "could not wake a media worker: it will see the command late");
        }
        true
    }

    /// Waits for an answer. A worker that is gone has let go of everything; one that is stalled is not waited for, or the
    /// other workers' calls would stand still with it: it obeys when it works again.
    fn wait_for<A>(&self, answer: &Receiver<A>) -> Option<A> {
        loop {
            match answer.recv_timeout(PATIENCE) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.pulse.is_stalled() => {
                    tracing::error!(core = self.core, "a stalled media worker does not answer");
                    return None;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn health(&self) -> WorkerHealth {
        match (self.is_dead(), self.pulse.is_stalled()) {
            (true, _) => WorkerHealth::Dead,
            (false, true) => WorkerHealth::Stalled,
            (false, false) => WorkerHealth::Working,
        }
    }

    fn status(&self) -> WorkerStatus {
        WorkerStatus {
            core: self.core,
            health: self.health(),
            residents: self.residents.load(Relaxed),
            load: self.pulse.load(),
            late_ms: self.pulse.lateness().as_secs_f64() * 1000.0,
            given_up: self.pulse.given_up(),
            commands: self.commands.len(),
            express_lost: self.pulse.strays(),
        }
    }

    fn is_dead(&self) -> bool {
        self.join.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

fn pin(core: usize) -> bool {
    match pin_to(core) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(core, %error, "could not pin a media worker to its core");
            false
        }
    }
}

fn last_of_several() -> io::Result<Option<usize>> {
    let cores = usable_cores()?;
    Ok(match cores.as_slice() {
        [] | [_] => None,
        [.., last] => Some(*last),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::super::Sockets;
    use super::*;
    use crate::media_plane::{AgentSpec, EndpointId};

    fn leg(endpoint: u64) -> NewLeg {
        let mut ports = (20_000..60_000)
            .step_by(2)
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        NewLeg {
            endpoint: EndpointId(endpoint),
            sockets: ports.find_map(|rtp| Sockets::bind(rtp, 0).ok()).unwrap(),
            agent: AgentSpec::Echo,
            session: None,
            left: None,
            unheard: None,
        }
    }

    #[test]
    fn a_worker_that_hangs_gets_no_more_and_holds_nobody_up() {
        let (sender, events) = unbounded();
        let core = usable_cores().unwrap()[0];
        let workers = Workers::start(Some(&[core, core]), 20, sender).unwrap();
        let first = workers.add_leg(leg(1));
        assert_eq!(events.recv(), Ok(MediaEvent::AgentReady(EndpointId(1))));
        let (let_go, hangs) = bounded(0);
        workers.threads[first.worker].tell(Command::Hang(hangs));
        let is = |handle: &Handle, health| workers.status()[handle.worker].health == health;
        while !is(&first, WorkerHealth::Stalled) {
            std::thread::yield_now();
        }
        // Fewer calls than the other after the first two of these, and yet none of them.
        for endpoint in 2..6 {
            assert_ne!(workers.add_leg(leg(endpoint)).worker, first.worker);
        }
        // Nobody waits for it.
        let worker = first.worker;
        assert_eq!(workers.remove(first), Removed::default());
        assert_eq!(workers.status()[worker].commands, 1);
        drop(let_go);
        while workers.status()[worker].health != WorkerHealth::Working || workers.status()[worker].commands > 0 {
            std::thread::yield_now();
        }
        assert_eq!(workers.add_leg(leg(7)).worker, worker);
    }

    #[test]
    fn a_worker_that_dies_tells_what_it_carried_and_gets_no_more() {
        let (sender, events) = unbounded();
        let core = usable_cores().unwrap()[0];
        let workers = Workers::start(Some(&[core, core]), 20, sender).unwrap();
        let first = workers.add_leg(leg(1));
        let second = workers.add_leg(leg(2));
        assert_ne!(first.worker, second.worker);
        // Each worker tells for itself: the order is theirs.
        let mut ready = [events.recv().unwrap(), events.recv().unwrap()];
        ready.sort_by_key(|event| *event != MediaEvent::AgentReady(EndpointId(1)));
        assert_eq!(ready, [1, 2].map(|id| MediaEvent::AgentReady(EndpointId(id))));

        assert!(workers.threads[first.worker].tell(Command::Panic));
        assert_eq!(events.recv(), Ok(MediaEvent::Lost(EndpointId(1))));
        while !workers.threads[first.worker].is_dead() {
            std::thread::yield_now();
        }
        let third = workers.add_leg(leg(3));
        assert_eq!(third.worker, second.worker);
        assert_eq!(events.recv(), Ok(MediaEvent::AgentReady(EndpointId(3))));
        assert_eq!(workers.remove(first), Removed::default());

        assert!(workers.threads[second.worker].tell(Command::Panic));
        while !workers.threads[second.worker].is_dead() {
            std::thread::yield_now();
        }
        workers.add_leg(leg(4));
        let lost: Vec<MediaEvent> = events.try_iter().collect();
        assert!(lost.contains(&MediaEvent::Lost(EndpointId(4))), "{lost:?}");
    }
}
