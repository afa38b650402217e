//! The loop of one worker.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::Settings;
use super::bridge::{Bridge, Coder, TICK_MS};
use super::clock::Clock;
use super::command::{Command, NewLeg, NewRelay, Parted, Parting, Released, Removed, ResidentId};
use super::delivery::Delivery;
use super::inlet::Inlet;
use super::io::{LONGEST_QUEUE, Received, receive_from};
use super::leg::{AgentLeg, Voice};
use super::opening::{Opening, Place};
use super::ports::{Kind, Ports};
use super::pulse::{IDLE, Pulse};
use super::relay::{RelayPair, Side};
use super::resident::Resident;
use super::stats::LegStats;
use super::token::{COMMAND, Source, receiver, receiver_of};
use super::wheel::Wheel;
use super::wire::Wire;
use crate::cache::Nearness;
use crate::lane;
use crate::media_plane::{AgentFailure, EndpointId, MediaEvent, Recording, Session};
use crate::srtp::MAX_OVERHEAD;

/// Most descriptors that one look at the poll reports; the rest are reported by the next.
const EVENTS: usize = 1024;

/// Most datagrams taken from one socket before the others have their turn: a flood on one port must not delay the
/// frames of everybody else.
const BURST: usize = 64;

/// How often what can wait is looked after.
const TIDY: Duration = Duration::from_secs(1);

/// The sockets of a pair; a leg has those of side A.
const PORTS: [(Side, Kind); 4] = [
    (Side::A, Kind::Rtp),
    (Side::A, Kind::Rtcp),
    (Side::B, Kind::Rtp),
    (Side::B, Kind::Rtcp),
];

/// Longer than the longest UDP payload there is, 65,507 bytes, by what SRTP may add.
const DATAGRAM: usize = 65_535;

/// Least time between two looks at what has arrived. A worker that is woken by every packet spends more time on waking than
/// on packets; one that lets a few come together adds this to their delay at most, a fortieth of a packet time.
const GATHERING: Duration = Duration::from_micros(500);

const _: () = assert!(DATAGRAM >= 65_507 + MAX_OVERHEAD);

