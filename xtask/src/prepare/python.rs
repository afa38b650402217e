//! The Python environment of the test agents: a WebSocket library that is not ours.

use std::fs;

use anyhow::{Context, Result};

use super::debian;
use crate::steps;
use crate::workspace::Workspace;

const REQUIREMENT: &str = "websockets==15.0.1";

/// Makes the environment unless the one that is there was made for the same requirement.
pub fn environment(workspace: &Workspace) -> Result<()> {
    let home = workspace.tools().join("py");
    let stamp = home.join("voxlane-requirement");
    if fs::read_to_string(&stamp).is_ok_and(|made_for| made_for == REQUIREMENT) && workspace.python().exists() {
        steps::ok(&format!("python with {REQUIREMENT}"));
        return Ok(());
    }
    let virtual_environment = |python: &str| {
        let mut command = workspace.command(python);
        command.args(["-m", "venv", "--clear"]).arg(&home);
        command
    };
    // Debian ships Python without `ensurepip`, which `venv` needs, and only for its own interpreter is there a package.
    let has_pip = |python: &str| steps::ask(workspace.command(python).args(["-c", "import ensurepip, venv"])).is_some();
    let python = match ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| has_pip(python))
    {
        Some(python) => python,
        None => {
            debian::install(workspace, &["python3-venv"])?;
            "/usr/bin/python3"
        }
    };
    steps::run("making a Python environment", &mut virtual_environment(python))?;
    let install = ["-m", "pip", "install", "--quiet", REQUIREMENT];
    let interpreter = workspace.python();
    let mut pip = workspace.command(&interpreter.to_string_lossy());
    steps::run(&format!("installing {REQUIREMENT}"), pip.args(install)).map_err(|error| {
        let line = format!("{} {}", interpreter.display(), install.join(" "));
        steps::cannot(&format!("{error:#}"), &line)
    })?;
    fs::write(&stamp, REQUIREMENT).with_context(|| format!("cannot write {}", stamp.display()))
}
