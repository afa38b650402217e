//! The REST API, asked by Twilio's official SDK.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use voxlane_tests::audio::{RATE, purity, tone};
use voxlane_tests::config::{BOT, ECHO, NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::application::{Application, TOKEN};
use voxlane_tests::peers::baresip::Baresip;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::reports::Calls;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const API: &str = "127.0.0.1:8088";
const OWN: &str = "+15550100";
const NUMBER: &str = "+15558888";

/// The lab, whose tenant has the number that is shown and may have calls placed.
fn config() -> String {
    let account = format!("account_sid = \"{ACCOUNT}\"\nauth_token = \"{TOKEN}\"\ncall_trunks = [\"far\"]");
    let config = below(&lab(Xdp::Off, NO_BOT), "name = \"demo\"", &account);
    let config = below(&config, "name = \"far\"", &format!("caller_ids = [\"{OWN}\"]"));
    format!("{config}\n[api]\nlisten = \"{API}\"\n")
}

fn agents(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("agents").join(script)
}

/// What a client shows, a step a line.
fn shown(client: &mut Command) -> Result<Vec<Value>> {
    let output = client.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let shown: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown:#?}\n{errors}");
    Ok(shown)
}

/// What the client shows of a step.
fn step<'a>(shown: &'a [Value], name: &str) -> &'a Value {
    let found = shown.iter().find(|line| line["step"] == name);
    found.unwrap_or_else(|| panic!("no step {name:?} in {shown:#?}"))
}

#[test]
fn the_official_sdk_creates_reads_changes_and_ends_calls() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut application = Application::start(&net.gateway, "ws://127.0.0.1:1").unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config()).unwrap();
    let _far = Sipp::answerer(&net.far, FAR).unwrap().listen().unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO).unwrap();
    let _caller = caller.options(&["-m", "1", "-d", "60000"]).start().unwrap();
    let inbound = gateway.wait_until_up(PATIENCE).unwrap();

    let callback = application.url("/status");
    let mut client = net.gateway.command(requirements::python());
    client
        .arg(agents("rest_client.py"))
        .args(["--base", &format!("http://{API}")]);
    client.args(["--account", ACCOUNT, "--token", TOKEN, "--to", NUMBER, "--from", OWN]);
    client.args(["--stranger", "+15550177", "--callback", &callback]);
    let shown = shown(&mut client).unwrap();
    let step = |name: &str| step(&shown, name);

    let inbound = format!("CA{inbound:0>32}");
    assert_eq!(step("inbound")["calls"], json!([[inbound, "inbound", ECHO]]));
    assert_eq!(step("hung up")["state"], "completed");
    assert_eq!(step("hung up")["ended"], true);
    let created = step("created");
    assert_eq!(
        (&created["account"], &created["direction"]),
        (&json!(ACCOUNT), &json!("outbound-api"))
    );
    let sid = &created["sid"];
    assert_eq!(step("answered")["state"], "in-progress");
    assert_eq!(
        (&step("answered")["to"], &step("answered")["is_from"]),
        (&json!(NUMBER), &json!(OWN))
    );
    assert_eq!(step("listed")["calls"], json!([sid]));
    assert_eq!(step("paged")["first"], json!([sid]));
    assert_eq!(step("paged")["second"], json!([inbound]));
    assert_eq!(step("updated")["state"], "in-progress");
    assert_eq!(step("completed")["state"], "completed");
    for (name, status, code) in [
        ("update of the past", 400, 21220),
        ("unknown", 404, 20404),
        ("to", 400, 21211),
        ("from", 400, 21210),
        ("unsupported", 400, 20001),
        ("token", 401, 20003),
    ] {
        let refused = step(name);
        assert_eq!(
            (&refused["status"], &refused["code"]),
            (&json!(status), &json!(code)),
            "{refused}"
        );
    }

    let told = application.wait_for("/status", 3, PATIENCE).unwrap();
    let states: Vec<&str> = told
        .iter()
        .filter_map(|asked| asked.parameters["CallStatus"].as_str())
        .collect();
    assert_eq!(states, ["initiated", "in-progress", "completed"], "{told:?}");
    assert!(
        told.iter()
            .all(|asked| asked.signed && asked.parameters["CallSid"] == *sid),
        "{told:?}"
    );
    gateway.wait_until_idle(PATIENCE).unwrap();
}

/// A bot's call is handed over by its SDK; what it shows.
fn hand_over(net: &Lab, more: &[&str]) -> Result<Vec<Value>> {
    let mut client = net.gateway.command(requirements::python());
    client.arg(agents("rest_hand_over.py"));
    client.args([
        "--base",
        &format!("http://{API}"),
        "--account",
        ACCOUNT,
        "--token",
        TOKEN,
    ]);
    client.args(["--to", NUMBER]).args(more);
    shown(&mut client)
}

