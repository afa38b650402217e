//! The calls of the checklist, and what was measured in them.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::gateway::Gateway;
use voxlane_tests::phone::{Phone, Report};
use voxlane_tests::process;
use voxlane_tests::reports::{Call, Flow, Plane};

use super::secured::Secured;
use super::stage::Stage;
use super::transferred::{self, Transferred};
use crate::steps;

/// The built-in echo agent of the embedded defaults.
pub const ECHO_NUMBER: &str = "+15550001";
/// A number that the embedded defaults relay.
const RELAYED_NUMBER: &str = "+15551234";
/// The caller.
const CALLER: &str = "+15550123";
/// The caller ID that the embedded defaults show on relayed calls.
pub const CALLER_ID: &str = "+15550100";
/// Tone of the caller, Hz.
pub const CALLER_TONE: u16 = 440;
/// Tone of the far end, Hz.
pub const FAR_TONE: u16 = 1000;
/// Keys pressed in either call.
pub const DIGITS: &str = "159#";

const TALK: &str = "4s";
/// Flows are looked at every so many turns of a wait: about 200 ms, since each look is a process of its own.
const PAUSES: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(20);

/// What was measured; an error in words where a call could not be placed.
pub struct Evidence {
    /// The call to the built-in agent.
    pub agent: Result<Placed, String>,
    /// The call relayed to a second endpoint.
    pub relay: Result<Placed, String>,
    /// The call that is given to a second softphone.
    pub transfer: Result<Transferred, String>,
    /// The data plane after all of them.
    pub after: Result<After, String>,
    /// The call over TLS with SRTP, where it was tried.
    pub secured: Option<Result<Secured, String>>,
}

/// One call.
pub struct Placed {
    /// What the caller reports.
    pub caller: Report,
    /// What the far end of a relayed call reports.
    pub far: Option<Report>,
    /// What the gateway says of the call once it has ended.
    pub record: Option<Call>,
    /// Its flows as last seen during the call.
    pub flows: Vec<Flow>,
}

/// The gateway when all calls are over.
pub struct After {
    /// Calls it still has.
    pub active_calls: u64,
    /// The data plane.
    pub plane: Plane,
}

/// Places the calls.
pub fn place(binary: &Path, stage: &Stage, gateway: &Gateway) -> Evidence {
    steps::begin(&format!("calling the echo agent at {ECHO_NUMBER}"));
    let agent = to_agent(binary, stage, gateway);
    steps::begin(&format!(
        "calling {RELAYED_NUMBER}, which is relayed to a second softphone"
    ));
    let relay = relayed(binary, stage, gateway);
    let transfer = transferred::place(binary, stage, gateway);
    let words = |error: anyhow::Error| format!("{error:#}");
    Evidence {
        agent: agent.map_err(words),
        relay: relay.map_err(words),
        transfer,
        after: after(gateway).map_err(words),
        secured: None,
    }
}

fn to_agent(binary: &Path, stage: &Stage, gateway: &Gateway) -> Result<Placed> {
    let phone = call(binary, stage, ECHO_NUMBER)?;
    watch(gateway, phone, ECHO_NUMBER, None)
}

fn relayed(binary: &Path, stage: &Stage, gateway: &Gateway) -> Result<Placed> {
    let options = ["--tone", &FAR_TONE.to_string()];
    let far = Phone::answer(binary, stage.far(), stage.far_address(), &options)?;
    let phone = call(binary, stage, RELAYED_NUMBER)?;
    watch(gateway, phone, RELAYED_NUMBER, Some(far))
}

/// A softphone at the carrier calls a number.
pub fn call(binary: &Path, stage: &Stage, number: &str) -> Result<Phone> {
    let uri = format!("sip:{number}@{}", stage.gateway_address());
    let (local, tone) = (stage.carrier_address().to_string(), CALLER_TONE.to_string());
    let options = [
        "--from",
        CALLER,
        "--local",
        &local,
        "--tone",
        &tone,
        "--dtmf",
        DIGITS,
        "--duration",
        TALK,
    ];
    Phone::call(binary, stage.carrier(), &uri, &options)
}

/// Looks at the flows until the caller hangs up, then gathers what all sides say.
fn watch(gateway: &Gateway, mut phone: Phone, number: &str, far: Option<Phone>) -> Result<Placed> {
    let mut flows = Vec::new();
    while !phone.has_ended() {
        (0..PAUSES).try_for_each(|_| process::pause())?;
        // Flows go when their call does: the last sight of them counts.
        let seen = gateway.flows()?.flows;
        if !seen.is_empty() {
            flows = seen;
        }
    }
    let caller = phone.report(PATIENCE)?;
    let far = far.map(|far| far.report(PATIENCE)).transpose()?;
    let ended = |calls: &voxlane_tests::reports::Calls| calls.to(number).is_none_or(|call| call.ended.is_some());
    let record = gateway.wait_until(PATIENCE, Gateway::calls, ended)?.to(number).cloned();
    Ok(Placed {
        caller,
        far,
        record,
        flows,
    })
}

fn after(gateway: &Gateway) -> Result<After> {
    let status = gateway.wait_until(PATIENCE, Gateway::status, |status| status.plane.ports_in_use == 0)?;
    Ok(After {
        active_calls: status.calls.active,
        plane: status.plane,
    })
}
