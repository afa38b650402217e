//! Agents that speak Asterisk's AudioSocket, against a server written from its documentation.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::audio::{purity, tone};
use voxlane_tests::config::{BOT, NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::phone::Phone;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
/// The same server, which hears 16,000 samples a second.
const WIDE: &str = "+15550031";

#[test]
fn a_server_hears_the_call_answers_is_told_of_keys_and_hangs_up() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut agent = Agent::audiosocket(&net.gateway, 600, 3).unwrap();
    let url = agent.audiosocket_url();
    let config = lab(Xdp::Off, NO_BOT).replace(NO_BOT, &url)
        + &format!(
            "\n[[agent]]\nname = \"wide\"\nurl = \"{url}\"\nsample_rate = 16000\n\
             [[did]]\nnumber = \"{WIDE}\"\ntenant = \"demo\"\nagent = \"wide\"\n"
        );
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();

    // The caller hears the tone and is hung up on after the key "#".
    let options = [
        "--tone",
        "1000",
        "--dtmf",
        "5#",
        "--duration",
        "20s",
        "--from",
        "+15550123",
    ];
    let uri = format!("sip:{BOT}@{GATEWAY}");
    let phone = Phone::call(&binary, &net.carrier, &uri, &options).unwrap();
    agent
        .wait_for("the end of the stream", PATIENCE, |event| event["heard"].is_u64())
        .unwrap();
    let report = phone.report(PATIENCE).unwrap();
    let ended = (report.result.as_str(), report.ended_by.as_deref());
    assert_eq!(ended, ("completed", Some("them")), "{report:?}");
    let frequency = report.heard.and_then(|heard| heard.frequency_hz).unwrap();
    assert!((595.0..605.0).contains(&frequency), "{frequency}");
    let events = agent.events();
    let call = &gateway.calls().unwrap().recent[0];
    assert!(
        events.iter().any(|event| event["uuid"] == format!("{:0>32}", call.id)),
        "{events:?}"
    );
    let pressed: String = events.iter().filter_map(|event| event["digit"].as_str()).collect();
    assert_eq!(pressed, "5#");
    assert_eq!(events.last().unwrap()["ended"], false, "{events:?}");

    // At twice the rate; the caller hangs up.
    let before = agent.heard_linear().len();
    let caller = Sipp::caller(&net.carrier, Scenario::Play, CARRIER, GATEWAY, WIDE).unwrap();
    caller.sound(&tone(440, 2000)).unwrap();
    let caller = caller.options(&["-m", "1", "-d", "2500"]).start().unwrap();
    caller.succeed(PATIENCE).unwrap();
    agent
        .wait_for("the end of the call", PATIENCE, |event| event["ended"] == true)
        .unwrap();
    // Read as 8,000 samples a second it lasts twice as long, at half the frequency.
    let sound = purity(&agent.heard_linear()[before..], 220);
    assert!(sound.share > 0.9 && sound.seconds > 3.0, "{sound:?}");
    gateway.wait_until_idle(PATIENCE).unwrap();
}
