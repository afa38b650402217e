//! The call of row C7: the caller of the built-in agent is given to a second softphone while it talks.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::phone::{Phone, Report};
use voxlane_tests::process;
use voxlane_tests::reports::{Calls, Flow, Transfer};

use super::calls::{self, ECHO_NUMBER, FAR_TONE};
use super::stage::Stage;
use crate::steps;

/// Whom the call is given to, by the trunk of the embedded defaults.
const NUMBER: &str = "+15558888";
const PATIENCE: Duration = Duration::from_secs(20);

/// What was measured.
pub struct Transferred {
    /// What came of the transfer.
    pub transfer: Transfer,
    /// What the caller reports of its whole call.
    pub caller: Report,
    /// What the other party reports.
    pub far: Report,
    /// The flows of the two as last seen.
    pub flows: Vec<Flow>,
}

/// Places the call and transfers it.
pub fn place(binary: &Path, stage: &Stage, gateway: &Gateway) -> Result<Transferred, String> {
    steps::begin(&format!("calling the echo agent, which gives the call to {NUMBER}"));
    transferred(binary, stage, gateway).map_err(|error| format!("{error:#}"))
}

fn transferred(binary: &Path, stage: &Stage, gateway: &Gateway) -> Result<Transferred> {
    let options = ["--tone", &FAR_TONE.to_string()];
    let far = Phone::answer(binary, stage.far(), stage.far_address(), &options)?;
    let mut phone = calls::call(binary, stage, ECHO_NUMBER)?;
    let is_up = |calls: &Calls| calls.active.iter().any(|call| call.state == "up");
    let up = gateway.wait_until(PATIENCE, Gateway::calls, is_up)?;
    let call = up
        .active
        .first()
        .context("the call has ended before it was transferred")?;
    let transfer = gateway.transfer(&call.id, &["--to", NUMBER])?;
    let mut flows = Vec::new();
    while !phone.has_ended() {
        process::pause()?;
        let seen = gateway.flows()?.flows;
        if seen.len() == 2 {
            flows = seen;
        }
    }
    Ok(Transferred {
        transfer,
        caller: phone.report(PATIENCE)?,
        far: far.report(PATIENCE)?,
        flows,
    })
}
