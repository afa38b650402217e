//! SIP over TCP and TLS (interoperability requirements I1, I7, I8, I11, I14; checks C1 to C3, C5, C8).

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use voxlane_tests::audio::{purity, tone};
use voxlane_tests::certificates::{Authority, Certificate};
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, RELAYED_V6, Xdp, below, dual_stack, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, CARRIER_V6, FAR, FAR_V6, GATEWAY_TO_CARRIER, GATEWAY_TO_CARRIER_V6, Lab, Place};
use voxlane_tests::peers::baresip::{Baresip, Encryption, Via};
use voxlane_tests::peers::scripted::socket;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::reports::Flows;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const OVER_TLS: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5061);

/// A lab that listens on TCP, too, and sends calls to the far side over it.
fn by_tcp(config: &str) -> String {
    let config = config.replace(r#""udp:0.0.0.0:5060""#, r#""udp:0.0.0.0:5060", "tcp:0.0.0.0:5060""#);
    let config = config.replace(r#""udp:[::]:5060""#, r#""udp:[::]:5060", "tcp:[::]:5060""#);
    config.replace("\nproxy = ", "\ntransport = \"tcp\"\nproxy = ")
}

/// A lab that listens on TLS only, for the echo agent and, over TLS, for the far side, all with SRTP.
fn by_tls(authority: &Authority, ours: &Certificate, lines: &str) -> String {
    let config = lab(Xdp::Auto, NO_BOT).replace(r#""udp:0.0.0.0:5060""#, r#""tls:0.0.0.0:5061""#);
    let (certificate, key) = (ours.certificate.display(), ours.key.display());
    let tls = format!("\n[sip.tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n{lines}\n[media]\n");
    let config = config.replace("\n[media]\n", &tls);
    let config = config.replace("proxy = \"10.200.2.2:5060\"", "proxy = \"10.200.2.2\"");
    let config = below(&config, "name = \"carrier\"", "srtp = \"required\"");
    let ca = authority.root();
    let far = format!(
        "srtp = \"required\"\ntransport = \"tls\"\ntls_ca = \"{}\"",
        ca.display()
    );
    below(&config, "name = \"far\"", &far)
}

/// Certificates for the gateway and a phone at an address.
fn certificates(phone: IpAddr) -> Result<(Authority, Certificate, Via)> {
    let authority = Authority::new()?;
    let ours = authority.vouch("gateway", &format!("IP:{GATEWAY_TO_CARRIER},DNS:pop1.example"))?;
    let theirs = authority.vouch("phone", &format!("IP:{phone}"))?;
    let via = Via::Tls {
        identity: theirs.both,
        ca: authority.root(),
    };
    Ok((authority, ours, via))
}

/// A connection of the test's own.
struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Line {
    fn open(place: &Place, to: SocketAddr) -> Result<Self> {
        let stream = place.enter(|| TcpStream::connect(to))??;
        Ok(Self::new(stream)?)
    }

    fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    fn say(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.replace('\n', "\r\n").as_bytes())?)
    }

    /// Reads on until there is a message that begins so, and takes everything up to its headers' end and its body.
    fn hear(&mut self, start: &str) -> Result<String> {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if let Some(begin) = text.find(start)
                && let Some(end) = text[begin..].find("\r\n\r\n")
            {
                let head = &text[begin..begin + end + 4];
                let length = header(head, "Content-Length")
                    .and_then(|length| length.parse().ok())
                    .unwrap_or(0);
                if text.len() >= begin + head.len() + length {
                    self.read.drain(..begin + head.len() + length);
                    return Ok(head.to_owned());
                }
            }
            self.more().with_context(|| format!("no {start}, but {text}"))?;
        }
    }

    fn more(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let length = self.stream.read(&mut buffer)?;
        ensure!(length > 0, "the connection was closed");
        self.read.extend_from_slice(&buffer[..length]);
        Ok(())
    }

    /// Waits until the other side closes it.
    fn wait_closed(&mut self) -> Result<()> {
        while self.more().is_ok() {}
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(anyhow::anyhow!("it says more")),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = message.split("\r\n");
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A request to the echo agent, from a caller who listens on TCP port 5070.
fn request(method: &str, cseq: u32, to_tag: &str, body: &str) -> String {
    let tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    let length = body.replace('\n', "\r\n").len();
    format!(
        "{method} sip:{ECHO}@{GATEWAY};transport=tcp SIP/2.0\nVia: SIP/2.0/TCP {CARRIER}:5070;branch=z9hG4bK{method}{cseq}\n\
         Max-Forwards: 70\nFrom: <sip:caller@{CARRIER}>;tag=them\nTo: <sip:{ECHO}@{GATEWAY_TO_CARRIER}>{tag}\n\
         Call-ID: test@{CARRIER}\nCSeq: {cseq} {method}\nContact: <sip:caller@{CARRIER}:5070;transport=tcp>\n\
         Content-Type: application/sdp\nContent-Length: {length}\n\n{body}"
    )
}

fn offer() -> String {
    format!("v=0\no=- 1 1 IN IP4 {CARRIER}\ns=-\nc=IN IP4 {CARRIER}\nt=0 0\nm=audio 40000 RTP/AVP 0\n")
}

fn tag(message: &str) -> Result<String> {
    let to = header(message, "To").context("no To")?;
    Ok(to.split_once(";tag=").context("no tag")?.1.to_owned())
}

#[test]
fn sipp_calls_an_agent_and_the_far_side_over_tcp() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &by_tcp(&lab(Xdp::Auto, NO_BOT))).unwrap();
    let far = Sipp::answerer(&net.far, FAR)
        .unwrap()
        .options(&["-t", "t1"])
        .listen()
        .unwrap();
    // All calls on one connection, then each on its own.
    for (mode, connections) in [("t1", 1), ("tn", 10)] {
        for number in [ECHO, RELAYED] {
            let before = gateway.status().unwrap().connections;
            let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, number).unwrap();
            let caller = caller.options(&["-t", mode, "-max_socket", "100", "-m", "10", "-r", "10", "-d", "500"]);
            caller.start().unwrap().succeed(PATIENCE).unwrap();
            let status = gateway.wait_until_idle(PATIENCE).unwrap();
            assert_eq!(
                status.connections.accepted - before.accepted,
                connections,
                "{mode} {number}"
            );
            // All of them go to the far side on one.
            assert_eq!(status.connections.opened, u64::from(number == RELAYED || mode == "tn"));
        }
    }
    let status = gateway.status().unwrap();
    assert_eq!(status.listen, ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]);
    assert_eq!((status.calls.total, status.calls.failed), (40, 0));
    drop(far);
}

