//! Somebody who listens to a call: a Twilio Media Streams server in a thread of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::{Message, WebSocket};
use voxlane_dataplane::media_plane::{TapSpec, TrackName};

use super::PATIENCE;
use super::bot::web_of;

/// Both.
pub const TRACKS: [TrackName; 2] = [TrackName::Inbound, TrackName::Outbound];

/// One call's listener.
pub struct Listener {
    address: SocketAddr,
    told: Receiver<Value>,
    messages: Vec<Value>,
}

/// One that takes the connection, and reads nothing from then on.
pub struct Deaf {
    address: SocketAddr,
    /// Kept open.
    _socket: std::thread::JoinHandle<WebSocket<TcpStream>>,
}

fn accept() -> (SocketAddr, std::thread::JoinHandle<WebSocket<TcpStream>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = std::thread::spawn(move || tungstenite::accept(listener.accept().unwrap().0).unwrap());
    (address, accepted)
}

fn spec(address: SocketAddr, tracks: &[TrackName]) -> TapSpec {
    TapSpec {
        web: web_of(address),
        tracks: tracks.to_vec(),
    }
}

impl Deaf {
    pub fn start() -> Self {
        let (address, socket) = accept();
        Self {
            address,
            _socket: socket,
        }
    }

    /// Who does not answer for so long is taken for dead.
    pub fn spec(&self, patience: Duration) -> TapSpec {
        let mut spec = spec(self.address, &TRACKS);
        spec.web.silence_timeout = patience;
        spec
    }
}

impl Listener {
    pub fn start() -> Self {
        let (address, accepted) = accept();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let mut socket = accepted.join().unwrap();
            // It ends with the stream.
            while let Ok(message) = socket.read() {
                if let Message::Text(text) = message {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    if tell.send(value).is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            address,
            told,
            messages: Vec::new(),
        }
    }

    pub fn spec(&self, tracks: &[TrackName]) -> TapSpec {
        spec(self.address, tracks)
    }

    /// Waits for a message.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !self.messages.last().is_some_and(&is_it) {
            let left = end.saturating_duration_since(Instant::now());
            let next = self.told.recv_timeout(left);
            self.messages
                .push(next.unwrap_or_else(|_| panic!("{what}: {:?}", self.messages.last())));
        }
    }

    /// Whether a frame of each of these tracks, as far as they have come, is all of this byte.
    pub fn has_heard(&mut self, tracks: &[(&str, u8)]) -> bool {
        self.messages.extend(self.told.try_iter());
        tracks.iter().all(|(track, byte)| {
            self.messages.iter().any(|message| {
                message["media"]["track"] == **track
                    && audio(message).is_some_and(|audio| audio.iter().all(|one| one == byte))
            })
        })
    }

    /// The byte of each frame of a track that was heard so far and is all of one: what a jitter buffer has made up or cut is not.
    /// Every message has the chunk that follows the one before, and is a packet time later.
    pub fn heard(&self, track: &str) -> Vec<u8> {
        let of_track = self
            .messages
            .iter()
            .filter(|message| message["media"]["track"] == track);
        let mut heard = Vec::new();
        for (number, message) in (1u64..).zip(of_track) {
            let media = &message["media"];
            assert_eq!(media["chunk"], number.to_string(), "{message}");
            assert_eq!(media["timestamp"], ((number - 1) * 20).to_string(), "{message}");
            let audio = audio(message).unwrap();
            assert_eq!(audio.len(), 160, "{message}");
            let first = audio[0];
            heard.extend(audio.iter().all(|one| *one == first).then_some(first));
        }
        heard
    }

    /// Every message so far has the number that follows the one before.
    pub fn assert_in_sequence(&self) {
        let numbered = self.messages.iter().filter(|message| message["event"] != "connected");
        for (number, message) in (1u64..).zip(numbered) {
            assert_eq!(message["sequenceNumber"], number.to_string(), "{message}");
        }
    }

    /// The `start` message.
    pub fn start_message(&self) -> &Value {
        let start = self.messages.iter().find(|message| message["event"] == "start");
        &start.expect("a start")["start"]
    }
}

fn audio(message: &Value) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let payload = message["media"]["payload"].as_str()?;
    Some(base64::engine::general_purpose::STANDARD.decode(payload).unwrap())
}
