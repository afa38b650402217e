//! How many calls a relay holds.

use anyhow::{Result, ensure};

use crate::load::Load;

/// The search ends where what holds and what does not are as near to each other as this.
const NEAR: f64 = 1.06;

/// The most calls that a relay holds, to within some hundredths: `at` offers it so many. `first` is a load that was offered already,
/// `from` the next. What does not hold is offered once more: something else may have been in its way.
pub fn most(first: Load, from: u32, limit: u32, at: impl Fn(u32) -> Result<Load>) -> Result<Load> {
    let mut broken = (!first.holds()).then_some(first.calls);
    let mut held = first.holds().then_some(first);
    let mut calls = broken.map_or(from, |broken| broken / 2);
    loop {
        ensure!(calls > 0, "it holds no call");
        let mut offered = at(calls)?;
        if !offered.holds() {
            offered = at(calls)?;
        }
        if offered.holds() {
            held = Some(offered);
        } else {
            broken = Some(calls);
        }
        let next = match (&held, broken) {
            (None, _) => calls / 2,
            (Some(held), None) => (f64::from(held.calls) * 1.5) as u32,
            (Some(held), Some(broken)) => (f64::from(held.calls) * f64::from(broken)).sqrt() as u32,
        };
        calls = next.min(limit);
        held = match (held, broken) {
            (Some(most), Some(broken)) if f64::from(broken) / f64::from(most.calls) <= NEAR => return Ok(most),
            (Some(most), _) if calls <= most.calls => return Ok(most),
            (held, _) => held,
        };
    }
}
