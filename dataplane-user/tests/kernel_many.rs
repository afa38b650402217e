//! As many calls as the flow table is made for: 100,000 flows over eight addresses.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "the support code has packet sockets")]

mod kernel_support;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use kernel_support::bench::Bench;
use kernel_support::{Call, config, gateway, is_root, rtp};
use voxlane_common::outcome::Outcome;
use voxlane_dataplane::kernel::KernelConfig;

const CALLS: u32 = 25_000;

/// A call for each port pair of four addresses towards callers and four towards callees.
fn call(number: u32) -> Call {
    let ours = |network: u8| -> SocketAddr {
        let ip = Ipv4Addr::new(10, 200, network, 1 + (number % 4) as u8);
        (ip, 10_000 + 2 * (number / 4) as u16).into()
    };
    Call {
        caller: ([10, 200, 1, 9], 1024 + number as u16).into(),
        caller_side: ours(1),
        callee_side: ours(2),
        callee: ([203, 0, 113, number as u8], 2048 + number as u16).into(),
    }
}

#[test]
fn a_hundred_thousand_flows_are_programmed_and_each_is_its_own() {
    if !is_root() {
        return;
    }
    let gateway = gateway();
    for host in 2..=4 {
        gateway.sh(&format!(
            "ip addr add 10.200.1.{host}/24 dev a0
             ip addr add 10.200.2.{host}/24 dev b0"
        ));
    }
    let config = KernelConfig {
        first_port: 10_000,
        last_port: 22_499,
        addresses: [1, 2]
            .into_iter()
            .flat_map(|network| (1..=4).map(move |host| IpAddr::from([10, 200, network, host])))
            .collect(),
        ..config()
    };
    let bench = Bench::on(gateway, config, |_| {});
    let begin = Instant::now();
    for number in 0..CALLS {
        bench.lane.program(&call(number).pair(), None).unwrap();
    }
    let programmed = begin.elapsed();
    assert_eq!(bench.lane.legs(), 2 * CALLS as usize);

    // Some of them, scattered: 7919 is a prime.
    for number in (0..300).map(|place| place * 7919 % CALLS) {
        let call = call(number);
        let there = bench.packet(call.caller, call.caller_side, &rtp(0, 1, number));
        assert_eq!(there.outcome, Outcome::Redirected, "call {number}");
        assert_eq!(
            there.run.frame,
            bench.sent_on(call.callee_side, call.callee, &rtp(0, 1, number))
        );
        let back = bench.packet(call.callee, call.callee_side, &rtp(0, 2, number));
        assert_eq!(
            back.run.frame,
            bench.sent_on(call.caller_side, call.caller, &rtp(0, 2, number))
        );
        assert_eq!(bench.lane.read(call.caller_side).unwrap().received.packets, 1);
    }

    let begin = Instant::now();
    for number in 0..CALLS {
        let call = call(number);
        bench.lane.remove(call.caller_side).unwrap();
        bench.lane.remove(call.callee_side).unwrap();
    }
    let removed = begin.elapsed();
    assert_eq!(bench.lane.legs(), 0);
    writeln!(
        std::io::stdout(),
        "\n{CALLS} calls: programmed in {programmed:.1?}, removed in {removed:.1?}"
    )
    .unwrap();
}
