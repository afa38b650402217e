//! Where calls to a trunk go: several gateways, DNS, failover, redirects.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::dnsmasq::{self, Dnsmasq};
use voxlane_tests::peers::kamailio::{self, Kamailio};
use voxlane_tests::peers::sipp::{Running, Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

/// A lab whose far trunk has this instead of its proxy.
fn with(trunk: &str) -> String {
    let config = lab(Xdp::Off, NO_BOT);
    let proxy = "proxy = \"10.200.2.2:5060\"";
    assert_eq!(config.matches(proxy).count(), 1);
    config.replace(proxy, trunk)
}

fn at(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 5060)
}

/// A call to the far side, which is answered.
fn call(net: &Lab) -> Result<()> {
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, at(GATEWAY_TO_CARRIER), RELAYED)?;
    let caller = caller.options(&["-m", "1", "-d", "200"]).start()?;
    caller.succeed(PATIENCE)
}

/// Somebody who answers so many calls at a port of the far side.
fn answerer(net: &Lab, port: &str, calls: &str) -> Result<Running> {
    let answerer = Sipp::answerer_as(&net.far, Scenario::Uas, FAR)?;
    answerer.options(&["-p", port, "-m", calls]).listen_at(port.parse()?)
}

/// Somebody there who refuses one.
fn refuser(net: &Lab, port: &str, status: &'static str, contact: &str) -> Result<Running> {
    let refuser = Sipp::answerer_as(&net.far, Scenario::Refuses(status), FAR)?;
    let options = ["-p", port, "-m", "1", "-key", "contact", contact];
    refuser.options(&options).listen_at(port.parse()?)
}

/// How the attempts of the last call went: the gateway's port, and what came of it.
fn attempts(gateway: &Gateway) -> Result<Vec<(String, String)>> {
    gateway.wait_until_idle(PATIENCE)?;
    let call = gateway.calls()?.recent.remove(0);
    let rows = call.attempts.into_iter();
    Ok(rows.map(|row| (row.target, row.outcome)).collect())
}

fn told(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(target, outcome): &(&str, &str)| ((*target).to_owned(), (*outcome).to_owned());
    rows.iter().map(owned).collect()
}

fn failover(binary: &Path) -> Result<()> {
    let net = Lab::new()?;
    let gateways = "gateway_timeout = \"1s\"\ngateway = [\n\
        { address = \"10.200.2.2:5071\" },\n\
        { address = \"10.200.2.2:5072\", priority = 1 },\n\
        { address = \"10.200.2.99\", priority = 2 },\n\
        { address = \"10.200.2.2:5073\", priority = 3 },\n]";
    let gateway = Gateway::start_with(binary, &net.gateway, &with(gateways))?;
    // Nobody listens at the first, the second refuses, the third address is nobody's, the fourth answers.
    let second = refuser(&net, "5072", "503 Service Unavailable", "10.200.2.2:5072")?;
    let fourth = answerer(&net, "5073", "1")?;
    call(&net)?;
    second.succeed(PATIENCE)?;
    fourth.succeed(PATIENCE)?;
    let seen = attempts(&gateway)?;
    let outcomes: Vec<&str> = seen.iter().map(|(target, _)| target.as_str()).collect();
    assert_eq!(
        outcomes,
        ["udp:10.200.2.2:5071", "udp:10.200.2.2:5072", "udp:10.200.2.99:5060"]
    );
    // Not "408": the host of the first says that nobody listens there (ICMP), and nothing is waited for.
    assert_eq!(seen[0].1, "503 Service Unavailable");
    assert!(gateway.status()?.sip.undelivered >= 1);
    assert_eq!(seen[1].1, "503 Service Unavailable");
    gateway.stop()?;
    Ok(())
}

#[test]
fn a_call_goes_to_the_first_gateway_that_takes_it() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    failover(&binary).unwrap();
}

#[test]
fn a_redirect_is_followed_and_busy_is_not_passed_on() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateways = "gateway = [{ address = \"10.200.2.2:5071\" }, { address = \"10.200.2.2:5072\", priority = 1 }]";
    let gateway = Gateway::start_with(&binary, &net.gateway, &with(gateways)).unwrap();
    let first = refuser(&net, "5071", "302 Moved Temporarily", "10.200.2.2:5073").unwrap();
    let third = answerer(&net, "5073", "1").unwrap();
    call(&net).unwrap();
    first.succeed(PATIENCE).unwrap();
    third.succeed(PATIENCE).unwrap();
    let moved = told(&[("udp:10.200.2.2:5071", "302 Moved Temporarily")]);
    assert_eq!(attempts(&gateway).unwrap(), moved);

    let first = refuser(&net, "5071", "486 Busy Here", "10.200.2.2:5073").unwrap();
    assert!(call(&net).is_err());
    first.succeed(PATIENCE).unwrap();
    let busy = told(&[("udp:10.200.2.2:5071", "486 Busy Here")]);
    assert_eq!(attempts(&gateway).unwrap(), busy);
}

