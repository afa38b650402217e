//! Framing of streams: where in what arrives a message ends (RFC 3261 section 18.3), and keep-alives between messages (RFC
//! 5626 section 3.5.1).
//!
//! Bytes go in as they come, in pieces of any size; whole messages come out, to be read by [`frame`](super::frame). A
//! stream in which the end of a message cannot be told is [`Broken`]: nothing after it means anything.

use super::frame::{MAX_HEADERS, MAX_MESSAGE};

/// Longest start line and headers, bytes.
pub const MAX_HEAD: usize = 32 << 10;

/// What comes out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A message, whole.
    Message(Vec<u8>),
    /// Two line ends: the other side asks whether we are there, and is to be sent one.
    Ping,
    /// One line end: we are answered.
    Pong,
}

/// Why nothing more can be read from a stream, and what there is of the message that spoilt it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// From the first line of the message on.
    pub head: Vec<u8>,
    /// Status to answer with, if the message can be answered.
    pub status: u16,
    /// What is wrong.
    pub reason: &'static str,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
    /// Up to where the end of the headers has been looked for.
    searched: usize,
    /// Length of the message that is arriving, once its headers are there.
    length: Option<usize>,
    /// A line end stands before what comes next.
    half_a_ping: bool,
}

impl Stream {
    /// Takes in what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether a message has begun to arrive.
    pub fn is_within_message(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// What comes next, if it is all there.
    ///
    /// # Errors
    /// [`Broken`]; there is nothing more to be had then.
    pub fn piece(&mut self) -> Result<Option<Piece>, Broken> {
        if self.length.is_none() && self.searched == 0 {
            match self.line_ends() {
                Some(piece) => return Ok(Some(piece)),
                // Half a line end.
                None if self.bytes == *b"\r" => return Ok(None),
                None => {}
            }
        }
        let length = match self.length {
            Some(length) => length,
            None => match self.end_of_head() {
                Some(end) => *self.length.insert(self.whole(end)?),
                None if self.bytes.len() > MAX_HEAD => return Err(self.broken(513, "Headers Too Long")),
                None => return Ok(None),
            },
        };
        if self.bytes.len() < length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(length);
        let message = std::mem::replace(&mut self.bytes, rest);
        (self.searched, self.length, self.half_a_ping) = (0, None, false);
        Ok(Some(Piece::Message(message)))
    }

    /// Takes away line ends before a message.
    fn line_ends(&mut self) -> Option<Piece> {
        let mut taken = 0;
        let mut piece = None;
        loop {
            match self.bytes.get(taken..).unwrap_or_default() {
                [b'\r', b'\n', ..] if self.half_a_ping => {
                    (taken, self.half_a_ping, piece) = (taken + 2, false, Some(Piece::Ping));
                    break;
                }
                [b'\r', b'\n', ..] => (taken, self.half_a_ping, piece) = (taken + 2, true, Some(Piece::Pong)),
                // An old habit of some.
                [b'\n' | 0, ..] => taken += 1,
                [..] => break,
            }
        }
        self.bytes.drain(..taken);
        piece
    }

    /// Where the headers end: after an empty line.
    fn end_of_head(&mut self) -> Option<usize> {
        let mut from = self.searched;
        loop {
            let rest = self.bytes.get(from..).unwrap_or_default();
            let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                return None;
            };
            let after = from + at + 1;
            match self.bytes.get(after..).unwrap_or_default() {
                [b'\n', ..] => return Some(after + 1),
                [b'\r', b'\n', ..] => return Some(after + 2),
                // The empty line may be on its way.
                [] | [b'\r'] => {
                    self.searched = from + at;
                    return None;
                }
                [..] => from = after,
            }
        }
    }

    /// How long the message is whose headers end here.
    fn whole(&self, end: usize) -> Result<usize, Broken> {
        let head = self.bytes.get(..end).unwrap_or_default();
        if head.len() > MAX_HEAD {
            return Err(self.broken(513, "Headers Too Long"));
        }
        let body = content_length(head).map_err(|reason| self.broken(400, reason))?;
        match end.checked_add(body) {
            Some(whole) if whole <= MAX_MESSAGE => Ok(whole),
            Some(_) | None => Err(self.broken(513, "Message Too Large")),
        }
    }

    fn broken(&self, status: u16, reason: &'static str) -> Broken {
        Broken {
            head: self.bytes.iter().copied().take(MAX_HEAD).collect(),
            status,
            reason,
        }
    }
}

/// What the headers say of the body's length: on a stream they have to (RFC 3261 section 20.14).
fn content_length(head: &[u8]) -> Result<usize, &'static str> {
    let mut found: Option<usize> = None;
    let mut lines = head.split(|byte| *byte == b'\n').skip(1).peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || is_continuation(line) {
            continue;
        }
        count += 1;
        if count > MAX_HEADERS {
            return Err("Too Many Headers");
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let name = name.trim_ascii_end();
        if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let mut value = value.get(1..).unwrap_or_default().trim_ascii();
        // Folded: the value may stand on a line of its own.
        while let Some(more) = lines.next_if(|line| is_continuation(line)) {
            match (value, more.trim_ascii()) {
                (_, b"") => {}
                (b"", more) => value = more,
                _ => return Err("Malformed Content-Length"),
            }
        }
        let digits = std::str::from_utf8(value)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits
            .and_then(|text| text.parse().ok())
            .ok_or("Malformed Content-Length")?;
        if found.is_some_and(|before| before != length) {
            return Err("Repeated Content-Length");
        }
        found = Some(length);
    }
    found.ok_or("Missing Content-Length")
}

