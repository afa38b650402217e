//! The XDP program against the userspace relay's decision and an independent packet builder: the same packets come out
//! byte for byte the same, or do not come out, for the same reason.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod kernel_support;

use std::collections::HashMap;
use std::net::SocketAddrV4;

use kernel_support::frames::{Header, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, frame};
use kernel_support::{Call, Namespace, above, gateway, is_root, neighbour, report, rtp, start_lane};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;
use voxlane_common::flow::{Flow, FlowKind, FlowSpec, FlowState, Forwarding, PayloadRewrite, PayloadTypes};
use voxlane_common::outcome::{Outcome, PassReason};
use voxlane_common::relay::{PacketView, Verdict, decide};
use voxlane_dataplane::kernel::KernelLane;

/// Where a packet enters the call.
#[derive(Clone, Copy, Debug)]
enum Side {
    Caller,
    Callee,
}

/// Who sends it.
#[derive(Clone, Copy, Debug)]
enum Sender {
    Signalled,
    /// The signalled address, another port: behind NAT.
    Nat,
    Stranger,
}

/// How the frame is spoilt, so that it is none of the relay's business.
#[derive(Clone, Copy, Debug)]
enum Spoil {
    Ipv6,
    Tcp,
    Options,
    Offset,
    MoreFragments,
    UdpLength,
    IpLength,
    OtherPort,
    FreePort,
    OtherAddress,
    Cut(usize),
}

#[derive(Clone, Debug)]
struct Step {
    side: Side,
    sender: Sender,
    rtcp: bool,
    payload: Vec<u8>,
    ttl: u8,
    tos: u8,
    id: u16,
    checksum: bool,
    padding: usize,
    spoil: Option<Spoil>,
}

fn payload() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let media = (
        prop::sample::select(vec![0u8, 0, 0, 0, 8, 13, 96, 101, 0x80, 0xe5]),
        0u16..12,
        0u32..2,
    )
        .prop_map(|(kind, sequence, ssrc)| (false, rtp(kind, sequence.wrapping_sub(4), ssrc)));
    let reports = (any::<u32>(), 200u8..=204).prop_map(|(ssrc, kind)| {
        let mut packet = report(ssrc);
        packet[1] = kind;
        (true, packet)
    });
    let noise = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..40));
    let short = (any::<bool>(), 0usize..16).prop_map(|(rtcp, length)| {
        let mut packet = if rtcp { report(1) } else { rtp(0, 1, 1) };
        packet.truncate(length);
        (rtcp, packet)
    });
    prop_oneof![6 => media, 2 => reports, 1 => noise, 1 => short]
}

fn step() -> impl Strategy<Value = Step> {
    use Spoil::*;
    let spoil = prop_oneof![
        prop::sample::select(vec![
            Ipv6,
            Tcp,
            Options,
            Offset,
            MoreFragments,
            UdpLength,
            IpLength,
            OtherPort,
            FreePort,
            OtherAddress
        ]),
        (14usize..42).prop_map(Cut),
    ];
    let side = prop::sample::select(vec![Side::Caller, Side::Caller, Side::Callee]);
    let sender = prop::sample::select(vec![
        Sender::Signalled,
        Sender::Signalled,
        Sender::Nat,
        Sender::Stranger,
    ]);
    let header = (
        any::<u8>(),
        any::<u8>(),
        any::<u16>(),
        prop::bool::weighted(0.8),
        0usize..20,
    );
    (side, sender, payload(), header, prop::option::weighted(0.1, spoil)).prop_map(
        |(side, sender, (rtcp, payload), (ttl, tos, id, checksum, padding), spoil)| Step {
            side,
            sender,
            rtcp,
            payload,
            ttl,
            tos,
            id,
            checksum,
            padding,
            spoil,
        },
    )
}

/// The far ends and our addresses as one side sees them.
struct Ends {
    /// The arriving leg's far end and our address there.
    from: SocketAddrV4,
    local: SocketAddrV4,
    /// Our address on the other leg and its far end.
    outgoing: SocketAddrV4,
    to: SocketAddrV4,
}

fn ends(call: &Call, step: &Step) -> Ends {
    let ends = match step.side {
        Side::Caller => [call.caller, call.caller_side, call.callee_side, call.callee],
        Side::Callee => [call.callee, call.callee_side, call.caller_side, call.caller],
    };
    let [from, local, outgoing, to] = if step.rtcp { ends.map(above) } else { ends };
    Ends {
        from,
        local,
        outgoing,
        to,
    }
}

/// The relay as a userspace program would be: the shared decision, and its own idea of everything around it.
struct Oracle {
    flows: HashMap<SocketAddrV4, (Flow, FlowState, SocketAddrV4)>,
    forwarded: HashMap<SocketAddrV4, u64>,
}

