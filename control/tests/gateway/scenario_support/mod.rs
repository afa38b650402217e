//! The gateway's core between simulated user agents that do what comes to their minds, over a network that loses, repeats
//! and reorders, on virtual time. Everything is drawn from one seed: the same seed is the same story.
//!
//! [`people`] is who calls, is called and answers for an agent, and what they do. Here is the world they live in.

pub mod people;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use voxlane::call::CallId;
use voxlane::config::model::Config;
use voxlane::gateway::core::{Core, Effects};
use voxlane::sip::digest::{Auth, Entrance, Logins, NonceKey};
use voxlane::sip::{
    DialogId, Endpoint, EndpointConfig, Event, Extension, Input, Listen, Output, Policies, Policy, Transmit, Transport,
};
use voxlane::time::Time;

use crate::core_support::Books;
use people::{Deed, Person};

pub const GATEWAY: ([u8; 4], u16) = ([203, 0, 113, 50], 5060);

/// How the network treats datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Chance that one is lost.
    pub loss: f64,
    /// Chance that one arrives twice.
    pub duplication: f64,
    /// Shortest and longest way, milliseconds: apart from each other, they reorder.
    pub delay: (u64, u64),
}

/// A datagram on its way.
#[derive(Clone, Debug)]
struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    data: Vec<u8>,
}

/// See the [module](self).
pub struct World {
    pub now: Time,
    pub random: StdRng,
    pub core: Core,
    pub books: Arc<Books>,
    pub people: BTreeMap<SocketAddr, Person>,
    /// First lines of what was sent, when and by whom: what a failure is read by.
    pub story: VecDeque<String>,
    /// Datagrams that the gateway has sent.
    pub sent: u64,
    /// Names of all calls that were seen alive.
    pub begun: BTreeSet<String>,
    network: Network,
    flying: BTreeMap<(Time, u64), Flight>,
    deeds: BTreeMap<(Time, u64), Deed>,
    /// Makes those that happen at the same time happen in the order they were planned.
    planned: u64,
    /// Whether anybody puts anybody on hold.
    pub holds: bool,
    /// Agents that were attached and have been given something to do.
    pub agents: usize,
    /// Calls that the operator had placed.
    pub placed: Vec<CallId>,
    /// Dialogs of the caller that are to take the place of others, until they are answered.
    pub replacing: BTreeSet<DialogId>,
    /// How many have.
    pub replaced: u64,
}

/// Lines of a story that are kept.
const STORY: usize = 4000;

/// The trunk that everybody belongs to, as user agents see it.
pub const TRUNK: &str = "everybody";

/// A user agent's core with the usual timers, which knows reliable provisional responses.
pub fn endpoint(seed: u64) -> Endpoint {
    let everybody = Entrance {
        trunk: TRUNK.into(),
        networks: vec!["0.0.0.0/0".parse().unwrap()],
        auth: Auth::Ip,
        login: None,
    };
    let policy = Policy {
        reliable: Extension::Supported,
        ..Policy::default()
    };
    Endpoint::new(EndpointConfig {
        user_agent: "somebody".into(),
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
        invite_timeout: Duration::from_secs(300),
        listen: Vec::new(),
        seed,
    })
    .with_trunks(NonceKey::new([3; 32]), vec![everybody], Logins::new())
    .with_policies(Policies::from([(TRUNK.to_owned(), policy)]))
}

impl World {
    /// A world in which nobody has called yet.
    pub fn new(seed: u64, network: Network, config: &Arc<Config>) -> Self {
        let books = Arc::new(Books::default());
        let listen = Listen {
            transport: Transport::Udp,
            address: GATEWAY.into(),
        };
        Self {
            now: Time::from_micros(1),
            random: StdRng::seed_from_u64(seed),
            core: Core::new(
                Arc::clone(config),
                books.clone(),
                vec![listen],
                Box::new(|_, _| Ok(GATEWAY.into())),
                seed,
            ),
            books,
            people: BTreeMap::new(),
            story: VecDeque::new(),
            sent: 0,
            begun: BTreeSet::new(),
            network,
            flying: BTreeMap::new(),
            deeds: BTreeMap::new(),
            planned: 0,
            holds: seed.is_multiple_of(2),
            agents: 0,
            placed: Vec::new(),
            replacing: BTreeSet::new(),
            replaced: 0,
        }
    }

    /// Has something done after a while.
    pub fn plan(&mut self, after: Duration, deed: Deed) {
        self.planned += 1;
        self.deeds.insert((self.now + after, self.planned), deed);
    }

