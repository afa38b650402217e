//! Five hundred agent calls, one of whose agents reads nothing: the others do not notice.
//!
//! What a machine makes of the timing of five hundred calls is its own affair: they are held twice, first with agents who all read, and
//! compared.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use voxlane_tests::config::{BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::peers::tshark;
use voxlane_tests::process::resident;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(60);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// All of them.
const CALLS: u64 = 500;

/// Where sipp has the RTP of all its calls.
const RTP: u16 = 6000;

/// How long they are watched, seconds.
const WATCHED: u32 = 5;

/// How often the calls are held, at most, both ways.
const ATTEMPTS: usize = 3;

/// What a call may take up, bytes: that of `docs/design.md`, what its agent has said and nobody has heard yet, and what waits for
/// the agent where the machine is slower than five hundred callers.
const CALL: u64 = 256 << 10;

/// Callers that say what they hear.
fn callers(net: &Lab) -> Result<Running> {
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, BOT)?;
    let (calls, port) = (CALLS.to_string(), RTP.to_string());
    let options = [
        "-rtp_echo",
        "-mp",
        &port,
        "-m",
        &calls,
        "-l",
        &calls,
        "-r",
        "100",
        "-d",
        "20000",
    ];
    caller.options(&options).start()
}

/// What came of all calls while they were watched.
struct Watched {
    /// By how much the gateway has grown, bytes.
    grown: u64,
    /// Packets that callers got, in ascending order. How many is up to when the capture began.
    packets: Vec<usize>,
    /// Packets a second from a call's first to its last, in ascending order.
    rates: Vec<f64>,
    /// From each packet of a call to the next, seconds, in ascending order.
    gaps: Vec<f64>,
}

impl Watched {
    /// Packets of a call in the middle.
    fn usual(&self) -> usize {
        self.packets[self.packets.len() / 2]
    }

    /// Packets a second of a call in the middle.
    fn rate(&self) -> f64 {
        self.rates[self.rates.len() / 2]
    }

    /// Of a hundred gaps, ninety-nine are no longer, seconds.
    fn long(&self) -> f64 {
        self.gaps[self.gaps.len() * 99 / 100]
    }
}

fn watch(binary: &Path, net: &Lab, bot: &Agent) -> Result<Watched> {
    let gateway = Gateway::start_with(binary, &net.gateway, &lab(Xdp::Auto, &bot.url()))?;
    let before = resident(gateway.id())?;
    let calls = callers(net)?;
    gateway.wait_until(PATIENCE, Gateway::status, |status| status.agents.active == CALLS)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("headers.pcap");
    let capture = tshark::capture_headers(&net.carrier, &file, RTP, WATCHED)?;
    capture.wait(PATIENCE)?;
    let grown = resident(gateway.id())?.saturating_sub(before);
    let status = gateway.status()?;
    drop(calls);
    ensure!((status.agents.active, status.agents.failed) == (CALLS, 0), "{status:?}");
    let times = tshark::times(&file, RTP)?;
    ensure!(
        times.len() as u64 == CALLS,
        "{} of {CALLS} callers were sent anything",
        times.len()
    );
    let mut packets: Vec<usize> = times.values().map(Vec::len).collect();
    packets.sort_unstable();
    let rate = |times: &Vec<f64>| Some((times.len() - 1) as f64 / (times.last()? - times.first()?));
    let mut rates: Vec<f64> = times.values().filter_map(rate).collect();
    rates.sort_by(f64::total_cmp);
    let each = times.values().flat_map(|packets| packets.windows(2));
    let mut gaps: Vec<f64> = each.map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    let watched = Watched {
        grown,
        packets,
        rates,
        gaps,
    };
    println!(
        "{} bytes a call; {} packets, at least {}; {} a second, at least {}; 99 % are apart {} s or less",
        grown / CALLS,
        watched.usual(),
        watched.packets[0],
        watched.rate(),
        watched.rates[0],
        watched.long()
    );
    Ok(watched)
}

#[test]
fn an_agent_that_reads_nothing_does_not_hurt_five_hundred_others() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    // The machine may have more to do in the one time than in the other. An agent that hurts the others does so every time.
    let mut wrong = hurt(&binary, &net).unwrap();
    for _ in 1..ATTEMPTS {
        if wrong.is_some() {
            println!("once more: {wrong:?}");
            wrong = hurt(&binary, &net).unwrap();
        }
    }
    assert_eq!(wrong, None);
}

/// What is the matter with the calls of agents who read while one reads nothing, beside the same calls while all read.
fn hurt(binary: &Path, net: &Lab) -> Result<Option<&'static str>> {
    let usual = watch(binary, net, &Agent::crowd(&net.gateway)?)?;
    let deaf = watch(binary, net, &Agent::deaf_to_the_first(&net.gateway)?)?;
    ensure!(deaf.grown < CALLS * CALL, "{} bytes for {CALLS} calls", deaf.grown);
    // A worker that waits for an agent leaves out what all its calls are sent meanwhile.
    let holds = [
        (
            deaf.packets[0] >= deaf.usual() / 2,
            "a call got fewer packets than others",
        ),
        (deaf.rates[0] >= usual.rate() / 2.0, "a call was slow"),
        (deaf.rate() >= usual.rate() * 0.9, "calls were slow"),
        (deaf.long() <= 2.0 * usual.long().max(0.040), "packets were apart"),
    ];
    let wrong = holds.into_iter().find(|(holds, _)| !holds);
    Ok(wrong.map(|(_, what)| what))
}
