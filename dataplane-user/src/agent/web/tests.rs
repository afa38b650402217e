//! A session against a WebSocket server in another thread.

mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;
use tungstenite::handshake::server::{ErrorResponse, Request as ServerRequest, Response as ServerResponse};
use tungstenite::http::StatusCode;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Message, WebSocket};

use super::*;
use crate::agent::AgentTally;
use crate::agent::twilio::Twilio;
use crate::media_plane::{AgentLimits, CallDirection, WebProtocol};
use crate::playout::DEFAULT_LIMIT;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

struct Call {
    web: Web<Twilio>,
    playout: Playout,
    dtmf: dtmf::Sender,
    began: Instant,
}

impl Call {
    fn to(addresses: &[SocketAddr]) -> Self {
        Self::with_timeouts(addresses, PATIENCE, PATIENCE)
    }

    fn with_timeouts(addresses: &[SocketAddr], connect_timeout: Duration, silence_timeout: Duration) -> Self {
        let spec = WebSpec {
            connect_timeout,
            silence_timeout,
            limits: AgentLimits {
                ping_interval: silence_timeout / 2,
                ..AgentLimits::default()
            },
            ..spec("ws", addresses)
        };
        Self::of(Web::start(&spec, Twilio::new(&spec), Duration::ZERO))
    }

    fn over_tls(address: SocketAddr, trust: Arc<ClientConfig>) -> Self {
        let spec = spec("wss", &[address]);
        Self::of(Web::start_with(&spec, Twilio::new(&spec), Duration::ZERO, || Ok(trust)))
    }

    fn of(web: Web<Twilio>) -> Self {
        Self {
            web,
            playout: Playout::new(DEFAULT_LIMIT),
            dtmf: dtmf::Sender::new(160),
            began: Instant::now(),
        }
    }

    fn step(&mut self) {
        let now = self.began.elapsed();
        self.web.on_ready(&mut self.playout, now);
        self.web.on_tick(&mut self.playout, &mut self.dtmf, now);
        std::thread::yield_now();
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        while !done(self) {
            assert!(self.began.elapsed() < PATIENCE, "{what}: not in time");
            self.step();
        }
    }

    fn event(&mut self) -> AgentEvent {
        let mut event = None;
        self.until("event", |call| {
            event = call.web.poll_event();
            event.is_some()
        });
        event.unwrap()
    }
}

