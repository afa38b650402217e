//! Python environments, each with what it is for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::debian;
use crate::steps;
use crate::workspace::{Workspace, is_root};

/// For the test agents: a WebSocket library that is not ours, what checks Twilio's signatures, and the types of OpenAI's API.
const AGENTS: &[&str] = &["websockets==15.0.1", "twilio==9.13.0", "openai==3.57.0"];

/// For the bot in `docs/agents`: pipecat with what its WebSocket transport is served by. Its core alone takes half a gigabyte.
const PIPECAT: &[&str] = &[
    "pipecat-ai==1.14.0",
    "fastapi==0.165.0",
    "uvicorn==0.54.0",
    "websockets==17.4",
];

/// For the benchmark of speech: the ITU's own PESQ, which pip compiles, and what reads samples.
const PESQ: &[&str] = &["pesq==0.0.4", "numpy"];

/// What pip compiles with.
const COMPILER: &[&str] = &["gcc", "python3-dev"];

/// The environment of the test agents, in [`Workspace::python`].
pub fn environment(workspace: &Workspace) -> Result<()> {
    made(workspace, &workspace.python(), AGENTS)
}

/// The environment of pipecat bots, in [`Workspace::pipecat`].
pub fn pipecat(workspace: &Workspace) -> Result<()> {
    made(workspace, &workspace.pipecat(), PIPECAT)
}

/// The interpreter that has PESQ.
pub fn pesq(workspace: &Workspace) -> Result<PathBuf> {
    let interpreter = workspace.tools().join("pesq/bin/python");
    match made(workspace, &interpreter, PESQ) {
        Err(_) if is_root() => {
            debian::install(workspace, COMPILER)?;
            made(workspace, &interpreter, PESQ)?;
        }
        made => made?,
    }
    Ok(interpreter)
}

/// Makes the environment of an interpreter unless the one that is there was made for the same requirements.
fn made(workspace: &Workspace, interpreter: &Path, requirements: &[&str]) -> Result<()> {
    let home = interpreter.parent().and_then(Path::parent).context("no environment")?;
    let wanted = requirements.join(" ");
    let stamp = home.join("voxlane-requirement");
    if fs::read_to_string(&stamp).is_ok_and(|made_for| made_for == wanted) && interpreter.exists() {
        steps::ok(&format!("python with {wanted}"));
        return Ok(());
    }
    let virtual_environment = |python: &str| {
        let mut command = workspace.command(python);
        command.args(["-m", "venv", "--clear"]).arg(home);
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
    let install = [&["-m", "pip", "install", "--quiet"], requirements].concat();
    let mut pip = workspace.command(&interpreter.to_string_lossy());
    steps::run(&format!("installing {wanted}"), pip.args(&install)).map_err(|error| {
        let line = format!("{} {}", interpreter.display(), install.join(" "));
        steps::cannot(&format!("{error:#}"), &line)
    })?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
