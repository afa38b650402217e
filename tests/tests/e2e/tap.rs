//! Calls that are listened to, in either lane, and do not notice.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use voxlane_tests::audio::{purity, tone};
use voxlane_tests::certificates::Authority;
use voxlane_tests::config::{BOT, NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::order::longest_in_order;
use voxlane_tests::peers::agent::{Agent, Misbehaviour};
use voxlane_tests::peers::baresip::{Baresip, Encryption};
use voxlane_tests::peers::scripted::{Scripted, arrived};
use voxlane_tests::requirements;
use voxlane_tests::rtp::sequence;

const PATIENCE: Duration = Duration::from_secs(30);

/// Packets that each side says at a time.
const PACKETS: u16 = 100;

/// So many of them say the same: a jitter buffer that has cut something plays from the middle of one packet to the middle of the next.
const SAME: u16 = 4;

/// A packet of PCMU all of whose bytes are the same, and say which it is.
fn packet(number: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.resize(12 + 160, number.div_ceil(SAME) as u8);
    packet
}

/// Both sides speak, packets `first` and on; what arrives at either is in order and whole.
fn talk(call: &Scripted, first: u16) -> Result<()> {
    for number in first..first + PACKETS {
        call.caller.send_to(&packet(number, 1), call.to_gateway)?;
        call.far.send_to(&packet(number, 2), call.back_to_gateway)?;
        // As a telephone does.
        thread::sleep(Duration::from_millis(20));
    }
    let numbers = |socket: &UdpSocket| -> Result<Vec<u16>> {
        let packets = arrived(socket)?;
        Ok(packets.iter().filter_map(|packet| sequence(packet)).collect())
    };
    let expected: Vec<u16> = (first..first + PACKETS).collect();
    for socket in [&call.caller, &call.far] {
        anyhow::ensure!(numbers(socket)? == expected, "not whole, or not in order");
    }
    Ok(())
}

/// What was heard of a track: chunks, and the packets that the audio was of.
fn heard(events: &[Value], track: &str) -> (Vec<u64>, Vec<u64>) {
    let of_track = events.iter().filter(|event| event["track"] == track);
    of_track
        .filter_map(|event| Some((event["chunk"].as_u64()?, event["byte"].as_u64()?)))
        .unzip()
}

#[test]
fn a_call_in_the_kernel_lane_is_listened_to_and_does_not_notice() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut listener = Agent::listener(&net.gateway).unwrap();
    let deaf = Agent::bad(&net.gateway, Misbehaviour::Frozen).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let call = Scripted::call(&net, &gateway).unwrap();

    let begun = gateway
        .tap(&call.id, &["--url", &listener.url(), "--parameter", "who=me"])
        .unwrap();
    listener
        .wait_for("the start of the stream", PATIENCE, |event| event["event"] == "start")
        .unwrap();
    talk(&call, 1).unwrap();
    let last = |event: &Value| event["track"] == "outbound" && event["byte"] == u64::from(PACKETS / SAME);
    listener.wait_for("the last packet", PATIENCE, last).unwrap();

    let events = listener.events();
    let start = events.iter().find(|event| event["event"] == "start").unwrap();
    assert_eq!(start["streamSid"], begun["stream"]);
    assert_eq!(start["start"]["tracks"], serde_json::json!(["inbound", "outbound"]));
    assert_eq!(start["start"]["customParameters"]["who"], "me");
    for track in ["inbound", "outbound"] {
        let (chunks, bytes) = heard(&events, track);
        assert!(
            chunks.iter().copied().eq(1..=chunks.len() as u64),
            "{track}: {chunks:?}"
        );
        let mut said: Vec<u64> = bytes
            .into_iter()
            .filter(|byte| (1..=u64::from(PACKETS / SAME)).contains(byte))
            .collect();
        said.dedup();
        // What a jitter buffer has made up is a packet more quiet than the one before, and so of another number.
        let ordered = longest_in_order(&said);
        assert!(
            ordered >= usize::from(PACKETS / SAME / 2),
            "{track}: {ordered} of {said:?}"
        );
    }

    // One that reads nothing, and none at all.
    gateway.tap(&call.id, &["--url", &deaf.url()]).unwrap();
    talk(&call, 1 + PACKETS).unwrap();
    let ended = gateway.tap(&call.id, &["--stop"]).unwrap();
    // The deaf one may have been given up by then.
    assert!((1..=2).contains(&ended["ended"].as_u64().unwrap()), "{ended}");
    listener
        .wait_for("the end of the stream", PATIENCE, |event| event["event"] == "stop")
        .unwrap();
    talk(&call, 1 + 2 * PACKETS).unwrap();
    for flow in gateway.flows().unwrap().flows {
        assert_eq!((flow.lane.as_str(), flow.userspace_packets), ("kernel", 0), "{flow:?}");
    }
}

#[test]
fn what_a_caller_and_an_agent_say_is_heard_in_clear_and_sent_over_tls() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let authority = Authority::new().unwrap();
    let certificate = authority.vouch("listener", "IP:127.0.0.1").unwrap();
    let mut listener = Agent::secure_listener(&net.gateway, &certificate.both).unwrap();
    let agent = Agent::tone(&net.gateway, 600, 20).unwrap();
    let secured = "srtp = \"required\"\nsrtp_keys_in_clear = \"allow\"";
    let config = below(&lab(Xdp::Auto, &agent.url()), "name = \"carrier\"", secured);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let uri = format!("sip:{BOT}@{GATEWAY_TO_CARRIER}");
    let (sound, time) = (tone(1000, 20_000), Duration::from_secs(7));
    let mut call = Baresip::call_secured(&net.carrier, CARRIER, &uri, &sound, time, Encryption::Required).unwrap();
    call.wait_established(PATIENCE).unwrap();
    let id = gateway.calls().unwrap().to(BOT).unwrap().id.clone();

    // The system does not know who vouches for the listener.
    let url = listener.secure_url();
    gateway.tap(&id, &["--url", &url]).unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| status.taps.failed == 1)
        .unwrap();
    let root = authority.root().display().to_string();
    gateway.tap(&id, &["--url", &url, "--ca", &root]).unwrap();
    listener
        .wait_for("the start", PATIENCE, |event| event["event"] == "start")
        .unwrap();
    let taps = gateway.status().unwrap().taps;
    assert_eq!((taps.active, taps.failed), (1, 1));
    // It hears the agent, and so does the caller.
    let outcome = call.finish(PATIENCE).unwrap();
    listener
        .wait_for("the end", PATIENCE, |event| event["event"] == "stop")
        .unwrap();
    let at_caller = purity(&outcome.heard, 600);
    assert!(
        at_caller.share > 0.9 && at_caller.seconds > 2.0,
        "{at_caller:?}\n{}",
        outcome.log
    );
    for (track, hertz) in [("inbound", 1000), ("outbound", 600)] {
        let sound = purity(&listener.heard_of(track), hertz);
        assert!(sound.share > 0.9 && sound.seconds > 2.0, "{track}: {sound:?}");
    }
    gateway.wait_until_idle(PATIENCE).unwrap();
    let log = gateway.log();
    assert!(
        log.contains("the call cannot be listened to") && log.contains(&id),
        "{log}"
    );
}
