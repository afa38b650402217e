//! A pair of endpoints on virtual time with a network between them that loses, duplicates, delays and reorders.
//! [`wire`] is one endpoint and literal datagrams.

pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use voxlane::sip::digest::{Auth, Entrance, Logins, NonceKey};
use voxlane::sip::{
    Address, DialogId, Endpoint, EndpointConfig, Event, Extension, Input, Large, Listen, MAX_FORWARDS, Outgoing,
    Output, Policy, Refresher, SessionTimers, Transmit, Transport, UserPhone, Within, WithinMethod,
};
use voxlane::time::Time;

/// Where each endpoint lives.
pub fn address(side: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + side as u8], 5060))
}

/// An endpoint with the usual timers.
pub fn endpoint(seed: u64) -> Endpoint {
    Endpoint::new(EndpointConfig {
        user_agent: "voxlane".into(),
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
        invite_timeout: Duration::from_secs(60),
        listen: vec![listen(Transport::Udp), listen(Transport::Tcp)],
        seed,
    })
}

/// Each listens on its port, whatever its address.
fn listen(transport: Transport) -> Listen {
    Listen {
        transport,
        address: SocketAddr::from(([0, 0, 0, 0], 5060)),
    }
}

/// A policy of session timers: what is asked for and the least, seconds.
pub fn timers(extension: Extension, expires: u32, least: u32, refresher: Option<Refresher>) -> Policy {
    Policy {
        timers: SessionTimers {
            extension,
            expires,
            least,
            refresher,
        },
        ..Policy::default()
    }
}

/// A policy of reliable provisional responses.
pub fn reliable(extension: Extension) -> Policy {
    Policy {
        reliable: extension,
        ..Policy::default()
    }
}

/// The same endpoint, to whose trunk `t` everybody belongs, with this policy.
pub fn with_policy(endpoint: Endpoint, policy: Policy) -> Endpoint {
    let entrance = Entrance {
        trunk: "t".into(),
        networks: vec!["0.0.0.0/0".parse().expect("a network")],
        auth: Auth::Ip,
        login: None,
    };
    endpoint
        .with_trunks(NonceKey::new([3; 32]), vec![entrance], Logins::new())
        .with_policies([("t".into(), policy)].into())
}

/// A call from one side to the other.
pub fn outgoing(from: usize) -> Outgoing {
    let party = |user: &str, host: SocketAddr| Address {
        display: String::new(),
        user: user.into(),
        host: host.ip().to_string(),
        port: Some(host.port()),
    };
    Outgoing {
        local: address(from),
        remote: address(1 - from),
        transport: Transport::Udp,
        peer: None,
        large: Large::default(),
        request_uri: party("+15550100", address(1 - from)),
        from: party("+15550199", address(from)),
        to: party("+15550100", address(1 - from)),
        max_forwards: MAX_FORWARDS,
        trunk: None,
        headers: vec![],
        user_phone: UserPhone::Off,
        patience: None,
        sdp: b"v=0\r\n".to_vec(),
    }
}

/// An UPDATE that changes nothing.
pub fn update() -> Within {
    Within {
        method: WithinMethod::Update,
        headers: vec![],
        content: None,
    }
}

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

impl Network {
    /// Nothing is lost, all is quick.
    pub const PERFECT: Self = Self {
        loss: 0.0,
        duplication: 0.0,
        delay: (1, 1),
    };
}

/// The two of them.
pub struct Pair {
    pub now: Time,
    pub ends: [Endpoint; 2],
    /// Events not taken yet.
    pub events: [Vec<Event>; 2],
    /// Dialogs that either side believes up.
    pub up: [BTreeSet<DialogId>; 2],
    /// Everything sent, in order, lost or not.
    pub log: Vec<(Time, usize, String)>,
    network: Network,
    random: StdRng,
    flying: BTreeMap<(Time, u64), (usize, Transmit)>,
    sent: u64,
}

