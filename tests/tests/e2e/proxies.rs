//! kamailio as the carrier's proxy in front: it stays in the way (Record-Route), and calls go round what fails, whether it
//! finds that out or we do. That it challenges (407) `digest.rs` shows, too.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::kamailio::{Kamailio, Nonces, PASSWORD, USERNAME};
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

/// Somebody behind the carrier's proxy who calls the echo agent.
fn caller(net: &Lab, scenario: &'static str) -> Result<Running> {
    let caller = Sipp::caller(
        &net.carrier,
        Scenario::Dialogs(scenario),
        CARRIER,
        at(CARRIER, 5060),
        ECHO,
    )?;
    caller.options(&["-m", "1", "-p", "5070"]).start()
}

#[test]
fn calls_go_round_a_gateway_that_is_full_and_one_that_is_gone() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = lab(Xdp::Off, NO_BOT);
    let first = Gateway::start_with(&binary, &net.gateway, &below(&config, "[sip]", "max_calls = 1")).unwrap();
    let config = below(&config, "[media]", "ports = \"30000-30099\"").replace(":5060\"]", ":5062\"]");
    let second = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let gateways = [at(GATEWAY_TO_CARRIER, 5060), at(GATEWAY_TO_CARRIER, 5062)];
    let proxy = Kamailio::dispatching(&net.carrier, at(CARRIER, 5060), &gateways).unwrap();

    let stays = Sipp::caller(
        &net.carrier,
        Scenario::Dialogs("is_hung_up_on"),
        CARRIER,
        at(CARRIER, 5060),
        ECHO,
    );
    let stays = stays.unwrap().options(&["-m", "1", "-p", "5071"]).start().unwrap();
    let is_up = |status: &voxlane_tests::reports::Status| status.calls.answered == 1;
    first.wait_until(PATIENCE, Gateway::status, is_up).unwrap();
    caller(&net, "talks_for_a_while")
        .unwrap()
        .succeed(PATIENCE)
        .map_err(|error| format!("{error:#}\n{}\n{}", proxy.log(), second.log()))
        .unwrap();
    let status = first.status().unwrap();
    assert_eq!((status.calls.active, status.overload.refused("calls")), (1, 1));
    assert_eq!(second.wait_until_idle(PATIENCE).unwrap().calls.answered, 1);

    // What we say within a call goes by the proxy, as what is said to us does.
    let ended = first.terminate().unwrap();
    assert!(ended.stderr.contains("every call has ended"), "{}", ended.stderr);
    stays.succeed(PATIENCE).unwrap();
    caller(&net, "talks_for_a_while").unwrap().succeed(PATIENCE).unwrap();
    assert_eq!(second.wait_until_idle(PATIENCE).unwrap().calls.answered, 2);
    let log = proxy.log();
    for (line, count) in [
        ("routed ACK from 10.200.1.2:5071", 1),
        ("routed BYE from 10.200.1.1:5060", 1),
        ("routed ACK from 10.200.1.2:5070", 2),
        ("routed BYE from 10.200.1.2:5070", 2),
        // Full, then gone.
        ("failed sip:10.200.1.1:5060", 2),
    ] {
        assert_eq!(log.matches(line).count(), count, "{line}: {log}");
    }
}

#[test]
fn a_proxy_that_has_nobody_left_is_gone_round_and_the_next_is_shown_who_we_are() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateways = "[[trunk.gateway]]\naddress = \"10.200.2.2:5062\"\n\n\
                    [[trunk.gateway]]\naddress = \"10.200.2.2:5060\"\npriority = 1\n\n[[tenant]]\nname = \"demo\"";
    let login = format!("username = \"{USERNAME}\"\npassword = \"{PASSWORD}\"");
    let config = lab(Xdp::Off, NO_BOT)
        .replace("proxy = \"10.200.2.2:5060\"", &login)
        .replace("[[tenant]]\nname = \"demo\"", gateways);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let full: Vec<(Running, SocketAddr)> = [5081, 5082]
        .into_iter()
        .map(|port| {
            let scenario = Scenario::Dialogs("has_no_room");
            let full = Sipp::answerer_as(&net.far, scenario, FAR).unwrap();
            let full = full.options(&["-p", &port.to_string(), "-m", "1"]);
            (full.listen_at(port).unwrap(), at(FAR, port))
        })
        .collect();
    let behind: Vec<SocketAddr> = full.iter().map(|(_, at)| *at).collect();
    let first = Kamailio::dispatching(&net.far, at(FAR, 5062), &behind).unwrap();
    let second = Kamailio::challenging(&net.far, FAR, at(FAR, 5070), "MD5", Nonces::Counted).unwrap();
    let far = Sipp::answerer_as(&net.far, Scenario::AnswersThroughAProxy, FAR).unwrap();
    let far = far.options(&["-p", "5070", "-m", "1"]).listen_at(5070).unwrap();

    let caller = Sipp::caller(
        &net.carrier,
        Scenario::Uac,
        CARRIER,
        at(GATEWAY_TO_CARRIER, 5060),
        RELAYED,
    );
    let caller = caller.unwrap().options(&["-m", "1", "-d", "200"]);
    let called = caller.start().unwrap().succeed(PATIENCE);
    called
        .map_err(|error| format!("{error:#}\n{}\n{}\n{}", first.log(), second.log(), gateway.log()))
        .unwrap();
    far.succeed(PATIENCE).unwrap();
    for (full, _) in full {
        full.succeed(PATIENCE).unwrap();
    }
    gateway.wait_until_idle(PATIENCE).unwrap();
    let call = gateway.calls().unwrap().recent.remove(0);
    let attempts: Vec<(&str, &str)> = call
        .attempts
        .iter()
        .map(|attempt| (attempt.target.as_str(), attempt.outcome.as_str()))
        .collect();
    assert_eq!(attempts, [("udp:10.200.2.2:5062", "503 No Gateway Left")]);
    assert_eq!(first.log().matches("failed sip:").count(), 2, "{}", first.log());
    let log = second.log();
    // The ACK and the BYE come with the credentials of the INVITE's challenge.
    let seen = ["challenged INVITE", "admitted INVITE", "admitted BYE"].map(|line| log.matches(line).count());
    assert_eq!(seen, [1, 1, 1], "{log}");
    assert!(gateway.status().unwrap().auth_failures.is_empty());
}
