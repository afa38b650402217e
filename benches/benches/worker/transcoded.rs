//! Calls between PCMU and G.722 that a core carries: a real worker, real sockets, both directions, 20 ms.
//!
//! A generator sends what both ends of every call would, in its time, and takes what comes back. What counts is the time
//! that the worker's thread was on its core, as the system counts it (`schedstat`), system calls included: so many calls
//! would fill a core. Not one packet may be missing.
//!
//! The delay that the lane adds is measured on a few of the same calls: from a packet's being sent to the arrival of the one
//! that it has become. Packets come and leave every 20 ms here, so the n-th is the n-th.

use std::fs;
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

/// Calls on which the delay is measured: few, so that the generator has time to look every millisecond.
const WATCHED: usize = 10;

/// Packets each end sends before the measurement, and during it.
const WARM_UP: u32 = 50;
const MEASURED: u32 = 250;

const PTIME: Duration = Duration::from_millis(20);

/// One end of a call.
struct End {
    socket: UdpSocket,
    to: SocketAddr,
    packet: Vec<u8>,
    received: u64,
    /// When each packet was sent, and when each has come.
    sent_at: Vec<Instant>,
    came_at: Vec<Instant>,
}

/// A worker with calls, and their ends: those of a call are neighbours.
struct Bed {
    ends: Vec<End>,
    _handles: Vec<Handle>,
    _workers: Workers,
}

/// When the generator looks for what has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    EachPacketTime,
    EachMillisecond,
}

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let name = format!("transcoded calls a core, PCMU to G.722 and back ({CALLS} at once)");
    report.add(Row::new(name, CALLS as f64 / share()?, "").goal(Goal::AtLeast(2000.0)));
    let row = Row::new(
        "added delay, PCMU to G.722 and back, 99th percentile",
        delay_ms()?,
        "ms",
    );
    report.add(row.goal(Goal::AtMost(PTIME.as_secs_f64() * 1000.0)));
    Ok(())
}

fn bed(calls: usize) -> Result<Bed> {
    let (events, _told) = unbounded();
    let workers = Workers::start(None, 20, events).context("cannot start a worker")?;
    let mut ends = Vec::with_capacity(2 * calls);
    let mut handles: Vec<Handle> = Vec::with_capacity(calls);
    for call in 0..calls as u64 {
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
    Ok(Bed {
        ends,
        _handles: handles,
        _workers: workers,
    })
}

/// How much of a core the calls take.
fn share() -> Result<f64> {
    let mut bed = bed(CALLS)?;
    let ends = &mut bed.ends;
    send(ends, 0..WARM_UP, Look::EachPacketTime)?;
    let (before, begin) = (busy()?, Instant::now());
    send(ends, WARM_UP..WARM_UP + MEASURED, Look::EachPacketTime)?;
    let share = (busy()? - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    all_came(ends)?;
    Ok(share)
}

/// The 99th percentile of the delay, milliseconds.
fn delay_ms() -> Result<f64> {
    let mut bed = bed(WATCHED)?;
    let ends = &mut bed.ends;
    send(ends, 0..WARM_UP + MEASURED, Look::EachMillisecond)?;
    all_came(ends)?;
    let calls = ends.chunks_exact(2);
    let ways = calls.flat_map(|pair| [(&pair[0], &pair[1]), (&pair[1], &pair[0])]);
    let mut delays: Vec<f64> = ways
        .flat_map(|(from, to)| from.sent_at.iter().zip(&to.came_at).skip(WARM_UP as usize))
        .map(|(sent, came)| (*came - *sent).as_secs_f64() * 1000.0)
        .collect();
    delays.sort_by(f64::total_cmp);
    delays.get(delays.len() * 99 / 100).copied().context("nothing has come")
}

/// Waits for what is on its way.
fn all_came(ends: &mut [End]) -> Result<()> {
    let quiet = Instant::now() + 10 * PTIME;
    while Instant::now() < quiet {
        receive(ends);
        thread::sleep(Duration::from_millis(1));
    }
    let sent = u64::from(WARM_UP + MEASURED);
    let missing: u64 = ends.iter().map(|end| sent.saturating_sub(end.received)).sum();
    ensure!(missing == 0, "{missing} packets are missing: the worker was overloaded");
    Ok(())
}

fn leg(codec: Codec, number: u64) -> Result<(RelayLeg, End)> {
    let (sockets, to) = sockets()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let remote_rtp = socket.local_addr()?;
    let session = Session {
        srtp: None,
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
        sent_at: Vec::new(),
        came_at: Vec::new(),
    };
    Ok((leg, end))
}

/// A port pair that was free when it was asked for.
pub(crate) fn sockets() -> Result<(Sockets, SocketAddr)> {
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
fn send(ends: &mut [End], numbers: std::ops::Range<u32>, look: Look) -> Result<()> {
    let begin = Instant::now();
    let groups = PTIME.as_millis() as usize;
    for (time, number) in (0u32..).zip(numbers) {
        for group in 0..groups {
            let due = begin + PTIME * time + Duration::from_millis(group as u64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            for end in ends.iter_mut().skip(group).step_by(groups) {
                end.packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                end.packet[4..8].copy_from_slice(&(number * 160).to_be_bytes());
                end.sent_at.push(Instant::now());
                end.socket.send_to(&end.packet, end.to)?;
            }
            if look == Look::EachMillisecond {
                receive(ends);
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
                Ok(_) => {
                    end.received += 1;
                    end.came_at.push(Instant::now());
                }
                Err(_) => break,
            }
        }
    }
}

/// How long the worker's thread was on a core so far.
pub(crate) fn busy() -> Result<Duration> {
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
