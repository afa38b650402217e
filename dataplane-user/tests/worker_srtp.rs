//! Legs with SRTP in the worker lane, over real loopback sockets; the far ends' SRTP is ours, which other tests hold against
//! libsrtp's.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod worker_support;

use std::num::NonZeroU64;

use crossbeam_channel::unbounded;
use voxlane_common::splice::Continuity;
use voxlane_dataplane::flows::{Policing, Rules, TOS_EF};
use voxlane_dataplane::lane::{Lane, Reason};
use voxlane_dataplane::media_plane::{AgentSpec, EndpointId, Session};
use voxlane_dataplane::srtp::{Keying, Kind, Refusal, Suite};
use voxlane_dataplane::worker::{Handle, NewLeg, NewRelay, RelayLeg, Workers};
use worker_support::secured::{Secured, keys, reversed};
use worker_support::{Phone, eventually, rtcp_of, sockets};

fn relay(workers: &Workers, legs: [(voxlane_dataplane::worker::Sockets, Session); 2]) -> Handle {
    let mut number = 0;
    let legs = legs.map(|(sockets, session)| {
        number += 1;
        RelayLeg {
            endpoint: EndpointId(number),
            sockets,
            session,
            continuity: Continuity::Transparent,
        }
    });
    let rules = Rules {
        tos: TOS_EF,
        police: Policing::Off,
    };
    workers.add_relay(NewRelay {
        legs,
        rules,
        states: None,
    })
}

fn workers() -> Workers {
    let (events, _) = unbounded();
    Workers::start(None, 20, events).unwrap()
}

/// A relayed pair of which the first leg has SRTP.
fn srtp_to_rtp(suite: Suite) -> (Workers, Handle, Secured, Phone) {
    let workers = workers();
    let (sockets_a, gateway_a) = sockets();
    let (sockets_b, gateway_b) = sockets();
    let a = Secured::new(Phone::new(gateway_a), keys(suite));
    let b = Phone::new(gateway_b);
    let handle = relay(&workers, [(sockets_a, a.session()), (sockets_b, b.session())]);
    (workers, handle, a, b)
}

/// How often SRTP has refused a packet of a leg for this.
fn refused(handle: &Handle, side: usize, reason: Refusal) -> u64 {
    let mut refusals = handle.stats()[side].refusals();
    refusals.find(|(of, _)| *of == reason).map_or(0, |(_, count)| count)
}

#[test]
fn rtp_and_srtp_are_relayed_to_each_other_in_every_suite() {
    for suite in Suite::ALL {
        let (_workers, handle, mut a, mut b) = srtp_to_rtp(suite);
        // Past a wrap of the sequence numbers.
        for place in 0..20 {
            let (protected, plain) = a.next(&[place; 160]);
            a.phone.send_bytes(&protected);
            assert_eq!(b.receive().0, plain);
            let sent = b.send(0, &[place; 160]);
            assert_eq!(a.receive(), Ok(sent));
        }
        let report = [0x80, 201, 0, 1, 9, 9, 9, 9];
        let protected = a.protect(Kind::Rtcp, &report);
        a.phone.send_rtcp(&protected);
        assert_eq!(b.receive_rtcp(), (report.to_vec(), rtcp_of(b.gateway)));
        b.send_rtcp(&report);
        let (packet, _) = a.phone.receive_rtcp();
        assert_ne!(packet, report);
        assert_eq!(a.unprotect(Kind::Rtcp, packet), Ok(report.to_vec()));
        assert_eq!(
            handle.stats()[0].refusals().count() + handle.stats()[1].refusals().count(),
            0
        );
    }
}

#[test]
fn both_legs_may_have_srtp_with_suites_of_their_own() {
    let workers = workers();
    let (sockets_a, gateway_a) = sockets();
    let (sockets_b, gateway_b) = sockets();
    let mut a = Secured::new(Phone::new(gateway_a), keys(Suite::AesCm128HmacSha1Tag80));
    let mut b = Secured::new(Phone::new(gateway_b), keys(Suite::AeadAes256Gcm));
    let handle = relay(&workers, [(sockets_a, a.session()), (sockets_b, b.session())]);
    for place in 0..20 {
        let (protected, plain) = a.next(&[place; 160]);
        a.phone.send_bytes(&protected);
        assert_eq!(b.receive(), Ok(plain));
        let (protected, plain) = b.next(&[place; 160]);
        b.phone.send_bytes(&protected);
        assert_eq!(a.receive(), Ok(plain));
    }

    // What is not theirs goes no further, and is counted.
    let (protected, _) = a.next(&[1; 160]);
    let mut wrong = protected.clone();
    wrong[40] ^= 1;
    a.phone.send_bytes(&wrong);
    a.phone.send(0, &[1; 160]);
    a.phone.send_bytes(&protected);
    assert!(b.receive().is_ok());
    a.phone.send_bytes(&protected);
    eventually("the refusals are counted", || {
        refused(&handle, 0, Refusal::Authentication) == 2 && refused(&handle, 0, Refusal::Replayed) == 1
    });
    let stream = handle.stats()[0].stream();
    assert_eq!((stream.packets, stream.dropped), (21, 3), "{stream:?}");
    assert_eq!(b.phone.try_receive(), None);
}

