//! What a flow remembers from packet to packet: who owns it, how fast it may be, the stream it sends on, its reports.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "the support code has packet sockets")]

mod kernel_support;

use std::net::SocketAddr;
use std::time::Instant;

use kernel_support::bench::Bench;
use kernel_support::frames::XDP_DROP;
use kernel_support::{Call, above, config, is_root, report, rtp};
use voxlane_common::drops::DropReason;
use voxlane_common::outcome::{Outcome, PassReason};
use voxlane_common::rtp::RtpHeader;
use voxlane_common::splice::Continuity;
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::kernel::{KernelConfig, RelayPair};
use voxlane_dataplane::media_plane::{LatchMode, RtcpPort};

const WRONG_SOURCE: Outcome = Outcome::Dropped(DropReason::WrongSource);
const PROBATION: Outcome = Outcome::Dropped(DropReason::Probation);
const UNALLOCATED: Outcome = Outcome::Dropped(DropReason::Unallocated);

/// The caller's own port, and two others of the same host.
fn ports(call: &Call) -> [SocketAddr; 3] {
    [call.caller.port(), 61_000, 62_000].map(|port| SocketAddr::new(call.caller.ip(), port))
}

/// A call between callers of this latch.
fn latched(call: &Call, latch: LatchMode) -> RelayPair {
    let mut pair = call.pair();
    pair.0.session.latch = latch;
    pair
}

#[test]
fn who_owns_a_flow_is_a_matter_of_its_latch() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    for call in [Call::across(), Call::across_v6()] {
        let [signalled, one, other] = ports(&call);
        let stories: [(LatchMode, &[(SocketAddr, Outcome)]); 3] = [
            (
                LatchMode::Strict,
                &[
                    (one, WRONG_SOURCE),
                    (one, WRONG_SOURCE),
                    (signalled, Outcome::Redirected),
                    (one, WRONG_SOURCE),
                ],
            ),
            (
                LatchMode::Nat,
                &[
                    (one, PROBATION),
                    (other, PROBATION),
                    (one, PROBATION),
                    (one, Outcome::Redirected),
                    (other, WRONG_SOURCE),
                    // Who was signalled takes the flow back from a guess.
                    (signalled, Outcome::Redirected),
                    (one, WRONG_SOURCE),
                ],
            ),
            (
                LatchMode::Open,
                &[
                    (one, Outcome::Redirected),
                    (other, WRONG_SOURCE),
                    (signalled, WRONG_SOURCE),
                    (one, Outcome::Redirected),
                ],
            ),
        ];
        for (latch, packets) in stories {
            bench.lane.program(&latched(&call, latch), None).unwrap();
            for (sequence, (from, outcome)) in (0..).zip(packets) {
                let judged = bench.packet(*from, call.caller_side, &rtp(0, sequence, 1));
                assert_eq!(judged.outcome, *outcome, "{latch:?}, packet {sequence}");
            }
            let record = bench.lane.remove(call.caller_side).unwrap();
            let owner = packets.iter().rfind(|(_, outcome)| *outcome == Outcome::Redirected);
            assert_eq!(record.received.source, owner.map(|(from, _)| *from));
        }
    }
}

#[test]
fn a_flow_that_is_found_elsewhere_is_answered_there() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    for call in [Call::across(), Call::across_v6()] {
        bench.lane.program(&call.pair(), None).unwrap();
        let [signalled, elsewhere, _] = ports(&call);
        let answer = || bench.packet(call.callee, call.callee_side, &rtp(0, 1, 2)).run.frame;
        assert_eq!(answer(), bench.sent_on(call.caller_side, signalled, &rtp(0, 1, 2)));
        for sequence in 0..2 {
            bench.packet(elsewhere, call.caller_side, &rtp(0, sequence, 1));
        }
        assert_eq!(answer(), bench.sent_on(call.caller_side, elsewhere, &rtp(0, 1, 2)));
        assert_eq!(bench.lane.read(call.callee_side).unwrap().forwarded_to, Some(elsewhere));
    }
}

