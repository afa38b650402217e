//! Calls that have to prove who they are, to us and to a carrier.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use voxlane_tests::audio::{purity, tone};
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::baresip::Baresip;
use voxlane_tests::peers::kamailio::{Kamailio, Nonces};
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the lab's configuration has of the trunk that calls come on.
const CARRIER_ALLOWS: &str = r#"allow = ["10.200.1.0/24"]"#;

/// A lab whose carrier has to say who it is, with these algorithms.
fn asking(auth: &str, algorithms: &str) -> String {
    let login = format!(
        "auth = \"{auth}\"\nusername = \"office7\"\npassword = \"${{PASSWORD:-s3cret}}\"\nalgorithms = {algorithms}\n"
    );
    let config = lab(Xdp::Off, NO_BOT);
    match auth {
        "digest" => config.replace(CARRIER_ALLOWS, &login),
        _ => below(&config, CARRIER_ALLOWS, &login),
    }
}

/// A lab whose far side knows us by a password, with one algorithm.
fn known(password: &str, algorithm: &str) -> String {
    let login = format!("username = \"acme\"\npassword = \"{password}\"\nalgorithms = [\"{algorithm}\"]");
    below(&lab(Xdp::Off, NO_BOT), "proxy = \"10.200.2.2:5060\"", &login)
}

fn at(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 5060)
}

/// A caller of ours that has this password.
fn caller(net: &Lab, scenario: Scenario, password: &str) -> Result<Running> {
    let caller = Sipp::caller(&net.carrier, scenario, CARRIER, at(GATEWAY_TO_CARRIER), ECHO)?;
    caller
        .options(&["-m", "1", "-d", "200", "-au", "office7", "-ap", password])
        .start()
}

/// Calls to the far side, one after the other.
fn calls_out(net: &Lab, calls: &str) -> Result<()> {
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, at(GATEWAY_TO_CARRIER), RELAYED)?;
    let caller = caller.options(&["-m", calls, "-l", "1", "-d", "200"]).start()?;
    caller.succeed(PATIENCE)
}

fn failures(gateway: &Gateway) -> Result<Vec<(String, String, String, u64)>> {
    let rows = gateway.status()?.auth_failures.into_iter();
    Ok(rows.map(|row| (row.whose, row.trunk, row.reason, row.count)).collect())
}

