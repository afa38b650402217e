//! Whom applications dial and refer to: documents of the official SDK on one side, sipp on both others.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::config::{NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::application::{Application, Asked, TOKEN};
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const DOMAIN: &str = "sip.demo.trusst.cloud";

/// Numbers, and the documents of the application that they are given to.
const NUMBERS: [(&str, &str); 6] = [
    ("+15550021", "/bridge"),
    ("+15550022", "/star"),
    ("+15550023", "/limit"),
    ("+15550024", "/sales"),
    ("+15550025", "/elsewhere"),
    ("+15550026", "/refer"),
];

/// The number of a document.
fn number(path: &str) -> &'static str {
    let found = NUMBERS.iter().find(|(_, of)| *of == path);
    found.map(|(number, _)| *number).expect("a number of this document")
}

fn config(application: &Application) -> String {
    let number = |(number, path): &(&str, &str)| {
        let url = application.url(path);
        format!("\n[[did]]\nnumber = \"{number}\"\ntenant = \"demo\"\nvoice_url = \"{url}\"\ndial_trunks = [\"far\"]\n")
    };
    let account = format!("auth_token = \"{TOKEN}\"");
    let config = below(&lab(Xdp::Auto, NO_BOT), "name = \"demo\"", &account);
    config + &NUMBERS.iter().map(number).collect::<String>()
}

fn caller(net: &Lab, scenario: Scenario, path: &str) -> Result<Running> {
    let caller = Sipp::caller(&net.carrier, scenario, CARRIER, GATEWAY, number(path))?;
    caller
        .options(&["-m", "1", "-d", "500", "-key", "domain", DOMAIN])
        .start()
}

fn far(net: &Lab, scenario: Scenario) -> Result<Running> {
    let far = Sipp::answerer_as(&net.far, scenario, FAR)?;
    far.options(&["-m", "1", "-key", "rtp_port", "6000"]).listen()
}

/// What an application was told as this last.
fn said(asked: &[Asked], key: &str) -> String {
    let last = asked.last().expect("a request");
    assert!(last.signed, "{last:?}");
    last.parameters[key].as_str().unwrap_or("nothing").to_owned()
}

#[test]
fn a_caller_is_answered_on_the_bridge_and_not_for_a_party_that_is_engaged() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut application = Application::start(&net.gateway, NO_BOT).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&application)).unwrap();

    let engaged = far(&net, Scenario::Engaged).unwrap();
    caller(&net, Scenario::RefusedAt(486), "/bridge")
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();
    engaged.succeed(PATIENCE).unwrap();
    let asked = application.wait_for("/bridged", 1, PATIENCE).unwrap();
    assert_eq!(
        (said(&asked, "DialCallStatus"), said(&asked, "CallStatus")),
        ("busy".into(), "ringing".into())
    );
    assert_eq!(gateway.wait_until_idle(PATIENCE).unwrap().calls.answered, 0);

    let answers = far(&net, Scenario::Uas).unwrap();
    caller(&net, Scenario::Uac, "/bridge")
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();
    answers.succeed(PATIENCE).unwrap();
    assert_eq!(gateway.wait_until_idle(PATIENCE).unwrap().calls.answered, 1);
}

#[test]
fn a_star_and_the_time_limit_end_what_was_dialled() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut application = Application::start(&net.gateway, NO_BOT).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&application)).unwrap();

    // One that takes keys: the caller is answered with what it can.
    let answers = far(&net, Scenario::AnswersOnly).unwrap();
    let presses = caller(&net, Scenario::Applications("presses_star"), "/star").unwrap();
    // Hung up on, while the caller goes on to the action's document.
    answers.succeed(PATIENCE).unwrap();
    let asked = application.wait_for("/left", 1, PATIENCE).unwrap();
    assert_eq!(
        (said(&asked, "DialCallStatus"), said(&asked, "DialBridged")),
        ("completed".into(), "true".into())
    );
    presses.succeed(PATIENCE).unwrap();

    let answers = far(&net, Scenario::Uas).unwrap();
    let talks = caller(&net, Scenario::HungUpOn, "/limit").unwrap();
    answers.succeed(PATIENCE).unwrap();
    let asked = application.wait_for("/left", 2, PATIENCE).unwrap();
    assert_eq!(
        (said(&asked, "DialCallStatus"), said(&asked, "DialCallDuration")),
        ("completed".into(), "2".into())
    );
    talks.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn a_sip_address_is_dialled_where_a_trunk_leads_there() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let application = Application::start(&net.gateway, NO_BOT).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&application)).unwrap();
    // It takes calls to that user only.
    let sales = far(&net, Scenario::Applications("answers_as_sales")).unwrap();
    let talks = caller(&net, Scenario::Uac, "/sales").unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::calls, |calls| {
            let transfers = calls.to(number("/sales")).map(|call| &call.transfers[..]);
            matches!(transfers, Some([transfer]) if transfer.to == "sales")
        })
        .unwrap();
    talks.succeed(PATIENCE).unwrap();
    sales.succeed(PATIENCE).unwrap();
    caller(&net, Scenario::HungUpOn, "/elsewhere")
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    let calls = gateway.calls().unwrap();
    let problems = calls.to(number("/elsewhere")).unwrap().problems.join("\n");
    assert!(problems.contains("(13201)"), "{problems}");
}

#[test]
fn the_carrier_is_asked_to_call_somebody_and_does_or_does_not() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut application = Application::start(&net.gateway, NO_BOT).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&application)).unwrap();
    caller(&net, Scenario::Applications("is_referred_in_vain"), "/refer")
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();
    let asked = application.wait_for("/referred", 1, PATIENCE).unwrap();
    assert_eq!(
        (said(&asked, "ReferCallStatus"), said(&asked, "ReferSipResponseCode")),
        ("failed".into(), "603".into())
    );
    caller(&net, Scenario::Applications("is_referred"), "/refer")
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    // The call is the carrier's: nothing more is asked.
    let referred = application
        .asked()
        .iter()
        .filter(|asked| asked.path == "/referred")
        .count();
    assert_eq!(referred, 1, "{:?}", application.asked());
    let calls = gateway.calls().unwrap();
    let transfers = &calls.to(number("/refer")).unwrap().transfers;
    assert!(
        matches!(&transfers[..], [transfer] if transfer.state == "completed" && transfer.by == "refer"),
        "{transfers:?}"
    );
}
