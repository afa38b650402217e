//! The REST API, asked by Twilio's official SDK.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use voxlane_tests::config::{ECHO, NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::application::{Application, TOKEN};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
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
