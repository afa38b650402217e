//! Calls of the worker lane that are listened to: relayed, transcoded, with SRTP, with an agent, and from one to the other, over
//! real loopback sockets, by a WebSocket server that is not ours.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod worker_support;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::codec::g711::alaw_to_ulaw;
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::{
    AgentFailure, AgentSpec, Endpoint, MediaError, MediaEvent, MediaPlane, Session, TapEvent, TapId, TrackName,
};
use voxlane_dataplane::plane::{Plane, PlaneConfig};
use voxlane_dataplane::srtp::{Kind, Suite};
use voxlane_tests::order::longest_in_order;
use worker_support::listener::{Deaf, Listener, TRACKS};
use worker_support::secured::{Secured, keys};
use worker_support::{PATIENCE, Phone};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Both tracks.
const TRACK_NAMES: [&str; 2] = ["inbound", "outbound"];

/// Numbers of a conversation.
const NUMBERS: u8 = 20;

/// Packets in which each of them is said: a jitter buffer that has cut something plays from the middle of one packet to the middle of the
/// next.
const PACKETS: usize = 3;

/// So many of them, at least, are heard as they were: a jitter buffer cuts and makes up more the busier the machine is.
const HEARD: usize = NUMBERS as usize / 2;

/// A plane with two legs.
struct Call {
    plane: Arc<Plane>,
    events: Receiver<MediaEvent>,
    legs: [Endpoint; 2],
}

impl Call {
    fn new() -> Self {
        let probe = UdpSocket::bind((LOCAL, 0)).unwrap();
        let first = (probe.local_addr().unwrap().port() & !1).min(u16::MAX - 9);
        drop(probe);
        let (tell, events) = unbounded();
        let config = PlaneConfig {
            addresses: vec![LOCAL],
            ..PlaneConfig::with_ports(first, first + 7)
        };
        let plane = Plane::start(config, tell).unwrap();
        let legs = [plane.open(LOCAL).unwrap(), plane.open(LOCAL).unwrap()];
        Self { plane, events, legs }
    }

    fn phones(&self) -> [Phone; 2] {
        self.legs.map(|leg| Phone::new(leg.rtp))
    }

    fn program(&self, sessions: [Session; 2]) {
        for (leg, session) in self.legs.iter().zip(sessions) {
            self.plane.program(leg.id, session).unwrap();
        }
    }

    fn relay(&self) {
        let [a, b] = self.legs;
        assert_eq!(self.plane.relay(a.id, b.id).unwrap(), [Lane::Worker; 2]);
    }

    /// Somebody who listens to the first leg, and has been told so.
    fn tap(&self, tracks: &[TrackName]) -> (Listener, TapId) {
        let mut listener = Listener::start();
        let tap = self.plane.tap(self.legs[0].id, listener.spec(tracks)).unwrap();
        listener.wait_for("the start", |message| message["event"] == "start");
        self.wait_for(&MediaEvent::Tap(self.legs[0].id, tap, TapEvent::Started));
        (listener, tap)
    }

    fn wait_for(&self, wanted: &MediaEvent) {
        while self.events.recv_timeout(PATIENCE).unwrap() != *wanted {}
    }
}

/// Each of them says the numbers, as far apart as packets are, and the last again until it is heard on these tracks.
fn talk(
    sides: &mut [&mut dyn FnMut(u8)],
    numbers: std::ops::RangeInclusive<u8>,
    listener: &mut Listener,
    last: &[(&str, u8)],
) {
    let end = Instant::now() + PATIENCE;
    let packets = numbers.clone().flat_map(|number| [number; PACKETS]);
    let again = std::iter::repeat(*numbers.end());
    for (said, number) in packets.chain(again).enumerate() {
        if said >= PACKETS * numbers.len() && listener.has_heard(last) {
            return;
        }
        assert!(Instant::now() < end, "{last:?} is not heard");
        sides.iter_mut().for_each(|say| say(number));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// These numbers, most of them in this order; silence and the like between them does not count. What a jitter buffer has made up is a
/// packet more quiet than the one before, which may have another's number.
fn assert_heard(heard: &[u8], spoken: &[u8], what: &str) {
    let place = |byte: &u8| spoken.iter().position(|one| one == byte);
    let mut places: Vec<usize> = heard.iter().filter_map(place).collect();
    places.dedup();
    let ordered = longest_in_order(&places);
    assert!(ordered >= HEARD, "{what}: {ordered} of {heard:?}");
    assert!(ordered * 2 >= places.len(), "{what}: {ordered} of {heard:?}");
}

fn numbers(range: std::ops::RangeInclusive<u8>) -> Vec<u8> {
    range.collect()
}

#[test]
fn a_relayed_call_and_a_transcoded_one_are_heard_both_ways() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let call = Call::new();
        let [mut caller, mut callee] = call.phones();
        let coded = Session {
            codec,
            send_payload_type: codec.payload_type(),
            receive_payload_type: codec.payload_type(),
            ..callee.session()
        };
        call.program([caller.session(), coded]);
        call.relay();
        let (mut listener, tap) = call.tap(&TRACKS);
        let mut of_callee = numbers(1..=NUMBERS);
        if codec == Codec::Pcma {
            alaw_to_ulaw(&mut of_callee);
        }
        talk(
            &mut [&mut |number| _ = caller.send(0, &[number; 160]), &mut |number| {
                _ = callee.send(codec.payload_type(), &[number; 160]);
            }],
            1..=NUMBERS,
            &mut listener,
            &[("inbound", NUMBERS), ("outbound", of_callee[of_callee.len() - 1])],
        );
        call.plane.end_tap(tap);
        listener.wait_for("the end", |message| message["event"] == "stop");
        assert_heard(&listener.heard("inbound"), &numbers(1..=NUMBERS), "inbound");
        assert_heard(&listener.heard("outbound"), &of_callee, "outbound");
        listener.assert_in_sequence();
        assert_eq!(
            listener.start_message()["tracks"],
            serde_json::json!(["inbound", "outbound"])
        );
    }
}

