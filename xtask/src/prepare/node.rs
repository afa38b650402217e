//! Node's packages for the test agents.

use std::fs;

use anyhow::{Context, Result};

use super::debian;
use crate::steps;
use crate::workspace::Workspace;

/// The WebSocket library of the agent in `docs/agents`, and Twilio's SDK, which asks the REST API.
const PACKAGES: &[&str] = &["ws@8.18.3", "twilio@5.9.0"];

/// Installs them in [`Workspace::node_modules`], unless those that are there are the same.
pub fn packages(workspace: &Workspace) -> Result<()> {
    debian::programs(workspace, debian::NODE)?;
    let modules = workspace.node_modules();
    let home = modules.parent().context("no directory for Node's packages")?;
    let wanted = PACKAGES.join(" ");
    let stamp = home.join("voxlane-requirement");
    if fs::read_to_string(&stamp).is_ok_and(|made_for| made_for == wanted) && modules.exists() {
        steps::ok(&format!("node with {wanted}"));
        return Ok(());
    }
    fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    let mut npm = workspace.command("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--prefix"])
        .arg(home)
        .args(PACKAGES);
    steps::run(&format!("installing {wanted}"), &mut npm)?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
