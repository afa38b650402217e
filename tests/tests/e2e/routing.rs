//! Whose a call is and what number it is for (interoperability requirement I10).

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::certificates::{Authority, Certificate};
use voxlane_tests::config::{ECHO, NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::{Agent, Protocol};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::process::Process;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const OVER_TLS: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5061);

/// Two tenants, of whom demo has all the numbers, and a carrier that also writes them in its own way. `route` is what stands in
/// that section.
fn config(route: &str) -> String {
    let config = below(&lab(Xdp::Off, NO_BOT), "[[tenant]]", "name = \"other\"\n\n[[tenant]]");
    let rule = "number_rule = [{ prefix = \"9\", length = 5, prepend = \"+1555\" }]";
    let config = below(&config, "allow = [\"10.200.1.0/24\"]", rule);
    format!("{config}\n[route]\n{route}\n")
}

/// Answered by the agent of its tenant, since it says nothing else.
const TENANTS: &str = "+15550077";

#[test]
fn a_number_that_names_nobody_is_answered_by_its_tenants_agent() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    // In another protocol than the tenant's other numbers have.
    let bot = Agent::speaking(&net.gateway, Protocol::Pcm16).unwrap();
    let url = bot.url();
    let config = below(&config(""), "name = \"demo\"", "agent = \"house\"");
    let more = format!(
        "\n[[agent]]\nname = \"house\"\nurl = \"{url}\"\nprotocol = \"pcm16\"\n\n[[did]]\nnumber = \"{TENANTS}\"\ntenant = \"demo\"\n"
    );
    let gateway = Gateway::start_with(&binary, &net.gateway, &(config + &more)).unwrap();
    for (number, agent) in [(TENANTS, "house"), (ECHO, "echo")] {
        let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, number).unwrap();
        let caller = caller.options(&["-m", "1", "-d", "500"]).start().unwrap();
        caller.succeed(PATIENCE).unwrap();
        gateway.wait_until_idle(PATIENCE).unwrap();
        let calls = gateway.calls().unwrap();
        assert_eq!(calls.to(number).unwrap().agent.as_deref(), Some(agent), "{calls:#?}");
    }
    let starts = bot.events().iter().filter(|event| event["asked"].is_object()).count();
    assert_eq!(starts, 1, "{:?}", bot.events());
}

/// A call to a number at a domain that must be refused so.
fn refused(net: &Lab, number: &str, domain: &str, status: u16) -> Result<()> {
    let caller = Sipp::caller(&net.carrier, Scenario::RefusedAt(status), CARRIER, GATEWAY, number)?;
    let caller = caller.options(&["-m", "1", "-key", "domain", domain]);
    caller.start()?.succeed(PATIENCE)
}

#[test]
fn sipp_reaches_a_number_in_any_form_and_no_tenant_but_its_own() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config("")).unwrap();
    for number in [ECHO, "15550001", "0015550001", "+1-555-0001;npdi;rn=+15559999", "90001"] {
        let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, number).unwrap();
        let caller = caller.options(&["-m", "1", "-d", "100"]).start().unwrap();
        caller.succeed(PATIENCE).unwrap();
    }
    gateway.wait_until_idle(PATIENCE).unwrap();
    let calls = gateway.calls().unwrap().recent;
    assert_eq!(calls.len(), 5);
    assert!(calls.iter().all(|call| call.to == ECHO), "{calls:#?}");
    for (number, domain) in [
        ("+15559999", "sip.demo.trusst.cloud"),
        (ECHO, "sip.other.trusst.cloud"),
        (ECHO, "sip.nobody.trusst.cloud"),
    ] {
        refused(&net, number, domain, 404).unwrap();
    }
    let log = gateway.log();
    for why in [
        "+15559999 is not a number of this gateway",
        "the number is not one of tenant other, whose domain sip.other.trusst.cloud is",
        "there is no tenant of domain sip.nobody.trusst.cloud",
    ] {
        assert!(log.contains(why), "{why}: {log}");
    }
}

#[test]
fn a_call_to_an_unknown_tenant_gets_no_answer_where_that_is_wanted() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config("unknown_tenant = \"drop\"")).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::RefusedAt(404), CARRIER, GATEWAY, ECHO).unwrap();
    let caller = caller.options(&["-m", "1", "-key", "domain", "sip.nobody.trusst.cloud"]);
    let caller = caller.start().unwrap();
    // It repeats what nobody answers.
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| status.sip.dropped >= 3)
        .unwrap();
    drop(caller);
    // A tenant that is known is told.
    refused(&net, ECHO, "sip.other.trusst.cloud", 404).unwrap();
    assert_eq!(gateway.status().unwrap().calls.total, 1);
}

/// A caller who connects over TLS, asks for a name, and calls the echo agent at our address.
fn asks_for(name: &str, net: &Lab, directory: &Path) -> Result<Process> {
    let sdp =
        format!("v=0\r\no=- 1 1 IN IP4 {CARRIER}\r\ns=-\r\nc=IN IP4 {CARRIER}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n");
    let invite = format!(
        "INVITE sip:{ECHO}@{GATEWAY_TO_CARRIER}:5061;transport=tls SIP/2.0\r\n\
         Via: SIP/2.0/TLS {CARRIER}:5061;branch=z9hG4bK{name}\r\nMax-Forwards: 70\r\n\
         From: <sip:caller@{CARRIER}>;tag=them\r\nTo: <sip:{ECHO}@{GATEWAY_TO_CARRIER}>\r\n\
         Call-ID: {name}@{CARRIER}\r\nCSeq: 1 INVITE\r\nContact: <sip:caller@{CARRIER}:5061;transport=tls>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    let file = directory.join(name);
    fs::write(&file, invite)?;
    // With -quiet it stays when there is no more to be sent.
    let mut command = net.carrier.command("sh");
    let client = format!("exec openssl s_client -quiet -connect {OVER_TLS} -servername {name} < \"$0\"");
    command.args(["-c", &client]).arg(file);
    Process::start("openssl s_client", &mut command)
}

#[test]
fn the_name_asked_for_over_tls_names_the_tenant() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let authority = Authority::new().unwrap();
    let Certificate { certificate, key, .. } = authority.vouch("gateway", &format!("IP:{GATEWAY_TO_CARRIER}")).unwrap();
    let (certificate, key) = (certificate.display(), key.display());
    let config = config("").replace("\"udp:0.0.0.0:5060\"", "\"udp:0.0.0.0:5060\", \"tls:0.0.0.0:5061\"");
    let config = format!("{config}\n[sip.tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (name, answer) in [
        ("SIP.demo.trusst.cloud", "SIP/2.0 200 "),
        ("pop1.example", "SIP/2.0 200 "),
        ("sip.other.trusst.cloud", "SIP/2.0 404 "),
        ("sip.nobody.trusst.cloud", "SIP/2.0 404 "),
    ] {
        let mut client = asks_for(name, &net, directory.path()).unwrap();
        client
            .poll(&format!("{answer} for {name}"), PATIENCE, |client| {
                client.stdout().contains(answer)
            })
            .unwrap();
    }
    let why = "the number is not one of tenant other, whose TLS server name sip.other.trusst.cloud is";
    assert!(gateway.log().contains(why), "{}", gateway.log());
}
