//! The worker lane in numbers. Each group of figures is a module that adds its rows to one report.

mod srtp;

use std::process::ExitCode;

use anyhow::{Context, Result};
use voxlane_benches::arguments::Arguments;
use voxlane_benches::report::Report;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::of_this_process().map_err(anyhow::Error::msg)?;
    let mut report = Report::default();
    srtp::measure(&mut report)?;
    print!("{}", report.table());
    if let Some(file) = arguments.json {
        let written = report.write_json(&file);
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
