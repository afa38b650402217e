//! The loop of one worker.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::clock::Clock;
use super::command::{Command, Removed, ResidentId};
use super::io::{Received, receive_from};
use super::relay::RelayPair;
use super::resident::Resident;
use super::token::{COMMAND, Source};
use super::wheel::Wheel;
use crate::media_plane::MediaEvent;

/// Most descriptors that one look at the poll reports; the rest are reported by the next.
const EVENTS: usize = 1024;

/// Most datagrams taken from one socket before the others have their turn: a flood on one port must not delay the
/// frames of everybody else.
const BURST: usize = 64;

/// Longest UDP payload there is.
const DATAGRAM: usize = 65_535;

/// A worker, before and while it runs.
pub(super) struct Worker {
    poll: Poll,
    inbox: Receiver<Command>,
    events: Sender<MediaEvent>,
    clock: Clock,
    wheel: Wheel,
    residents: Slab<Resident>,
    keys: HashMap<ResidentId, usize>,
    /// Descriptors that have been reported and not been emptied yet. The poll reports each change once.
    ready: Vec<Token>,
    datagram: Box<[u8]>,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl Worker {
    /// A worker that takes its commands from `inbox`, and what wakes it when there is one.
    pub(super) fn new(
        ptime: u8,
        clock: Clock,
        inbox: Receiver<Command>,
        events: Sender<MediaEvent>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), COMMAND)?);
        let worker = Self {
            poll,
            inbox,
            events,
            clock,
            wheel: Wheel::new(ptime),
            residents: Slab::new(),
            keys: HashMap::new(),
            ready: Vec::with_capacity(EVENTS),
            datagram: vec![0; DATAGRAM].into_boxed_slice(),
        };
        Ok((worker, waker))
    }

    /// Works until told to stop.
    pub(super) fn run(mut self) {
        let mut reported = Events::with_capacity(EVENTS);
        loop {
            self.wait(&mut reported);
            if self.obey() == Next::Stop {
                return;
            }
            self.receive();
        }
    }

    /// Waits until a descriptor is ready or a frame is due.
    fn wait(&mut self, reported: &mut Events) {
        let timeout = if self.ready.is_empty() {
            let now = self.clock.now();
            self.wheel.next_due().map(|due| due.saturating_sub(now))
        } else {
            Some(std::time::Duration::ZERO)
        };
        if let Err(error) = self.poll.poll(reported, timeout)
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
                Command::AddRelay(id, pair, stats) => {
                    let endpoints = pair.legs.each_ref().map(|leg| leg.endpoint);
                    match RelayPair::new(*pair, stats) {
                        Ok(pair) => self.admit(id, Resident::Relay(Box::new(pair))),
                        Err(error) => tracing::error!(?endpoints, %error, "could not take over a relayed pair"),
                    }
                }
                Command::SetRelaySessions(id, sessions) => {
                    if let Some(Resident::Relay(pair)) = self.resident(id) {
                        pair.set_sessions(*sessions);
                    }
                }
                Command::Remove(id, answer) => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.remove(id));
                }
                Command::Stop => return Next::Stop,
            }
        }
        Next::Go
    }

    fn admit(&mut self, id: ResidentId, mut resident: Resident) {
        let key = self.residents.vacant_key();
        if let Err(error) = resident.register(self.poll.registry(), key) {
            tracing::error!(%error, "could not watch the sockets of a call");
        }
        self.residents.insert(resident);
        self.keys.insert(id, key);
    }

    fn resident(&mut self, id: ResidentId) -> Option<&mut Resident> {
        self.residents.get_mut(*self.keys.get(&id)?)
    }

    fn remove(&mut self, id: ResidentId) -> Removed {
        let Some(key) = self.keys.remove(&id) else {
            return Removed::default();
        };
        // Dropping the sockets takes them out of the poll.
        drop(self.residents.remove(key));
        Removed::default()
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
    }

    /// Takes at most [`BURST`] datagrams from one descriptor; whether there may be more.
    fn receive_from(&mut self, token: Token) -> bool {
        let (key, source) = Source::of(token);
        // The resident may have left since.
        let Some(resident) = self.residents.get_mut(key) else {
            return false;
        };
        let Source::Port(side, kind) = source;
        for _ in 0..BURST {
            let Some(socket) = resident.socket(side, kind) else {
                return false;
            };
            match receive_from(socket, &mut self.datagram) {
                Received::Datagram(length, from) => {
                    let now = self.clock.now();
                    resident.on_datagram(side, kind, &mut self.datagram[..length], from, now);
                }
                Received::Nothing => return false,
                Received::Error => {}
            }
        }
        true
    }
}
