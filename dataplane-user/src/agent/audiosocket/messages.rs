//! The messages of AudioSocket: a kind, a length in two bytes (big-endian), a payload. No I/O.
//!
//! <https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/>

use crate::codec::resample::Rate;

/// Bytes of a header.
const HEADER: usize = 3;

/// Longest message: a header, and the longest payload that it can name.
pub const LONGEST: usize = HEADER + u16::MAX as usize;

/// Kinds.
const HANG_UP: u8 = 0x00;
const IDENTITY: u8 = 0x01;
const DIGIT: u8 = 0x03;
const ERROR: u8 = 0xff;

/// Kinds of audio, by how many samples a second it has.
const AUDIO: [(u8, Rate); 4] = [
    (0x10, Rate::Khz8),
    (0x12, Rate::Khz16),
    (0x13, Rate::Khz24),
    (0x16, Rate::Khz48),
];

/// What the other side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The conversation is over.
    HangUp,
    /// A key, for the caller to hear.
    Digit(char),
    /// Audio: 16-bit samples, little-endian.
    Audio(Rate, &'a [u8]),
    /// Something is wrong there, with a code if it has one.
    Error(Option<u8>),
    /// A kind that has no meaning here.
    Unknown,
    /// A payload that its kind cannot have.
    Malformed,
}

/// The message at the beginning of `bytes`, and how long it is; `None` if it is not all there.
pub fn read(bytes: &[u8]) -> Option<(Message<'_>, usize)> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let payload = rest.get(..length)?;
    let audio = AUDIO.iter().find(|(of, _)| *of == kind);
    let message = match (kind, payload, audio) {
        (HANG_UP, ..) => Message::HangUp,
        (DIGIT, [digit], _) => Message::Digit(char::from(*digit)),
        (ERROR, payload, _) => Message::Error(payload.first().copied()),
        (_, samples, Some((_, rate))) if samples.len() % 2 == 0 => Message::Audio(*rate, samples),
        (DIGIT, ..) | (_, _, Some(_)) => Message::Malformed,
        _ => Message::Unknown,
    };
    Some((message, HEADER + length))
}

/// Appends who the stream belongs to: the first message.
pub fn identity(buffer: &mut Vec<u8>, uuid: [u8; 16]) {
    write(buffer, IDENTITY, &uuid);
}

/// Appends a key that the caller pressed.
pub fn digit(buffer: &mut Vec<u8>, digit: char) {
    // Keys are ASCII.
    if let Ok(byte) = u8::try_from(digit) {
        write(buffer, DIGIT, &[byte]);
    }
}

/// Appends audio of at most 32,767 samples.
pub fn audio(buffer: &mut Vec<u8>, rate: Rate, samples: &[i16]) {
    let kind = AUDIO.iter().find(|(_, of)| *of == rate).map_or(0x10, |(kind, _)| *kind);
    let length = u16::try_from(2 * samples.len()).unwrap_or(u16::MAX - 1);
    buffer.push(kind);
    buffer.extend(length.to_be_bytes());
    let samples = samples.iter().take(usize::from(length / 2));
    buffer.extend(samples.flat_map(|sample| sample.to_le_bytes()));
}

/// Appends the end of the conversation: the last message.
pub fn hang_up(buffer: &mut Vec<u8>) {
    write(buffer, HANG_UP, &[]);
}

fn write(buffer: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    buffer.push(kind);
    buffer.extend((payload.len() as u16).to_be_bytes());
    buffer.extend(payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_those_that_asterisk_documents() {
        let mut bytes = Vec::new();
        identity(&mut bytes, [7; 16]);
        assert_eq!(bytes[..4], [0x01, 0, 16, 7]);
        let mut bytes = Vec::new();
        audio(&mut bytes, Rate::Khz16, &[1, -2]);
        assert_eq!(bytes, [0x12, 0, 4, 1, 0, 0xfe, 0xff]);
        assert_eq!(read(&bytes), Some((Message::Audio(Rate::Khz16, &bytes[3..]), 7)));
        let mut bytes = Vec::new();
        digit(&mut bytes, '#');
        hang_up(&mut bytes);
        assert_eq!(bytes, [0x03, 0, 1, b'#', 0x00, 0, 0]);
        assert_eq!(read(&bytes), Some((Message::Digit('#'), 4)));
        assert_eq!(read(&bytes[4..]), Some((Message::HangUp, 3)));
    }

    #[test]
    fn what_is_not_all_there_waits_and_what_is_wrong_is_told() {
        for part in [&[][..], &[0x10], &[0x10, 0, 2], &[0x10, 0, 2, 1]] {
            assert_eq!(read(part), None, "{part:?}");
        }
        for (bytes, message) in [
            (&[0xff, 0, 0][..], Message::Error(None)),
            (&[0xff, 0, 1, 4], Message::Error(Some(4))),
            (&[0x10, 0, 1, 0], Message::Malformed),
            (&[0x03, 0, 0], Message::Malformed),
            (&[0x11, 0, 1, 0], Message::Unknown),
            (&[0x42, 0, 0], Message::Unknown),
        ] {
            assert_eq!(read(bytes), Some((message, bytes.len())), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read(bytes: Vec<u8>) {
            if let Some((_, length)) = read(&bytes) {
                prop_assert!((HEADER..=bytes.len()).contains(&length));
            }
        }
    }
}