#[test]
fn a_new_key_begins_anew_and_the_same_key_goes_on() {
    let suite = Suite::AesCm128HmacSha1Tag80;
    let (workers, handle, mut a, mut b) = srtp_to_rtp(suite);
    // Past a wrap: the rollover counters are 1 on both sides.
    for place in 0..10 {
        let (protected, plain) = a.next(&[place; 160]);
        a.phone.send_bytes(&protected);
        assert_eq!(b.receive().0, plain);
        let sent = b.send(0, &[place; 160]);
        assert_eq!(a.receive(), Ok(sent));
    }
    // A re-INVITE that changes nothing.
    workers.set_relay_sessions(&handle, [a.session(), b.session()]);
    let (protected, plain) = a.next(&[11; 160]);
    a.phone.send_bytes(&protected);
    assert_eq!(b.receive().0, plain);
    let sent = b.send(0, &[11; 160]);
    assert_eq!(a.receive(), Ok(sent));

    // One that changes the key of what they send: what is on its way under the old one is taken, in whatever order, until the
    // first under the new one has come.
    let receive = Keying::random(suite, None);
    a.keys.receive = receive;
    let sent_before = [12, 13, 14].map(|place| a.next(&[place; 160]));
    workers.set_relay_sessions(&handle, [a.session(), b.session()]);
    for (protected, plain) in [&sent_before[1], &sent_before[0]] {
        a.phone.send_bytes(protected);
        assert_eq!(b.receive().0, *plain);
    }
    a.srtp.rekey(&reversed(&a.keys)).unwrap();
    let (protected, plain) = a.next(&[15; 160]);
    a.phone.send_bytes(&protected);
    assert_eq!(b.receive().0, plain);
    a.phone.send_bytes(&sent_before[2].0);
    eventually("what is under the old key is nobody's", || {
        refused(&handle, 0, Refusal::Authentication) == 1
    });
    // What we send goes on under the old key, with its rollover counter.
    let sent = b.send(0, &[13; 160]);
    assert_eq!(a.receive(), Ok(sent));

    // And one that takes SRTP away.
    workers.set_relay_sessions(&handle, [a.phone.session(), b.session()]);
    let sent = b.send(0, &[14; 160]);
    assert_eq!(a.phone.receive().0, sent);
}

/// Calls of every suite and in the clear, whose packets come in bursts: two at a time or alone, each comes to its far end as
/// it was, and those of a leg in their order.
#[test]
fn bursts_of_many_legs_come_out_whole_and_in_order() {
    let workers = workers();
    let mut calls: Vec<_> = Suite::ALL
        .into_iter()
        .cycle()
        .take(11)
        .map(|suite| {
            let [(sockets_a, gateway_a), (sockets_b, gateway_b)] = [sockets(), sockets()];
            let a = Secured::new(Phone::new(gateway_a), keys(suite));
            let b = Secured::new(Phone::new(gateway_b), keys(Suite::AesCm128HmacSha1Tag80));
            let handle = relay(&workers, [(sockets_a, a.session()), (sockets_b, b.session())]);
            (handle, a, b)
        })
        .collect();
    for round in 0..30u8 {
        let mut expected = vec![];
        for (place, (_, a, _)) in calls.iter_mut().enumerate() {
            // Some have more than one packet in a burst, and one has reports between them.
            let packets = (0..=place as u8 % 3).map(|more| a.next(&[round.wrapping_mul(8) + more; 160]));
            let packets: Vec<_> = packets.collect();
            for (protected, _) in &packets {
                a.phone.send_bytes(protected);
            }
            let report = a.protect(Kind::Rtcp, &[0x80, 201, 0, 1, 9, 9, 9, 9]);
            a.phone.send_rtcp(&report);
            expected.push(packets);
        }
        for ((_, _, b), expected) in calls.iter_mut().zip(expected) {
            for (_, plain) in expected {
                assert_eq!(b.receive(), Ok(plain));
            }
            let (report, _) = b.phone.receive_rtcp();
            assert_eq!(b.unprotect(Kind::Rtcp, report), Ok(vec![0x80, 201, 0, 1, 9, 9, 9, 9]));
        }
    }
    for (handle, _, _) in &calls {
        assert_eq!(handle.stats().iter().flat_map(|leg| leg.refusals()).count(), 0);
    }
}

