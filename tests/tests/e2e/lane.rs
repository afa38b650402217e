//! Relayed calls that an operator moves from lane to lane while they talk.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::audio::{breaks, from_ulaw, purity, tone};
use voxlane_tests::config::{NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::scripted::{RTP, arrived, socket};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::reports::Flows;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(60);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

/// How long the caller's tone is, ms, and how many packets.
const TONE: u32 = 24_000;
const PACKETS: u64 = TONE as u64 / 20;

const MOVES: usize = 100;

/// Packets that have arrived from the caller.
fn of_caller(flows: &Flows) -> u64 {
    let of_caller = |flow: &&voxlane_tests::reports::Flow| flow.leg.as_deref() == Some("a");
    flows
        .flows
        .iter()
        .find(of_caller)
        .map_or(0, |flow| flow.received.packets)
}

#[test]
fn a_call_that_is_moved_a_hundred_times_sounds_as_if_it_had_not_been() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    // Records every packet as it comes, without a jitter buffer that would make good what is wrong with it.
    let heard = socket(&net.far, FAR, RTP).unwrap();
    let answerer = Sipp::answerer_as(&net.far, Scenario::AnswersOnly, FAR).unwrap();
    let _answerer = answerer
        .options(&["-key", "rtp_port", &RTP.to_string()])
        .listen()
        .unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Play, CARRIER, GATEWAY, RELAYED).unwrap();
    assert_eq!(u64::from(caller.sound(&tone(440, TONE)).unwrap()), PACKETS);
    let duration = (TONE + 3000).to_string();
    let caller = caller.options(&["-m", "1", "-d", &duration]).start().unwrap();

    let speaks = |flows: &Flows| of_caller(flows) > 5;
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, speaks).unwrap();
    let call = flows.flows[0].call.clone().unwrap();
    let (mut before, mut moved, mut packets) = (0, 0, Vec::new());
    for number in 0..MOVES {
        let (lane, reason) = if number % 2 == 0 {
            ("worker", Some("requested"))
        } else {
            ("kernel", None)
        };
        gateway.lane(&call, lane).unwrap();
        let flows = gateway.flows().unwrap();
        assert_eq!(flows.flows.len(), 2, "{flows:?}");
        for flow in &flows.flows {
            assert_eq!((flow.lane.as_str(), flow.reason.as_deref()), (lane, reason), "{flow:?}");
        }
        let now = of_caller(&flows);
        moved += usize::from(now < PACKETS);
        assert!(now >= before);
        before = now;
        packets.extend(arrived(&heard).unwrap());
    }
    assert_eq!(moved, MOVES, "the tone was over before the last of them");

    let all = |flows: &Flows| {
        packets.extend(arrived(&heard).unwrap());
        of_caller(flows) >= PACKETS
    };
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, all).unwrap();
    assert!(flows.flows.iter().all(|flow| flow.received.lost == 0), "{flows:?}");
    caller.succeed(PATIENCE).unwrap();
    packets.extend(arrived(&heard).unwrap());
    assert_eq!(packets.len() as u64, PACKETS, "every packet, each once");
    let header = |packet: &[u8]| {
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        (word(0) & 0xffff, word(4), word(8))
    };
    for (number, pair) in packets.windows(2).enumerate() {
        let ((sequence, timestamp, ssrc), next) = (header(&pair[0]), header(&pair[1]));
        let expected = ((sequence + 1) & 0xffff, timestamp.wrapping_add(160), ssrc);
        assert_eq!(next, expected, "behind packet {number}");
    }
    let samples: Vec<i16> = packets
        .iter()
        .flat_map(|packet| &packet[12..])
        .map(|code| from_ulaw(*code))
        .collect();
    let sound = purity(&samples, 440);
    assert!(sound.share > 0.99, "{sound:?}");
    assert!(sound.seconds > f64::from(TONE) / 1000.0 - 0.2, "{sound:?}");
    assert_eq!(breaks(&samples, 440), 0);
    gateway.wait_until_idle(PATIENCE).unwrap();
}