#[test]
fn dns_says_where_a_trunk_is() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let dns = Dnsmasq::start(
        &net.far,
        FAR,
        &[
            "naptr-record=carrier.example,10,10,s,SIP+D2U,,_sip._udp.pop.example",
            "srv-host=_sip._udp.pop.example,down.pop.example,5071,10,0",
            "srv-host=_sip._udp.pop.example,up.pop.example,5072,20,0",
            "host-record=down.pop.example,10.200.2.2",
            "host-record=up.pop.example,10.200.2.2",
        ],
    )
    .unwrap();
    let config = with("proxy = \"carrier.example\"\ngateway_timeout = \"1s\"");
    let servers = format!("\n[sip.dns]\nservers = [\"{FAR}:{}\"]\n\n[media]\n", dnsmasq::PORT);
    let config = config.replace("\n[media]\n", &servers);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let far = answerer(&net, "5072", "2").unwrap();
    for _ in 0..2 {
        call(&net).unwrap();
        let seen = attempts(&gateway).unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].0, "udp:10.200.2.2:5071");
    }
    far.succeed(PATIENCE).unwrap();
    let log = dns.log();
    assert!(log.contains("query[NAPTR] carrier.example"), "{log}");
}

/// Waits until the gateways of the far trunk are in these states.
fn wait_for_states(gateway: &Gateway, wanted: [(&str, &str); 2]) -> Result<()> {
    let wanted: Vec<(&str, &str)> = wanted.into();
    gateway.wait_until(PATIENCE, Gateway::status, |status| {
        let rows = status.trunks.iter().flat_map(|trunk| &trunk.gateways);
        let seen: Vec<(&str, &str)> = rows
            .map(|row| (row.target.as_deref().unwrap_or_default(), row.state.as_str()))
            .collect();
        seen == wanted
    })?;
    Ok(())
}

/// A gateway of the far side's that answers OPTIONS and calls, until it is dropped.
fn serving(net: &Lab, port: &str) -> Result<Running> {
    let serving = Sipp::answerer_as(&net.far, Scenario::Serves, FAR)?;
    serving.options(&["-p", port]).listen_at(port.parse()?)
}

#[test]
fn a_gateway_that_goes_away_is_passed_over_until_it_is_back() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let trunk = "health_interval = \"1s\"\nhealth_failures = 2\nhealth_successes = 2\ngateway_timeout = \"500ms\"\n\
        gateway = [{ address = \"10.200.2.2:5071\" }, { address = \"10.200.2.2:5072\", priority = 1 }]";
    let (first, second) = ("udp:10.200.2.2:5071", "udp:10.200.2.2:5072");
    let serves_first = serving(&net, "5071").unwrap();
    let serves_second = serving(&net, "5072").unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &with(trunk)).unwrap();
    wait_for_states(&gateway, [(first, "up"), (second, "up")]).unwrap();
    let placed = |target: &str| {
        let log = gateway.log();
        let placed = log.lines().filter(|line| line.contains("call out"));
        placed.filter(|line| line.contains(&format!("target={target}"))).count()
    };
    call(&net).unwrap();
    assert_eq!((placed(first), placed(second)), (1, 0));

    drop(serves_first);
    wait_for_states(&gateway, [(first, "down"), (second, "up")]).unwrap();
    call(&net).unwrap();
    // It was not even tried.
    assert_eq!(attempts(&gateway).unwrap(), []);
    assert_eq!((placed(first), placed(second)), (1, 1));

    let serves_first = serving(&net, "5071").unwrap();
    wait_for_states(&gateway, [(first, "up"), (second, "up")]).unwrap();
    call(&net).unwrap();
    assert_eq!((placed(first), placed(second)), (2, 1));
    drop((serves_first, serves_second));
}

#[test]
fn the_gateway_registers_and_is_called_where_it_did() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let number = "+15550000";
    let registrar = Kamailio::registering(&net.far, FAR, number).unwrap();
    let register = format!(
        "proxy = \"10.200.2.2:5060\"\ndomain = \"{}\"\nusername = \"{}\"\npassword = \"{}\"\nalgorithms = [\"MD5\"]\n\
         register = \"on\"\nregister_user = \"{number}\"",
        kamailio::REALM,
        kamailio::USERNAME,
        kamailio::PASSWORD
    );
    // Nothing but the registration says that calls from there are the trunk's.
    let config = with(&register).replace("allow = [\"10.200.2.0/24\"]\n", "");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let known = |status: &voxlane_tests::reports::Status| {
        let registration = status.trunks.first().and_then(|trunk| trunk.registration.as_ref());
        registration.is_some_and(|one| one.registered && one.expires_in_s.is_some_and(|left| left <= 7))
    };
    gateway.wait_until(PATIENCE, Gateway::status, known).unwrap();

    let caller = Sipp::caller(&net.far, Scenario::Uac, FAR, at(FAR), ECHO).unwrap();
    let caller = caller.options(&["-p", "5070", "-m", "1", "-d", "200"]).start().unwrap();
    caller.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    let call = gateway.calls().unwrap().recent.remove(0);
    assert_eq!((call.to.as_str(), call.trunk.as_deref()), (ECHO, Some("far")));

    // It is refreshed before the seven seconds are over, with the nonce there is.
    let granted = |_: &_| registrar.log().matches("registered for 3600").count() >= 2;
    gateway.wait_until(PATIENCE, Gateway::status, granted).unwrap();
    assert_eq!(registrar.log().matches("challenged REGISTER").count(), 1);
    gateway.stop().unwrap();
    assert!(registrar.log().contains("registered for 0"), "{}", registrar.log());
}
