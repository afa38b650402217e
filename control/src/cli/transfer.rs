//! `voxlane transfer`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use super::ask::{self, print};
use crate::call::Side;
use crate::call::transfer::Ringing;
use crate::ops::client;
use crate::ops::report::{TransferOrder, TransferReport};

/// How often the gateway is asked what has become of the transfer.
const AGAIN: Duration = Duration::from_millis(200);

/// `voxlane transfer`
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "Examples:
  Give the caller of an agent to a number, by the trunk that [transfer] or the caller's own trunk names:
    voxlane transfer 5be8dde9f1a3c204 --to +15550100
  By another trunk, with a ring-back tone meanwhile, and do not wait for the end:
    voxlane transfer 5be8 --to +15550100 --trunk far --ringing ringback --no-wait
  Ask the caller's carrier to take the call over (REFER):
    voxlane transfer 5be8 --to +15550100 --by refer
  Have the carrier join it with another call that the gateway has with it:
    voxlane transfer 5be8 --to-call 77a0
  Take it back while it rings:
    voxlane transfer 5be8 --cancel

A transfer that fails leaves the call as it was. \"voxlane calls\" shows the names of calls; the first characters will do.")]
pub(super) struct Args {
    /// The call, as "voxlane calls" names it
    #[arg(value_parser = ask::call)]
    call: String,
    /// Number that the call is transferred to
    #[arg(long, value_name = "NUMBER", required_unless_present_any = ["cancel", "to_call"])]
    to: Option<String>,
    /// Instead: another call with the same carrier, which joins the two (REFER with Replaces)
    #[arg(long, value_name = "CALL", value_parser = ask::call, conflicts_with_all = ["to", "trunk", "caller_id"])]
    to_call: Option<String>,
    /// Trunk that it is called by
    #[arg(long)]
    trunk: Option<String>,
    /// How: "bridge" places another leg, "refer" asks the carrier to call the number instead of us
    #[arg(long)]
    by: Option<String>,
    /// The leg that leaves the call; unless named, the agent's, else b
    #[arg(long, value_enum)]
    leaves: Option<Leg>,
    /// What the other leg hears until the number answers
    #[arg(long, value_enum)]
    ringing: Option<Heard>,
    /// Most seconds until the number answers
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Number that is shown to the other party
    #[arg(long, value_name = "NUMBER")]
    caller_id: Option<String>,
    /// Say that it has begun, and do not wait for what comes of it
    #[arg(long)]
    no_wait: bool,
    /// Take the transfer back that is under way
    #[arg(long, conflicts_with_all = ["to", "to_call", "trunk", "by", "ringing", "timeout", "caller_id", "no_wait"])]
    cancel: bool,
    #[command(flatten)]
    gateway: ask::Args,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Leg {
    /// The caller
    A,
    /// The agent, or the called party
    B,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Heard {
    /// Whom it has talked with so far
    Agent,
    /// A ring-back tone
    Ringback,
}

/// Transfers, waits and says what came of it. A transfer that fails is a failure.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(transfer(args))?;
    let report = read(&answer)?;
    if args.gateway.json {
        print(&[&answer[..], b"\n"].concat())?;
    } else {
        print(text(&report).as_bytes())?;
    }
    let failed = report.transfer.state == "failed" && !args.cancel;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn transfer(args: &Args) -> anyhow::Result<Vec<u8>> {
    let directory = &args.gateway.runtime_dir;
    let route = format!("/v1/calls/{}/transfer", args.call);
    if args.cancel {
        return Ok(client::delete_bytes(directory, &route).await?.to_vec());
    }
    let order = TransferOrder {
        to: args.to.clone().unwrap_or_default(),
        to_call: args.to_call.clone(),
        trunk: args.trunk.clone(),
        by: args.by.clone(),
        leaves: args.leaves.map(|leg| match leg {
            Leg::A => Side::A,
            Leg::B => Side::B,
        }),
        ringing: args.ringing.map(|heard| match heard {
            Heard::Agent => Ringing::Agent,
            Heard::Ringback => Ringing::Ringback,
        }),
        timeout_s: args.timeout,
        caller_id: args.caller_id.clone(),
    };
    let mut answer = client::post_bytes(directory, &route, &order).await?;
    // By its whole name from now on: the call may be over when it is asked for again.
    let route = format!("/v1/calls/{}/transfer", read(&answer)?.call);
    while !args.no_wait && matches!(read(&answer)?.transfer.state.as_str(), "calling" | "ringing") {
        tokio::time::sleep(AGAIN).await;
        answer = client::get_bytes(directory, &route).await?;
    }
    Ok(answer.to_vec())
}

fn read(answer: &[u8]) -> anyhow::Result<TransferReport> {
    serde_json::from_slice(answer).context(ask::OTHER_VERSION)
}

fn text(report: &TransferReport) -> String {
    let TransferReport { call, transfer } = report;
    let why = transfer.reason.as_ref().map(|reason| format!(": {reason}"));
    format!(
        "transfer of call {call} to {}: {}{}\n",
        transfer.to,
        transfer.state,
        why.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::transfer::{Asker, Way};
    use crate::ops::report::TransferRow;

    #[test]
    fn what_came_of_it() {
        let report = |state: &str, reason: Option<&str>| TransferReport {
            call: "5b".into(),
            transfer: TransferRow {
                to: "+15550100".into(),
                by: Way::Bridge,
                asked_by: Asker::Operator,
                state: state.into(),
                status: reason.map(|_| 486),
                reason: reason.map(str::to_owned),
            },
        };
        assert_eq!(
            text(&report("completed", None)),
            "transfer of call 5b to +15550100: completed\n"
        );
        assert_eq!(
            text(&report("failed", Some("486 Busy Here"))),
            "transfer of call 5b to +15550100: failed: 486 Busy Here\n"
        );
    }
}
