//! SRTP on a packet of 172 bytes (20 ms of G.711), against libsrtp 2 on the same packet.
//!
//! Both protect batches of packets of one stream, each packet with the next sequence number; and unprotect packets that were
//! protected just before, outside the measured time, so that none is a replay.

use std::convert::Infallible;
use std::time::Instant;

use anyhow::{Result, anyhow};
use voxlane_benches::in_turns;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::srtp::{Inbound, Keying, Kind, Outbound, Suite};
use voxlane_tests::peers::libsrtp::{Session, Way};

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

/// Ours and libsrtp's.
#[derive(Clone, Copy)]
enum Whose {
    Ours,
    Theirs,
}

/// Adds two rows a suite for each direction: one against the limit, one against libsrtp.
pub fn measure(report: &mut Report) -> Result<()> {
    for suite in Suite::ALL {
        let [ours, theirs] = protect(suite)?;
        add(report, "protect", suite, ours, theirs);
        let [ours, theirs] = unprotect(suite)?;
        add(report, "unprotect", suite, ours, theirs);
    }
    Ok(())
}

fn add(report: &mut Report, what: &str, suite: Suite, ours: f64, theirs: f64) {
    let name = format!("SRTP {what}, {PACKET} bytes, {suite}");
    report.add(Row::new(&name, ours, "ns").goal(Goal::AtMost(LIMIT)));
    let row = Row::new(format!("{name}, beside libsrtp2"), ours, "ns");
    report.add(row.against(theirs).goal(Goal::AtMost(1.0)));
}

/// Master key and salt.
fn master(suite: Suite) -> Vec<u8> {
    (0..suite.key_len() + suite.salt_len())
        .map(|place| place as u8)
        .collect()
}

fn session(suite: Suite, way: Way) -> Result<Session> {
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

/// ns a batch.
fn timed(buffers: &mut Buffers, mut code: impl FnMut(&mut [u8; BUFFER])) -> f64 {
    let start = Instant::now();
    for buffer in buffers.iter_mut() {
        code(buffer);
    }
    start.elapsed().as_nanos() as f64
}

/// ns a packet, for ours and libsrtp's; `batch` handles one, and says how many ns it took.
fn packets(mut batch: impl FnMut(Whose, &mut Buffers) -> f64) -> Result<Vec<f64>, Infallible> {
    let mut buffers: Buffers = vec![[0; BUFFER]; BATCH];
    let mut sent = [0, 0];
    in_turns(&[Whose::Ours, Whose::Theirs], |whose| {
        let mut nanoseconds = 0.0;
        for _ in 0..BATCHES {
            let sent = &mut sent[*whose as usize];
            fill(&mut buffers, *sent);
            *sent += BATCH;
            nanoseconds += batch(*whose, &mut buffers);
        }
        Ok(nanoseconds / (BATCH * BATCHES) as f64)
    })
}

fn protect(suite: Suite) -> Result<[f64; 2]> {
    let mut ours = Outbound::new(&keying(suite)?).ok_or_else(|| anyhow!("no key"))?;
    let mut theirs = session(suite, Way::Outbound)?;
    let mut failed = 0;
    let measured = packets(|whose, buffers| match whose {
        Whose::Ours => timed(buffers, |buffer| {
            failed += usize::from(ours.protect(Kind::Rtp, buffer, PACKET).is_err());
        }),
        Whose::Theirs => timed(buffers, |buffer| {
            failed += usize::from(theirs.protect(buffer, PACKET).is_err());
        }),
    });
    figures(measured, failed)
}

fn unprotect(suite: Suite) -> Result<[f64; 2]> {
    let mut writers = [Outbound::new(&keying(suite)?), Outbound::new(&keying(suite)?)];
    let mut ours = Inbound::new(&keying(suite)?).ok_or_else(|| anyhow!("no key"))?;
    let mut theirs = session(suite, Way::Inbound)?;
    let mut failed = 0;
    let measured = packets(|whose, buffers| {
        let mut length = PACKET;
        if let Some(writer) = &mut writers[whose as usize] {
            for buffer in buffers.iter_mut() {
                match writer.protect(Kind::Rtp, buffer, PACKET) {
                    Ok(protected) => length = protected,
                    Err(_) => failed += 1,
                }
            }
        }
        match whose {
            Whose::Ours => timed(buffers, |buffer| {
                failed += usize::from(ours.unprotect(Kind::Rtp, &mut buffer[..length]).is_err());
            }),
            Whose::Theirs => timed(buffers, |buffer| {
                failed += usize::from(theirs.unprotect(&mut buffer[..length]).is_err());
            }),
        }
    });
    figures(measured, failed)
}

fn figures(measured: Result<Vec<f64>, Infallible>, failed: usize) -> Result<[f64; 2]> {
    let Ok(measured) = measured;
    match (measured.as_slice(), failed) {
        ([ours, theirs], 0) => Ok([*ours, *theirs]),
        _ => Err(anyhow!("{failed} packets were refused")),
    }
}
