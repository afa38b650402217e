//! Two hundred calls at once, set up and torn down for a minute: nothing is left of them.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use voxlane_tests::config::{ECHO, NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(120);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// Calls of the first round. They go on for longer than a transaction is remembered (64*T1, RFC 3261), so that tables have
/// the size they have in the second.
const WARM_UP: &str = "2400";

/// Memory that may be held after a load like one before it: allocator slack. A kilobyte kept a call would be 4 MiB.
const SLACK_KIB: u64 = 2 * 1024;

/// What the gateway holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    files: usize,
    tasks: u64,
    threads: usize,
    flows: usize,
}

fn held(gateway: &Gateway) -> Result<Held> {
    let process = format!("/proc/{}", gateway.id());
    Ok(Held {
        files: fs::read_dir(format!("{process}/fd"))?.count(),
        tasks: gateway.status()?.tasks,
        threads: fs::read_dir(format!("{process}/task"))?.count(),
        flows: gateway.flows()?.flows.len(),
    })
}

fn resident_kib(gateway: &Gateway) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .context("VmRSS is not a number")
}

/// Places `calls` calls of 3 s to the echo agent, at most 200 at once.
fn load(net: &Lab, gateway: &Gateway, calls: &str) -> Result<()> {
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO)?;
    let options = ["-rtp_echo", "-l", "200", "-r", "70", "-d", "3000", "-m", calls];
    caller.options(&options).start()?.succeed(PATIENCE)?;
    gateway.wait_until_idle(PATIENCE)?;
    Ok(())
}

#[test]
fn two_hundred_calls_at_once_leave_nothing_behind() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    load(&net, &gateway, WARM_UP).unwrap();
    let (before, memory_before) = (held(&gateway).unwrap(), resident_kib(&gateway).unwrap());
    // 200 calls of 3 s each are 66 a second: a minute.
    load(&net, &gateway, "4000").unwrap();
    gateway
        .wait_until(PATIENCE, held, |now| *now == before)
        .unwrap_or_else(|error| panic!("before the load {before:?}; {error:#}"));
    let memory_after = resident_kib(&gateway).unwrap();
    assert!(
        memory_after <= memory_before + SLACK_KIB,
        "{memory_before} KiB before, {memory_after} KiB after"
    );
    let status = gateway.status().unwrap();
    assert_eq!(
        (status.calls.total, status.calls.answered, status.calls.failed),
        (6400, 6400, 0)
    );
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            (status.sip.transactions, status.sip.dialogs) == (0, 0)
        })
        .unwrap();
}