#[test]
fn baresip_calls_over_tcp_and_ipv6() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::dual_stack().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &by_tcp(&dual_stack(Xdp::Auto))).unwrap();
    for (from, at, to, number) in [
        (CARRIER, GATEWAY_TO_CARRIER.to_string(), FAR, RELAYED),
        (CARRIER_V6, format!("[{GATEWAY_TO_CARRIER_V6}]"), FAR_V6, RELAYED_V6),
    ] {
        let far = Baresip::answer_over(&Via::Tcp, &net.far, to, number, &tone(600, 60_000), Encryption::Off).unwrap();
        let uri = format!("sip:{number}@{at}");
        let (sound, time) = (tone(1000, 20_000), Duration::from_secs(6));
        let mut call = Baresip::call_over(&Via::Tcp, &net.carrier, from, &uri, &sound, time, Encryption::Off).unwrap();
        call.wait_established(PATIENCE).unwrap();
        let status = gateway.status().unwrap();
        assert_eq!(status.connections.open("tcp"), 2, "{status:?}");
        let outcome = call.finish(PATIENCE).unwrap();
        let heard = purity(&outcome.heard, 600);
        assert!(heard.share > 0.9 && heard.seconds > 2.0, "{heard:?}\n{}", outcome.log);
        gateway.wait_until_idle(PATIENCE).unwrap();
        far.stop(PATIENCE).unwrap();
    }
}

