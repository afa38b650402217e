//! An agent that lets only its gateway in: TLS of a private authority, client certificates, signed handshakes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use voxlane_tests::certificates::Authority;
use voxlane_tests::config::{BOT, NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::application::{self, Application};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "a token that nobody else has";
/// Calls to it are signed with another token.
const FORGED: &str = "+15550011";

/// The lab with a tenant's account, and two agents at `url` that differ in what they are signed with.
fn config(url: &str, authority: &Authority, ours: &Path, token: &Path) -> String {
    let root = authority.root();
    let certificates = format!("ca = {root:?}\ncertificate = {ours:?}\nkey = {ours:?}");
    lab(Xdp::Off, NO_BOT)
        .replace(
            "name = \"demo\"",
            &format!("name = \"demo\"\naccount_sid = \"{ACCOUNT}\"\nauth_token_file = {token:?}"),
        )
        .replace(
            &format!("url = \"{NO_BOT}\""),
            &format!("url = \"{url}\"\n{certificates}"),
        )
        + &format!(
            "\n[[agent]]\nname = \"forged\"\nurl = \"{url}\"\n{certificates}\nauth_token = \"another\"\n\
             [[did]]\nnumber = \"{FORGED}\"\ntenant = \"demo\"\nagent = \"forged\"\n"
        )
}

#[test]
fn an_agent_behind_a_private_authority_takes_signed_calls_of_its_gateway_only() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let theirs = authority.vouch("agent", "IP:127.0.0.1").unwrap();
    let ours = authority.vouch("gateway", "DNS:gateway.example").unwrap();
    let token = authority.file("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let mut agent = Agent::guarded(&net.gateway, TOKEN, &theirs.both, &authority.root()).unwrap();
    let config = config(&agent.secure_url(), &authority, &ours.both, &token);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let call = |scenario: Scenario, number: &str| {
        let caller = Sipp::caller(&net.carrier, scenario, CARRIER, GATEWAY, number).unwrap();
        let options = ["-m", "1", "-d", "300"];
        caller.options(&options).start().unwrap().succeed(PATIENCE).unwrap();
    };

    call(Scenario::Uac, BOT);
    agent
        .wait_for("the start of the stream", PATIENCE, |event| event["event"] == "start")
        .unwrap();
    let events = agent.events();
    let handshake = serde_json::json!({"signature": true, "certificate": "gateway"});
    assert!(events.contains(&handshake), "{events:?}");
    let start = events.iter().find(|event| event["event"] == "start").unwrap();
    assert_eq!(start["start"]["accountSid"], ACCOUNT);

    call(Scenario::Refused, FORGED);
    let handshake = serde_json::json!({"signature": false, "certificate": "gateway"});
    assert!(agent.events().contains(&handshake), "{:?}", agent.events());

    // Certificates are read anew: one of a stranger's authority is good for nothing, and the next is shown.
    let reload = |both: &Path, times: usize| {
        fs::copy(both, &ours.both).unwrap();
        gateway.reload().unwrap();
        let told = |gateway: &Gateway| Ok(gateway.log().matches("certificates read anew").count());
        gateway.wait_until(PATIENCE, told, |told| *told == times).unwrap();
    };
    reload(&stranger.vouch("intruder", "DNS:gateway.example").unwrap().both, 1);
    call(Scenario::Refused, BOT);
    reload(&authority.vouch("successor", "DNS:gateway.example").unwrap().both, 2);
    call(Scenario::Uac, BOT);
    let handshake = serde_json::json!({"signature": true, "certificate": "successor"});
    assert!(agent.events().contains(&handshake), "{:?}", agent.events());
    assert!(!gateway.log().contains(TOKEN), "{}", gateway.log());
    gateway.wait_until_idle(PATIENCE).unwrap();
}

/// Its application connects the guarded agent.
const CONNECTED: &str = "+15550012";

#[test]
fn a_stream_that_a_document_names_is_connected_as_an_agent_is() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let authority = Authority::new().unwrap();
    let theirs = authority.vouch("agent", "IP:127.0.0.1").unwrap();
    let ours = authority.vouch("gateway", "DNS:gateway.example").unwrap();
    let token = authority.file("token");
    fs::write(&token, format!("{}\n", application::TOKEN)).unwrap();
    let mut agent = Agent::guarded(&net.gateway, application::TOKEN, &theirs.both, &authority.root()).unwrap();
    let application = Application::start(&net.gateway, &agent.secure_url()).unwrap();
    let url = application.url("/bot");
    let config = config(&agent.secure_url(), &authority, &ours.both, &token)
        + &format!("\n[[did]]\nnumber = \"{CONNECTED}\"\ntenant = \"demo\"\nvoice_url = \"{url}\"\n");
    let call = |config: &str, scenario: Scenario| {
        let gateway = Gateway::start_with(&binary, &net.gateway, config).unwrap();
        let caller = Sipp::caller(&net.carrier, scenario, CARRIER, GATEWAY, CONNECTED).unwrap();
        let caller = caller.options(&["-m", "1", "-d", "300"]);
        caller.start().unwrap().succeed(PATIENCE).unwrap();
        gateway.wait_until_idle(PATIENCE).unwrap();
        gateway.stop().unwrap();
    };
    // Nobody whom the system trusts vouches for it.
    call(&config, Scenario::Refused);
    assert!(
        agent.events().iter().all(|event| event["event"].is_null()),
        "{:?}",
        agent.events()
    );
    call(
        &below(&config, "name = \"demo\"", "stream_settings = \"bot\""),
        Scenario::Uac,
    );
    agent
        .wait_for("the start of the stream", PATIENCE, |event| event["event"] == "start")
        .unwrap();
    let handshake = serde_json::json!({"signature": true, "certificate": "gateway"});
    assert!(agent.events().contains(&handshake), "{:?}", agent.events());
}
