//! `bpf-linker`: links the bitcode of the eBPF crate with the LLVM of nightly itself, so no system LLVM is needed.

use anyhow::Result;

use super::toolchain::Nightly;
use crate::steps;
use crate::workspace::Workspace;

/// Installs the linker into the tools directory unless the right one is found.
pub fn bpf_linker(workspace: &Workspace, nightly: &Nightly) -> Result<()> {
    let wanted = version_for(nightly.llvm);
    let found = steps::ask(workspace.command("bpf-linker").arg("--version"));
    if found.as_deref().is_some_and(|found| is_version(found, wanted)) {
        steps::ok(&format!("bpf-linker {wanted}"));
        return Ok(());
    }
    let tools = workspace.tools();
    let mut install = workspace.cargo();
    install
        .args(["install", "bpf-linker", "--version", wanted, "--force", "--root"])
        .arg(&tools)
        // cargo then builds in a temporary directory and does not wait for a build that runs in ours.
        .env_remove("CARGO_TARGET_DIR");
    steps::run(&format!("installing bpf-linker {wanted} (about 90 s)"), &mut install)
        .map(drop)
        .map_err(|error| {
            let line = format!("cargo install bpf-linker --version {wanted} --root {}", tools.display());
            error.context(steps::cannot("bpf-linker is missing", &line))
        })
}

/// The linker must read the bitcode that nightly's LLVM writes.
fn version_for(llvm: u32) -> &'static str {
    match llvm {
        ..=22 => "0.10.3",
        23.. => "0.13.0",
    }
}

/// Whether `bpf-linker 0.10.3` is the version wanted, or a later patch of it.
fn is_version(found: &str, wanted: &str) -> bool {
    let series = |version: &str| version.rsplit_once('.').map(|(series, _)| series.to_owned());
    found
        .split_whitespace()
        .nth(1)
        .is_some_and(|version| series(version).is_some() && series(version) == series(wanted))
}

#[cfg(test)]
mod tests {
    use super::{is_version, version_for};

    #[test]
    fn the_linker_follows_llvm() {
        assert_eq!(version_for(21), "0.10.3");
        assert_eq!(version_for(22), "0.10.3");
        assert_eq!(version_for(23), "0.13.0");
    }

    #[test]
    fn a_later_patch_of_the_same_series_will_do() {
        assert!(is_version("bpf-linker 0.10.3\n", "0.10.3"));
        assert!(is_version("bpf-linker 0.10.4\n", "0.10.3"));
        assert!(!is_version("bpf-linker 0.9.3\n", "0.10.3"));
        assert!(!is_version("bpf-linker\n", "0.10.3"));
    }
}