fn is_continuation(line: &[u8]) -> bool {
    matches!(line, [b' ' | b'\t', ..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sip::syntax::frame;

    const BYE: &str = "BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\nf: <sip:a>;tag=1\r\nContent-Length: 4\r\n\r\nab\r\n";

    /// Everything that comes out when the bytes go in these many at a time.
    fn pieces(bytes: &[u8], step: usize) -> (Vec<Piece>, Option<Broken>) {
        let mut stream = Stream::default();
        let mut all = Vec::new();
        for chunk in bytes.chunks(step.max(1)) {
            stream.push(chunk);
            loop {
                match stream.piece() {
                    Ok(Some(piece)) => all.push(piece),
                    Ok(None) => break,
                    Err(broken) => return (all, Some(broken)),
                }
            }
        }
        (all, None)
    }

    fn messages(pieces: &[Piece]) -> Vec<String> {
        let text = |piece: &Piece| match piece {
            Piece::Message(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Piece::Ping | Piece::Pong => None,
        };
        pieces.iter().filter_map(text).collect()
    }

    fn pings(pieces: &[Piece]) -> usize {
        pieces.iter().filter(|piece| **piece == Piece::Ping).count()
    }

    #[test]
    fn messages_and_keep_alives_whatever_the_network_makes_of_them() {
        let folded = "OPTIONS sip:a SIP/2.0\nx: 1\n y\nl :\n 3\n\nabc";
        let stream = format!("\r\n\r\n{BYE}\r\n{BYE}\r\n\r\n\r\n\r\n{folded}{BYE}");
        for step in 1..=stream.len() {
            let (all, broken) = pieces(stream.as_bytes(), step);
            assert_eq!(broken, None);
            assert_eq!(messages(&all), [BYE, BYE, folded, BYE], "{step}");
            assert_eq!(pings(&all), 3, "{step}");
        }
        for at in 0..stream.len() {
            let (before, after) = stream.as_bytes().split_at(at);
            let mut split = Stream::default();
            let mut all = Vec::new();
            for part in [before, after] {
                split.push(part);
                while let Some(piece) = split.piece().unwrap() {
                    all.push(piece);
                }
            }
            assert_eq!(messages(&all), [BYE, BYE, folded, BYE], "{at}");
            assert_eq!(pings(&all), 3, "{at}");
        }
    }

    #[test]
    fn one_line_end_is_an_answer_and_two_are_a_question() {
        assert_eq!(pieces(b"\r\n", 2).0, [Piece::Pong]);
        assert_eq!(pieces(b"\r\n\r\n", 4).0.last(), Some(&Piece::Ping));
        assert_eq!(pieces(b"\r\n\r\n\r\n", 6).0.last(), Some(&Piece::Pong));
    }

    #[test]
    fn what_breaks_a_stream() {
        let many = "x: 1\r\n".repeat(MAX_HEADERS);
        let long = format!("x: {}\r\n", "y".repeat(MAX_HEAD));
        for (headers, status, reason) in [
            ("", 400, "Missing Content-Length"),
            ("l: 1\r\nl: 2\r\n", 400, "Repeated Content-Length"),
            ("l: -1\r\n", 400, "Malformed Content-Length"),
            ("l: +1\r\n", 400, "Malformed Content-Length"),
            ("l: 1\r\n 2\r\n", 400, "Malformed Content-Length"),
            ("l: 99999999999999999999999\r\n", 400, "Malformed Content-Length"),
            ("l: 65536\r\n", 513, "Message Too Large"),
            ("l: 18446744073709551615\r\n", 513, "Message Too Large"),
            (&format!("{many}l: 0\r\n"), 400, "Too Many Headers"),
            (&format!("{long}l: 0\r\n"), 513, "Headers Too Long"),
        ] {
            let text = format!("BYE sip:a SIP/2.0\r\n{headers}\r\n");
            for step in [1, 7, text.len()] {
                let (all, broken) = pieces(text.as_bytes(), step);
                let broken = broken.unwrap_or_else(|| panic!("{headers}"));
                assert_eq!((broken.status, broken.reason), (status, reason), "{headers}");
                assert!(messages(&all).is_empty() && broken.head.starts_with(b"BYE sip:a"));
            }
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let (_, broken) = pieces(&[b'x'; MAX_HEAD + 2], 1000);
        assert_eq!(broken.map(|broken| broken.reason), Some("Headers Too Long"));
    }

    proptest! {
        #[test]
        fn anything_comes_out_the_same_however_it_is_split(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just(BYE.to_owned()),
                    Just("\r\n".to_owned()),
                    Just("l: 0\r\n\r\n".to_owned()),
                    "[ -~\r\n]{0,40}",
                ],
                0..8,
            ),
            step in 1usize..50,
        ) {
            let bytes = parts.concat().into_bytes();
            let (whole, broken) = pieces(&bytes, bytes.len());
            let (split, broken_too) = pieces(&bytes, step);
            prop_assert_eq!(messages(&whole), messages(&split));
            prop_assert_eq!(pings(&whole), pings(&split));
            prop_assert_eq!(broken.map(|broken| broken.reason), broken_too.map(|broken| broken.reason));
        }

        #[test]
        fn the_reader_of_datagrams_sees_the_same_body(length in 0usize..100, name in "(?i)content-length|l", fold in any::<bool>()) {
            let fold = if fold { "\r\n " } else { " " };
            let text = format!("BYE sip:a SIP/2.0\r\n{name}:{fold}{length}\r\n\r\n{}", "b".repeat(length));
            let (all, broken) = pieces(text.as_bytes(), 9);
            prop_assert_eq!(broken, None);
            let [Piece::Message(message)] = all.as_slice() else { panic!("{all:?}") };
            let framed = frame(message).unwrap();
            prop_assert_eq!((framed.fields.fault, framed.body.len()), (None, length));
        }
    }
}
