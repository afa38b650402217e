//! The code of the programs in the kernel, counted.
//!
//! As compiled it is the same on every machine with the same compilers. What the verifier makes of it depends on the kernel, so
//! that is in the rows' names: figures of two kernels are not compared.

use anyhow::{Context, Result};
use voxlane_benches::machine::Machine;
use voxlane_benches::report::{CALLS, INSTRUCTIONS, Report, Row};
use voxlane_dataplane::kernel::lab::code::{self, Built};
use voxlane_tests::requirements::is_root;

/// On XDP and on tc.
const PROGRAMS: [&str; 2] = ["relay", "pace"];

/// Adds the rows.
pub fn add(report: &mut Report, built: Built) -> Result<()> {
    PROGRAMS.iter().try_for_each(|program| add_one(report, built, program))
}

fn add_one(report: &mut Report, built: Built, program: &str) -> Result<()> {
    let code = code::of(built, program)?;
    let mut row = |what: &str, count: u32, unit| {
        let name = format!("program {program}: {what}");
        report.add(Row::new(name, f64::from(count), unit));
    };
    row("instructions, as compiled", code.instructions, INSTRUCTIONS);
    row("calls of helpers", code.helpers, CALLS);
    row("calls of helpers that look something up in a map", code.look_ups, CALLS);
    if !is_root() {
        return Ok(());
    }
    let kept = code::kept(built, program)?;
    let kernel = Machine::here().kernel.context("a kernel without a release")?;
    row(
        &format!("instructions, as Linux {kernel} has it"),
        kept.instructions,
        INSTRUCTIONS,
    );
    if let Some(verified) = kept.verified {
        row(
            &format!("instructions verified by Linux {kernel}"),
            verified,
            INSTRUCTIONS,
        );
    }
    Ok(())
}
