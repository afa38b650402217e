//! How many calls of WebSocket agents a core carries.
//!
//! Callers send RTP over real UDP sockets; the worker passes what they say to a bot over a real WebSocket each, as Twilio
//! Media Streams, and the bot says it back: every frame goes through the jitter buffer, JSON and base64 both ways, TCP both
//! ways, and the playout queue. The callers look at every packet that comes back. They and the bot need a core of their own,
//! which limits how many calls there can be: how many a core carries is worked out from the share of it that the worker's
//! thread took. It was on its core for all that the system does for it, sending over loopback included, which is the way to
//! the far end's queue.
//!
//! - [`callers`]: RTP, and what is wrong with it;
//! - [`bot`]: the WebSocket server.

mod bot;
mod callers;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crossbeam_channel::{Receiver, unbounded};
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{
    AgentSpec, Direction, EndpointId, LatchMode, MediaEvent, Pacing, RtcpPort, Session, TwilioSpec,
};
use voxlane_dataplane::worker::{Handle, NewLeg, Workers};

use self::bot::Bot;
use self::callers::{Callers, Count, PTIME};
use crate::heap;
use crate::transcoded::{busy, sockets};

/// Calls that run at once: what callers and bot can do on the other core.
const CALLS: usize = 400;

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
    _handles: Vec<Handle>,
    _workers: Workers,
    _bot: Bot,
}

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let mut bed = bed()?;
    let (before, begin) = (busy()?, Instant::now());
    bed.callers.talk(packets(MEASURED), Count::Yes)?;
    let (took, passed) = (busy()? - before, begin.elapsed());
    let (counts, late) = (bed.callers.counts(), bed.callers.late());
    // The clocks of both sides begin at different times: one packet may be beyond either end.
    let expected = (CALLS * (packets(MEASURED) - 1)) as u64;
    let lost = expected.saturating_sub(counts.received);
    let wrong = lost + late + counts.broken + counts.silent;

    let share = took.as_secs_f64() / passed.as_secs_f64();
    let seconds = MEASURED.as_secs();
    let name =
        format!("agent calls a core, Twilio both ways ({CALLS} for {seconds} s, by the share of a core they took)");
    let calls = Row::new(name, CALLS as f64 / share, "");
    report.add(calls.goal(Goal::AtLeast(1000.0)).only_if(wrong == 0));
    report.add(Row::new(
        "agent calls: of the worker's core, a frame both ways",
        took.as_nanos() as f64 / counts.received.max(1) as f64,
        "ns",
    ));
    for (what, count) in [
        ("late by more than 5 ms", late),
        ("lost", lost),
        ("out of sequence or time", counts.broken),
        ("silent, for want of the bot's", counts.silent),
    ] {
        let row = Row::new(format!("agent calls: frames {what}"), count as f64, "");
        report.add(row.goal(Goal::AtMost(0.0)));
    }
    report.add(Row::new(
        "agent calls: frames that are not the next the caller has sent",
        counts.unheard as f64,
        "",
    ));
    let memory = bed.memory as f64 / CALLS as f64;
    let row = Row::new("agent call: heap, once up", memory, "B");
    report.add(row.goal(Goal::AtMost(MEMORY)));
    Ok(())
}

/// Packets in a time.
fn packets(time: Duration) -> usize {
    (time.as_millis() / PTIME.as_millis()) as usize
}

fn bed() -> Result<Bed> {
    let (events, told) = unbounded();
    let bot = Bot::start()?;
    let workers = Workers::start(None, 20, events).context("cannot start a worker")?;
    let mut callers = Callers::new(CALLS, packets(MEASURED) + 10)?;
    let mut handles = Vec::with_capacity(CALLS);
    let before = heap::in_use();
    for call in 0..CALLS {
        let (sockets, gateway) = sockets()?;
        callers.set_gateway(call, gateway);
        handles.push(workers.add_leg(NewLeg {
            endpoint: EndpointId(call as u64),
            sockets,
            agent: agent(bot.address()),
            session: Some(session(callers.address()?)),
            left: None,
        }));
        connected(&told)?;
    }
    callers.talk(packets(WARM_UP), Count::No)?;
    let memory = heap::in_use() - before;
    Ok(Bed {
        callers,
        memory,
        _handles: handles,
        _workers: workers,
        _bot: bot,
    })
}

fn agent(address: SocketAddr) -> AgentSpec {
    AgentSpec::Twilio(Box::new(TwilioSpec {
        url: format!("ws://{address}/media"),
        addresses: vec![address],
        headers: Vec::new(),
        account_sid: "AC00000000000000000000000000000000".to_owned(),
        call_sid: "CA00000000000000000000000000000000".to_owned(),
        stream_sid: "MZ00000000000000000000000000000000".to_owned(),
        parameters: Vec::new(),
        connect_timeout: PATIENCE,
        silence_timeout: 6 * PATIENCE,
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
