//! Relayed pairs in the worker lane, over real loopback sockets.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod worker_support;

use std::net::SocketAddr;
use std::time::Duration;

use crossbeam_channel::unbounded;
use voxlane_common::drops::DropReason;
use voxlane_common::rtp::RtpHeader;
use voxlane_common::splice::{Continuity, SentStream};
use voxlane_dataplane::flows::{Policing, Rules, TOS_EF};
use voxlane_dataplane::media_plane::{Direction, EndpointId, TelephoneEvent};
use voxlane_dataplane::worker::{Handle, Left, NewRelay, Parting, RelayLeg, Sockets, Workers};
use worker_support::{EVENT, Phone, eventually, rtcp_of, sockets};

fn workers() -> Workers {
    let (events, _) = unbounded();
    Workers::start(None, 20, events).unwrap()
}

/// Two phones joined by a relay. The second one numbers telephone-event 96.
/// Tests send as fast as they can.
const UNPOLICED: Rules = Rules {
    tos: TOS_EF,
    police: Policing::Off,
};

struct Call {
    workers: Workers,
    a: Phone,
    b: Phone,
    handle: Handle,
}

const EVENT_OF_B: u8 = 96;

fn call() -> Call {
    call_of(Continuity::Transparent)
}

fn call_of(continuity: Continuity) -> Call {
    let workers = workers();
    let (sockets_a, gateway_a) = sockets();
    let (sockets_b, gateway_b) = sockets();
    let (a, b) = (Phone::new(gateway_a), Phone::new(gateway_b));
    let mut session_b = b.session();
    session_b.telephone_event = Some(TelephoneEvent {
        send: EVENT_OF_B,
        receive: EVENT_OF_B,
    });
    let leg = |number, sockets, session| RelayLeg {
        endpoint: EndpointId(number),
        sockets,
        session,
        continuity,
    };
    let handle = workers.add_relay(NewRelay {
        legs: [leg(1, sockets_a, a.session()), leg(2, sockets_b, session_b)],
        rules: UNPOLICED,
        states: None,
    });
    Call { workers, a, b, handle }
}

#[test]
fn media_goes_both_ways_from_the_port_of_the_other_leg() {
    let mut call = call();
    let sent = call.a.send(0, &[7; 160]);
    assert_eq!(call.b.receive(), (sent, call.b.gateway));
    let sent = call.b.send(0, &[9; 160]);
    assert_eq!(call.a.receive(), (sent, call.a.gateway));
}

#[test]
fn telephone_events_are_renumbered_and_nothing_else_is_touched() {
    let mut call = call();
    let mut expected = call.a.send(0x80 | EVENT, &[5, 10, 0, 160]);
    expected[1] = 0x80 | EVENT_OF_B;
    assert_eq!(call.b.receive().0, expected);
    let mut expected = call.b.send(EVENT_OF_B, &[5, 10, 0, 160]);
    expected[1] = EVENT;
    assert_eq!(call.a.receive().0, expected);
}

#[test]
fn reports_are_relayed() {
    let call = call();
    let report = [0x80, 201, 0, 1, 1, 2, 3, 4];
    call.a.send_rtcp(&report);
    assert_eq!(call.b.receive_rtcp(), (report.to_vec(), rtcp_of(call.b.gateway)));
}

#[test]
fn a_phone_that_sends_from_elsewhere_is_found_and_strangers_stay_out() {
    let mut call = call();
    // A phone behind NAT: not where it said it would be.
    let mut moved = Phone::new(call.a.gateway);
    moved.send(0, &[1; 160]);
    let second = moved.send(0, &[2; 160]);
    assert_eq!(call.b.receive().0, second, "the first packet is on probation");
    let answer = call.b.send(0, &[3; 160]);
    assert_eq!(moved.receive(), (answer, call.a.gateway));

    // Who was signalled takes the flow back, and the other is a stranger then.
    let third = call.a.send(0, &[4; 160]);
    assert_eq!(call.b.receive().0, third);
    moved.send(0, &[5; 160]);
    let fourth = call.a.send(0, &[6; 160]);
    assert_eq!(call.b.receive().0, fourth);
    assert_eq!(call.handle.stats()[0].stream().source, Some(call.a.rtp_address()));
}

#[test]
fn statistics_count_what_was_received_sent_and_dropped() {
    let mut call = call();
    for _ in 0..3 {
        call.a.send(0, &[0; 160]);
        call.b.receive();
    }
    call.a.send(77, &[0; 160]); // looks like RTCP
    call.a.send(18, &[0; 160]); // was not agreed
    call.a.send_rtcp(&[0x80, 201, 0, 1, 1, 2, 3, 4]);
    let stats = call.handle.stats().clone();
    eventually("all six are counted", || stats[0].userspace_packets() == 6);
    eventually("two are dropped", || stats[0].stream().dropped == 2);
    let stream = stats[0].stream();
    assert_eq!((stream.packets, stream.bytes, stream.lost), (3, 3 * 172, 0));
    assert_eq!(stream.ssrc, 0x0102_0304);
    assert_eq!((stats[1].sent_packets(), stats[0].sent_packets()), (3, 0));
    assert_eq!(stats[1].userspace_packets(), 0);
}