/// A worker, before and while it runs.
pub(super) struct Worker {
    poll: Poll,
    inbox: Receiver<Command>,
    events: Sender<MediaEvent>,
    clock: Clock,
    settings: Settings,
    wheel: Wheel,
    /// The grid of bridges, and of what is sent to legs whose packet time is another than the agents'.
    ticks: Wheel,
    coder: Coder,
    residents: Slab<Resident>,
    keys: HashMap<ResidentId, usize>,
    /// Descriptors that have been reported and not been emptied yet. The poll reports each change once.
    ready: Vec<Token>,
    datagram: Box<[u8]>,
    inlet: Inlet,
    opening: Opening,
    wire: Wire,
    /// When what can wait was looked after last.
    tidied: Duration,
    /// Residents of the slot in hand.
    due: Vec<usize>,
    /// Those whose ticks are due, and the numbers of the ticks.
    ticking: Vec<(usize, u64)>,
    /// Frames given up that the log knows of.
    given_up: u64,
    pulse: Arc<Pulse>,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl Worker {
    /// A worker that takes its commands from `inbox`, and what wakes it when there is one. To be made on its own thread.
    pub(super) fn new(
        settings: Settings,
        clock: Clock,
        inbox: Receiver<Command>,
        events: Sender<MediaEvent>,
        pulse: Arc<Pulse>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), COMMAND)?);
        let worker = Self {
            poll,
            inbox,
            events,
            clock,
            settings,
            wheel: Wheel::new(settings.ptime),
            ticks: Wheel::new(TICK_MS),
            coder: Coder::new(),
            residents: Slab::new(),
            keys: HashMap::new(),
            ready: Vec::with_capacity(EVENTS),
            datagram: vec![0; DATAGRAM].into_boxed_slice(),
            inlet: Inlet::default(),
            opening: Opening::new(),
            wire: Wire::new(),
            tidied: Duration::ZERO,
            due: Vec::new(),
            ticking: Vec::new(),
            given_up: 0,
            pulse,
        };
        Ok((worker, waker))
    }

    /// Works until told to stop.
    pub(super) fn run(mut self) {
        let mut reported = Events::with_capacity(EVENTS);
        let mut looked = Duration::ZERO;
        loop {
            self.pulse.beat(self.clock.now());
            self.gather(looked);
            self.wait(&mut reported);
            let began = self.clock.now();
            looked = began;
            self.pulse.beat(began);
            if self.obey() == Next::Stop {
                return;
            }
            self.take_early();
            self.receive();
            self.send_due();
            self.wire.flush();
            self.tidy(began);
            self.pulse.worked(began, self.clock.now());
        }
    }

    /// When the next frame is due, if one is to be.
    fn next_due(&self) -> Option<Duration> {
        let next = [&self.wheel, &self.ticks].map(Wheel::next_due);
        next.into_iter().flatten().min()
    }

    /// Lets packets come together since the last look, if there is nothing to do meanwhile.
    fn gather(&self, looked: Duration) {
        let now = self.clock.now();
        let until = self
            .next_due()
            .map_or(looked + GATHERING, |due| due.min(looked + GATHERING));
        if self.ready.is_empty() && until > now {
            std::thread::sleep(until - now);
        }
    }

    /// Waits until a descriptor is ready or a frame is due.
    fn wait(&mut self, reported: &mut Events) {
        let timeout = if self.ready.is_empty() {
            let now = self.clock.now();
            self.next_due().map_or(IDLE, |due| due.saturating_sub(now).min(IDLE))
        } else {
            Duration::ZERO
        };
        if let Err(error) = self.poll.poll(reported, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "a media worker cannot poll its sockets");
        }
        let tokens = reported.iter().map(mio::event::Event::token);
        self.ready.extend(tokens.filter(|token| *token != COMMAND));
    }

    /// Takes the commands that wait.
    fn obey(&mut self) -> Next {
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::AddLeg(id, leg, stats) => self.add_leg(id, *leg, stats),
                Command::SetSession(id, session) => {
                    let now = self.clock.now();
                    if let Some(key) = self.keys.get(&id).copied()
                        && let Some(Resident::Leg(leg)) = self.residents.get_mut(key)
                    {
                        leg.set_session(*session, &mut self.ticks, key, now);
                    }
                }
                Command::SetSpeech(id, speech) => {
                    if let Some(Resident::Leg(leg)) = self.resident(id) {
                        leg.set_speech(speech);
                    }
                }
                Command::Tell(id, notice) => {
                    if let Some(Resident::Leg(leg)) = self.resident(id) {
                        leg.on_notice(&notice);
                    }
                }
                Command::AddRelay(id, pair, stats) => {
                    self.add_pair(id, *pair, stats);
                }
                Command::SetRelaySessions(id, sessions) => self.set_relay_sessions(id, *sessions),
                Command::Copy(id, side, way, into) => {
                    if let Some(ports) = self.resident(id).and_then(|resident| resident.ports(side)) {
                        ports.copy_to(way, into);
                    }
                }
                Command::HandOver(id, answer) => {
                    self.work_off(id);
                    // Whoever asked may be gone.
                    let now = self.clock.now();
                    let states = self.resident(id).and_then(|pair| pair.pause(now));
                    self.wire.flush();
                    let _ = answer.send(states);
                }
                Command::Resume(id) => {
                    if let Some(pair) = self.resident(id) {
                        pair.resume();
                    }
                    self.work_off(id);
                }
                Command::Finish(id, parting, answer) => {
                    if let Some(pair) = self.resident(id) {
                        pair.end_pause();
                    }
                    self.work_off(id);
                    // Whoever asked may be gone.
                    let _ = answer.send(self.part(id, parting));
                }
                Command::Release(id, answer) => {
                    // What has come past the stack is the leg's; what waits in its sockets is whoever's takes them.
                    for place in 0..self.inlet.receivers() {
                        self.empty(receiver(place));
                    }
                    // Whoever asked may be gone.
                    let _ = answer.send(self.release(id));
                }
                Command::Remove(id, answer) => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.remove(id));
                }
                Command::UseExpress(worker, express) => {
                    match self.inlet.open(express.receivers, self.poll.registry()) {
                        Ok(()) => self.wire.set_senders(worker, express.senders, express.asks),
                        Err(error) => tracing::error!(%error, "a media worker cannot watch its AF_XDP sockets"),
                    }
                }
                Command::SetRoute(path, hop) => self.wire.set_route(path, hop),
                Command::Stop => return Next::Stop,
                #[cfg(test)]
                Command::Hang(release) => {
                    // Until the test lets go.
                    let _ = release.recv();
                }
                #[cfg(test)]
                Command::Panic => panic!("told to"),
            }
        }
        Next::Go
    }

    fn admit(&mut self, id: ResidentId, mut resident: Resident) {
        let key = self.residents.vacant_key();
        if let Err(error) = resident.register(self.poll.registry(), key) {
            tracing::error!(%error, "could not watch the sockets of a call");
            self.lose(resident.endpoints());
        }
        resident.settle(self.poll.registry(), key);
        for (side, kind) in PORTS {
            if let Some(local) = resident.local(side, kind) {
                self.inlet.add(local, Source::Port(side, kind).token(key));
            }
        }
        self.residents.insert(resident);
        // As many ticks as a worker ever makes up for at once.
        self.ticking.clear();
        self.ticking.reserve(Wheel::most_due(self.residents.len()));
        self.keys.insert(id, key);
    }

    fn add_leg(&mut self, id: ResidentId, leg: NewLeg, stats: Arc<[LegStats]>) {
        let endpoint = leg.endpoint;
        let ports = match Ports::new(leg.sockets, &self.wire) {
            Ok(ports) => ports,
            Err(error) => {
                let failure = AgentFailure::Lost(format!("the leg's sockets: {error}"));
                // Without a reader nobody minds.
                let _ = self.events.send(MediaEvent::AgentFailed(endpoint, failure));
                return;
            }
        };
        let now = self.clock.now();
        let voice = Voice::start(endpoint, leg.agent, &self.settings, self.events.clone(), now);
        let key = self.residents.vacant_key();
        let slot = self.wheel.insert(key, now);
        let mut resident = AgentLeg::new(ports, &self.settings, voice, slot, stats, self.clock);
        if let Some(left) = leg.left {
            resident.take_up(left);
        }
        if let Some(unheard) = leg.unheard {
            resident.take_up_unheard(*unheard);
        }
        if let Some(session) = leg.session {
            resident.set_session(session, &mut self.ticks, key, now);
        }
        self.admit(id, Resident::Leg(Box::new(resident)));
    }

    /// Takes a pair in: one whose legs agree is relayed, one whose legs differ is bridged.
    fn add_pair(&mut self, id: ResidentId, pair: NewRelay, stats: Arc<[LegStats]>) {
        let endpoints = pair.legs.each_ref().map(|leg| leg.endpoint);
        let [a, b] = &pair.legs;
        let (events, clock, now) = (self.events.clone(), self.clock, self.clock.now());
        let made = match lane::difference(&a.session, &b.session) {
            None => RelayPair::new(pair, stats, clock, events, &self.wire).map(|pair| Resident::Relay(Box::new(pair))),
            Some(_) => {
                let key = self.residents.vacant_key();
                let slot = self.ticks.insert(key, now);
                let made = Bridge::new(pair, stats, clock, events, slot, now, &self.wire);
                if made.is_err() {
                    self.ticks.remove(slot, key);
                }
                made.map(|pair| Resident::Bridge(Box::new(pair)))
            }
        };
        match made {
            Ok(pair) => self.admit(id, pair),
            Err(error) => {
                tracing::error!(?endpoints, %error, "could not take over a relayed pair");
                self.lose(endpoints);
            }
        }
    }

    /// Tells a pair what was agreed. Where that makes a relayed one of a bridged one, or the other way round, that goes on
    /// from where this one was.
    fn set_relay_sessions(&mut self, id: ResidentId, sessions: [Session; 2]) {
        let now = self.clock.now();
        let [a, b] = &sessions;
        match (self.resident(id), lane::difference(a, b)) {
            (Some(Resident::Relay(pair)), None) => pair.set_sessions(sessions),
            (Some(Resident::Bridge(pair)), Some(_)) => pair.set_sessions(sessions),
            (Some(Resident::Relay(_) | Resident::Bridge(_)), _) => {
                self.work_off(id);
                let registry = self.poll.registry();
                let (mut pair, stats) = match take(&mut self.keys, &mut self.residents, &mut self.ticks, id) {
                    Some(Resident::Relay(pair)) => pair.dismantle(registry),
                    Some(Resident::Bridge(pair)) => pair.dismantle(registry, now),
                    Some(Resident::Leg(_) | Resident::Closing(_)) | None => return,
                };
                for (leg, session) in pair.legs.iter_mut().zip(sessions) {
                    leg.session = session;
                }
                self.add_pair(id, pair, stats);
            }
            (Some(Resident::Leg(_) | Resident::Closing(_)) | None, _) => {}
        }
    }

    /// Tells that nobody carries these endpoints.
    fn lose(&self, endpoints: impl IntoIterator<Item = EndpointId>) {
        for endpoint in endpoints {
            // Without a reader nobody minds.
            let _ = self.events.send(MediaEvent::Lost(endpoint));
        }
    }

    fn resident(&mut self, id: ResidentId) -> Option<&mut Resident> {
        self.residents.get_mut(*self.keys.get(&id)?)
    }

    /// Takes all that waits in the sockets of a pair, now: the poll tells of each change once, and may have told before.
    fn work_off(&mut self, id: ResidentId) {
        let Some(key) = self.keys.get(&id).copied() else {
            return;
        };
        let past_the_stack = (0..self.inlet.receivers()).map(receiver);
        let ports = PORTS.map(|(side, kind)| Source::Port(side, kind).token(key));
        past_the_stack.chain(ports).for_each(|token| self.empty(token));
    }

    /// Takes all that waits in one descriptor, as much as it holds at most.
    fn empty(&mut self, token: Token) {
        let mut turns = 0..LONGEST_QUEUE / BURST;
        let emptied = turns.any(|_| !self.receive_from(token));
        self.opening.finish(&mut self.residents, self.clock);
        if !emptied {
            // A flood must not keep the others waiting.
            self.ready.push(token);
        }
    }

    /// Ends a pair; what is known of its legs, and their sockets.
    fn part(&mut self, id: ResidentId, parting: Parting) -> Option<Parted> {
        match self.resident(id)? {
            Resident::Relay(_) | Resident::Bridge(_) => {
                let pair = take(&mut self.keys, &mut self.residents, &mut self.ticks, id)?;
                pair.part(parting, self.poll.registry(), self.clock.now())
            }
            Resident::Leg(_) | Resident::Closing(_) => None,
        }
    }

    /// Ends the agent of a leg; what is left of the leg.
    fn release(&mut self, id: ResidentId) -> Option<Released> {
        let (key, leg) = self.take_leg(id)?;
        let left = leg.left();
        let leg = leg.hang_up(self.clock.now());
        let sockets = leg.ports.into_sockets(self.poll.registry());
        self.close(key, leg.voice, leg.slot);
        Some(Released {
            left,
            sockets,
            unheard: leg.unheard,
        })
    }

    fn remove(&mut self, id: ResidentId) -> Removed {
        let Some((key, mut leg)) = self.take_leg(id) else {
            return Removed::default();
        };
        leg.leave(self.clock.now());
        self.wire.flush();
        // Dropping the sockets frees the ports and takes them out of the poll.
        let leg = leg.hang_up(self.clock.now());
        drop(leg.ports);
        Removed {
            recording: self.close(key, leg.voice, leg.slot),
        }
    }

    /// Takes a resident out; what it was, if it was a leg.
    fn take_leg(&mut self, id: ResidentId) -> Option<(usize, AgentLeg)> {
        let key = self.keys.remove(&id)?;
        match self.residents.try_remove(key)? {
            Resident::Leg(mut leg) => {
                leg.leave_ticks(&mut self.ticks, key);
                Some((key, *leg))
            }
            Resident::Relay(_) | Resident::Bridge(_) | Resident::Closing(_) => None,
        }
    }

    /// Lets an agent whose leg was taken from `key` just now close its connection; what it recorded, if it is done.
    fn close(&mut self, key: usize, voice: Voice, slot: usize) -> Option<Recording> {
        if voice.is_done(self.clock.now()) {
            self.wheel.remove(slot, key);
            return voice.into_recording();
        }
        // The slab hands out the key that was vacated last, so the agent keeps its tokens and its place on the grid.
        let kept = self.residents.insert(Resident::Closing(Box::new(voice)));
        debug_assert_eq!(kept, key, "the slab reuses the last vacated key first");
        None
    }

    /// Takes what has arrived.
    fn receive(&mut self) {
        let mut place = 0;
        while let Some(token) = self.ready.get(place) {
            if self.receive_from(*token) {
                place += 1;
            } else {
                self.ready.swap_remove(place);
            }
        }
        self.opening.finish(&mut self.residents, self.clock);
    }

    /// Takes at most [`BURST`] datagrams from one descriptor; whether there may be more.
    fn receive_from(&mut self, token: Token) -> bool {
        if let Some(place) = receiver_of(token) {
            return self.receive_frames(place);
        }
        let (key, source) = Source::of(token);
        let (side, kind) = match source {
            Source::Port(side, kind) => (side, kind),
            Source::Agent => {
                // The resident may have left since.
                if let Some(resident) = self.residents.get_mut(key) {
                    resident.on_agent(self.clock.now());
                    resident.settle(self.poll.registry(), key);
                }
                return false;
            }
        };
        for _ in 0..BURST {
            let resident = self.residents.get(key);
            let Some(socket) = resident.and_then(|resident| resident.socket(side, kind)) else {
                return false;
            };
            match receive_from(socket, &mut self.datagram) {
                Received::Datagram(length, from) => {
                    let at = Place { key, side, kind };
                    let packet = (&mut self.datagram[..], length);
                    self.opening.take(&mut self.residents, at, packet, from, self.clock);
                }
                Received::Nothing => return false,
                Received::Error => {}
            }
        }
        true
    }

    /// Takes at most [`BURST`] frames from one AF_XDP socket; whether there may be more.
    fn receive_frames(&mut self, place: usize) -> bool {
        let Self {
            inlet,
            opening,
            residents,
            clock,
            ..
        } = self;
        let now = clock.now();
        let mut delivery = Delivery {
            opening,
            residents,
            clock: *clock,
        };
        inlet.receive(place, BURST, now, &mut delivery)
    }

    /// Takes what came for legs that were not known then.
    fn take_early(&mut self) {
        let Self {
            inlet,
            opening,
            residents,
            clock,
            ..
        } = self;
        let now = clock.now();
        let mut delivery = Delivery {
            opening,
            residents,
            clock: *clock,
        };
        inlet.offer_early(now, &mut delivery);
        opening.finish(residents, *clock);
    }

    /// Looks after what can wait.
    fn tidy(&mut self, now: Duration) {
        if now.saturating_sub(self.tidied) >= TIDY {
            self.tidied = now;
            self.wire.forget_unused();
            self.pulse.set_strays(self.inlet.lost());
        }
    }

    /// Works off the ticks that are due, all together: what there is to code fills more vectors.
    fn send_ticks(&mut self) {
        let now = self.clock.now();
        self.ticking.clear();
        while let Some(due) = self.ticks.take_due(now) {
            let keys = self.ticks.slot(due.slot).iter();
            self.ticking.extend(keys.map(|key| (*key, due.frame)));
        }
        if self.ticking.is_empty() {
            return;
        }
        self.coder.run(&self.ticking, &mut self.residents);
        let now = self.clock.now();
        // One that is late catches up by itself.
        for (place, (key, tick)) in self.ticking.iter().enumerate() {
            for (ahead, nearness) in [(2, Nearness::Near), (1, Nearness::Next)] {
                let next = self.ticking.get(place + ahead);
                if let Some(resident) = next.and_then(|(key, _)| self.residents.get(*key)) {
                    resident.expect_tick(nearness);
                }
            }
            if let Some(resident) = self.residents.get_mut(*key) {
                resident.on_tick(*tick, now);
            }
        }
    }

    /// Works off the frames that are due.
    fn send_due(&mut self) {
        self.send_ticks();
        while let Some(due) = self.wheel.take_due(self.clock.now()) {
            self.pulse.frame(self.wheel.time_of(due), self.clock.now());
            self.due.clear();
            self.due.extend_from_slice(self.wheel.slot(due.slot));
            for place in 0..self.due.len() {
                let key = self.due[place];
                let Some(resident) = self.residents.get_mut(key) else {
                    continue;
                };
                let now = self.clock.now();
                resident.on_due(due.frame, now);
                resident.settle(self.poll.registry(), key);
                if resident.is_done(now) {
                    self.wheel.remove(due.slot, key);
                    self.residents.remove(key);
                }
            }
        }
        let given_up = self.wheel.given_up();
        if given_up > self.given_up {
            tracing::warn!(
                frames = given_up - self.given_up,
                "a media worker is late: frames were not sent"
            );
            self.given_up = given_up;
            self.pulse.set_given_up(given_up);
        }
    }
}

/// Takes a pair out, and off the grid.
fn take(
    keys: &mut HashMap<ResidentId, usize>,
    residents: &mut Slab<Resident>,
    ticks: &mut Wheel,
    id: ResidentId,
) -> Option<Resident> {
    let key = keys.remove(&id)?;
    let resident = residents.try_remove(key)?;
    if let Resident::Bridge(pair) = &resident {
        ticks.remove(pair.slot(), key);
    }
    Some(resident)
}

impl Drop for Worker {
    /// A worker that dies of a fault tells what it carried, so that no call stays up in silence.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (_, resident) in &self.residents {
                self.lose(resident.endpoints());
            }
            for command in self.inbox.try_iter() {
                self.lose(command.orphans());
            }
        }
    }
}
