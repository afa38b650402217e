//! Calls whose media is SRTP, with keys in SDP.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use voxlane_tests::audio::{from_ulaw, purity, tone};
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab, Place};
use voxlane_tests::peers::baresip::{Baresip, Encryption};
use voxlane_tests::peers::libsrtp::{Session, Way};
use voxlane_tests::peers::scripted::{RTP, socket};
use voxlane_tests::peers::sipp::{FIRST_KEY, SECOND_KEY, Scenario, Sipp};
use voxlane_tests::peers::tshark;
use voxlane_tests::process::Process;
use voxlane_tests::reports::Flows;
use voxlane_tests::requirements;
use voxlane_tests::rtp::Sender;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// Of RTP.
const HEADER_LEN: usize = 12;

/// Lets keys travel over UDP.
const IN_CLEAR: &str = "srtp_keys_in_clear = \"allow\"";

/// The lab, where a trunk has these lines, too, and the echo agent plays a tone instead.
fn config(trunk: &str, lines: &str) -> String {
    let config = lab(Xdp::Auto, NO_BOT).replace("builtin:echo", "builtin:tone?hz=600");
    below(&config, &format!("name = \"{trunk}\""), lines)
}

/// tshark at work on an interface.
struct Sniffer {
    process: Process,
}

impl Sniffer {
    fn start(place: &Place, interface: &str, file: &Path) -> Result<Self> {
        let mut command: Command = place.command("tshark");
        command.args(["-n", "-i", interface, "-f", "udp", "-w"]).arg(file);
        let mut process = Process::start("tshark", &mut command)?;
        process.poll("tshark to capture", PATIENCE, |process| {
            process.stderr().contains("Capturing on") && file.exists()
        })?;
        Ok(Self { process })
    }

    fn stop(self) -> Result<()> {
        self.process.interrupt().map(drop)
    }
}

/// What the RTP packets to a port hold after their header, as if it were plain PCMU; and the length of the longest.
fn as_if_plain(file: &Path, port: u16) -> Result<(usize, Vec<i16>)> {
    let filter = format!("udp.dstport == {port} and udp.length > 100");
    // Not as RTP: from the SDP, tshark knows that it is SRTP, and shows no payload.
    let datagrams = tshark::fields(file, &[], &filter, "udp.payload")?;
    let mut samples = Vec::new();
    let mut longest = 0;
    for datagram in &datagrams {
        let digits: Vec<u8> = datagram
            .chars()
            .filter_map(|digit| Some(digit.to_digit(16)? as u8))
            .collect();
        let bytes = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit));
        let payload: Vec<u8> = bytes.skip(HEADER_LEN).collect();
        longest = longest.max(payload.len());
        samples.extend(payload.iter().take(160).map(|byte| from_ulaw(*byte)));
    }
    Ok((longest, samples))
}

#[test]
fn baresip_hears_an_agent_and_the_wire_does_not() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    for (policy, encryption) in [("required", Encryption::Required), ("optional", Encryption::Optional)] {
        let net = Lab::new().unwrap();
        let config = config("carrier", &format!("srtp = \"{policy}\"\n{IN_CLEAR}"));
        let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("wire.pcap");
        let sniffer = Sniffer::start(&net.carrier, "eth0", &file).unwrap();
        let uri = format!("sip:{ECHO}@{GATEWAY_TO_CARRIER}");
        let sound = tone(1000, 20_000);
        let time = Duration::from_secs(5);
        let mut call = Baresip::call_secured(&net.carrier, CARRIER, &uri, &sound, time, encryption).unwrap();
        call.wait_established(PATIENCE).unwrap();
        let flows = gateway
            .wait_until(PATIENCE, Gateway::flows, |flows: &Flows| {
                flows.leg("a").is_ok_and(|flow| flow.received.packets > 50)
            })
            .unwrap();
        let flow = flows.leg("a").unwrap();
        assert_eq!((flow.lane.as_str(), flow.reason.as_deref()), ("worker", Some("agent")));
        assert!(
            flow.srtp.as_deref().is_some_and(|suite| suite.starts_with("AE")),
            "{flow:?}"
        );
        // baresip's first datagram is nothing but a hole through an address translator.
        let refused = flow.all_dropped() - flow.dropped("srtp_malformed");
        assert!(refused == 0 && flow.dropped("srtp_malformed") <= 2, "{flow:?}");
        let port = flow.local.port();
        let outcome = call.finish(PATIENCE).unwrap();
        sniffer.stop().unwrap();
        let heard = purity(&outcome.heard, 600);
        assert!(heard.share > 0.9 && heard.seconds > 2.0, "{heard:?}\n{}", outcome.log);

        let (longest, samples) = as_if_plain(&file, port).unwrap();
        assert!(longest > 160 && samples.len() > 50 * 160, "{longest} {}", samples.len());
        let seen = purity(&samples, 1000);
        assert!(seen.share < 0.1, "the tone is on the wire: {seen:?}");
        gateway.wait_until_idle(PATIENCE).unwrap();
        let log = gateway.log();
        assert!(!log.contains("inline:"), "{log}");
    }
}

