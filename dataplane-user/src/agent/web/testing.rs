//! A protocol and a bot that hear each other over a socket, without a gateway.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use super::protocol::{Protocol, Said, Unusable, Wishes};
use super::socket::Socket;
use super::stream::Stream;
use crate::dtmf::{self, Press};
use crate::media_plane::{AgentLimits, CallDirection, WebProtocol, WebSpec};
use crate::playout::Playout;

/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_secs(20);

/// A conversation that has begun.
pub struct Conversation<P> {
    pub protocol: P,
    pub playout: Playout,
    pub keys: dtmf::Sender,
    pub wishes: Wishes,
    socket: Socket,
    bot: WebSocket<TcpStream>,
}

/// A call that is told to a bot.
pub fn spec() -> WebSpec {
    WebSpec {
        protocol: WebProtocol::Twilio,
        url: String::new(),
        addresses: Vec::new(),
        headers: Vec::new(),
        tls: None,
        account_sid: "AC1".to_owned(),
        call_sid: "CA1".to_owned(),
        stream_sid: "MZ0123456789abcdef0123456789abcdef".to_owned(),
        from: "+15550100".to_owned(),
        to: "+15550200".to_owned(),
        direction: CallDirection::Inbound,
        parameters: vec![("lang".to_owned(), "e\"n".to_owned())],
        connect_timeout: PATIENCE,
        silence_timeout: PATIENCE,
        limits: AgentLimits::default(),
        tally: Arc::default(),
        opening: Vec::new(),
    }
}

impl<P: Protocol> Conversation<P> {
    /// Begins one; `limit` is how much audio may wait, in bytes of µ-law.
    pub fn start(protocol: P, limit: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut conversation = Self {
            protocol,
            playout: Playout::new(limit),
            keys: dtmf::Sender::new(160),
            wishes: Wishes::default(),
            socket: Socket::new(
                Stream::Plain(mio::net::TcpStream::from_std(ours)),
                &[],
                &AgentLimits::default(),
            ),
            bot: WebSocket::from_raw_socket(theirs, Role::Server, None),
        };
        conversation.protocol.start(&mut conversation.socket).unwrap();
        conversation
    }

    /// What the bot hears next, as text.
    pub fn hears(&mut self) -> String {
        self.socket.flush().unwrap();
        match self.bot.read().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("a text was expected: {other:?}"),
        }
    }

    /// What the bot hears next, as a JSON value.
    pub fn hears_json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.hears()).unwrap()
    }

    /// What the bot hears next, as audio.
    pub fn hears_audio(&mut self) -> Vec<u8> {
        self.socket.flush().unwrap();
        match self.bot.read().unwrap() {
            Message::Binary(bytes) => bytes.to_vec(),
            other => panic!("audio was expected: {other:?}"),
        }
    }

    /// The bot says something.
    pub fn says(&mut self, text: &str) -> Result<(), Unusable> {
        let mut said = Said {
            playout: &mut self.playout,
            keys: &mut self.keys,
            wishes: &mut self.wishes,
        };
        self.protocol.text(text, &mut said)
    }

    /// The bot sends audio, or what else is binary.
    pub fn says_binary(&mut self, bytes: &[u8]) -> Result<(), Unusable> {
        let mut said = Said {
            playout: &mut self.playout,
            keys: &mut self.keys,
            wishes: &mut self.wishes,
        };
        self.protocol.binary(bytes, &mut said)
    }

    /// The caller says something.
    pub fn caller_says(&mut self, ulaw: &[u8]) {
        self.protocol.audio(ulaw, &mut self.socket).unwrap();
    }

    /// The caller presses a key.
    pub fn caller_presses(&mut self, digit: char) {
        let press = Press {
            digit,
            duration: Duration::from_millis(200),
        };
        self.protocol.digit(&press, &mut self.socket).unwrap();
    }

    /// The call is over.
    pub fn stop(&mut self) {
        self.protocol.stop(&mut self.socket).unwrap();
    }

    /// A packet time passes in which nothing is played: the bot is told what there is to tell.
    pub fn tick(&mut self) {
        while let Some(mark) = self.playout.take_mark() {
            self.protocol.mark(&mark, &mut self.socket).unwrap();
        }
        self.protocol.tick(&mut self.playout, &mut self.socket).unwrap();
    }

    /// So many packet times pass in which the caller hears what is queued.
    pub fn play(&mut self, frames: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        for _ in 0..frames {
            let mut frame = [0; 160];
            self.playout.next(&mut frame);
            heard.extend(frame);
            self.tick();
        }
        heard
    }
}
