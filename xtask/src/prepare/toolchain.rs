//! rustup's part.

use std::path::Path;

use anyhow::{Context, Result};

use crate::steps;
use crate::workspace::Workspace;

/// The nightly toolchain as found on this machine.
pub struct Nightly {
    /// Major version of the LLVM it is built with: decides which `bpf-linker` can read its bitcode.
    pub llvm: u32,
}

/// Installs nightly and its `rust-src` (the eBPF target has no prebuilt `core`) if they are missing.
pub fn nightly(workspace: &Workspace) -> Result<Nightly> {
    if workspace.find("rustup").is_none() {
        return Err(steps::cannot(
            "the eBPF toolchain needs rustup",
            "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh",
        ));
    }
    let version = || steps::ask(workspace.command("rustup").args(["run", "nightly", "rustc", "-vV"]));
    let version = match version() {
        Some(version) => version,
        None => {
            let install = [
                "toolchain",
                "install",
                "nightly",
                "--profile",
                "minimal",
                "--component",
                "rust-src",
            ];
            steps::run(
                "installing Rust nightly (about 60 s)",
                workspace.command("rustup").args(install),
            )
            .map_err(|error| {
                error.context(steps::cannot(
                    "no nightly toolchain",
                    &format!("rustup {}", install.join(" ")),
                ))
            })?;
            version().context("rustup has installed nightly, but its rustc does not run")?
        }
    };
    rust_src(workspace)?;
    let llvm = llvm_major(&version).context("`rustc +nightly -vV` does not say which LLVM it is built with")?;
    let name = version.lines().next().unwrap_or_default();
    steps::ok(&format!("nightly with rust-src: {name}"));
    Ok(Nightly { llvm })
}

/// Installs rustfmt and clippy of the toolchain in use if they are missing.
pub fn lints(workspace: &Workspace) -> Result<()> {
    for (component, command) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if steps::ask(workspace.cargo().args([command, "--version"])).is_none() {
            add_component(workspace, &["component", "add", component])?;
        }
    }
    steps::ok("rustfmt, clippy");
    Ok(())
}

fn rust_src(workspace: &Workspace) -> Result<()> {
    let sysroot = steps::ask(
        workspace
            .command("rustup")
            .args(["run", "nightly", "rustc", "--print", "sysroot"]),
    )
    .context("`rustc +nightly --print sysroot` failed")?;
    if Path::new(sysroot.trim())
        .join("lib/rustlib/src/rust/library/core/src/lib.rs")
        .is_file()
    {
        return Ok(());
    }
    add_component(workspace, &["component", "add", "rust-src", "--toolchain", "nightly"])
}

fn add_component(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let line = format!("rustup {}", arguments.join(" "));
    steps::run(&line, workspace.command("rustup").args(arguments))
        .map(drop)
        .map_err(|error| error.context(steps::cannot("a Rust component is missing", &line)))
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