#[test]
fn hold_stops_media_until_it_is_lifted() {
    let mut call = call();
    call.a.send(0, &[1; 160]);
    call.b.receive();
    let sessions = || [call.a.session(), call.b.session()];
    let mut held = sessions();
    held[1].direction = Direction::RecvOnly;
    call.workers.set_relay_sessions(&call.handle, held);
    let lifted = sessions();
    // Commands are taken before datagrams, but a datagram sent first may meet either session: ask until it is dropped.
    let stats = call.handle.stats().clone();
    eventually("media is held", || {
        call.a.send(0, &[2; 160]);
        stats[0].stream().dropped > 0
    });
    call.workers.set_relay_sessions(&call.handle, lifted);
    eventually("media flows again", || {
        call.a.send(0, &[3; 160]);
        std::iter::from_fn(|| call.b.try_receive()).any(|packet| packet[12] == 3)
    });
}

#[test]
fn a_removed_pair_leaves_its_ports_free() {
    let call = call();
    let ports: [SocketAddr; 2] = [call.a.gateway, call.b.gateway];
    assert_eq!(call.workers.remove(call.handle).recording, None);
    for rtp in ports {
        Sockets::bind(rtp, TOS_EF).unwrap();
    }
}

#[test]
fn what_comes_while_a_pair_is_handed_over_waits() {
    let mut call = call();
    call.a.send(0, &[1; 160]);
    call.b.receive();
    let known = call.workers.hand_over(&call.handle).unwrap();
    let waits = call.a.send(0, &[2; 160]);
    // Commands are taken before datagrams: the second answer comes after the packet.
    let [one, _] = call.workers.hand_over(&call.handle).unwrap();
    assert_eq!((one.rtp, one.rtp.account.packets), (known[0].rtp, 1));
    assert_eq!(call.b.try_receive(), None);
    call.workers.resume(&call.handle);
    assert_eq!(call.b.receive().0, waits);
    let after = call.a.send(0, &[3; 160]);
    assert_eq!(call.b.receive().0, after);
}

#[test]
fn a_pair_that_was_handed_over_ends_with_what_has_waited() {
    let mut call = call();
    let [before, _] = call.workers.hand_over(&call.handle).unwrap();
    let waits = [0; 5].map(|_| call.a.send(0, &[2; 160]));
    let gateway = [call.a.gateway, call.b.gateway];
    let parted = call.workers.finish(call.handle, Parting::GoesOn).unwrap();
    for packet in waits {
        assert_eq!(call.b.receive().0, packet);
    }
    let [a, b] = parted.states;
    assert_eq!(
        (before.rtp.account.packets, a.rtp.account.packets, a.rtp.forwarded),
        (0, 5, 5)
    );
    assert_eq!((a.heard.datagrams, b.heard.datagrams), (5, 0));
    assert_eq!(parted.sockets.map(|sockets| sockets.rtp.local_addr().unwrap()), gateway);
}

#[test]
fn a_source_whose_first_packet_waited_too_long_begins_with_whoever_has_the_pair_by_then() {
    let mut call = call_of(Continuity::Spliced);
    let [before, _] = call.workers.hand_over(&call.handle).unwrap();
    call.a.send(0, &[2; 160]);
    // Longer than a packet: the next one may be another's by then, and have begun the stream.
    std::thread::sleep(Duration::from_millis(40));
    let parted = call.workers.finish(call.handle, Parting::GoesOn).unwrap();
    let [a, _] = parted.states;
    assert_eq!((a.rtp.account.packets, a.rtp.forwarded), (1, 0));
    assert_eq!(a.rtp.dropped(DropReason::Held), 1);
    assert_eq!(a.rtp.sent, before.rtp.sent);
    assert_eq!(call.b.try_receive(), None);
}

#[test]
fn a_source_that_has_begun_goes_on_with_what_has_waited_however_long() {
    let mut call = call_of(Continuity::Spliced);
    call.a.send(0, &[1; 160]);
    call.b.receive();
    call.workers.hand_over(&call.handle).unwrap();
    let waits = call.a.send(0, &[2; 160]);
    std::thread::sleep(Duration::from_millis(40));
    call.workers.finish(call.handle, Parting::GoesOn).unwrap();
    assert_eq!(call.b.receive().0, waits);
}

