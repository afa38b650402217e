//! How many calls of WebSocket agents a core carries.
//!
//! Callers send RTP over real sockets; the worker passes what they say to a bot over a real WebSocket each, as Twilio
//! Media Streams, and the bot says it back: every frame goes through the jitter buffer, JSON and base64 both ways, TCP both
//! ways, and the playout queue. The callers look at every packet that comes back. They and the bot need a core of their own,
//! which limits how many calls there can be: how many a core carries is worked out from the share of it that the worker's
//! thread took. It was on its core for all that the system does for it until a frame has left for the far end. RTP goes both
//! ways by AF_XDP, as where the kernel lane is attached, and once by sockets.
//!
//! - [`place`]: the namespaces, and who runs on which core;
//! - [`voxlane_benches::witness`]: whether the worker's core ran at all;
//! - [`callers`]: RTP, and what is wrong with it, by way of [`voxlane_benches::datagrams`];
//! - [`bot`]: the WebSocket server.

mod bot;
mod callers;
mod place;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crossbeam_channel::{Receiver, unbounded};
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_benches::witness::Witness;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{
    AgentLimits, AgentSpec, CallDirection, Direction, LatchMode, MediaEvent, MediaPlane as _, Pacing, RtcpPort,
    Session, WebProtocol, WebSpec,
};
use voxlane_dataplane::plane::IoChoice;

use self::bot::Bot;
use self::callers::{Callers, Count, PTIME};
use self::place::{GATEWAY, Place};
use crate::calls::busy;
use crate::heap;

/// Calls that run at once: what callers and bot can do on the other core.
const CALLS: usize = 600;

/// How long they talk before the measurement, and during it.
const WARM_UP: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(60);

/// Longest wait for an agent to be connected.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a call may take of the heap, bytes.
const MEMORY: f64 = 65_536.0;

/// Calls, and who takes part in them.
struct Bed {
    callers: Callers,
    /// Bytes of the heap that all of them took, once they were up.
    memory: i64,
    _bot: Bot,
    place: Place,
}

/// What the gateway says it did to what callers say.
#[derive(Clone, Copy, Default)]
struct Ears {
    concealed_ms: u64,
    stretched: u64,
    late: u64,
}

/// Whether what is measured is what the gateway is to reach.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HasGoal {
    Yes,
    No,
}

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    measure_by(IoChoice::AfXdp, "AF_XDP", HasGoal::Yes, report)?;
    // Where the kernel lane cannot be attached.
    measure_by(IoChoice::Sockets, "sockets", HasGoal::No, report)
}

fn measure_by(io: IoChoice, way: &str, has_goal: HasGoal, report: &mut Report) -> Result<()> {
    let mut bed = bed(io)?;
    let witness = Witness::start(bed.place.worker_core)?;
    let (ears_before, before, begin) = (bed.ears()?, busy()?.worker, Instant::now());
    bed.callers.talk(packets(MEASURED), Count::Yes)?;
    let (took, passed, ears) = (busy()?.worker - before, begin.elapsed(), bed.ears()?);
    let (counts, late, seen) = (bed.callers.counts(), bed.callers.late(), witness.seen()?);
    let unexplained = late.iter().filter(|at| !seen.explains(**at)).count() as u64;
    // The clocks of both sides begin at different times: one packet may be beyond either end.
    let expected = (CALLS * (packets(MEASURED) - 1)) as u64;
    let lost = expected.saturating_sub(counts.received);
    let wrong = lost + unexplained + counts.broken + counts.silent;

    let goal = |row: Row, goal| match has_goal {
        HasGoal::Yes => row.goal(goal),
        HasGoal::No => row,
    };
    let share = took.as_secs_f64() / passed.as_secs_f64();
    let seconds = MEASURED.as_secs();
    let name = format!(
        "agent calls a core, Twilio both ways, RTP by {way} ({CALLS} for {seconds} s, by the share of a core they took)"
    );
    let calls = Row::new(name, CALLS as f64 / share, "");
    report.add(goal(calls, Goal::AtLeast(1000.0)).only_if(wrong == 0));
    let row = |what: &str, value: f64, unit| Row::new(format!("agent calls by {way}: {what}"), value, unit);
    let frame = took.as_nanos() as f64 / counts.received.max(1) as f64;
    report.add(row("of the worker's core, a frame both ways", frame, "ns"));
    for (what, count) in [
        ("frames late by more than 5 ms while the core ran", unexplained),
        ("frames lost", lost),
        ("frames out of sequence or time", counts.broken),
        ("frames silent, for want of the bot's", counts.silent),
    ] {
        report.add(goal(row(what, count as f64, ""), Goal::AtMost(0.0)));
    }
    let (times, still) = seen.still();
    let because = format!("frames late because the core stood still ({times} times, {still:.0?} in all)");
    report.add(row(&because, late.len() as f64 - unexplained as f64, ""));
    let stretched = ears.stretched - ears_before.stretched;
    for (what, count) in [
        (
            "places where what is heard does not go on with what was said next",
            counts.jumps,
        ),
        ("times a jitter buffer made audio shorter or longer", stretched),
        ("packets too late for the jitter buffer", ears.late - ears_before.late),
    ] {
        report.add(row(what, count as f64, ""));
    }
    let concealed = (ears.concealed_ms - ears_before.concealed_ms) as f64;
    report.add(row("audio made up for packets that were late", concealed, "ms"));
    let heap = row("heap of one, once up", bed.memory as f64 / CALLS as f64, "B");
    report.add(goal(heap, Goal::AtMost(MEMORY)));
    Ok(())
}

