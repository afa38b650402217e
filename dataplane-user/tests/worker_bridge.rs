//! Pairs whose legs differ, over real loopback sockets.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod worker_support;

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use voxlane_common::drops::DropReason;
use voxlane_common::rtp::RtpHeader;
use voxlane_common::splice::Continuity;
use voxlane_dataplane::codec::g711::{linear_to_ulaw, ulaw_to_linear};
use voxlane_dataplane::codec::{Codec, Transcoder};
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::media_plane::{Direction, EndpointId, MediaEvent, Session, TelephoneEvent};
use voxlane_dataplane::worker::{Handle, Left, NewRelay, Parting, RelayLeg, Workers};
use worker_support::{EVENT, PATIENCE, Phone, eventually, sockets};

const EVENT_OF_B: u8 = 96;

/// A phone with PCMU and 20 ms, and one with another codec or packet time that numbers telephone-event 96.
struct Call {
    workers: Workers,
    told: Receiver<MediaEvent>,
    a: Phone,
    b: Phone,
    sessions: [Session; 2],
    handle: Handle,
}

fn call(codec: Codec, ptime: u8) -> Call {
    let (events, told) = unbounded();
    let workers = Workers::start(None, 20, events).unwrap();
    let (sockets_a, gateway_a) = sockets();
    let (sockets_b, gateway_b) = sockets();
    let (a, b) = (Phone::new(gateway_a), Phone::new(gateway_b));
    let sessions = [a.session(), session_of_b(&b, codec, ptime)];
    let leg = |number, sockets, session: &Session| RelayLeg {
        endpoint: EndpointId(number),
        sockets,
        session: session.clone(),
        continuity: Continuity::Spliced,
    };
    let handle = workers.add_relay(NewRelay {
        legs: [leg(1, sockets_a, &sessions[0]), leg(2, sockets_b, &sessions[1])],
        rules: Rules::default(),
        states: None,
    });
    Call {
        workers,
        told,
        a,
        b,
        sessions,
        handle,
    }
}

fn session_of_b(b: &Phone, codec: Codec, ptime: u8) -> Session {
    Session {
        codec,
        send_payload_type: codec.payload_type(),
        receive_payload_type: codec.payload_type(),
        telephone_event: Some(TelephoneEvent {
            send: EVENT_OF_B,
            receive: EVENT_OF_B,
        }),
        ptime,
        ..b.session()
    }
}

/// One of many calls between PCMU and G.722 of one worker.
struct Crowded {
    phones: [Phone; 2],
    _handle: Handle,
}

fn crowd(workers: &Workers, calls: u64) -> Vec<Crowded> {
    let call = |number: u64| {
        let made = [(Codec::Pcmu, 2 * number), (Codec::G722, 2 * number + 1)].map(|(codec, endpoint)| {
            let (sockets, gateway) = sockets();
            let phone = Phone::new(gateway);
            let session = session_of_b(&phone, codec, 20);
            let leg = RelayLeg {
                endpoint: EndpointId(endpoint),
                sockets,
                session,
                continuity: Continuity::Spliced,
            };
            (phone, leg)
        });
        let [(a, leg_a), (b, leg_b)] = made;
        let handle = workers.add_relay(NewRelay {
            legs: [leg_a, leg_b],
            rules: Rules::default(),
            states: None,
        });
        Crowded {
            phones: [a, b],
            _handle: handle,
        }
    };
    (0..calls).map(call).collect()
}

