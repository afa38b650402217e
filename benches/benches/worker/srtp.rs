//! SRTP on a packet of 172 bytes (20 ms of G.711), against libsrtp 2 on the same packet.
//!
//! Both protect batches of packets, each packet with a later sequence number; and unprotect packets that were protected just
//! before, outside the measured time, so that none is a replay. libsrtp takes one packet after the other, of one stream.
//!
//! A worker has packets of many legs, each with keys of its own, which are not all in the nearest cache; it takes them one
//! at a time or, where that is faster with the suite at hand, two at a time, and copies packets to where they wait for each
//! other. That is what has to hold the limit; the other way is shown beside it, and both of one stream and of two, where
//! nothing but SRTP is measured. What a packet costs a worker in all is measured by `io`.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, anyhow};
use voxlane_benches::in_turns;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::srtp::{Inbound, Incoming, Keying, Kind, Outbound, Outgoing, Suite, finish_two, unprotect_two};
use voxlane_tests::peers::libsrtp::{self, Session};

/// Header and 160 samples.
const PACKET: usize = 172;

/// The same with room for what libsrtp may add.
const BUFFER: usize = PACKET + 160;

/// Packets in a row: what a worker takes from its sockets before it goes on, and the processor's nearest cache holds.
const BATCH: usize = 64;

/// Batches of one measurement.
const BATCHES: usize = 64;

/// ns, of DESIGN's "Numbers to hold".
const LIMIT: f64 = 150.0;

type Buffers = Vec<[u8; BUFFER]>;

/// Who protects, and in which way.
#[derive(Clone, Copy)]
enum Way {
    One,
    Two,
    Libsrtp,
    /// One packet of each of as many legs as there are packets in a batch.
    Legs,
    /// The same two at a time, with what a worker does for that: packets are copied to where they wait for each other.
    LegsWait,
}

const WAYS: [Way; 5] = [Way::One, Way::Two, Way::Libsrtp, Way::Legs, Way::LegsWait];

/// Adds rows a suite for each direction: what a worker does, against the limit and against libsrtp, and the other way.
pub fn measure(report: &mut Report) -> Result<()> {
    for suite in Suite::ALL {
        let is_in_pairs = outbound(&keying(suite)?)?.is_faster_in_pairs();
        add(report, "protect", suite, is_in_pairs, protect(suite)?);
        add(report, "unprotect", suite, is_in_pairs, unprotect(suite)?);
    }
    Ok(())
}

fn add(report: &mut Report, what: &str, suite: Suite, is_in_pairs: bool, measured: [f64; WAYS.len()]) {
    let [one, two, libsrtp, legs, legs_wait] = measured;
    let ways = [("one at a time", legs), ("two at a time with waiting", legs_wait)];
    let [(other, not_done), (how, done)] = if is_in_pairs { ways } else { [ways[1], ways[0]] };
    let name = format!("SRTP {what}, {PACKET} bytes, {suite}");
    let row = Row::new(format!("{name}, {BATCH} legs as workers do: {how}"), done, "ns");
    report.add(row.goal(Goal::AtMost(LIMIT)));
    let row = Row::new(
        format!("{name}, {BATCH} legs as workers do, beside libsrtp2"),
        done,
        "ns",
    );
    report.add(row.against(libsrtp).goal(Goal::AtMost(1.0)));
    report.add(Row::new(format!("{name}, {BATCH} legs {other}"), not_done, "ns").against(libsrtp));
    for (how, streams, figure) in [
        ("one at a time", "one stream", one),
        ("two at a time", "two streams", two),
    ] {
        report.add(Row::new(format!("{name}, {streams} {how}"), figure, "ns").against(libsrtp));
    }
}

/// Master key and salt.
fn master(suite: Suite) -> Vec<u8> {
    (0..suite.key_len() + suite.salt_len())
        .map(|place| place as u8)
        .collect()
}

fn session(suite: Suite, way: libsrtp::Way) -> Result<Session> {
    Session::new(suite.name(), &master(suite), way)
        .map_err(|reason| anyhow!("there is nothing to compare with: {reason}"))
}

fn keying(suite: Suite) -> Result<Keying> {
    Ok(Keying::from_bytes(suite, &master(suite), None)?)
}