    /// A while of up to so many milliseconds.
    pub fn while_of(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.random_range(0..=most))
    }

    /// True with this chance.
    pub fn chance(&mut self, chance: f64) -> bool {
        self.random.random_bool(chance)
    }

    pub fn tell(&mut self, line: String) {
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        let seconds = self.now.as_micros() as f64 / 1e6;
        self.story.push_back(format!("{seconds:11.6} {line}"));
    }

    fn launch(&mut self, from: SocketAddr, transmit: Transmit) {
        let Transmit { path, data } = transmit;
        let text = String::from_utf8_lossy(&data);
        let line = text.lines().next().unwrap_or_default().to_owned();
        let header = |name: &str| {
            text.lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default()
                .to_owned()
        };
        let (cseq, call) = (header("CSeq: "), header("Call-ID: "));
        let copies = match () {
            () if self.random.random_bool(self.network.loss) => 0,
            () if self.random.random_bool(self.network.duplication) => 2,
            () => 1,
        };
        let fate = ["lost", "", "twice"][copies];
        self.tell(format!("{from} -> {}: {line} | {cseq} | {call} {fate}", path.remote));
        for _ in 0..copies {
            let (least, most) = self.network.delay;
            let delay = Duration::from_millis(self.random.random_range(least..=most));
            self.planned += 1;
            let flight = Flight {
                from,
                to: path.remote,
                data: data.clone(),
            };
            self.flying.insert((self.now + delay, self.planned), flight);
        }
    }

    /// Takes everything out of everybody until nobody has anything more to say.
    fn drain(&mut self) {
        loop {
            let mut quiet = self.gateway_speaks();
            let names: Vec<SocketAddr> = self.people.keys().copied().collect();
            for name in names {
                while let Some(person) = self.people.get_mut(&name) {
                    match person.endpoint.poll_output() {
                        Output::Transmit(transmit) if person.alive => self.launch(name, transmit),
                        Output::Transmit(_) => {}
                        Output::Event(event) => {
                            quiet = false;
                            self.tell(format!("{name} hears {}", word(&event)));
                            people::hear(self, name, event);
                        }
                        Output::Timeout(_) => break,
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Whether the gateway had nothing to say that others have to do something about.
    fn gateway_speaks(&mut self) -> bool {
        let Effects {
            transmits,
            lookups,
            places,
            requests,
            ..
        } = self.core.take_effects();
        let quiet = lookups.is_empty() && places.is_empty() && requests.is_empty();
        if !transmits.is_empty() {
            let active = self.core.calls_report().active;
            self.begun.extend(active.into_iter().map(|call| call.id));
        }
        for transmit in transmits {
            self.sent += 1;
            self.launch(GATEWAY.into(), transmit);
        }
        for (call, host) in lookups {
            people::look_up(self, call, &host);
        }
        for (asker, place) in places {
            people::locate(self, asker, &place);
        }
        for (id, request) in requests {
            people::browse(self, id, &request);
        }
        people::attend(self);
        quiet
    }

    fn next(&mut self) -> Option<Time> {
        let flying = self.flying.keys().next().map(|(at, _)| *at);
        let deed = self.deeds.keys().next().map(|(at, _)| *at);
        let wake = self.core.take_effects().wake;
        let people = self
            .people
            .values_mut()
            .filter_map(|person| match person.endpoint.poll_output() {
                Output::Timeout(at) => at,
                Output::Transmit(_) | Output::Event(_) => panic!("somebody still has something to say"),
            });
        people.chain(flying).chain(deed).chain(wake).min()
    }

    /// Moves to the next thing that happens, and lets it happen; false if nothing will before `end`.
    fn step(&mut self, end: Time) -> bool {
        self.drain();
        let Some(next) = self.next().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some((&(at, number), _)) = self.flying.first_key_value()
            && at <= self.now
        {
            if let Some(flight) = self.flying.remove(&(at, number)) {
                self.land(flight);
            }
        }
        while let Some((&(at, number), _)) = self.deeds.first_key_value()
            && at <= self.now
        {
            if let Some(deed) = self.deeds.remove(&(at, number)) {
                people::act(self, deed);
                self.drain();
            }
        }
        self.core.timeout(self.now);
        let now = self.now;
        for person in self.people.values_mut() {
            person.endpoint.handle_timeout(now);
        }
        self.drain();
        true
    }

    fn land(&mut self, flight: Flight) {
        let Flight { from, to, data } = flight;
        let input = Input::Datagram {
            local: to,
            remote: from,
            data: &data,
        };
        let now = self.now;
        if to == GATEWAY.into() {
            self.core.input(now, input);
        } else if let Some(person) = self.people.get_mut(&to) {
            match person.alive {
                true => person.endpoint.handle_input(now, input),
                // Its host may still be there, and say that nobody listens.
                false if person.refuses => self.core.input(
                    now,
                    Input::Returned {
                        remote: to,
                        datagram: &data,
                    },
                ),
                false => {}
            }
        }
        self.drain();
    }

    /// Runs for a while.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        while self.step(end) {
            steps += 1;
            assert!(steps < 200_000, "the world does not come to rest");
        }
        self.now = end;
    }
}

/// What an event is, in a word or two.
fn word(event: &Event) -> String {
    let text = format!("{event:?}");
    text.chars().take(60).collect()
}
