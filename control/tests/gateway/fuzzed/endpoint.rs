//! The whole UDP input of the core: what arrives, time that passes, what agents, name lookups, the network and the
//! operator do, in any order.
//!
//! An input is a sequence of steps, separated by 0x1e. The first byte of a step says what it is; a step that begins with
//! anything else is a datagram of the caller, as it is, so that a file with one message is an input.
//!
//! | first byte | step | then |
//! | --- | --- | --- |
//! | 0x01 | time passes | how long, of [`WAITS`] |
//! | 0x02 | an agent or a worker | what, which endpoint |
//! | 0x03 | the names that are being looked up are found, or not | which |
//! | 0x04 | a request of ours is answered | which, status of [`STATUSES`], headers, empty line, body |
//! | 0x05 | a request within a dialog | beside which message, method of [`METHODS`], headers, empty line, body |
//! | 0x06 | nothing can be delivered there, or a connection is lost | where |
//! | 0x07 | a datagram of the callee | as it is |
//! | 0x08 | a message of the caller on a connection | as it is |
//! | 0x09 | a datagram of a stranger | as it is |
//! | 0x0a | the operator | what |
//!
//! Messages of ours are counted from the last one back. A header text of 0x0f is an offer or answer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use voxlane::call::CallId;
use voxlane::config::model::{Config, HostPort};
use voxlane::gateway::core::{Asker, Core};
use voxlane::sip::locate::Destination;
use voxlane::sip::syntax::{Framed, StartLine, frame};
use voxlane::sip::{ConnectionId, Input, Listen, Path, Transport};
use voxlane::time::Time;
use voxlane_dataplane::media_plane::{AgentFailure, EndpointId, MediaEvent};

use crate::core_support::Books;

const GATEWAY: ([u8; 4], u16) = ([203, 0, 113, 50], 5060);
const CALLER: ([u8; 4], u16) = ([198, 51, 100, 1], 5060);
const CALLEE: ([u8; 4], u16) = ([192, 0, 2, 20], 5060);
const STRANGER: ([u8; 4], u16) = ([203, 0, 113, 99], 5060);

/// Milliseconds.
const WAITS: [u64; 12] = [
    0, 1, 20, 500, 1_000, 4_000, 5_000, 32_000, 33_000, 60_000, 180_000, 2_000_000,
];

const STATUSES: [u16; 32] = [
    100, 180, 181, 183, 199, 200, 200, 202, 300, 302, 400, 401, 403, 404, 407, 408, 420, 421, 422, 423, 480, 481, 486,
    487, 488, 491, 500, 501, 503, 504, 600, 603,
];

const METHODS: [&str; 15] = [
    "ACK",
    "BYE",
    "CANCEL",
    "INVITE",
    "OPTIONS",
    "UPDATE",
    "PRACK",
    "REFER",
    "NOTIFY",
    "INFO",
    "SUBSCRIBE",
    "MESSAGE",
    "REGISTER",
    "FROB",
    "invite",
];

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

const CONFIG: &str = r#"
[sip]
max_calls = 6
invite_timeout = "30s"

[[trunk]]
name = "carrier"
allow = ["198.51.100.0/24"]
proxy = "192.0.2.20"
session_expires = "90s"

[[trunk]]
name = "guarded"
allow = ["192.0.2.0/24"]
auth = "all"
username = "gateway"
password = "secret"
proxy = "guarded.example"

[[agent]]
name = "echo"
url = "builtin:echo"

[[agent]]
name = "bot"
url = "ws://bot.example:8080/"

[[did]]
number = "+15550001"
agent = "echo"

[[did]]
number = "+15550002"
agent = "bot"

[[did]]
number = "+15551000..+15551999"
trunk = "carrier"

[[did]]
number = "+15553000"
trunk = "guarded"
"#;

/// Most steps that are looked at: more say nothing new, and cost time.
const MOST_STEPS: usize = 48;
/// Most messages of ours that are remembered.
const REMEMBERED: usize = 24;

struct Stage {
    now: Time,
    core: Core,
    books: Arc<Books>,
    lookups: VecDeque<(CallId, HostPort)>,
    places: VecDeque<Asker>,
    /// What we have sent, and where, the last first.
    sent: VecDeque<(SocketAddr, String, Framed)>,
    /// Numbers what the others send.
    made: u32,
}

/// Lets the input happen; then every call is hung up, and nothing may be left.
///
/// # Panics
/// If what must hold does not: see the assertions.
pub fn endpoint(data: &[u8]) {
    let mut stage = Stage::new();
    for step in data.split(|byte| *byte == 0x1e).take(MOST_STEPS) {
        stage.step(step);
        stage.settle();
    }
    stage.end();
}

