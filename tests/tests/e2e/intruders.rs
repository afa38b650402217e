//! Somebody else in the carrier's network, who knows or guesses the gateway's RTP ports: media can neither be injected nor
//! lured away. Nor does the gateway send more to the forged source of an INVITE than the forger spent.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use voxlane_tests::config::{NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{GATEWAY_TO_CARRIER, Lab, NEIGHBOUR};
use voxlane_tests::peers::scripted::{RTP, Scripted, arrived, socket};
use voxlane_tests::reports::Flow;
use voxlane_tests::requirements;
use voxlane_tests::rtp::Sender;

const PATIENCE: Duration = Duration::from_secs(30);

/// Few enough for a scan to be quick.
const PORTS: std::ops::RangeInclusive<u16> = 10_000..=10_199;

/// SSRCs of the caller, the far side and the intruder.
const CALLER: u32 = 1;
const FAR_SIDE: u32 = 2;
const INTRUDER: u32 = 0xbad;

const LATCHES: [&str; 2] = ["strict", "nat"];

/// A lab with an intruder beside the carrier, and a gateway that takes RTP from whom `latch` says.
fn lab_with_intruder(binary: &Path, latch: &str) -> Result<(Lab, Gateway, UdpSocket)> {
    let net = Lab::new()?;
    net.neighbour_of_carrier()?;
    let intruder = socket(&net.carrier, NEIGHBOUR, RTP)?;
    // All is sent as fast as it goes.
    let media = "ports = \"10000-10199\"\npolice = \"off\"";
    let config = below(&lab(Xdp::Auto, NO_BOT), "[media]", media);
    let config = below(&config, "name = \"carrier\"", &format!("latch = \"{latch}\""));
    let gateway = Gateway::start_with(binary, &net.gateway, &config)?;
    Ok((net, gateway, intruder))
}

/// Sends RTP to every port of the range.
fn spray(intruder: &UdpSocket, stream: &mut Sender) -> Result<()> {
    let packet = stream.next_packet();
    for port in PORTS {
        intruder.send_to(&packet, SocketAddr::new(GATEWAY_TO_CARRIER, port))?;
    }
    Ok(())
}

/// A talk of both ends, `packets` each, all of which arrive, and nothing else does.
fn talk(call: &Scripted, sender: &mut Sender, back: &mut Sender, packets: u64) -> Result<()> {
    let mut buffer = [0; 2048];
    for _ in 0..packets {
        let packet = sender.next_packet();
        call.caller.send_to(&packet, call.to_gateway)?;
        let length = call.far.recv(&mut buffer)?;
        assert_eq!(buffer[..length], packet);
        let packet = back.next_packet();
        call.far.send_to(&packet, call.back_to_gateway)?;
        let length = call.caller.recv(&mut buffer)?;
        assert_eq!(buffer[..length], packet);
    }
    assert!(arrived(&call.far)?.is_empty() && arrived(&call.caller)?.is_empty());
    Ok(())
}

/// Waits until this many packets to the leg's RTP port were refused for their source, in the kernel lane.
fn refused(gateway: &Gateway, packets: u64) -> Result<()> {
    let strangers = |flow: &Flow| flow.dropped("wrong_source") + flow.dropped("probation");
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, |flows| {
        flows.leg("a").is_ok_and(|flow| strangers(flow) == packets)
    })?;
    let flow = flows.leg("a")?;
    // What is sprayed at the RTCP port is no RTCP.
    let all = packets + flow.dropped("not_rtcp");
    assert_eq!((flow.lane.as_str(), flow.all_dropped()), ("kernel", all), "{flow:?}");
    Ok(())
}

#[test]
fn nothing_is_injected_into_a_call() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    for latch in LATCHES {
        let (net, gateway, intruder) = lab_with_intruder(&binary, latch).unwrap();
        let call = Scripted::call(&net, &gateway).unwrap();
        let (mut caller, mut far) = (Sender::new(CALLER), Sender::new(FAR_SIDE));
        talk(&call, &mut caller, &mut far, 20).unwrap();

        // First as a stranger, in sequence; then with the caller's own SSRC and next sequence numbers.
        let mut stranger = Sender::new(INTRUDER);
        let mut impostor = caller.clone();
        for _ in 0..50 {
            intruder.send_to(&stranger.next_packet(), call.to_gateway).unwrap();
            intruder.send_to(&impostor.next_packet(), call.to_gateway).unwrap();
        }
        refused(&gateway, 100).unwrap();
        talk(&call, &mut caller, &mut far, 20).unwrap();
        assert!(arrived(&intruder).unwrap().is_empty(), "latch = {latch}");
        let flows = gateway.flows().unwrap();
        let flow = flows.leg("b").unwrap();
        assert_eq!((flow.sent_packets, flow.all_dropped()), (40, 0), "{flow:?}");
    }
}