#[test]
fn what_is_protected_on_the_way_is_heard() {
    let call = Call::new();
    let [caller, mut callee] = call.phones();
    let mut caller = Secured::new(caller, keys(Suite::AesCm128HmacSha1Tag80));
    call.program([caller.session(), callee.session()]);
    call.relay();
    let (mut listener, _) = call.tap(&TRACKS);
    let mut sent: u16 = 0;
    let mut secret = |number: u8| {
        sent += 1;
        let mut plain = vec![0x80, 0];
        plain.extend(sent.to_be_bytes());
        plain.extend((u32::from(sent) * 160).to_be_bytes());
        plain.extend([9; 4]);
        plain.extend([number; 160]);
        let protected = caller.protect(Kind::Rtp, &plain);
        caller.phone.send_raw(&protected);
    };
    let mut clear = |number: u8| _ = callee.send(0, &[number; 160]);
    let last = TRACK_NAMES.map(|track| (track, NUMBERS));
    talk(&mut [&mut secret, &mut clear], 1..=NUMBERS, &mut listener, &last);
    assert_heard(&listener.heard("inbound"), &numbers(1..=NUMBERS), "inbound");
    assert_heard(&listener.heard("outbound"), &numbers(1..=NUMBERS), "outbound");
}

#[test]
fn a_stream_goes_on_from_an_agent_to_a_relay_and_to_another_agent() {
    let call = Call::new();
    let [mut caller, mut callee] = call.phones();
    let [a, _] = call.legs;
    // Nobody has the leg yet, and nothing is agreed.
    let (mut listener, _) = call.tap(&TRACKS);
    call.plane.attach(a.id, AgentSpec::Echo).unwrap();
    call.program([caller.session(), callee.session()]);
    // It says what it hears.
    let to = |last| TRACK_NAMES.map(|track| (track, last));
    talk(
        &mut [&mut |number| _ = caller.send(0, &[number; 160])],
        1..=NUMBERS,
        &mut listener,
        &to(NUMBERS),
    );
    call.relay();
    talk(
        &mut [&mut |number| _ = caller.send(0, &[number; 160]), &mut |number| {
            _ = callee.send(0, &[number; 160]);
        }],
        NUMBERS + 1..=2 * NUMBERS,
        &mut listener,
        &to(2 * NUMBERS),
    );
    call.plane.attach(a.id, AgentSpec::Echo).unwrap();
    talk(
        &mut [&mut |number| _ = caller.send(0, &[number; 160])],
        2 * NUMBERS + 1..=3 * NUMBERS,
        &mut listener,
        &to(3 * NUMBERS),
    );
    for track in TRACK_NAMES {
        let heard = listener.heard(track);
        for first in [1, NUMBERS + 1, 2 * NUMBERS + 1] {
            assert_heard(&heard, &numbers(first..=first + NUMBERS - 1), track);
        }
    }
    listener.assert_in_sequence();
    // The call ends, and with it the stream.
    call.plane.close(a.id);
    listener.wait_for("the end", |message| message["event"] == "stop");
}

#[test]
fn one_who_reads_nothing_is_given_up_and_the_call_does_not_notice() {
    let call = Call::new();
    let [mut caller, callee] = call.phones();
    call.program([caller.session(), callee.session()]);
    call.relay();
    let deaf = Deaf::start();
    let tap = call
        .plane
        .tap(call.legs[0].id, deaf.spec(Duration::from_secs(1)))
        .unwrap();
    call.wait_for(&MediaEvent::Tap(call.legs[0].id, tap, TapEvent::Started));
    for number in 1..=4 * NUMBERS {
        caller.send(0, &[number; 160]);
        std::thread::sleep(Duration::from_millis(20));
    }
    for number in 1..=4 * NUMBERS {
        assert_eq!(callee.receive().0[12..], [number; 160]);
    }
    let failed = TapEvent::Failed(AgentFailure::Silent);
    call.wait_for(&MediaEvent::Tap(call.legs[0].id, tap, failed));
}

#[test]
fn no_more_of_a_call_is_listened_to_than_may_be() {
    let call = Call::new();
    let [caller, callee] = call.phones();
    call.program([caller.session(), callee.session()]);
    call.relay();
    let (_first, tap) = call.tap(&TRACKS);
    let (_second, _) = call.tap(&TRACKS);
    let refused = Listener::start();
    let more = || call.plane.tap(call.legs[0].id, refused.spec(&TRACKS[..1]));
    assert!(matches!(more(), Err(MediaError::TooManyTracks)));
    call.plane.end_tap(tap);
    assert!(more().is_ok());
}