/// Packets in a time.
fn packets(time: Duration) -> usize {
    (time.as_millis() / PTIME.as_millis()) as usize
}

fn bed(io: IoChoice) -> Result<Bed> {
    let (events, told) = unbounded();
    let place = Place::new(io, events)?;
    let bot = place.bots.run(|| Bot::start(Place::bot()))?;
    let socket = place.callers.run(|| UdpSocket::bind(Place::caller()))?;
    let mut callers = Callers::new(socket, CALLS, packets(MEASURED) + 10)?;
    let before = heap::in_use();
    for call in 0..CALLS {
        let gateway = place.gateway(|plane| {
            let endpoint = plane.open(GATEWAY)?;
            plane.attach(endpoint.id, agent(Place::bot()))?;
            plane.program(endpoint.id, session(Place::caller()))?;
            Ok(endpoint.rtp)
        })?;
        callers.set_gateway(call, gateway);
        connected(&told)?;
    }
    callers.talk(packets(WARM_UP), Count::No)?;
    let memory = heap::in_use() - before;
    Ok(Bed {
        callers,
        memory,
        _bot: bot,
        place,
    })
}

impl Bed {
    /// What was done so far.
    fn ears(&self) -> Result<Ears> {
        self.place.gateway(|plane| {
            let buffers = plane.flows().into_iter().filter_map(|flow| flow.quality.buffer);
            Ok(buffers.fold(Ears::default(), |ears, buffer| Ears {
                concealed_ms: ears.concealed_ms + buffer.concealed_ms,
                stretched: ears.stretched + buffer.shortened + buffer.lengthened,
                late: ears.late + buffer.late,
            }))
        })
    }
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
        silence_timeout: 6 * PATIENCE,
        limits: AgentLimits::default(),
        tally: Arc::default(),
        opening: Vec::new(),
    }))
}

fn session(remote: SocketAddr) -> Session {
    Session {
        srtp: None,
        remote_rtp: remote,
        remote_rtcp: remote,
        rtcp_port: RtcpPort::Shared,
        codec: Codec::Pcmu,
        send_payload_type: Codec::Pcmu.payload_type(),
        receive_payload_type: Codec::Pcmu.payload_type(),
        telephone_event: None,
        ptime: 20,
        direction: Direction::SendRecv,
        latch: LatchMode::Strict,
        pacing: Pacing::Off,
    }
}

/// Waits for the agent of the newest leg.
fn connected(told: &Receiver<MediaEvent>) -> Result<()> {
    let event = told.recv_timeout(PATIENCE).context("an agent does not connect")?;
    ensure!(matches!(event, MediaEvent::AgentReady(_)), "{event:?}");
    Ok(())
}
