//! `cargo-fuzz`, which builds fuzz targets and runs them.

use anyhow::Result;

use crate::steps;
use crate::workspace::Workspace;

const VERSION: &str = "0.13.1";

/// Installs cargo-fuzz into the tools directory unless it is found.
pub fn cargo_fuzz(workspace: &Workspace) -> Result<()> {
    let found = steps::ask(workspace.command("cargo-fuzz").args(["fuzz", "--version"]));
    if found.is_some() {
        steps::ok("cargo-fuzz");
        return Ok(());
    }
    let tools = workspace.tools();
    let mut install = workspace.cargo();
    install
        .args(["install", "cargo-fuzz", "--version", VERSION, "--locked", "--root"])
        .arg(&tools)
        // cargo then builds in a temporary directory and does not wait for a build that runs in ours.
        .env_remove("CARGO_TARGET_DIR");
    steps::run(&format!("installing cargo-fuzz {VERSION} (about 60 s)"), &mut install)
        .map(drop)
        .map_err(|error| {
            let line = format!(
                "cargo install cargo-fuzz --version {VERSION} --locked --root {}",
                tools.display()
            );
            steps::cannot(&format!("{error:#}"), &line)
        })
}
