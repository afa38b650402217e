//! Whole calls between two endpoints on virtual time: on a perfect network, and by the thousands on bad ones.

use std::time::Duration;

use crate::support::{Network, Pair, outgoing};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use voxlane::sip::{DialogId, Event, Extension, Failure, Policy, Termination};

fn incoming(pair: &mut Pair) -> DialogId {
    match pair.event(1) {
        Event::Incoming(call) => call.dialog,
        other => panic!("{other:?}"),
    }
}

/// A call that is up, by (caller's, callee's) name of it.
fn established(pair: &mut Pair) -> (DialogId, DialogId) {
    let a = pair.ends[0].invite(pair.now, outgoing(0));
    let b = incoming(pair);
    pair.ends[1].answer(pair.now, b, b"v=0\r\n".to_vec());
    assert_eq!(
        pair.event(0),
        Event::Answered {
            dialog: a,
            sdp: Some(b"v=0\r\n".to_vec())
        }
    );
    assert_eq!(pair.event(1), Event::Confirmed { dialog: b, sdp: None });
    (a, b)
}

#[test]
fn a_call_rings_is_answered_and_ends_from_either_side() {
    for ender in [0, 1] {
        let mut pair = Pair::new(1, Network::PERFECT);
        let a = pair.ends[0].invite(pair.now, outgoing(0));
        let b = match pair.event(1) {
            Event::Incoming(call) => {
                assert_eq!(call.from.user, "+15550199");
                assert_eq!(call.request_uri.user, "+15550100");
                assert_eq!(call.sdp.as_deref(), Some(&b"v=0\r\n"[..]));
                call.dialog
            }
            other => panic!("{other:?}"),
        };
        pair.ends[1].ring(pair.now, b, 180, None);
        assert_eq!(
            pair.event(0),
            Event::Progress {
                dialog: a,
                status: 180,
                sdp: None
            }
        );
        pair.ends[1].ring(pair.now, b, 183, Some(b"v=0\r\n".to_vec()));
        assert_eq!(
            pair.event(0),
            Event::Progress {
                dialog: a,
                status: 183,
                sdp: Some(b"v=0\r\n".to_vec())
            }
        );
        pair.ends[1].answer(pair.now, b, b"v=0\r\n".to_vec());
        assert!(matches!(pair.event(0), Event::Answered { .. }));
        assert_eq!(pair.event(1), Event::Confirmed { dialog: b, sdp: None });

        let names = [a, b];
        pair.ends[ender].hang_up(pair.now, names[ender], Some("Q.850;cause=16"));
        let reason = Some("Q.850;cause=16".to_owned());
        assert_eq!(
            pair.event(1 - ender),
            Event::Bye {
                dialog: names[1 - ender],
                reason
            }
        );
        let ended = Event::Terminated {
            dialog: names[ender],
            cause: Termination::ByeAnswered,
        };
        assert_eq!(pair.event(ender), ended);
        pair.settle();
        pair.assert_empty("ended");
        assert_eq!(pair.ends[0].counters().stray + pair.ends[1].counters().stray, 0);
        assert_eq!(pair.ends[0].counters().retransmissions_sent, 0);
    }
}

#[test]
fn a_rejected_call_says_why() {
    let mut pair = Pair::new(2, Network::PERFECT);
    let a = pair.ends[0].invite(pair.now, outgoing(0));
    let b = incoming(&mut pair);
    pair.ends[1].reject(pair.now, b, 486, &[("Retry-After", "5")]);
    assert_eq!(
        pair.event(0),
        Event::Failed {
            dialog: a,
            status: 486,
            reason: "Busy Here".into(),
            failure: Failure::Refused {
                redirects: vec![],
                retry_after: Some(Duration::from_secs(5)),
            },
        }
    );
    pair.settle();
    pair.assert_empty("rejected");
    assert!(
        pair.log
            .iter()
            .any(|(_, side, text)| *side == 1 && text.contains("\r\nRetry-After: 5\r\n"))
    );
}

