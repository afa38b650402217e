//! Five hundred agent calls, one of whose agents reads nothing: the others do not notice.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
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

/// Packets of a call in that time, at least: a capture may begin late.
const PACKETS: usize = 40 * WATCHED as usize;

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

#[test]
fn an_agent_that_reads_nothing_does_not_hurt_five_hundred_others() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let bot = Agent::deaf_to_the_first(&net.gateway).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &bot.url())).unwrap();
    let before = resident(&gateway).unwrap();
    let calls = callers(&net).unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| status.agents.active == CALLS)
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("headers.pcap");
    let capture = tshark::capture_headers(&net.carrier, &file, RTP, WATCHED).unwrap();
    capture.wait(PATIENCE).unwrap();
    let grown = resident(&gateway).unwrap().saturating_sub(before);
    let status = gateway.status().unwrap();
    drop(calls);

    assert_eq!((status.agents.active, status.agents.failed), (CALLS, 0), "{status:?}");
    println!("{} bytes a call", grown / CALLS);
    assert!(grown < CALLS * CALL, "{grown} bytes for {CALLS} calls");

    let times = tshark::times(&file, RTP).unwrap();
    let mut counts: Vec<usize> = times.values().map(Vec::len).collect();
    counts.sort_unstable();
    let usual = counts[counts.len() / 2];
    let whole = counts
        .iter()
        .filter(|count| count.abs_diff(usual) <= usual / 20)
        .count();
    let each = times.values().flat_map(|packets| packets.windows(2));
    let mut gaps: Vec<f64> = each.map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    let [median, most] = [gaps.len() / 2, gaps.len() * 99 / 100].map(|place| gaps[place]);
    println!(
        "{whole} calls whole of {}; packets are apart {median} s, 99 %: {most} s",
        times.len()
    );
    assert!(usual >= PACKETS, "{usual} packets");
    // A hundredth may have suffered from the machine.
    assert!(whole as u64 >= CALLS - CALLS / 100, "{whole} of {} calls", times.len());
    // A machine that does much besides gives up a frame or two in a row; a worker that an agent holds up gives up many.
    assert!((0.018..0.022).contains(&median) && most < 0.200, "{median} {most}");
}
