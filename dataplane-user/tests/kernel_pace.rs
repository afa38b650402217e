//! Pacing of relayed flows: the program gives a packet its time, `pace` takes it up, and `fq` keeps it.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "the support code has packet sockets")]

mod kernel_support;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::programs::SchedClassifier;
use aya::programs::tc::TcAttachType;
use kernel_support::bench::{Bench, monotonic_ns, until};
use kernel_support::frames::{XDP_PASS, XDP_REDIRECT};
use kernel_support::net::{Net, socket};
use kernel_support::tap::Tap;
use kernel_support::{Call, Lanes, Namespace, config, gateway, is_root, rtp};
use voxlane_common::outcome::Outcome;
use voxlane_dataplane::kernel::{KernelConfig, KernelLane, RelayPair};
use voxlane_dataplane::media_plane::Pacing;

const PTIME: Duration = Duration::from_millis(20);

/// What the callee of a call is sent is paced.
fn paced(call: &Call, pacing: Pacing) -> RelayPair {
    let mut pair = call.pair();
    pair.1.session.pacing = pacing;
    pair
}

const BURST: u16 = 5;
const BURSTS: u16 = 40;

/// When the packets of a caller who sends in bursts leave `g1`, having checked that all of them arrive.
fn departures(net: &Net, call: &Call) -> Vec<Duration> {
    net.gateway.sh("tc qdisc replace dev g1 root fq");
    let lane = net.gateway.lane(&["g0", "g1"]);
    lane.program(&paced(call, Pacing::Always), None).unwrap();
    assert_eq!(lane.pacing(), [("g1".to_owned(), true)]);
    let tap = Tap::new(&net.gateway, "g1");
    let (caller, callee) = (socket(&net.caller, call.caller), socket(&net.callee, call.callee));

    let to = call.caller_side;
    let sender = std::thread::spawn(move || {
        let begin = Instant::now();
        for burst in 0..BURSTS {
            // The caller's clock: five packets every five packet times.
            let at = begin + PTIME * u32::from(burst * BURST);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            for place in 0..BURST {
                caller.send_to(&rtp(0, burst * BURST + place, 1), to).unwrap();
            }
        }
    });
    let mut times = Vec::new();
    for sequence in 0..BURSTS * BURST {
        let mut packet = [0; 2048];
        let (length, source) = callee.recv_from(&mut packet).expect("nothing is lost");
        assert_eq!(
            (&packet[..length], source),
            (&rtp(0, sequence, 1)[..], call.callee_side)
        );
        let seen = tap.next_udp(call.callee.port());
        assert_eq!(seen.frame[42..], packet[..length]);
        times.push(seen.at);
    }
    sender.join().unwrap();
    let record = lane.read(call.caller_side).unwrap();
    assert_eq!((record.paced, record.drops), (true, vec![]));
    let counters = lane.counters();
    assert!(
        counters.contains(&(Outcome::Paced, u64::from(BURSTS * BURST))),
        "{counters:?}"
    );
    times
}

/// The share of gaps between departures of which something holds.
fn share(times: &[Duration], holds: impl Fn(Duration) -> bool) -> f64 {
    let gaps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    gaps.filter(|gap| holds(*gap)).count() as f64 / (times.len() - 1) as f64
}

#[test]
#[ignore = "needs fq: cargo xtask vm"]
fn a_burst_leaves_on_the_grid() {
    if !is_root() {
        return;
    }
    let (net, call) = (Net::new(), Call::across());
    net.introduce(call.callee, "g1");
    let times = departures(&net, &call);
    let within = share(&times, |gap| gap.abs_diff(PTIME) <= Duration::from_millis(1));
    // For the benchmark; not by `println!`, which the test harness keeps to itself.
    writeln!(std::io::stdout(), "\npacing: within_1ms={:.1}", within * 100.0).unwrap();
    // As they were sent, four gaps of five would be no gaps.
    assert!(share(&times, |gap| gap > PTIME / 2) > 0.5, "{times:?}");
}

#[test]
#[ignore = "needs fq and 8021q: cargo xtask vm"]
fn a_burst_into_a_vlan_leaves_on_the_grid() {
    if !is_root() {
        return;
    }
    let (net, call) = (Net::new(), Call::into_vlan());
    net.add_vlan();
    net.introduce(call.callee, "g1.33");
    let times = departures(&net, &call);
    assert!(share(&times, |gap| gap > PTIME / 2) > 0.5, "{times:?}");
}

#[test]
#[ignore = "needs fq: cargo xtask vm"]
fn a_packet_that_is_to_wait_goes_up_the_stack_with_a_note() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    bench.gateway.sh("tc qdisc replace dev b0 root fq");
    bench.lane.program(&paced(&call, Pacing::Always), None).unwrap();
    let mut last = None;
    for sequence in 0..5 {
        let before = monotonic_ns();
        let judged = bench.packet(call.caller, call.caller_side, &rtp(0, sequence, 1));
        let after = monotonic_ns();
        assert_eq!((judged.outcome, judged.run.action), (Outcome::Paced, XDP_PASS));
        let sent_on = bench.sent_on(call.callee_side, call.callee, &rtp(0, sequence, 1));
        assert_eq!(judged.run.frame, sent_on);
        // A magic number, the interface, the time.
        let note: [u8; 16] = judged.run.metadata.try_into().unwrap();
        let word = |at: usize| u32::from_ne_bytes(note[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4)), (0x7678_6c70, bench.gateway.interface("b0").1));
        let time = u64::from_ne_bytes(note[8..].try_into().unwrap());
        let ptime = PTIME.as_nanos() as u64;
        // On the grid behind the last; unless that time has gone by, a packet time from now.
        let afresh = (before + ptime..=after + ptime).contains(&time);
        assert!(
            afresh || last.is_some_and(|last| time == last + ptime),
            "{time} after {last:?}"
        );
        last = Some(time);
    }
    // What goes the other way was not asked to wait.
    let judged = bench.packet(call.callee, call.callee_side, &rtp(0, 1, 2));
    assert_eq!((judged.outcome, judged.run.action), (Outcome::Redirected, XDP_REDIRECT));
    assert!(judged.run.metadata.is_empty());
}