#[test]
fn baresips_hear_each_other_where_only_one_has_srtp() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = config("far", &format!("srtp = \"required\"\n{IN_CLEAR}"));
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let far = Baresip::answer_secured(&net.far, FAR, RELAYED, &tone(600, 60_000), Encryption::Required).unwrap();
    let uri = format!("sip:{RELAYED}@{GATEWAY_TO_CARRIER}");
    let time = Duration::from_secs(6);
    let mut call = Baresip::call(&net.carrier, CARRIER, &uri, &tone(1000, 20_000), time).unwrap();
    call.wait_established(PATIENCE).unwrap();
    let flows = gateway
        .wait_until(PATIENCE, Gateway::flows, |flows: &Flows| {
            flows.flows.len() == 2 && flows.flows.iter().all(|flow| flow.received.packets > 50)
        })
        .unwrap();
    for flow in &flows.flows {
        assert_eq!(
            (flow.lane.as_str(), flow.reason.as_deref()),
            ("worker", Some("srtp")),
            "{flow:?}"
        );
        assert_eq!(flow.all_dropped(), flow.dropped("srtp_malformed"), "{flow:?}");
    }
    assert_eq!(flows.leg("a").unwrap().srtp, None);
    assert!(flows.leg("b").unwrap().srtp.is_some());
    let shown = gateway.flows_for_people().unwrap();
    assert!(shown.contains("a leg has SRTP"), "{shown}");
    let outcome = call.finish(PATIENCE).unwrap();
    let heard = purity(&outcome.heard, 600);
    assert!(heard.share > 0.9 && heard.seconds > 2.0, "{heard:?}\n{}", outcome.log);
    let outcome = far.stop(PATIENCE).unwrap();
    let heard = purity(&outcome.heard, 1000);
    assert!(heard.share > 0.9 && heard.seconds > 2.0, "{heard:?}\n{}", outcome.log);
    gateway.wait_until_idle(PATIENCE).unwrap();
}

#[test]
fn what_a_trunk_does_not_want_is_refused_and_told_why() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    // Without SRTP, and with it where signalling is not encrypted.
    for lines in ["srtp = \"off\"", "srtp = \"required\""] {
        let gateway = Gateway::start_with(&binary, &net.gateway, &config("carrier", lines)).unwrap();
        let caller = Sipp::caller(&net.carrier, Scenario::SrtpRefused, CARRIER, GATEWAY, ECHO).unwrap();
        caller.options(&["-m", "1"]).start().unwrap().succeed(PATIENCE).unwrap();
        let status = gateway.wait_until_idle(PATIENCE).unwrap();
        assert_eq!((status.calls.total, status.calls.answered), (1, 0), "{lines}");
    }
}

#[test]
fn a_reinvite_brings_another_key_when_the_first_is_used_up() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = config("carrier", &format!("srtp = \"required\"\n{IN_CLEAR}"));
    // Each leg is looked at every second.
    let config = below(&config, "[media]", "quality_period = \"2s\"");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let socket = socket(&net.carrier, CARRIER, RTP).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Rekeys, CARRIER, GATEWAY, ECHO).unwrap();
    let port = RTP.to_string();
    let options = ["-key", "rtp_port", &port, "-m", "1", "-d", "4000"];
    let caller = caller.options(&options).start().unwrap();
    let flows = gateway
        .wait_until(PATIENCE, Gateway::flows, |flows: &Flows| {
            flows.leg("a").is_ok_and(|flow| flow.sent_packets > 0)
        })
        .unwrap();
    let to = flows.leg("a").unwrap().local;
    let suite = "AES_CM_128_HMAC_SHA1_80";
    let first = RefCell::new(Session::new(suite, FIRST_KEY, Way::Outbound).unwrap());
    let second = RefCell::new(Session::new(suite, SECOND_KEY, Way::Outbound).unwrap());
    let sender = RefCell::new(Sender::new(7));
    let send = |session: &RefCell<Session>| -> Result<()> {
        let mut packet = sender.borrow_mut().next_packet();
        let length = packet.len();
        packet.resize(length + 160, 0);
        let length = session
            .borrow_mut()
            .protect(&mut packet, length)
            .ok()
            .context("libsrtp refuses")?;
        ensure!(socket.send_to(&packet[..length], to)? == length);
        Ok(())
    };
    let received = |flows: &Flows| flows.leg("a").map_or(0, |flow| flow.received.packets);
    let dropped = |flows: &Flows, reason: &str| flows.leg("a").map_or(0, |flow| flow.dropped(reason));
    let refused = |flows: &Flows| dropped(flows, "srtp_authentication");
    // The key of the INVITE; the other is nobody's until the re-INVITE comes.
    for _ in 0..5 {
        send(&first).unwrap();
    }
    send(&second).unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::flows, |flows: &Flows| {
            (received(flows), refused(flows)) == (5, 1)
        })
        .unwrap();
    // More packets than the far end has announced.
    for _ in 0..35 {
        send(&first).unwrap();
    }
    gateway
        .wait_until(PATIENCE, Gateway::flows, |flows: &Flows| {
            (received(flows), dropped(flows, "srtp_key_exhausted")) == (32, 8)
        })
        .unwrap();
    let told = |log: &String| log.contains("an SRTP master key is used up");
    gateway.wait_until(PATIENCE, |gateway| Ok(gateway.log()), told).unwrap();
    // Until the other is there.
    gateway
        .wait_until(PATIENCE, Gateway::flows, |flows: &Flows| {
            send(&second).is_ok() && received(flows) > 36
        })
        .unwrap();
    let before = refused(&gateway.flows().unwrap());
    // And the first is nobody's now.
    send(&first).unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::flows, |flows: &Flows| refused(flows) == before + 1)
        .unwrap();
    caller.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
}
