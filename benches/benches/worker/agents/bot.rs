//! A bot that says what it hears: a Twilio Media Streams server with real WebSockets, on a thread of its own.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tungstenite::error::ProtocolError;
use tungstenite::{Error, Message, WebSocket};

use crate::heap;

/// Ahead of what it hears it says this much, in base64: 60 ms, so that its own hiccups are not heard.
const AHEAD: usize = 640;

const LISTENER: Token = Token(0);

/// The bot. Dropping it ends it.
pub struct Bot {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bot {
    /// Starts it on a port of the loopback interface.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("bot".to_owned()).spawn(move || {
            heap::leave_this_thread_out();
            if let Err(error) = serve(listener, &told) {
                eprintln!("the bot has died: {error:#}");
            }
        })?;
        Ok(Self {
            address,
            ends,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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
    let mut calls: HashMap<Token, WebSocket<TcpStream>> = HashMap::new();
    let mut said = String::new();
    while !ends.load(Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(100)))?;
        for event in &events {
            if event.token() == LISTENER {
                while let Some(call) = accept(&listener)? {
                    let token = Token(calls.len() + 1);
                    let descriptor = call.get_ref().as_raw_fd();
                    poll.registry()
                        .register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
                    calls.insert(token, call);
                }
            } else if let Some(call) = calls.get_mut(&event.token()) {
                answer(call, &mut said)?;
            }
        }
    }
    Ok(())
}

/// A connection that waits to be accepted, with its handshake done.
fn accept(listener: &TcpListener) -> Result<Option<WebSocket<TcpStream>>> {
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
    socket.get_ref().set_nonblocking(true)?;
    Ok(Some(socket))
}

/// Says what it has heard since.
fn answer(call: &mut WebSocket<TcpStream>, said: &mut String) -> Result<()> {
    loop {
        let heard = match call.read() {
            Ok(Message::Text(text)) => text,
            Ok(_) => continue,
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // Workers that are dropped say no goodbye.
            Err(
                Error::ConnectionClosed
                | Error::AlreadyClosed
                | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            ) => return Ok(()),
            Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        said.clear();
        said.push_str(r#"{"event":"media","streamSid":"MZ1","media":{"payload":""#);
        if heard.contains(r#""event":"media""#) {
            said.push_str(payload(&heard).context("media without payload")?);
        } else if heard.contains(r#""event":"start""#) {
            said.extend(std::iter::repeat_n('A', AHEAD));
        } else {
            continue;
        }
        said.push_str("\"}}");
        call.send(Message::text(said.as_str()))?;
    }
}

fn payload(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(r#""payload":""#)?;
    rest.split_once('"').map(|(payload, _)| payload)
}