/// Writes packets of one stream from `first` on.
fn fill(buffers: &mut Buffers, first: usize) {
    for (place, buffer) in buffers.iter_mut().enumerate() {
        // Sequence numbers wrap, as in a long call.
        let sequence = (first + place) as u16;
        buffer[0] = 0x80;
        buffer[2..4].copy_from_slice(&sequence.to_be_bytes());
        buffer[8..12].copy_from_slice(&0xcafe_babe_u32.to_be_bytes());
    }
}

/// Keys of two streams.
fn two_keyings(suite: Suite) -> Result<[Keying; 2]> {
    Ok([keying(suite)?, Keying::random(suite, None)])
}

fn outbound(keying: &Keying) -> Result<Outbound> {
    Outbound::new(keying).ok_or_else(|| anyhow!("no key"))
}

fn inbound(keying: &Keying) -> Result<Inbound> {
    Inbound::new(keying).ok_or_else(|| anyhow!("no key"))
}

/// ns a batch.
fn timed(buffers: &mut Buffers, mut code: impl FnMut(&mut [u8; BUFFER])) -> f64 {
    let start = Instant::now();
    for buffer in buffers.iter_mut() {
        code(buffer);
    }
    start.elapsed().as_nanos() as f64
}

/// The same, of two packets at a time.
fn timed_two(buffers: &mut Buffers, mut code: impl FnMut([&mut [u8; BUFFER]; 2])) -> f64 {
    let start = Instant::now();
    for pair in buffers.as_chunks_mut::<2>().0 {
        code(pair.each_mut());
    }
    start.elapsed().as_nanos() as f64
}

/// Where packets wait for each other.
type Held = [[u8; BUFFER]; 2];

/// As many keys as there are packets in a batch.
fn many(suite: Suite) -> Vec<Keying> {
    (0..BATCH).map(|_| Keying::random(suite, None)).collect()
}

/// ns a packet in each way; `batch` handles one, and says how many ns it took.
fn packets(mut batch: impl FnMut(Way, &mut Buffers) -> f64) -> Result<Vec<f64>, Infallible> {
    let mut buffers: Buffers = vec![[0; BUFFER]; BATCH];
    let mut sent = WAYS.map(|_| 0);
    in_turns(&WAYS, |way| {
        let mut nanoseconds = 0.0;
        for _ in 0..BATCHES {
            let sent = &mut sent[*way as usize];
            fill(&mut buffers, *sent);
            *sent += BATCH;
            nanoseconds += batch(*way, &mut buffers);
        }
        Ok(nanoseconds / (BATCH * BATCHES) as f64)
    })
}

/// Protects two packets together; how many were refused.
#[inline]
fn refused_of_two([out_a, out_b]: [&mut Outbound; 2], [a, b]: [&mut [u8; BUFFER]; 2]) -> usize {
    let begun = [
        out_a.begin(Kind::Rtp, &a[..PACKET]),
        out_b.begin(Kind::Rtp, &b[..PACKET]),
    ];
    let [Ok(begun_a), Ok(begun_b)] = begun else {
        return 2;
    };
    let packet = |outbound, begun, buffer| Outgoing {
        outbound,
        begun,
        buffer,
    };
    let protected = finish_two([packet(&*out_a, begun_a, a), packet(&*out_b, begun_b, b)]);
    protected.iter().filter(|protected| protected.is_err()).count()
}

/// Unprotects two packets together; how many were refused.
#[inline]
fn refused_on_arrival([in_a, in_b]: [&mut Inbound; 2], [a, b]: [&mut [u8]; 2]) -> usize {
    let packet = |inbound, packet| Incoming {
        inbound,
        kind: Kind::Rtp,
        packet,
    };
    let unprotected = unprotect_two([packet(in_a, a), packet(in_b, b)]);
    unprotected.iter().filter(|unprotected| unprotected.is_err()).count()
}