impl Oracle {
    fn new(call: &Call) -> Self {
        let mut flows = HashMap::new();
        for (side, from_event, to_event) in [(Side::Caller, 101, 96), (Side::Callee, 96, 101)] {
            for rtcp in [false, true] {
                let step = Step {
                    side,
                    sender: Sender::Signalled,
                    rtcp,
                    payload: vec![],
                    ttl: 0,
                    tos: 0,
                    id: 0,
                    checksum: true,
                    padding: 0,
                    spoil: None,
                };
                let ends = ends(call, &step);
                let flow = Flow::new(&FlowSpec {
                    generation: 77,
                    epoch: 5,
                    kind: if rtcp { FlowKind::Rtcp } else { FlowKind::Rtp },
                    signalled: ends.from,
                    outgoing: ends.outgoing,
                    destination: ends.to,
                    payload_types: PayloadTypes::of([0, 13, from_event]),
                    rewrites: [
                        PayloadRewrite {
                            from: from_event,
                            to: to_event,
                        },
                        PayloadRewrite::default(),
                    ],
                    clock_rate: 8000,
                    forwarding: Forwarding::On,
                    peer: 0,
                });
                flows.insert(ends.local, (flow, FlowState::default(), ends.outgoing));
            }
        }
        Self {
            flows,
            forwarded: HashMap::new(),
        }
    }

    fn verdict(&mut self, local: SocketAddrV4, source: SocketAddrV4, payload: &[u8]) -> Verdict {
        let beside = SocketAddrV4::new(*local.ip(), local.port() & !1);
        let rtp_owner = match self.flows[&local].0.kind() {
            FlowKind::Rtp => TransportAddress::NONE,
            FlowKind::Rtcp => self.flows[&beside].1.owner_beside(&self.flows[&local].0),
        };
        let (flow, state, peer) = self.flows.get_mut(&local).unwrap();
        let view = PacketView::new(source.into(), payload).beside(rtp_owner);
        let decision = decide(flow, state, &view, 1);
        let (flow, peer) = (*flow, *peer);
        if let Verdict::Forward(_) = decision.verdict {
            state.on_forwarded();
            *self.forwarded.entry(local).or_default() += 1;
        }
        if !decision.found.is_none() {
            self.flows.get_mut(&peer).unwrap().1.peer_found(&flow, decision.found);
        }
        decision.verdict
    }
}

fn v4(address: TransportAddress) -> SocketAddrV4 {
    address.get().unwrap()
}

fn spoil(frame: &mut Vec<u8>, how: Spoil) -> PassReason {
    match how {
        Spoil::Ipv6 => frame[12..14].copy_from_slice(&[0x86, 0xdd]),
        Spoil::Tcp => frame[23] = 6,
        Spoil::Options => {
            frame[14] = 0x46;
            return PassReason::Options;
        }
        Spoil::Offset => {
            frame[21] = 1;
            return PassReason::Fragment;
        }
        Spoil::MoreFragments => {
            frame[20] = 0x20;
            return PassReason::Fragment;
        }
        Spoil::UdpLength => {
            frame[39] ^= 1;
            return PassReason::BadLength;
        }
        Spoil::IpLength => {
            frame[16] = 0x7f;
            return PassReason::BadLength;
        }
        Spoil::OtherPort => {
            frame[36..38].copy_from_slice(&9_999u16.to_be_bytes());
            return PassReason::OtherPort;
        }
        Spoil::FreePort => {
            frame[36..38].copy_from_slice(&10_050u16.to_be_bytes());
            return PassReason::NoFlow;
        }
        Spoil::OtherAddress => {
            frame[33] = 200;
            return PassReason::OtherPort;
        }
        Spoil::Cut(length) => frame.truncate(length),
    }
    PassReason::NotUdp
}

fn total(lane: &KernelLane, outcome: Outcome) -> u64 {
    lane.counters()
        .into_iter()
        .find(|(known, _)| *known == outcome)
        .unwrap()
        .1
}

struct Bench {
    lane: KernelLane,
    /// Hardware address and index of the interfaces towards 10.200.1.0/24 and 10.200.2.0/24.
    a: ([u8; 6], u32),
    b: ([u8; 6], u32),
}

impl Bench {
    fn new(gateway: &Namespace) -> Self {
        Self {
            lane: start_lane(gateway, &["a0", "b0"]),
            a: gateway.interface("a0"),
            b: gateway.interface("b0"),
        }
    }

    fn towards(&self, address: SocketAddrV4) -> ([u8; 6], u32) {
        if address.ip().octets()[2] == 1 { self.a } else { self.b }
    }

