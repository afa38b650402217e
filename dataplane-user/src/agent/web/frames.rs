//! The frames of a WebSocket (RFC 6455), as a client reads and writes them. No I/O, no clock.
//!
//! [`Inbox`] takes bytes as they come and hands out messages, which stay where they were read: a message in one frame is not
//! copied, the fragments of one in more are moved together. [`write`] appends a masked frame to what is to be sent. Neither
//! allocates for messages of a usual length, once the buffers have it.

use std::ops::Range;

/// Room of an inbox at first: 300 ms of audio.
const ROOM: usize = 4 << 10;

/// A buffer that a long message has made longer than this is given back after it.
pub const KEPT: usize = 32 << 10;

/// Longest header that a server writes: two bytes and a length of eight.
const LONGEST_HEADER: usize = 10;

/// Longest payload of a control frame (section 5.5).
const CONTROL_LIMIT: usize = 125;

/// First byte: the last frame of its message; the bits that no extension of ours gives a meaning.
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;

/// Second byte: the payload is masked; lengths that follow in two and in eight bytes.
const MASKED: u8 = 0x80;
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

/// What a frame is (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A later frame of a message.
    Continuation = 0,
    /// The first frame of a text.
    Text = 1,
    /// The first frame of anything else.
    Binary = 2,
    /// The last frame of its side.
    Close = 8,
    /// To be answered by [`Self::Pong`].
    Ping = 9,
    /// An answer, or a sign of life.
    Pong = 10,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A text.
    Text(&'a str),
    /// A message that is no text.
    Binary(&'a [u8]),
    /// To be answered with the same payload.
    Ping(&'a [u8]),
    /// A sign of life.
    Pong,
    /// The other side is done. Nothing that follows counts.
    Close(Option<Reason<'a>>),
}

/// Why one side closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// Section 7.4.
    pub code: u16,
    /// For people.
    pub text: &'a str,
}

/// What the other side must not do; the connection has to be closed (section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Bits or an opcode whose meaning was not agreed.
    #[error("a frame with reserved bits or of a reserved kind")]
    Reserved,
    /// Servers do not mask (section 5.1).
    #[error("a masked frame, which only a client sends")]
    Masked,
    /// Section 5.5.
    #[error("a control frame in fragments or of more than 125 bytes")]
    Control,
    /// Section 5.4.
    #[error("a fragment that belongs to no message, or a message within another")]
    OutOfTurn,
    /// Section 5.5.1, or a code that is not to be sent (section 7.4).
    #[error("a close frame that makes no sense")]
    Close,
    /// Section 8.1.
    #[error("a text that is not UTF-8")]
    Text,
    /// More than this, bytes.
    #[error("a message of more than {0} bytes")]
    TooLong(usize),
}

impl Fault {
    /// The code to close with (section 7.4.1).
    pub fn code(self) -> u16 {
        match self {
            Self::Reserved | Self::Masked | Self::Control | Self::OutOfTurn | Self::Close => 1002,
            Self::Text => 1007,
            Self::TooLong(_) => 1009,
        }
    }
}

/// The beginning of a frame.
#[derive(Clone, Copy, Debug)]
struct Header {
    opcode: Opcode,
    is_final: bool,
    /// Its own length, and that of what follows.
    length: usize,
    payload: usize,
}

/// What kind of message is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

/// Bytes that came, and the messages in them.
#[derive(Debug)]
pub struct Inbox {
    /// Initialised to its end, so that what is read into it need not be cleared before.
    buffer: Vec<u8>,
    /// What has come of the message under way, if there is one.
    message: Range<usize>,
    kind: Option<Kind>,
    /// What has come and belongs to no message yet. Behind the message.
    unread: Range<usize>,
    /// How long that has to be for the next frame, as far as is known.
    wanted: usize,
    /// Longest message that is read.
    limit: usize,
}

impl Inbox {
    /// An inbox into which these bytes have come, for messages of up to `limit` bytes.
    pub fn new(bytes: &[u8], limit: usize) -> Self {
        let mut buffer = vec![0; ROOM.max(bytes.len())];
        buffer[..bytes.len()].copy_from_slice(bytes);
        Self {
            buffer,
            message: 0..0,
            kind: None,
            unread: 0..bytes.len(),
            wanted: LONGEST_HEADER,
            limit,
        }
    }

    /// Where the next bytes belong; there is always room for some. To be called when [`Self::next`] has nothing more.
    pub fn room(&mut self) -> &mut [u8] {
        if self.kind.is_none() && self.unread.is_empty() {
            (self.message, self.unread) = (0..0, 0..0);
            if self.buffer.len() > KEPT {
                self.buffer = vec![0; ROOM];
            }
        }
        let missing = self.wanted.saturating_sub(self.unread.len());
        if self.buffer.len() - self.unread.end < missing.max(ROOM / 4) {
            self.move_to_front();
        }
        // By what has come, not by what a header promises; and no frame that was let in needs more than the limit.
        if self.buffer.len() == self.unread.end {
            let longer = (2 * self.buffer.len()).min(self.limit + ROOM);
            self.buffer.resize(longer.max(self.unread.end + 1), 0);
        }
        &mut self.buffer[self.unread.end..]
    }

    /// So many bytes have come into the [`Self::room`].
    pub fn take(&mut self, count: usize) {
        self.unread.end = (self.unread.end + count).min(self.buffer.len());
    }

    /// What comes next, if it is all there.
    ///
    /// # Errors
    /// The other side breaks the protocol. Nothing after that can be read.
    pub fn next(&mut self) -> Result<Option<Received<'_>>, Fault> {
        loop {
            let Some(header) = Header::read(&self.buffer[self.unread.clone()], self.limit)? else {
                self.wanted = LONGEST_HEADER;
                return Ok(None);
            };
            self.check(&header)?;
            let length = header.length + header.payload;
            if self.unread.len() < length {
                self.wanted = length;
                return Ok(None);
            }
            let payload = self.unread.start + header.length..self.unread.start + length;
            self.unread.start += length;
            match header.opcode {
                Opcode::Ping => return Ok(Some(Received::Ping(&self.buffer[payload]))),
                Opcode::Pong => return Ok(Some(Received::Pong)),
                Opcode::Close => return reason(&self.buffer[payload]).map(|reason| Some(Received::Close(reason))),
                Opcode::Text => self.begin(Kind::Text, payload),
                Opcode::Binary => self.begin(Kind::Binary, payload),
                Opcode::Continuation => {
                    self.buffer.copy_within(payload, self.message.end);
                    self.message.end += header.payload;
                }
            }
            if header.is_final {
                return self.finish().map(Some);
            }
        }
    }

    fn begin(&mut self, kind: Kind, payload: Range<usize>) {
        self.kind = Some(kind);
        self.message = payload;
    }

    fn finish(&mut self) -> Result<Received<'_>, Fault> {
        let message = &self.buffer[std::mem::replace(&mut self.message, 0..0)];
        match self.kind.take() {
            Some(Kind::Text) => std::str::from_utf8(message)
                .map(Received::Text)
                .map_err(|_| Fault::Text),
            Some(Kind::Binary) | None => Ok(Received::Binary(message)),
        }
    }

    /// Whether a frame may come now.
    fn check(&self, header: &Header) -> Result<(), Fault> {
        match header.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Continuation if self.kind.is_none() => return Err(Fault::OutOfTurn),
            Opcode::Text | Opcode::Binary if self.kind.is_some() => return Err(Fault::OutOfTurn),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        if self.message.len() + header.payload > self.limit {
            return Err(Fault::TooLong(self.limit));
        }
        Ok(())
    }

    fn move_to_front(&mut self) {
        let (message, unread) = (self.message.len(), self.unread.len());
        self.buffer.copy_within(self.message.clone(), 0);
        self.buffer.copy_within(self.unread.clone(), message);
        self.message = 0..message;
        self.unread = message..message + unread;
    }
}