/// [`config`] with the kernel lane and a bot, whose callers may be given to the far side.
fn with_bot(url: &str) -> String {
    let config = config().replace("xdp = \"off\"", "xdp = \"auto\"").replace(NO_BOT, url);
    below(
        &config,
        &format!("account_sid = \"{ACCOUNT}\""),
        "dial_trunks = [\"far\"]",
    )
}

#[test]
fn a_bot_hands_its_caller_over_and_is_gone() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut bot = Agent::tone(&net.gateway, 600, 60).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &with_bot(&bot.url())).unwrap();
    let far = Sipp::answerer(&net.far, FAR).unwrap();
    let far = far.options(&["-rtp_echo", "-m", "1"]).listen().unwrap();
    let uri = format!("sip:{BOT}@{GATEWAY_TO_CARRIER}");
    let sound = tone(1000, 20_000);
    let mut caller = Baresip::call(&net.carrier, CARRIER, &uri, &sound, Duration::from_secs(12)).unwrap();
    caller.wait_established(PATIENCE).unwrap();
    let call = gateway.wait_until_up(PATIENCE).unwrap();

    let shown = hand_over(&net, &[]).unwrap();
    let handed_over = step(&shown, "handed over");
    assert_eq!(
        (&handed_over["sid"], &handed_over["state"]),
        (&json!(format!("CA{call:0>32}")), &json!("in-progress"))
    );
    // The bot is told, and its connection is closed, while the call goes on in the kernel.
    let over = |event: &Value| event["heard"].is_number();
    bot.wait_for("the end of its stream", PATIENCE, over).unwrap();
    gateway.wait_until_relayed(PATIENCE, 100).unwrap();
    let calls = gateway.calls().unwrap();
    let up = calls.to(BOT).unwrap();
    assert_eq!(
        (up.state.as_str(), up.agent.as_deref()),
        ("up", Some("twiml")),
        "{up:?}"
    );
    assert_eq!(gateway.status().unwrap().agents.active, 0);

    let outcome = caller.finish(PATIENCE).unwrap();
    far.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    let events = bot.events();
    let order: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(order.last(), Some(&"stop"), "{events:?}");
    let before = purity(&outcome.heard, 600);
    assert!(before.seconds > 0.5, "{before:?}\n{}", outcome.log);
    // What the caller says has gone to the other party and come back.
    let last_second = outcome.heard.len().saturating_sub(RATE as usize);
    let after = purity(&outcome.heard[last_second..], 1000);
    assert!(after.share > 0.9, "{after:?}\n{}", outcome.log);
}

#[test]
fn a_bot_that_is_not_there_yet_has_nobody_to_hand_over() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let bot = Agent::late(&net.gateway, 3.0, 1).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &with_bot(&bot.url())).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, BOT).unwrap();
    let caller = caller.options(&["-m", "1", "-d", "1000"]).start().unwrap();
    let rings = |calls: &Calls| calls.to(BOT).is_some();
    gateway.wait_until(PATIENCE, Gateway::calls, rings).unwrap();
    let shown = hand_over(&net, &["--status", "ringing"]).unwrap();
    let refused = step(&shown, "too early");
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!(400), &json!(21220)),
        "{refused}"
    );
    // It is the bot's as before.
    caller.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn so_does_the_official_sdk_for_node() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config()).unwrap();
    let _far = Sipp::answerer(&net.far, FAR).unwrap().listen().unwrap();
    let mut client = net.gateway.command("node");
    client
        .arg(agents("rest_client.js"))
        .env("NODE_PATH", requirements::node_modules());
    client.args([&format!("http://{API}"), ACCOUNT, TOKEN, NUMBER, OWN]);
    let shown = shown(&mut client).unwrap();
    let step = |name: &str| step(&shown, name);
    let sid = &step("created")["sid"];
    assert_eq!(step("created")["direction"], "outbound-api");
    assert_eq!(step("answered")["state"], "in-progress");
    assert_eq!(step("answered")["started"], true);
    assert_eq!(
        (&step("answered")["to"], &step("answered")["from"]),
        (&json!(NUMBER), &json!(OWN))
    );
    assert_eq!(step("listed")["calls"], json!([sid]));
    assert_eq!(step("updated")["state"], "in-progress");
    assert_eq!(step("completed")["state"], "completed");
    for (name, status, code) in [("unknown", 404, 20404), ("token", 401, 20003)] {
        let refused = step(name);
        assert_eq!(
            (&refused["status"], &refused["code"]),
            (&json!(status), &json!(code)),
            "{refused}"
        );
    }
    gateway.wait_until_idle(PATIENCE).unwrap();
    let api = gateway.status().unwrap().api;
    assert_eq!((api.unauthorized, api.refused), (1, 1));
}
