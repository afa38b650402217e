//! Real sockets in three network namespaces, native XDP between them: what is sent arrives, is counted, and no socket
//! of the gateway has any part in it.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "the support code has packet sockets")]

mod kernel_support;

use std::net::UdpSocket;

use kernel_support::bench::until;
use kernel_support::net::{Net, exchange, knock, socket};
use kernel_support::{Call, Lanes, above, config, is_root, report, rtp};
use voxlane_common::outcome::Outcome;
use voxlane_dataplane::kernel::{KernelConfig, KernelError, KernelLane};
use voxlane_dataplane::lane::Reason;
use voxlane_dataplane::media_plane::{AttachMode, AttachPolicy, Direction};

const PACKETS: u16 = 200;

fn relays_both_ways(call: &Call, caller: &UdpSocket, callee: &UdpSocket, lane: &KernelLane) {
    lane.program(&call.pair(), None).unwrap();
    let mut sent = [
        knock(caller, call.caller_side, callee, &rtp(0, 0, 1)),
        knock(callee, call.callee_side, caller, &rtp(0, 0, 2)),
    ];
    for sequence in 1..PACKETS {
        let (packet, source) = exchange(caller, call.caller_side, callee, &rtp(0, sequence, 1));
        assert_eq!((packet, source), (rtp(0, sequence, 1), call.callee_side));
        let (packet, source) = exchange(callee, call.callee_side, caller, &rtp(0, sequence, 2));
        assert_eq!((packet, source), (rtp(0, sequence, 2), call.caller_side));
        sent = sent.map(|sent| sent + 1);
    }
    // A digit, whose payload type differs between the legs.
    let (packet, _) = exchange(caller, call.caller_side, callee, &rtp(101, PACKETS, 1));
    assert_eq!(packet, rtp(96, PACKETS, 1));
    sent[0] += 1;

    let forwarded_before = u64::from(PACKETS);
    let there = lane.read(call.caller_side).unwrap();
    let back = lane.read(call.callee_side).unwrap();
    assert_eq!([there.received.packets, back.received.packets], sent);
    assert_eq!(
        [there.forwarded_packets, back.forwarded_packets],
        [forwarded_before + 1, forwarded_before]
    );
    assert_eq!(
        [back.sent_packets, there.sent_packets],
        [there.forwarded_packets, back.forwarded_packets]
    );
    // Sent = forwarded + dropped, for both.
    assert_eq!(
        [there.received.dropped, back.received.dropped],
        [sent[0] - forwarded_before - 1, sent[1] - forwarded_before]
    );
    assert_eq!(there.received.source, Some(call.caller));
    assert_eq!(there.received.lost, -(there.received.duplicates as i64));
    assert_eq!((there.received.ssrc, back.received.ssrc), (1, 2));
}

#[test]
fn a_call_across_two_interfaces_is_relayed_in_native_mode() {
    if !is_root() {
        return;
    }
    let (net, call) = (Net::new(), Call::across());
    let lane = net.gateway.lane(&["g0", "g1"]);
    assert!(
        lane.interfaces().iter().all(|row| row.mode == AttachMode::Native),
        "{:?}",
        lane.interfaces()
    );
    let (caller, callee) = (socket(&net.caller, call.caller), socket(&net.callee, call.callee));
    relays_both_ways(&call, &caller, &callee, &lane);

    let reporter = socket(&net.caller, above(call.caller));
    let reported = socket(&net.callee, above(call.callee));
    let (packet, source) = exchange(&reporter, above(call.caller_side), &reported, &report(1));
    assert_eq!((packet, source), (report(1), above(call.callee_side)));
    assert_eq!(lane.read(call.caller_side).unwrap().rtcp_packets, 1);

    let redirected = lane
        .counters()
        .into_iter()
        .find(|(outcome, _)| *outcome == Outcome::Redirected)
        .unwrap()
        .1;
    assert_eq!(redirected, 2 * u64::from(PACKETS) + 2);

    // Each leg's last counts can be had once, in either order.
    let last = lane.remove(call.caller_side).unwrap();
    assert_eq!(last.forwarded_packets, u64::from(PACKETS) + 1);
    assert_eq!(
        lane.remove(call.callee_side).unwrap().sent_packets,
        u64::from(PACKETS) + 1
    );
    assert_eq!((lane.legs(), lane.remove(call.caller_side)), (0, None));
}

