//! `bpf-linker`, which links the bitcode of the eBPF crate.

use anyhow::Result;

use crate::steps;
use crate::workspace::Workspace;

/// The last release that uses the LLVM inside rustc; later ones need LLVM 23 of the system's.
const VERSION: &str = "0.10.3";

/// Installs the linker into the tools directory unless it is found.
pub fn bpf_linker(workspace: &Workspace) -> Result<()> {
    let found = steps::ask(workspace.command("bpf-linker").arg("--version"));
    if found.is_some_and(|found| found.trim() == format!("bpf-linker {VERSION}")) {
        steps::ok(&format!("bpf-linker {VERSION}"));
        return Ok(());
    }
    let tools = workspace.tools();
    let mut install = workspace.cargo();
    install
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
            "--root",
        ])
        .arg(&tools)
        // cargo then builds in a temporary directory and does not wait for a build that runs in ours.
        .env_remove("CARGO_TARGET_DIR");
    steps::run(&format!("installing bpf-linker {VERSION} (about 90 s)"), &mut install)
        .map(drop)
        .map_err(|error| {
            let line = format!(
                "cargo install bpf-linker --version {VERSION} --locked --root {}",
                tools.display()
            );
            steps::cannot(&format!("{error:#}"), &line)
        })
}
