//! The verdicts that depend on what is around a flow rather than on the packet: hold, routes, neighbours, path size.
//! (Those that depend on the packet are in `kernel_oracle`.)
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod kernel_support;

use kernel_support::frames::{Header, XDP_DROP, XDP_REDIRECT, frame};
use kernel_support::{Call, Lanes, Namespace, above, gateway, is_root, neighbour, report, rtp};
use voxlane_common::drops::DropReason;
use voxlane_dataplane::kernel::{KernelLane, RelayPair};
use voxlane_dataplane::media_plane::Direction;

/// A gateway on whose interface `a0` frames of the caller arrive.
struct Bench {
    lane: KernelLane,
    mac: [u8; 6],
    ifindex: u32,
    // Last: the lane goes before the namespace it lives in.
    gateway: Namespace,
}

impl Bench {
    fn new() -> Self {
        let gateway = gateway();
        let lane = gateway.lane(&["a0", "b0"]);
        let (mac, ifindex) = gateway.interface("a0");
        Self {
            lane,
            mac,
            ifindex,
            gateway,
        }
    }

    /// Lets a packet of the caller arrive; returns the verdict, and the frame if it was changed.
    fn arrives(self, call: &Call, payload: &[u8], rtcp: bool) -> (Self, u32, bool) {
        let [from, to] = [call.caller, call.caller_side].map(|end| if rtcp { above(end) } else { end });
        let header = Header {
            ttl: 9,
            tos: 0,
            id: 7,
            dont_fragment: false,
            macs: [neighbour(from), self.mac],
            vlan: None,
        };
        let arriving = frame(&header, from, to, payload, true);
        let Self {
            lane,
            mac,
            ifindex,
            gateway,
        } = self;
        let (lane, action, same) = gateway.run(move || {
            let run = lane.test_run(&arriving, ifindex).unwrap();
            (lane, run.action, run.frame == arriving)
        });
        (
            Self {
                lane,
                mac,
                ifindex,
                gateway,
            },
            action,
            same,
        )
    }

    /// A media packet of the caller is dropped for `reason`, and left as it was.
    fn drops(self, call: &Call, payload: &[u8], reason: DropReason) -> Self {
        let (bench, action, same) = self.arrives(call, payload, false);
        let record = bench.lane.read(call.caller_side).unwrap();
        assert_eq!((action, same), (XDP_DROP, true), "{record:?}");
        assert_eq!(record.drops, [(reason, 1)]);
        assert_eq!(record.forwarded_packets, 0);
        bench
    }
}

fn changed(change: impl FnOnce(&mut RelayPair)) -> RelayPair {
    let mut pair = Call::across().pair();
    change(&mut pair);
    pair
}

#[test]
fn on_hold_media_stops_and_reports_go_on() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    bench
        .lane
        .program(&changed(|pair| pair.1.session.direction = Direction::RecvOnly), None)
        .unwrap();
    let bench = bench.drops(&Call::across(), &rtp(0, 1, 1), DropReason::Held);
    let (_, action, _) = bench.arrives(&Call::across(), &report(1), true);
    assert_eq!(action, XDP_REDIRECT);
}

#[test]
fn a_callee_that_has_not_said_where_it_listens_is_sent_nothing() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    bench
        .lane
        .program(
            &changed(|pair| pair.1.session.remote_rtp = "0.0.0.0:5000".parse().unwrap()),
            None,
        )
        .unwrap();
    bench.drops(&Call::across(), &rtp(0, 1, 1), DropReason::NoDestination);
}

#[test]
fn a_route_that_goes_away_is_noticed() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    bench.lane.program(&Call::across().pair(), None).unwrap();
    bench.gateway.sh("ip route del 10.200.2.0/24 dev b0");
    bench.drops(&Call::across(), &rtp(0, 1, 1), DropReason::NoRoute);
}

#[test]
fn a_route_that_moves_to_an_interface_outside_the_lane_is_noticed() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    bench.lane.program(&Call::across().pair(), None).unwrap();
    bench.gateway.sh("ip link add c0 type veth peer name c1
         ip link set c0 up
         ip link set c1 up
         ip neigh replace 10.200.2.9 lladdr 02:00:00:00:02:09 dev c0
         ip route add 10.200.2.9/32 dev c0");
    bench.drops(&Call::across(), &rtp(0, 1, 1), DropReason::NoRoute);
}

#[test]
fn a_neighbour_nobody_has_heard_of_is_waited_for() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let call = Call {
        callee: "10.200.2.77:5000".parse().unwrap(),
        ..Call::across()
    };
    bench.lane.program(&call.pair(), None).unwrap();
    bench.drops(&call, &rtp(0, 1, 1), DropReason::NoNeighbour);
}

#[test]
fn what_does_not_fit_the_path_is_dropped() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    bench.gateway.sh("ip link set b0 mtu 600");
    bench.lane.program(&Call::across().pair(), None).unwrap();
    let mut large = rtp(0, 1, 1);
    large.resize(700, 0);
    bench.drops(&Call::across(), &large, DropReason::TooBig);
}

#[test]
fn after_the_call_its_ports_are_nobodys() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    bench.lane.program(&Call::across().pair(), None).unwrap();
    let (bench, action, _) = bench.arrives(&Call::across(), &rtp(0, 1, 1), false);
    assert_eq!(action, XDP_REDIRECT);
    // Either leg's end is the end of the pair.
    bench.lane.remove(Call::across().callee_side).unwrap();
    let (_, action, same) = bench.arrives(&Call::across(), &rtp(0, 2, 1), false);
    assert_eq!((action, same), (XDP_DROP, true));
}
