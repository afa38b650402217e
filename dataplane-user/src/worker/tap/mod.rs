//! Taps: a call that is under way is listened to, one way, over a WebSocket (Twilio's `<Start><Stream>`).
//!
//! The call does not notice: it stays in its lane, and what is listened to are copies of its packets, which nobody waits for. Taps
//! have a thread of their own, so that a listener that does not read costs no worker anything; what it is not told in time is
//! lost, and when too much waits for it the tap ends.
//!
//! - `track`: one direction of a call, whoever carries it;
//! - here: the thread, which works all taps off once a packet time, and what it is told.

mod track;

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use self::track::Track;
pub(crate) use self::track::{Packets, Source};
use super::Settings;
use super::clock::Clock;
use crate::agent::{AgentEvent, Listener};
use crate::media_plane::{EndpointId, MediaEvent, TapEvent, TapId, TapSpec, TrackName};

/// A listener that has not closed its connection after this long is dropped.
const CLOSING: Duration = Duration::from_secs(1);

enum Order {
    Begin(TapId, EndpointId, Box<TapSpec>),
    SetSource(TapId, TrackName, Option<Box<Source>>),
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
    pub(crate) fn start(settings: Settings, events: Sender<MediaEvent>) -> io::Result<Self> {
        let (orders, inbox) = unbounded();
        let thread = std::thread::Builder::new()
            .name("taps".to_owned())
            .spawn(move || Work::new(settings, inbox, events).run())?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Begins a tap of a call that is listened to at an endpoint. It connects; its tracks are empty.
    pub(crate) fn begin(&self, tap: TapId, endpoint: EndpointId, spec: TapSpec) {
        self.tell(Order::Begin(tap, endpoint, Box::new(spec)));
    }

    /// Somebody else carries a track from now on, or nobody.
    pub(crate) fn set_source(&self, tap: TapId, name: TrackName, source: Option<Source>) {
        self.tell(Order::SetSource(tap, name, source.map(Box::new)));
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
    endpoint: EndpointId,
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
    events: Sender<MediaEvent>,
    taps: Vec<Tap>,
}

impl Work {
    fn new(settings: Settings, inbox: Receiver<Order>, events: Sender<MediaEvent>) -> Self {
        Self {
            settings,
            clock: Clock::start(),
            inbox,
            events,
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
                let taps = self.taps.iter_mut();
                taps.for_each(|tap| tap.tick(due, self.clock, &self.events));
                due += ptime;
            }
            self.taps.retain(|tap| !tap.is_done(now));
        }
    }

    fn obey(&mut self, order: Order) {
        let now = self.clock.now();
        match order {
            Order::Begin(id, endpoint, spec) => {
                let tracks = spec.tracks.iter();
                self.taps.push(Tap {
                    id,
                    endpoint,
                    listener: Listener::start(&spec, now),
                    tracks: tracks.map(|name| (*name, Track::new(&self.settings))).collect(),
                    closes_by: None,
                });
            }
            Order::SetSource(id, name, source) => {
                let tracks = self.taps.iter_mut().filter(|tap| tap.id == id);
                let mut tracks = tracks.flat_map(|tap| &mut tap.tracks);
                if let Some((_, track)) = tracks.find(|(of, _)| *of == name) {
                    track.set_source(source.map(|source| *source), self.clock);
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
    fn tick(&mut self, due: Duration, clock: Clock, events: &Sender<MediaEvent>) {
        let now = clock.now();
        for (name, track) in &mut self.tracks {
            track.receive(clock);
            let (audio, presses) = track.hear(due, clock);
            let listener = &mut self.listener;
            if let Some(audio) = audio {
                listener.audio(*name, audio);
            }
            for press in presses {
                listener.digit(*name, &press);
            }
        }
        self.listener.tick(now);
        while let Some(event) = self.listener.poll_event() {
            let event = match event {
                AgentEvent::Ready => TapEvent::Started,
                AgentEvent::Ended => TapEvent::Closed,
                AgentEvent::Failed(failure) => TapEvent::Failed(failure),
                AgentEvent::PhoneDone | AgentEvent::Asks(_) => continue,
            };
            // Without a reader nobody minds.
            let _ = events.send(MediaEvent::Tap(self.endpoint, self.id, event));
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