fn spec(scheme: &str, addresses: &[SocketAddr]) -> WebSpec {
    WebSpec {
        protocol: WebProtocol::Twilio,
        url: format!("{scheme}://bot.example/media?x=1"),
        addresses: addresses.to_vec(),
        headers: vec![("X-Token".into(), "secret".into())],
        tls: None,
        account_sid: "AC1".into(),
        call_sid: "CA1".into(),
        stream_sid: "MZ1".into(),
        from: "+15550100".to_owned(),
        to: "+15550200".to_owned(),
        direction: CallDirection::Inbound,
        parameters: vec![("lang".into(), "en".into())],
        connect_timeout: PATIENCE,
        silence_timeout: PATIENCE,
        limits: AgentLimits::default(),
        tally: Arc::default(),
        opening: Vec::new(),
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

type Heard = mpsc::Receiver<Value>;

/// A bot that accepts one connection, passes on what it hears and does as `talk` says with each message.
fn bot(
    talk: impl Fn(&Value, &mut WebSocket<TcpStream>) -> bool + Send + 'static,
) -> (SocketAddr, Heard, JoinHandle<()>) {
    let (listener, address) = listener();
    let (told, heard) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let check = |request: &ServerRequest, response: ServerResponse| {
            assert_eq!(request.uri(), "/media?x=1");
            assert_eq!(request.headers()["host"], "bot.example");
            assert_eq!(request.headers()["x-token"], "secret");
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(stream, check).unwrap();
        while let Ok(message) = socket.read() {
            if let Message::Text(text) = message {
                let value: Value = serde_json::from_str(&text).unwrap();
                let go_on = talk(&value, &mut socket);
                told.send(value).unwrap();
                if !go_on {
                    return;
                }
            }
        }
    });
    (address, heard, thread)
}

fn say<S: Read + Write>(socket: &mut WebSocket<S>, text: &str) {
    socket.send(Message::text(text)).unwrap();
}

#[test]
fn a_conversation_from_connected_to_stop() {
    let (address, heard, thread) = bot(|message, socket| {
        if message["event"] == "media" {
            let payload = message["media"]["payload"].as_str().unwrap();
            say(socket, "not json");
            say(
                socket,
                &format!(r#"{{"event":"media","streamSid":"MZ1","media":{{"payload":"{payload}"}}}}"#),
            );
            say(socket, r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"m1"}}"#);
        }
        true
    });
    let mut call = Call::to(&[address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    call.web.on_audio(&[0x11; 160], &mut call.playout, Duration::ZERO);
    call.web.on_digit(&Press {
        digit: '7',
        duration: Duration::from_millis(100),
    });
    call.until("audio", |call| call.playout.queued() == 160);
    let mut frame = [0; 160];
    assert!(call.playout.next(&mut frame));
    assert_eq!(frame, [0x11; 160]);
    let mut messages: Vec<Value> = Vec::new();
    call.until("mark", |call| {
        messages.extend(heard.try_iter());
        call.step();
        messages.last().is_some_and(|message| message["event"] == "mark")
    });
    call.web.on_audio(&[0x22; 160], &mut call.playout, Duration::ZERO);
    call.until("more audio", |call| call.playout.queued() == 160);
    assert!(!call.web.stop(Duration::ZERO));
    call.until("end", |call| call.web.is_done());
    thread.join().unwrap();
    assert_eq!(call.web.poll_event(), None, "an end we asked for is no news");
    assert!(call.web.unusable >= 1);

    messages.extend(heard.iter());
    let events: Vec<&str> = messages
        .iter()
        .map(|message| message["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["connected", "start", "media", "dtmf", "mark", "media", "stop"]);
    let numbers: Vec<&str> = messages[1..]
        .iter()
        .map(|m| m["sequenceNumber"].as_str().unwrap())
        .collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(messages[1]["start"]["customParameters"]["lang"], "en");
    assert_eq!(messages[5]["media"]["timestamp"], "20");
    assert_eq!(messages[5]["media"]["chunk"], "2");
}

#[test]
fn clear_empties_the_queue_and_returns_its_marks() {
    let (address, heard, thread) = bot(|message, socket| {
        if message["event"] == "start" {
            let minute = "/".repeat(80_000 * 4 / 3 / 4 * 4);
            say(
                socket,
                &format!(r#"{{"event":"media","media":{{"payload":"{minute}"}}}}"#),
            );
            say(socket, r#"{"event":"mark","mark":{"name":"never played"}}"#);
        }
        if message["event"] == "dtmf" {
            say(socket, r#"{"event":"clear","streamSid":"MZ1"}"#);
        }
        message["event"] != "mark"
    });
    let mut call = Call::to(&[address]);
    call.until("speech", |call| call.playout.queued() > 79_000);
    call.web.on_digit(&Press {
        digit: '1',
        duration: Duration::ZERO,
    });
    call.until("clear", |call| call.playout.queued() == 0);
    call.until("mark", |call| {
        call.step();
        thread.is_finished()
    });
    assert_eq!(heard.iter().last().unwrap()["mark"]["name"], "never played");
}

#[test]
fn an_agent_that_refuses_says_why() {
    let (listener, address) = listener();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let refuse = |_: &ServerRequest, _: ServerResponse| {
            let mut response = ErrorResponse::new(None);
            *response.status_mut() = StatusCode::FORBIDDEN;
            Err(response)
        };
        assert!(tungstenite::accept_hdr(stream, refuse).is_err());
    });
    let mut call = Call::to(&[address]);
    assert_eq!(
        call.event(),
        AgentEvent::Failed(AgentFailure::Refused("403 Forbidden".into()))
    );
    thread.join().unwrap();
}

#[test]
fn the_next_address_is_tried_and_none_left_is_a_failure() {
    let (gone, nobody) = listener();
    drop(gone);
    let (address, _heard, thread) = bot(|message, _| message["event"] != "start");
    let mut call = Call::to(&[nobody, address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    thread.join().unwrap();

    let mut call = Call::to(&[nobody]);
    assert!(matches!(call.event(), AgentEvent::Failed(AgentFailure::Connect(_))));
}

#[test]
fn an_address_that_hangs_up_or_says_nothing_gives_way_to_the_next() {
    let (dropping, hangs_up) = listener();
    let dropper = std::thread::spawn(move || drop(dropping.accept().unwrap()));
    let (address, _heard, thread) = bot(|message, _| message["event"] != "start");
    let mut call = Call::to(&[hangs_up, address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    dropper.join().unwrap();
    thread.join().unwrap();

    let (silent, says_nothing) = listener();
    let (address, _heard, thread) = bot(|message, _| message["event"] != "start");
    let mut call = Call::with_timeouts(&[says_nothing, address], Duration::from_secs(4), PATIENCE);
    assert_eq!(call.event(), AgentEvent::Ready);
    thread.join().unwrap();
    drop(silent);
}

#[test]
fn a_bot_that_talks_on_does_not_keep_the_connection_open() {
    let message = r#"{"event":"media","media":{"payload":"//8="}}"#;
    let (address, _heard, thread) = bot(|spoken, socket| {
        if spoken["event"] == "start" {
            for _ in 0..2 * READ_BATCH / message.len() {
                say(socket, message);
            }
        }
        true
    });
    let mut call = Call::to(&[address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    call.until("speech", |call| call.playout.queued() > 0);
    assert!(!call.web.stop(Duration::ZERO));
    call.until("end", |call| call.web.is_done());
    thread.join().unwrap();
}

#[test]
fn what_follows_the_upgrade_at_once_is_heard() {
    let (listener, address) = listener();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        let key = |line: &str| {
            line.split_once(": ")
                .filter(|(name, _)| *name == "Sec-WebSocket-Key")
                .map(|(_, key)| key.to_owned())
        };
        let key = request.lines().find_map(key).unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        let greeting = r#"{"event":"media","media":{"payload":"//8="}}"#;
        answer.extend([0x81, greeting.len() as u8]);
        answer.extend(greeting.as_bytes());
        stream.write_all(&answer).unwrap();
        // Until the gateway hangs up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut call = Call::to(&[address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    call.until("greeting", |call| call.playout.queued() == 2);
    drop(call);
    thread.join().unwrap();
}

#[test]
fn a_minute_of_speech_in_fragments_between_pings_is_heard() {
    let (address, _heard, thread) = bot(|message, socket| {
        if message["event"] == "start" {
            let audio = "//8A".repeat(60 * 8000 / 3);
            let text = format!(r#"{{"event":"media","media":{{"payload":"{audio}"}}}}"#);
            let fragments = text.len().div_ceil(50_000);
            for (number, fragment) in text.as_bytes().chunks(50_000).enumerate() {
                let kind = if number == 0 { Data::Text } else { Data::Continue };
                let frame = Frame::message(fragment.to_vec(), OpCode::Data(kind), number + 1 == fragments);
                socket.send(Message::Frame(frame)).unwrap();
                socket.send(Message::Ping(vec![number as u8; number].into())).unwrap();
            }
            say(socket, r#"{"event":"mark","mark":{"name":"said"}}"#);
        }
        message["event"] != "mark"
    });
    let mut call = Call::to(&[address]);
    call.until("speech", |call| call.playout.queued() == 60 * 8000);
    let mut frame = [0; 160];
    while call.playout.next(&mut frame) {
        let expected = [0xff, 0xff, 0x00].into_iter().cycle();
        let skipped = (60 * 8000 - call.playout.queued() - 160) % 3;
        assert!(
            frame
                .iter()
                .eq(expected.skip(skipped).take(160).collect::<Vec<u8>>().iter())
        );
    }
    call.until("the mark has come back", |_| thread.is_finished());
    thread.join().unwrap();
}

#[test]
fn an_agent_that_says_nothing_is_given_up() {
    // Before the handshake: the connection is accepted by the listener's backlog, and that is all.
    let (silent, address) = listener();
    let mut call = Call::with_timeouts(&[address], Duration::from_millis(50), PATIENCE);
    assert_eq!(call.event(), AgentEvent::Failed(AgentFailure::ConnectTimeout));
    drop(silent);

    // After it: pings are not answered.
    let (listener, address) = listener();
    let (keep, kept) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        keep.send(tungstenite::accept(stream).unwrap()).is_ok()
    });
    let mut call = Call::with_timeouts(&[address], PATIENCE, Duration::from_millis(200));
    assert_eq!(call.event(), AgentEvent::Ready);
    assert_eq!(call.event(), AgentEvent::Failed(AgentFailure::Silent));
    assert!(thread.join().unwrap());
    drop(kept);
}

#[test]
fn closing_in_good_order_ends_and_anything_else_fails() {
    let (address, _heard, thread) = bot(|message, socket| {
        if message["event"] == "start" {
            socket.close(None).unwrap();
        }
        true
    });
    let mut call = Call::to(&[address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    assert_eq!(call.event(), AgentEvent::Ended);
    thread.join().unwrap();

    let (address, _heard, thread) = bot(|message, socket| {
        if message["event"] == "start" {
            socket.get_mut().write_all(&[0xff; 64]).unwrap();
            // It is told what it did.
            let answer = socket.read().unwrap();
            assert!(
                matches!(&answer, Message::Close(Some(frame)) if frame.code == CloseCode::Protocol),
                "{answer}"
            );
        }
        message["event"] != "start"
    });
    let mut call = Call::to(&[address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    assert!(matches!(call.event(), AgentEvent::Failed(AgentFailure::Lost(_))));
    thread.join().unwrap();

    let (address, _heard, thread) = bot(|message, socket| {
        if message["event"] == "start" {
            let frame = CloseFrame {
                code: CloseCode::Error,
                reason: "out of order".into(),
            };
            socket.close(Some(frame)).unwrap();
        }
        true
    });
    let mut call = Call::to(&[address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    let why = "closed with out of order (1011)".to_owned();
    assert_eq!(call.event(), AgentEvent::Failed(AgentFailure::Lost(why)));
    thread.join().unwrap();

    // Dies: the connection is reset.
    let (address, _heard, thread) = bot(|message, _| message["event"] != "start");
    let mut call = Call::to(&[address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    assert!(matches!(call.event(), AgentEvent::Failed(AgentFailure::Lost(_))));
    thread.join().unwrap();
}

#[test]
fn an_agent_that_does_not_read_is_stalled() {
    let (listener, address) = listener();
    let (keep, kept) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        keep.send(tungstenite::accept(stream).unwrap()).is_ok()
    });
    let mut call = Call::to(&[address]);
    assert_eq!(call.event(), AgentEvent::Ready);
    call.until("stall", |call| {
        for _ in 0..100 {
            call.web.on_audio(&[0; 4000], &mut call.playout, Duration::ZERO);
        }
        call.step();
        call.web.phase == Phase::Over
    });
    assert!(matches!(call.event(), AgentEvent::Failed(AgentFailure::Stalled(_))));
    assert!(thread.join().unwrap());
    drop(kept);
}

#[test]
fn garbage_instead_of_http_is_refused() {
    let (listener, address) = listener();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").unwrap();
    });
    let mut call = Call::to(&[address]);
    assert!(matches!(call.event(), AgentEvent::Failed(AgentFailure::Refused(_))));
    thread.join().unwrap();
}

/// A call with a bot that sends this after `start`, and what the gateway closes with.
fn breaks_off(
    messages: &'static [&'static str],
    limits: AgentLimits,
) -> (AgentFailure, Option<CloseCode>, Arc<AgentTally>) {
    let (told, closed) = mpsc::channel();
    let (address, _heard, thread) = bot(move |message, socket| {
        if message["event"] != "start" {
            return true;
        }
        for message in messages {
            say(socket, message);
        }
        let code = loop {
            match socket.read() {
                Ok(Message::Close(frame)) => break frame.map(|frame| frame.code),
                Ok(_) => {}
                Err(_) => break None,
            }
        };
        told.send(code).unwrap();
        false
    });
    let spec = WebSpec {
        limits,
        ..spec("ws", &[address])
    };
    let tally = Arc::clone(&spec.tally);
    let mut call = Call::of(Web::start(&spec, Twilio::new(&spec), Duration::ZERO));
    assert_eq!(call.event(), AgentEvent::Ready);
    let AgentEvent::Failed(failure) = call.event() else {
        panic!("it has not failed")
    };
    thread.join().unwrap();
    (failure, closed.recv().unwrap(), tally)
}

#[test]
fn a_bot_that_cannot_be_understood_is_endured_up_to_a_limit() {
    let limits = AgentLimits {
        malformed: 2,
        ..AgentLimits::default()
    };
    // What is merely not known does not count.
    let messages = &["{", r#"{"event":"dance"}"#, r#"{"event":"media"}"#, "nonsense"];
    let (failure, code, tally) = breaks_off(messages, limits);
    assert_eq!(failure, AgentFailure::Malformed(3));
    assert_eq!((tally.malformed(), tally.oversized()), (3, 0));
    assert_eq!(code, Some(CloseCode::Policy));
}

#[test]
fn a_message_longer_than_the_limit_breaks_off() {
    let limits = AgentLimits {
        message: 40,
        ..AgentLimits::default()
    };
    let messages = &[
        r#"{"event":"clear"}"#,
        r#"{"event":"clear","but":"longer than forty bytes"}"#,
    ];
    let (failure, code, tally) = breaks_off(messages, limits);
    assert_eq!(failure, AgentFailure::Oversized(40));
    assert_eq!((tally.malformed(), tally.oversized()), (0, 1));
    assert_eq!(code, Some(CloseCode::Size));
}
