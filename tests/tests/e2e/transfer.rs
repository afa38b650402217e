//! Calls that are given to another party.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::audio::{RATE, purity, tone};
use voxlane_tests::config::{BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::baresip::{Baresip, Rtcp};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const NUMBER: &str = "+15558888";

#[test]
fn a_caller_of_an_agent_is_given_to_another_party_in_the_kernel() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let agent = Agent::tone(&net.gateway, 600, 30).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &agent.url())).unwrap();
    let uri = format!("sip:{BOT}@{GATEWAY_TO_CARRIER}");
    let mut call = Baresip::call(
        &net.carrier,
        CARRIER,
        &uri,
        &tone(1000, 20_000),
        Duration::from_secs(10),
    )
    .unwrap();
    call.wait_established(PATIENCE).unwrap();
    let id = gateway.wait_until_up(PATIENCE).unwrap();

    // The other party is busy: the caller is the agent's as before.
    let to = ["--to", NUMBER, "--trunk", "far"];
    let busy = Sipp::answerer_as(&net.far, Scenario::Busy, FAR).unwrap();
    let busy = busy.options(&["-m", "1"]).listen().unwrap();
    let failed = gateway.transfer(&id, &to).unwrap();
    assert_eq!(
        (failed.state.as_str(), failed.status),
        ("failed", Some(486)),
        "{failed:?}"
    );
    busy.succeed(PATIENCE).unwrap();
    assert_eq!(gateway.status().unwrap().agents.active, 1);

    let _far = Sipp::answerer(&net.far, FAR)
        .unwrap()
        .options(&["-rtp_echo"])
        .listen()
        .unwrap();
    let completed = gateway.transfer(&id, &to).unwrap();
    assert_eq!(completed.state, "completed", "{completed:?}");
    gateway.wait_until_relayed(PATIENCE, 100).unwrap();
    assert_eq!(gateway.status().unwrap().agents.active, 0);
    let outcome = call.finish(PATIENCE).unwrap();

    // First the agent, then its own echo from the other party.
    let before = purity(&outcome.heard, 600);
    assert!(before.seconds > 0.5, "{before:?}\n{}", outcome.log);
    let last_second = outcome.heard.len().saturating_sub(RATE as usize);
    let after = purity(&outcome.heard[last_second..], 1000);
    assert!(after.share > 0.9, "{after:?}\n{}", outcome.log);

    gateway.wait_until_idle(PATIENCE).unwrap();
    let events = agent.events();
    let told: Vec<&str> = events
        .iter()
        .filter_map(|event| event["transfer"]["status"].as_str())
        .collect();
    assert_eq!(
        told,
        ["calling", "ringing", "failed", "calling", "ringing"],
        "{events:?}"
    );
    let order: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(order.last(), Some(&"stop"), "{events:?}");
    let calls = gateway.calls().unwrap();
    let states: Vec<&str> = calls
        .to(BOT)
        .unwrap()
        .transfers
        .iter()
        .map(|one| one.state.as_str())
        .collect();
    assert_eq!(states, ["failed", "completed"]);
}

#[test]
fn an_agent_that_asks_and_goes_is_called_again_when_nobody_takes_the_call() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut agent = Agent::transferring(&net.gateway, NUMBER).unwrap();
    let config = below(
        &lab(Xdp::Auto, &agent.url()),
        "parameters = { language = \"en\" }",
        "transfer_trunks = [\"far\"]\n\n[transfer]\ntrunk = \"far\"",
    );
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let busy = Sipp::answerer_as(&net.far, Scenario::Busy, FAR).unwrap();
    let busy = busy.options(&["-m", "1"]).listen().unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, BOT).unwrap();
    let caller = caller.options(&["-m", "1", "-d", "3000"]).start().unwrap();
    agent
        .wait_for("the second stream", PATIENCE, |event| {
            event["start"]["customParameters"]["transferSipStatus"] == "486"
        })
        .unwrap();
    busy.succeed(PATIENCE).unwrap();
    caller.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    let calls = gateway.calls().unwrap();
    let call = calls.to(BOT).unwrap();
    let [transfer] = &call.transfers[..] else {
        panic!("{call:?}");
    };
    assert_eq!(
        (transfer.asked_by.as_str(), transfer.state.as_str()),
        ("agent", "failed"),
        "{transfer:?}"
    );
    assert!(call.cause.as_ref().unwrap().starts_with("caller"), "{call:?}");
}

#[test]
fn whom_an_agent_has_called_is_given_to_another_party_in_the_kernel() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let agent = Agent::tone(&net.gateway, 600, 30).unwrap();
    let config = lab(Xdp::Auto, &agent.url());
    let config = below(&config, "proxy = \"10.200.2.2:5060\"", "caller_ids = [\"+15550100\"]");
    let config = below(&config, "allow = [\"10.200.1.0/24\"]", "proxy = \"10.200.1.2:5060\"");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let mut called = Baresip::answer(&net.far, FAR, NUMBER, &tone(1000, 30_000), Rtcp::OwnPort).unwrap();
    let (results, heard) = std::thread::scope(|scope| {
        let dialled = scope.spawn(|| gateway.dial(&[NUMBER, "--trunk", "far", "--agent", "bot"]).unwrap());
        called.wait_established(PATIENCE).unwrap();
        let id = gateway.wait_until_up(PATIENCE).unwrap();

        // The other party is busy: the agent has its call as before.
        let to = ["--to", "+15557777", "--trunk", "carrier"];
        let busy = Sipp::answerer_as(&net.carrier, Scenario::Busy, CARRIER).unwrap();
        let busy = busy.options(&["-m", "1"]).listen().unwrap();
        let failed = gateway.transfer(&id, &to).unwrap();
        assert_eq!(
            (failed.state.as_str(), failed.status),
            ("failed", Some(486)),
            "{failed:?}"
        );
        busy.succeed(PATIENCE).unwrap();
        assert_eq!(gateway.status().unwrap().agents.active, 1);

        let _other = Sipp::answerer(&net.carrier, CARRIER)
            .unwrap()
            .options(&["-rtp_echo"])
            .listen()
            .unwrap();
        let completed = gateway.transfer(&id, &to).unwrap();
        assert_eq!(completed.state, "completed", "{completed:?}");
        gateway.wait_until_relayed(PATIENCE, 100).unwrap();
        assert_eq!(gateway.status().unwrap().agents.active, 0);
        let heard = called.stop(PATIENCE).unwrap();
        (dialled.join().unwrap().0, heard)
    });
    assert_eq!(results[0]["state"], "ended", "{results:?}");
    // First the agent, then its own echo from the other party.
    let before = purity(&heard.heard, 600);
    assert!(before.seconds > 0.5, "{before:?}\n{}", heard.log);
    let last_second = heard.heard.len().saturating_sub(RATE as usize);
    let after = purity(&heard.heard[last_second..], 1000);
    assert!(after.share > 0.9, "{after:?}\n{}", heard.log);
    gateway.wait_until_idle(PATIENCE).unwrap();
}
