//! A carrier and a far side on one wire: what comes on the gateway's interface leaves by it.

use std::time::Duration;

use voxlane_tests::audio::{purity, tone};
use voxlane_tests::config::{NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab, NEIGHBOUR};
use voxlane_tests::peers::baresip::Baresip;
use voxlane_tests::peers::sipp::Sipp;
use voxlane_tests::reports::Flows;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway that is never called. A veth hands on what its peer's XDP program reflects only where it has a program
/// itself, and any will do.
const BYSTANDER: &str = r#"
[node]
name = "bystander"

[sip]
listen = ["udp:127.0.0.1:5099"]

[media]
xdp = "native"
interfaces = ["eth0"]
ports = "60000-60001"
unallocated = "pass"
pin = "off"
"#;

#[test]
fn both_legs_of_a_call_share_an_interface() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    net.neighbour_of_carrier().unwrap();
    let _bystander = Gateway::start_with(&binary, &net.carrier, BYSTANDER).unwrap();
    let config = lab(Xdp::Auto, NO_BOT)
        .replace(r#"["10.200.1.0/24"]"#, r#"["10.200.1.2"]"#)
        .replace(r#"["10.200.2.0/24"]"#, r#"["10.200.1.3"]"#)
        .replace("10.200.2.2:5060", "10.200.1.3:5060");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();

    let far = Sipp::answerer(&net.carrier, NEIGHBOUR).unwrap();
    let _far = far.options(&["-rtp_echo"]).listen().unwrap();
    let uri = format!("sip:{RELAYED}@{GATEWAY_TO_CARRIER}");
    let sound = tone(1000, 20_000);
    let mut call = Baresip::call(&net.carrier, CARRIER, &uri, &sound, Duration::from_secs(6)).unwrap();
    call.wait_established(PATIENCE).unwrap();
    let relayed = |flows: &Flows| flows.flows.len() == 2 && flows.flows.iter().all(|flow| flow.received.packets > 50);
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, relayed).unwrap();
    for flow in &flows.flows {
        assert_eq!(flow.local.ip(), GATEWAY_TO_CARRIER, "{flow:?}");
        assert_eq!((flow.lane.as_str(), flow.userspace_packets), ("kernel", 0), "{flow:?}");
        assert_eq!((flow.received.lost, flow.all_dropped()), (0, 0), "{flow:?}");
    }
    let status = gateway.status().unwrap().plane;
    assert!(status.interfaces.iter().all(|on| on.mode == "native"), "{status:?}");
    let kernel = status.kernel.unwrap();
    assert!(kernel.count("reflected") > 100, "{kernel:?}");
    assert_eq!(kernel.count("redirected"), 0, "{kernel:?}");
    let outcome = call.finish(PATIENCE).unwrap();
    let sound = purity(&outcome.heard, 1000);
    assert!(sound.share > 0.9 && sound.seconds > 2.0, "{sound:?}\n{}", outcome.log);
    gateway.wait_until_idle(PATIENCE).unwrap();
}