impl Call {
    /// Phone A sends packets of 20 ms in their time; returns when the last is sent.
    fn talk(&mut self, packets: &[Vec<u8>]) {
        let begin = Instant::now();
        for (place, payload) in packets.iter().enumerate() {
            let due = begin + Duration::from_millis(20 * place as u64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.a.send(0, payload);
        }
    }

    fn agree(&self, sessions: [Session; 2]) {
        self.workers.set_relay_sessions(&self.handle, sessions);
        // It has obeyed once it answers.
        self.workers.hand_over(&self.handle);
        self.workers.resume(&self.handle);
    }
}

fn header(packet: &[u8]) -> RtpHeader {
    RtpHeader::parse(packet).unwrap()
}

/// A tone in packets of 20 ms.
fn tone(packets: usize) -> Vec<Vec<u8>> {
    let sample = |n: usize| linear_to_ulaw((8000.0 * (TAU * 440.0 / 8000.0 * n as f64).sin()) as i16);
    let samples: Vec<u8> = (0..160 * packets).map(sample).collect();
    samples.chunks(160).map(<[u8]>::to_vec).collect()
}

/// How much of the sound is this tone, 0 to 1.
fn share(samples: &[i16], hz: f64) -> f64 {
    let (mut sine, mut cosine, mut all) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (sin, cos) = (TAU * hz / 8000.0 * n as f64).sin_cos();
        let sample = f64::from(*sample);
        (sine, cosine, all) = (sine + sample * sin, cosine + sample * cos, all + sample * sample);
    }
    2.0 * (sine * sine + cosine * cosine) / (all * samples.len() as f64)
}

#[test]
fn what_is_sent_in_one_codec_is_heard_in_the_other_as_one_stream() {
    let mut call = call(Codec::G722, 30);
    call.talk(&tone(30));
    let packets: Vec<Vec<u8>> = (0..20).map(|_| call.b.receive().0).collect();
    let first = header(&packets[0]);
    assert_eq!((first.payload_type(), first.marker()), (9, true));
    let mut heard = Vec::new();
    for (place, packet) in (0u16..).zip(&packets) {
        let header = header(packet);
        assert_eq!(header.ssrc(), first.ssrc());
        assert_eq!(header.sequence(), first.sequence().wrapping_add(place));
        let expected = first.timestamp().wrapping_add(240 * u32::from(place));
        assert_eq!((header.timestamp(), packet.len()), (expected, 12 + 240), "{place}");
        heard.extend_from_slice(&packet[12..]);
    }
    let mut transcoder = Transcoder::new(Codec::G722, Codec::Pcmu);
    transcoder.run(&mut heard);
    let samples: Vec<i16> = heard.iter().map(|code| ulaw_to_linear(*code)).collect();
    let purity = share(&samples[800..], 440.0);
    assert!(purity > 0.999, "{purity}");
    assert!(
        samples[800..]
            .chunks(160)
            .all(|frame| frame.iter().any(|sample| *sample > 7500))
    );
    assert!(samples.iter().all(|sample| sample.abs() < 8600));
}

#[test]
fn a_key_is_passed_on_under_the_others_number_and_told_once() {
    let mut call = call(Codec::Pcma, 20);
    call.talk(&tone(3));
    let audio: Vec<Vec<u8>> = (0..3).map(|_| call.b.receive().0).collect();
    let began = 12_345;
    for payload in [[5, 10, 0, 160], [5, 10, 1, 64], [5, 0x8a, 1, 224], [5, 0x8a, 1, 224]] {
        call.a.send_at(began, EVENT, &payload);
    }
    let keys: Vec<Vec<u8>> = (0..4).map(|_| call.b.receive().0).collect();
    let first = header(&keys[0]);
    assert_eq!((first.payload_type(), first.marker()), (EVENT_OF_B, true));
    let last_audio = header(&audio[2]);
    assert_eq!(first.sequence(), last_audio.sequence().wrapping_add(1));
    assert_eq!(first.timestamp(), last_audio.timestamp().wrapping_add(160));
    for key in &keys[1..] {
        assert_eq!(
            (header(key).timestamp(), header(key).marker()),
            (first.timestamp(), false)
        );
    }
    assert_eq!(keys[3][12..], [5, 0x8a, 1, 224]);
    let press = MediaEvent::Digit {
        endpoint: EndpointId(1),
        digit: '5',
        duration: Duration::from_millis(60),
    };
    assert_eq!(call.told.recv_timeout(PATIENCE), Ok(press));
    assert_eq!(call.handle.stats()[0].digits(), 1);
    // And the other way round.
    call.b.send_at(777, EVENT_OF_B, &[6, 0x8a, 0, 160]);
    assert_eq!(header(&call.a.receive().0).payload_type(), EVENT);
}

