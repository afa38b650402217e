//! Against tungstenite as the server, both ways, and against what no server may send.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::*;

const MESSAGE_LIMIT: usize = 2 << 20;

/// A server's connection: what it reads, and what it has written.
struct Pipe {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn server(input: Vec<u8>) -> WebSocket<Pipe> {
    let pipe = Pipe {
        input: Cursor::new(input),
        output: Vec::new(),
    };
    WebSocket::from_raw_socket(pipe, Role::Server, Some(WebSocketConfig::default()))
}

/// What one side sends.
#[derive(Clone, Debug, PartialEq)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// Texts whose lengths are around those at which a header grows, and short ones.
fn text() -> impl Strategy<Value = String> {
    let long = prop_oneof![120..130usize, 65_530..65_540usize, 0..3000usize];
    prop_oneof![
        any::<String>(),
        long.prop_map(|length| "ä".repeat(length / 2) + &"x".repeat(length % 2))
    ]
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=most)
}

fn message() -> impl Strategy<Value = Sent> {
    prop_oneof![
        4 => text().prop_map(Sent::Text),
        1 => bytes(300).prop_map(Sent::Binary),
        1 => bytes(CONTROL_LIMIT).prop_map(Sent::Ping),
        1 => bytes(CONTROL_LIMIT).prop_map(Sent::Pong),
    ]
}

fn close() -> impl Strategy<Value = Sent> {
    let code = prop_oneof![1000..=1003u16, 1007..=1011u16, 3000..=4999u16];
    prop::option::of((code, "[a-zé]{0,60}")).prop_map(Sent::Close)
}

fn conversation() -> impl Strategy<Value = Vec<Sent>> {
    (prop::collection::vec(message(), 0..6), close()).prop_map(|(mut sent, close)| {
        sent.push(close);
        sent
    })
}

/// What the server reads.
fn read_by_server(sent: Vec<u8>) -> Vec<Sent> {
    let mut server = server(sent);
    let close = |frame: CloseFrame| (frame.code.into(), frame.reason.as_str().to_owned());
    let messages = std::iter::from_fn(|| server.read().ok());
    let messages = messages.map(|message| match message {
        Message::Text(text) => Sent::Text(text.as_str().to_owned()),
        Message::Binary(bytes) => Sent::Binary(bytes.to_vec()),
        Message::Ping(bytes) => Sent::Ping(bytes.to_vec()),
        Message::Pong(bytes) => Sent::Pong(bytes.to_vec()),
        Message::Close(frame) => Sent::Close(frame.map(close)),
        Message::Frame(_) => unreachable!("it reads whole messages"),
    });
    messages.collect()
}

/// What the server writes: texts in so many fragments, with pings between them.
fn written_by_server(sent: &[Sent], fragments: usize) -> Vec<u8> {
    let mut server = server(Vec::new());
    for message in sent {
        match message {
            Sent::Text(text) => {
                let pieces = cut(text.as_bytes(), fragments);
                for (number, piece) in pieces.iter().enumerate() {
                    let kind = if number == 0 { Data::Text } else { Data::Continue };
                    let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), number + 1 == pieces.len());
                    server.write(Message::Frame(frame)).unwrap();
                    if number + 1 < pieces.len() {
                        server.write(Message::Ping(vec![number as u8].into())).unwrap();
                    }
                }
            }
            Sent::Binary(bytes) => server.write(Message::Binary(bytes.clone().into())).unwrap(),
            Sent::Ping(bytes) => server.write(Message::Ping(bytes.clone().into())).unwrap(),
            Sent::Pong(bytes) => server.write(Message::Pong(bytes.clone().into())).unwrap(),
            Sent::Close(reason) => {
                let reason = reason.as_ref().map(|(code, text)| CloseFrame {
                    code: (*code).into(),
                    reason: text.as_str().into(),
                });
                server.close(reason).unwrap();
            }
        }
    }
    server.flush().unwrap_or_default();
    server.into_inner().output
}

/// The pieces of `bytes`, about equally long; at least one.
fn cut(bytes: &[u8], pieces: usize) -> Vec<&[u8]> {
    match bytes {
        [] => vec![bytes],
        bytes => bytes.chunks(bytes.len().div_ceil(pieces)).collect(),
    }
}