#[test]
#[ignore = "needs fq: cargo xtask vm"]
fn pacing_on_demand_begins_with_bursts_and_ends_with_them() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    bench.gateway.sh("tc qdisc replace dev b0 root fq");
    bench.lane.program(&paced(&call, Pacing::Auto), None).unwrap();
    let mut sequence = 0;
    let mut arrives = |timestamp: u32| {
        let mut packet = rtp(0, sequence, 1);
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        sequence += 1;
        bench.packet(call.caller, call.caller_side, &packet).outcome
    };
    // Packet upon packet, each 20 ms of media.
    assert_eq!(arrives(0), Outcome::Redirected);
    let burst = (1..100).find(|place| arrives(place * 160) == Outcome::Paced);
    assert!(burst.is_some_and(|place| place > 5), "{burst:?}");
    assert!(bench.lane.read(call.caller_side).unwrap().paced);
    // As much media time as real time goes by: however unevenly this test gets on, the stream is steady.
    let begin = Instant::now();
    let calm = (0..10_000).find(|_| arrives(16_000 + begin.elapsed().as_micros() as u32 / 125) == Outcome::Redirected);
    assert!(calm.is_some_and(|place| place > 5), "{calm:?}");
    assert!(!bench.lane.read(call.caller_side).unwrap().paced);
}

#[test]
#[ignore = "needs fq: cargo xtask vm"]
fn a_flow_that_is_not_to_be_paced_is_not() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    bench.gateway.sh("tc qdisc replace dev b0 root fq");
    bench.lane.program(&call.pair(), None).unwrap();
    for sequence in 0..40 {
        let judged = bench.packet(call.caller, call.caller_side, &rtp(0, sequence, 1));
        assert_eq!(judged.outcome, Outcome::Redirected);
    }
    assert_eq!(bench.lane.pacing(), []);
}

#[test]
fn without_fq_a_flow_is_not_paced_and_the_lane_says_so() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    for pacing in [Pacing::Always, Pacing::Auto] {
        bench.lane.program(&paced(&call, pacing), None).unwrap();
        for sequence in 0..40 {
            let judged = bench.packet(call.caller, call.caller_side, &rtp(0, sequence, 1));
            assert_eq!(judged.outcome, Outcome::Redirected);
        }
        assert!(!bench.lane.read(call.caller_side).unwrap().paced);
        assert_eq!(bench.lane.pacing(), [("b0".to_owned(), false)]);
    }
}

#[test]
fn the_program_that_paces_comes_and_goes_with_the_lane() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    assert_eq!(attached(&bench.gateway), 1);
    let Bench { lane, gateway, .. } = bench;
    let lane = Arc::into_inner(lane).unwrap();
    gateway.run(move || drop(lane));
    // A process that another test is about to start may hold copies of the lane's descriptors for a moment.
    until("it is gone", || attached(&gateway) == 0);
}

#[test]
#[ignore = "needs a BPF file system: cargo xtask vm"]
fn the_program_that_paces_outlives_the_process_once() {
    if !is_root() {
        return;
    }
    let (gateway, call) = (gateway(), Call::across());
    let root = std::path::PathBuf::from(format!("/sys/fs/bpf/pace-{}", std::process::id()));
    let config = KernelConfig {
        interfaces: vec!["a0".to_owned(), "b0".to_owned()],
        pin: Some(root.clone()),
        ..config()
    };
    // Each process leaves a call behind, but for the last, which ends it.
    for process in 0..3 {
        let config = config.clone();
        gateway.run(move || {
            let lane = KernelLane::start(&config, |_| {}).unwrap();
            assert_eq!(lane.adopted(), process > 0);
            lane.program(&call.pair(), None).unwrap();
            if process == 2 {
                lane.remove(call.caller_side);
                lane.remove(call.callee_side);
            }
        });
        assert_eq!(
            attached(&gateway),
            if process == 2 { 0 } else { 1 },
            "process {process}"
        );
    }
    assert!(!root.exists());
}

/// Programs that frames which arrive at `a0` meet behind XDP.
fn attached(namespace: &Namespace) -> usize {
    namespace.run(|| match SchedClassifier::query_tcx("a0", TcAttachType::Ingress) {
        Ok((_, programs)) => programs.len(),
        // A kernel before 6.6.
        Err(_) => {
            let mut tc = std::process::Command::new("tc");
            let output = tc.args(["filter", "show", "dev", "a0", "ingress"]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().filter(|line| line.contains("direct-action")).count()
        }
    })
}
