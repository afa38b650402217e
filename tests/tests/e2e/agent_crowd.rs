//! Five hundred agent calls, one of whose agents reads nothing: the others do not notice.
//!
//! What a machine makes of the timing of five hundred calls is its own affair: they are held twice, first with agents who all read, and
//! compared.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use voxlane_tests::config::{BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::peers::tshark;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(60);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// All of them.
const CALLS: u64 = 500;

/// Where sipp has the RTP of all its calls.
const RTP: u16 = 6000;

/// How long they are watched, seconds.
const WATCHED: u32 = 5;

/// What a call may take up, bytes: that of `docs/design.md`, what its agent has said and nobody has heard yet, and what waits for
/// the agent where the machine is slower than five hundred callers.
const CALL: u64 = 256 << 10;

fn resident(gateway: &Gateway) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

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
    let before = resident(&gateway)?;
    let calls = callers(net)?;
    gateway.wait_until(PATIENCE, Gateway::status, |status| status.agents.active == CALLS)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("headers.pcap");
    let capture = tshark::capture_headers(&net.carrier, &file, RTP, WATCHED)?;
    capture.wait(PATIENCE)?;
    let grown = resident(&gateway)?.saturating_sub(before);
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
    let usual = watch(&binary, &net, &Agent::crowd(&net.gateway).unwrap()).unwrap();
    let deaf = watch(&binary, &net, &Agent::deaf_to_the_first(&net.gateway).unwrap()).unwrap();
    assert!(deaf.grown < CALLS * CALL, "{} bytes for {CALLS} calls", deaf.grown);
    // A worker that waits for an agent leaves out what all its calls are sent meanwhile.
    assert!(deaf.packets[0] >= deaf.usual() / 2);
    assert!(deaf.rates[0] >= usual.rate() / 2.0);
    assert!(deaf.rate() >= usual.rate() / 2.0);
    assert!(deaf.long() <= 5.0 * usual.long().max(0.040));
}
