//! The worker's stages, counted.

use std::env;

use anyhow::Result;
use voxlane_benches::callgrind::{Cost, count};
use voxlane_benches::report::Report;
use voxlane_tests::requirements::is_root;

use crate::cases::Case;

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let this = env::current_exe()?;
    // Only root may send whole IP packets, which is another way.
    let way = if is_root() { "sockets, sent raw" } else { "sockets" };
    let mut protected = None;
    for case in Case::all() {
        let cost = count(&this, &[], &case.name())?;
        let (name, cost) = match case {
            Case::Relayed => (format!("a packet relayed by a worker, by {way}"), cost),
            Case::Transcoded => (format!("a packet from PCMU to G.722 by a worker, by {way}"), cost),
            Case::Agent => (
                format!("a packet to an agent and one of its own, Twilio, by {way}"),
                cost,
            ),
            Case::Protected(suite) => {
                protected = Some(cost);
                (format!("SRTP protect, 172 bytes, {suite}"), cost)
            }
            Case::BothWays(suite) => (format!("SRTP unprotect, 172 bytes, {suite}"), without(cost, protected)),
            Case::Invite => ("an INVITE read".to_owned(), cost),
        };
        for row in cost.rows(&name) {
            report.add(row);
        }
    }
    Ok(())
}

/// What is left of a cost without another that is part of it.
fn without(cost: Cost, part: Option<Cost>) -> Cost {
    part.map_or(cost, |part| Cost {
        instructions: cost.instructions - part.instructions,
        atomics: cost.atomics - part.atomics,
    })
}