/// What the inbox makes of bytes that come in pieces of these lengths, again and again.
fn received(bytes: &[u8], lengths: &[usize]) -> Result<Vec<Sent>, Fault> {
    let mut inbox = Inbox::new(&[], MESSAGE_LIMIT);
    let mut all = Vec::new();
    let mut rest = bytes;
    for length in lengths.iter().cycle() {
        while let Some(received) = inbox.next()? {
            all.push(match received {
                Received::Text(text) => Sent::Text(text.to_owned()),
                Received::Binary(bytes) => Sent::Binary(bytes.to_vec()),
                Received::Ping(bytes) => Sent::Ping(bytes.to_vec()),
                Received::Pong => Sent::Pong(Vec::new()),
                Received::Close(reason) => Sent::Close(reason.map(|reason| (reason.code, reason.text.to_owned()))),
            });
        }
        if rest.is_empty() {
            break;
        }
        let room = inbox.room();
        assert!(!room.is_empty());
        let (now, later) = rest.split_at((*length).min(rest.len()).min(room.len()));
        room[..now.len()].copy_from_slice(now);
        inbox.take(now.len());
        rest = later;
        assert!(inbox.buffer.len() <= MESSAGE_LIMIT + ROOM);
    }
    Ok(all)
}

fn written(sent: &[Sent], mask: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in sent {
        match message {
            Sent::Text(text) => write(&mut out, Opcode::Text, text.as_bytes(), mask),
            Sent::Binary(bytes) => write(&mut out, Opcode::Binary, bytes, mask),
            Sent::Ping(bytes) => write(&mut out, Opcode::Ping, bytes, mask),
            Sent::Pong(bytes) => write(&mut out, Opcode::Pong, bytes, mask),
            Sent::Close(reason) => {
                let reason = reason.as_ref().map(|(code, text)| Reason { code: *code, text });
                write_close(&mut out, reason, mask);
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn a_server_reads_what_is_written(sent in conversation(), mask: [u8; 4]) {
        prop_assert_eq!(read_by_server(written(&sent, mask)), sent);
    }

    #[test]
    fn what_a_server_writes_is_read(
        sent in conversation(),
        fragments in 1..5usize,
        lengths in prop::collection::vec(1..5000usize, 1..8),
    ) {
        let bytes = written_by_server(&sent, fragments);
        let mut expected = Vec::new();
        for message in sent {
            match &message {
                Sent::Text(text) => {
                    let pings = cut(text.as_bytes(), fragments).len() - 1;
                    expected.extend((0..pings).map(|number| Sent::Ping(vec![number as u8])));
                    expected.push(message);
                }
                // What is in it is nobody's business.
                Sent::Pong(_) => expected.push(Sent::Pong(Vec::new())),
                Sent::Binary(_) | Sent::Ping(_) | Sent::Close(_) => expected.push(message),
            }
        }
        // A server puts its pongs last.
        let order = |sent: &[Sent]| -> (Vec<Sent>, usize) {
            let pongs = sent.iter().filter(|message| matches!(message, Sent::Pong(_)));
            (sent.iter().filter(|message| !matches!(message, Sent::Pong(_))).cloned().collect(), pongs.count())
        };
        let (received, received_pongs) = order(&received(&bytes, &lengths).unwrap());
        let (expected, expected_pongs) = order(&expected);
        prop_assert_eq!(received, expected);
        prop_assert!(received_pongs <= expected_pongs);
    }

    /// Whatever comes, however it comes: it is refused or it is not, the same way each time.
    #[test]
    fn pieces_make_no_difference(bytes in bytes(600), lengths in prop::collection::vec(1..50usize, 1..8)) {
        prop_assert_eq!(received(&bytes, &lengths), received(&bytes, &[1000]));
    }

    /// The same of frames that nearly are in order.
    #[test]
    fn damage_is_told_or_does_no_harm(
        sent in conversation(),
        place: prop::sample::Index,
        byte: u8,
        lengths in prop::collection::vec(1..5000usize, 1..8),
    ) {
        let mut bytes = written_by_server(&sent, 3);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        prop_assert_eq!(received(&bytes, &lengths), received(&bytes, &[100_000]));
    }
}

#[test]
fn what_no_server_may_send_is_a_fault_with_its_code() {
    let long = |first| [&[first, 127][..], &(MESSAGE_LIMIT as u64 + 1).to_be_bytes()].concat();
    let half = MESSAGE_LIMIT / 2 + 1;
    let half = |first| [&[first, 127][..], &(half as u64).to_be_bytes(), &vec![b'x'; half]].concat();
    let cases: &[(&[u8], Fault, u16)] = &[
        (&[0xc1, 0], Fault::Reserved, 1002),
        (&[0x83, 0], Fault::Reserved, 1002),
        (&[0x8b, 0], Fault::Reserved, 1002),
        (&[0x81, 0x81, 1, 2, 3, 4, b'x'], Fault::Masked, 1002),
        (&[0x09, 0], Fault::Control, 1002),
        (&[0x89, 126, 0, 126], Fault::Control, 1002),
        (&[0x80, 0], Fault::OutOfTurn, 1002),
        (&[0x01, 0, 0x81, 0], Fault::OutOfTurn, 1002),
        (&[0x88, 1, 3], Fault::Close, 1002),
        (&[0x88, 2, 3, 0xed], Fault::Close, 1002),
        (&[0x88, 2, 0, 0], Fault::Close, 1002),
        (&[0x88, 3, 3, 0xe8, 0xff], Fault::Text, 1007),
        (&[0x81, 1, 0xff], Fault::Text, 1007),
        (&long(0x81), Fault::TooLong(MESSAGE_LIMIT), 1009),
        (
            &[0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0],
            Fault::TooLong(MESSAGE_LIMIT),
            1009,
        ),
        (&[half(0x01), half(0x80)].concat(), Fault::TooLong(MESSAGE_LIMIT), 1009),
    ];
    for (bytes, fault, code) in cases {
        let begin = &bytes[..bytes.len().min(16)];
        assert_eq!(received(bytes, &[7000]), Err(*fault), "{begin:x?}");
        assert_eq!(fault.code(), *code);
    }
}

#[test]
fn a_character_may_be_in_two_fragments() {
    let bytes = [0x01, 1, 0xc3, 0x89, 0, 0x80, 1, 0xa4];
    let expected = vec![Sent::Ping(Vec::new()), Sent::Text("ä".to_owned())];
    assert_eq!(received(&bytes, &[1]).unwrap(), expected);
}

#[test]
fn messages_of_usual_length_need_no_more_room_and_long_ones_give_it_back() {
    let mut inbox = Inbox::new(&[], MESSAGE_LIMIT);
    let frame = [&[0x81, 126, 1, 44][..], &[b'x'; 300]].concat();
    let address = inbox.buffer.as_ptr();
    let put = |inbox: &mut Inbox, mut bytes: &[u8]| {
        let mut texts = 0;
        while !bytes.is_empty() {
            let room = inbox.room();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            inbox.take(count);
            bytes = &bytes[count..];
            while let Some(Received::Text(_)) = inbox.next().unwrap() {
                texts += 1;
            }
        }
        texts
    };
    assert_eq!(put(&mut inbox, &frame.repeat(1000)), 1000);
    assert_eq!((inbox.buffer.as_ptr(), inbox.buffer.len()), (address, ROOM));
    let limit = [
        &[0x81, 127][..],
        &(MESSAGE_LIMIT as u64).to_be_bytes(),
        &vec![b'x'; MESSAGE_LIMIT],
    ]
    .concat();
    assert_eq!(put(&mut inbox, &limit), 1);
    assert!(inbox.buffer.len() > MESSAGE_LIMIT);
    assert_eq!(put(&mut inbox, &frame), 1);
    assert_eq!(inbox.buffer.len(), ROOM);
}

#[test]
fn a_reason_that_does_not_fit_is_left_out() {
    let mut out = Vec::new();
    let text = &"x".repeat(200);
    write_close(&mut out, Some(Reason { code: 1000, text }), [0; 4]);
    assert_eq!(out, [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]);
}
