//! Agent legs in the worker lane, over real loopback sockets.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod worker_support;

use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::codec::g711::{ULAW_SILENCE, alaw_to_linear, ulaw_to_linear};
use voxlane_dataplane::media_plane::{AgentSpec, Direction, EndpointId, MediaEvent, PhoneSpec};
use voxlane_dataplane::worker::{Handle, NewLeg, Sockets, Workers};
use worker_support::{EVENT, PATIENCE, Phone, eventually, rtcp_of, sockets};

const LEG: EndpointId = EndpointId(7);

struct Call {
    workers: Workers,
    phone: Phone,
    handle: Handle,
    events: Receiver<MediaEvent>,
}

/// A call to `agent` whose session is not known yet.
fn unanswered(agent: AgentSpec) -> Call {
    let (to_us, events) = unbounded();
    let workers = Workers::start(None, 20, to_us).unwrap();
    let (sockets, gateway) = sockets();
    let handle = workers.add_leg(NewLeg {
        endpoint: LEG,
        sockets,
        agent,
        session: None,
        left: None,
        unheard: None,
    });
    Call {
        workers,
        phone: Phone::new(gateway),
        handle,
        events,
    }
}

fn call(agent: AgentSpec) -> Call {
    let call = unanswered(agent);
    call.workers.set_session(&call.handle, call.phone.session());
    call
}

impl Call {
    fn event(&self) -> MediaEvent {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    fn next_payload(&self) -> Vec<u8> {
        self.phone.receive().0.split_off(12)
    }
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

fn timestamp(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])
}

#[test]
fn echo_returns_what_it_hears() {
    let mut call = call(AgentSpec::Echo);
    assert_eq!(call.event(), MediaEvent::AgentReady(LEG));
    // Silence comes first: the leg is open.
    assert_eq!(call.next_payload(), [ULAW_SILENCE; 160]);
    call.phone.send(0, &[0x21; 160]);
    eventually("the audio comes back", || call.next_payload() == [0x21; 160]);
}

#[test]
fn packets_are_one_stream_on_the_grid() {
    let call = call(AgentSpec::Tone { frequency: 1000 });
    let packets: Vec<Vec<u8>> = (0..10).map(|_| call.phone.receive().0).collect();
    assert_eq!((packets[0][0], packets[0][1]), (0x80, 0x80), "the marker on the first");
    for pair in packets.windows(2) {
        assert_eq!(sequence(&pair[1]), sequence(&pair[0]).wrapping_add(1));
        let step = timestamp(&pair[1]).wrapping_sub(timestamp(&pair[0]));
        assert!(step > 0 && step.is_multiple_of(160), "{step}");
        assert_eq!(pair[0][8..12], pair[1][8..12]);
        assert_eq!((pair[1].len(), pair[1][1]), (172, 0));
    }
    assert_eq!(call.phone.receive().1, call.phone.gateway);
}

#[test]
fn packets_are_as_long_as_the_far_end_asks_and_as_far_apart() {
    let call = unanswered(AgentSpec::Tone { frequency: 440 });
    let mut session = call.phone.session();
    let (mut before, mut samples): (Option<Vec<u8>>, Vec<i16>) = (None, Vec::new());
    // The worker's own packet time is 20 ms. Each time the far end asks for another, the stream goes on.
    for ptime in [30u8, 40, 10, 20, 30] {
        session.ptime = ptime;
        call.workers.set_session(&call.handle, session.clone());
        let length = usize::from(ptime) * 8;
        let mut taken = 0;
        while taken < 12 {
            let (packet, _) = call.phone.receive();
            if packet.len() == 12 + length {
                taken += 1;
            } else {
                assert_eq!(taken, 0, "no packet of {ptime} ms is followed by another");
            }
            if let Some(before) = before.replace(packet.clone()) {
                assert_eq!(sequence(&packet), sequence(&before).wrapping_add(1));
                assert_eq!(packet[8..12], before[8..12]);
                let step = timestamp(&packet).wrapping_sub(timestamp(&before)) as usize;
                // Given up by a worker that was late, or the first of another length.
                let whole = step.is_multiple_of(length) || taken < 2;
                assert!(step > 0 && whole, "{step} to a packet of {ptime} ms");
            }
            samples.extend(packet[12..].iter().copied().map(ulaw_to_linear));
        }
    }
    // Not a sample of the tone is missing, once it has begun.
    let begin = samples.iter().position(|sample| *sample != 0).unwrap();
    assert!(begin <= 320, "{begin}");
    assert!(
        samples[begin..]
            .windows(9)
            .all(|samples| samples.iter().any(|sample| *sample != 0))
    );
    let measured = frequency(&samples[begin..]);
    assert!((measured - 440.0).abs() < 5.0, "{measured} Hz");
}

