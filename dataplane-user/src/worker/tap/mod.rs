//! Taps: a call that is under way is listened to, one way, over a WebSocket (Twilio's `<Start><Stream>`).
//!
//! The call does not notice: it stays in its lane, and what is listened to are copies of its packets, which nobody waits for. Taps
//! have a thread of their own, so that a listener that does not read costs no worker anything; what it is not told in time is
//! lost, and when too much waits for it the tap ends.
//!
//! - `track`: one direction of a call;
//! - here: the thread, which works all taps off once a packet time, and what it is told.

mod track;

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use self::track::{Source, Track};
use super::Settings;
use super::clock::Clock;
use crate::agent::{AgentEvent, Listener};
use crate::media_plane::{MirroredFrame, Session, TapId, TapSpec, TrackName};

/// A listener that has not closed its connection after this long is dropped.
const CLOSING: Duration = Duration::from_secs(1);

/// A direction that is to be listened to.
#[derive(Debug)]
pub(crate) struct NewTrack {
    /// Which.
    pub(crate) name: TrackName,
    /// What arrives.
    pub(crate) frames: Receiver<MirroredFrame>,
    /// What was agreed with whoever sends it.
    pub(crate) session: Session,
}

enum Order {
    Begin(TapId, Box<TapSpec>, Vec<NewTrack>),
    SetSession(TapId, TrackName, Box<Session>),
    End(TapId),
}

/// The thread. Dropping it ends every tap.
pub(crate) struct Taps {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Taps {
    /// Starts the thread; it sleeps while nobody listens.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn start(settings: Settings) -> io::Result<Self> {
        let (orders, inbox) = unbounded();
        let thread = std::thread::Builder::new()
            .name("taps".to_owned())
            .spawn(move || Work::new(settings, inbox).run())?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Begins a tap, which connects.
    pub(crate) fn begin(&self, tap: TapId, spec: TapSpec, tracks: Vec<NewTrack>) {
        self.tell(Order::Begin(tap, Box::new(spec), tracks));
    }

    /// Something else was agreed with whoever sends a track.
    pub(crate) fn set_session(&self, tap: TapId, name: TrackName, session: Session) {
        self.tell(Order::SetSession(tap, name, Box::new(session)));
    }

    /// Ends a tap, in good order.
    pub(crate) fn end(&self, tap: TapId) {
        self.tell(Order::End(tap));
    }

    fn tell(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // A thread that has died listens to nothing any more.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Taps {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // One that has died has said why.
            let _ = thread.join();
        }
    }
}

/// One tap.
struct Tap {
    id: TapId,
    url: String,
    listener: Listener,
    tracks: Vec<(TrackName, Track)>,
    /// When it is dropped, if it was told to end.
    closes_by: Option<Duration>,
}

/// The thread's own.
struct Work {
    settings: Settings,
    clock: Clock,
    inbox: Receiver<Order>,
    taps: Vec<Tap>,
}

impl Work {
    fn new(settings: Settings, inbox: Receiver<Order>) -> Self {
        Self {
            settings,
            clock: Clock::start(),
            inbox,
            taps: Vec::new(),
        }
    }

    fn run(mut self) {
        let ptime = Duration::from_millis(self.settings.ptime.into());
        let mut due = self.clock.now();
        loop {
            let order = match self.taps.is_empty() {
                true => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.inbox.recv_timeout(due.saturating_sub(self.clock.now())),
            };
            match order {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = self.clock.now();
            if now.saturating_sub(due) > ptime * 10 {
                // Nobody has listened for a while, or the machine stood still.
                due = now;
            }
            while due <= now {
                self.taps.iter_mut().for_each(|tap| tap.tick(due, self.clock));
                due += ptime;
            }
            self.taps.retain(|tap| !tap.is_done(now));
        }
    }

    fn obey(&mut self, order: Order) {
        let now = self.clock.now();
        match order {
            Order::Begin(id, spec, tracks) => {
                let track = |new: NewTrack| (new.name, Track::new(new.frames, new.session, &self.settings));
                let url = spec.web.url.clone();
                tracing::info!(tap = id.0, url, "a call is listened to");
                self.taps.push(Tap {
                    id,
                    url,
                    listener: Listener::start(&spec, now),
                    tracks: tracks.into_iter().map(track).collect(),
                    closes_by: None,
                });
            }
            Order::SetSession(id, name, session) => {
                let tracks = self.taps.iter_mut().filter(|tap| tap.id == id);
                let tracks = tracks.flat_map(|tap| &mut tap.tracks);
                for (_, track) in tracks.filter(|(of, _)| *of == name) {
                    track.set_session((*session).clone());
                }
            }
            Order::End(id) => {
                let taps = self.taps.iter_mut();
                taps.filter(|tap| tap.id == id).for_each(|tap| tap.stop(now));
            }
        }
    }
}

impl Tap {
    /// A packet time is over.
    fn tick(&mut self, due: Duration, clock: Clock) {
        let now = clock.now();
        let mut open = 0;
        for (name, track) in &mut self.tracks {
            open += usize::from(track.receive(clock) == Source::Open);
            let (audio, presses) = track.hear(due, clock);
            let listener = &mut self.listener;
            if let Some(audio) = audio {
                listener.audio(*name, audio);
            }
            for press in presses {
                listener.digit(*name, &press);
            }
        }
        if open == 0 {
            self.stop(now);
        }
        self.listener.tick(now);
        while let Some(event) = self.listener.poll_event() {
            let (tap, url) = (self.id.0, &self.url);
            match event {
                AgentEvent::Ended => tracing::info!(tap, url, "the listener has closed"),
                AgentEvent::Failed(failure) => tracing::warn!(tap, url, %failure, "a call cannot be listened to"),
                AgentEvent::Ready | AgentEvent::PhoneDone | AgentEvent::Asks(_) => {}
            }
        }
    }

    /// Ends it in good order, once.
    fn stop(&mut self, now: Duration) {
        if self.closes_by.is_none() {
            self.closes_by = Some(now + CLOSING);
            self.listener.stop(now);
        }
    }

    fn is_done(&self, now: Duration) -> bool {
        self.listener.is_done() || self.closes_by.is_some_and(|limit| limit <= now)
    }
}