#[test]
fn a_key_that_is_used_up_is_refused_and_counted() {
    let suite = Suite::AesCm128HmacSha1Tag80;
    let (workers, handle, mut a, mut b) = srtp_to_rtp(suite);
    a.keys.receive = a.keys.receive.clone().with_lifetime(NonZeroU64::new(5));
    workers.set_relay_sessions(&handle, [a.session(), b.session()]);
    for place in 0..5 {
        let (protected, plain) = a.next(&[place; 160]);
        a.phone.send_bytes(&protected);
        assert_eq!(b.receive().0, plain);
    }
    let (protected, _) = a.next(&[5; 160]);
    a.phone.send_bytes(&protected);
    eventually("a packet too many is refused", || {
        refused(&handle, 0, Refusal::KeyExhausted) == 1
    });
    // What we send goes on.
    let sent = b.send(0, &[5; 160]);
    assert_eq!(a.receive(), Ok(sent));

    a.keys.receive = Keying::random(suite, None);
    a.srtp.rekey(&reversed(&a.keys)).unwrap();
    workers.set_relay_sessions(&handle, [a.session(), b.session()]);
    let (protected, plain) = a.next(&[6; 160]);
    a.phone.send_bytes(&protected);
    assert_eq!(b.receive().0, plain);
}

#[test]
fn an_agent_hears_and_speaks_srtp_and_goes_on_with_it_when_the_leg_is_relayed() {
    for suite in Suite::ALL {
        let workers = workers();
        let (sockets_a, gateway) = sockets();
        let mut a = Secured::new(Phone::new(gateway), keys(suite));
        let handle = workers.add_leg(NewLeg {
            endpoint: EndpointId(1),
            sockets: sockets_a,
            agent: AgentSpec::Echo,
            session: Some(a.session()),
            left: None,
            unheard: None,
        });
        let (protected, _) = a.next(&[0x21; 160]);
        a.phone.send_bytes(&protected);
        let mut last = 0;
        eventually("the audio comes back", || {
            let packet = a.receive().unwrap();
            last = u16::from_be_bytes([packet[2], packet[3]]);
            packet[12..] == [0x21; 160]
        });
        a.phone.send(0, &[0x22; 160]);
        eventually("plain RTP is refused", || {
            refused(&handle, 0, Refusal::Authentication) == 1
        });

        // The agent leaves; the keys and where they are stay with the leg's sockets.
        let released = workers.release(handle).unwrap();
        let (sockets_b, gateway_b) = sockets();
        let mut b = Phone::new(gateway_b);
        let handle = relay(&workers, [(released.sockets, a.session()), (sockets_b, b.session())]);
        let (protected, plain) = a.next(&[0x23; 160]);
        a.phone.send_bytes(&protected);
        assert_eq!(b.receive().0, plain);
        // Packets of before may still be on their way.
        while a.phone.try_receive().is_some() {}
        let sent = b.send(0, &[0x24; 160]);
        assert_eq!(a.receive(), Ok(sent));
        a.phone.send_bytes(&protected);
        eventually("a replay is known from before", || {
            refused(&handle, 0, Refusal::Replayed) == 1
        });
        assert!(last > 0);
    }
}

#[test]
fn the_lane_says_that_it_is_for_srtp() {
    let (_, gateway) = sockets();
    let a = Secured::new(Phone::new(gateway), keys(Suite::AeadAes128Gcm));
    let plain = a.phone.session();
    assert_eq!(
        voxlane_dataplane::lane::for_media(&[plain.clone(), plain.clone()]),
        Ok(())
    );
    assert_eq!(
        voxlane_dataplane::lane::for_media(&[a.session(), plain]),
        Err(Reason::Srtp)
    );
    assert_eq!(serde_json::to_value(Lane::Worker).unwrap(), "worker");
}