#[test]
fn sipp_is_let_in_with_its_password_and_not_with_another() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    for auth in ["digest", "all"] {
        let gateway = Gateway::start_with(&binary, &net.gateway, &asking(auth, r#"["MD5"]"#)).unwrap();
        caller(&net, Scenario::Authenticates, "s3cret")
            .unwrap()
            .succeed(PATIENCE)
            .unwrap();
        assert_eq!(failures(&gateway).unwrap(), [], "{auth}");
        caller(&net, Scenario::FailsToAuthenticate, "other")
            .unwrap()
            .succeed(PATIENCE)
            .unwrap();
        let wrong = (
            "theirs".to_owned(),
            "carrier".to_owned(),
            "wrong_password".to_owned(),
            1,
        );
        assert_eq!(failures(&gateway).unwrap(), [wrong], "{auth}");
        // Nobody heard of the second call.
        assert_eq!(gateway.wait_until_idle(PATIENCE).unwrap().calls.total, 1, "{auth}");
        assert!(!gateway.log().contains("s3cret"), "{}", gateway.log());
        gateway.stop().unwrap();
    }
}

#[test]
fn with_any_an_address_is_enough() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &asking("any", r#"["MD5"]"#)).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, at(GATEWAY_TO_CARRIER), ECHO).unwrap();
    let caller = caller.options(&["-m", "1", "-d", "200"]).start().unwrap();
    caller.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn baresip_calls_with_a_password_and_hears_its_echo() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    // baresip 1.0 gives up at a challenge whose algorithm it does not have, even beside one that it has.
    let gateway = Gateway::start_with(&binary, &net.gateway, &asking("digest", r#"["MD5"]"#)).unwrap();
    let uri = format!("sip:{ECHO}@{GATEWAY_TO_CARRIER}");
    let sound = tone(1000, 20_000);
    let login = ("office7", "s3cret");
    let call = Baresip::call_as(login, &net.carrier, CARRIER, &uri, &sound, Duration::from_secs(5)).unwrap();
    let outcome = call.finish(PATIENCE).unwrap();
    assert!(outcome.established(), "{}", outcome.log);
    let sound = purity(&outcome.heard, 1000);
    assert!(sound.share > 0.9 && sound.seconds > 1.0, "{sound:?}\n{}", outcome.log);
    assert_eq!(failures(&gateway).unwrap(), []);
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn a_carrier_that_challenges_call_and_bye_gets_what_it_asks_for() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &known("s3cret", "MD5")).unwrap();
    let far = Sipp::answerer_as(&net.far, Scenario::Challenges, FAR).unwrap();
    let far = far.options(&["-m", "1"]).listen().unwrap();
    calls_out(&net, "1").unwrap();
    far.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!(failures(&gateway).unwrap(), []);
}

/// Three calls through kamailio, which asks for credentials with each INVITE and BYE: how often it challenged, and how
/// often it let one through.
fn through_kamailio(binary: &Path, algorithm: &str, nonces: Nonces) -> Result<(usize, usize)> {
    let net = Lab::new()?;
    let gateway = Gateway::start_with(binary, &net.gateway, &known("s3cret", algorithm))?;
    let next = SocketAddr::new(FAR, 5070);
    let proxy = Kamailio::challenging(&net.far, FAR, next, algorithm, nonces)?;
    let far = Sipp::answerer_as(&net.far, Scenario::AnswersThroughAProxy, FAR)?;
    let far = far.options(&["-p", "5070", "-m", "3"]).start()?;
    calls_out(&net, "3")?;
    far.succeed(PATIENCE)?;
    gateway.wait_until_idle(PATIENCE)?;
    let failures = failures(&gateway)?;
    ensure!(failures.is_empty(), "{failures:?}");
    let log = proxy.log();
    Ok((log.matches("challenged ").count(), log.matches("admitted ").count()))
}

#[test]
fn kamailio_takes_a_nonce_for_three_calls() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    for algorithm in ["MD5", "SHA-256"] {
        let seen = through_kamailio(&binary, algorithm, Nonces::Counted).unwrap();
        assert_eq!(seen, (1, 6), "{algorithm}");
    }
}

#[test]
fn kamailio_that_takes_each_nonce_once_gets_a_new_one_each_time() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let seen = through_kamailio(&binary, "MD5", Nonces::OneTime).unwrap();
    assert_eq!(seen, (6, 6));
}

#[test]
fn a_wrong_password_with_a_carrier_fails_the_call_once_and_says_so() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &known("0ther", "MD5")).unwrap();
    let next = SocketAddr::new(FAR, 5070);
    let proxy = Kamailio::challenging(&net.far, FAR, next, "MD5", Nonces::Counted).unwrap();
    assert!(calls_out(&net, "1").is_err());
    gateway.wait_until_idle(PATIENCE).unwrap();
    let rejected = ("ours".to_owned(), "far".to_owned(), "rejected".to_owned(), 1);
    assert_eq!(failures(&gateway).unwrap(), [rejected]);
    let log = proxy.log();
    assert_eq!(
        (log.matches("challenged ").count(), log.matches("admitted ").count()),
        (2, 0),
        "{log}"
    );
    let log = gateway.log();
    assert!(
        log.contains("authentication failed: wrong username or password"),
        "{log}"
    );
    assert!(!log.contains("0ther"), "{log}");
    let call = gateway.calls().unwrap().recent.remove(0);
    assert!(call.cause.unwrap().contains("wrong username or password"));
}

#[test]
fn kamailio_calls_with_a_password() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &asking("digest", r#"["MD5"]"#)).unwrap();
    let login = ("office7", "s3cret");
    let _proxy = Kamailio::authenticating(&net.carrier, CARRIER, at(GATEWAY_TO_CARRIER), login).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, at(CARRIER), ECHO).unwrap();
    let caller = caller
        .options(&["-p", "5070", "-m", "3", "-l", "1", "-d", "200"])
        .start()
        .unwrap();
    caller.succeed(PATIENCE).unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!((status.calls.total, status.auth_failures.len()), (3, 0));
}