#[test]
fn a_pair_goes_on_from_what_another_has_known() {
    let mut call = call();
    let press = |end: u8| [5, end, 0, 160];
    // The key is released in the first pair; the second hears the repetitions.
    call.a.send_at(1000, EVENT, &press(0x8a));
    call.b.receive();
    let session = |phone: &Phone| phone.session();
    let mut session_b = session(&call.b);
    session_b.telephone_event = Some(TelephoneEvent {
        send: EVENT_OF_B,
        receive: EVENT_OF_B,
    });
    let parted = call.workers.finish(call.handle, Parting::GoesOn).unwrap();
    let [sockets_a, sockets_b] = parted.sockets;
    let leg = |number, sockets, session| RelayLeg {
        endpoint: EndpointId(number),
        sockets,
        session,
        continuity: Continuity::Transparent,
    };
    let handle = call.workers.add_relay(NewRelay {
        legs: [leg(1, sockets_a, session(&call.a)), leg(2, sockets_b, session_b)],
        rules: UNPOLICED,
        states: Some(parted.states),
    });
    call.a.send_at(1000, EVENT, &press(0x8a));
    call.b.receive();
    let stats = handle.stats().clone();
    eventually("both packets are counted", || stats[0].stream().packets == 2);
    assert_eq!((stats[0].digits(), stats[0].userspace_packets()), (1, 2));
    assert_eq!((stats[1].sent_packets(), stats[0].stream().lost), (2, 0));
    assert_eq!(stats[0].stream().source, Some(call.a.rtp_address()));
}

#[test]
fn a_far_end_that_signalling_has_moved_is_not_taken_along() {
    let mut call = call();
    call.a.send(0, &[1; 160]);
    call.b.receive();
    let moved = Phone::new(call.a.gateway);
    call.workers
        .set_relay_sessions(&call.handle, [moved.session(), call.b.session()]);
    let [a, b] = call.workers.hand_over(&call.handle).unwrap();
    assert_eq!(a.rtp.latch.source().get(), None);
    assert_eq!((b.rtp.found_destination().get(), a.rtp.account.packets), (None, 1));
}

#[test]
fn what_a_leg_is_sent_after_an_agent_is_the_agents_stream() {
    let workers = workers();
    let (sockets_a, gateway_a) = sockets();
    let (sockets_b, gateway_b) = sockets();
    let (a, mut b) = (Phone::new(gateway_a), Phone::new(gateway_b));
    let leg = |number, sockets, session, continuity| RelayLeg {
        endpoint: EndpointId(number),
        sockets,
        session,
        continuity,
    };
    let of_agent = Left {
        sent: SentStream::left_at(77, 65_535, 5000, 1),
        sent_packets: 30,
        ..Left::default()
    };
    let handle = workers.add_relay(NewRelay {
        legs: [
            leg(1, sockets_a, a.session(), Continuity::Spliced),
            leg(2, sockets_b, b.session(), Continuity::Transparent),
        ],
        rules: UNPOLICED,
        states: Some(Left::paired([of_agent, Left::default()])),
    });
    let header = |packet: &[u8]| {
        let header = RtpHeader::parse(packet).unwrap();
        (header.ssrc(), header.sequence(), header.timestamp())
    };
    b.send(0, &[1; 160]);
    let (ssrc, first, begin) = header(&a.receive().0);
    assert_eq!((ssrc, first), (77, 0));
    // A key, told by its own time whatever its packets say on the other leg.
    b.send(EVENT, &[5, 0x8a, 0, 160]);
    assert_eq!(header(&a.receive().0), (77, 1, begin + 160));
    let stats = handle.stats().clone();
    eventually("the key is heard", || stats[1].digits() == 1);
    eventually("both packets are counted", || stats[0].sent_packets() == 32);
    b.send_rtcp(&[0x80, 201, 0, 1, 1, 2, 3, 4]);
    assert_eq!(a.receive_rtcp().0, [0x80, 201, 0, 1, 0, 0, 0, 77]);
}

#[test]
fn calls_go_to_the_least_loaded_worker() {
    let (events, _) = unbounded();
    // The same core twice: every machine has one.
    let first = Workers::start(None, 20, events.clone()).unwrap().cores()[0].unwrap_or(0);
    let workers = Workers::start(Some(&[first, first]), 20, events).unwrap();
    assert_eq!(workers.cores(), [Some(first), Some(first)]);
    let relays: Vec<(Phone, Phone, Handle)> = (0..4)
        .map(|_| {
            let (sockets_a, gateway_a) = sockets();
            let (sockets_b, gateway_b) = sockets();
            let (a, b) = (Phone::new(gateway_a), Phone::new(gateway_b));
            let legs =
                [(1, sockets_a, a.session()), (2, sockets_b, b.session())].map(|(number, sockets, session)| RelayLeg {
                    endpoint: EndpointId(number),
                    sockets,
                    session,
                    continuity: Continuity::Transparent,
                });
            let handle = workers.add_relay(NewRelay {
                legs,
                rules: UNPOLICED,
                states: None,
            });
            (a, b, handle)
        })
        .collect();
    for (mut a, b, handle) in relays {
        let sent = a.send(0, &[1; 160]);
        assert_eq!(b.receive().0, sent);
        workers.remove(handle);
    }
}
