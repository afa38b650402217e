//! `cargo xtask test`: everything that must hold before a change is merged.

use std::io::IsTerminal;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{KernelLane, Profile, gateway};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{prepare, steps};

/// Arguments of `test`.
#[derive(Args)]
pub struct Arguments {
    /// Run only tests whose name contains one of these, and no lints
    filter: Vec<String>,
}

/// End-to-end tests run real programs in real time; more of them at once than this would wait for each other's cores.
const END_TO_END_THREADS: &str = "--test-threads=2";

/// Prepares, checks and tests; failed when anything is.
pub fn run(workspace: &mut Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let everything = arguments.filter.is_empty();
    prepare::ebpf(workspace)?;
    if everything {
        prepare::lints(workspace)?;
    }
    prepare::peers(workspace)?;

    let mut sound = true;
    if everything {
        sound &= check("formatting", workspace.cargo().args(["fmt", "--all", "--check"]))?;
        let clippy = ["clippy", "--all-targets", "--", "--deny", "warnings"];
        sound &= check("lints", workspace.cargo().args(clippy))?;
    }
    let binary = gateway(workspace, Profile::Development, KernelLane::With)?;

    let mut tally = Tally::default();
    let colour = if std::io::stdout().is_terminal() {
        "--color=always"
    } else {
        "--color=never"
    };
    steps::begin("unit tests");
    let unit = [
        "test",
        "--workspace",
        "--exclude",
        "voxlane-ebpf",
        "--exclude",
        "voxlane-tests",
        "--no-fail-fast",
    ];
    let mut cargo = workspace.cargo();
    cargo.args(unit).args(["--", colour]).args(&arguments.filter);
    sound &= tally.run(&mut cargo)?;

    steps::begin("end-to-end tests");
    let mut cargo = workspace.cargo();
    cargo
        .args([
            "test",
            "--package",
            "voxlane-tests",
            "--no-fail-fast",
            "--",
            colour,
            END_TO_END_THREADS,
        ])
        .args(&arguments.filter)
        .env("VOXLANE_BIN", binary)
        .env("VOXLANE_PYTHON", workspace.python());
    sound &= tally.run(&mut cargo)?;

    println!("\n{}", tally.line(sound));
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(what: &str, command: &mut Command) -> Result<bool> {
    steps::begin(what);
    let holds = command
        .status()
        .with_context(|| format!("cannot start {what}"))?
        .success();
    if holds {
        steps::ok(what);
    } else {
        steps::note(&format!("{what}: see above"));
    }
    Ok(holds)
}
