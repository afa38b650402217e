//! Live flows follow the host's routes and neighbours, without a word of signalling.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "the support code has packet sockets")]

mod kernel_support;

use kernel_support::bench::{Bench, Judged, until};
use kernel_support::{Call, is_root, rtp};
use voxlane_common::drops::DropReason;
use voxlane_common::outcome::Outcome;

const NO_NEIGHBOUR: Outcome = Outcome::Dropped(DropReason::NoNeighbour);
const NO_ROUTE: Outcome = Outcome::Dropped(DropReason::NoRoute);
const TOO_BIG: Outcome = Outcome::Dropped(DropReason::TooBig);

/// A call to a callee behind a router of the network of `b0`.
struct Routed {
    bench: Bench,
    call: Call,
    /// The callee's network, and the router.
    network: &'static str,
    router: &'static str,
}

/// The router's hardware address, see `gateway`.
const ROUTER: [u8; 6] = [2, 0, 0, 0, 2, 7];

impl Routed {
    fn both() -> [Self; 2] {
        [
            Self::new(
                Call {
                    callee: "203.0.113.9:5000".parse().unwrap(),
                    ..Call::across()
                },
                "203.0.113.0/24",
                "10.200.2.7",
            ),
            Self::new(
                Call {
                    callee: "[2001:db8:ff::9]:5000".parse().unwrap(),
                    ..Call::across_v6()
                },
                "2001:db8:ff::/48",
                "2001:db8:2::7",
            ),
        ]
    }

    fn new(call: Call, network: &'static str, router: &'static str) -> Self {
        let bench = Bench::new();
        bench.lane.program(&call.pair(), None).unwrap();
        let routed = Self {
            bench,
            call,
            network,
            router,
        };
        assert_eq!(routed.sent_to(), Some(ROUTER));
        routed
    }

    fn media(&self, length: usize) -> Judged {
        let mut packet = rtp(0, 1, 1);
        packet.resize(length, 0);
        self.bench.packet(self.call.caller, self.call.caller_side, &packet)
    }

    /// The hardware address that media is sent on to.
    fn sent_to(&self) -> Option<[u8; 6]> {
        let judged = self.media(172);
        (judged.outcome == Outcome::Redirected).then(|| judged.run.frame[..6].try_into().unwrap())
    }

    /// How media ends, sooner or later.
    fn comes_to(&self, outcome: Outcome) {
        until(outcome.name(), || self.media(172).outcome == outcome);
    }

    fn comes_to_be_sent_to(&self, mac: [u8; 6]) {
        until("media takes another way", || self.sent_to() == Some(mac));
    }
}

#[test]
fn a_route_that_moves_to_another_router_takes_live_flows_along() {
    if !is_root() {
        return;
    }
    for routed in Routed::both() {
        routed.bench.look_nothing_up();
        let (network, other) = (routed.network, routed.router.replace('7', "6"));
        routed.bench.gateway.sh(&format!(
            "ip neigh replace {other} lladdr 02:00:00:00:02:06 dev b0
             ip route replace {network} via {other}"
        ));
        routed.comes_to_be_sent_to([2, 0, 0, 0, 2, 6]);
        // And back.
        let router = routed.router;
        routed
            .bench
            .gateway
            .sh(&format!("ip route replace {network} via {router}"));
        routed.comes_to_be_sent_to(ROUTER);
        let record = routed.bench.lane.read(routed.call.caller_side).unwrap();
        assert_eq!(record.drops, [], "no packet is lost on the way");
    }
}

#[test]
fn a_router_that_gets_another_hardware_address_is_followed() {
    if !is_root() {
        return;
    }
    for routed in Routed::both() {
        routed.bench.look_nothing_up();
        let router = routed.router;
        routed
            .bench
            .gateway
            .sh(&format!("ip neigh replace {router} lladdr 02:00:00:00:99:07 dev b0"));
        routed.comes_to_be_sent_to([2, 0, 0, 0, 0x99, 7]);
    }
}

#[test]
fn a_router_that_is_gone_costs_packets_until_it_is_back() {
    if !is_root() {
        return;
    }
    for routed in Routed::both() {
        let router = routed.router;
        routed
            .bench
            .gateway
            .sh(&format!("ip neigh replace {router} dev b0 nud failed"));
        routed.comes_to(NO_NEIGHBOUR);
        routed.bench.gateway.sh(&format!(
            "ip neigh replace {router} lladdr 02:00:00:00:02:07 dev b0 nud reachable"
        ));
        routed.comes_to_be_sent_to(ROUTER);
        let record = routed.bench.lane.read(routed.call.caller_side).unwrap();
        assert!(
            matches!(record.drops[..], [(DropReason::NoNeighbour, 1..)]),
            "{record:?}"
        );
    }
}

#[test]
fn a_route_that_leaves_the_lane_costs_packets_until_it_is_back() {
    if !is_root() {
        return;
    }
    for routed in Routed::both() {
        let (network, router) = (routed.network, routed.router);
        routed.bench.gateway.sh(&format!(
            "ip link add c0 type veth peer name c1
             ip link set c0 up
             ip link set c1 up
             ip route replace {network} dev c0"
        ));
        routed.comes_to(NO_ROUTE);
        routed
            .bench
            .gateway
            .sh(&format!("ip route replace {network} via {router} dev b0"));
        routed.comes_to_be_sent_to(ROUTER);
    }
}

#[test]
fn an_interface_that_takes_smaller_packets_is_noticed_and_one_that_takes_larger_ones() {
    if !is_root() {
        return;
    }
    for routed in Routed::both() {
        routed.bench.look_nothing_up();
        let large = || routed.media(1300).outcome;
        assert_eq!(large(), Outcome::Redirected);
        routed.bench.gateway.sh("ip link set b0 mtu 1300");
        until("packets are too big", || large() == TOO_BIG);
        assert_eq!(routed.media(172).outcome, Outcome::Redirected);
        routed.bench.gateway.sh("ip link set b0 mtu 1500");
        until("packets fit again", || large() == Outcome::Redirected);
    }
}

#[test]
fn an_interface_that_gets_another_hardware_address_sends_from_it() {
    if !is_root() {
        return;
    }
    for routed in Routed::both() {
        routed.bench.look_nothing_up();
        // The host forgets the neighbours of an interface that changes its address.
        let router = routed.router;
        routed.bench.gateway.sh(&format!(
            "ip link set b0 address 02:00:00:00:00:b0
             ip neigh replace {router} lladdr 02:00:00:00:02:07 dev b0"
        ));
        until("frames come from the new address", || {
            routed.media(172).run.frame[6..12] == [2, 0, 0, 0, 0, 0xb0]
        });
    }
}
