//! How a frame can end: for each way the program knows there is a frame that ends so, over both IPs.
//!
//! (What becomes of arbitrary frames is `kernel_oracle`'s business, what flows remember `kernel_flows`'s.)
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "the support code has packet sockets")]

mod kernel_support;

use std::net::SocketAddr;

use kernel_support::bench::{Bench, Judged, until};
use kernel_support::frames::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX};
use kernel_support::{Call, above, config, is_root, report, rtp};
use voxlane_common::drops::DropReason;
use voxlane_common::outcome::{Outcome, PassReason};
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::kernel::{KernelConfig, RelayPair};
use voxlane_dataplane::media_plane::{Direction, Unallocated};

/// How often a story is told until it ends as it should.
enum Tries {
    One,
    /// What the host is told, the lane notices later; and how fast a flood is depends on the machine.
    Many,
}

/// What brings a frame to a certain end.
struct Story {
    tries: Tries,
    /// What is unusual about the call.
    pair: RelayPair,
    /// A port of ours that a socket has.
    reserved: Option<SocketAddr>,
    /// Commands that make the host unusual.
    before: &'static str,
    /// Commands that undo them.
    after: &'static str,
    /// What arrives before.
    first: Vec<Vec<u8>>,
    frame: Vec<u8>,
    /// Where it arrives.
    local: SocketAddr,
}

/// A bench and a call on it.
struct Stage {
    bench: Bench,
    call: Call,
}

impl Stage {
    fn new(call: Call, unallocated: Unallocated) -> Self {
        let config = KernelConfig {
            unallocated,
            rules: Rules::default(),
            ..config()
        };
        Self {
            bench: Bench::with(config),
            call,
        }
    }

    fn is_v6(&self) -> bool {
        self.call.caller.is_ipv6()
    }

    /// A media packet of the caller.
    fn media(&self, sequence: u16) -> Vec<u8> {
        self.of_caller(&rtp(0, sequence, 1))
    }

    fn of_caller(&self, payload: &[u8]) -> Vec<u8> {
        self.bench.frame(self.call.caller, self.call.caller_side, payload)
    }

    /// A media packet from the caller's host, but another port.
    fn of_another(&self) -> Vec<u8> {
        let elsewhere = SocketAddr::new(self.call.caller.ip(), 61_000);
        self.bench.frame(elsewhere, self.call.caller_side, &rtp(0, 9, 1))
    }

    /// A media packet of the caller to another of our ports.
    fn to_port(&self, port: u16) -> Vec<u8> {
        let local = SocketAddr::new(self.call.caller_side.ip(), port);
        self.bench.frame(self.call.caller, local, &rtp(0, 1, 1))
    }

    /// A media packet of the caller with one byte changed, over IPv4 or IPv6.
    fn spoilt(&self, v4: (usize, u8), v6: (usize, u8)) -> Vec<u8> {
        let mut frame = self.media(1);
        let (place, byte) = if self.is_v6() { v6 } else { v4 };
        frame[place] = byte;
        frame
    }

    /// Nothing is unusual but the frame.
    fn plain(&self, frame: Vec<u8>) -> Story {
        Story {
            tries: Tries::One,
            pair: self.call.pair(),
            reserved: None,
            before: "",
            after: "",
            first: vec![],
            frame,
            local: self.call.caller_side,
        }
    }

    /// Nothing is unusual but the call.
    fn with(&self, change: impl FnOnce(&mut RelayPair)) -> Story {
        let mut story = self.plain(self.media(1));
        change(&mut story.pair);
        story
    }

    /// The callee has another address.
    fn with_callee(&self, v4: &str, v6: &str) -> Story {
        let callee = if self.is_v6() { v6 } else { v4 };
        self.with(|pair| pair.1.session.remote_rtp = callee.parse().unwrap())
    }

    /// Nothing is unusual but the host.
    fn around(&self, v4: [&'static str; 2], v6: [&'static str; 2]) -> Story {
        let [before, after] = if self.is_v6() { v6 } else { v4 };
        Story {
            tries: Tries::Many,
            before,
            after,
            ..self.plain(self.media(1))
        }
    }

