//! The kernel lane in numbers: [`program`], nanoseconds a packet and bytes a flow, by BPF_PROG_TEST_RUN in a [`bed`].
//!
//! Each group of figures is a module that adds its rows to one report.

mod bed;
mod program;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use voxlane_benches::arguments::Arguments;
use voxlane_benches::groups::ended;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_tests::requirements::is_root;

fn main() -> ExitCode {
    ended(run())
}

fn run() -> Result<()> {
    let arguments = Arguments::of_this_process().map_err(anyhow::Error::msg)?;
    ensure!(
        is_root(),
        "the kernel lane can be measured as root only: it loads programs and makes interfaces"
    );
    let mut report = Report::default();
    program::measure(&mut report)?;
    if let Some(percent) = arguments.pacing {
        // Measured by the test of pacing in a VM, whose kernel has `fq`.
        let row = Row::new("pacing on fq: gaps within 1 ms of ptime", percent, "%");
        report.add(row.goal(Goal::AtLeast(99.0)));
    }
    print!("{}", report.table());
    report.write(&arguments)
}