#[test]
fn baresip_calls_over_tls_with_srtp_and_without_it_is_refused() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let (authority, ours, caller) = certificates(CARRIER).unwrap();
    let callee = Via::Tls {
        identity: authority.vouch("far", &format!("IP:{FAR}")).unwrap().both,
        ca: authority.root(),
    };
    let gateway = Gateway::start_with(&binary, &net.gateway, &by_tls(&authority, &ours, "")).unwrap();
    let far = Baresip::answer_over(
        &callee,
        &net.far,
        FAR,
        RELAYED,
        &tone(600, 60_000),
        Encryption::Required,
    )
    .unwrap();
    for (number, frequency) in [(ECHO, 1000), (RELAYED, 600)] {
        let uri = format!("sip:{number}@{GATEWAY_TO_CARRIER}");
        let (sound, time) = (tone(1000, 20_000), Duration::from_secs(6));
        let call = Baresip::call_over(&caller, &net.carrier, CARRIER, &uri, &sound, time, Encryption::Required);
        let mut call = call.unwrap();
        call.wait_established(PATIENCE).unwrap();
        let secured = |flows: &Flows| {
            let all = flows
                .flows
                .iter()
                .all(|flow| flow.srtp.is_some() && flow.received.packets > 50);
            all && flows.flows.len() == 1 + usize::from(number == RELAYED)
        };
        gateway.wait_until(PATIENCE, Gateway::flows, secured).unwrap();
        assert!(gateway.status().unwrap().connections.open("tls") > 0);
        let outcome = call.finish(PATIENCE).unwrap();
        let heard = purity(&outcome.heard, frequency);
        assert!(heard.share > 0.9 && heard.seconds > 2.0, "{heard:?}\n{}", outcome.log);
        gateway.wait_until_idle(PATIENCE).unwrap();
    }
    let uri = format!("sip:{ECHO}@{GATEWAY_TO_CARRIER}");
    let time = Duration::from_secs(6);
    let plain = Baresip::call_over(&caller, &net.carrier, CARRIER, &uri, &[], time, Encryption::Off);
    let _plain = plain.unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| status.calls.failed == 1)
        .unwrap();
    assert!(gateway.log().contains("plain RTP is offered"), "{}", gateway.log());
    // The one call that it had.
    let outcome = far.stop(PATIENCE).unwrap();
    let heard = purity(&outcome.heard, 1000);
    assert!(heard.share > 0.9 && heard.seconds > 2.0, "{heard:?}\n{}", outcome.log);
}

/// `openssl s_client`, which says nothing but what it is shown.
fn client(place: &Place, arguments: &[&str]) -> Result<Output> {
    let mut command: Command = place.command("openssl");
    command
        .args(["s_client", "-connect", &OVER_TLS.to_string()])
        .args(arguments);
    Ok(command.stdin(std::process::Stdio::null()).output()?)
}

fn shown(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let subject = text.lines().find(|line| line.starts_with("subject="));
    subject.unwrap_or(&text).replace(' ', "")
}

#[test]
fn certificates_are_chosen_by_name_asked_for_and_read_anew() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let (authority, ours, _) = certificates(CARRIER).unwrap();
    let tenants = authority.vouch("tenant", "DNS:sip.demo.trusst.cloud").unwrap();
    let ca = authority.root();
    let asked = format!("client_certificates = \"required\"\nclient_ca = \"{}\"", ca.display());
    let (certificate, key) = (tenants.certificate.display(), tenants.key.display());
    let config = below(
        &by_tls(&authority, &ours, &asked),
        "name = \"demo\"",
        &format!("certificate = \"{certificate}\"\nkey = \"{key}\""),
    );
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let them = authority.vouch("client", "DNS:client.example").unwrap();
    let both = them.both.to_string_lossy().into_owned();
    let with = ["-cert", both.as_str()];
    for (version, name, expected) in [
        ("-tls1_3", "sip.demo.trusst.cloud", "subject=CN=tenant"),
        ("-tls1_2", "SIP.demo.trusst.cloud", "subject=CN=tenant"),
        ("-tls1_3", "other.example", "subject=CN=gateway"),
    ] {
        let output = client(&net.carrier, &[&with[..], &[version, "-servername", name]].concat()).unwrap();
        assert_eq!(shown(&output), expected, "{output:?}");
    }
    // TLS 1.2 tells at once that a certificate is missing.
    let refused = client(&net.carrier, &["-tls1_2"]).unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            status.connections.refused("handshake") == 1
        })
        .unwrap();

    // A key that is not the certificate's: everything stays.
    let next = authority.vouch("next", "DNS:next.example").unwrap();
    fs::copy(&next.certificate, &ours.certificate).unwrap();
    gateway.reload().unwrap();
    let told = |gateway: &Gateway| Ok(gateway.log());
    let key = format!("{}: is not the key of the certificate", ours.key.display());
    gateway.wait_until(PATIENCE, told, |log| log.contains(&key)).unwrap();
    let output = client(&net.carrier, &[&with[..], &["-noservername"]].concat()).unwrap();
    assert_eq!(shown(&output), "subject=CN=gateway");
    fs::copy(&next.key, &ours.key).unwrap();
    gateway.reload().unwrap();
    gateway
        .wait_until(PATIENCE, told, |log| log.contains("certificates read anew"))
        .unwrap();
    let output = client(&net.carrier, &[&with[..], &["-noservername"]].concat()).unwrap();
    assert_eq!(shown(&output), "subject=CN=next");
}