#[test]
fn over_ipv6_a_call_is_relayed_as_well() {
    if !is_root() {
        return;
    }
    let (net, call) = (Net::new(), Call::across_v6());
    let lane = net.gateway.lane(&["g0", "g1"]);
    let (caller, callee) = (socket(&net.caller, call.caller), socket(&net.callee, call.callee));
    relays_both_ways(&call, &caller, &callee, &lane);
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn a_call_into_a_vlan_is_relayed_as_well() {
    if !is_root() {
        return;
    }
    let (net, call) = (Net::new(), Call::into_vlan());
    net.add_vlan();
    let lane = net.gateway.lane(&["g0", "g1"]);
    let (caller, callee) = (socket(&net.caller, call.caller), socket(&net.callee, call.callee));
    relays_both_ways(&call, &caller, &callee, &lane);
}

#[test]
fn a_call_on_one_interface_is_reflected() {
    if !is_root() {
        return;
    }
    let (net, call) = (Net::new(), Call::beside());
    let lane = net.gateway.lane(&["g0"]);
    // A veth hands on what its peer's XDP program reflects only if it has a program itself; one without flows will do.
    let _passes = net.caller.lane(&["e0"]);
    let (caller, callee) = (socket(&net.caller, call.caller), socket(&net.caller, call.callee));
    relays_both_ways(&call, &caller, &callee, &lane);
    let reflected = lane
        .counters()
        .into_iter()
        .find(|(outcome, _)| *outcome == Outcome::Reflected)
        .unwrap()
        .1;
    assert_eq!(reflected, 2 * u64::from(PACKETS) + 1);
}

#[test]
fn generic_mode_relays_as_well() {
    if !is_root() {
        return;
    }
    let (net, call) = (Net::new(), Call::across());
    let lane = net.gateway.start(KernelConfig {
        interfaces: vec!["g0".to_owned(), "g1".to_owned()],
        policy: AttachPolicy::Generic,
        ..config()
    });
    assert!(lane.interfaces().iter().all(|row| row.mode == AttachMode::Generic));
    let (caller, callee) = (socket(&net.caller, call.caller), socket(&net.callee, call.callee));
    relays_both_ways(&call, &caller, &callee, &lane);
}

#[test]
fn hold_and_resume_by_programming_again_keep_the_counts() {
    if !is_root() {
        return;
    }
    let (net, call) = (Net::new(), Call::across());
    let lane = net.gateway.lane(&["g0", "g1"]);
    let (caller, callee) = (socket(&net.caller, call.caller), socket(&net.callee, call.callee));
    relays_both_ways(&call, &caller, &callee, &lane);
    let before = lane.read(call.caller_side).unwrap();

    let mut held = call.pair();
    held.0.session.direction = Direction::SendOnly;
    lane.program(&held, None).unwrap();
    caller.send_to(&rtp(0, PACKETS + 1, 1), call.caller_side).unwrap();
    // The other direction is not held; once this has come back, the packet before it has been handled, too.
    exchange(&callee, call.callee_side, &caller, &rtp(0, PACKETS, 2));
    lane.program(&call.pair(), None).unwrap();
    let (packet, _) = exchange(&caller, call.caller_side, &callee, &rtp(0, PACKETS + 2, 1));
    assert_eq!(packet, rtp(0, PACKETS + 2, 1));

    let after = lane.read(call.caller_side).unwrap();
    assert_eq!(after.received.packets, before.received.packets + 2);
    assert_eq!(after.forwarded_packets, before.forwarded_packets + 1);
    assert_eq!(after.received.dropped, before.received.dropped + 1);
}

#[test]
fn dropping_the_lane_detaches_it() {
    if !is_root() {
        return;
    }
    let net = Net::new();
    let attached = |net: &Net| {
        net.gateway.run(|| {
            let output = std::process::Command::new("ip")
                .args(["link", "show", "dev", "g0"])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap().contains("xdp")
        })
    };
    let lane = net.gateway.lane(&["g0"]);
    assert!(attached(&net));
    drop(lane);
    // A process that another test is about to start may hold copies of the lane's descriptors for a moment.
    until("the program is gone", || !attached(&net));
}

#[test]
fn what_the_lane_cannot_reach_is_refused_with_a_reason() {
    if !is_root() {
        return;
    }
    let net = Net::new();
    let lane = net.gateway.lane(&["g0", "nosuch0"]);
    let modes: Vec<_> = lane.interfaces().iter().map(|row| row.mode).collect();
    assert_eq!(modes, [AttachMode::Native, AttachMode::None]);
    assert_eq!(
        lane.program(&Call::across().pair(), None).unwrap_err().reason,
        Reason::InterfaceNotAttached
    );
    assert_eq!(lane.legs(), 0);

    let config = KernelConfig {
        interfaces: vec!["nosuch0".to_owned()],
        ..config()
    };
    match net.gateway.run(move || KernelLane::start(&config, |_| {})) {
        Err(KernelError::NotAttached(rows)) => assert_eq!(rows.len(), 1),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("attached to an interface that does not exist"),
    }
}
