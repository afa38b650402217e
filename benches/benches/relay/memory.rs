//! What a relayed call takes up: its entries of the flow table, and what the process keeps of it.

use std::mem::size_of;

use anyhow::Result;
use voxlane_common::flow::{Flow, FlowState};
use voxlane_tests::process::resident;

use crate::peers::Peer as _;
use crate::peers::voxlane::Voxlane;
use crate::site::Site;

/// Enough that what does not grow with calls is no part of it.
const CALLS: u32 = 10_000;

/// Flows of a call: RTP and RTCP, of both legs.
const FLOWS: usize = 4;

/// Bytes a call.
pub fn of_a_call(site: &Site) -> Result<f64> {
    let with = |calls| -> Result<f64> {
        let running = Voxlane.start(site, calls)?;
        let resident = resident(std::process::id())?;
        drop(running);
        Ok(resident as f64)
    };
    // The first time, everything that is not of a call is made, and stays.
    with(1)?;
    let (few, many) = (with(1)?, with(CALLS)?);
    let table = FLOWS * (size_of::<Flow>() + size_of::<FlowState>());
    Ok(table as f64 + (many - few).max(0.0) / f64::from(CALLS))
}
