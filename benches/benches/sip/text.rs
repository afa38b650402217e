//! As much of a message as its sender's peer needs, in one pass over its header.

/// A message's first line and the headers that an answer repeats, each without its line end.
#[derive(Clone, Copy, Default)]
pub struct Message<'a> {
    /// First line.
    pub start: &'a [u8],
    /// The only Via: there is no proxy between the gateway and its peers here.
    pub via: &'a [u8],
    pub from: &'a [u8],
    pub to: &'a [u8],
    pub call_id: &'a [u8],
    pub cseq: &'a [u8],
    pub contact: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message as the gateway writes them: long names, a space after the colon, no folding.
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut lines = bytes
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut message = Self {
            start: lines.next().unwrap_or_default(),
            ..Self::default()
        };
        for line in lines.take_while(|line| !line.is_empty()) {
            match line {
                [b'V', b'i', b'a', ..] => message.via = line,
                [b'F', b'r', b'o', b'm', b':', ..] => message.from = line,
                [b'T', b'o', b':', ..] => message.to = line,
                [b'C', b'a', b'l', b'l', ..] => message.call_id = line,
                [b'C', b'S', b'e', b'q', ..] => message.cseq = line,
                [b'C', b'o', b'n', b't', b'a', b'c', b't', ..] => message.contact = line,
                _ => {}
            }
        }
        message
    }

    /// Status of a response; 0 of a request.
    pub fn status(&self) -> u16 {
        let digits = self.start.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.get(..3));
        digits.map_or(0, |digits| number(digits) as u16)
    }

    /// The URI of its Contact.
    pub fn target(&self) -> &'a [u8] {
        let begin = self
            .contact
            .iter()
            .position(|byte| *byte == b'<')
            .map_or(0, |at| at + 1);
        let rest = &self.contact[begin..];
        let end = rest.iter().position(|byte| *byte == b'>').unwrap_or(rest.len());
        &rest[..end]
    }
}

/// The number that these bytes begin with.
pub fn number(bytes: &[u8]) -> usize {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
