//! What userspace is told of relayed calls: keys, round trips, far ends that were found, copies of frames; and how it
//! learns that it was not told.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "the support code has packet sockets")]

mod kernel_support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use kernel_support::bench::{Bench, until};
use kernel_support::{Call, above, config, is_root, report, rtp};
use voxlane_common::outcome::{Loss, Outcome};
use voxlane_dataplane::kernel::{KernelLane, Told};
use voxlane_dataplane::media_plane::MirroredFrame;

const PATIENCE: Duration = Duration::from_secs(20);

/// The last packet of a telephone event: key 5, held for 100 ms, under a timestamp that names it.
fn press(payload_type: u8, sequence: u16, timestamp: u32) -> Vec<u8> {
    let mut packet = rtp(payload_type, sequence, 1);
    packet.truncate(12);
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet.extend([5, 0x8a, 0x03, 0x20]);
    packet
}

fn is_five(told: &Told, call: &Call) -> bool {
    let Told::Press { local, press } = told;
    *local == call.caller_side && press.digit == '5' && press.duration == Duration::from_millis(100)
}

#[test]
fn a_key_is_passed_on_and_told() {
    if !is_root() {
        return;
    }
    for call in [Call::across(), Call::across_v6()] {
        let (tell, told) = unbounded();
        let bench = Bench::telling(config(), move |what| tell.send(what).unwrap_or_default());
        bench.lane.program(&call.pair(), None).unwrap();
        // The end of an event is sent three times.
        for sequence in 0..3 {
            let judged = bench.packet(call.caller, call.caller_side, &press(101, sequence, 160));
            let sent_on = bench.sent_on(call.callee_side, call.callee, &press(96, sequence, 160));
            assert_eq!((judged.outcome, judged.run.frame), (Outcome::Redirected, sent_on));
        }
        assert!(is_five(&told.recv_timeout(PATIENCE).unwrap(), &call));
        bench.packet(call.caller, call.caller_side, &press(101, 3, 8000));
        assert!(is_five(&told.recv_timeout(PATIENCE).unwrap(), &call));
        assert!(told.is_empty());
        assert_eq!(bench.lane.read(call.caller_side).unwrap().digits, 2);
        assert_eq!(bench.lane.read(call.callee_side).unwrap().digits, 0);
    }
}

/// A sender report of `name` (the middle of its time stamp), or a receiver report, about a report of that name.
fn about(sender: Option<u32>, name: u32) -> Vec<u8> {
    let mut packet = vec![0x81, if sender.is_some() { 200 } else { 201 }, 0, 0, 0, 0, 0, 1];
    if let Some(sender) = sender {
        packet.extend([0, 0]);
        packet.extend(sender.to_be_bytes());
        packet.extend([0; 10]);
    }
    packet.extend([0; 16]);
    packet.extend(name.to_be_bytes());
    packet.extend([0; 4]);
    let words = packet.len() as u16 / 4 - 1;
    packet[2..4].copy_from_slice(&words.to_be_bytes());
    packet
}

#[test]
fn reports_tell_the_round_trip() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    bench.lane.program(&call.pair(), None).unwrap();
    let begin = Instant::now();
    bench.packet(above(call.caller), above(call.caller_side), &about(Some(77), 0));
    bench.packet(above(call.callee), above(call.callee_side), &about(None, 77));
    let longest = begin.elapsed();
    let round_trip = || bench.lane.read(call.callee_side).unwrap().round_trip;
    until("the round trip is known", || round_trip().is_some());
    assert!(round_trip().is_some_and(|trip| trip > Duration::ZERO && trip <= longest));
    assert_eq!(bench.lane.read(call.caller_side).unwrap().round_trip, None);
}

#[test]
fn a_far_end_that_was_found_gets_a_next_hop_of_its_own() {
    if !is_root() {
        return;
    }
    for (signalled, call) in [
        ("203.0.113.9:5000", Call::across()),
        ("[2001:db8:ff::9]:5000", Call::across_v6()),
    ] {
        // Signalled behind the router, and found on our own network.
        let bench = Bench::new();
        let mut pair = call.pair();
        pair.1.session.remote_rtp = signalled.parse().unwrap();
        bench.lane.program(&pair, None).unwrap();
        for sequence in 0..2 {
            bench.packet(call.callee, call.callee_side, &rtp(0, sequence, 2));
        }
        bench.look_nothing_up();
        let there = || bench.packet(call.caller, call.caller_side, &rtp(0, 1, 1));
        until("the next hop is known", || there().outcome == Outcome::Redirected);
        let sent_on = bench.sent_on(call.callee_side, call.callee, &rtp(0, 1, 1));
        assert_eq!(there().run.frame, sent_on);
    }
}

/// Copies of all that arrives at a leg.
fn copies(lane: &KernelLane, leg: SocketAddr) -> Receiver<MirroredFrame> {
    let (into, copies) = bounded(2048);
    lane.mirror(leg, into).unwrap();
    copies
}

