//! A call of an agent: the bot says something in each packet time, and is told what the caller says, as Twilio Media Streams.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use crossbeam_channel::unbounded;
use tungstenite::handshake::derive_accept_key;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{
    AgentLimits, AgentSpec, CallDirection, EndpointId, MediaEvent, WebProtocol, WebSpec,
};
use voxlane_dataplane::worker::NewLeg;
use voxlane_dataplane::worker::stages::Stages;

use super::Heard;
use super::packet::{PTIME, packet, session, set_number};
use super::ports::sockets;

/// Turns of the worker in which its agent is connected.
const TURNS: usize = 1000;

/// Longer than any run is, by the worker's time.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Base64 of a packet time of µ-law.
const AUDIO: usize = 216;

/// A whole text message of more than 125 bytes and less than 64 KiB, as a server sends it.
const TEXT: [u8; 2] = [0x81, 126];

/// Packets that may be on their way at the end, and frames before the agent was told of the first.
const UNDER_WAY: u32 = 3;

/// Its connection.
struct Bot {
    stream: TcpStream,
    /// What it says in each packet time.
    says: Vec<u8>,
    heard: usize,
    buffer: Vec<u8>,
}

/// Talks for so many packets, both ways.
pub fn run(packets: u32) -> Result<()> {
    let (events, told) = unbounded();
    let mut worker = Stages::start(20, events)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let caller = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    caller.set_nonblocking(true)?;
    let mut heard = Heard::by(caller);
    let (sockets, to) = sockets()?;
    let stats = worker.add_leg(NewLeg {
        endpoint: EndpointId(1),
        sockets,
        agent: agent(listener.local_addr()?),
        session: Some(session(Codec::Pcmu, None, heard.address()?)),
        left: None,
        unheard: None,
    });
    let mut bot = Bot::accept(&listener, &mut worker)?;
    for _ in 0..TURNS {
        worker.turn();
        if let Ok(event) = told.try_recv() {
            ensure!(event == MediaEvent::AgentReady(EndpointId(1)), "{event:?}");
            break;
        }
    }
    let mut packet = packet(Codec::Pcmu, 1);
    for number in 0..packets {
        set_number(&mut packet, number);
        heard.socket.send_to(&packet, to)?;
        bot.talk()?;
        worker.pass(PTIME);
        worker.turn();
        heard.take();
    }
    bot.listen()?;
    let stream = stats[0].stream();
    ensure!(stream.packets == u64::from(packets), "{stream:?}");
    ensure!(
        bot.heard > (packets - UNDER_WAY) as usize * AUDIO,
        "the bot has heard {} bytes",
        bot.heard
    );
    heard.check(packets, UNDER_WAY)
}

impl Bot {
    /// Waits for the worker to connect, and agrees to what it asks for.
    fn accept(listener: &TcpListener, worker: &mut Stages) -> Result<Self> {
        let mut buffer = vec![0; 1 << 16];
        let mut stream = None;
        for _ in 0..TURNS {
            worker.turn();
            if stream.is_none() {
                stream = listener.accept().ok().map(|(stream, _)| stream);
                continue;
            }
            let Some(stream) = &mut stream else { continue };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let Ok(count) = stream.read(&mut buffer) else { continue };
            let request = std::str::from_utf8(&buffer[..count])?;
            let key = request.lines().find_map(|line| {
                let (name, key) = line.split_once(':')?;
                name.eq_ignore_ascii_case("sec-websocket-key").then(|| key.trim())
            });
            let accept = derive_accept_key(key.context("a request without a key")?.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes())?;
            return Ok(Self {
                stream: stream.try_clone()?,
                says: message(&"f".repeat(AUDIO)),
                heard: 0,
                buffer,
            });
        }
        bail!("the worker does not connect")
    }

    /// Says something, and takes what it was told.
    fn talk(&mut self) -> Result<()> {
        self.stream.write_all(&self.says)?;
        self.listen()
    }

    fn listen(&mut self) -> Result<()> {
        match self.stream.read(&mut self.buffer) {
            Ok(count) => self.heard += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// A message with audio, framed.
fn message(payload: &str) -> Vec<u8> {
    let text = format!(r#"{{"event":"media","streamSid":"MZ1","media":{{"payload":"{payload}"}}}}"#);
    let mut frame = TEXT.to_vec();
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

fn agent(address: SocketAddr) -> AgentSpec {
    AgentSpec::Web(Box::new(WebSpec {
        protocol: WebProtocol::Twilio,
        url: format!("ws://{address}/media"),
        addresses: vec![address],
        headers: Vec::new(),
        tls: None,
        account_sid: "AC00000000000000000000000000000000".to_owned(),
        call_sid: "CA00000000000000000000000000000000".to_owned(),
        stream_sid: "MZ00000000000000000000000000000000".to_owned(),
        from: "+15550100".to_owned(),
        to: "+15550200".to_owned(),
        direction: CallDirection::Inbound,
        parameters: Vec::new(),
        connect_timeout: PATIENCE,
        silence_timeout: PATIENCE,
        limits: AgentLimits::default(),
        tally: Arc::default(),
        opening: Vec::new(),
    }))
}
