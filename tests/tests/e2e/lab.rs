//! The lab itself, without a gateway: what its peers do among themselves, so that a failure elsewhere is not theirs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use voxlane_tests::audio::{purity, tone};
use voxlane_tests::netns::{CARRIER, FAR, Lab};
use voxlane_tests::peers::agent::{Agent, Misbehaviour};
use voxlane_tests::peers::baresip::Baresip;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

/// A lab in which the gateway's namespace forwards packets as a router would.
fn routed() -> Result<Lab> {
    let lab = Lab::new()?;
    let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    ensure!(
        lab.gateway.command("sh").args(["-c", forward]).status()?.success(),
        "cannot turn on forwarding"
    );
    Ok(lab)
}

#[test]
fn sipp_calls_sipp() {
    if !requirements::namespaces() {
        return;
    }
    let lab = routed().unwrap();
    let _far = Sipp::answerer(&lab.far, FAR)
        .unwrap()
        .options(&["-rtp_echo"])
        .listen()
        .unwrap();
    let far = SocketAddr::new(FAR, 5060);
    for scenario in [Scenario::Uac, Scenario::Play] {
        let caller = Sipp::caller(&lab.carrier, scenario, CARRIER, far, "+15551234").unwrap();
        assert_eq!(caller.sound(&tone(440, 500)).unwrap(), 25);
        caller
            .options(&["-m", "1", "-d", "700"])
            .start()
            .unwrap()
            .succeed(PATIENCE)
            .unwrap();
    }
}

#[test]
fn baresip_hears_its_tone_from_sipp_as_an_echo() {
    if !requirements::namespaces() {
        return;
    }
    let lab = routed().unwrap();
    let _far = Sipp::answerer(&lab.far, FAR)
        .unwrap()
        .options(&["-rtp_echo"])
        .listen()
        .unwrap();
    let uri = format!("sip:+15551234@{FAR}");
    let call = Baresip::call(&lab.carrier, CARRIER, &uri, &tone(1000, 10_000), Duration::from_secs(4)).unwrap();
    let outcome = call.finish(PATIENCE).unwrap();
    assert!(outcome.established(), "{}", outcome.log);
    let sound = purity(&outcome.heard, 1000);
    assert!(sound.share > 0.9 && sound.seconds > 1.0, "{sound:?}\n{}", outcome.log);
}

#[test]
fn agents_listen() {
    if !requirements::namespaces() {
        return;
    }
    let lab = Lab::new().unwrap();
    let agent = Agent::tone(&lab.gateway, 600, 1).unwrap();
    assert!(agent.url().starts_with("ws://127.0.0.1:"));
    for how in [Misbehaviour::Refuse, Misbehaviour::Silent, Misbehaviour::Frozen] {
        Agent::bad(&lab.gateway, how).unwrap();
    }
}
