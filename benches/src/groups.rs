//! A benchmark whose figures come in groups: all of them, or the one that was asked for.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::arguments::Arguments;
use crate::report::Report;

/// A group of figures: its name, and what adds its rows.
pub type Group = (&'static str, fn(&mut Report) -> Result<()>);

/// Measures what the command line asks for, prints the table, and writes the file for machines.
pub fn main(groups: &[Group]) -> ExitCode {
    ended(run(groups))
}

/// How a benchmark ends; says why if that is with an error.
pub fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(groups: &[Group]) -> Result<()> {
    let arguments = Arguments::of_this_process().map_err(anyhow::Error::msg)?;
    let names: Vec<&str> = groups.iter().map(|(name, _)| *name).collect();
    if let Some(only) = &arguments.only {
        let known = names.contains(&only.as_str());
        ensure!(known, "no group {only}: there are {}", names.join(", "));
    }
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    let mut report = Report::default();
    for (_, measure) in groups.iter().filter(|(name, _)| wanted(name)) {
        measure(&mut report)?;
    }
    print!("{}", report.table());
    report.write(&arguments)
}
