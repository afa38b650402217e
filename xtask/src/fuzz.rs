//! `cargo xtask fuzz`: arbitrary input, by cargo-fuzz.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::workspace::Workspace;
use crate::{prepare, steps};

/// Arguments of `fuzz`.
#[derive(Args)]
#[command(after_help = "Targets:
  frame      packets, through the parser and the decision that XDP program and userspace relay share
  message    SIP messages: datagrams and streams, and the SDP in them
  endpoint   what arrives at the gateway, time, agents, the network and the operator, in any order

Begins with the inputs of fuzz/corpus, each named for what it is; what else leads to new code is kept
in target/fuzz/found. An input that fails is left in fuzz/artifacts, and the command that repeats it
is printed.

Examples:
  cargo xtask fuzz                           frames, for a minute
  cargo xtask fuzz message --seconds 3600    messages, for an hour

Exit status: 0 if nothing fails.")]
pub struct Arguments {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// What is fuzzed
    #[arg(default_value = "frame")]
    target: Target,
}

/// A file of `fuzz/fuzz_targets`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    Frame,
    Message,
    Endpoint,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Message => "message",
            Self::Endpoint => "endpoint",
        }
    }

    /// Folders of `fuzz/corpus` that it begins with.
    fn corpora(self) -> &'static [&'static str] {
        match self {
            Self::Frame => &["frame"],
            Self::Message => &["message"],
            // A message is an input: a datagram of a caller.
            Self::Endpoint => &["endpoint", "message"],
        }
    }

    /// Longest input, bytes.
    fn longest(self) -> usize {
        match self {
            Self::Frame => 2048,
            Self::Message | Self::Endpoint => 4096,
        }
    }
}

/// Prepares, builds, fuzzes.
pub fn run(workspace: &mut Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let toolchain = prepare::fuzzer(workspace)?;
    let (target, longest) = (arguments.target.name(), arguments.target.longest());
    let corpus = workspace.root().join("fuzz/corpus");
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
        .args(arguments.target.corpora().iter().map(|folder| corpus.join(folder)))
        .args(["--", "-print_final_stats=1"])
        .arg(format!("-max_len={longest}"))
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
