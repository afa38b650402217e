//! rtpengine in user space, as Debian has it, told of its calls by the ng protocol.
//!
//! Its flags are those that let it relay most on one core: one thread for media, no kernel module, no recording, no
//! transcoding, no statistics in files; and it goes before all else on its core but for the network.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use voxlane_benches::cores::{self, THIS_THREAD};
use voxlane_dataplane::kernel::lab::traffic::Intake;

use super::{Peer, Running};
use crate::ends::far_ends;
use crate::site::{RELAY_PROCESS, Site, TO_CALLEE, TO_CALLER};

/// Where it is told of calls.
const CONTROL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 22_222);

/// An answer has so long; the first one comes when it is up.
const ANSWER: Duration = Duration::from_secs(1);

/// It has so long to come up.
const START: Duration = Duration::from_secs(10);

/// It.
pub struct Rtpengine;

impl Peer for Rtpengine {
    fn name(&self) -> &'static str {
        "rtpengine"
    }

    fn intake(&self) -> Intake {
        Intake::Stack
    }

    fn start(&self, site: &Site, calls: u32) -> Result<Running> {
        let core = site.relay_core;
        let (process, calls) = site.relay.run(move || start(core, calls))?;
        Ok(Running {
            calls,
            relay: Box::new(process),
        })
    }
}

/// Ends it when it is dropped: what it does after an overload is not to be trusted.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _may_have_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn start(core: usize, calls: u32) -> Result<(Process, Vec<[SocketAddrV4; 2]>)> {
    let all = cores::allowed()?;
    // It takes over where this thread may run.
    cores::keep_to(THIS_THREAD, &cores::set_of(&[core]))?;
    let process = Command::new("rtpengine")
        .args([
            "--foreground",
            "--table=-1",
            "--num-threads=1",
            "--log-level=1",
            "--log-stderr",
        ])
        .args([
            "--port-min=10000",
            "--port-max=59999",
            "--timeout=3600",
            "--silent-timeout=3600",
        ])
        .arg(format!("--interface=caller/{TO_CALLER}"))
        .arg(format!("--interface=callee/{TO_CALLEE}"))
        .arg(format!("--listen-ng={CONTROL}"))
        .args(["--scheduling=fifo".to_owned(), format!("--priority={RELAY_PROCESS}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    cores::keep_to(THIS_THREAD, &all)?;
    let process = Process(process.context("rtpengine cannot be started: apt-get install rtpengine-daemon")?);
    let control = Control::new()?;
    let until = Instant::now() + START;
    while control.ask("ping", &[]).is_err() {
        ensure!(Instant::now() < until, "rtpengine does not answer");
    }
    let mut arrivals = Vec::new();
    for call in 0..calls {
        arrivals.push(control.set_up(call)?);
    }
    Ok((process, arrivals))
}

/// The ng protocol: dictionaries in bencode, over UDP.
struct Control {
    socket: UdpSocket,
    /// Requests made: each has a number of its own, or it would be taken for a repetition of the one before.
    asked: Cell<u64>,
}

impl Control {
    fn new() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(ANSWER))?;
        Ok(Self {
            socket,
            asked: Cell::new(0),
        })
    }

    /// The address that the answer's SDP has, if there is one.
    fn ask(&self, command: &str, entries: &[(&str, String)]) -> Result<Option<SocketAddrV4>> {
        let text = |text: &str| format!("{}:{text}", text.len());
        let mut entries: Vec<(&str, String)> = entries.to_vec();
        entries.push(("command", text(command)));
        let body: String = entries.iter().map(|(key, value)| text(key) + value).collect();
        self.asked.set(self.asked.get() + 1);
        let request = format!("{} d{body}e", self.asked.get());
        self.socket.send_to(request.as_bytes(), SocketAddr::V4(CONTROL))?;
        let mut answer = [0; 8_192];
        let length = match self.socket.recv(&mut answer) {
            Ok(length) => length,
            // Nobody listens yet: the next try is due in a while.
            Err(error) => {
                std::thread::sleep(Duration::from_millis(20));
                return Err(error.into());
            }
        };
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        ensure!(!answer.contains("5:error"), "rtpengine refuses {command}: {answer}");
        Ok(address_in(&answer))
    }

    /// Where a call's caller and callee are to send to.
    fn set_up(&self, call: u32) -> Result<[SocketAddrV4; 2]> {
        let text = |text: String| format!("{}:{text}", text.len());
        let sdp = |end: SocketAddrV4| {
            let (address, port) = (end.ip(), end.port());
            format!(
                "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
                 a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\na=ptime:20\r\n"
            )
        };
        let [caller, callee] = far_ends(call)?;
        let entries = |end, direction: &str| {
            vec![
                ("call-id", text(format!("call-{call}"))),
                ("from-tag", text("caller".to_owned())),
                ("ICE", text("remove".to_owned())),
                ("direction", direction.to_owned()),
                ("sdp", text(sdp(end))),
            ]
        };
        let mut offer = entries(caller, "l6:caller6:calleee");
        // The caller is where it says, as with our calls.
        offer.push(("flags", "l13:trust address10:asymmetrice".to_owned()));
        let to_callee = self.ask("offer", &offer)?;
        let mut answer = entries(callee, "l6:callee6:callere");
        answer.push(("to-tag", text("callee".to_owned())));
        answer.push(("flags", "l13:trust address10:asymmetrice".to_owned()));
        let to_caller = self.ask("answer", &answer)?;
        match (to_caller, to_callee) {
            (Some(caller), Some(callee)) => Ok([caller, callee]),
            _ => bail!("rtpengine gives no ports for call {call}"),
        }
    }
}

/// Address and port of the media in an answer's SDP.
fn address_in(answer: &str) -> Option<SocketAddrV4> {
    let line = |begin: &str| {
        let lines = answer.split("\r\n");
        lines
            .filter_map(|line| line.split_once(begin))
            .map(|(_, rest)| rest)
            .next()
    };
    let address = line("c=IN IP4 ")?.parse().ok()?;
    let port = line("m=audio ")?.split(' ').next()?.parse().ok()?;
    Some(SocketAddrV4::new(address, port))
}
