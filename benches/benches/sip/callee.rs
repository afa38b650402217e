//! The carrier that calls go to: 100, 180 and 200 to each INVITE, at once, and 200 to each BYE.

use std::collections::HashMap;

use super::caller::T1;
use super::place::{CALLEE, SDP};
use super::text::Message;

/// Who answers.
#[derive(Default)]
pub struct Callee {
    pub sends: Vec<Vec<u8>>,
    /// When a call was answered whose ACK has not come, ns since 1970.
    answered: HashMap<Box<[u8]>, i64>,
    /// INVITEs.
    pub invited: u64,
    /// Answers that had to be repeated, for want of an ACK.
    pub repeated: u64,
    /// BYEs.
    pub over: u64,
}

impl Callee {
    /// A request has come.
    pub fn hear(&mut self, bytes: &[u8], at: i64) {
        let message = Message::read(bytes);
        match message.start {
            [b'I', b'N', b'V', ..] => {
                self.invited += 1;
                self.answered.insert(message.call_id.into(), at);
                self.sends.push(answer("100 Trying", &message, None, false));
                self.sends.push(answer("180 Ringing", &message, None, true));
                self.sends.push(answer("200 OK", &message, Some(SDP), true));
            }
            [b'A', b'C', b'K', ..] => {
                let answered = self.answered.remove(message.call_id);
                self.repeated += u64::from(answered.is_some_and(|answered| at - answered > T1));
            }
            [b'B', b'Y', b'E', ..] => {
                self.over += 1;
                self.sends.push(answer("200 OK", &message, None, false));
            }
            _ => {}
        }
    }
}

/// An answer; `tagged`, if it is one that makes a dialog.
fn answer(status: &str, request: &Message, sdp: Option<&str>, tagged: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(768);
    let mut add = |part: &[u8]| text.extend_from_slice(part);
    add(b"SIP/2.0 ");
    add(status.as_bytes());
    for line in [request.via, request.from, request.to] {
        add(b"\r\n");
        add(line);
    }
    if tagged {
        // One tag a Call-ID is enough.
        add(b";tag=callee");
    }
    for line in [request.call_id, request.cseq] {
        add(b"\r\n");
        add(line);
    }
    if tagged {
        add(format!("\r\nContact: <sip:{CALLEE}:5060>").as_bytes());
    }
    let body = sdp.unwrap_or_default();
    if sdp.is_some() {
        add(b"\r\nContent-Type: application/sdp");
    }
    add(format!("\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    text
}
