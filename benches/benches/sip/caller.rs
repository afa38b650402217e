//! The carrier that calls come from: INVITE, ACK to the answer, and BYE when the call has lasted as long as it is to.
//!
//! It repeats nothing: on this wire nothing is lost but what the gateway has no room for. What it would have repeated by
//! RFC 3261's timers is counted.

use std::collections::VecDeque;
use std::io::Write as _;

use super::place::{CALLER, GATEWAY_TO_CALLER, SDP};
use super::text::{Message, number};

/// A request that has no answer by then is repeated: T1.
pub const T1: i64 = 500_000_000;

/// What became of one call, and when, ns since 1970; 0 of what has not happened.
#[derive(Default)]
pub struct Call {
    /// Its INVITE was sent.
    pub invited: i64,
    /// 100 Trying came.
    pub tried: i64,
    /// 200 to the INVITE came.
    pub answered: i64,
    /// Its BYE was sent.
    pub hung_up: i64,
    /// 200 to the BYE came.
    pub over: i64,
    /// Another final status than 200, if there was one.
    pub refused: u16,
    to: Box<[u8]>,
    target: Box<[u8]>,
}

impl Call {
    /// Requests of it that had to be repeated.
    fn repeated(&self) -> u64 {
        let late = |sent: i64, heard: i64| sent != 0 && (heard == 0 || heard - sent > T1);
        u64::from(late(self.invited, self.tried)) + u64::from(late(self.hung_up, self.over))
    }
}

/// All calls that were placed.
pub struct Caller {
    calls: Vec<Call>,
    /// How long they last, ns; for ever if `None`.
    pub hold: Option<i64>,
    /// When to hang up, and which, in that order.
    ending: VecDeque<(i64, usize)>,
    pub sends: Vec<Vec<u8>>,
    /// Final answers that came again.
    pub answers_repeated: u64,
    pub over: usize,
    pub up: usize,
}

impl Caller {
    pub fn new() -> Self {
        Self {
            calls: Vec::new(),
            hold: None,
            ending: VecDeque::new(),
            sends: Vec::new(),
            answers_repeated: 0,
            over: 0,
            up: 0,
        }
    }

    /// Every call so far, in the order of their INVITEs.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Requests of these calls that had to be repeated.
    pub fn repeated(calls: &[Call]) -> u64 {
        calls.iter().map(Call::repeated).sum()
    }

    /// Places a call.
    pub fn place(&mut self, now: i64) {
        let number = self.calls.len();
        let length = SDP.len();
        let invite = format!(
            "INVITE sip:+15551234@{GATEWAY_TO_CALLER} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {CALLER}:5060;branch=z9hG4bK{number}i;rport\r\n\
             Max-Forwards: 70\r\n\
             From: \"Caller\" <sip:+15550123@{CALLER}>;tag=f{number}\r\n\
             To: <sip:+15551234@{GATEWAY_TO_CALLER}>\r\n\
             Call-ID: {number}@{CALLER}\r\n\
             CSeq: 1 INVITE\r\n\
             Contact: <sip:+15550123@{CALLER}:5060>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n\
             Supported: timer, 100rel\r\n\
             User-Agent: carrier\r\n\
             Content-Type: application/sdp\r\n\
             Content-Length: {length}\r\n\r\n{SDP}"
        );
        self.sends.push(invite.into_bytes());
        self.calls.push(Call {
            invited: now,
            ..Call::default()
        });
    }

    /// Hangs up what has lasted long enough.
    pub fn hang_up_due(&mut self, now: i64) {
        while let Some((due, number)) = self.ending.front().copied()
            && due <= now
        {
            self.ending.pop_front();
            self.hang_up(number, now);
        }
    }

    /// Hangs up all that are up, this many a turn; whether that was the last.
    pub fn hang_up_some(&mut self, first: usize, count: usize, now: i64) -> bool {
        let end = self.calls.len().min(first + count);
        for number in first..end {
            self.hang_up(number, now);
        }
        end == self.calls.len()
    }

    fn hang_up(&mut self, number: usize, now: i64) {
        let call = &mut self.calls[number];
        if call.answered == 0 || call.hung_up != 0 {
            return;
        }
        call.hung_up = now;
        self.up -= 1;
        let bye = in_dialog("BYE", 2, number, call);
        self.sends.push(bye);
    }

    /// A response has come.
    pub fn hear(&mut self, bytes: &[u8], at: i64) {
        let message = Message::read(bytes);
        let Some(number) = message.call_id.strip_prefix(b"Call-ID: ").map(number) else {
            return;
        };
        let Some(call) = self.calls.get_mut(number) else { return };
        let to_invite = message.cseq.ends_with(b"INVITE");
        match (message.status(), to_invite) {
            (100, true) if call.tried == 0 => call.tried = at,
            (100..200, true) => {}
            (200, true) if call.answered == 0 => {
                call.answered = at;
                call.to = message.to.into();
                call.target = message.target().into();
                self.up += 1;
                let ack = in_dialog("ACK", 1, number, call);
                self.sends.push(ack);
                self.ending.extend(self.hold.map(|hold| (at + hold, number)));
            }
            (200, true) => {
                self.answers_repeated += 1;
                let ack = in_dialog("ACK", 1, number, call);
                self.sends.push(ack);
            }
            (200, false) if call.over == 0 => {
                call.over = at;
                self.over += 1;
            }
            // A request of the gateway's.
            (0, _) => {}
            (status, _) if call.refused == 0 => call.refused = status,
            _ => {}
        }
    }
}

fn in_dialog(method: &str, cseq: u32, number: usize, call: &Call) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(method.as_bytes());
    text.push(b' ');
    text.extend_from_slice(&call.target);
    let written = write!(
        text,
        " SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER}:5060;branch=z9hG4bK{number}{method};rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"Caller\" <sip:+15550123@{CALLER}>;tag=f{number}\r\n"
    );
    written.expect("a vector takes everything");
    text.extend_from_slice(&call.to);
    let written = write!(
        text,
        "\r\nCall-ID: {number}@{CALLER}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    );
    written.expect("a vector takes everything");
    text
}
