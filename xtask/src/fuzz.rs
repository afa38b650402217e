//! `cargo xtask fuzz`: arbitrary input, by cargo-fuzz.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;
use crate::{prepare, steps};

/// Arguments of `fuzz`.
#[derive(Args)]
#[command(
    after_help = "Begins with the packets of fuzz/corpus/TARGET, each named for what it is; what else leads to new code is
kept in target/fuzz/found. An input that fails is left in fuzz/artifacts, and the command that repeats
it is printed.

Examples:
  cargo xtask fuzz                      the parser of frames, for a minute
  cargo xtask fuzz --seconds 3600       for an hour

Exit status: 0 if nothing fails."
)]
pub struct Arguments {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// A file of fuzz/fuzz_targets, without its ending
    #[arg(default_value = "frame")]
    target: String,
}

/// Prepares, builds, fuzzes.
pub fn run(workspace: &mut Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let toolchain = prepare::fuzzer(workspace)?;
    let target = &arguments.target;
    let directory = workspace.root().join("target/fuzz");
    let found = directory.join("found").join(target);
    fs::create_dir_all(&found)?;
    steps::begin(&format!("fuzzing {target} for {} s", arguments.seconds));
    let status = workspace
        .command("rustup")
        .args([
            "run",
            toolchain,
            "cargo",
            "fuzz",
            "run",
            "--fuzz-dir",
            "fuzz",
            "--target-dir",
        ])
        .arg(&directory)
        .arg(target)
        // What is found goes into the first directory.
        .arg(&found)
        .arg(workspace.root().join("fuzz/corpus").join(target))
        .args(["--", "-max_len=2048", "-print_final_stats=1"])
        .arg(format!("-max_total_time={}", arguments.seconds))
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .context("cannot start cargo-fuzz")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
