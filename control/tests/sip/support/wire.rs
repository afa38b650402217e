//! One endpoint, and literal datagrams to and from it.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane::sip::{DialogId, Endpoint, Event, Input, Output, Transmit};
use voxlane::time::Time;

/// Where the endpoint under test lives.
pub const LOCAL: ([u8; 4], u16) = ([192, 0, 2, 1], 5060);
/// Where datagrams come from.
pub const REMOTE: ([u8; 4], u16) = ([192, 0, 2, 2], 5060);

/// An endpoint and what it did.
pub struct Wire {
    pub now: Time,
    pub endpoint: Endpoint,
    pub events: Vec<Event>,
    /// Sent and not yet looked at.
    pub sent: Vec<Transmit>,
}

impl Wire {
    pub fn new() -> Self {
        Self {
            now: Time::ZERO,
            endpoint: super::endpoint(7),
            events: vec![],
            sent: vec![],
        }
    }

    /// Feeds a datagram given with bare line feeds; they become CRLF.
    pub fn feed(&mut self, text: &str) {
        self.feed_from(SocketAddr::from(REMOTE), text.replace('\n', "\r\n").as_bytes());
    }

    /// Feeds bytes from anywhere.
    pub fn feed_from(&mut self, remote: SocketAddr, data: &[u8]) {
        self.endpoint.handle_input(
            self.now,
            Input::Datagram {
                local: LOCAL.into(),
                remote,
                data,
            },
        );
        self.drain();
    }

    /// Fetches everything there is to fetch; returns when the next timer is due.
    pub fn drain(&mut self) -> Option<Time> {
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit(transmit) => self.sent.push(transmit),
                Output::Event(event) => self.events.push(event),
                Output::Timeout(next) => return next,
            }
        }
    }

    /// The messages sent since the last look.
    pub fn take(&mut self) -> Vec<String> {
        self.drain();
        self.sent
            .drain(..)
            .map(|t| String::from_utf8(t.data).expect("text is sent"))
            .collect()
    }

    /// The one message sent since the last look.
    pub fn only(&mut self) -> String {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// First lines of what was sent since the last look.
    pub fn lines(&mut self) -> Vec<String> {
        self.take()
            .iter()
            .map(|text| text.lines().next().unwrap_or("").to_owned())
            .collect()
    }

    /// Runs through every timer due within `duration`; gives the times, in milliseconds from now, at which something was
    /// sent, and its first line.
    pub fn run(&mut self, duration: Duration) -> Vec<(u64, String)> {
        let (start, end) = (self.now, self.now + duration);
        let mut log = vec![];
        while let Some(at) = self.drain()
            && at <= end
        {
            self.now = at;
            self.endpoint.handle_timeout(at);
            let millis = at.since(start).as_millis() as u64;
            log.extend(self.lines().into_iter().map(|line| (millis, line)));
        }
        self.now = end;
        log
    }

    /// The dialog of the last incoming call.
    pub fn incoming(&self) -> DialogId {
        let last = self.events.iter().rev().find_map(|event| match event {
            Event::Incoming(call) => Some(call.dialog),
            _ => None,
        });
        last.expect("an incoming call")
    }
}

/// The value of a header in a message.
pub fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message
        .split("\r\n")
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The To tag of a message.
pub fn to_tag(message: &str) -> String {
    header(message, "To")
        .and_then(|to| to.split_once(";tag="))
        .expect("a To tag")
        .1
        .to_owned()
}

/// A request with what every request must have; `extra` goes between the headers and the end, each line ended.
pub fn request(method: &str, branch: &str, cseq: u32, to_tag: &str, extra: &str) -> String {
    let tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    let contact = if method == "INVITE" {
        "Contact: <sip:caller@192.0.2.2>\n"
    } else {
        ""
    };
    let cseq_method = method;
    format!(
        "{method} sip:+15550100@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{branch}\n\
         Max-Forwards: 70\nFrom: <sip:caller@192.0.2.2>;tag=them\nTo: <sip:+15550100@192.0.2.1>{tag}\n\
         Call-ID: call@192.0.2.2\nCSeq: {cseq} {cseq_method}\n{contact}{extra}\n"
    )
}

impl Wire {
    /// Answers a request of the endpoint's as the other side of its dialog; `extra` as in [`request`].
    pub fn respond(&mut self, request: &str, status: &str, extra: &str) {
        let value = |name| header(request, name).expect(name);
        let to = value("To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=them" };
        self.feed(&format!(
            "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {to}{tag}\nCall-ID: {}\nCSeq: {}\n{extra}\n",
            value("Via"),
            value("From"),
            value("Call-ID"),
            value("CSeq"),
        ));
    }

    /// A call of theirs that is up, with the INVITE given `extra`; gives its dialog and our tag.
    pub fn called(&mut self, extra: &str) -> (DialogId, String) {
        self.feed(&request("INVITE", "i1", 1, "", extra));
        let dialog = self.incoming();
        self.endpoint.answer(self.now, dialog, b"v=0\r\n".to_vec());
        let tag = to_tag(self.take().last().expect("an answer"));
        self.feed(&request("ACK", "a1", 1, &tag, ""));
        assert!(matches!(self.events.last(), Some(Event::Confirmed { .. })));
        self.events.clear();
        (dialog, tag)
    }

    /// A call of ours that is up, with the 200 given `extra`; gives its dialog and our tag.
    pub fn calling(&mut self, extra: &str) -> (DialogId, String) {
        let dialog = self.endpoint.invite(self.now, super::outgoing(0));
        let invite = self.only();
        let contact = format!("Contact: <sip:them@192.0.2.2>\n{extra}");
        self.respond(&invite, "200 OK", &contact);
        let ack = self.only();
        assert!(ack.starts_with("ACK "), "{ack}");
        self.events.clear();
        let from = header(&invite, "From").expect("From");
        (dialog, from.split_once(";tag=").expect("a tag").1.to_owned())
    }
}
