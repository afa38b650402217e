//! A bot that says what it hears: a Twilio Media Streams server in a thread of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, WebSocket};
use voxlane_dataplane::media_plane::{AgentLimits, AgentSpec, CallDirection, WebProtocol, WebSpec};

use super::PATIENCE;

/// The bot. It takes one call after another, each in a thread that ends with the call.
pub struct Bot {
    address: SocketAddr,
    heard: Arc<AtomicU64>,
}

impl Bot {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&heard);
        // It ends with the process.
        std::thread::spawn(move || {
            for call in listener.incoming() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || talk(call.unwrap(), &count));
            }
        });
        Self { address, heard }
    }

    /// Messages with audio that it has heard.
    pub fn heard(&self) -> u64 {
        self.heard.load(SeqCst)
    }

    /// What the gateway is to know of it.
    pub fn spec(&self) -> AgentSpec {
        spec_of(self.address)
    }
}

/// What the gateway is to know of a bot that listens here.
pub fn spec_of(address: SocketAddr) -> AgentSpec {
    AgentSpec::Web(Box::new(web_of(address)))
}

/// The same of whoever speaks to us by a WebSocket.
pub fn web_of(address: SocketAddr) -> WebSpec {
    WebSpec {
        protocol: WebProtocol::Twilio,
        url: format!("ws://{address}/media"),
        addresses: vec![address],
        headers: Vec::new(),
        tls: None,
        account_sid: "AC1".to_owned(),
        call_sid: "CA1".to_owned(),
        stream_sid: "MZ1".to_owned(),
        from: "+15550100".to_owned(),
        to: "+15550200".to_owned(),
        direction: CallDirection::Inbound,
        parameters: Vec::new(),
        connect_timeout: PATIENCE,
        silence_timeout: PATIENCE,
        limits: AgentLimits::default(),
        tally: Arc::default(),
        opening: Vec::new(),
    }
}

/// Says what it hears, as bots may say it: more than one message at once, in fragments with a ping between them, with what JSON
/// allows to be escaped, and as no text at all.
fn talk(call: TcpStream, heard: &AtomicU64) {
    let mut socket = tungstenite::accept(call).unwrap();
    // The gateway hangs up at the end.
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else { continue };
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        let said = match message["event"].as_str().unwrap() {
            // A second ahead, and forgotten at once but for a tenth: what there is room for once, there is room for.
            "start" => {
                let clear = r#"{"event":"clear","streamSid":"MZ1"}"#.to_owned();
                vec![media(&"A".repeat(10_668)), clear, media(&"A".repeat(1068))]
            }
            "media" => {
                let payload = message["media"]["payload"].as_str().unwrap();
                let (one, other) = payload.split_at(payload.len() / 8 * 4);
                match heard.fetch_add(1, SeqCst) % 4 {
                    0 => vec![media(one), media(other)],
                    1 => vec![media(&payload.replace('/', r"\/").replace('=', r"\u003d"))],
                    2 => {
                        in_fragments(&mut socket, &media(payload));
                        continue;
                    }
                    _ => {
                        if socket.write(Message::Binary(vec![1, 2, 3].into())).is_err() {
                            return;
                        }
                        vec![media(payload)]
                    }
                }
            }
            _ => continue,
        };
        for text in said {
            if socket.write(Message::text(text)).is_err() {
                return;
            }
        }
        if socket.flush().is_err() {
            return;
        }
    }
}

fn media(payload: &str) -> String {
    format!(r#"{{"streamSid":"MZ1","event":"media","media":{{"payload":"{payload}"}}}}"#)
}

fn in_fragments(socket: &mut WebSocket<TcpStream>, text: &str) {
    let (one, other) = text.split_at(text.len() / 2);
    let frame =
        |text: &str, kind, is_last| Message::Frame(Frame::message(text.to_owned(), OpCode::Data(kind), is_last));
    let frames = [
        frame(one, Data::Text, false),
        Message::Ping(vec![7; 40].into()),
        frame(other, Data::Continue, true),
    ];
    // The gateway may hang up.
    let written = frames.into_iter().try_for_each(|frame| socket.write(frame));
    let _ = written.and_then(|()| socket.flush());
}
