//! Two hundred calls at once, set up and torn down for a minute: nothing is left of them.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::config::{ECHO, NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::process::resident;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(120);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// Calls of the first round. They go on for longer than a transaction is remembered (64*T1, RFC 3261), so that tables have
/// the size they have in the second.
const WARM_UP: u64 = 2800;

/// Calls of the second round: 70 a second for a minute.
const LOAD: u64 = 4200;

/// Calls there must have been at one moment.
const AT_ONCE: u64 = 200;

/// Memory that may be held after a load like one before it: allocator slack. A kilobyte kept a call would be 4 MiB.
const SLACK_KIB: u64 = 2 * 1024;

/// So often the load is repeated until it leaves no more than that. How much the allocator holds depends on how many calls the
/// machine was late with at one moment, so one round may reach further than those before it; what is kept of calls grows in
/// every round.
const ROUNDS: u64 = 3;

/// What the gateway holds.
#[derive(Debug)]
struct Held {
    files: usize,
    tasks: u64,
    threads: usize,
    flows: usize,
}

impl Held {
    /// Nothing more than before. It may be less: a question to the gateway that had just been answered was counted then.
    fn is_within(&self, before: &Self) -> bool {
        self.files <= before.files
            && self.tasks <= before.tasks
            && self.threads <= before.threads
            && self.flows <= before.flows
    }
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
    Ok(resident(gateway.id())? >> 10)
}

/// Places `calls` calls of 3 s to the echo agent, a few more than [`AT_ONCE`] together.
fn load(net: &Lab, gateway: &Gateway, calls: u64) -> Result<()> {
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO)?;
    let options = [
        "-rtp_echo",
        "-l",
        "210",
        "-r",
        "90",
        "-d",
        "3000",
        "-m",
        &calls.to_string(),
    ];
    let caller = caller.options(&options).start()?;
    gateway.wait_until(PATIENCE, Gateway::status, |status| {
        status.agents.active >= AT_ONCE && status.plane.ports_in_use as u64 >= AT_ONCE
    })?;
    caller.succeed(PATIENCE)?;
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
    let before = held(&gateway).unwrap();
    let mut resident = vec![resident_kib(&gateway).unwrap()];
    let settled = |resident: &[u64]| resident.windows(2).any(|pair| pair[1] <= pair[0] + SLACK_KIB);
    while !settled(&resident) {
        assert!(resident.len() as u64 <= ROUNDS, "KiB after each round: {resident:?}");
        load(&net, &gateway, LOAD).unwrap();
        gateway
            .wait_until(PATIENCE, held, |now| now.is_within(&before))
            .unwrap_or_else(|error| panic!("before the load {before:?}; {error:#}"));
        resident.push(resident_kib(&gateway).unwrap());
    }
    let calls = WARM_UP + LOAD * (resident.len() as u64 - 1);
    let status = gateway.status().unwrap();
    assert_eq!(
        (status.calls.total, status.calls.answered, status.calls.failed),
        (calls, calls, 0)
    );
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            (status.sip.transactions, status.sip.dialogs) == (0, 0)
        })
        .unwrap();
}