#[test]
fn an_unanswered_call_is_taken_back() {
    let mut pair = Pair::new(3, Network::PERFECT);
    let a = pair.ends[0].invite(pair.now, outgoing(0));
    let b = incoming(&mut pair);
    pair.run(Duration::from_secs(1));
    pair.ends[0].hang_up(pair.now, a, None);
    assert_eq!(pair.event(1), Event::Cancelled { dialog: b });
    assert!(matches!(pair.event(0), Event::Failed { status: 487, .. }));
    pair.settle();
    pair.assert_empty("cancelled");
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut pair = Pair::new(4, Network::PERFECT);
    let a = pair.ends[0].invite(pair.now, outgoing(0));
    pair.ends[0].hang_up(pair.now, a, None);
    pair.drain();
    assert!(pair.log.iter().all(|(_, _, text)| !text.starts_with("CANCEL")));
    assert!(matches!(pair.event(0), Event::Failed { status: 487, .. }));
    pair.settle();
    pair.assert_empty("cancelled");
}

#[test]
fn an_answer_that_crosses_a_cancel_is_acknowledged_and_ended() {
    let mut pair = Pair::new(
        5,
        Network {
            delay: (50, 50),
            ..Network::PERFECT
        },
    );
    let a = pair.ends[0].invite(pair.now, outgoing(0));
    let b = incoming(&mut pair);
    pair.run(Duration::from_millis(60));
    pair.ends[1].answer(pair.now, b, b"v=0\r\n".to_vec());
    pair.ends[0].hang_up(pair.now, a, None);
    assert!(matches!(pair.event(0), Event::Failed { status: 487, .. }));
    assert!(matches!(pair.event(1), Event::Confirmed { .. }));
    assert!(matches!(pair.event(1), Event::Bye { .. }));
    pair.settle();
    pair.assert_empty("crossed");
}

#[test]
fn byes_that_cross_end_the_call_once_on_either_side() {
    let mut pair = Pair::new(
        6,
        Network {
            delay: (50, 50),
            ..Network::PERFECT
        },
    );
    let (a, b) = established(&mut pair);
    pair.ends[0].hang_up(pair.now, a, None);
    pair.ends[1].hang_up(pair.now, b, None);
    assert_eq!(
        pair.event(0),
        Event::Terminated {
            dialog: a,
            cause: Termination::ByeAnswered
        }
    );
    assert_eq!(
        pair.event(1),
        Event::Terminated {
            dialog: b,
            cause: Termination::ByeAnswered
        }
    );
    pair.settle();
    assert!(pair.events.iter().all(Vec::is_empty));
    pair.assert_empty("both");
}

#[test]
fn hanging_up_an_answered_call_waits_for_its_ack() {
    let mut pair = Pair::new(
        7,
        Network {
            delay: (50, 50),
            ..Network::PERFECT
        },
    );
    pair.ends[0].invite(pair.now, outgoing(0));
    let b = incoming(&mut pair);
    pair.ends[1].answer(pair.now, b, b"v=0\r\n".to_vec());
    pair.ends[1].hang_up(pair.now, b, None);
    assert_eq!(
        pair.event(1),
        Event::Terminated {
            dialog: b,
            cause: Termination::ByeAnswered
        }
    );
    let sent = |what: &str| pair.log.iter().position(|(_, _, text)| text.starts_with(what)).unwrap();
    assert!(sent("BYE") > sent("ACK"));
    pair.settle();
    pair.assert_empty("ended");
}

#[test]
fn nobody_there_fails_after_timer_b() {
    let mut pair = Pair::new(
        8,
        Network {
            loss: 1.0,
            ..Network::PERFECT
        },
    );
    let a = pair.ends[0].invite(pair.now, outgoing(0));
    assert_eq!(
        pair.event(0),
        Event::Failed {
            dialog: a,
            status: 408,
            reason: "Request Timeout".into(),
            failure: Failure::Silent,
        }
    );
    assert_eq!(pair.now.as_micros(), 32_000_000);
    pair.settle();
    pair.assert_empty("timed out");
}

#[test]
fn a_call_that_rings_too_long_fails_408() {
    let mut pair = Pair::new(9, Network::PERFECT);
    let a = pair.ends[0].invite(pair.now, outgoing(0));
    let b = incoming(&mut pair);
    pair.ends[1].ring(pair.now, b, 180, None);
    assert!(matches!(pair.event(0), Event::Progress { .. }));
    assert_eq!(
        pair.event(0),
        Event::Failed {
            dialog: a,
            status: 408,
            reason: "Request Timeout".into(),
            failure: Failure::TakenBack,
        }
    );
    assert_eq!(pair.event(1), Event::Cancelled { dialog: b });
    pair.settle();
    pair.assert_empty("timed out");
}

