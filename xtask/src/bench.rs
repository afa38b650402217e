//! `cargo xtask bench`: what can be measured so far.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;

/// Arguments of `bench`.
#[derive(Args)]
#[command(
    after_help = "Every figure is a ratio against a baseline measured in the same run, so that machines compare.
Measured so far, one benchmark each in benches/benches:
  g711    encode and decode of 160 samples, against a copy of the same bytes
  sip     an INVITE read, against rsip's own parser

Examples:
  cargo xtask bench          all of them
  cargo xtask bench g711     one"
)]
pub struct Arguments {
    /// Which benchmarks [default: all]
    name: Vec<String>,
}

/// Runs the benchmarks, which print for themselves.
pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--package", "voxlane-benches"]);
    if arguments.name.is_empty() {
        cargo.arg("--benches");
    }
    for name in &arguments.name {
        cargo.args(["--bench", name]);
    }
    let succeeded = cargo.status().context("cannot start cargo")?.success();
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
