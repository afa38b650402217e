//! What is seen of SIP beside calls: how it is marked, and whose certificates are shown and asked for (interoperability
//! requirements I1, I11, I14; check C8).

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::certificates::Authority;
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab, Place};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::peers::tshark;
use voxlane_tests::process::Process;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

#[test]
fn signalling_is_marked_on_the_wire() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let lines = "listen = [\"udp:0.0.0.0:5060\", \"tcp:0.0.0.0:5060\"]\ndscp = \"AF31\"";
    let config = lab(Xdp::Off, NO_BOT).replace("listen = [\"udp:0.0.0.0:5060\"]", lines);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sip.pcap");
    let mut capture = tshark::capture_sip(&net.carrier, &file).unwrap();
    for mode in ["u1", "t1"] {
        let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO).unwrap();
        let caller = caller.options(&["-t", mode, "-m", "1", "-d", "100"]);
        caller.start().unwrap().succeed(PATIENCE).unwrap();
        gateway.wait_until_idle(PATIENCE).unwrap();
    }
    let marks = |transport| {
        let filter = format!("sip && {transport} && ip.src == {GATEWAY_TO_CARRIER}");
        tshark::fields(&file, &[], &filter, "ip.dsfield.dscp")
    };
    // 100, 180, 200, and 200 to the BYE; over TCP several may be in one packet. It takes a while until they are in the file,
    // and what tshark is still writing it may not be able to read.
    for (transport, least) in [("udp", 4), ("tcp", 2)] {
        let there = || marks(transport).is_ok_and(|marks| marks.len() >= least);
        capture.poll("SIP in the capture", PATIENCE, |_| there()).unwrap();
    }
    capture.interrupt().unwrap();
    for transport in ["udp", "tcp"] {
        let marks = marks(transport).unwrap();
        assert!(marks.iter().all(|mark| mark == "26"), "{transport}: {marks:?}");
    }
}

/// `openssl s_client`, which says nothing but what it is shown. TLS 1.2 tells at once that a certificate is no good.
fn client(place: &Place, certificate: &[&str]) -> Result<Output> {
    let mut command: Command = place.command("openssl");
    let to = format!("{GATEWAY_TO_CARRIER}:5061");
    command
        .args(["s_client", "-tls1_2", "-connect", to.as_str()])
        .args(certificate);
    Ok(command.stdin(Stdio::null()).output()?)
}

#[test]
fn who_connects_may_show_a_certificate_but_no_false_one() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let ours = authority.vouch("gateway", "DNS:pop1.example").unwrap();
    let tls = format!(
        "[sip.tls]\ncertificate = \"{}\"\nkey = \"{}\"\nclient_certificates = \"optional\"\nclient_ca = \"{}\"\n\n[media]\n",
        ours.certificate.display(),
        ours.key.display(),
        authority.root().display()
    );
    let config = lab(Xdp::Off, NO_BOT)
        .replace("[media]\n", &tls)
        .replace("\"udp:0.0.0.0:5060\"", "\"udp:0.0.0.0:5060\", \"tls:0.0.0.0:5061\"");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let good = authority.vouch("client", "DNS:client.example").unwrap().both;
    let false_one = stranger.vouch("client", "DNS:client.example").unwrap().both;
    for (file, welcome) in [(None, true), (Some(good), true), (Some(false_one), false)] {
        let file = file.map(|file| file.to_string_lossy().into_owned());
        let arguments: Vec<&str> = file.iter().flat_map(|file| ["-cert", file.as_str()]).collect();
        let output = client(&net.carrier, &arguments).unwrap();
        assert_eq!(output.status.success(), welcome, "{arguments:?}: {output:?}");
    }
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            status.connections.refused("handshake") == 1 && status.connections.accepted == 2
        })
        .unwrap();
}

/// A TLS server beside the gateway that asks for a certificate, and shows what it is sent.
fn server(place: &Place, port: u16, identity: &str, ca: &str) -> Result<Process> {
    let mut command = place.command("sh");
    let accept = format!("127.0.0.1:{port}");
    // It stays for as long as something may be typed: what is open both ways never ends.
    let open = "rm -f \"$0.in\" && mkfifo \"$0.in\" && exec openssl s_server \"$@\" <> \"$0.in\"";
    command.args(["-c", open, identity]);
    command.args(["-accept", accept.as_str(), "-cert", identity, "-key", identity]);
    command.args(["-Verify", "1", "-verify_return_error", "-CAfile", ca]);
    let mut process = Process::start("openssl s_server", &mut command)?;
    process.wait_for("ACCEPT", PATIENCE)?;
    Ok(process)
}

#[test]
fn a_trunk_is_known_by_its_name_and_shown_our_certificate() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let authority = Authority::new().unwrap();
    let ours = authority.vouch("gateway", "DNS:pop1.example").unwrap();
    let ca = authority.root().to_string_lossy().into_owned();
    for (names, shown, taken) in [
        ("DNS:localhost", true, true),
        ("DNS:localhost", false, false),
        ("DNS:other.example", true, false),
    ] {
        let identity = authority.vouch("trunk", names).unwrap().both;
        let mut trunk = server(&net.gateway, 5071, &identity.to_string_lossy(), &ca).unwrap();
        let mut far = format!("transport = \"tls\"\ntls_ca = \"{ca}\"");
        if shown {
            far += &format!(
                "\ntls_certificate = \"{}\"\ntls_key = \"{}\"",
                ours.certificate.display(),
                ours.key.display()
            );
        }
        let tls = format!(
            "[sip.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\n[media]\n",
            ours.certificate.display(),
            ours.key.display()
        );
        let config = lab(Xdp::Off, NO_BOT)
            .replace("[media]\n", &tls)
            .replace("\"udp:0.0.0.0:5060\"", "\"udp:0.0.0.0:5060\", \"tls:0.0.0.0:5061\"")
            .replace("proxy = \"10.200.2.2:5060\"", "proxy = \"localhost:5071\"");
        let config = below(&config, "name = \"far\"", &far);
        let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
        let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, RELAYED).unwrap();
        let _calling = caller.options(&["-m", "1"]).start().unwrap();
        if taken {
            trunk.wait_for("INVITE sip:", PATIENCE).unwrap();
            let said = trunk.said();
            assert!(
                said.contains("CN = gateway") && said.contains("verify return:1"),
                "{said}"
            );
        } else {
            gateway
                .wait_until(PATIENCE, Gateway::status, |status| status.calls.failed == 1)
                .unwrap();
            assert!(!trunk.stdout().contains("INVITE sip:"), "{}", trunk.said());
        }
    }
}
