//! Calls whose ends are here: what each end sends, when, and how long a worker's thread was on its core meanwhile.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{Direction, LatchMode, Pacing, RtcpPort, Session};
use voxlane_dataplane::srtp::SrtpKeys;

/// Packets each end sends before a measurement, and during it.
pub const WARM_UP: u32 = 50;
pub const MEASURED: u32 = 250;

/// Of every stream here.
pub const PTIME: Duration = Duration::from_millis(20);

/// Packets that may be lost for every thousand: the machine is shared with whoever sends them.
const MAY_BE_LOST: usize = 1;

/// Where the sequence number and the timestamp stand in a packet.
const SEQUENCE: Range<usize> = 2..4;
const TIMESTAMP: Range<usize> = 4..8;

/// The ends of calls; those of a call are neighbours.
pub trait Ends {
    /// How many there are.
    fn count(&self) -> usize;

    /// One of them sends a packet.
    fn send(&mut self, place: usize, number: u32) -> Result<()>;

    /// Takes what has come: `came` is told whose each packet of media is.
    fn receive(&mut self, came: impl FnMut(usize)) -> Result<()>;
}

/// Time on a core.
#[derive(Clone, Copy)]
pub struct Busy {
    pub worker: Duration,
    /// Of the thread that sends and receives for all ends.
    pub ends: Duration,
}

/// What was measured.
pub struct Cost {
    /// Of a packet.
    pub packet: Busy,
    /// The 99th percentile of the time from a packet's being sent to the arrival of the one that it has become.
    pub delay: Duration,
}

/// When the packets of an end were sent, and when those to it have come.
#[derive(Clone, Default)]
struct Times {
    sent: Vec<Instant>,
    came: Vec<Instant>,
}

/// Has every end send its packets, and measures what they cost a worker.
pub fn measure(ends: &mut impl Ends) -> Result<Cost> {
    let count = ends.count();
    let mut times = vec![Times::default(); count];
    send(ends, &mut times, 0..WARM_UP)?;
    let before = busy()?;
    send(ends, &mut times, WARM_UP..WARM_UP + MEASURED)?;
    let after = busy()?;
    let quiet = Instant::now() + 10 * PTIME;
    while Instant::now() < quiet {
        receive(ends, &mut times)?;
        thread::sleep(Duration::from_millis(1));
    }
    let sent = (WARM_UP + MEASURED) as usize;
    let missing: usize = times.iter().map(|end| sent.saturating_sub(end.came.len())).sum();
    ensure!(
        missing * 1000 <= count * sent * MAY_BE_LOST,
        "{missing} of {} packets are missing: the machine was overloaded",
        count * sent
    );
    let packets = u32::try_from(count)? * MEASURED;
    Ok(Cost {
        packet: Busy {
            worker: (after.worker - before.worker) / packets,
            ends: (after.ends - before.ends) / packets,
        },
        delay: delay(&times)?,
    })
}

/// Packets come and leave every packet time: the n-th to come is the n-th that was sent, where none is missing.
fn delay(times: &[Times]) -> Result<Duration> {
    let (calls, _) = times.as_chunks::<2>();
    let ways = calls.iter().flat_map(|[a, b]| [(a, b), (b, a)]);
    let whole = ways.filter(|(from, to)| from.sent.len() == to.came.len());
    let mut delays: Vec<Duration> = whole
        .flat_map(|(from, to)| from.sent.iter().zip(&to.came).skip(WARM_UP as usize))
        .map(|(sent, came)| came.saturating_duration_since(*sent))
        .collect();
    delays.sort_unstable();
    delays.get(delays.len() * 99 / 100).copied().context("nothing has come")
}

/// Every end sends one packet in each packet time, spread over it; what comes is looked for every millisecond.
fn send(ends: &mut impl Ends, times: &mut [Times], numbers: Range<u32>) -> Result<()> {
    let begin = Instant::now();
    let groups = PTIME.as_millis() as usize;
    for (time, number) in (0u32..).zip(numbers) {
        for group in 0..groups {
            let due = begin + PTIME * time + Duration::from_millis(group as u64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            for place in (group..ends.count()).step_by(groups) {
                times[place].sent.push(Instant::now());
                ends.send(place, number)?;
            }
            receive(ends, times)?;
        }
    }
    Ok(())
}

fn receive(ends: &mut impl Ends, times: &mut [Times]) -> Result<()> {
    ends.receive(|place| {
        if let Some(end) = times.get_mut(place) {
            end.came.push(Instant::now());
        }
    })
}

/// The packet of an end, whose number is to be written to it.
pub fn packet(codec: Codec, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, codec.payload_type()];
    packet.extend([0; 6]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160u32).map(|n| (n * 37 + 11) as u8));
    packet
}

/// Writes the number of a packet to it.
pub fn set_number(packet: &mut [u8], number: u32) {
    packet[SEQUENCE].copy_from_slice(&(number as u16).to_be_bytes());
    packet[TIMESTAMP].copy_from_slice(&(number * 160).to_be_bytes());
}

/// Whether a packet is a report, not media.
pub fn is_report(packet: &[u8]) -> bool {
    matches!(packet, [_, 200..=204, ..])
}

/// What an end has agreed.
pub fn session(codec: Codec, srtp: Option<SrtpKeys>, remote: SocketAddr) -> Session {
    Session {
        srtp,
        remote_rtp: remote,
        remote_rtcp: remote,
        rtcp_port: RtcpPort::Shared,
        codec,
        send_payload_type: codec.payload_type(),
        receive_payload_type: codec.payload_type(),
        telephone_event: None,
        ptime: PTIME.as_millis() as u8,
        direction: Direction::SendRecv,
        latch: LatchMode::Strict,
        pacing: Pacing::Off,
    }
}

/// How long the worker's thread and this one were on a core so far, as the system counts it: system calls included.
pub fn busy() -> Result<Busy> {
    let time = |path: &Path| {
        let stat = fs::read_to_string(path.join("schedstat"))?;
        let nanoseconds = stat.split_whitespace().next().context("an empty schedstat")?;
        Ok::<_, anyhow::Error>(Duration::from_nanos(nanoseconds.parse()?))
    };
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if fs::read_to_string(path.join("comm"))?.trim() == "media-0" {
            return Ok(Busy {
                worker: time(&path)?,
                ends: time(Path::new("/proc/thread-self"))?,
            });
        }
    }
    anyhow::bail!("no worker thread")
}