#[test]
fn legs_that_come_to_agree_are_relayed_as_one_stream_with_what_was_before() {
    let mut call = call(Codec::Pcma, 20);
    call.talk(&tone(3));
    let before = [(); 3].map(|()| call.b.receive().0)[2].clone();
    let [a, b] = call.sessions.clone();
    let agreed = session_of_b(&call.b, Codec::Pcmu, 20);
    call.agree([a.clone(), agreed]);
    let sent = call.a.send(0, &[0x21; 160]);
    let after = call.b.receive().0;
    assert_eq!(after[12..], sent[12..]);
    assert_eq!(header(&after).ssrc(), header(&before).ssrc());
    assert_eq!(header(&after).sequence(), header(&before).sequence().wrapping_add(1));

    // And apart again.
    call.agree([a, b]);
    call.a.send(0, &[0xff; 160]);
    let apart = call.b.receive().0;
    assert_eq!((header(&apart).payload_type(), &apart[12..]), (8, &[0xd5; 160][..]));
    assert_eq!(header(&apart).ssrc(), header(&before).ssrc());
    assert_eq!(header(&apart).sequence(), header(&after).sequence().wrapping_add(1));
    let [a, b] = [0, 1].map(|place| &call.handle.stats()[place]);
    assert_eq!((a.stream().packets, b.sent_packets(), b.stream().packets), (5, 5, 0));
}

#[test]
fn when_it_is_over_both_far_ends_are_told_and_what_follows_is_another_stream() {
    let mut over = call(Codec::G722, 20);
    over.talk(&tone(2));
    over.b.send(9, &[0xfa; 160]);
    let [to_a, to_b] = [&over.a, &over.b].map(|phone| phone.receive().0);
    let parted = over.workers.finish(over.handle, Parting::Over).unwrap();
    assert_eq!(over.a.goodbye_of(&to_a)[1], 200);
    assert_eq!(over.b.goodbye_of(&to_b)[1], 200);
    let left = Left::of_pair(parted.states);
    assert!(left.iter().all(|left| !left.sent.has_begun()));

    let mut moved = call(Codec::G722, 20);
    moved.talk(&tone(2));
    let to_b = moved.b.receive().0;
    let [_, left] = Left::of_pair(moved.workers.finish(moved.handle, Parting::GoesOn).unwrap().states);
    assert_eq!(left.sent.ssrc, header(&to_b).ssrc());
}

#[test]
fn nothing_is_sent_to_a_leg_that_holds() {
    let mut call = call(Codec::G722, 20);
    let [a, b] = call.sessions.clone();
    let held = Session {
        direction: Direction::RecvOnly,
        ..b.clone()
    };
    call.agree([a.clone(), held]);
    call.talk(&tone(3));
    eventually("the packets are counted", || {
        call.handle.stats()[0].stream().packets == 3
    });
    assert_eq!(call.handle.stats()[1].sent_packets(), 0);
    call.agree([a, b]);
    call.talk(&tone(3));
    assert!(header(&call.b.receive().0).marker());
}

/// Four calls and more are due at a time, and so coded together.
#[test]
fn many_calls_are_each_coded_as_one_by_itself() {
    let (events, _told) = unbounded();
    let workers = Workers::start(None, 20, events).unwrap();
    let mut calls = crowd(&workers, 45);
    let codecs = [Codec::Pcmu, Codec::G722];
    // All at once, and less than what may wait: so nothing depends on when it is coded.
    let packets = |call: usize| 1 + call % 8;
    let audio = |call: usize, place: usize| -> Vec<u8> {
        let sample = |n: usize| (n * (call + 3) * 37 + n * n * (place + 1) % 89) as u8;
        (0..160 * packets(call)).map(sample).collect()
    };
    for (number, call) in calls.iter_mut().enumerate() {
        for (place, phone) in call.phones.iter_mut().enumerate() {
            for payload in audio(number, place).chunks(160) {
                phone.send(codecs[place].payload_type(), payload);
            }
        }
    }
    for (number, call) in calls.iter().enumerate() {
        for place in [0, 1] {
            let mut expected = audio(number, place);
            Transcoder::new(codecs[place], codecs[1 - place]).run(&mut expected);
            let heard: Vec<u8> = (0..packets(number))
                .flat_map(|_| call.phones[1 - place].receive().0.split_off(12))
                .collect();
            assert!(heard == expected, "call {number}, from leg {place}");
        }
    }
}

