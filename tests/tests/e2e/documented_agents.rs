//! The agents of `docs/agents` hold calls as they are.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use voxlane_tests::audio::{from_ulaw, purity, tone};
use voxlane_tests::config::{BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab, Place};
use voxlane_tests::peers::application::TOKEN;
use voxlane_tests::peers::documented::{self, Documented};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::peers::tshark::{self, Packet};
use voxlane_tests::phone::Phone;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(60);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const API: &str = "127.0.0.1:8088";

/// A caller hears itself.
fn echoes(start: impl FnOnce(&Place) -> Result<Documented>) -> Result<()> {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return Ok(());
    };
    let net = Lab::new()?;
    let agent = start(&net.gateway)?;
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, documented::URL))?;
    let options = ["--tone", "440", "--duration", "2s"];
    let phone = Phone::call(&binary, &net.carrier, &format!("sip:{BOT}@{GATEWAY}"), &options)?;
    let report = phone.report(PATIENCE)?;
    let heard = report.heard.as_ref().and_then(|heard| heard.frequency_hz);
    ensure!(
        heard.is_some_and(|hertz| (hertz - 440.0).abs() < 5.0),
        "{report:?}\n{}",
        agent.said()
    );
    gateway.wait_until_idle(PATIENCE)?;
    Ok(())
}

#[test]
fn the_echo_bot_in_python_holds_a_call() {
    echoes(Documented::python).unwrap();
}

#[test]
fn the_echo_bot_in_node_holds_a_call() {
    echoes(Documented::node).unwrap();
}

/// When a tone was heard, seconds since 1970: when it began, and when it ended.
fn heard(packets: &[Packet], frequency: u32) -> (f64, f64) {
    let of_tone: Vec<f64> = packets
        .windows(5)
        .filter(|together| {
            let payload = together.iter().flat_map(|packet| &packet.payload);
            let samples: Vec<i16> = payload.copied().map(from_ulaw).collect();
            let sound = purity(&samples, frequency);
            sound.seconds > 0.09 && sound.share > 0.9
        })
        .map(|together| together[0].at)
        .collect();
    match of_tone[..] {
        [first, .., last] => (first, last + 0.1),
        _ => panic!("{frequency} Hz was not heard"),
    }
}

#[test]
fn a_pipecat_bot_answers_is_interrupted_and_hangs_up() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let agent = Documented::pipecat(&net.gateway, &format!("http://{API}"), TOKEN).unwrap();
    let config = below(
        &lab(Xdp::Auto, documented::URL),
        "name = \"demo\"",
        &format!("auth_token = \"{TOKEN}\""),
    );
    let config = format!("{config}\n[api]\nlisten = \"{API}\"\n");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("call.pcap");
    let capture = tshark::capture(&net.carrier, &file).unwrap();

    // It speaks, hears the answer for a while, and speaks again while that goes on.
    let caller = Sipp::caller(&net.carrier, Scenario::PlaysUntilHungUpOn, CARRIER, GATEWAY, BOT).unwrap();
    let spoken = [(0, 1000), (440, 1000), (0, 3000), (440, 1000), (0, 10_000)];
    let sound = spoken.map(|(hertz, milliseconds)| tone(hertz, milliseconds)).concat();
    caller.sound(&sound).unwrap();
    let caller = caller.options(&["-m", "1"]).start().unwrap();
    let flows = gateway
        .wait_until(PATIENCE, Gateway::flows, |flows| flows.leg("a").is_ok())
        .unwrap();
    let local = flows.leg("a").unwrap().local.port();
    caller
        .succeed(PATIENCE)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", agent.said()));
    gateway.wait_until_idle(PATIENCE).unwrap();
    capture.signal("INT").unwrap();
    capture.wait(PATIENCE).unwrap();

    let packets = tshark::packets(&file, local).unwrap();
    let (_, answer_ends) = heard(&packets, 600);
    let (goodbye_begins, goodbye_ends) = heard(&packets, 800);
    // Twenty seconds of answer were under way, twice as fast as they are played.
    println!(
        "the answer ends {:.3} s before the goodbye begins",
        goodbye_begins - answer_ends
    );
    assert!(goodbye_begins - answer_ends < 1.0);
    assert!(
        (goodbye_ends - goodbye_begins) > 0.5,
        "{}",
        goodbye_ends - goodbye_begins
    );

    // It is the bot that has hung up, by a request to its base_url.
    let api = gateway.status().unwrap().api;
    assert_eq!((api.requests, api.unauthorized, api.refused), (1, 0, 0));
    let calls = gateway.calls().unwrap();
    let cause = calls.to(BOT).unwrap().cause.clone();
    assert_eq!(cause.as_deref(), Some("gateway: hung up by the account's REST API"));
}
