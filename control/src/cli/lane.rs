//! `voxlane lane`

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use voxlane_dataplane::lane::Lane;

use super::ask::{self, print};
use crate::ops::report::LaneReport;
use crate::ops::{client, words};

/// `voxlane lane`
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "Examples:
  Take a relayed call out of the kernel, to look at it with the tools of userspace, and put it back:
    voxlane lane 5be8dde9f1a3c204 worker
    voxlane lane 5be8dde9f1a3c204 kernel

Both legs move, without a gap in the audio. \"voxlane calls\" shows the names of calls; the first characters will do.")]
pub(super) struct Args {
    /// The call, as "voxlane calls" names it
    #[arg(value_parser = ask::call)]
    call: String,
    /// Where its media is to be relayed
    #[arg(value_enum)]
    lane: Wanted,
    #[command(flatten)]
    gateway: ask::Args,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// In userspace, by a worker thread
    Worker,
    /// In the kernel, by the XDP program
    Kernel,
}

/// Asks for the lane and says which it is now. Another one than was asked for is a failure.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let wanted = match args.lane {
        Wanted::Worker => Lane::Worker,
        Wanted::Kernel => Lane::Kernel,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let route = format!("/v1/calls/{}/lane", args.call);
    let answer = runtime.block_on(client::put_bytes(&args.gateway.runtime_dir, &route, &wanted))?;
    let report: LaneReport = serde_json::from_slice(&answer).context(ask::OTHER_VERSION)?;
    if args.gateway.json {
        print(&[&answer[..], b"\n"].concat())?;
    } else {
        print(text(&report, wanted).as_bytes())?;
    }
    Ok(if report.lane == wanted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn text(report: &LaneReport, wanted: Lane) -> String {
    let LaneReport { call, lane, reason } = report;
    let verb = if *lane == wanted { "is in" } else { "stays in" };
    let why = match reason {
        Some(reason) if *lane != wanted => format!(": {reason}"),
        _ => String::new(),
    };
    format!("call {call} {verb} the {} lane{why}\n", words::lane(*lane))
}

#[cfg(test)]
mod tests {
    use voxlane_dataplane::lane::Reason;

    use super::*;

    #[test]
    fn what_came_of_it() {
        let report = |lane, reason| LaneReport {
            call: "5b".into(),
            lane,
            reason,
        };
        assert_eq!(
            text(&report(Lane::Worker, Some(Reason::Requested)), Lane::Worker),
            "call 5b is in the worker lane\n"
        );
        assert_eq!(
            text(&report(Lane::Worker, Some(Reason::XdpOff)), Lane::Kernel),
            "call 5b stays in the worker lane: media.xdp is \"off\"\n"
        );
    }
}