#[test]
fn keys_are_sent_in_the_packet_time_of_the_far_end() {
    let spec = PhoneSpec {
        digits: "5".to_owned(),
        ..PhoneSpec::default()
    };
    let call = unanswered(AgentSpec::Phone(spec));
    let mut session = call.phone.session();
    session.ptime = 40;
    call.workers.set_session(&call.handle, session);
    let mut durations = Vec::new();
    while durations.len() < 3 {
        let (packet, _) = call.phone.receive();
        if packet[1] & 0x7f == EVENT {
            durations.push(u16::from_be_bytes([packet[14], packet[15]]));
        }
    }
    assert_eq!(durations, [320, 640, 960]);
}

/// Upward zero crossings a second.
fn frequency(samples: &[i16]) -> f64 {
    let crossings = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    crossings as f64 * 8000.0 / samples.len() as f64
}

#[test]
fn the_tone_has_its_frequency_in_either_codec() {
    for (codec, decode) in [
        (Codec::Pcmu, ulaw_to_linear as fn(u8) -> i16),
        (Codec::Pcma, alaw_to_linear),
    ] {
        let call = unanswered(AgentSpec::Tone { frequency: 440 });
        let mut session = call.phone.session();
        session.codec = codec;
        session.send_payload_type = codec.payload_type();
        call.workers.set_session(&call.handle, session);
        let mut samples = Vec::new();
        while samples.len() < 8000 {
            let (packet, _) = call.phone.receive();
            assert_eq!(packet[1] & 0x7f, codec.payload_type());
            samples.extend(packet[12..].iter().copied().map(decode));
        }
        let measured = frequency(&samples);
        assert!((measured - 440.0).abs() < 5.0, "{codec}: {measured} Hz");
    }
}

#[test]
fn a_key_is_reported_once_and_not_heard() {
    let mut call = call(AgentSpec::Echo);
    assert_eq!(call.event(), MediaEvent::AgentReady(LEG));
    call.phone.receive();
    // All packets of an event have the timestamp of its beginning.
    let began = 5000;
    for (marker, payload) in [
        (0x80, [5, 10, 0, 160]),
        (0, [5, 10, 1, 64]),
        (0, [5, 0x8a, 3, 32]),
        (0, [5, 0x8a, 3, 32]),
    ] {
        call.phone.send_at(began, marker | EVENT, &payload);
    }
    let expected = MediaEvent::Digit {
        endpoint: LEG,
        digit: '5',
        duration: Duration::from_millis(100),
    };
    assert_eq!(call.event(), expected);
    assert_eq!(call.handle.stats()[0].digits(), 1);
    let stats = call.handle.stats()[0].stream();
    assert_eq!(call.events.try_recv().ok(), None);
    assert_eq!(stats.dropped, 0);
}

