//! Calls set up and torn down through the gateway, both legs real: INVITE, 100, 180, 200, ACK, BYE and 200 on each, and media
//! that is relayed by the kernel lane, whose ports are taken and given back with each call; no media is sent.
//!
//! Calls come at random times and last a second. Each rate is held for longer than a transaction is remembered (32 s) before it
//! is measured: then as many end as begin.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_benches::witness::{Seen, Witness};

use super::caller::Call;
use super::caller::Caller;
use super::peers::Peers;
use super::place::{Place, on_core};

/// Calls a second that a core is to carry.
const CALLS: f64 = 3000.0;

/// Milliseconds within which an INVITE is to have its 100 Trying, at half of that.
const TRYING: f64 = 2.0;

/// How long a call lasts, ns.
const HOLD: i64 = 1_000_000_000;

const WARM_UP: Duration = Duration::from_secs(35);
const MEASURED: Duration = Duration::from_secs(20);

/// What was measured at one rate.
struct Measured {
    /// Calls a second that ended well.
    rate: f64,
    /// Of a core, that the gateway took, and the thread of both carriers.
    gateway: f64,
    carriers: f64,
    /// From INVITE to 100 Trying, ns, in ascending order; those apart that the core's standing still explains.
    trying: Vec<i64>,
    still: usize,
    seen: Seen,
    /// Calls that did not go as they should.
    failed: usize,
    /// Messages that the gateway repeated, and that its peers would have.
    repeated: u64,
}

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let place = Place::new()?;
    let mut peers = Peers::new(&place)?;
    peers.caller.hold = Some(HOLD);
    let half = at(CALLS / 2.0, &place, &mut peers)?;
    let full = at(CALLS, &place, &mut peers)?;

    let sound = |measured: &Measured| measured.failed == 0 && measured.repeated == 0;
    let name = format!(
        "calls set up and torn down a second, one core ({:.0} of them for {} s, by the share of a core they took)",
        full.rate,
        MEASURED.as_secs()
    );
    let row = Row::new(name, full.rate / full.gateway, "1/s").goal(Goal::AtLeast(CALLS));
    report.add(row.only_if(sound(&full) && full.gateway < 1.0));
    let row = Row::new(
        format!("INVITE to 100 Trying, p99, {:.0} calls a second", CALLS / 2.0),
        half.trying(0.99),
        "ms",
    );
    report.add(row.goal(Goal::AtMost(TRYING)).only_if(sound(&half)));
    for (measured, rate) in [(&half, CALLS / 2.0), (&full, CALLS)] {
        let row = |what: &str, value: f64, unit| Row::new(format!("at {rate:.0} calls a second: {what}"), value, unit);
        report.add(row("messages repeated", measured.repeated as f64, "").goal(Goal::AtMost(0.0)));
        report.add(row("calls that failed", measured.failed as f64, "").goal(Goal::AtMost(0.0)));
        report.add(row(
            "of the gateway's core, a call",
            measured.gateway / measured.rate * 1e6,
            "µs",
        ));
        report.add(row(
            "of the carriers' core, a call",
            measured.carriers / measured.rate * 1e6,
            "µs",
        ));
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            report.add(row(
                &format!("INVITE to 100 Trying, {name}"),
                measured.trying(share),
                "ms",
            ));
        }
        let (times, long) = measured.seen.still();
        let because = format!("INVITEs not counted: the core stood still ({times} times, {long:.0?} in all)");
        report.add(row(&because, measured.still as f64, ""));
    }
    Ok(())
}

impl Measured {
    /// The time within which this share has 100 Trying, ms.
    fn trying(&self, share: f64) -> f64 {
        let place = (self.trying.len() as f64 * share) as usize;
        self.trying.get(place).map_or(f64::NAN, |time| *time as f64 / 1e6)
    }
}

fn at(rate: f64, place: &Place, peers: &mut Peers) -> Result<Measured> {
    peers.load(rate, WARM_UP)?;
    let witness = Witness::start(place.core)?;
    let carriers = || on_core(Path::new("/proc/thread-self"));
    let sent_again = || Ok::<_, anyhow::Error>(place.status()?.sip.retransmissions_sent);
    let (again_before, repeated_before) = (sent_again()?, peers.callee.repeated + peers.caller.answers_repeated);
    let (first, over) = (peers.caller.calls().len(), peers.caller.over);
    let (before, carriers_before) = (place.busy()?, carriers()?);
    peers.load(rate, MEASURED)?;
    let (took, carriers_took) = (place.busy()? - before, carriers()? - carriers_before);
    let (last, over) = (peers.caller.calls().len(), peers.caller.over - over);
    let seen = witness.seen()?;
    peers.settle()?;
    let calls = &peers.caller.calls()[first..last];
    let is_sound = |call: &&Call| call.refused == 0 && call.over != 0;
    let at_callee = peers.callee.repeated + peers.caller.answers_repeated - repeated_before;
    let mut measured = Measured {
        rate: over as f64 / MEASURED.as_secs_f64(),
        gateway: took.as_secs_f64() / MEASURED.as_secs_f64(),
        carriers: carriers_took.as_secs_f64() / MEASURED.as_secs_f64(),
        trying: Vec::with_capacity(calls.len()),
        still: 0,
        seen,
        failed: calls.len() - calls.iter().filter(is_sound).count(),
        repeated: sent_again()? - again_before + at_callee + Caller::repeated(calls),
    };
    for call in calls.iter().filter(|call| call.tried != 0) {
        let time = call.tried - call.invited;
        if time as f64 > TRYING * 1e6 && measured.seen.explains(call.tried) {
            measured.still += 1;
        } else {
            measured.trying.push(time);
        }
    }
    measured.trying.sort_unstable();
    Ok(measured)
}
