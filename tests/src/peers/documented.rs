//! The agents of `docs/agents`, unchanged, at the port they are written for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::netns::Place;
use crate::process::Process;
use crate::requirements::{node_modules, pipecat, python};

/// Where they listen.
pub const URL: &str = "ws://127.0.0.1:8080/media";

/// Longest that one may take to listen: pipecat imports much.
const START: Duration = Duration::from_secs(60);

/// How port 8080 is written in the kernel's lists of sockets.
const PORT: &str = ":1F90 ";

/// An agent that listens at [`URL`] of its place.
#[derive(Debug)]
pub struct Documented {
    process: Process,
}

impl Documented {
    /// `echo.py`
    ///
    /// # Errors
    /// If it does not listen.
    pub fn python(place: &Place) -> Result<Self> {
        let mut command = place.command(python());
        command.arg(file("echo.py"));
        Self::start(place, &mut command)
    }

    /// `echo.js`
    ///
    /// # Errors
    /// If it does not listen: `ws` missing, say.
    pub fn node(place: &Place) -> Result<Self> {
        let mut command = place.command("node");
        command.arg(file("echo.js")).env("NODE_PATH", node_modules());
        Self::start(place, &mut command)
    }

    /// `pipecat_bot.py`, which hangs up by requests to `base_url`, with this token.
    ///
    /// # Errors
    /// If it does not listen: pipecat missing, say.
    pub fn pipecat(place: &Place, base_url: &str, token: &str) -> Result<Self> {
        let mut command = place.command(pipecat());
        command
            .args([
                "-m",
                "uvicorn",
                "pipecat_bot:app",
                "--host",
                "0.0.0.0",
                "--port",
                "8080",
                "--app-dir",
            ])
            .arg(directory())
            .envs([("BASE_URL", base_url), ("AUTH_TOKEN", token)]);
        Self::start(place, &mut command)
    }

    fn start(place: &Place, command: &mut Command) -> Result<Self> {
        // Compiled Python does not belong beside it.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start("the agent", command)?;
        process.poll("the agent to listen", START, |_| {
            let sockets = place.command("cat").args(["/proc/net/tcp", "/proc/net/tcp6"]).output();
            sockets.is_ok_and(|sockets| String::from_utf8_lossy(&sockets.stdout).contains(PORT))
        })?;
        Ok(Self { process })
    }

    /// What it has said.
    pub fn said(&self) -> String {
        self.process.said()
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agents")
}

fn file(name: &str) -> PathBuf {
    directory().join(name)
}