impl Header {
    /// Reads the header at the beginning of `bytes`, if it is all there. Its payload is no longer than `limit`.
    fn read(bytes: &[u8], limit: usize) -> Result<Option<Self>, Fault> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = Opcode::of(first).ok_or(Fault::Reserved)?;
        let is_final = first & FINAL != 0;
        if second & MASKED != 0 {
            return Err(Fault::Masked);
        }
        if opcode.is_control() && (!is_final || usize::from(second) > CONTROL_LIMIT) {
            return Err(Fault::Control);
        }
        let (length, payload) = match second {
            TWO_BYTES => match rest.first_chunk() {
                Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
                None => return Ok(None),
            },
            EIGHT_BYTES => match rest.first_chunk() {
                Some(length) => (10, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            payload => (2, u64::from(payload)),
        };
        let payload = usize::try_from(payload).unwrap_or(usize::MAX);
        if payload > limit {
            return Err(Fault::TooLong(limit));
        }
        Ok(Some(Self {
            opcode,
            is_final,
            length,
            payload,
        }))
    }
}

impl Opcode {
    /// That of a frame's first byte.
    fn of(first: u8) -> Option<Self> {
        match first & !FINAL {
            bits if bits & RESERVED != 0 => None,
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Reads the payload of a close frame (section 5.5.1).
fn reason(payload: &[u8]) -> Result<Option<Reason<'_>>, Fault> {
    match payload {
        [] => Ok(None),
        [high, low, text @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            // Section 7.4: those of the protocol that may be sent, of IANA's register, of frameworks, and private ones.
            let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            match std::str::from_utf8(text) {
                Ok(text) if may_be_sent => Ok(Some(Reason { code, text })),
                Ok(_) => Err(Fault::Close),
                Err(_) => Err(Fault::Text),
            }
        }
        [_] => Err(Fault::Close),
    }
}

/// Appends a frame that is a whole message. `mask` has to be one that the other side's application cannot foretell (section 5.3).
pub fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    out.push(FINAL | opcode as u8);
    // A length takes the fewest bytes that it fits into (section 5.2).
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < TWO_BYTES => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | TWO_BYTES);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(MASKED | EIGHT_BYTES);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let begin = out.len();
    out.extend_from_slice(payload);
    // As many bytes at a time as a machine has in a register.
    let mask: [u8; 16] = std::array::from_fn(|place| mask[place % 4]);
    for bytes in out[begin..].chunks_mut(mask.len()) {
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

/// Appends a close frame. A text that does not fit into a control frame is left out.
pub fn write_close(out: &mut Vec<u8>, reason: Option<Reason<'_>>, mask: [u8; 4]) {
    let mut payload = [0; CONTROL_LIMIT];
    let length = match reason {
        None => 0,
        Some(Reason { code, text }) => {
            payload[..2].copy_from_slice(&code.to_be_bytes());
            match payload.get_mut(2..2 + text.len()) {
                Some(place) => {
                    place.copy_from_slice(text.as_bytes());
                    2 + text.len()
                }
                None => 2,
            }
        }
    };
    write(out, Opcode::Close, &payload[..length], mask);
}

#[cfg(test)]
mod tests;
