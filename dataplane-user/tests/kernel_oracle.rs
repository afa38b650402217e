//! The XDP program against the userspace relay's decision and an independent packet builder: the same packets come out
//! byte for byte the same, or do not come out, for the same reason.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod kernel_support;

use std::collections::HashMap;
use std::net::SocketAddr;

use kernel_support::frames::{Header, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, frame};
use kernel_support::{
    Call, Lanes, Namespace, VLAN, above, add_vlan, config, gateway, is_root, neighbour, network, report, rtp,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use voxlane_common::account::Tick;
use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;
use voxlane_common::flow::{
    Beside, Events, Flow, FlowKind, FlowSpec, FlowState, Forwarding, Mirror, PayloadRewrite, PayloadTypes, RtcpPort,
};
use voxlane_common::latch::LatchMode;
use voxlane_common::next_hop::NextHopId;
use voxlane_common::outcome::{Outcome, PassReason};
use voxlane_common::pace::Pacing;
use voxlane_common::police::Police;
use voxlane_common::relay::{Forward, PacketView, Verdict, decide};
use voxlane_common::splice::Continuity;
use voxlane_dataplane::kernel::{KernelConfig, KernelLane};

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
    from: SocketAddr,
    local: SocketAddr,
    /// Our address on the other leg and its far end.
    outgoing: SocketAddr,
    to: SocketAddr,
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
    flows: HashMap<SocketAddr, (Flow, FlowState, SocketAddr)>,
    forwarded: HashMap<SocketAddr, u64>,
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
                let kind = if rtcp { FlowKind::Rtcp } else { FlowKind::Rtp };
                let flow = Flow::new(&FlowSpec {
                    generation: 77,
                    epoch: 5,
                    kind,
                    signalled: ends.from.into(),
                    outgoing: ends.outgoing.into(),
                    destination: ends.to.into(),
                    next_hop: NextHopId::UNKNOWN,
                    payload_types: PayloadTypes::of([0, 13, from_event]),
                    rewrites: [
                        PayloadRewrite::default(),
                        PayloadRewrite {
                            from: from_event,
                            to: to_event,
                        },
                    ],
                    events: Events::Second,
                    tick: Tick::of_rate(8000),
                    ptime: 20,
                    forwarding: Forwarding::On,
                    latch: LatchMode::Nat,
                    rtcp_port: RtcpPort::Own,
                    continuity: Continuity::Transparent,
                    pacing: Pacing::Off,
                    // Time runs in the program and stands still here: tests of their own hold the police to account.
                    police: Police::OFF,
                    mirror: Mirror::Off,
                    tos: 0xb8,
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

    fn verdict(&mut self, local: SocketAddr, source: SocketAddr, payload: &[u8]) -> Verdict {
        let rtp = SocketAddr::new(local.ip(), local.port() & !1);
        let beside = match self.flows[&local].0.kind() {
            FlowKind::Rtp | FlowKind::Worker => Beside::NOTHING,
            FlowKind::Rtcp => self.flows[&rtp].1.beside(&self.flows[&local].0),
        };
        let (flow, state, peer) = self.flows.get_mut(&local).unwrap();
        let view = PacketView::new(source.into(), payload).beside(beside);
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

/// What the payload becomes.
fn sent_on(payload: &[u8], rtcp: bool, forward: &Forward) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let length = if rtcp { 8 } else { 12 };
    payload[..length].copy_from_slice(&bytemuck::bytes_of(&forward.head)[..length]);
    payload
}

fn host(address: TransportAddress) -> SocketAddr {
    address.get().unwrap()
}

fn spoil(frame: &mut Vec<u8>, how: Spoil) -> Outcome {
    match how {
        Spoil::Ipv6 => frame[12..14].copy_from_slice(&[0x86, 0xdd]),
        Spoil::Tcp => frame[23] = 6,
        Spoil::Options => {
            frame[14] = 0x46;
            return Outcome::Passed(PassReason::Options);
        }
        Spoil::Offset => {
            frame[21] = 1;
            return Outcome::Passed(PassReason::Fragment);
        }
        Spoil::MoreFragments => {
            frame[20] = 0x20;
            return Outcome::Passed(PassReason::Fragment);
        }
        Spoil::UdpLength => {
            frame[39] ^= 1;
            return Outcome::Passed(PassReason::BadLength);
        }
        Spoil::IpLength => {
            frame[16] = 0x7f;
            return Outcome::Passed(PassReason::BadLength);
        }
        Spoil::OtherPort => {
            frame[36..38].copy_from_slice(&9_999u16.to_be_bytes());
            return Outcome::Passed(PassReason::OtherPort);
        }
        Spoil::FreePort => {
            frame[36..38].copy_from_slice(&10_050u16.to_be_bytes());
            return Outcome::Dropped(DropReason::Unallocated);
        }
        Spoil::OtherAddress => {
            frame[33] = 200;
            return Outcome::Passed(PassReason::OtherPort);
        }
        Spoil::Cut(length) => {
            frame.truncate(length);
            if length >= 34 {
                return Outcome::Passed(PassReason::BadLength);
            }
        }
    }
    Outcome::Passed(PassReason::NotUdp)
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
            lane: gateway.start(KernelConfig {
                interfaces: vec!["a0".to_owned(), "b0".to_owned()],
                ..config()
            }),
            a: gateway.interface("a0"),
            b: gateway.interface("b0"),
        }
    }

    /// Our hardware address, the interface, and the VLAN towards an address.
    fn towards(&self, address: SocketAddr) -> ([u8; 6], u32, Option<u16>) {
        let ((mac, ifindex), vlan) = match network(address) {
            1 => (self.a, None),
            3 => (self.a, Some(VLAN)),
            _ => (self.b, None),
        };
        (mac, ifindex, vlan)
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
            prop_assert_eq!(seen.source, state.latch.source().get());
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
            Sender::Nat => SocketAddr::new(ends.from.ip(), 61_000),
            Sender::Stranger if ends.from.is_ipv6() => "[2001:db8:ff::66]:4000".parse().unwrap(),
            Sender::Stranger => "203.0.113.66:4000".parse().unwrap(),
        };
        let (ingress_mac, ingress, vlan) = self.towards(ends.local);
        let header = Header {
            ttl: step.ttl,
            tos: step.tos,
            id: step.id,
            dont_fragment: step.id & 1 != 0,
            macs: [neighbour(ends.from), ingress_mac],
            vlan,
        };
        let mut arriving = frame(&header, source, ends.local, &step.payload, step.checksum);
        // Where spoilt bytes are is known for plain IPv4.
        if let Some(how) = step.spoil.filter(|_| ends.local.is_ipv4() && vlan.is_none()) {
            let outcome = spoil(&mut arriving, how);
            let before = total(&self.lane, outcome);
            let run = self.lane.test_run(&arriving, ingress).unwrap();
            let action = match outcome {
                Outcome::Passed(_) => XDP_PASS,
                _ => XDP_DROP,
            };
            prop_assert_eq!(run.action, action);
            prop_assert_eq!(run.frame, arriving);
            prop_assert_eq!(total(&self.lane, outcome), before + 1, "{:?}", outcome);
            return Ok(());
        }
        arriving.extend(vec![0xaa; step.padding]);

        let verdict = oracle.verdict(ends.local, source, &step.payload);
        let run = self.lane.test_run(&arriving, ingress).unwrap();
        match verdict {
            Verdict::NoFlow | Verdict::Worker => prop_assert!(false, "the oracle has no flow"),
            Verdict::Drop(reason) => {
                prop_assert_eq!(run.action, XDP_DROP, "{:?}", reason);
                prop_assert_eq!(run.frame, arriving);
            }
            Verdict::Forward(forward) => {
                let destination = host(forward.headers.destination);
                let (mac, egress, vlan) = self.towards(destination);
                let action = if egress == ingress { XDP_TX } else { XDP_REDIRECT };
                prop_assert_eq!(run.action, action, "{:?}", self.lane.read(call.caller_side));
                let header = Header::of_relay([mac, neighbour(destination)], vlan);
                let payload = sent_on(&step.payload, step.rtcp, &forward);
                let source = host(forward.headers.source);
                let mut leaving = frame(&header, source, destination, &payload, step.checksum);
                leaving.extend(vec![0xaa; step.padding]);
                prop_assert_eq!(run.frame, leaving);
            }
        }
        Ok(())
    }
}

fn same_as_oracle(call: fn() -> Call) {
    if is_root() {
        agree(gateway(), call);
    }
}

fn agree(gateway: Namespace, call: fn() -> Call) {
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
            bench.lane.program(&call.pair(), None).unwrap();
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

#[test]
fn over_ipv6_program_and_oracle_agree() {
    same_as_oracle(Call::across_v6);
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn in_and_out_of_a_vlan_program_and_oracle_agree() {
    let gateway = gateway();
    add_vlan(&gateway);
    agree(gateway, Call::into_vlan);
}
