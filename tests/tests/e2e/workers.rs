//! A media worker that hangs is noticed, and said to be.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use voxlane_tests::config::{ECHO, NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::process::Process;
use voxlane_tests::requirements::{self, python};

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

#[test]
fn a_worker_that_hangs_is_told_of_and_works_on_afterwards() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Off, NO_BOT)).unwrap();
    assert_eq!(gateway.status().unwrap().plane.workers[0].health, "working");

    // A debugger's grip on one thread of the process: the others go on.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("agents/stop_thread.py");
    let mut command = net.gateway.command(python());
    command.arg(script).arg(gateway.id().to_string()).arg("media-0");
    let mut grip = Process::start("stop_thread.py", &mut command).unwrap();
    grip.wait_for("stopped", PATIENCE).unwrap();
    let status = |health: &'static str| {
        gateway.wait_until(PATIENCE, Gateway::status, move |status| {
            status.plane.workers[0].health == health
        })
    };
    status("stalled").unwrap();
    assert!(gateway.log().contains("a media worker is stalled"), "{}", gateway.log());

    grip.interrupt().unwrap();
    status("working").unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO).unwrap();
    let options = ["-rtp_echo", "-m", "1", "-d", "500"];
    caller.options(&options).start().unwrap().succeed(PATIENCE).unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!(status.plane.workers[0].residents, 0);
}