/// From PCMU to G.722 it is made up before it is coded, the other way after.
#[test]
fn what_is_lost_is_made_up() {
    let mut call = call(Codec::G722, 20);
    let packets = tone(40);
    let mut wide: Vec<u8> = packets.concat();
    Transcoder::new(Codec::Pcmu, Codec::G722).run(&mut wide);
    let begin = Instant::now();
    for (place, (narrow, wide)) in packets.iter().zip(wide.chunks(160)).enumerate() {
        let due = begin + Duration::from_millis(20 * place as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if matches!(place, 15 | 25) {
            call.a.skip();
            call.b.skip();
        } else {
            call.a.send(0, narrow);
            call.b.send(9, wide);
        }
    }
    for (phone, codec) in [(&call.b, Codec::G722), (&call.a, Codec::Pcmu)] {
        let mut heard: Vec<u8> = (0..38).flat_map(|_| phone.receive().0.split_off(12)).collect();
        Transcoder::new(codec, Codec::Pcmu).run(&mut heard);
        let samples: Vec<i16> = heard.iter().map(|code| ulaw_to_linear(*code)).collect();
        let quiet = samples[800..]
            .chunks(40)
            .filter(|part| part.iter().all(|sample| sample.abs() < 5000));
        assert_eq!(quiet.count(), 0, "{codec}");
        let purity = share(&samples[800..], 440.0);
        assert!(purity > 0.98, "{codec}: {purity}");
    }
}

#[test]
fn a_flood_is_held_to_the_rate_that_was_agreed() {
    let mut call = call(Codec::G722, 20);
    let began = Instant::now();
    let stats = &call.handle.stats()[0];
    for group in 1..=20 {
        for _ in 0..50 {
            call.a.send(0, &[0x55; 160]);
        }
        // The socket holds no more than a few groups.
        eventually("all of it is judged", || {
            stats.stream().packets + stats.stream().dropped == 50 * group
        });
    }
    // A second of media at once, and twice what was agreed after that.
    let most = 65 + 2 * (began.elapsed().as_millis() / 20 + 1) as u64;
    let packets = stats.stream().packets;
    assert!((50..=most).contains(&packets), "{packets} of at most {most}");
    assert_eq!(stats.drops(), [(DropReason::Policed, 1000 - packets)]);
    // It goes on with what comes in its time.
    assert_eq!(header(&call.b.receive().0).payload_type(), 9);
}

#[test]
fn where_nobody_speaks_there_is_the_noise_that_was_described() {
    let mut call = call(Codec::G722, 20);
    call.talk(&tone(5));
    // 40 dB below full scale, of no colour.
    call.a.send(13, &[40]);
    let packets: Vec<Vec<u8>> = (0..30).map(|_| call.b.receive().0).collect();
    let mut heard: Vec<u8> = packets.iter().flat_map(|packet| packet[12..].to_vec()).collect();
    let mut transcoder = Transcoder::new(Codec::G722, Codec::Pcmu);
    transcoder.run(&mut heard);
    // Behind the tone, and what the filters still have of it.
    let noise = heard[160 * 7..].iter().map(|code| f64::from(ulaw_to_linear(*code)));
    let level = (noise.map(|sample| sample * sample).sum::<f64>() / (160 * 23) as f64).sqrt();
    let decibel = 20.0 * (level / 32_768.0).log10();
    assert!((-42.5..-38.5).contains(&decibel), "{decibel}");
    // Somebody speaks again.
    call.a.send(0, &tone(1)[0]);
    let first = header(&packets[0]);
    for place in 1.. {
        let packet = packets.get(place).cloned().unwrap_or_else(|| call.b.receive().0);
        let expected = first.timestamp().wrapping_add(160 * place as u32);
        assert_eq!(
            (header(&packet).timestamp(), header(&packet).marker()),
            (expected, false)
        );
        if place < packets.len() {
            continue;
        }
        let mut audio = packet[12..].to_vec();
        transcoder.run(&mut audio);
        if audio.iter().any(|code| ulaw_to_linear(*code).abs() > 5000) {
            break;
        }
    }
}
