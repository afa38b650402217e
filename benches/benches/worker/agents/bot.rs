//! A bot that says what it hears: a Twilio Media Streams server with real WebSockets, on a thread of its own.
//!
//! It is to take little of the core that it shares with the callers: it looks once a millisecond for what has come, and
//! reads and writes the few kinds of frames it will meet by itself.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::heap;

/// Ahead of what it hears it says this much, in base64: 200 ms, so that its own hiccups are not heard.
const AHEAD: usize = 2136;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

/// Bytes of a call that it reads at a time: more than a few messages.
const PIECE: usize = 16 << 10;

const LISTENER: Token = Token(0);

/// The first bytes of frames: a text, a ping and its answer, all of them whole.
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The bot. Dropping it ends it.
pub struct Bot {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A call, and what has come of a frame that is not whole yet.
struct Call {
    stream: TcpStream,
    came: Vec<u8>,
}

impl Bot {
    /// Starts it in the namespace of this thread.
    pub fn start(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = thread::Builder::new().name("bot".to_owned()).spawn(move || {
            heap::leave_this_thread_out();
            if let Err(error) = serve(listener, &told) {
                eprintln!("the bot has died: {error:#}");
            }
        })?;
        Ok(Self {
            ends,
            thread: Some(thread),
        })
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it died of has been told.
            let _ = thread.join();
        }
    }
}

fn serve(mut listener: TcpListener, ends: &AtomicBool) -> Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut calls: HashMap<Token, Call> = HashMap::new();
    let (mut piece, mut said) = (vec![0; PIECE], Vec::new());
    while !ends.load(Relaxed) {
        thread::sleep(LOOK);
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            if event.token() == LISTENER {
                while let Some(stream) = accept(&listener)? {
                    let token = Token(calls.len() + 1);
                    poll.registry()
                        .register(&mut SourceFd(&stream.as_raw_fd()), token, Interest::READABLE)?;
                    let came = Vec::new();
                    calls.insert(token, Call { stream, came });
                }
            } else if let Some(call) = calls.get_mut(&event.token()) {
                answer(call, &mut piece, &mut said)?;
            }
        }
    }
    Ok(())
}

/// A connection that waits to be accepted, with its handshake done.
fn accept(listener: &TcpListener) -> Result<Option<TcpStream>> {
    let stream: TcpStream = match listener.accept() {
        Ok((stream, _)) => stream.into(),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    stream.set_nodelay(true)?;
    stream.set_nonblocking(false)?;
    let Ok(socket) = tungstenite::accept(stream) else {
        bail!("a handshake failed")
    };
    // The gateway says nothing before it has the answer, so nothing was read beyond it.
    let stream = socket.into_inner();
    stream.set_nonblocking(true)?;
    Ok(Some(stream))
}

/// Says what it has heard since.
fn answer(call: &mut Call, piece: &mut [u8], said: &mut Vec<u8>) -> Result<()> {
    said.clear();
    loop {
        let count = match call.stream.read(piece) {
            // Workers that are dropped say no goodbye.
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        call.came.extend_from_slice(&piece[..count]);
        let mut taken = 0;
        while let Some(length) = take(&mut call.came[taken..], said)? {
            taken += length;
        }
        call.came.drain(..taken);
        if count < piece.len() {
            break;
        }
    }
    match call.stream.write(said) {
        Ok(count) => ensure!(count == said.len(), "the gateway does not read"),
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Takes one frame and says what is to be said to it; how long it was, if it is all there.
fn take(bytes: &mut [u8], said: &mut Vec<u8>) -> Result<Option<usize>> {
    let (header, payload) = match *bytes {
        [_, second, high, low, ..] if second & 0x7f == 126 => (8, usize::from(u16::from_be_bytes([high, low]))),
        [_, second, ..] if second & 0x7f < 126 => (6, usize::from(second & 0x7f)),
        [_, second, ..] if second & 0x7f == 127 => bail!("a message longer than any of the gateway's"),
        _ => return Ok(None),
    };
    if bytes.len() < header + payload {
        return Ok(None);
    }
    let (header, rest) = bytes.split_at_mut(header);
    let payload = &mut rest[..payload];
    let [first, .., a, b, c, d] = *header else {
        return Ok(None);
    };
    for bytes in payload.chunks_mut(4) {
        for (byte, mask) in bytes.iter_mut().zip([a, b, c, d]) {
            *byte ^= mask;
        }
    }
    match first {
        TEXT => hear(std::str::from_utf8(payload)?, said)?,
        PING => {
            said.extend([PONG, payload.len() as u8]);
            said.extend_from_slice(payload);
        }
        // It is over, or a pong.
        _ => {}
    }
    Ok(Some(header.len() + payload.len()))
}

fn hear(message: &str, said: &mut Vec<u8>) -> Result<()> {
    if message.starts_with(r#"{"event":"media""#) {
        say(payload(message).context("media without payload")?, said);
    } else if message.starts_with(r#"{"event":"start""#) {
        say(&"A".repeat(AHEAD), said);
    }
    Ok(())
}

fn say(payload: &str, said: &mut Vec<u8>) {
    let (before, after) = (r#"{"event":"media","streamSid":"MZ1","media":{"payload":""#, "\"}}");
    let length = before.len() + payload.len() + after.len();
    said.extend([TEXT, 126]);
    said.extend((length as u16).to_be_bytes());
    for part in [before, payload, after] {
        said.extend_from_slice(part.as_bytes());
    }
}

fn payload(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(r#""payload":""#)?;
    rest.split_once('"').map(|(payload, _)| payload)
}
