//! Agents that refuse, hang or die: the caller is told within 5 s, and is never left in a silent call.
//!
//! The bound of 5 s is in sipp's scenarios, with 2 s for the machine.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::config::{BOT, NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::{Agent, Misbehaviour};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// Calls an agent that misbehaves; the call must go as the scenario says, and leave nothing behind.
fn call_ends_as(scenario: Scenario, misbehaviour: Misbehaviour) -> anyhow::Result<()> {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return Ok(());
    };
    let net = Lab::new()?;
    let agent = Agent::bad(&net.gateway, misbehaviour)?;
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &agent.url()))?;
    let caller = Sipp::caller(&net.carrier, scenario, CARRIER, GATEWAY, BOT)?;
    caller.options(&["-m", "1"]).start()?.succeed(PATIENCE)?;
    let status = gateway.wait_until_idle(PATIENCE)?;
    anyhow::ensure!(status.agents.failed == 1, "{status:?}");
    Ok(())
}

#[test]
fn an_agent_that_refuses_refuses_the_call() {
    call_ends_as(Scenario::Refused, Misbehaviour::Refuse).unwrap();
}

#[test]
fn an_agent_that_does_not_answer_the_handshake_refuses_the_call() {
    call_ends_as(Scenario::Refused, Misbehaviour::Silent).unwrap();
}

#[test]
fn an_agent_that_freezes_ends_the_call() {
    call_ends_as(Scenario::HungUpOn, Misbehaviour::Frozen).unwrap();
}

#[test]
fn an_agent_that_is_not_there_refuses_the_call() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Refused, CARRIER, GATEWAY, BOT).unwrap();
    caller.options(&["-m", "1"]).start().unwrap().succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn an_agent_that_dies_ends_the_call() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut agent = Agent::tone(&net.gateway, 600, 20).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, &agent.url())).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::HungUpOn, CARRIER, GATEWAY, BOT).unwrap();
    let caller = caller.options(&["-m", "1"]).start().unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            status.calls.active == 1 && status.calls.answered == 1
        })
        .unwrap();
    agent
        .wait_for("the start of the stream", PATIENCE, |event| event["event"] == "start")
        .unwrap();
    agent.crash().unwrap();
    caller.succeed(PATIENCE).unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!(status.agents.failed, 1);
}
