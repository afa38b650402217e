//! What the gateway says of a stream in the kernel lane is what Wireshark says of a capture of it.

use std::thread;
use std::time::{Duration, Instant};

use voxlane_tests::config::{NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::Lab;
use voxlane_tests::peers::scripted::{Scripted, arrived};
use voxlane_tests::peers::tshark;
use voxlane_tests::requirements;
use voxlane_tests::rtp::Sender;

const PATIENCE: Duration = Duration::from_secs(30);

/// Packets of the sender; not all of them are sent.
const PACKETS: u32 = 750;

const PTIME: Duration = Duration::from_millis(20);

/// Bytes of a frame: Ethernet, IPv4, UDP, RTP, 160 samples.
const FRAME: u64 = 14 + 20 + 8 + 12 + 160;

/// Reproducible numbers below `limit` (an xorshift generator).
fn random(state: &mut u64, limit: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % limit
}

/// A stream as a bad network delivers it: packets and when they are to arrive. One in 30 is missing, one in 20 comes after
/// its successor, and none comes at its time.
fn bad_network() -> Vec<(Duration, Vec<u8>)> {
    let mut sender = Sender::new(0x1234_5678);
    let mut state = 0x5eed;
    let mut arrivals = Vec::new();
    for place in 0..PACKETS {
        let packet = sender.next_packet();
        let late = Duration::from_micros(match random(&mut state, 20) {
            0 => 25_000 + random(&mut state, 10_000),
            _ => random(&mut state, 12_000),
        });
        // The last is there, so that nothing is missing after it.
        if place == PACKETS - 1 || random(&mut state, 30) > 0 {
            arrivals.push((PTIME * place + late, packet));
        }
    }
    arrivals.sort_by_key(|(at, _)| *at);
    arrivals
}

/// Within 1 %.
fn assert_near(what: &str, ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= theirs / 100.0, "{what}: {ours} and {theirs}");
}

/// Packets that came after one with a higher sequence number.
fn reordered(sequences: &[u16]) -> u64 {
    let mut highest = 0;
    let late = sequences.iter().filter(|sequence| {
        let late = **sequence < highest;
        highest = highest.max(**sequence);
        late
    });
    late.count() as u64
}

#[test]
fn jitter_loss_and_reordering_are_those_of_tshark() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let call = Scripted::call(&net, &gateway).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("call.pcap");
    let capture = gateway.capture(&call.id, &file).unwrap();

    let arrivals = bad_network();
    let sent = arrivals.len() as u64;
    let mut came = Vec::new();
    let start = Instant::now();
    for (at, packet) in &arrivals {
        thread::sleep((start + *at).saturating_duration_since(Instant::now()));
        call.caller.send_to(packet, call.to_gateway).unwrap();
        came.extend(arrived(&call.far).unwrap());
    }
    capture.finish(sent, FRAME, PATIENCE).unwrap();

    let flows = gateway.flows().unwrap();
    let flow = flows.leg("a").unwrap();
    assert_eq!((flow.lane.as_str(), flow.userspace_packets), ("kernel", 0), "{flow:?}");
    let ours = &flow.received;
    let port = call.to_gateway.port();
    let streams = tshark::streams(&file, &[port]).unwrap();
    let [theirs] = streams.as_slice() else {
        panic!("one stream was sent, and tshark finds {streams:?}");
    };
    assert_eq!((ours.packets, ours.lost), (theirs.packets, theirs.lost));
    assert_eq!((ours.packets, theirs.port), (sent, port));
    assert_near("mean jitter", ours.mean_jitter_ms, theirs.mean_jitter_ms);
    assert_near("greatest jitter", ours.max_jitter_ms, theirs.max_jitter_ms);
    let sequences = tshark::fields(&file, &[port], "rtp", "rtp.seq").unwrap();
    let sequences: Vec<u16> = sequences.iter().map(|sequence| sequence.parse().unwrap()).collect();
    assert_eq!(ours.reordered, reordered(&sequences));
    // The network was as bad as it was meant to be.
    assert!(
        ours.lost > 10 && ours.reordered > 10 && ours.mean_jitter_ms > 2.0,
        "{ours:?}"
    );

    // And whatever it was, it has come through, in its order.
    let mut buffer = [0; 2048];
    while came.len() < arrivals.len() {
        let length = call.far.recv(&mut buffer).unwrap();
        came.push(buffer[..length].to_vec());
    }
    let sent = arrivals.iter().map(|(_, packet)| packet);
    assert!(came.iter().eq(sent), "what came is not what was sent");
}
