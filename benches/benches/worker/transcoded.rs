//! Calls between PCMU and G.722 that a core carries: a real worker, both directions, 20 ms.
//!
//! As root packets come and leave by AF_XDP, as they do on a gateway ([`crate::gateway`]), else by sockets on loopback. What
//! counts is the time that the worker's thread was on its core: so many calls would fill a core. They run at once, enough of
//! them to share what a turn of the loop costs, as they do where a core is full. Not counted is what the far ends cost, nor
//! the kernel's part in receiving: on a virtual interface that is done by the sender of a packet, on a network card wherever
//! its interrupts go.
//!
//! The delay that the lane adds is that of a few calls, whose packets are sent in their time: when one is sent late, for
//! which the machine is to blame, those after it leave later, too.

use std::time::Duration;

use anyhow::Result;
use voxlane_benches::report::{Goal, Report, Row};

#[cfg(feature = "kernel")]
use crate::calls::Cost;
use crate::calls::PTIME;

/// Calls on which the delay is measured.
const WATCHED: u16 = 10;

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let a_core = PTIME.as_secs_f64() / (2.0 * cost(CALLS)?.packet.worker.as_secs_f64());
    let name = format!("transcoded calls a core, PCMU to G.722 and back, {WAY} ({CALLS} at once)");
    report.add(Row::new(name, a_core, "").goal(Goal::AtLeast(2000.0)));
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let row = Row::new(
        "added delay, PCMU to G.722 and back, 99th percentile",
        ms(cost(WATCHED)?.delay),
        "ms",
    );
    report.add(row.goal(Goal::AtMost(ms(PTIME))));
    Ok(())
}

#[cfg(feature = "kernel")]
const WAY: &str = "by AF_XDP";

/// Calls that run at once: half of what a core is to carry, which leaves the far ends' core time for theirs.
#[cfg(feature = "kernel")]
const CALLS: u16 = 1000;

#[cfg(feature = "kernel")]
fn cost(calls: u16) -> Result<Cost> {
    use voxlane_dataplane::codec::Codec;
    use voxlane_dataplane::plane::IoChoice;

    use crate::gateway::Calls;

    let calls = Calls {
        count: calls,
        codec: Codec::G722,
        srtp: None,
    };
    crate::gateway::measure(IoChoice::AfXdp, calls)
}

#[cfg(not(feature = "kernel"))]
const WAY: &str = "by sockets";

/// Calls that run at once: as many as one core can be the far ends of.
#[cfg(not(feature = "kernel"))]
const CALLS: u16 = 200;

#[cfg(not(feature = "kernel"))]
use crate::loopback::measure as cost;
