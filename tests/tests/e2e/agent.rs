//! Calls that an agent answers.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::audio::{purity, tone};
use voxlane_tests::config::{BOT, ECHO, NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::baresip::Baresip;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::peers::tshark;
use voxlane_tests::phone::Phone;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

#[test]
fn stock_sipp_completes_calls_to_the_echo_agent() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO).unwrap();
    let options = ["-rtp_echo", "-m", "3", "-l", "3", "-d", "1000"];
    caller.options(&options).start().unwrap().succeed(PATIENCE).unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!(
        (status.calls.total, status.calls.answered, status.calls.failed),
        (3, 3, 0)
    );
}

#[test]
fn sipp_is_heard_by_a_websocket_agent() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut agent = Agent::tone(&net.gateway, 600, 1).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &agent.url())).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Play, CARRIER, GATEWAY, BOT).unwrap();
    caller.sound(&tone(440, 2000)).unwrap();
    caller
        .options(&["-m", "1", "-d", "3000"])
        .start()
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();

    agent
        .wait_for("the end of the stream", PATIENCE, |event| event["heard"].is_u64())
        .unwrap();
    let sound = purity(&agent.heard(), 440);
    assert!(sound.share > 0.9 && sound.seconds > 1.5, "{sound:?}");
    let events = agent.events();
    let order: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(order, ["connected", "start", "mark", "stop"], "{events:?}");
    let start = &events[2]["start"];
    assert_eq!(start["mediaFormat"]["encoding"], "audio/x-mulaw");
    assert_eq!(start["customParameters"]["language"], "en");
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn sipp_that_asks_for_other_packet_times_gets_them_from_an_agent() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    for ptime in [30, 40] {
        let net = Lab::new().unwrap();
        let mut agent = Agent::tone(&net.gateway, 600, 2).unwrap();
        let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &agent.url())).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("call.pcap");
        let capture = tshark::capture(&net.carrier, &file).unwrap();
        let caller = Sipp::caller(&net.carrier, Scenario::PlayAsking(ptime), CARRIER, GATEWAY, BOT).unwrap();
        caller.sound(&tone(440, 2000)).unwrap();
        let caller = caller.options(&["-m", "1", "-d", "3000"]).start().unwrap();
        let flows = gateway
            .wait_until(PATIENCE, Gateway::flows, |flows| flows.leg("a").is_ok())
            .unwrap();
        let local = flows.leg("a").unwrap().local.port();
        caller.succeed(PATIENCE).unwrap();

        // It hears 20 ms at a time, as ever.
        agent
            .wait_for("the end of the stream", PATIENCE, |event| event["heard"].is_u64())
            .unwrap();
        let sound = purity(&agent.heard(), 440);
        assert!(sound.share > 0.9 && sound.seconds > 1.5, "{ptime}: {sound:?}");
        gateway.wait_until_idle(PATIENCE).unwrap();
        capture.signal("INT").unwrap();
        capture.wait(PATIENCE).unwrap();

        let sent = format!("udp.srcport=={local} && rtp");
        let numbers = |field| -> Vec<u32> {
            let fields = tshark::fields(&file, &[local], &sent, field).unwrap();
            fields.iter().map(|number| number.parse().unwrap()).collect()
        };
        let samples = 8 * u32::from(ptime);
        let lengths = numbers("udp.length");
        assert!(lengths.len() > 50, "{ptime}: {}", lengths.len());
        // Headers of UDP and RTP are before the samples.
        assert!(
            lengths.iter().all(|length| *length == 8 + 12 + samples),
            "{ptime}: {lengths:?}"
        );
        let stamps = numbers("rtp.timestamp");
        let steps: Vec<u32> = stamps.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(
            steps.iter().all(|step| *step > 0 && step.is_multiple_of(samples)),
            "{ptime}: {steps:?}"
        );
        let streams = tshark::streams(&file, &[local]).unwrap();
        assert!(streams.iter().all(|stream| stream.lost == 0), "{ptime}: {streams:?}");
    }
}

#[test]
fn baresip_and_a_websocket_agent_hear_each_other() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut agent = Agent::tone(&net.gateway, 600, 3).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &agent.url())).unwrap();
    let uri = format!("sip:{BOT}@{GATEWAY_TO_CARRIER}");
    let call = Baresip::call(&net.carrier, CARRIER, &uri, &tone(1000, 20_000), Duration::from_secs(6)).unwrap();
    let outcome = call.finish(PATIENCE).unwrap();
    assert!(outcome.established(), "{}", outcome.log);

    agent
        .wait_for("the end of the stream", PATIENCE, |event| event["heard"].is_u64())
        .unwrap();
    let at_agent = purity(&agent.heard(), 1000);
    assert!(
        at_agent.share > 0.9 && at_agent.seconds > 2.0,
        "at the agent: {at_agent:?}"
    );
    let at_baresip = purity(&outcome.heard, 600);
    assert!(
        at_baresip.share > 0.9 && at_baresip.seconds > 2.0,
        "at baresip: {at_baresip:?}\n{}",
        outcome.log
    );
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn keys_reach_the_agent_and_the_call_record() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let agent = Agent::tone(&net.gateway, 600, 1).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &agent.url())).unwrap();
    let options = ["--dtmf", "0*9#", "--duration", "4s", "--from", "+15550123"];
    let phone = Phone::call(&binary, &net.carrier, &format!("sip:{BOT}@{GATEWAY}"), &options).unwrap();
    let report = phone.report(PATIENCE).unwrap();
    assert_eq!(
        (report.result.as_str(), report.bye.as_deref()),
        ("completed", Some("answered")),
        "{report:?}"
    );

    gateway.wait_until_idle(PATIENCE).unwrap();
    let calls = gateway.calls().unwrap();
    assert_eq!(calls.to(BOT).unwrap().digits, "0*9#");
    let events = agent.events();
    let pressed: String = events
        .iter()
        .filter_map(|event| event["dtmf"]["digit"].as_str())
        .collect();
    assert_eq!(pressed, "0*9#", "{events:?}");
}
