//! `cargo xtask test`: everything that must hold before a change is merged.

use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{KernelLane, Profile, gateway};
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

/// Test results of several runs of `cargo test`, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Runs `cargo test`, passing on what it prints; whether it succeeded.
    fn run(&mut self, cargo: &mut Command) -> Result<bool> {
        let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().context("cargo's output is not piped")?;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            self.add(&line);
            println!("{line}");
        }
        Ok(child.wait()?.success())
    }

    /// Adds the counts of a line `test result: ok. 5 passed; 0 failed; 1 ignored; …`; other lines count nothing.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let count = |word: &str| {
            let before = counts.split(word).next().filter(|before| before.len() < counts.len())?;
            before.split_whitespace().next_back()?.parse::<u64>().ok()
        };
        self.passed += count(" passed").unwrap_or(0);
        self.failed += count(" failed").unwrap_or(0);
        self.ignored += count(" ignored").unwrap_or(0);
    }

    /// The closing line, in the words of `cargo test`.
    fn line(&self, sound: bool) -> String {
        let Self {
            passed,
            failed,
            ignored,
        } = self;
        let result = if sound { "ok" } else { "FAILED" };
        format!("test result: {result}. {passed} passed; {failed} failed; {ignored} ignored")
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn results_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. 4 passed; 2 failed; 0 ignored; 0 measured",
            "test passed::by ... ok",
        ] {
            tally.add(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 7,
                failed: 2,
                ignored: 1
            }
        );
        assert_eq!(tally.line(false), "test result: FAILED. 7 passed; 2 failed; 1 ignored");
    }
}