#[test]
fn commands_for_dialogs_that_are_gone_are_ignored() {
    let mut pair = Pair::new(10, Network::PERFECT);
    let (a, b) = established(&mut pair);
    for name in [a, b, DialogId(99)] {
        pair.ends[0].ring(pair.now, name, 180, None);
        pair.ends[0].answer(pair.now, name, vec![]);
        pair.ends[0].reject(pair.now, name, 486, &[]);
    }
    pair.ends[0].hang_up(pair.now, DialogId(99), None);
    pair.drain();
    assert_eq!(pair.ends[0].counters().dialogs, 1);
    pair.ends[0].hang_up(pair.now, a, None);
    pair.ends[0].hang_up(pair.now, a, None);
    pair.settle();
    pair.ends[0].hang_up(pair.now, a, None);
    pair.settle();
    pair.assert_empty("ended");
}

/// One random script on one random network. Whatever is lost, each side's view comes out whole.
fn scenario(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let network = Network {
        loss: [0.0, 0.05, 0.2, 0.35][random.random_range(0..4)],
        duplication: [0.0, 0.1, 0.3][random.random_range(0..3)],
        delay: [(1, 1), (5, 80), (1, 1500)][random.random_range(0..3)],
    };
    let what = format!("seed {seed}, {network:?}");
    let mut pair = Pair::new(seed, network);
    // Some of them ring reliably, and refresh their sessions.
    for side in [0, 1] {
        let extension = [Extension::Off, Extension::Supported][random.random_range(0..2)];
        let end = std::mem::replace(&mut pair.ends[side], crate::support::endpoint(0));
        let policy = Policy {
            reliable: extension,
            ..crate::support::timers(extension, 60, 30, None)
        };
        pair.ends[side] = crate::support::with_policy(end, policy);
    }
    let mut calls = [vec![], vec![]];
    let placed = random.random_range(1..=3);
    for _ in 0..placed {
        let side = random.random_range(0..2);
        let mut call = outgoing(side);
        call.trunk = Some("t".into());
        let dialog = pair.ends[side].invite(pair.now, call);
        calls[side].push(dialog);
    }
    // Every call is hung up by somebody in the end; before that, anything may be done to it at any time.
    for _ in 0..random.random_range(1..40) {
        pair.run(Duration::from_millis(random.random_range(0..3000)));
        for (side, known) in calls.iter_mut().enumerate() {
            for event in pair.events[side].drain(..) {
                if let Event::Incoming(call) = event {
                    known.push(call.dialog);
                }
            }
            if known.is_empty() {
                continue;
            }
            let dialog = known[random.random_range(0..known.len())];
            let end = &mut pair.ends[side];
            match random.random_range(0..10) {
                0 => end.ring(pair.now, dialog, 180, None),
                1..=2 => end.ring(pair.now, dialog, 183, Some(b"v=0\r\n".to_vec())),
                3..=5 => end.answer(pair.now, dialog, b"v=0\r\n".to_vec()),
                6 => end.reject(pair.now, dialog, 486, &[]),
                7 => end.hang_up(pair.now, dialog, None),
                8 => {
                    end.offer(pair.now, dialog, b"v=0\r\n".to_vec());
                }
                _ => {
                    end.request(pair.now, dialog, crate::support::update());
                }
            }
        }
    }
    // One side, or both, ends what it knows of. Answers may still be on their way, hence more than once. The callee of a
    // call whose caller gave up unheard cannot know: like the call layer, it does not let anything ring for ever.
    let last = random.random_range(0..3);
    for _ in 0..4 {
        for (side, known) in calls.iter_mut().enumerate() {
            for event in pair.events[side].drain(..) {
                if let Event::Incoming(call) = event {
                    known.push(call.dialog);
                }
            }
            for dialog in known.iter() {
                if last == side || last == 2 || !pair.up[side].contains(dialog) {
                    pair.ends[side].hang_up(pair.now, *dialog, None);
                }
            }
        }
        pair.run(Duration::from_secs(200));
    }
    pair.settle();
    pair.assert_empty(&what);
}

#[test]
fn every_random_scenario_comes_out_whole() {
    for seed in 0..10_000 {
        scenario(seed);
    }
}

#[test]
fn the_same_seed_is_the_same_call() {
    let log = |seed| {
        let mut pair = Pair::new(
            seed,
            Network {
                loss: 0.2,
                duplication: 0.1,
                delay: (1, 900),
            },
        );
        pair.ends[0].invite(pair.now, outgoing(0));
        pair.settle();
        pair.log
    };
    assert_eq!(log(11), log(11));
}