#[test]
fn a_flood_is_held_to_the_rate_that_was_agreed() {
    if !is_root() {
        return;
    }
    let call = Call::across();
    let bench = Bench::with(KernelConfig {
        rules: Rules::default(),
        ..config()
    });
    bench.lane.program(&call.pair(), None).unwrap();
    let media = |sequence| bench.frame(call.caller, call.caller_side, &rtp(0, sequence, 1));
    let [reporter, reports] = [call.caller, call.caller_side].map(above);
    let begin = Instant::now();
    bench.all_arrive((0..1000).map(media).collect(), call.caller_side);
    bench.all_arrive(vec![bench.frame(reporter, reports, &report(1)); 200], reports);
    let seconds = begin.elapsed().as_secs_f64();

    let record = bench.lane.read(call.caller_side).unwrap();
    // Twice the rate of 50 packets a second with some room for headers, and a second of them at once.
    let packets = record.received.packets;
    assert!(
        packets >= 50 && packets as f64 <= 130.0 * (1.0 + seconds),
        "{record:?}, {seconds} s"
    );
    // Ten reports a second, and two seconds of them at once.
    let reports = record.rtcp_packets;
    assert!(
        reports >= 20 && reports as f64 <= 22.0 + 10.0 * seconds,
        "{record:?}, {seconds} s"
    );
    assert_eq!(record.drops, [(DropReason::Policed, 1200 - packets - reports)]);
    assert_eq!((record.forwarded_packets, record.rtcp_forwarded), (packets, reports));
}

#[test]
fn ports_of_a_worker_are_left_to_its_sockets() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    let [rtp_port, rtcp_port] = [call.caller_side, above(call.caller_side)];
    let outcomes = || {
        let media = bench.packet(call.caller, rtp_port, &rtp(0, 1, 1));
        let report = bench.packet(above(call.caller), rtcp_port, &report(1));
        [media.outcome, report.outcome]
    };
    let worker = Outcome::Passed(PassReason::Worker);
    bench.lane.reserve(rtp_port).unwrap();
    assert_eq!(outcomes(), [worker; 2]);
    bench.lane.program(&call.pair(), None).unwrap();
    assert_eq!(outcomes(), [Outcome::Redirected; 2]);
    let states = bench.lane.hand_back(rtp_port).unwrap().unwrap();
    assert_eq!(states[0].rtp.account.packets, 1);
    assert_eq!(outcomes(), [worker; 2]);
    bench.lane.release(rtp_port);
    assert_eq!(outcomes(), [UNALLOCATED; 2]);
}

#[test]
fn after_the_call_its_ports_are_nobodys() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    bench.lane.program(&call.pair(), None).unwrap();
    let media = || bench.packet(call.caller, call.caller_side, &rtp(0, 1, 1));
    assert_eq!(media().outcome, Outcome::Redirected);
    // Either leg's end is the end of the pair.
    bench.lane.remove(call.callee_side).unwrap();
    let judged = media();
    assert_eq!((judged.outcome, judged.run.action), (UNALLOCATED, XDP_DROP));
}

/// A call whose caller, or both of whose ends, have RTP and RTCP on one port.
fn muxed(call: &Call, callee: RtcpPort) -> RelayPair {
    let mut pair = call.pair();
    for (leg, port) in [(&mut pair.0, RtcpPort::Shared), (&mut pair.1, callee)] {
        leg.session.rtcp_port = port;
        leg.session.remote_rtcp = match port {
            RtcpPort::Shared => leg.session.remote_rtp,
            RtcpPort::Own => above(leg.session.remote_rtp),
        };
    }
    pair
}