#[test]
fn the_softphone_plays_dials_and_records() {
    let mut call = call(AgentSpec::Phone(PhoneSpec {
        play: vec![8000; 800].into(),
        digits: "4#".to_owned(),
        digits_after: Duration::ZERO,
        record_limit: 8000,
    }));
    let mut pressed = Vec::new();
    while pressed.len() < 2 {
        call.phone.send(0, &[0x21; 160]);
        let (packet, _) = call.phone.receive();
        if packet[1] & 0x7f == EVENT && packet[1] & 0x80 != 0 {
            pressed.push(packet[12]);
        }
    }
    assert_eq!(pressed, [4, 11]);
    assert_eq!(call.event(), MediaEvent::AgentReady(LEG));
    assert_eq!(call.event(), MediaEvent::PhoneDone(LEG));
    let recording = call.workers.remove(call.handle).recording.unwrap();
    assert!(recording.samples.contains(&ulaw_to_linear(0x21)));
}

#[test]
fn statistics_count_what_was_heard_and_said() {
    let mut call = call(AgentSpec::Echo);
    call.phone.receive();
    call.phone.send(0, &[1; 160]);
    call.phone.send(8, &[2; 160]); // was not agreed
    call.phone.send(0, &[3; 160]);
    let stats = call.handle.stats().clone();
    eventually("all three are counted", || stats[0].userspace_packets() == 3);
    eventually("one is of no use", || stats[0].stream().dropped == 1);
    let stream = stats[0].stream();
    assert_eq!((stream.packets, stream.bytes, stream.lost), (2, 2 * 172, 1));
    assert_eq!(stream.source, Some(call.phone.rtp_address()));
    assert!(stats[0].sent_packets() > 0);
}

#[test]
fn a_leg_on_hold_hears_nothing_and_says_on() {
    let mut call = unanswered(AgentSpec::Echo);
    let mut session = call.phone.session();
    session.direction = Direction::SendOnly;
    call.workers.set_session(&call.handle, session);
    call.phone.receive();
    call.phone.send(0, &[0x21; 160]);
    let stats = call.handle.stats().clone();
    eventually("it is of no use", || stats[0].stream().dropped == 1);
    assert_eq!(call.next_payload(), [ULAW_SILENCE; 160]);
}

#[test]
fn a_removed_leg_leaves_its_ports_free() {
    let call = call(AgentSpec::Echo);
    call.phone.receive();
    assert_eq!(call.workers.remove(call.handle).recording, None);
    Sockets::bind(call.phone.gateway, 0xb8).unwrap();
}

#[test]
fn reports_tell_what_was_sent() {
    let mut call = call(AgentSpec::Echo);
    let (media, _) = call.phone.receive();
    let sent = call.phone.send(0, &[0x21; 160]);
    let (report, from) = call.phone.receive_rtcp();
    assert_eq!(from, rtcp_of(call.phone.gateway));
    assert_eq!(report[..4], [0x81, 200, 0, 12], "a sender report with a block");
    assert_eq!(report[4..8], media[8..12], "the SSRC of the stream");
    assert_eq!(report[28..32], sent[8..12], "the block is about what was sent to it");
    // An answer that says: a quarter lost, nine in all, jitter 16 ms, held for no time.
    let mut answer = vec![0x81, 201, 0, 7, 1, 2, 3, 4];
    answer.extend(&report[4..8]);
    answer.extend([64, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 128]);
    answer.extend(&report[10..14]);
    answer.extend([0; 4]);
    call.phone.send_rtcp(&answer);
    let stats = call.handle.stats().clone();
    eventually("it is read", || stats[0].far().is_some());
    let far = stats[0].far().unwrap();
    assert_eq!((far.loss, far.lost, far.jitter_ms), (0.25, 9, 16.0));
    assert!(stats[0].round_trip().is_some());
    assert_eq!((stats[0].stream().packets, stats[0].stream().dropped), (1, 0));
    // Whoever leaves says so.
    call.workers.remove(call.handle);
    assert_eq!(call.phone.goodbye_of(&media)[1], 200);
}
