//! What the control plane learns of calls whose packets it never sees: keys, and round-trip times from RTCP.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use voxlane_tests::audio::tone;
use voxlane_tests::config::{NO_BOT, RELAYED, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::baresip::{Baresip, Rtcp};
use voxlane_tests::peers::scripted::{Scripted, arrived};
use voxlane_tests::peers::tshark;
use voxlane_tests::reports::Flows;
use voxlane_tests::requirements;
use voxlane_tests::rtp::Sender;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn keys_reach_the_control_plane_and_stay_where_they_were_in_the_sound() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let call = Scripted::call(&net, &gateway).unwrap();
    let mut sender = Sender::new(7);
    let mut sent = Vec::new();
    for key in [5, 9, 9] {
        sent.extend((0..5).map(|_| sender.next_packet()));
        sent.extend(sender.key(key));
    }
    sent.push(sender.next_packet());
    let mut came = Vec::new();
    let mut buffer = [0; 2048];
    for packet in &sent {
        call.caller.send_to(packet, call.to_gateway).unwrap();
        let length = call.far.recv(&mut buffer).unwrap();
        came.push(buffer[..length].to_vec());
    }
    assert_eq!(came, sent);
    assert!(arrived(&call.far).unwrap().is_empty());

    let calls = gateway
        .wait_until(PATIENCE, Gateway::calls, |calls| {
            calls.to(RELAYED).is_some_and(|call| call.digits.len() >= 3)
        })
        .unwrap();
    let shown = calls.to(RELAYED).unwrap();
    assert_eq!(shown.digits, "599");
    let legs: Vec<&str> = shown.legs.iter().map(|leg| leg.digits.as_str()).collect();
    assert_eq!(legs, ["599", ""], "{shown:?}");
    let flows = gateway.flows().unwrap();
    let flow = flows.leg("a").unwrap();
    assert_eq!((flow.lane.as_str(), flow.userspace_packets), ("kernel", 0), "{flow:?}");
    assert_eq!((flow.digits, flow.received.packets), (3, sent.len() as u64), "{flow:?}");
}

/// Two baresips in a call, until the round-trip time to both is known; then where RTCP went.
fn round_trips(binary: &Path, rtcp: Rtcp, config: &str) -> Result<()> {
    let net = Lab::new()?;
    let gateway = Gateway::start_with(binary, &net.gateway, config)?;
    let sound = tone(1000, 60_000);
    let _far = Baresip::answer(&net.far, FAR, RELAYED, &sound, rtcp)?;
    let uri = format!("sip:{RELAYED}@{GATEWAY_TO_CARRIER}");
    let minute = Duration::from_secs(60);
    let mut call = Baresip::call_with(&net.carrier, CARRIER, &uri, &sound, minute, rtcp)?;
    call.wait_established(PATIENCE)?;
    let relayed = |flows: &Flows| flows.flows.len() == 2 && flows.flows.iter().all(|flow| flow.received.packets > 0);
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, relayed)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("call.pcap");
    let id = flows.leg("a")?.call.clone().context("a flow without a call")?;
    let capture = gateway.capture(&id, &file)?;
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, |flows| {
        flows.flows.len() == 2 && flows.flows.iter().all(|flow| flow.rtt_ms.is_some())
    })?;
    capture.stop()?;

    let mut expected = Vec::new();
    for flow in &flows.flows {
        assert_eq!((flow.lane.as_str(), flow.userspace_packets), ("kernel", 0), "{flow:?}");
        assert!(flow.rtt_ms.is_some_and(|rtt| (0.0..1000.0).contains(&rtt)), "{flow:?}");
        // How it sounds is known although no packet of it was seen.
        assert!(flow.quality.mos.is_some_and(|mos| mos > 3.5), "{flow:?}");
        assert!(flow.quality.far_mos.is_some_and(|mos| mos > 3.5), "{flow:?}");
        assert_eq!(flow.all_dropped(), 0, "{flow:?}");
        expected.push(match rtcp {
            Rtcp::OwnPort => flow.local.port() + 1,
            Rtcp::Multiplexed => flow.local.port(),
        });
    }
    let ports: Vec<u16> = flows.flows.iter().map(|flow| flow.local.port()).collect();
    let reported_at = tshark::fields(&file, &ports, "rtcp", "udp.dstport")?;
    let mut reported_at: Vec<u16> = reported_at.iter().map(|port| port.parse()).collect::<Result<_, _>>()?;
    reported_at.sort_unstable();
    reported_at.dedup();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(reported_at, expected);
    Ok(())
}

#[test]
fn round_trip_times_come_from_reports_that_pass_through() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    round_trips(&binary, Rtcp::OwnPort, &lab(Xdp::Auto, NO_BOT)).unwrap();
}

#[test]
fn reports_may_share_the_port_of_the_sound() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let config = below(&lab(Xdp::Auto, NO_BOT), "name = \"far\"", "rtcp_mux = \"offer\"");
    round_trips(&binary, Rtcp::Multiplexed, &config).unwrap();
}
