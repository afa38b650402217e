//! `cargo xtask build`: the gateway.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Deserialize;

use crate::workspace::Workspace;
use crate::{prepare, steps};

/// Arguments of `build`.
#[derive(Args)]
pub struct Arguments {
    /// Optimised, for use
    #[arg(long)]
    release: bool,
    /// Without the kernel lane: needs no nightly Rust and no bpf-linker; every flow takes the worker lane
    #[arg(long)]
    no_ebpf: bool,
}

/// How much the compiler optimises.
#[derive(Clone, Copy)]
pub enum Profile {
    /// For tests.
    Development,
    /// For use.
    Release,
}

/// Whether the kernel lane is in the binary.
#[derive(Clone, Copy)]
pub enum KernelLane {
    /// Embedded.
    With,
    /// Left out.
    Without,
}

/// Builds and prints where the binary is.
pub fn run(workspace: &mut Workspace, arguments: &Arguments) -> Result<ExitCode> {
    let profile = if arguments.release {
        Profile::Release
    } else {
        Profile::Development
    };
    let lane = if arguments.no_ebpf {
        KernelLane::Without
    } else {
        KernelLane::With
    };
    if let KernelLane::With = lane {
        prepare::ebpf(workspace).map_err(|error| {
            anyhow!("{error:#}\nOr build without the kernel lane:\n\n    cargo xtask build --no-ebpf\n")
        })?;
    }
    println!("{}", gateway(workspace, profile, lane)?.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the gateway and returns its path, wherever `CARGO_TARGET_DIR` has put it.
pub fn gateway(workspace: &Workspace, profile: Profile, lane: KernelLane) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo.args([
        "build",
        "--package",
        "voxlane",
        "--bin",
        "voxlane",
        "--message-format=json-render-diagnostics",
    ]);
    let (profile, optimised) = match profile {
        Profile::Development => ("for development", None),
        Profile::Release => ("for use", Some("--release")),
    };
    let (lane, features) = match lane {
        KernelLane::With => ("with the kernel lane", None),
        KernelLane::Without => ("without the kernel lane", Some("--no-default-features")),
    };
    steps::begin(&format!("building the gateway {profile}, {lane}"));
    let binary = executables(cargo.args(optimised).args(features))?
        .into_iter()
        .find_map(|(name, file)| (name == "voxlane").then_some(file))
        .context("cargo built the gateway but did not say where")?;
    steps::ok(&format!("gateway {lane}"));
    Ok(binary)
}

/// Lets cargo build, with `--message-format=json…` among its arguments; the executables it made, by name.
pub fn executables(cargo: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo's output is not piped")?;
    let mut executables = Vec::new();
    for line in BufReader::new(stdout).lines() {
        executables.extend(executable_in(&line?));
    }
    if !child.wait()?.success() {
        bail!("it does not build; the compiler's messages are above");
    }
    Ok(executables)
}

/// The part of cargo's JSON messages that is of use here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn executable_in(line: &str) -> Option<(String, PathBuf)> {
    let message: Message = serde_json::from_str(line).ok()?;
    let executable = message.executable.filter(|_| message.reason == "compiler-artifact")?;
    Some((message.target?.name, executable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_among_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"voxlane"},"executable":"/t/debug/voxlane"}"#;
        assert_eq!(
            executable_in(line),
            Some(("voxlane".to_owned(), PathBuf::from("/t/debug/voxlane")))
        );
        assert_eq!(
            executable_in(r#"{"reason":"compiler-artifact","target":{"name":"libc"},"executable":null}"#),
            None
        );
        assert_eq!(executable_in(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable_in("not JSON"), None);
    }
}
