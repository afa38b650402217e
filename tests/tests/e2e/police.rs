//! A flow is held to the rate that was agreed for it, and nobody else notices.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voxlane_tests::audio::tone;
use voxlane_tests::config::{NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::scripted::{Scripted, arrived};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::reports::{Flow, Flows};
use voxlane_tests::requirements;
use voxlane_tests::rtp::Sender;

const PATIENCE: Duration = Duration::from_secs(30);

/// Packets of the flood: a minute of sound.
const FLOOD: u64 = 3000;

/// Packets of the other call: a four-second tone.
const TONE: u64 = 200;

/// Twice the rate of 20 ms packets may go on, and a second's packets may come at once.
fn most(during: Duration) -> u64 {
    during.as_secs() * 100 + u64::from(during.subsec_millis()) / 10 + 60
}

/// The carrier's leg of the call that is not this one.
fn other<'a>(flows: &'a Flows, than: &Scripted) -> Option<&'a Flow> {
    let mut others = flows.flows.iter().filter(|flow| flow.call.as_ref() != Some(&than.id));
    others.find(|flow| flow.leg.as_deref() == Some("a"))
}

/// A leg of this call.
fn leg<'a>(flows: &'a Flows, of: &Scripted, side: &str) -> Option<&'a Flow> {
    let mut legs = flows.flows.iter().filter(|flow| flow.call.as_ref() == Some(&of.id));
    legs.find(|flow| flow.leg.as_deref() == Some(side))
}

#[test]
fn a_flood_from_the_caller_is_held_to_its_rate() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let call = Scripted::call(&net, &gateway).unwrap();

    let sip = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
    let neighbour = Sipp::caller(&net.carrier, Scenario::Play, CARRIER, sip, RELAYED).unwrap();
    assert_eq!(u64::from(neighbour.sound(&tone(440, 4000)).unwrap()), TONE);
    let _neighbour = neighbour.options(&["-m", "1", "-d", "60000"]).start().unwrap();
    let talks = |flows: &Flows| other(flows, &call).is_some_and(|flow| flow.received.packets > 0);
    gateway.wait_until(PATIENCE, Gateway::flows, talks).unwrap();

    let (mut caller, mut far) = (Sender::new(1), Sender::new(2));
    let came = Cell::new(0);
    let hear = || came.set(came.get() + arrived(&call.far).unwrap().len() as u64);
    let start = Instant::now();
    for place in 0..FLOOD {
        call.caller.send_to(&caller.next_packet(), call.to_gateway).unwrap();
        if place % 100 == 0 {
            hear();
            // The other direction of the same call goes on.
            let packet = far.next_packet();
            call.far.send_to(&packet, call.back_to_gateway).unwrap();
            let mut buffer = [0; 2048];
            let length = call.caller.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], packet);
        }
    }
    let flows = gateway
        .wait_until(PATIENCE, Gateway::flows, |flows| {
            hear();
            let policed =
                leg(flows, &call, "a").is_some_and(|flow| flow.received.packets + flow.all_dropped() == FLOOD);
            policed && other(flows, &call).is_some_and(|flow| flow.received.packets == TONE)
        })
        .unwrap();
    let most = most(start.elapsed());

    let [flood, back] = ["a", "b"].map(|side| leg(&flows, &call, side).unwrap());
    assert_eq!(flood.lane, "kernel");
    assert_eq!(
        back.sent_packets + flood.dropped("policed"),
        FLOOD,
        "{flood:?} {back:?}"
    );
    assert!(
        back.sent_packets <= most,
        "{} of at most {most} came through",
        back.sent_packets
    );
    assert_eq!(flood.all_dropped(), flood.dropped("policed"), "{flood:?}");
    assert_eq!(
        (back.received.packets, back.all_dropped()),
        (FLOOD / 100, 0),
        "{back:?}"
    );
    let neighbour = other(&flows, &call).unwrap();
    assert_eq!(
        (neighbour.lane.as_str(), neighbour.all_dropped()),
        ("kernel", 0),
        "{neighbour:?}"
    );
    // What the neighbour said comes to the same address at the far side.
    hear();
    assert_eq!(came.get(), back.sent_packets + TONE);
}
