//! Dialogs as carriers' interconnect tests have them: session timers, PRACK, UPDATE, hold, glare, CANCEL that crosses an answer,
//! offers that come late. sipp is on either side, and checks what it gets; the scenarios say what.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

/// A lab whose trunks have sessions of 6 s, and of 2 s at least.
fn short_sessions() -> String {
    let keys = "session_expires = \"6s\"\nmin_se = \"2s\"\n";
    let config = lab(Xdp::Off, NO_BOT);
    assert_eq!(config.matches("codecs = ").count(), 2, "{config}");
    config.replace("codecs = ", &format!("{keys}codecs = "))
}

fn at(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 5060)
}

fn caller(net: &Lab, name: &'static str, number: &str) -> Result<Running> {
    let scenario = Scenario::Dialogs(name);
    let caller = Sipp::caller(&net.carrier, scenario, CARRIER, at(GATEWAY_TO_CARRIER), number)?;
    caller.options(&["-m", "1"]).start()
}

/// A call from one scenario to another, both of which have to come out as they say.
fn call(net: &Lab, from: &'static str, to: &'static str) -> Result<()> {
    let far = Sipp::answerer_as(&net.far, Scenario::Dialogs(to), FAR)?;
    let far = far.options(&["-m", "1"]).listen()?;
    let called = caller(net, from, RELAYED)?.succeed(PATIENCE);
    let answered = far.succeed(PATIENCE);
    ensure!(
        called.is_ok() && answered.is_ok(),
        "{from}: {called:?}\n{to}: {answered:?}"
    );
    Ok(())
}

/// A lab with a gateway of this configuration; `calls` is what is done with it. Nothing is left of anything.
fn with_gateway(binary: &Path, config: &str, calls: impl FnOnce(&Lab, &Gateway) -> Result<()>) -> Result<()> {
    let net = Lab::new()?;
    let gateway = Gateway::start_with(binary, &net.gateway, config)?;
    calls(&net, &gateway)?;
    let status = gateway.wait_until_idle(PATIENCE)?;
    ensure!(status.plane.ports_in_use == 0, "{status:?}");
    gateway.stop()?;
    Ok(())
}

#[test]
fn sessions_are_refreshed_on_either_leg_and_expire() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let calls = with_gateway(&binary, &short_sessions(), |net, gateway| {
        let expiring = caller(net, "never_refreshes", ECHO)?;
        call(net, "refreshed_by_update", "refreshed_by_reinvite")?;
        expiring.succeed(PATIENCE)?;
        gateway.wait_until_idle(PATIENCE)?;
        let calls = gateway.calls()?;
        let causes: Vec<&str> = calls.recent.iter().filter_map(|call| call.cause.as_deref()).collect();
        let expired = "gateway: leg a: the session timer ran out";
        ensure!(causes.contains(&expired), "{causes:?}");
        Ok(())
    });
    calls.unwrap();
}

#[test]
fn early_media_is_acknowledged_on_either_leg_and_a_crossed_answer_is_ended() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let calls = with_gateway(&binary, &lab(Xdp::Off, NO_BOT), |net, _| {
        call(net, "acknowledges_early_media", "rings_reliably")?;
        call(net, "gives_up", "answers_all_the_same")?;
        caller(net, "offers_late", ECHO)?.succeed(PATIENCE)
    });
    calls.unwrap();
}

#[test]
fn hold_passes_to_the_other_leg_through_glare_and_so_does_its_end() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let calls = with_gateway(&binary, &lab(Xdp::Off, NO_BOT), |net, _| {
        call(net, "holds_and_resumes", "is_held_and_resumed")
    });
    calls.unwrap();
}