#[test]
fn mirrored_frames_are_those_that_arrived() {
    if !is_root() {
        return;
    }
    for call in [Call::across(), Call::across_v6()] {
        let bench = Bench::new();
        bench.lane.program(&call.pair(), None).unwrap();
        let mirrors = [call.caller_side, call.callee_side].map(|leg| copies(&bench.lane, leg));
        let begin = std::time::SystemTime::now();
        for length in [12, 13, 172, 255, 256, 257, 1000, 1400] {
            let mut media = rtp(0, length, 1);
            media.resize(usize::from(length), 0x5a);
            let [reporter, reports] = [call.callee, call.callee_side].map(above);
            for (frame, local) in [
                (bench.frame(call.caller, call.caller_side, &media), call.caller_side),
                (bench.frame(call.callee, call.callee_side, &media), call.callee_side),
                (bench.frame(reporter, reports, &report(2)), reports),
            ] {
                let judged = bench.arrives(frame.clone(), local);
                assert_eq!(judged.outcome, Outcome::Redirected);
                let mirrored = &mirrors[usize::from(local != call.caller_side)];
                let copy = mirrored.recv_timeout(PATIENCE).unwrap();
                assert_eq!((copy.length as usize, &copy.bytes), (frame.len(), &frame));
                assert!(copy.at >= begin - Duration::from_millis(1) && copy.at <= std::time::SystemTime::now());
            }
        }
        assert!(mirrors.iter().all(|mirrored| mirrored.is_empty()));
        // A call's end is its mirror's.
        bench.lane.remove(call.caller_side);
        bench.lane.remove(call.callee_side);
        assert!(mirrors.iter().all(|mirrored| mirrored.recv().is_err()));
    }
}

#[test]
fn a_leg_that_alone_is_mirrored_is_so_after_a_re_invite() {
    if !is_root() {
        return;
    }
    let call = Call::across();
    for (mirrored, other) in [
        (call.caller_side, call.callee_side),
        (call.callee_side, call.caller_side),
    ] {
        let bench = Bench::new();
        bench.lane.program(&call.pair(), None).unwrap();
        let copies = copies(&bench.lane, mirrored);
        bench.lane.program(&call.pair(), None).unwrap();
        for local in [other, mirrored] {
            let from = if local == call.caller_side {
                call.caller
            } else {
                call.callee
            };
            bench.arrives(bench.frame(from, local, &rtp(0, 1, 1)), local);
        }
        let copy = copies.recv_timeout(PATIENCE).unwrap();
        let from = if mirrored == call.caller_side {
            call.caller
        } else {
            call.callee
        };
        assert_eq!(copy.bytes, bench.frame(from, mirrored, &rtp(0, 1, 1)));
        assert!(copies.is_empty());
    }
}

/// A bench whose reader of events is held up, in the middle of telling of a key, until it is let go.
struct HeldUp {
    // First: the reader goes on before its lane ends.
    go_on: Sender<()>,
    told: Receiver<Told>,
    call: Call,
    bench: Bench,
}

impl HeldUp {
    fn new() -> Self {
        let ((tell, told), (go_on, wait)) = (unbounded(), bounded(0));
        let call = Call::across();
        let bench = Bench::telling(config(), move |what| {
            // The test may be over.
            let _ = tell.send(what);
            let _ = wait.recv();
        });
        bench.lane.program(&call.pair(), None).unwrap();
        Self {
            go_on,
            told,
            call,
            bench,
        }
    }

    /// A key is pressed, and told: what came before it has been read.
    fn press(&self, timestamp: u32) {
        let call = &self.call;
        self.bench
            .packet(call.caller, call.caller_side, &press(101, 1, timestamp));
        assert!(is_five(&self.told.recv_timeout(PATIENCE).unwrap(), call));
    }

    /// So many frames arrive while nobody reads.
    fn flood(&self, payload: &[u8], count: usize) {
        let frame = self.bench.frame(self.call.caller, self.call.caller_side, payload);
        self.bench.all_arrive(vec![frame; count], self.call.caller_side);
    }
}

#[test]
fn what_could_not_be_told_is_counted() {
    if !is_root() {
        return;
    }
    let held_up = HeldUp::new();
    held_up.press(160);
    // A ring of a megabyte, events of a little over a quarter of a kilobyte.
    held_up.flood(&press(101, 2, 160), 4000);
    let lane = &held_up.bench.lane;
    let lost = lane.lost(Loss::Event);
    assert!((100..4000).contains(&lost), "{lost}");
    assert_eq!(lane.read(held_up.call.caller_side).unwrap().forwarded_packets, 4001);
    // Once there is somebody to read, all is well again.
    drop(held_up.go_on);
    let call = &held_up.call;
    until("keys are told again", || {
        let timestamp = 80_000 + lane.read(call.caller_side).unwrap().digits as u32;
        held_up
            .bench
            .packet(call.caller, call.caller_side, &press(101, 3, timestamp));
        held_up.told.try_recv().is_ok()
    });
}

#[test]
fn a_mirror_that_nobody_looks_at_any_more_is_switched_off() {
    if !is_root() {
        return;
    }
    let mut large = rtp(0, 7, 1);
    large.resize(1400, 0);
    let held_up = HeldUp::new();
    let (lane, call) = (&held_up.bench.lane, held_up.call);
    let mirrored = copies(lane, call.caller_side);
    held_up.press(160);
    // More than the ring of four megabytes takes.
    held_up.flood(&large, 4000);
    let lost = lane.lost(Loss::Mirrored);
    assert!((100..4000).contains(&lost), "{lost}");

    drop(mirrored);
    held_up.go_on.send(()).unwrap();
    // The reader tells keys before it passes mirrored frames on: by the second key it has met the end of the receiver.
    for timestamp in [8000, 16_000] {
        held_up.press(timestamp);
        held_up.go_on.send(()).unwrap();
    }
    held_up.press(24_000);
    let lost = lane.lost(Loss::Mirrored);
    held_up.flood(&large, 4000);
    assert_eq!(lane.lost(Loss::Mirrored), lost);
    drop(held_up.go_on);
}
