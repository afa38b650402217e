//! Audio in JSON: a string that is the base64 of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::frames::KEPT;

/// What is between the quotes of a JSON string.
pub fn quoted(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

/// Room for a packet of 40 ms in µ-law, base64 of it included: 428 bytes.
const ROOM: usize = 512;

/// Decodes media payloads, each in the same buffers. Both are there from the beginning, although bots seldom escape anything:
/// one that does so once the call is up is not to make it allocate.
#[derive(Debug)]
pub struct Decoder {
    /// Base64 in which nothing is escaped.
    plain: Vec<u8>,
    audio: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        let [plain, audio] = [(); 2].map(|()| Vec::with_capacity(ROOM));
        Self { plain, audio }
    }
}

impl Decoder {
    /// What a JSON string is the base64 of; `payload` is what is between its quotes.
    ///
    /// # Errors
    /// It is not base64.
    pub fn decode(&mut self, payload: &str) -> Result<&[u8], NotBase64> {
        for buffer in [&mut self.plain, &mut self.audio] {
            buffer.clear();
            if buffer.capacity() > KEPT {
                *buffer = Vec::with_capacity(ROOM);
            }
        }
        let base64 = if payload.contains('\\') {
            // It does not get longer.
            self.plain.reserve(payload.len());
            unescape(payload, &mut self.plain)?;
            &self.plain
        } else {
            payload.as_bytes()
        };
        STANDARD.decode_vec(base64, &mut self.audio).map_err(|_| NotBase64)?;
        Ok(&self.audio)
    }
}

/// A payload is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct NotBase64;

/// Appends a JSON string without its escapes. Of those, some writers use `\/` and `\u003d`: others are of nothing that is in
/// base64.
fn unescape(json: &str, plain: &mut Vec<u8>) -> Result<(), NotBase64> {
    let mut rest = json.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let byte = match (byte, rest) {
            (b'\\', [b'/', after @ ..]) => {
                rest = after;
                b'/'
            }
            (b'\\', [b'u', hex @ ..]) => {
                let (digits, after) = hex.split_at_checked(4).ok_or(NotBase64)?;
                rest = after;
                let digits = std::str::from_utf8(digits).map_err(|_| NotBase64)?;
                match u8::from_str_radix(digits, 16) {
                    Ok(byte) if !digits.starts_with('+') => byte,
                    Ok(_) | Err(_) => return Err(NotBase64),
                }
            }
            (byte, _) => *byte,
        };
        plain.push(byte);
    }
    Ok(())
}