impl Stage {
    fn new() -> Self {
        thread_local! {
            static PARSED: Arc<Config> = Arc::new(Config::parse(CONFIG, "voxlane.toml", &|_| None).unwrap());
        }
        let books = Arc::new(Books::default());
        let listen = |transport| Listen {
            transport,
            address: GATEWAY.into(),
        };
        Self {
            now: Time::from_micros(1),
            core: Core::new(
                PARSED.with(Arc::clone),
                books.clone(),
                vec![listen(Transport::Udp), listen(Transport::Tcp)],
                Box::new(|_, _| Ok(GATEWAY.into())),
                7,
            ),
            books,
            lookups: VecDeque::new(),
            places: VecDeque::new(),
            sent: VecDeque::new(),
            made: 0,
        }
    }

    fn step(&mut self, step: &[u8]) {
        match step {
            [] => {}
            [0x01, which, ..] => self.wait(Duration::from_millis(WAITS[usize::from(*which) % WAITS.len()])),
            [0x02, what, which, ..] => self.media(*what, usize::from(*which)),
            [0x03, which, ..] => self.resolve(*which),
            [0x04, which, status, rest @ ..] => {
                let status = STATUSES[usize::from(*status) % STATUSES.len()];
                if let Some((from, text)) = self.answer(usize::from(*which), status, rest) {
                    self.datagram(from, &text);
                }
            }
            [0x05, which, method, rest @ ..] => {
                let method = METHODS[usize::from(*method) % METHODS.len()];
                if let Some((from, text)) = self.request(usize::from(*which), method, rest) {
                    self.datagram(from, &text);
                }
            }
            [0x06, which, ..] => self.lose(*which),
            [0x07, rest @ ..] => self.datagram(CALLEE.into(), rest),
            [0x08, rest @ ..] => {
                let path = Path {
                    local: GATEWAY.into(),
                    remote: CALLER.into(),
                    transport: Transport::Tcp,
                    connection: Some(ConnectionId(1)),
                    peer: None,
                };
                self.core.input(self.now, Input::Message { path, data: rest });
            }
            [0x09, rest @ ..] => self.datagram(STRANGER.into(), rest),
            [0x0a, which, ..] => match which % 4 {
                0 => self.core.stop(self.now, "by the operator"),
                _ => self.core.watch_media(self.now),
            },
            rest => self.datagram(CALLER.into(), rest),
        }
    }

    fn datagram(&mut self, remote: SocketAddr, data: &[u8]) {
        let local = GATEWAY.into();
        self.core.input(self.now, Input::Datagram { local, remote, data });
    }

    /// Takes what the core has to say: what it sends can be read.
    fn settle(&mut self) {
        let effects = self.core.take_effects();
        self.lookups.extend(effects.lookups);
        self.places.extend(effects.places.into_iter().map(|(asker, _)| asker));
        for transmit in effects.transmits {
            let text = String::from_utf8_lossy(&transmit.data).into_owned();
            let (head, _) = text.split_once("\r\n\r\n").expect("headers end");
            assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
            let framed = frame(&transmit.data).unwrap_or_else(|error| panic!("{error}: {text}"));
            self.sent.push_front((transmit.path.remote, text, framed));
        }
        self.sent.truncate(REMEMBERED);
    }

