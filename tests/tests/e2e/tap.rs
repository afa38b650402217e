//! Calls in the kernel lane that are listened to, and do not notice.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use voxlane_tests::config::{NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::Lab;
use voxlane_tests::peers::agent::{Agent, Misbehaviour};
use voxlane_tests::peers::scripted::{Scripted, arrived};
use voxlane_tests::requirements;
use voxlane_tests::rtp::sequence;

const PATIENCE: Duration = Duration::from_secs(30);

/// Packets that each side says at a time.
const PACKETS: u16 = 100;

/// A packet of PCMU all of whose bytes are of its number.
fn packet(number: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.resize(12 + 160, number as u8);
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
        .filter_map(|event| {
            let chunk: u64 = event["chunk"].as_str()?.parse().ok()?;
            Some((chunk, event["byte"].as_u64()?))
        })
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
    let last = |event: &Value| event["track"] == "outbound" && event["byte"] == u64::from(PACKETS);
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
        let whole: Vec<u64> = bytes
            .into_iter()
            .filter(|byte| (1..=PACKETS.into()).contains(byte))
            .collect();
        assert!(whole.is_sorted(), "{track}: {whole:?}");
        let mut distinct = whole;
        distinct.dedup();
        assert!(distinct.len() >= usize::from(PACKETS) - 10, "{track}: {distinct:?}");
    }

    // One that reads nothing, and none at all.
    gateway.tap(&call.id, &["--url", &deaf.url()]).unwrap();
    talk(&call, 1 + PACKETS).unwrap();
    let ended = gateway.tap(&call.id, &["--stop"]).unwrap();
    assert_eq!(ended["ended"], 2);
    listener
        .wait_for("the end of the stream", PATIENCE, |event| event["event"] == "stop")
        .unwrap();
    talk(&call, 1 + 2 * PACKETS).unwrap();
    for flow in gateway.flows().unwrap().flows {
        assert_eq!((flow.lane.as_str(), flow.userspace_packets), ("kernel", 0), "{flow:?}");
    }
}
