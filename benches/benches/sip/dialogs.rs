//! The memory of idle dialogs: calls that are up, of two dialogs each, and their media in the kernel lane.
//!
//! What counts is all of the process's memory that is in RAM, once nothing is left of the transactions that set them up. The
//! kernel lane's maps are as large with no call as with many.

use std::time::Duration;

use anyhow::{Result, ensure};
use voxlane_benches::report::{Goal, Report, Row};

use super::peers::Peers;
use super::place::Place;

const DIALOGS: usize = 10_000;

/// What one may take, bytes.
const MEMORY: f64 = 16_384.0;

/// Calls that are set up in a second.
const RATE: f64 = 500.0;

/// Within this a transaction is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Calls that have come and gone before: what the gateway keeps of the first of everything is no dialog's.
const BEFORE: usize = 100;

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let place = Place::new()?;
    let mut peers = Peers::new(&place)?;
    peers.load(RATE, Duration::from_secs_f64(BEFORE as f64 / RATE))?;
    let first = peers.caller.calls().len();
    peers.wait_for(first)?;
    peers.hang_up()?;
    let before = memory(&place, 0)?;

    while peers.caller.calls().len() - first < DIALOGS / 2 {
        peers.load(RATE, Duration::from_millis(10))?;
    }
    let calls = peers.caller.calls().len() - first;
    peers.wait_for(calls)?;
    let after = memory(&place, 2 * calls)?;
    peers.hang_up()?;
    let over = peers.caller.over - first;

    let bytes = (after - before) / (2 * calls) as f64;
    let name = format!("memory of an idle dialog ({} of them)", 2 * calls);
    let row = Row::new(name, bytes, "B").goal(Goal::AtMost(MEMORY));
    report.add(row.only_if(over == calls));
    Ok(())
}

/// Memory in use with so many dialogs and no transaction.
fn memory(place: &Place, dialogs: usize) -> Result<f64> {
    let status = place.gateway.wait_until(
        FORGOTTEN,
        |gateway| gateway.status(),
        |status| status.sip.transactions == 0,
    )?;
    let there = status.sip.dialogs;
    ensure!(there == dialogs as u64, "there are {there} dialogs, not {dialogs}");
    place.memory()
}