#[test]
fn a_trunk_with_another_name_in_its_certificate_gets_no_call() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let (authority, ours, caller) = certificates(CARRIER).unwrap();
    let wrong = Via::Tls {
        identity: authority.vouch("far", "DNS:somebody.example").unwrap().both,
        ca: authority.root(),
    };
    let gateway = Gateway::start_with(&binary, &net.gateway, &by_tls(&authority, &ours, "")).unwrap();
    let _far = Baresip::answer_over(&wrong, &net.far, FAR, RELAYED, &tone(600, 60_000), Encryption::Required).unwrap();
    let uri = format!("sip:{RELAYED}@{GATEWAY_TO_CARRIER}");
    let (sound, time) = (tone(1000, 20_000), Duration::from_secs(6));
    let _call = Baresip::call_over(&caller, &net.carrier, CARRIER, &uri, &sound, time, Encryption::Required).unwrap();
    let status = gateway
        .wait_until(PATIENCE, Gateway::status, |status| status.calls.failed == 1)
        .unwrap();
    assert_eq!(status.connections.refused("handshake"), 1, "{status:?}");
    let log = gateway.log();
    assert!(log.contains("cannot connect: ") && log.contains("certificate"), "{log}");
}

#[test]
fn a_large_invite_goes_over_tcp_where_somebody_takes_it() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = by_tcp(&lab(Xdp::Off, NO_BOT)).replace("\ntransport = \"tcp\"\n", "\n");
    let config = format!("{config}\n[sdp]\nsession_name = \"{}\"\n", "long ".repeat(250));
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    // One hears UDP only, the other TCP only.
    for (mode, opened) in [("u1", 0), ("t1", 1)] {
        let far = Sipp::answerer(&net.far, FAR)
            .unwrap()
            .options(&["-t", mode])
            .listen()
            .unwrap();
        let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, RELAYED).unwrap();
        caller
            .options(&["-m", "1", "-d", "500"])
            .start()
            .unwrap()
            .succeed(PATIENCE)
            .unwrap();
        let connections = gateway.wait_until_idle(PATIENCE).unwrap().connections;
        assert_eq!(
            (connections.refused("unreachable"), connections.opened),
            (1, opened),
            "{mode}"
        );
        drop(far);
    }
}

#[test]
fn a_call_outlives_its_connection_and_is_ended_on_another() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &by_tcp(&lab(Xdp::Auto, NO_BOT))).unwrap();
    let listener = net
        .carrier
        .enter(|| TcpListener::bind((CARRIER, 5070)))
        .unwrap()
        .unwrap();
    let mut line = Line::open(&net.carrier, GATEWAY).unwrap();
    line.say(&request("INVITE", 1, "", &offer())).unwrap();
    let ok = line.hear("SIP/2.0 200").unwrap();
    assert_eq!(
        header(&ok, "Contact"),
        Some(format!("<sip:{GATEWAY};transport=tcp>").as_str())
    );
    line.say(&request("ACK", 1, &tag(&ok).unwrap(), "")).unwrap();
    // Keep-alives on the way.
    line.say("\n\n").unwrap();
    while !line.read.ends_with(b"\r\n") {
        line.more().unwrap();
    }
    drop(line);
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| status.connections.open("tcp") == 0)
        .unwrap();
    let status = gateway.status().unwrap();
    assert_eq!((status.calls.active, status.connections.closed("theirs")), (1, 1));

    // The gateway ends; its BYE comes to where Contact says.
    let stopping = std::thread::spawn(move || gateway.terminate());
    let mut line = Line::new(listener.accept().unwrap().0).unwrap();
    let bye = line.hear("BYE ").unwrap();
    let of = |name| header(&bye, name).unwrap();
    let answer = format!(
        "SIP/2.0 200 OK\nVia: {}\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: {}\nContent-Length: 0\n\n",
        of("Via"),
        of("From"),
        of("To"),
        of("Call-ID"),
        of("CSeq")
    );
    line.say(&answer).unwrap();
    let ended = stopping.join().unwrap().unwrap();
    assert!(ended.stderr.contains("every call has ended"), "{}", ended.stderr);
}