    /// Lets time pass, timer by timer.
    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut turns = 0;
        while let Some(wake) = self.wake()
            && wake <= end
        {
            turns += 1;
            assert!(turns < 10_000, "timers do not come to rest");
            self.now = self.now.max(wake);
            self.core.timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// When the next timer is due. Asking takes nothing away but what [`Self::settle`] has seen.
    fn wake(&mut self) -> Option<Time> {
        self.settle();
        self.core.take_effects().wake
    }

    fn media(&mut self, what: u8, which: usize) {
        let mut open: Vec<EndpointId> = self.books.open.lock().unwrap().keys().copied().collect();
        open.sort_unstable();
        let Some(&endpoint) = open.get(which % open.len().max(1)) else {
            return;
        };
        let event = match what % 6 {
            0 | 1 => MediaEvent::AgentReady(endpoint),
            2 => MediaEvent::AgentFailed(endpoint, AgentFailure::Refused("403".into())),
            3 => MediaEvent::AgentEnded(endpoint),
            4 => MediaEvent::Digit {
                endpoint,
                digit: '5',
                duration: Duration::from_millis(100),
            },
            _ => MediaEvent::Lost(endpoint),
        };
        self.core.media(self.now, event);
    }

    fn resolve(&mut self, which: u8) {
        while let Some((call, host)) = self.lookups.pop_front() {
            let found = match which % 4 {
                0 | 1 => Ok(vec![CALLEE.into()]),
                2 => Ok(Vec::new()),
                _ => Err("no such host".to_owned()),
            };
            self.core.resolved(self.now, call, &host, found);
            self.settle();
        }
        let at = |remote| Destination {
            remote,
            transport: Transport::Udp,
        };
        // One by one: who fails may ask for another at once.
        for _ in 0..self.places.len() {
            let Some(asker) = self.places.pop_front() else { break };
            let found = match which % 5 {
                0 | 1 => Ok(vec![at(CALLEE.into())]),
                2 => Ok(Vec::new()),
                4 => Ok(vec![at(CALLER.into()), at(CALLEE.into())]),
                _ => Err("no such host".to_owned()),
            };
            self.core.located(self.now, asker, found);
            self.settle();
        }
    }

    fn lose(&mut self, which: u8) {
        let remote: SocketAddr = if which & 1 == 0 { CALLEE.into() } else { CALLER.into() };
        let sent = self.sent.get(usize::from(which >> 3));
        let input = match which & 6 {
            0 => Input::Unreachable {
                transport: Transport::Udp,
                remote,
            },
            2 => Input::Unreachable {
                transport: Transport::Tcp,
                remote,
            },
            4 => {
                let Some((to, text, _)) = sent else { return };
                Input::Returned {
                    remote: *to,
                    datagram: text.as_bytes(),
                }
            }
            _ => Input::Lost {
                connection: ConnectionId(1),
                transport: Transport::Tcp,
                remote,
            },
        };
        self.core.input(self.now, input);
    }

    /// An answer to the request of ours that is the so-many-th from the last.
    fn answer(&self, which: usize, status: u16, rest: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let is_request =
            |framed: &Framed| matches!(&framed.start, StartLine::Request { method, .. } if method != "ACK");
        let requests: Vec<_> = self.sent.iter().filter(|(_, _, framed)| is_request(framed)).collect();
        let (from, _, framed) = requests.get(which % requests.len().max(1))?;
        let fields = &framed.fields;
        let mut text = format!("SIP/2.0 {status} Text\r\n");
        for via in &fields.vias {
            text += &format!("Via: {via}\r\n");
        }
        let to = fields.to.as_ref()?;
        // Forks differ.
        let tag = match to.contains(";tag=") {
            true => String::new(),
            false => format!(";tag=them{}", which / requests.len().max(1)),
        };
        text += &format!("From: {}\r\nTo: {to}{tag}\r\n", fields.from.as_ref()?);
        text += &format!(
            "Call-ID: {}\r\nCSeq: {}\r\n",
            fields.call_id.as_ref()?,
            fields.cseq.as_ref()?
        );
        text += "Contact: <sip:192.0.2.20>\r\n";
        Some((*from, ended(text, rest)))
    }

    /// A request of the other side in the dialog of the message of ours that is the so-many-th from the last.
    fn request(&mut self, which: usize, method: &str, rest: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let (from, sent, framed) = self.sent.get(which % self.sent.len().max(1))?;
        let fields = &framed.fields;
        let (theirs, ours) = match &framed.start {
            StartLine::Response { .. } => (fields.from.clone()?, fields.to.clone()?),
            StartLine::Request { .. } => (fields.to.clone()?, fields.from.clone()?),
        };
        let theirs = match theirs.contains(";tag=") {
            true => theirs,
            false => theirs + ";tag=them0",
        };
        self.made += 1;
        let number = fields.cseq.as_ref()?.split(' ').next()?.to_owned();
        // These go with the request that the message answers.
        let along = matches!(method, "CANCEL") || method == "ACK" && which & 0x80 != 0;
        let (via, number) = match (along, method) {
            (true, _) => (fields.vias.first()?.clone(), number),
            (false, "ACK") => (format!("SIP/2.0/UDP {from};branch=z9hG4bKf{}", self.made), number),
            (false, _) => (
                format!("SIP/2.0/UDP {from};branch=z9hG4bKf{}", self.made),
                (1000 + self.made).to_string(),
            ),
        };
        let mut text = format!(
            "{method} sip:203.0.113.50 SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {theirs}\r\nTo: {ours}\r\n\
             Call-ID: {}\r\nCSeq: {number} {method}\r\nContact: <sip:{from}>\r\n",
            fields.call_id.as_ref()?
        );
        if let Some(reliable) = sent.lines().find_map(|line| line.strip_prefix("RSeq: ")) {
            text += &format!("RAck: {reliable} {}\r\n", fields.cseq.as_ref()?);
        }
        let from = *from;
        Some((from, ended(text, rest)))
    }

    /// Hangs up, and lets everything come to its end.
    fn end(&mut self) {
        self.core.stop(self.now, "the end");
        self.settle();
        self.resolve(3);
        self.wait(Duration::from_secs(400));
        assert!(self.core.is_idle(), "a call is left");
        assert!(self.books.open.lock().unwrap().is_empty(), "media is left open");
        let counters = self.core.sip_counters();
        assert_eq!((counters.transactions, counters.dialogs), (0, 0), "{counters:?}");
        assert_eq!(self.wake(), None, "a timer is left");
    }
}

/// A message whose first headers are written, with what else is to be in it.
fn ended(text: String, rest: &[u8]) -> Vec<u8> {
    let sdp = format!(
        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    );
    let rest = match rest {
        [0x0f] => sdp.as_bytes(),
        [headers @ .., 0x0f] => return [text.as_bytes(), headers, b"\r\n", sdp.as_bytes()].concat(),
        [] => b"\r\n",
        rest => rest,
    };
    [text.as_bytes(), rest].concat()
}