#[test]
fn reports_on_the_port_of_the_media_find_the_far_ends_port_for_reports() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    for call in [Call::across(), Call::across_v6()] {
        for callee in [RtcpPort::Own, RtcpPort::Shared] {
            bench.lane.program(&muxed(&call, callee), None).unwrap();
            let [callee_side, callee] = match callee {
                RtcpPort::Own => [call.callee_side, call.callee].map(above),
                RtcpPort::Shared => [call.callee_side, call.callee],
            };
            let there = bench.packet(call.caller, call.caller_side, &report(1));
            assert_eq!(there.outcome, Outcome::Redirected);
            assert_eq!(there.run.frame, bench.sent_on(callee_side, callee, &report(1)));
            let back = bench.packet(callee, callee_side, &report(2));
            assert_eq!(back.outcome, Outcome::Redirected);
            assert_eq!(back.run.frame, bench.sent_on(call.caller_side, call.caller, &report(2)));
            // Media goes the way it always does.
            let media = bench.packet(call.caller, call.caller_side, &rtp(0, 1, 1));
            assert_eq!(
                media.run.frame,
                bench.sent_on(call.callee_side, call.callee, &rtp(0, 1, 1))
            );

            let record = bench.lane.remove(call.caller_side).unwrap();
            assert_eq!((record.rtcp_packets, record.rtcp_forwarded), (1, 1));
            assert_eq!((record.received.packets, record.drops), (1, vec![]));
            bench.lane.remove(call.callee_side);
        }
    }
    // Without rtcp-mux a report on the port of the media is no media.
    let call = Call::across();
    bench.lane.program(&call.pair(), None).unwrap();
    let mut long = report(1);
    long.extend([0; 20]);
    let judged = bench.packet(call.caller, call.caller_side, &long);
    assert_eq!(judged.outcome, Outcome::Dropped(DropReason::NotRtp));
}

/// SSRC, sequence number and timestamp of a packet of RTP over IPv4.
fn numbers(frame: &[u8]) -> (u32, u16, u32) {
    let header = RtpHeader::parse(&frame[42..]).unwrap();
    (header.ssrc(), header.sequence(), header.timestamp())
}

#[test]
fn a_spliced_flow_is_one_stream_whoever_sends_it() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    let mut pair = call.pair();
    pair.1.continuity = Continuity::Spliced;
    bench.lane.program(&pair, None).unwrap();
    let sent = |packet: &[u8]| numbers(&bench.packet(call.caller, call.caller_side, packet).run.frame);
    let (ssrc, mut sequence, mut timestamp) = sent(&rtp(0, 65_534, 7));
    assert_eq!((ssrc, sequence), (7, 65_534));
    for (next, source) in [(65_535, 7), (500, 8), (501, 8), (9, 9), (10, 9)] {
        let packet = rtp(0, next, source);
        let now = sent(&packet);
        let ahead = now.2.wrapping_sub(timestamp);
        assert_eq!((now.0, now.1), (7, sequence.wrapping_add(1)), "of {source}");
        // How long this test took between two sources counts in whole packets.
        let is_new = next == 500 || next == 9;
        assert!(
            if is_new {
                ahead >= 160 && ahead % 160 == 0
            } else {
                ahead == 160
            },
            "{ahead} of {source}"
        );
        (sequence, timestamp) = (now.1, now.2);
    }
    // Its reports are about the stream that is sent.
    let [reporter, reports] = [call.caller, call.caller_side].map(above);
    let judged = bench.packet(reporter, reports, &report(9));
    let [from, to] = [call.callee_side, call.callee].map(above);
    assert_eq!(judged.run.frame, bench.sent_on(from, to, &report(7)));
    // The other direction passes on what comes.
    let back = bench.packet(call.callee, call.callee_side, &rtp(0, 3, 5));
    assert_eq!(numbers(&back.run.frame), (5, 3, 480));
}

#[test]
fn one_packet_of_sixty_four_is_timed() {
    if !is_root() {
        return;
    }
    let (bench, call) = (Bench::new(), Call::across());
    bench.lane.program(&call.pair(), None).unwrap();
    let media = |sequence| bench.frame(call.caller, call.caller_side, &rtp(0, sequence, 1));
    bench.all_arrive((0..640).map(media).collect(), call.caller_side);
    let timed: u64 = bench.lane.durations().iter().map(|(_, count)| count).sum();
    assert_eq!(timed, 10);
}