impl Pair {
    pub fn new(seed: u64, network: Network) -> Self {
        Self {
            now: Time::ZERO,
            ends: [endpoint(seed * 2), endpoint(seed * 2 + 1)],
            events: [vec![], vec![]],
            up: [BTreeSet::new(), BTreeSet::new()],
            log: vec![],
            network,
            random: StdRng::seed_from_u64(seed),
            flying: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Takes everything out of both endpoints and onto the network.
    pub fn drain(&mut self) {
        for side in 0..2 {
            loop {
                match self.ends[side].poll_output() {
                    Output::Transmit(transmit) => self.launch(side, transmit),
                    Output::Event(event) => self.note(side, event),
                    Output::Timeout(_) => break,
                }
            }
        }
    }

    fn launch(&mut self, side: usize, transmit: Transmit) {
        self.log
            .push((self.now, side, String::from_utf8_lossy(&transmit.data).into_owned()));
        assert_eq!(transmit.path.local, address(side));
        assert_eq!(transmit.path.remote, address(1 - side));
        let copies = match () {
            () if self.random.random_bool(self.network.loss) => 0,
            () if self.random.random_bool(self.network.duplication) => 2,
            () => 1,
        };
        for _ in 0..copies {
            let (least, most) = self.network.delay;
            let delay = Duration::from_millis(self.random.random_range(least..=most));
            self.sent += 1;
            self.flying
                .insert((self.now + delay, self.sent), (1 - side, transmit.clone()));
        }
    }

    fn note(&mut self, side: usize, event: Event) {
        match &event {
            Event::Answered { dialog, .. } | Event::Confirmed { dialog, .. } => {
                self.up[side].insert(*dialog);
            }
            Event::Bye { dialog, .. } | Event::Terminated { dialog, .. } | Event::Failed { dialog, .. } => {
                self.up[side].remove(dialog);
            }
            Event::Incoming(_)
            | Event::Progress { .. }
            | Event::Cancelled { .. }
            | Event::OfferAnswered { .. }
            | Event::OfferRefused { .. }
            | Event::Responded { .. }
            | Event::Notified { .. }
            | Event::Referred { .. }
            | Event::Update { .. }
            | Event::Reinvite { .. }
            | Event::Outside { .. } => {}
        }
        self.events[side].push(event);
    }

    /// When something happens next.
    pub fn next(&mut self) -> Option<Time> {
        self.drain();
        let mut next = self.flying.keys().next().map(|(at, _)| *at);
        for end in &mut self.ends {
            if let Output::Timeout(Some(at)) = end.poll_output() {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        next
    }

    /// Moves to the next thing that happens and lets it happen; false if nothing ever will.
    pub fn step(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        self.now = self.now.max(next);
        while let Some((&key, _)) = self.flying.first_key_value()
            && key.0 <= self.now
        {
            let (side, transmit) = self.flying.remove(&key).expect("it was first");
            let input = Input::Datagram {
                local: transmit.path.remote,
                remote: transmit.path.local,
                data: &transmit.data,
            };
            self.ends[side].handle_input(self.now, input);
        }
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
        self.drain();
        true
    }

    /// Runs until an event is there, and takes it.
    pub fn event(&mut self, side: usize) -> Event {
        while self.events[side].is_empty() {
            assert!(self.step(), "no event for side {side}");
        }
        self.events[side].remove(0)
    }

    /// Runs for a while.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.next().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Nothing arrives any more.
    pub fn cut(&mut self) {
        self.network.loss = 1.0;
        self.flying.clear();
    }

    /// Runs until nothing is left to happen.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Nothing is left of anything.
    pub fn assert_empty(&self, what: &str) {
        for (side, end) in self.ends.iter().enumerate() {
            let counters = end.counters();
            assert_eq!(
                (counters.dialogs, counters.transactions),
                (0, 0),
                "{what}: side {side} keeps state"
            );
            assert!(
                self.up[side].is_empty(),
                "{what}: side {side} believes {:?} up",
                self.up[side]
            );
        }
    }
}
