//! Transfers by REFER, in both directions, with sipp as the carrier.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use voxlane_tests::config::{BOT, ECHO, NO_BOT, RELAYED, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::reports::Calls;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const NUMBER: &str = "+15558888";

fn caller(net: &Lab, name: &'static str, number: &str) -> Result<Running> {
    let caller = Sipp::caller(&net.carrier, Scenario::Transfers(name), CARRIER, GATEWAY, number)?;
    caller.options(&["-m", "1"]).start()
}

fn is_referred(net: &Lab, gateway: &Gateway, agent: &Agent) -> Result<()> {
    let call = caller(net, "is_referred", BOT)?;
    let id = gateway.wait_until_up(PATIENCE)?;
    for (state, status) in [("failed", Some(603)), ("failed", Some(486)), ("completed", None)] {
        let transfer = gateway.transfer(&id, &["--to", NUMBER, "--by", "refer"])?;
        ensure!(
            (transfer.state.as_str(), transfer.status) == (state, status),
            "{transfer:?}"
        );
        if state == "failed" {
            // The caller is the agent's as before.
            ensure!(gateway.status()?.agents.active == 1, "the agent has left");
        }
    }
    call.succeed(PATIENCE)?;
    gateway.wait_until_idle(PATIENCE)?;
    let events = agent.events();
    let told: Vec<&str> = events
        .iter()
        .filter_map(|event| event["transfer"]["status"].as_str())
        .collect();
    ensure!(
        told == [
            "calling", "failed", "calling", "ringing", "failed", "calling", "ringing"
        ],
        "{events:?}"
    );
    let last = events.iter().rev().find_map(|event| event["event"].as_str());
    ensure!(last == Some("stop"), "{events:?}");
    let calls = gateway.calls()?;
    let cause = calls.recent.first().and_then(|call| call.cause.clone());
    ensure!(
        cause.as_deref() == Some("gateway: transferred to +15558888 by REFER"),
        "{cause:?}"
    );
    Ok(())
}

/// The carrier is asked to join two calls that it has with the gateway.
fn is_joined(net: &Lab, gateway: &Gateway) -> Result<()> {
    let first = caller(net, "is_joined", ECHO)?;
    let id = gateway.wait_until_up(PATIENCE)?;
    let second = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO)?;
    let second = second.options(&["-m", "1", "-d", "2000"]).start()?;
    let both_up = |calls: &Calls| calls.active.len() == 2 && calls.active.iter().all(|call| call.state == "up");
    let calls = gateway.wait_until(PATIENCE, Gateway::calls, both_up)?;
    let other = calls.active.iter().map(|call| &call.id).find(|other| **other != id);
    let other = other.context("there is no second call")?;
    let transfer = gateway.transfer(&id, &["--to-call", other])?;
    ensure!(transfer.state == "completed", "{transfer:?}");
    first.succeed(PATIENCE)?;
    second.succeed(PATIENCE)?;
    gateway.wait_until_idle(PATIENCE)?;
    Ok(())
}

#[test]
fn the_carrier_declines_meets_a_busy_party_and_takes_the_call_over() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let agent = Agent::tone(&net.gateway, 600, 30).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Off, &agent.url())).unwrap();
    is_referred(&net, &gateway, &agent).unwrap();
    is_joined(&net, &gateway).unwrap();
}

#[test]
fn an_agents_call_goes_to_the_carrier_that_tells_nothing() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let agent = Agent::transferring(&net.gateway, NUMBER).unwrap();
    let config = below(
        &lab(Xdp::Off, &agent.url()),
        "allow = [\"10.200.1.0/24\"]",
        "transfer_by = \"refer\"\nrefer_progress = \"none\"",
    );
    let config = below(
        &config,
        "parameters = { language = \"en\" }",
        "transfer_trunks = [\"carrier\"]",
    );
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    caller(&net, "is_referred_quietly", BOT)
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    let calls = gateway.calls().unwrap();
    let call = calls.to(BOT).unwrap();
    let [transfer] = &call.transfers[..] else {
        panic!("{call:?}");
    };
    assert_eq!(
        (transfer.asked_by.as_str(), transfer.state.as_str()),
        ("agent", "completed"),
        "{transfer:?}"
    );
}

#[test]
fn a_party_has_the_other_called_and_another_call_takes_the_place_of_one() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = below(
        &lab(Xdp::Auto, NO_BOT),
        "allow = [\"10.200.1.0/24\"]",
        "refers = \"any\"\nreplaces = \"supported\"",
    );
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    caller(&net, "replaces", ECHO).unwrap().succeed(PATIENCE).unwrap();
    // Answered once, by one agent: the second call is no call of its own.
    let calls = gateway.calls().unwrap();
    assert_eq!(
        calls.recent.iter().filter(|call| call.to == ECHO).count(),
        1,
        "{calls:?}"
    );

    // The callee is called a second time, and has itself on the line; whoever asked for that has gone.
    let far = Sipp::answerer(&net.far, FAR).unwrap();
    let far = far.options(&["-m", "2"]).listen().unwrap();
    caller(&net, "refers", RELAYED).unwrap().succeed(PATIENCE).unwrap();
    let calls = gateway.calls().unwrap();
    let [call] = &calls.active[..] else {
        panic!("{calls:?}");
    };
    let [transfer] = &call.transfers[..] else {
        panic!("{call:?}");
    };
    assert_eq!(
        (
            transfer.asked_by.as_str(),
            transfer.to.as_str(),
            transfer.state.as_str()
        ),
        ("carrier", NUMBER, "completed"),
        "{transfer:?}"
    );
    gateway.stop().unwrap();
    far.succeed(PATIENCE).unwrap();
}

#[test]
fn a_refer_is_refused_where_the_trunk_takes_none() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Off, NO_BOT)).unwrap();
    caller(&net, "refers_in_vain", ECHO).unwrap().succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    let calls = gateway.calls().unwrap();
    assert!(calls.to(ECHO).unwrap().transfers.is_empty());
}
