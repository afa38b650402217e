//! What is said before the other side is there to hear it: by a caller to a bot that takes its time, and by an agent to a
//! caller who does not know of the answer yet.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod worker_support;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use serde_json::Value;
use tungstenite::{Message, WebSocket};
use voxlane_dataplane::codec::g711::ULAW_SILENCE;
use voxlane_dataplane::media_plane::{AgentSpec, EndpointId, MediaEvent, Speech};
use voxlane_dataplane::reception::Limits;
use voxlane_dataplane::worker::{Handle, NewLeg, Settings, Workers};
use worker_support::bot::spec_of;
use worker_support::{EVENT, PATIENCE, Phone, sockets};

const LEG: EndpointId = EndpointId(7);

/// Frames that are kept in these tests.
const KEPT: usize = 40;

struct Call {
    workers: Workers,
    phone: Phone,
    handle: Handle,
    events: Receiver<MediaEvent>,
}

/// A call that is up, to an agent that may not be.
fn call(agent: AgentSpec, speech: Speech) -> Call {
    let (to_us, events) = unbounded();
    let settings = Settings {
        ptime: 20,
        jitter: Limits::default(),
        first_words: Duration::from_millis(20 * KEPT as u64),
    };
    let workers = Workers::start(None, settings, to_us).unwrap();
    let (sockets, gateway) = sockets();
    let phone = Phone::new(gateway);
    let handle = workers.add_leg(NewLeg {
        endpoint: LEG,
        sockets,
        agent,
        session: None,
        left: None,
        unheard: None,
    });
    workers.set_speech(&handle, speech);
    workers.set_session(&handle, phone.session());
    Call {
        workers,
        phone,
        handle,
        events,
    }
}

impl Call {
    /// Says frames of these bytes, one each packet time.
    fn say(&mut self, frames: impl IntoIterator<Item = u8>) {
        for byte in frames {
            self.phone.receive();
            self.phone.send(0, &[byte; 160]);
        }
    }
}

/// The next message of an event.
fn next(socket: &mut WebSocket<TcpStream>, event: &str) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["event"] == event {
                return message;
            }
        }
    }
}

fn number(text: &Value) -> u64 {
    text.as_str().unwrap().parse().unwrap()
}

/// The frame that a message carries, by its byte; `None` if it is of more than one.
fn frame(media: &Value) -> Option<u8> {
    use base64::Engine as _;
    let payload = media["payload"].as_str().unwrap();
    let ulaw = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
    assert_eq!(ulaw.len(), 160);
    ulaw.iter().all(|byte| *byte == ulaw[0]).then_some(ulaw[0])
}

/// What a bot hears that takes the connection once `said` frames and a key have been said to it, up to the first frame
/// that is said after that: its frames.
fn heard_by_a_late_bot(said: u8) -> Vec<u8> {
    const LAST: u8 = 0xf0;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut call = call(spec_of(listener.local_addr().unwrap()), Speech::Free);
    call.say(1..=said);
    call.phone.send_at(50_000, 0x80 | EVENT, &[5, 0x8a, 3, 32]);
    let digit = call.events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(digit, MediaEvent::Digit { digit: '5', .. }), "{digit:?}");

    let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
    assert_eq!(call.events.recv_timeout(PATIENCE).unwrap(), MediaEvent::AgentReady(LEG));
    next(&mut socket, "start");
    let (mut frames, mut chunk) = (Vec::new(), 0);
    loop {
        // It goes on being said, and heard behind what was said before.
        call.say([LAST]);
        let message = next(&mut socket, "media");
        let media = &message["media"];
        chunk += 1;
        assert_eq!(number(&media["chunk"]), chunk);
        assert_eq!(number(&media["timestamp"]), 20 * (chunk - 1));
        match frame(media) {
            Some(LAST) => break,
            frame => frames.extend(frame.filter(|byte| *byte <= said)),
        }
    }
    drop(call.workers);
    frames
}

#[test]
fn a_bot_that_takes_its_time_is_told_all_that_was_said() {
    let frames = heard_by_a_late_bot(30);
    assert_eq!(frames.first(), Some(&1), "{frames:?}");
    assert!(frames.is_sorted(), "{frames:?}");
    // A machine that is late may make a frame of two.
    let mut distinct = frames.clone();
    distinct.dedup();
    assert!(distinct.len() >= 25, "{frames:?}");
}

#[test]
fn of_more_than_is_kept_the_end_is() {
    let frames = heard_by_a_late_bot(120);
    assert!(frames.is_sorted(), "{frames:?}");
    assert!(frames.len() <= KEPT, "{frames:?}");
    assert!(frames.first().is_some_and(|first| *first > 70), "{frames:?}");
    assert!(frames.last().is_some_and(|last| *last > 110), "{frames:?}");
}

#[test]
fn a_key_is_told_in_its_place_among_what_was_said() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut call = call(spec_of(listener.local_addr().unwrap()), Speech::Free);
    call.say([1; 10]);
    call.phone.send_at(50_000, 0x80 | EVENT, &[5, 0x8a, 3, 32]);
    call.events.recv_timeout(PATIENCE).unwrap();
    let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
    let before = number(&next(&mut socket, "dtmf")["sequenceNumber"]);
    // Behind `start` and what was said.
    assert!(before > 8, "{before}");
}

#[test]
fn what_an_agent_says_waits_for_a_caller_who_does_not_know_of_the_answer() {
    let mut call = call(AgentSpec::Tone { frequency: 1000 }, Speech::Held);
    for _ in 0..10 {
        assert_eq!(call.phone.receive().0[12..], [ULAW_SILENCE; 160]);
    }
    // Hearing from the caller shows that there is somebody to hear.
    call.phone.send(0, &[ULAW_SILENCE; 160]);
    while call.phone.receive().0[12..] == [ULAW_SILENCE; 160] {}
}

#[test]
fn what_an_agent_says_goes_when_it_is_let_go() {
    let call = call(AgentSpec::Tone { frequency: 1000 }, Speech::Held);
    for _ in 0..10 {
        assert_eq!(call.phone.receive().0[12..], [ULAW_SILENCE; 160]);
    }
    call.workers.set_speech(&call.handle, Speech::Free);
    while call.phone.receive().0[12..] == [ULAW_SILENCE; 160] {}
}
