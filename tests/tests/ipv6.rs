//! Calls that are relayed over IPv6, and between IPv6 and IPv4.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::audio::{purity, tone};
use voxlane_tests::config::{RELAYED, RELAYED_V6, Xdp, dual_stack};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{
    CARRIER, CARRIER_V6, FAR, FAR_V6, GATEWAY_TO_CARRIER, GATEWAY_TO_CARRIER_V6, GATEWAY_TO_FAR_V6, Lab,
};
use voxlane_tests::peers::baresip::Baresip;
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::reports::{Flow, Flows};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

/// Packets of a two-second tone.
const PACKETS: u64 = 100;

/// An answerer that sends back what it hears.
fn echo(net: &Lab, at: IpAddr) -> Result<Running> {
    Sipp::answerer(&net.far, at)?.options(&["-rtp_echo"]).listen()
}

/// A caller that sends [`PACKETS`] packets and stays on the line for a while, so that they can be counted.
fn caller(net: &Lab, from: IpAddr, gateway: IpAddr, number: &str) -> Result<Running> {
    let caller = Sipp::caller(
        &net.carrier,
        Scenario::Play,
        from,
        SocketAddr::new(gateway, 5060),
        number,
    )?;
    assert_eq!(u64::from(caller.sound(&tone(440, 2000))?), PACKETS);
    caller.options(&["-m", "1", "-d", "6000"]).start()
}

fn both(flows: &Flows, holds: impl Fn(&Flow) -> bool) -> bool {
    flows.flows.len() == 2 && flows.flows.iter().all(holds)
}

fn all_counted(flows: &Flows) -> bool {
    both(flows, |flow| flow.received.packets == PACKETS)
}

#[test]
fn the_kernel_relays_ipv6_and_counts_every_packet() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::dual_stack().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &dual_stack(Xdp::Auto)).unwrap();
    let _far = echo(&net, FAR_V6).unwrap();
    let caller = caller(&net, CARRIER_V6, GATEWAY_TO_CARRIER_V6, RELAYED_V6).unwrap();
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, all_counted).unwrap();
    for (leg, local) in [("a", GATEWAY_TO_CARRIER_V6), ("b", GATEWAY_TO_FAR_V6)] {
        let flow = flows.leg(leg).unwrap();
        assert_eq!(flow.local.ip(), local, "{flow:?}");
        assert_eq!((flow.lane.as_str(), &flow.reason), ("kernel", &None), "{flow:?}");
        assert_eq!((flow.sent_packets, flow.received.lost), (PACKETS, 0), "{flow:?}");
        assert_eq!((flow.userspace_packets, flow.all_dropped()), (0, 0), "{flow:?}");
    }
    caller.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn baresip_hears_its_echo_over_ipv6() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::dual_stack().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &dual_stack(Xdp::Auto)).unwrap();
    let _far = echo(&net, FAR_V6).unwrap();
    let uri = format!("sip:{RELAYED_V6}@[{GATEWAY_TO_CARRIER_V6}]");
    let sound = tone(1000, 20_000);
    let mut call = Baresip::call(&net.carrier, CARRIER_V6, &uri, &sound, Duration::from_secs(6)).unwrap();
    call.wait_established(PATIENCE).unwrap();
    let relayed = |flows: &Flows| both(flows, |flow| flow.lane == "kernel" && flow.received.packets > 50);
    gateway.wait_until(PATIENCE, Gateway::flows, relayed).unwrap();
    let outcome = call.finish(PATIENCE).unwrap();
    let sound = purity(&outcome.heard, 1000);
    assert!(sound.share > 0.9 && sound.seconds > 2.0, "{sound:?}\n{}", outcome.log);
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn between_ipv4_and_ipv6_the_worker_lane_relays_and_says_why() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::dual_stack().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &dual_stack(Xdp::Auto)).unwrap();
    for (from, via, number, far) in [
        (CARRIER, GATEWAY_TO_CARRIER, RELAYED_V6, FAR_V6),
        (CARRIER_V6, GATEWAY_TO_CARRIER_V6, RELAYED, FAR),
    ] {
        let _far = echo(&net, far).unwrap();
        let caller = caller(&net, from, via, number).unwrap();
        let flows = gateway.wait_until(PATIENCE, Gateway::flows, all_counted).unwrap();
        for flow in &flows.flows {
            let why = (flow.lane.as_str(), flow.reason.as_deref());
            assert_eq!(why, ("worker", Some("mixed_families")), "{flow:?}");
            assert_eq!((flow.sent_packets, flow.received.lost), (PACKETS, 0), "{flow:?}");
        }
        caller.succeed(PATIENCE).unwrap();
        gateway.wait_until_idle(PATIENCE).unwrap();
    }
}