    /// The story of an outcome; none if it takes more than a frame.
    fn story(&self, outcome: Outcome) -> Option<Story> {
        use DropReason as Drop;
        use PassReason as Pass;
        let story = match outcome {
            Outcome::Passed(Pass::NotUdp) => self.plain(self.spoilt((23, 6), (20, 6))),
            Outcome::Passed(Pass::Options) => self.plain(self.spoilt((14, 0x46), (20, 60))),
            Outcome::Passed(Pass::Fragment) => self.plain(self.spoilt((20, 0x20), (20, 44))),
            Outcome::Passed(Pass::BadLength) => self.plain(self.spoilt((39, 0), (59, 0))),
            Outcome::Passed(Pass::OtherPort) => self.plain(self.to_port(9_998)),
            Outcome::Passed(Pass::NoFlow) | Outcome::Dropped(Drop::Unallocated) => self.plain(self.to_port(10_050)),
            Outcome::Passed(Pass::Worker) => Story {
                reserved: Some(SocketAddr::new(self.call.caller_side.ip(), 10_060)),
                ..self.plain(self.to_port(10_060))
            },
            Outcome::Reflected => {
                let on_our_side = SocketAddr::new(self.call.caller_side.ip(), 10_002);
                let mut story = self.with_callee("10.200.1.8:5000", "[2001:db8:1::8]:5000");
                story.pair.1.local = on_our_side;
                story
            }
            Outcome::Redirected => self.plain(self.media(1)),
            // Needs `fq`: the tests of `kernel_pace` are about it.
            // Their ends are on the wire and at a worker: kernel_pace and kernel_express have them.
            Outcome::Paced | Outcome::Worker => return None,
            Outcome::Dropped(Drop::TooShort) => self.plain(self.of_caller(&rtp(0, 1, 1)[..11])),
            Outcome::Dropped(Drop::NotRtp) => self.plain(self.of_caller(&[0; 20])),
            Outcome::Dropped(Drop::NotRtcp) => {
                let [from, local] = [self.call.caller, self.call.caller_side].map(above);
                self.plain(self.bench.frame(from, local, &rtp(0, 1, 1)))
            }
            Outcome::Dropped(Drop::PayloadType) => self.plain(self.of_caller(&rtp(8, 1, 1))),
            Outcome::Dropped(Drop::WrongSource) => Story {
                first: vec![self.media(1)],
                ..self.plain(self.of_another())
            },
            Outcome::Dropped(Drop::Probation) => self.plain(self.of_another()),
            Outcome::Dropped(Drop::Held) => self.with(|pair| pair.1.session.direction = Direction::RecvOnly),
            Outcome::Dropped(Drop::NoDestination) => self.with_callee("0.0.0.0:5000", "[::]:5000"),
            Outcome::Dropped(Drop::NoRoute) => self.around(
                [
                    "ip route del 10.200.2.0/24 dev b0",
                    "ip route add 10.200.2.0/24 dev b0 src 10.200.2.1",
                ],
                [
                    "ip route del 2001:db8:2::/64 dev b0",
                    "ip route add 2001:db8:2::/64 dev b0",
                ],
            ),
            Outcome::Dropped(Drop::NoNeighbour) => self.with_callee("10.200.2.77:5000", "[2001:db8:2::77]:5000"),
            Outcome::Dropped(Drop::TooBig) => {
                let commands = ["ip link set b0 mtu 1300", "ip link set b0 mtu 1500"];
                let mut large = rtp(0, 1, 1);
                large.resize(1300, 0);
                Story {
                    frame: self.of_caller(&large),
                    ..self.around(commands, commands)
                }
            }
            Outcome::Dropped(Drop::Policed) => Story {
                tries: Tries::Many,
                first: (2..1000).map(|sequence| self.media(sequence)).collect(),
                ..self.plain(self.media(1000))
            },
        };
        Some(story)
    }

    fn tell(&self, story: &Story) -> Judged {
        self.bench.all_arrive(story.first.clone(), story.local);
        self.bench.arrives(story.frame.clone(), story.local)
    }

    fn play(&self, outcome: Outcome, story: &Story) {
        let lane = &self.bench.lane;
        lane.program(&story.pair, None).unwrap();
        if let Some(local) = story.reserved {
            lane.reserve(local).unwrap();
        }
        self.bench.gateway.sh(story.before);
        let mut told = self.tell(story);
        if let Tries::Many = story.tries {
            until(outcome.name(), || {
                told = self.tell(story);
                told.outcome == outcome
            });
        }
        let Judged { outcome: seen, run } = told;
        assert_eq!(seen, outcome);
        let (action, is_left_alone) = match outcome {
            Outcome::Passed(_) => (XDP_PASS, true),
            Outcome::Dropped(_) => (XDP_DROP, true),
            Outcome::Reflected => (XDP_TX, false),
            Outcome::Redirected => (XDP_REDIRECT, false),
            Outcome::Paced => (XDP_PASS, false),
            Outcome::Worker => (XDP_REDIRECT, false),
        };
        let is_same = run.frame == story.frame;
        assert_eq!((run.action, is_same), (action, is_left_alone), "{}", outcome.name());
        if let Outcome::Dropped(reason) = outcome {
            // The flow has counted it, too, if there is one.
            let drops = lane.read(self.call.caller_side).unwrap().drops;
            let is_counted = drops.iter().any(|(known, _)| *known == reason);
            assert_eq!(is_counted, reason != DropReason::Unallocated, "{}", reason.name());
        }
        self.bench.gateway.sh(story.after);
        if !story.after.is_empty() {
            until("all is as before", || {
                let media = self.bench.arrives(self.media(1), self.call.caller_side);
                media.outcome == Outcome::Redirected
            });
        }
        lane.remove(self.call.caller_side);
        lane.remove(self.call.callee_side);
        lane.remove(story.pair.1.local);
    }
}

fn every_way(call: Call) {
    if !is_root() {
        return;
    }
    let (dropping, passing) = (Stage::new(call, Unallocated::Drop), Stage::new(call, Unallocated::Pass));
    for outcome in Outcome::all() {
        let stage = match outcome {
            Outcome::Passed(PassReason::NoFlow) => &passing,
            _ => &dropping,
        };
        match stage.story(outcome) {
            Some(story) => stage.play(outcome, &story),
            None => assert!(
                matches!(outcome, Outcome::Paced | Outcome::Worker),
                "a frame that ends so is missing"
            ),
        }
    }
}

#[test]
fn every_way_a_frame_can_end_over_ipv4() {
    every_way(Call::across());
}

#[test]
fn every_way_a_frame_can_end_over_ipv6() {
    every_way(Call::across_v6());
}

#[test]
fn on_hold_media_stops_and_reports_go_on() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    let mut pair = call.pair();
    pair.1.session.direction = Direction::RecvOnly;
    bench.lane.program(&pair, None).unwrap();
    let media = bench.packet(call.caller, call.caller_side, &rtp(0, 1, 1));
    assert_eq!(media.outcome, Outcome::Dropped(DropReason::Held));
    let report = bench.packet(above(call.caller), above(call.caller_side), &report(1));
    assert_eq!(report.outcome, Outcome::Redirected);
    assert_eq!(bench.lane.read(call.caller_side).unwrap().forwarded_packets, 0);
}
