//! Calls that are relayed to the far side.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use voxlane_tests::audio::{purity, tone};
use voxlane_tests::config::{NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab, Place};
use voxlane_tests::peers::baresip::Baresip;
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::reports::Flows;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// Packets of a two-second tone.
const PACKETS: u64 = 100;

/// Datagrams that setting up and ending one call may bring: two transactions a leg and some repeats.
const SIGNALLING: u64 = 30;

/// A caller that sends [`PACKETS`] packets and stays on the line for a while, so that they can be counted.
fn caller(net: &Lab) -> Result<Running> {
    let caller = Sipp::caller(&net.carrier, Scenario::Play, CARRIER, GATEWAY, RELAYED)?;
    assert_eq!(u64::from(caller.sound(&tone(440, 2000))?), PACKETS);
    caller.options(&["-m", "1", "-d", "6000"]).start()
}

fn far(net: &Lab) -> Result<Running> {
    Sipp::answerer(&net.far, FAR)?.options(&["-rtp_echo"]).listen()
}

/// Both flows have carried everything.
fn all_counted(flows: &Flows) -> bool {
    flows.flows.len() == 2 && flows.flows.iter().all(|flow| flow.received.packets == PACKETS)
}

/// Datagrams that sockets of the namespace have received, and those that found no socket.
fn datagrams(place: &Place) -> Result<(u64, u64)> {
    let output = place.command("cat").arg("/proc/net/snmp").output()?;
    let text = String::from_utf8(output.stdout)?;
    let values = text
        .lines()
        .filter(|line| line.starts_with("Udp:"))
        .nth(1)
        .context("no Udp line")?;
    let mut values = values.split_whitespace().skip(1).map(str::parse::<u64>);
    let mut next = || values.next().context("short Udp line")?.context("not a number");
    Ok((next()?, next()?))
}

#[test]
fn the_kernel_relays_and_no_socket_sees_a_packet() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let _far = far(&net).unwrap();
    let caller = caller(&net).unwrap();
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, all_counted).unwrap();
    for flow in &flows.flows {
        assert_eq!((flow.lane.as_str(), &flow.reason), ("kernel", &None), "{flow:?}");
        assert_eq!((flow.userspace_packets, flow.received.lost), (0, 0), "{flow:?}");
    }
    let (received, without_socket) = datagrams(&net.gateway).unwrap();
    assert!(
        received + without_socket < SIGNALLING,
        "{received} received, {without_socket} without a socket"
    );
    caller.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!(gateway.flows().unwrap().flows.len(), 0);
}

#[test]
fn stock_sipp_completes_relayed_calls() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let _far = far(&net).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, RELAYED).unwrap();
    let options = ["-rtp_echo", "-m", "3", "-l", "3", "-d", "500"];
    caller.options(&options).start().unwrap().succeed(PATIENCE).unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!((status.calls.answered, status.calls.failed), (3, 0));
}

#[test]
fn baresip_hears_its_echo_through_the_kernel() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let _far = far(&net).unwrap();
    let uri = format!("sip:{RELAYED}@{GATEWAY_TO_CARRIER}");
    let mut call = Baresip::call(&net.carrier, CARRIER, &uri, &tone(1000, 20_000), Duration::from_secs(6)).unwrap();
    call.wait_established(PATIENCE).unwrap();
    gateway.wait_until_relayed(PATIENCE, 50).unwrap();
    let outcome = call.finish(PATIENCE).unwrap();
    let sound = purity(&outcome.heard, 1000);
    assert!(sound.share > 0.9 && sound.seconds > 2.0, "{sound:?}\n{}", outcome.log);
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn without_xdp_the_worker_lane_relays_and_says_why() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Off, NO_BOT)).unwrap();
    let _far = far(&net).unwrap();
    let caller = caller(&net).unwrap();
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, all_counted).unwrap();
    assert_eq!(flows.status.unavailable.as_deref(), Some("xdp_off"));
    for flow in &flows.flows {
        assert_eq!(
            (flow.lane.as_str(), flow.reason.as_deref()),
            ("worker", Some("xdp_off")),
            "{flow:?}"
        );
        assert!(flow.userspace_packets >= PACKETS, "{flow:?}");
    }
    let shown = gateway.flows_for_people().unwrap();
    assert_eq!(shown.matches("media.xdp is \"off\"").count(), 3, "{shown}");
    caller.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
}
