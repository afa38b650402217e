//! What a relayed call takes up: its entries of the flow table, and what the process keeps of it.

use std::fs;
use std::mem::size_of;

use anyhow::{Context as _, Result};
use voxlane_common::flow::{Flow, FlowState};

use crate::peers::Peer as _;
use crate::peers::voxlane::Voxlane;
use crate::site::Site;

/// Enough that what does not grow with calls is no part of it.
const CALLS: u32 = 10_000;

/// Flows of a call: RTP and RTCP, of both legs.
const FLOWS: usize = 4;

/// Bytes a call.
pub fn of_a_call(site: &Site) -> Result<f64> {
    let resident = |calls| -> Result<f64> {
        let running = Voxlane.start(site, calls)?;
        let resident = resident()?;
        drop(running);
        Ok(resident)
    };
    // The first time, everything that is not of a call is made, and stays.
    resident(1)?;
    let (few, many) = (resident(1)?, resident(CALLS)?);
    let table = FLOWS * (size_of::<Flow>() + size_of::<FlowState>());
    Ok(table as f64 + (many - few).max(0.0) / f64::from(CALLS))
}

/// What this process has in memory, bytes.
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kibibytes.context("no VmRSS")? * 1024.0)
}
