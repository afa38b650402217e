//! Calls between PCMU and G.722 that a core carries: a real worker, real sockets, both directions, 20 ms.
//!
//! A generator sends what both ends of every call would, in its time, and takes what comes back. What counts is the time
//! that the worker's thread was on its core, as the system counts it (`schedstat`), system calls included: so many calls
//! would fill a core. Not one packet may be missing.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crossbeam_channel::unbounded;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_common::splice::Continuity;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::media_plane::{Direction, EndpointId, LatchMode, Pacing, RtcpPort, Session};
use voxlane_dataplane::worker::{Handle, NewRelay, RelayLeg, Sockets, Workers};

/// Calls that run at once: enough to share what a turn of the loop costs, few enough for the generator's core.
const CALLS: usize = 200;

/// Packets each end sends before the measurement, and during it.
const WARM_UP: u32 = 50;
const MEASURED: u32 = 250;

const PTIME: Duration = Duration::from_millis(20);

/// Packets that may still wait in the worker when the generator stops: it has one tick of each stream.
const IN_FLIGHT: u64 = 2;

/// One end of a call.
struct End {
    socket: UdpSocket,
    to: SocketAddr,
    packet: Vec<u8>,
    received: u64,
}

/// Adds the row.
pub fn measure(report: &mut Report) -> Result<()> {
    let (events, _told) = unbounded();
    let workers = Workers::start(None, 20, events).context("cannot start a worker")?;
    let mut ends = Vec::with_capacity(2 * CALLS);
    let mut handles: Vec<Handle> = Vec::with_capacity(CALLS);
    for call in 0..CALLS as u64 {
        let legs = [(Codec::Pcmu, 2 * call), (Codec::G722, 2 * call + 1)].map(|(codec, number)| leg(codec, number));
        let [a, b] = legs;
        let ((leg_a, end_a), (leg_b, end_b)) = (a?, b?);
        ends.extend([end_a, end_b]);
        handles.push(workers.add_relay(NewRelay {
            legs: [leg_a, leg_b],
            rules: Rules::default(),
            states: None,
        }));
    }
    send(&mut ends, 0..WARM_UP)?;
    let (busy, begin) = (busy()?, Instant::now());
    send(&mut ends, WARM_UP..WARM_UP + MEASURED)?;
    let share = (self::busy()? - busy).as_secs_f64() / begin.elapsed().as_secs_f64();
    // What is on its way arrives.
    let quiet = Instant::now() + 10 * PTIME;
    while Instant::now() < quiet {
        receive(&mut ends);
        thread::sleep(Duration::from_millis(1));
    }
    let sent = u64::from(WARM_UP + MEASURED);
    let missing: u64 = ends.iter().map(|end| sent.saturating_sub(end.received)).sum();
    ensure!(
        missing <= IN_FLIGHT * ends.len() as u64,
        "{missing} packets are missing: the worker was overloaded"
    );
    drop(handles);
    let name = format!("transcoded calls a core, PCMU to G.722 and back ({CALLS} at once)");
    report.add(Row::new(name, CALLS as f64 / share, "").goal(Goal::AtLeast(2000.0)));
    Ok(())
}

fn leg(codec: Codec, number: u64) -> Result<(RelayLeg, End)> {
    let (sockets, to) = sockets()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let remote_rtp = socket.local_addr()?;
    let session = Session {
        remote_rtp,
        remote_rtcp: remote_rtp,
        rtcp_port: RtcpPort::Shared,
        codec,
        send_payload_type: codec.payload_type(),
        receive_payload_type: codec.payload_type(),
        telephone_event: None,
        ptime: 20,
        direction: Direction::SendRecv,
        latch: LatchMode::Strict,
        pacing: Pacing::Off,
    };
    let mut packet = vec![0x80, codec.payload_type()];
    packet.extend([0; 6]);
    packet.extend((number as u32).to_be_bytes());
    packet.extend((0..160u32).map(|n| (n * 37 + 11) as u8));
    let leg = RelayLeg {
        endpoint: EndpointId(number),
        sockets,
        session,
        continuity: Continuity::Transparent,
    };
    let end = End {
        socket,
        to,
        packet,
        received: 0,
    };
    Ok((leg, end))
}

/// A port pair that was free when it was asked for.
fn sockets() -> Result<(Sockets, SocketAddr)> {
    for _ in 0..1000 {
        let mut rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        rtp.set_port(rtp.port() & !1);
        if let Ok(sockets) = Sockets::bind(rtp, 0) {
            return Ok((sockets, rtp));
        }
    }
    anyhow::bail!("no free port pair")
}

/// Every end sends one packet in each packet time, spread over it.
fn send(ends: &mut [End], numbers: std::ops::Range<u32>) -> Result<()> {
    let begin = Instant::now();
    let groups = PTIME.as_millis() as usize;
    for (time, number) in (0u32..).zip(numbers) {
        for group in 0..groups {
            let due = begin + PTIME * time + Duration::from_millis(group as u64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            for end in ends.iter_mut().skip(group).step_by(groups) {
                end.packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                end.packet[4..8].copy_from_slice(&(number * 160).to_be_bytes());
                end.socket.send_to(&end.packet, end.to)?;
            }
        }
        receive(ends);
    }
    Ok(())
}

fn receive(ends: &mut [End]) {
    let mut buffer = [0; 512];
    for end in ends {
        loop {
            match end.socket.recv(&mut buffer) {
                // A report is not media.
                Ok(length) if length > 1 && (200..=204).contains(&buffer[1]) => {}
                Ok(_) => end.received += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break,
            }
        }
    }
}

/// How long the worker's thread was on a core so far.
fn busy() -> Result<Duration> {
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == "media-0" {
            let stat = fs::read_to_string(path.join("schedstat"))?;
            let nanoseconds = stat.split_whitespace().next().context("an empty schedstat")?;
            return Ok(Duration::from_nanos(nanoseconds.parse()?));
        }
    }
    anyhow::bail!("no worker thread")
}
