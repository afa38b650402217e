//! Agents that refuse, hang or die: the caller is told within 5 s, and is never left in a silent call; or gets what is configured
//! instead.
//!
//! The bound of 5 s is in sipp's scenarios, with 2 s for the machine.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::config::{BOT, NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
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

/// An agent at a number of its own, and what its configuration says of failures.
struct Failing {
    number: &'static str,
    url: String,
    keys: String,
}

/// The lab, whose bot never fails, with agents that do.
fn with_failing(bot: &str, agents: &[Failing]) -> String {
    let one = |Failing { number, url, keys }: &Failing| {
        format!(
            "\n[[agent]]\nname = \"at{number}\"\nurl = \"{url}\"\n{keys}\n\
             [[did]]\nnumber = \"{number}\"\ntenant = \"demo\"\nagent = \"at{number}\"\n"
        )
        .replace("at+", "at-")
    };
    lab(Xdp::Auto, bot) + &agents.iter().map(one).collect::<String>()
}

#[test]
fn calls_of_agents_that_fail_go_where_the_configuration_says() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let good = Agent::tone(&net.gateway, 600, 1).unwrap();
    let bad = |how| Agent::bad(&net.gateway, how).unwrap();
    let [refuses, hangs, freezes, babbles, drones] = [
        bad(Misbehaviour::Refuse),
        bad(Misbehaviour::Silent),
        bad(Misbehaviour::Frozen),
        bad(Misbehaviour::Garbage),
        bad(Misbehaviour::Long),
    ];
    let failing = |number, url: String, keys: String| Failing { number, url, keys };
    let config = with_failing(
        &good.url(),
        &[
            // A chain: an agent that is not there, one that refuses, one that is good.
            failing(
                "+15550021",
                NO_BOT.into(),
                "on_failure = { agent = \"at-15550022\" }".into(),
            ),
            failing("+15550022", refuses.url(), "on_refused = { agent = \"bot\" }".into()),
            // To a number before the answer, and to a SIP URI after it.
            failing(
                "+15550023",
                hangs.url(),
                format!("connect_timeout = \"500ms\"\non_connect_timeout = {{ trunk = \"far\", to = \"{RELAYED}\" }}"),
            ),
            failing(
                "+15550024",
                freezes.url(),
                format!("silence_timeout = \"500ms\"\non_silent = {{ trunk = \"far\", to = \"sip:desk@{FAR}:5060\" }}"),
            ),
            // Another agent in the middle of the call; hanging up.
            failing("+15550025", babbles.url(), "on_malformed = { agent = \"bot\" }".into()),
            failing("+15550026", drones.url(), "on_oversized = { cause = 111 }".into()),
            failing("+15550027", NO_BOT.into(), "on_unreachable = { status = 503 }".into()),
        ],
    );
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let far = Sipp::answerer(&net.far, FAR).unwrap();
    let far = far.options(&["-m", "2"]).listen().unwrap();
    let callers: Vec<_> = [
        (Scenario::Uac, "+15550021"),
        (Scenario::Uac, "+15550023"),
        (Scenario::Uac, "+15550024"),
        (Scenario::Uac, "+15550025"),
        (Scenario::HungUpOn, "+15550026"),
        (Scenario::RefusedAt(503), "+15550027"),
    ]
    .into_iter()
    .map(|(scenario, number)| {
        let caller = Sipp::caller(&net.carrier, scenario, CARRIER, GATEWAY, number).unwrap();
        let options = ["-m", "1", "-d", "2500", "-key", "domain", "sip.demo.trusst.cloud"];
        caller.options(&options).start().unwrap()
    })
    .collect();
    for caller in callers {
        caller.succeed(PATIENCE).unwrap();
    }
    far.succeed(PATIENCE).unwrap();
    let agents = gateway.wait_until_idle(PATIENCE).unwrap().agents;
    for (kind, count) in [
        ("unreachable", 2),
        ("refused", 1),
        ("connect_timeout", 1),
        ("silent", 1),
        ("malformed", 1),
        ("oversized", 1),
    ] {
        assert_eq!(agents.failures(kind), count, "{kind}: {agents:?}");
    }
    assert_eq!((agents.failed, agents.fallbacks), (7, 5));
    let started = good.events().iter().filter(|event| event["event"] == "start").count();
    assert_eq!(started, 2, "{:?}", good.events());
    let chain = "agent at-15550021 could not connect";
    let shown = gateway.calls_for_people().unwrap();
    assert!(shown.contains(chain) && shown.contains(": agent bot"), "{shown}");
}

#[test]
fn what_agents_send_that_is_no_use_is_counted_by_agent_and_protocol() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let babbles = Agent::bad(&net.gateway, Misbehaviour::Garbage).unwrap();
    let drones = Agent::bad(&net.gateway, Misbehaviour::Long).unwrap();
    let protocols = [
        ("+15550031", "twilio"),
        ("+15550032", "telnyx"),
        ("+15550033", "jambonz"),
        ("+15550034", "asterisk-websocket"),
        ("+15550035", "pcm16"),
        ("+15550036", "openai-realtime"),
    ];
    let mut agents: Vec<Failing> = protocols
        .iter()
        .map(|(number, protocol)| Failing {
            number,
            url: babbles.url(),
            keys: format!("protocol = \"{protocol}\"\nmax_malformed = 3\nsilence_timeout = \"20s\""),
        })
        .collect();
    agents.push(Failing {
        number: "+15550037",
        url: drones.url(),
        keys: String::new(),
    });
    let gateway = Gateway::start_with(&binary, &net.gateway, &with_failing(NO_BOT, &agents)).unwrap();
    for Failing { number, .. } in &agents {
        let caller = Sipp::caller(&net.carrier, Scenario::HungUpOn, CARRIER, GATEWAY, number).unwrap();
        caller.options(&["-m", "1"]).start().unwrap().succeed(PATIENCE).unwrap();
    }
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    for (number, protocol) in protocols {
        // One more than may be: then it is taken for broken.
        assert_eq!(
            status.agents.unusable(&number.replace('+', "at-")),
            Some((protocol, 4, 0)),
            "{status:?}"
        );
    }
    assert_eq!(
        status.agents.unusable("at-15550037"),
        Some(("twilio", 0, 1)),
        "{status:?}"
    );
    assert_eq!(status.agents.unusable("bot"), Some(("twilio", 0, 0)), "{status:?}");
}
