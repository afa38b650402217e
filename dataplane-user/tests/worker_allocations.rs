//! A worker allocates nothing once its calls are up: agent legs, of a built-in agent and of one behind a WebSocket, and relayed
//! pairs, in the clear and with SRTP.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod allocation_support;
mod worker_support;

use allocation_support::Turn;
use crossbeam_channel::bounded;
use voxlane_dataplane::codec::g711::ULAW_SILENCE;
use voxlane_dataplane::media_plane::{AgentSpec, EndpointId, Session};
use voxlane_dataplane::plane::Rules;
use voxlane_dataplane::srtp::{Kind, Refusal, Suite};
use voxlane_dataplane::worker::{Handle, NewLeg, NewRelay, RelayLeg, Sockets, Workers};
use worker_support::bot::Bot;
use worker_support::secured::{Secured, keys};
use worker_support::{EVENT, Phone, eventually, sockets};

/// A far end, with SRTP or without.
struct Far {
    end: Secured,
    suite: Option<Suite>,
}

impl Far {
    /// One, and the sockets of the leg to it.
    fn new(suite: Option<Suite>) -> (Self, Sockets) {
        let (sockets, gateway) = sockets();
        let keys = keys(suite.unwrap_or(Suite::AeadAes128Gcm));
        let end = Secured::new(Phone::new(gateway), keys);
        (Self { end, suite }, sockets)
    }

    fn session(&self) -> Session {
        match self.suite {
            Some(_) => self.end.session(),
            None => self.end.phone.session(),
        }
    }

    fn sealed(&mut self, kind: Kind, packet: Vec<u8>) -> Vec<u8> {
        match self.suite {
            Some(_) => self.end.protect(kind, &packet),
            None => packet,
        }
    }

    /// The next packet as it is sent.
    fn next(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let packet = self.end.phone.hold_back(payload_type, payload);
        self.sealed(Kind::Rtp, packet)
    }

    /// Everything that a call does: packets in order, lost, late and twice, a key, and reports.
    fn talk(&mut self, round: u32) {
        match round % 25 {
            // Lost.
            7 => self.end.phone.skip(),
            // Late.
            13 => {
                let late = self.next(0, &[0x42; 160]);
                let packet = self.next(0, &[0x21; 160]);
                self.end.phone.send_raw(&packet);
                self.end.phone.send_raw(&late);
            }
            // Twice.
            19 => {
                let packet = self.next(0, &[0x33; 160]);
                self.end.phone.send_raw(&packet);
                self.end.phone.send_raw(&packet);
            }
            22 => {
                let packet = self.next(EVENT, &[5, 0x8a, 3, 32]);
                self.end.phone.send_raw(&packet);
            }
            24 => {
                let report = [
                    0x81, 201, 0, 7, 1, 2, 3, 4, 0, 0, 0, 9, 1, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0,
                ];
                let packet = self.sealed(Kind::Rtcp, report.to_vec());
                self.end.phone.send_rtcp(&packet);
            }
            round => {
                let packet = self.next(0, &[0x21 + round as u8; 160]);
                self.end.phone.send_raw(&packet);
            }
        }
    }
}

/// An agent leg and a relayed pair, whose far ends have SRTP or not.
struct Calls {
    caller: Far,
    /// Packets that the caller got and that were not silent.
    answers: u32,
    leg: Handle,
    a: Far,
    b: Far,
    pair: Handle,
}

impl Calls {
    fn new(workers: &Workers, first: u64, agent: AgentSpec, suite: Option<Suite>) -> Self {
        let (caller, to_caller) = Far::new(suite);
        let leg = workers.add_leg(NewLeg {
            endpoint: EndpointId(first),
            sockets: to_caller,
            agent,
            session: Some(caller.session()),
            left: None,
            unheard: None,
        });
        let ((a, to_a), (b, to_b)) = (Far::new(suite), Far::new(suite));
        let relay_leg = |endpoint, sockets, far: &Far| RelayLeg {
            endpoint: EndpointId(endpoint),
            sockets,
            session: far.session(),
            continuity: Default::default(),
        };
        let pair = workers.add_relay(NewRelay {
            legs: [relay_leg(first + 1, to_a, &a), relay_leg(first + 2, to_b, &b)],
            rules: Rules::default(),
            states: None,
        });
        Self {
            caller,
            answers: 0,
            leg,
            a,
            b,
            pair,
        }
    }

    /// Waits for the caller's next packet, and counts it if it is not silent.
    fn hear(&mut self) {
        let (mut packet, _) = self.caller.end.phone.receive();
        if self.caller.suite.is_some() {
            packet = self.caller.end.unprotect(Kind::Rtp, packet).unwrap();
        }
        let is_silent = packet[12..].iter().all(|code| *code == ULAW_SILENCE);
        self.answers += u32::from(!is_silent);
    }

    fn assert_used(&self) {
        assert!(self.answers > 150, "{} answers", self.answers);
        let stats = &self.leg.stats()[0];
        let heard = stats.stream();
        assert!(heard.packets > 300 && heard.reordered > 10, "{heard:?}");
        let mut refusals = stats.refusals();
        let refused = refusals.find(|(of, _)| *of == Refusal::Replayed);
        // What comes twice SRTP does not let through.
        match self.caller.suite {
            None => assert!(heard.duplicates > 10, "{heard:?}"),
            Some(_) => assert!(refused.is_some_and(|(_, count)| count > 10), "{refused:?}"),
        }
        assert!(stats.buffer().unwrap().concealed_ms > 0);
        eventually("the relay has relayed", || self.pair.stats()[1].sent_packets() > 250);
    }
}

#[test]
fn nothing_is_allocated_once_the_calls_are_up() {
    let turn = Turn::wait();
    // The gateway's is unbounded, and grows by a block for each 31 events: keys that were pressed, round-trip times.
    let (sender, events) = bounded(10_000);
    let workers = Workers::start(None, 20, sender).unwrap();
    let bot = Bot::start();
    let suites = [None].into_iter().chain(Suite::ALL.map(Some));
    let echoes = suites.map(|suite| (AgentSpec::Echo, suite));
    let bots = [None, Some(Suite::AeadAes128Gcm)].map(|suite| (bot.spec(), suite));
    let mut all: Vec<_> = (1..)
        .step_by(3)
        .zip(echoes.chain(bots))
        .map(|(first, (agent, suite))| Calls::new(&workers, first, agent, suite))
        .collect();
    let mut run = |rounds: u32| {
        for round in 0..rounds {
            for calls in &mut all {
                calls.caller.talk(round);
                calls.a.talk(round);
            }
            // The grid is the clock: one frame comes back a packet time.
            for calls in &mut all {
                calls.hear();
                while calls.b.end.phone.try_receive().is_some() {}
            }
        }
    };
    // Longer than until the first reports, 7.5 s at most, so that all has been done once.
    run(400);
    turn.count("media-0");
    run(150);
    turn.assert_none();
    all.iter().for_each(Calls::assert_used);
    assert!(bot.heard() > 2 * 300, "{}", bot.heard());
    // A new call is not up yet: what counts does count.
    let (to_another, _) = sockets();
    workers.add_leg(NewLeg {
        endpoint: EndpointId(100),
        sockets: to_another,
        agent: AgentSpec::Echo,
        session: None,
        left: None,
        unheard: None,
    });
    eventually("a new call is counted", || turn.counted() > 0);
    assert!(events.try_iter().count() > 5);
}
