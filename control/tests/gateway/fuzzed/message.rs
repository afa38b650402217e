//! Whatever arrives as a message, from the framing to the SDP in it.

use voxlane::sip::Path;
use voxlane::sip::dialog::Reply;
use voxlane::sip::digest::{Challenge, Credentials};
use voxlane::sip::syntax::frame::MAX_MESSAGE;
use voxlane::sip::syntax::message::Message;
use voxlane::sip::syntax::stream::{Broken, Piece, Stream};
use voxlane::sip::syntax::{Framed, frame};

/// Reads the bytes as a datagram, and as what arrives on a connection.
///
/// # Panics
/// If what must hold does not: see the assertions.
pub fn message(data: &[u8]) {
    if let Ok(framed) = frame(data) {
        read(data, framed);
    }
    let whole = pieces(data, data.len().max(1));
    assert_eq!(whole, pieces(data, 1), "a stream is the same in pieces of any size");
    for piece in whole.0 {
        if let Piece::Message(message) = piece {
            assert!(message.len() <= MAX_MESSAGE);
            let _ = frame(&message);
        }
    }
    let _ = voxlane::sip::parse_uri(&String::from_utf8_lossy(data));
}

fn read(data: &[u8], framed: Framed) {
    assert!(framed.body.len() <= data.len());
    for (_, text) in &framed.fields.challenges {
        if let Ok(challenge) = Challenge::parse(text) {
            // What we make of it can be read again and is the same.
            assert_eq!(Challenge::parse(&challenge.write()).as_ref(), Ok(&challenge), "{text}");
        }
    }
    for text in &framed.fields.authorizations {
        let _ = Credentials::parse(text);
    }
    match Message::new(framed) {
        Ok(Message::Request(request)) => {
            super::sdp::check(&request.body);
            let path = Path::udp(([192, 0, 2, 1], 5060).into(), ([192, 0, 2, 2], 5060).into());
            let reply = Reply::new(&request, path);
            let text = reply.write(200, "ours").finish(None);
            let answer = frame(&text).expect("we can read what we write");
            assert_eq!(answer.fields.fault, None, "the answer to a sound request is sound");
            assert_eq!(answer.fields.call_id.as_ref(), Some(&request.call_id));
            assert_eq!(answer.fields.vias.len(), request.fields.vias.len());
        }
        Ok(Message::Response(response)) => super::sdp::check(&response.body),
        Err(_) => {}
    }
}

/// What comes out of a stream that is fed so many bytes at a time, and whether it breaks.
fn pieces(data: &[u8], size: usize) -> (Vec<Piece>, Option<Broken>) {
    let mut stream = Stream::default();
    let mut pieces = Vec::new();
    for chunk in data.chunks(size) {
        stream.push(chunk);
        loop {
            match stream.piece() {
                // The first half of a ping is a pong to those who do not see the second yet.
                Ok(Some(Piece::Pong)) => {}
                Ok(Some(piece)) => pieces.push(piece),
                Ok(None) => break,
                // How much of the message has arrived when it turns out to be broken is not the message's doing.
                Err(broken) => {
                    return (
                        pieces,
                        Some(Broken {
                            head: Vec::new(),
                            ..broken
                        }),
                    );
                }
            }
        }
    }
    (pieces, None)
}