fn protect(suite: Suite) -> Result<[f64; WAYS.len()]> {
    let [first, second] = two_keyings(suite)?;
    let mut one = outbound(&first)?;
    let mut two = [outbound(&first)?, outbound(&second)?];
    let mut libsrtp = session(suite, libsrtp::Way::Outbound)?;
    let keyings = many(suite);
    let legs = || keyings.iter().map(outbound).collect::<Result<Vec<_>>>();
    let (mut alone, mut waiting) = (legs()?, legs()?);
    let mut held: Held = [[0; BUFFER]; 2];
    let mut failed = 0;
    let measured = packets(|way, buffers| match way {
        Way::One => timed(buffers, |buffer| {
            failed += usize::from(one.protect(Kind::Rtp, buffer, PACKET).is_err());
        }),
        Way::Two => timed_two(buffers, |[a, b]| {
            let [outbound_a, outbound_b] = &mut two;
            failed += refused_of_two([outbound_a, outbound_b], [a, b]);
        }),
        Way::Libsrtp => timed(buffers, |buffer| {
            failed += usize::from(libsrtp.protect(buffer, PACKET).is_err());
        }),
        Way::Legs => {
            let mut legs = alone.iter_mut();
            timed(buffers, |buffer| {
                let leg = legs.next();
                failed += usize::from(leg.is_none_or(|leg| leg.protect(Kind::Rtp, buffer, PACKET).is_err()));
            })
        }
        Way::LegsWait => {
            let mut legs = waiting.as_chunks_mut::<2>().0.iter_mut();
            timed_two(buffers, |packets| {
                for (place, packet) in held.iter_mut().zip(packets) {
                    place[..PACKET].copy_from_slice(&packet[..PACKET]);
                }
                let legs = legs.next();
                failed += legs.map_or(2, |legs| refused_of_two(legs.each_mut(), held.each_mut()));
                black_box(&held);
            })
        }
    });
    figures(measured, failed)
}

fn unprotect(suite: Suite) -> Result<[f64; WAYS.len()]> {
    let [first, second] = two_keyings(suite)?;
    let mut one = inbound(&first)?;
    let mut two = [inbound(&first)?, inbound(&second)?];
    let mut libsrtp = session(suite, libsrtp::Way::Inbound)?;
    let keyings = many(suite);
    let legs = || keyings.iter().map(inbound).collect::<Result<Vec<_>>>();
    let (mut alone, mut waiting) = (legs()?, legs()?);
    let mut held = [0; BUFFER];
    let far_ends = || keyings.iter().map(outbound).collect::<Result<Vec<_>>>();
    // Of each way, in the order of the packets.
    let mut writers = [
        vec![outbound(&first)?],
        vec![outbound(&first)?, outbound(&second)?],
        vec![outbound(&first)?],
        far_ends()?,
        far_ends()?,
    ];
    let mut failed = 0;
    let measured = packets(|way, buffers| {
        let mut length = PACKET;
        let writers = &mut writers[way as usize];
        let count = writers.len();
        for (place, buffer) in buffers.iter_mut().enumerate() {
            match writers[place % count].protect(Kind::Rtp, buffer, PACKET) {
                Ok(protected) => length = protected,
                Err(_) => failed += 1,
            }
        }
        match way {
            Way::One => timed(buffers, |buffer| {
                failed += usize::from(one.unprotect(Kind::Rtp, &mut buffer[..length]).is_err());
            }),
            Way::Two => timed_two(buffers, |[a, b]| {
                let [inbound_a, inbound_b] = &mut two;
                failed += refused_on_arrival([inbound_a, inbound_b], [&mut a[..length], &mut b[..length]]);
            }),
            Way::Libsrtp => timed(buffers, |buffer| {
                failed += usize::from(libsrtp.unprotect(&mut buffer[..length]).is_err());
            }),
            Way::Legs => {
                let mut legs = alone.iter_mut();
                timed(buffers, |buffer| {
                    let packet = &mut buffer[..length];
                    let leg = legs.next();
                    failed += usize::from(leg.is_none_or(|leg| leg.unprotect(Kind::Rtp, packet).is_err()));
                })
            }
            Way::LegsWait => {
                let mut legs = waiting.as_chunks_mut::<2>().0.iter_mut();
                timed_two(buffers, |[a, b]| {
                    held[..length].copy_from_slice(&a[..length]);
                    let packets = [&mut held[..length], &mut b[..length]];
                    let legs = legs.next();
                    failed += legs.map_or(2, |legs| refused_on_arrival(legs.each_mut(), packets));
                    black_box(&held);
                })
            }
        }
    });
    figures(measured, failed)
}

fn figures(measured: Result<Vec<f64>, Infallible>, failed: usize) -> Result<[f64; WAYS.len()]> {
    let Ok(measured) = measured;
    match (measured.try_into(), failed) {
        (Ok(figures), 0) => Ok(figures),
        _ => Err(anyhow!("{failed} packets were refused")),
    }
}