#[test]
fn what_is_no_sip_is_answered_where_it_can_be_and_closed() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &by_tcp(&lab(Xdp::Off, NO_BOT))).unwrap();
    let mut line = Line::open(&net.carrier, GATEWAY).unwrap();
    line.say(&request("OPTIONS", 1, "", "").replace("Content-Length: 0", "Content-Length: -1"))
        .unwrap();
    line.hear("SIP/2.0 400 Malformed Content-Length").unwrap();
    line.wait_closed().unwrap();
    let mut line = Line::open(&net.carrier, GATEWAY).unwrap();
    line.say(&"x".repeat(100_000)).ok();
    line.wait_closed().unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            status.connections.closed("malformed") == 2
        })
        .unwrap();
}

#[test]
fn of_what_comes_at_once_nothing_is_lost() {
    // More than the gateway takes before it does something else.
    const MANY: u32 = 280;
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &by_tcp(&lab(Xdp::Off, NO_BOT))).unwrap();
    let question = |cseq| request("OPTIONS", cseq, "", "").replace('\n', "\r\n");
    let asking = socket(&net.carrier, CARRIER, 5070).unwrap();
    gateway
        .while_stopped(|| {
            for cseq in 1..=MANY {
                let datagram = question(cseq)
                    .replace("/TCP", "/UDP")
                    .replace("test@", "udp@")
                    .replace("z9hG4bK", "z9hG4bKudp");
                asking.send_to(datagram.as_bytes(), GATEWAY).unwrap();
            }
        })
        .unwrap();
    // Each is remembered for 32 s (timer J), in case that it comes again.
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            status.sip.transactions == u64::from(MANY)
        })
        .unwrap();

    let mut line = Line::open(&net.carrier, GATEWAY).unwrap();
    let all: String = (1..=MANY).map(question).collect();
    gateway
        .while_stopped(|| line.stream.write_all(all.as_bytes()))
        .unwrap()
        .unwrap();
    for cseq in 1..=MANY {
        let answer = line.hear("SIP/2.0 200").unwrap();
        assert_eq!(header(&answer, "CSeq"), Some(format!("{cseq} OPTIONS").as_str()));
    }
}

#[test]
fn who_does_not_read_is_left_and_holds_nobody_up() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = by_tcp(&lab(Xdp::Off, NO_BOT));
    let config = below(&config, "[sip]", "max_connections_per_source = 2");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let slow = Line::open(&net.carrier, GATEWAY).unwrap();
    let mut writer = slow.stream.try_clone().unwrap();
    writer.set_write_timeout(Some(PATIENCE)).unwrap();
    // Questions without end, whose answers nobody fetches.
    let asking = std::thread::spawn(move || {
        let mut cseq = 0;
        loop {
            cseq += 1;
            let options = request("OPTIONS", cseq, "", "").replace('\n', "\r\n");
            if writer.write_all(options.as_bytes()).is_err() {
                return;
            }
        }
    });
    // Meanwhile another is served. Its branches are its own: the two would be one and the same caller otherwise.
    let mut other = Line::open(&net.carrier, GATEWAY).unwrap();
    other
        .say(
            &request("OPTIONS", 1, "", "")
                .replace("test@", "other@")
                .replace("z9hG4bK", "z9hG4bKother"),
        )
        .unwrap();
    other.hear("SIP/2.0 200").unwrap();
    let mut third = Line::open(&net.carrier, GATEWAY).unwrap();
    third.wait_closed().unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            status.connections.closed("not_read") == 1
        })
        .unwrap();
    asking.join().unwrap();
    assert_eq!(gateway.status().unwrap().connections.refused("source_limit"), 1);
    other
        .say(
            &request("OPTIONS", 2, "", "")
                .replace("test@", "other@")
                .replace("z9hG4bK", "z9hG4bKother"),
        )
        .unwrap();
    other.hear("SIP/2.0 200").unwrap();
}
