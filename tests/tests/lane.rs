//! Relayed calls that an operator moves from lane to lane while they talk.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::audio::{breaks, purity, read_wav, tone};
use voxlane_tests::config::{NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::phone::Phone;
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
    let directory = tempfile::tempdir().unwrap();
    let heard = directory.path().join("heard.wav");
    let options = ["--record", heard.to_str().unwrap(), "--duration", "60s"];
    let far = Phone::answer(&binary, &net.far, SocketAddr::new(FAR, 5060), &options).unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Play, CARRIER, GATEWAY, RELAYED).unwrap();
    assert_eq!(u64::from(caller.sound(&tone(440, TONE)).unwrap()), PACKETS);
    let duration = (TONE + 3000).to_string();
    let caller = caller.options(&["-m", "1", "-d", &duration]).start().unwrap();

    let speaks = |flows: &Flows| of_caller(flows) > 5;
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, speaks).unwrap();
    let call = flows.flows[0].call.clone().unwrap();
    let (mut before, mut moved) = (0, 0);
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
        let packets = of_caller(&flows);
        moved += usize::from(packets < PACKETS);
        assert!(packets >= before);
        before = packets;
    }
    assert_eq!(moved, MOVES, "the tone was over before the last of them");

    let all = |flows: &Flows| of_caller(flows) >= PACKETS;
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, all).unwrap();
    assert!(flows.flows.iter().all(|flow| flow.received.lost == 0), "{flows:?}");
    caller.succeed(PATIENCE).unwrap();
    let report = far.report(PATIENCE).unwrap();
    let received = report.received.unwrap();
    assert_eq!(
        (received.packets, received.lost),
        (PACKETS, 0),
        "every packet, each once"
    );
    let samples = read_wav(&heard).unwrap();
    let sound = purity(&samples, 440);
    assert!(sound.share > 0.99, "{sound:?}");
    assert!(sound.seconds > f64::from(TONE) / 1000.0 - 0.2, "{sound:?}");
    assert_eq!(breaks(&samples, 440), 0);
    gateway.wait_until_idle(PATIENCE).unwrap();
}
