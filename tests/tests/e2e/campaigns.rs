//! Calls that the gateway places (interoperability requirements I11, I12, I13; check C2), and how many it takes on.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use voxlane_tests::config::{ECHO, NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const NUMBERS: usize = 20;
const CONCURRENCY: usize = 5;

/// A lab whose far trunk may show two numbers.
fn dialling(bot: &str) -> String {
    let ids = "caller_ids = [\"+15550100\", \"+15550101\"]";
    below(&lab(Xdp::Off, bot), "proxy = \"10.200.2.2:5060\"", ids)
}

/// How many calls were alive at once, at most.
fn at_once(results: &[Value]) -> usize {
    let mut changes: Vec<(&str, i64)> = Vec::new();
    for result in results {
        // Those that end in the millisecond in which others begin have ended before.
        changes.extend(result["begun"].as_str().map(|at| (at, 1)));
        changes.extend(result["ended"].as_str().map(|at| (at, -1)));
    }
    changes.sort_unstable();
    let mut alive = 0;
    let most = changes.iter().map(|(_, change)| {
        alive += change;
        alive
    });
    most.max().unwrap_or(0).unsigned_abs() as usize
}

#[test]
fn a_campaign_calls_every_number_and_the_bot_talks_to_each() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let bot = Agent::tone(&net.gateway, 600, 1).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &dialling(&bot.url())).unwrap();
    let far = Sipp::answerer(&net.far, FAR).unwrap().options(&["-m", "20"]);
    let far = far.listen().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("numbers");
    let numbers: Vec<String> = (0..NUMBERS).map(|index| format!("+1555700{index:02}")).collect();
    fs::write(&file, numbers.join("\n")).unwrap();
    let (results, _) = gateway
        .dial(&[
            "--file",
            &file.to_string_lossy(),
            "--trunk",
            "far",
            "--agent",
            "bot",
            "--caller-id",
            "+15550101",
            "--parameter",
            "campaign=spring",
            "--parameter",
            "then=leave",
            "--rate",
            "20",
            "--concurrency",
            "5",
        ])
        .unwrap();
    let called: Vec<&str> = results.iter().filter_map(|result| result["to"].as_str()).collect();
    assert_eq!(called, numbers);
    for result in &results {
        assert_eq!(
            (&result["state"], &result["from"]),
            (&"ended".into(), &"+15550101".into()),
            "{result}"
        );
        assert!(result["duration_s"].as_f64().unwrap() > 0.5, "{result}");
        assert!(result["ringing"].is_string(), "{result}");
    }
    assert_eq!(at_once(&results), CONCURRENCY);
    far.succeed(PATIENCE).unwrap();
    let starts: Vec<Value> = bot
        .events()
        .into_iter()
        .filter(|event| event["event"] == "start")
        .collect();
    assert_eq!(starts.len(), NUMBERS);
    for start in starts {
        let parameters = &start["start"]["customParameters"];
        assert_eq!(
            (&parameters["campaign"], &parameters["language"]),
            (&"spring".into(), &"en".into())
        );
    }
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn who_is_engaged_or_does_not_answer_is_told_apart() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &dialling(NO_BOT)).unwrap();
    for (scenario, state, status) in [
        (Scenario::Engaged, "busy", 486),
        (Scenario::OnlyRings, "no-answer", 487),
    ] {
        let far = Sipp::answerer_as(&net.far, scenario, FAR)
            .unwrap()
            .options(&["-m", "1"]);
        let far = far.listen().unwrap();
        let call = ["+15557777", "--trunk", "far", "--agent", "echo", "--ring-timeout", "1"];
        let (results, success) = gateway.dial(&call).unwrap();
        let [result] = &results[..] else { panic!("{results:?}") };
        assert_eq!(
            (&result["state"], &result["status"]),
            (&state.into(), &status.into()),
            "{result}"
        );
        assert!(!success);
        far.succeed(PATIENCE).unwrap();
    }
    // I12: From and To in E.164, and one of the caller IDs of the trunk.
    let refused = gateway.dial(&[
        "+15557777",
        "--trunk",
        "far",
        "--agent",
        "echo",
        "--caller-id",
        "+15559999",
    ]);
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("is not among the caller_ids of trunk"), "{error}");
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn calls_beyond_the_limit_are_refused_and_those_that_are_there_go_on() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = lab(Xdp::Off, NO_BOT).replace("[sip]\n", "[sip]\nmax_calls = 3\n");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let callers = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO).unwrap();
    let callers = callers
        .options(&["-m", "3", "-l", "3", "-r", "10", "-d", "4000"])
        .start()
        .unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            status.calls.active == 3 && status.overload.refusing.as_deref() == Some("calls")
        })
        .unwrap();
    let one_more = Sipp::caller(&net.carrier, Scenario::RefusedAt(503), CARRIER, GATEWAY, ECHO).unwrap();
    let one_more = one_more
        .options(&["-m", "1", "-key", "domain", "10.200.1.1"])
        .start()
        .unwrap();
    one_more.succeed(PATIENCE).unwrap();
    callers.succeed(PATIENCE).unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!((status.calls.total, status.calls.failed), (3, 0));
    assert_eq!(status.overload.refused("calls"), 1);
    assert_eq!(status.overload.refusing, None);
    let log = gateway.log();
    for line in [
        "new calls are refused: sip.max_calls is reached",
        "new calls are taken again",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}
