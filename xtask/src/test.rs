//! `cargo xtask test`: everything that must hold before a change is merged.

use std::io::IsTerminal;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::build::{KernelLane, Profile, gateway};
use crate::tally::Tally;
use crate::vm::Kernel;
use crate::workspace::{Workspace, is_root};
use crate::{prepare, steps, vm};

/// Arguments of `test`.
#[derive(Args)]
pub struct Arguments {
    /// Run only tests whose name contains one of these, and no lints
    filter: Vec<String>,
}

/// What makes cargo take all tests but those end to end.
pub const UNIT_TESTS: [&str; 5] = ["--workspace", "--exclude", "voxlane-ebpf", "--exclude", "voxlane-tests"];

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
    let kernels = if everything {
        other_kernels(workspace)?
    } else {
        Vec::new()
    };

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
    let mut cargo = workspace.cargo();
    cargo
        .arg("test")
        .args(UNIT_TESTS)
        .args(["--no-fail-fast", "--", colour])
        .args(&arguments.filter);
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
        .env("VOXLANE_PYTHON", workspace.python())
        .env("VOXLANE_PIPECAT", workspace.pipecat())
        .env("VOXLANE_NODE_MODULES", workspace.node_modules());
    sound &= tally.run(&mut cargo)?;

    if !kernels.is_empty() {
        sound &= vm::test_on(&kernels, workspace, &[], &mut tally)?;
    }
    if sound {
        tally.require_any(&arguments.filter)?;
    }
    println!("\n{}", tally.line(sound));
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The kernels that a whole test run boots: where their packages and qemu can be had without a word of the user's.
fn other_kernels(workspace: &Workspace) -> Result<Vec<Kernel>> {
    if !is_root() || !prepare::is_debian() || !cfg!(target_arch = "x86_64") {
        ensure!(
            std::env::var_os("CI").is_none(),
            "in CI nothing is left out: run this as root on Debian, x86-64, where other kernels can be booted"
        );
        steps::note("not root on Debian (x86-64): other kernels are left out; cargo xtask vm says what they need");
        return Ok(Vec::new());
    }
    vm::fetch(workspace, &vm::KERNELS)
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
