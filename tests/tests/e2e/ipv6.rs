//! Calls over IPv6 (interoperability requirement I8): relayed, to an agent, to a trunk, by each transport; and between IPv6 and
//! IPv4. Over TCP `transports.rs` relays them, too.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::audio::{purity, tone};
use voxlane_tests::certificates::Authority;
use voxlane_tests::config::{ECHO, RELAYED, RELAYED_V6, Xdp, below, dual_stack};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{
    CARRIER, CARRIER_V6, FAR, FAR_V6, GATEWAY_TO_CARRIER, GATEWAY_TO_CARRIER_V6, GATEWAY_TO_FAR_V6, Lab,
};
use voxlane_tests::peers::baresip::{Baresip, Encryption, Via};
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
    gateway.wait_until_relayed(PATIENCE, 50).unwrap();
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

#[test]
fn an_agent_is_called_by_udp_and_tcp_while_a_call_passes_from_tls_to_tls() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::dual_stack().unwrap();
    let authority = Authority::new().unwrap();
    let ours = authority
        .vouch("gateway", &format!("IP:{GATEWAY_TO_CARRIER_V6}"))
        .unwrap();
    let phone = |name: &str, at: IpAddr| Via::Tls {
        identity: authority.vouch(name, &format!("IP:{at}")).unwrap().both,
        ca: authority.root(),
    };
    let listen = r#"listen = ["udp:[::]:5060", "tcp:[::]:5060", "tls:[::]:5061"]"#;
    let (certificate, key) = (ours.certificate.display(), ours.key.display());
    let tls = format!("\n[sip.tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\n[media]\n");
    let ca = authority.root();
    let secured = format!(
        "proxy = \"[{FAR_V6}]\"\ntransport = \"tls\"\ntls_ca = \"{}\"\nsrtp = \"required\"",
        ca.display()
    );
    let config = dual_stack(Xdp::Auto)
        .replace(r#"listen = ["udp:0.0.0.0:5060", "udp:[::]:5060"]"#, listen)
        .replace("\n[media]\n", &tls)
        .replace(&format!("proxy = \"[{FAR_V6}]:5060\""), &secured);
    let config = below(&config, "name = \"carrier\"", "srtp = \"optional\"");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();

    let (own, theirs) = (tone(1000, 20_000), tone(600, 60_000));
    let via = phone("far", FAR_V6);
    let far = Baresip::answer_over(&via, &net.far, FAR_V6, RELAYED_V6, &theirs, Encryption::Required).unwrap();
    let uri = format!("sip:{RELAYED_V6}@[{GATEWAY_TO_CARRIER_V6}]");
    let via = phone("phone", CARRIER_V6);
    let time = Duration::from_secs(9);
    let call = Baresip::call_over(&via, &net.carrier, CARRIER_V6, &uri, &own, time, Encryption::Required);
    let mut call = call.unwrap();
    call.wait_established(PATIENCE).unwrap();
    let relayed = gateway.calls().unwrap().to(RELAYED_V6).unwrap().id.clone();
    let secured = |flows: &Flows| {
        let flows = flows.flows.iter().filter(|flow| flow.call.as_ref() == Some(&relayed));
        let busy = flows.filter(|flow| {
            let both_ways = flow.received.packets > 50 && flow.sent_packets > 50;
            flow.local.is_ipv6() && flow.srtp.is_some() && both_ways
        });
        busy.count() == 2
    };
    gateway.wait_until(PATIENCE, Gateway::flows, secured).unwrap();
    assert_eq!(gateway.status().unwrap().connections.open("tls"), 2);

    let agent = SocketAddr::new(GATEWAY_TO_CARRIER_V6, 5060);
    let callers = ["u1", "t1"].map(|mode| {
        let caller = Sipp::caller(&net.carrier, Scenario::Play, CARRIER_V6, agent, ECHO).unwrap();
        assert_eq!(u64::from(caller.sound(&tone(440, 2000)).unwrap()), PACKETS);
        // baresip has port 5060.
        let port = if mode == "u1" { "5070" } else { "5071" };
        let caller = caller.options(&["-t", mode, "-p", port, "-m", "1", "-d", "3000"]);
        caller.start().unwrap()
    });
    let echoed = |flows: &Flows| {
        let flows = flows.flows.iter().filter(|flow| flow.call.as_ref() != Some(&relayed));
        let heard = flows.filter(|flow| {
            let sent = flow.sent_packets >= PACKETS;
            flow.local.ip() == GATEWAY_TO_CARRIER_V6 && flow.received.packets == PACKETS && sent
        });
        heard.count() == 2
    };
    gateway.wait_until(PATIENCE, Gateway::flows, echoed).unwrap();
    for caller in callers {
        caller.succeed(PATIENCE).unwrap();
    }
    for (outcome, frequency) in [(call.finish(PATIENCE), 600), (far.stop(PATIENCE), 1000)] {
        let outcome = outcome.unwrap();
        let heard = purity(&outcome.heard, frequency);
        assert!(heard.share > 0.9 && heard.seconds > 2.0, "{heard:?}\n{}", outcome.log);
    }
    let calls = gateway.wait_until_idle(PATIENCE).unwrap().calls;
    assert_eq!((calls.answered, calls.failed), (3, 0));
}
