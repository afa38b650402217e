//! The XDP program against the userspace relay's decision and an independent packet builder: the same packets come out
//! byte for byte the same, or do not come out, for the same reason.
//!
//! * `packets`: what arrives
//! * `oracle`: what was agreed, and what should become of the packets
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "the support code has packet sockets")]

#[path = "../kernel_support/mod.rs"]
mod kernel_support;
mod oracle;
mod packets;

use std::net::SocketAddr;

use kernel_support::bench::{Bench, monotonic_ns};
use kernel_support::frames::{Header, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, frame};
use kernel_support::{Call, Namespace, above, add_vlan, config, gateway, is_root, neighbour};
use oracle::{Oracle, Terms, ends, terms};
use packets::{Port, Sender, Side, Step, spoil, step};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use voxlane_common::address::TransportAddress;
use voxlane_common::drops::DropReason;
use voxlane_common::outcome::Outcome;
use voxlane_common::relay::{Forward, Verdict};
use voxlane_dataplane::kernel::KernelLane;

/// What the payload becomes.
fn sent_on(payload: &[u8], port: Port, forward: &Forward) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let length = match port {
        Port::Rtp => 12,
        Port::Rtcp => 8,
    };
    payload[..length].copy_from_slice(&bytemuck::bytes_of(&forward.head)[..length]);
    payload
}

fn host(address: TransportAddress) -> SocketAddr {
    address.get().unwrap()
}

fn total(lane: &KernelLane, outcome: Outcome) -> u64 {
    let counters = lane.counters();
    counters.iter().find(|(known, _)| *known == outcome).unwrap().1
}

/// A call on the bench.
struct Case<'a> {
    bench: &'a Bench,
    call: Call,
    oracle: Oracle,
}

impl Case<'_> {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let lane = &self.bench.lane;
        let [far_end, leg, ..] = ends(&self.call, step.side);
        let [signalled, local] = match step.port {
            Port::Rtp => [far_end, leg],
            Port::Rtcp => [far_end, leg].map(above),
        };
        let source = match step.sender {
            Sender::Signalled => signalled,
            Sender::Nat => SocketAddr::new(far_end.ip(), 61_000),
            Sender::Stranger if local.is_ipv6() => "[2001:db8:ff::66]:4000".parse().unwrap(),
            Sender::Stranger => "203.0.113.66:4000".parse().unwrap(),
        };
        let (ingress_mac, ingress, vlan) = self.bench.towards(local);
        let header = Header {
            ttl: step.ttl,
            tos: step.tos,
            id: step.id,
            dont_fragment: step.id & 1 != 0,
            macs: [neighbour(far_end), ingress_mac],
            vlan: vlan.or(step.tag),
        };
        let mut arriving = frame(&header, source, local, &step.payload, step.checksum);
        if let Some(how) = step.spoil {
            let ip = if header.vlan.is_some() { 18 } else { 14 };
            let outcome = spoil(&mut arriving, ip, local, how);
            let before = total(lane, outcome);
            let run = lane.test_run(&arriving, ingress).unwrap();
            let action = match outcome {
                Outcome::Passed(_) => XDP_PASS,
                _ => XDP_DROP,
            };
            prop_assert_eq!((run.action, run.frame), (action, arriving));
            prop_assert_eq!(total(lane, outcome), before + 1, "{:?}", outcome);
            return Ok(());
        }
        arriving.extend(vec![0xaa; step.padding]);

        let now = monotonic_ns();
        let (verdict, port) = self.oracle.verdict((step.side, step.port), source, &step.payload, now);
        let run = lane.test_run(&arriving, ingress).unwrap();
        match verdict {
            Verdict::NoFlow | Verdict::Worker => prop_assert!(false, "the oracle has no flow"),
            Verdict::Drop(reason) => {
                prop_assert_eq!((run.action, run.frame), (XDP_DROP, arriving), "{:?}", reason);
            }
            Verdict::Forward(forward) => {
                let destination = host(forward.headers.destination);
                let (mac, egress, vlan) = self.bench.towards(destination);
                let action = if egress == ingress { XDP_TX } else { XDP_REDIRECT };
                prop_assert_eq!(run.action, action, "{:?}", lane.read(leg));
                let header = Header::of_relay([mac, neighbour(destination)], vlan);
                let payload = sent_on(&step.payload, port, &forward);
                let source = host(forward.headers.source);
                let mut leaving = frame(&header, source, destination, &payload, step.checksum);
                leaving.extend(vec![0xaa; step.padding]);
                prop_assert_eq!(run.frame, leaving);
            }
        }
        Ok(())
    }

    /// Both have counted the same.
    fn counts(&self) -> Result<(), TestCaseError> {
        for side in [Side::Caller, Side::Callee] {
            let [_, local, ..] = ends(&self.call, side);
            let [state, reports] = [Port::Rtp, Port::Rtcp].map(|port| self.oracle.state(side, port));
            let record = self.bench.lane.read(local).unwrap();
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
            prop_assert_eq!(
                (record.rtcp_packets, record.rtcp_forwarded),
                (reports.account.packets, reports.forwarded)
            );
            let drops: Vec<_> = DropReason::ALL
                .into_iter()
                .map(|reason| (reason, state.dropped(reason) + reports.dropped(reason)))
                .filter(|(_, count)| *count > 0)
                .collect();
            prop_assert_eq!(record.drops, drops);
        }
        Ok(())
    }
}

fn judge(bench: &Bench, call: Call, terms: &Terms, steps: &[Step]) -> Result<(), TestCaseError> {
    // A new generation on the same ports: nothing of the case before may show.
    bench.lane.remove(call.caller_side);
    bench.lane.remove(call.callee_side);
    bench.lane.program(&terms.pair(&call), None).unwrap();
    let mut case = Case {
        bench,
        call,
        oracle: Oracle::new(&call, terms),
    };
    steps.iter().try_for_each(|step| case.step(step))?;
    case.counts()
}

fn agree(gateway: Namespace, call: Call) {
    let bench = Bench::on(gateway, config(), |_| {});
    // A test run finds its interface in the namespace of the thread that asks for it.
    bench.enter();
    let mut runner = TestRunner::new(Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    });
    let steps = prop::collection::vec(step(), 1..40);
    let result = runner.run(&(terms(), steps), |(terms, steps)| judge(&bench, call, &terms, &steps));
    result.unwrap();
}

#[test]
fn across_interfaces_program_and_oracle_agree() {
    if is_root() {
        agree(gateway(), Call::across());
    }
}

#[test]
fn on_one_interface_program_and_oracle_agree() {
    if is_root() {
        agree(gateway(), Call::beside());
    }
}

#[test]
fn over_ipv6_program_and_oracle_agree() {
    if is_root() {
        agree(gateway(), Call::across_v6());
    }
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn in_and_out_of_a_vlan_program_and_oracle_agree() {
    if !is_root() {
        return;
    }
    let gateway = gateway();
    add_vlan(&gateway);
    agree(gateway, Call::into_vlan());
}