#[test]
fn no_media_is_lured_away() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    for latch in LATCHES {
        let (net, gateway, intruder) = lab_with_intruder(&binary, latch).unwrap();
        let call = Scripted::call(&net, &gateway).unwrap();
        let (mut caller, mut far) = (Sender::new(CALLER), Sender::new(FAR_SIDE));
        let mut stream = Sender::new(INTRUDER);

        // The far side speaks first: the caller hears it, though it has sent nothing yet, and the intruder does not,
        // who was there before.
        spray(&intruder, &mut stream).unwrap();
        refused(&gateway, 1).unwrap();
        far_side_is_heard(&call, &mut far, 20).unwrap();

        // Not even whoever goes on, in sequence, can have a call whose caller has spoken.
        talk(&call, &mut caller, &mut far, 20).unwrap();
        for _ in 0..3 {
            spray(&intruder, &mut stream).unwrap();
            talk(&call, &mut caller, &mut far, 20).unwrap();
        }
        refused(&gateway, 4).unwrap();
        assert!(arrived(&intruder).unwrap().is_empty(), "latch = {latch}");
    }
}

#[test]
fn where_sources_are_strict_a_silent_caller_loses_nothing_either() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let (net, gateway, intruder) = lab_with_intruder(&binary, "strict").unwrap();
    let call = Scripted::call(&net, &gateway).unwrap();
    let (mut far, mut stream) = (Sender::new(FAR_SIDE), Sender::new(INTRUDER));
    for sprays in 1..=5 {
        spray(&intruder, &mut stream).unwrap();
        refused(&gateway, sprays).unwrap();
        far_side_is_heard(&call, &mut far, 20).unwrap();
    }
    assert!(arrived(&intruder).unwrap().is_empty());
}

#[test]
fn a_caller_takes_back_the_call_that_was_lured_away_before_it_spoke() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let (net, gateway, intruder) = lab_with_intruder(&binary, "nat").unwrap();
    let call = Scripted::call(&net, &gateway).unwrap();
    let (mut caller, mut far, mut stream) = (Sender::new(CALLER), Sender::new(FAR_SIDE), Sender::new(INTRUDER));
    // Two packets in sequence are what a caller behind an address translator shows.
    spray(&intruder, &mut stream).unwrap();
    spray(&intruder, &mut stream).unwrap();
    assert_eq!(
        call.far.recv(&mut [0; 2048]).unwrap(),
        caller.clone().next_packet().len()
    );

    talk(&call, &mut caller, &mut far, 20).unwrap();
    for _ in 0..3 {
        spray(&intruder, &mut stream).unwrap();
        talk(&call, &mut caller, &mut far, 20).unwrap();
    }
    // The one on probation, and those that came too late.
    refused(&gateway, 1 + 3).unwrap();
    assert!(arrived(&intruder).unwrap().is_empty());
}

/// The far side says something, and the caller hears all of it.
fn far_side_is_heard(call: &Scripted, far: &mut Sender, packets: u64) -> Result<()> {
    let mut buffer = [0; 2048];
    for _ in 0..packets {
        let packet = far.next_packet();
        call.far.send_to(&packet, call.back_to_gateway)?;
        let length = call.caller.recv(&mut buffer)?;
        assert_eq!(buffer[..length], packet);
    }
    Ok(())
}

/// Sends RTP to every port of the range, each from a socket that would be told if the port were closed.
fn scan(net: &Lab) -> Result<Vec<UdpSocket>> {
    let packet = Sender::new(INTRUDER).next_packet();
    let probe = |port| -> Result<UdpSocket> {
        let socket = socket(&net.carrier, NEIGHBOUR, 0)?;
        socket.connect((GATEWAY_TO_CARRIER, port))?;
        socket.send(&packet)?;
        Ok(socket)
    };
    PORTS.map(probe).collect()
}

/// How many sockets have been told since they were last asked.
fn refusals(probes: &[UdpSocket]) -> Result<usize> {
    let mut refused = 0;
    for probe in probes {
        refused += usize::from(probe.take_error()?.is_some());
    }
    Ok(refused)
}

/// Packets to ports that are nobody's, so far.
fn unallocated(gateway: &Gateway) -> Result<u64> {
    let kernel = gateway.status()?.plane.kernel.context("no kernel lane")?;
    Ok(kernel.count("unallocated"))
}

