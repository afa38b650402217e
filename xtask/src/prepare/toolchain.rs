//! rustup's part.

use std::path::Path;

use anyhow::{Context, Result};

use crate::steps;
use crate::workspace::Workspace;

/// The last LLVM that a `bpf-linker` from crates.io can read without an LLVM of the system's.
const LAST_LLVM: u32 = 22;

/// A nightly built with it, for machines where `nightly` itself has moved on or is not installed.
const KNOWN_GOOD: &str = "nightly-2026-05-20";

/// Finds a nightly toolchain that can build the XDP program, or installs one; returns its name.
pub fn nightly(workspace: &Workspace) -> Result<&'static str> {
    if workspace.find("rustup").is_none() {
        return Err(steps::cannot(
            "the eBPF toolchain needs rustup",
            "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh",
        ));
    }
    let toolchain = match ["nightly", KNOWN_GOOD]
        .into_iter()
        .find(|name| is_usable(workspace, name))
    {
        Some(toolchain) => toolchain,
        None => {
            install(workspace)?;
            KNOWN_GOOD
        }
    };
    rust_src(workspace, toolchain)?;
    steps::ok(&format!("{toolchain} with rust-src"));
    Ok(toolchain)
}

/// Installs rustfmt and clippy of the toolchain in use if they are missing.
pub fn lints(workspace: &Workspace) -> Result<()> {
    for (component, command) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if steps::ask(workspace.cargo().args([command, "--version"])).is_none() {
            rustup(
                workspace,
                &format!("adding {component}"),
                &["component", "add", component],
            )?;
        }
    }
    steps::ok("rustfmt, clippy");
    Ok(())
}

fn is_usable(workspace: &Workspace, toolchain: &str) -> bool {
    steps::ask(workspace.command("rustup").args(["run", toolchain, "rustc", "-vV"]))
        .and_then(|version| llvm_major(&version))
        .is_some_and(|llvm| llvm <= LAST_LLVM)
}

fn install(workspace: &Workspace) -> Result<()> {
    let arguments = [
        "toolchain",
        "install",
        KNOWN_GOOD,
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ];
    rustup(
        workspace,
        &format!("installing Rust {KNOWN_GOOD} (about 60 s)"),
        &arguments,
    )
}

/// The eBPF target has no prebuilt `core`.
fn rust_src(workspace: &Workspace, toolchain: &str) -> Result<()> {
    let sysroot = steps::ask(
        workspace
            .command("rustup")
            .args(["run", toolchain, "rustc", "--print", "sysroot"]),
    )
    .with_context(|| format!("`rustup run {toolchain} rustc --print sysroot` failed"))?;
    if Path::new(sysroot.trim())
        .join("lib/rustlib/src/rust/library/core/src/lib.rs")
        .is_file()
    {
        return Ok(());
    }
    let arguments = ["component", "add", "rust-src", "--toolchain", toolchain];
    rustup(workspace, &format!("adding rust-src to {toolchain}"), &arguments)
}

fn rustup(workspace: &Workspace, what: &str, arguments: &[&str]) -> Result<()> {
    steps::run(what, workspace.command("rustup").args(arguments))
        .map(drop)
        .map_err(|error| steps::cannot(&format!("{error:#}"), &format!("rustup {}", arguments.join(" "))))
}

fn llvm_major(version: &str) -> Option<u32> {
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    llvm.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::llvm_major;

    #[test]
    fn llvm_is_read_from_the_verbose_version() {
        let version = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(llvm_major(version), Some(22));
        assert_eq!(llvm_major("rustc 1.97.0-nightly"), None);
    }
}