    fn check(&self, call: &Call, steps: &[Step]) -> Result<(), TestCaseError> {
        let mut oracle = Oracle::new(call);
        for step in steps {
            self.check_step(call, &mut oracle, step)?;
        }
        for local in [call.caller_side, call.callee_side] {
            let (_, state, _) = oracle.flows[&local];
            let (_, reports, _) = oracle.flows[&above(local)];
            let record = self.lane.read(local).unwrap();
            let (seen, account) = (record.received, state.account);
            prop_assert_eq!(
                (seen.packets, seen.bytes, seen.ssrc),
                (account.packets, account.bytes, account.ssrc)
            );
            prop_assert_eq!(
                (seen.lost, seen.reordered, seen.duplicates),
                (account.lost(), account.reordered, account.duplicates)
            );
            prop_assert_eq!(seen.source, state.latch.source().get().map(std::net::SocketAddr::V4));
            prop_assert_eq!(record.forwarded_packets, state.forwarded);
            prop_assert_eq!(record.rtcp_packets, reports.account.packets);
            let drops: Vec<_> = DropReason::ALL
                .into_iter()
                .map(|reason| (reason, state.dropped(reason) + reports.dropped(reason)))
                .filter(|(_, count)| *count > 0)
                .collect();
            prop_assert_eq!(record.drops, drops);
        }
        Ok(())
    }

    fn check_step(&self, call: &Call, oracle: &mut Oracle, step: &Step) -> Result<(), TestCaseError> {
        let ends = ends(call, step);
        let source = match step.sender {
            Sender::Signalled => ends.from,
            Sender::Nat => SocketAddrV4::new(*ends.from.ip(), 61_000),
            Sender::Stranger => "203.0.113.66:4000".parse().unwrap(),
        };
        let (ingress_mac, ingress) = self.towards(ends.local);
        let header = Header {
            ttl: step.ttl,
            tos: step.tos,
            id: step.id,
            dont_fragment: step.id & 1 != 0,
            macs: [neighbour(ends.from), ingress_mac],
        };
        let mut arriving = frame(&header, source, ends.local, &step.payload, step.checksum);
        if let Some(how) = step.spoil {
            let reason = spoil(&mut arriving, how);
            let before = total(&self.lane, Outcome::Passed(reason));
            let run = self.lane.test_run(&arriving, ingress).unwrap();
            prop_assert_eq!(run.action, XDP_PASS);
            prop_assert_eq!(run.frame, arriving);
            prop_assert_eq!(total(&self.lane, Outcome::Passed(reason)), before + 1, "{:?}", reason);
            return Ok(());
        }
        arriving.extend(vec![0xaa; step.padding]);

        let verdict = oracle.verdict(ends.local, source, &step.payload);
        let run = self.lane.test_run(&arriving, ingress).unwrap();
        match verdict {
            Verdict::NoFlow => prop_assert!(false, "the oracle has no flow"),
            Verdict::Drop(reason) => {
                prop_assert_eq!(run.action, XDP_DROP, "{:?}", reason);
                prop_assert_eq!(run.frame, arriving);
            }
            Verdict::Forward(forward) => {
                let destination = v4(forward.destination);
                let (mac, egress) = self.towards(destination);
                let action = if egress == ingress { XDP_TX } else { XDP_REDIRECT };
                prop_assert_eq!(run.action, action, "{:?}", self.lane.read(call.caller_side));
                let header = Header {
                    ttl: 64,
                    tos: 0xb8,
                    id: 0,
                    dont_fragment: true,
                    macs: [mac, neighbour(destination)],
                };
                let mut payload = step.payload.clone();
                payload[1] = forward.second_byte;
                let mut leaving = frame(&header, v4(forward.source), destination, &payload, step.checksum);
                leaving.extend(vec![0xaa; step.padding]);
                prop_assert_eq!(run.frame, leaving);
            }
        }
        Ok(())
    }
}

fn same_as_oracle(call: fn() -> Call) {
    if !is_root() {
        return;
    }
    let gateway = gateway();
    let bench = Bench::new(&gateway);
    // A test run finds its interface in the namespace of the thread that asks for it.
    gateway.run(move || {
        let mut runner = TestRunner::new(Config {
            cases: 256,
            failure_persistence: None,
            ..Config::default()
        });
        let result = runner.run(&prop::collection::vec(step(), 1..40), |steps| {
            let call = call();
            // A new generation on the same ports: nothing of the case before may show.
            bench.lane.remove(call.caller_side);
            bench.lane.remove(call.callee_side);
            bench.lane.program(&call.pair()).unwrap();
            bench.check(&call, &steps)
        });
        result.unwrap();
    });
}

#[test]
fn across_interfaces_program_and_oracle_agree() {
    same_as_oracle(Call::across);
}

#[test]
fn on_one_interface_program_and_oracle_agree() {
    same_as_oracle(Call::beside);
}