#[test]
fn where_the_gateway_was_told_its_addresses_a_scan_before_the_first_call_learns_nothing_either() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    net.neighbour_of_carrier().unwrap();
    let media = "ports = \"10000-10199\"\naddresses = [\"10.200.1.1\", \"10.200.2.1\"]";
    let config = below(&lab(Xdp::Auto, NO_BOT), "[media]", media);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let probes = scan(&net).unwrap();
    let all = PORTS.count() as u64;
    gateway
        .wait_until(PATIENCE, unallocated, |count| *count == all)
        .unwrap();
    assert_eq!(refusals(&probes).unwrap(), 0);
}

#[test]
fn a_port_scan_learns_nothing_and_is_counted() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let (net, gateway, _) = lab_with_intruder(&binary, "nat").unwrap();
    let call = Scripted::call(&net, &gateway).unwrap();
    let probes = scan(&net).unwrap();
    // All but the call's own pair.
    let nobodys = PORTS.count() as u64 - 2;
    gateway
        .wait_until(PATIENCE, unallocated, |count| *count == nobodys)
        .unwrap();
    assert_eq!(refusals(&probes).unwrap(), 0);
    for probe in &probes {
        assert!(arrived(probe).unwrap().is_empty(), "{probe:?}");
    }
    talk(&call, &mut Sender::new(CALLER), &mut Sender::new(FAR_SIDE), 20).unwrap();
}

#[test]
fn where_other_programs_use_the_range_the_network_stack_answers() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    net.neighbour_of_carrier().unwrap();
    let media = "ports = \"10000-10199\"\nunallocated = \"pass\"";
    let config = below(&lab(Xdp::Auto, NO_BOT), "[media]", media);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let _call = Scripted::call(&net, &gateway).unwrap();
    let probes = scan(&net).unwrap();
    // Not each of them: the kernel sends only so many ICMP messages a second.
    gateway
        .wait_until(PATIENCE, |_| refusals(&probes), |refused| *refused > 0)
        .unwrap();
    let kernel = gateway.status().unwrap().plane.kernel.unwrap();
    assert_eq!(kernel.count("unallocated"), 0);
    assert!(kernel.count("pass_no_flow") > 0, "{kernel:?}");
}

#[test]
fn an_invite_from_whom_no_trunk_allows_gets_one_answer_and_leaves_nothing() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    net.neighbour_of_carrier().unwrap();
    let config = lab(Xdp::Off, NO_BOT).replace("10.200.1.0/24", "10.200.1.2/32");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let stranger = socket(&net.carrier, NEIGHBOUR, 5060).unwrap();
    stranger.connect((GATEWAY_TO_CARRIER, 5060)).unwrap();
    for branch in 1..=3_u64 {
        let invite = request("INVITE", branch);
        stranger.send(invite.as_bytes()).unwrap();
        let refusal = answer(&stranger).unwrap();
        assert!(refusal.starts_with("SIP/2.0 403 "), "{refusal}");
        assert!(refusal.len() <= invite.len(), "{refusal}");
        // Nothing waits for the ACK, which does not come.
        let sip = gateway.status().unwrap().sip;
        let kept = (sip.transactions, sip.dialogs, sip.retransmissions_sent);
        assert_eq!((kept, sip.strangers), ((0, 0, 0), branch));
    }
    // What is sent leaves in order: this is the next thing that arrives.
    let options = request("OPTIONS", 4);
    stranger.send(options.as_bytes()).unwrap();
    let told = answer(&stranger).unwrap();
    assert!(
        told.contains("CSeq: 4 OPTIONS") && told.len() <= options.len(),
        "{told}"
    );
    assert!(arrived(&stranger).unwrap().is_empty());
    let calls = gateway.status().unwrap().calls;
    assert_eq!((calls.total, calls.failed), (3, 3));
}

/// A request as somebody writes it who has no trunk.
fn request(method: &str, cseq: u64) -> String {
    format!(
        "{method} sip:+15550001@{GATEWAY_TO_CARRIER} SIP/2.0\r\nVia: SIP/2.0/UDP {NEIGHBOUR}:5060;branch=z9hG4bK{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@{NEIGHBOUR}>;tag=1\r\nTo: <sip:+15550001@{GATEWAY_TO_CARRIER}>\r\n\
         Call-ID: {cseq}@{NEIGHBOUR}\r\nCSeq: {cseq} {method}\r\nContact: <sip:x@{NEIGHBOUR}:5060>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn answer(socket: &UdpSocket) -> Result<String> {
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
