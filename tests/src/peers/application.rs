//! A web application in Python that says by TwiML what becomes of calls.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::certificates::Certificate;
use crate::netns::Place;
use crate::process::Process;
use crate::requirements::python;

/// Auth token of the account that it takes requests of.
pub const TOKEN: &str = "2f8a1c0d9b7e6f5a4c3b2d1e0f9a8b7c";

/// An application that listens on a port of 127.0.0.1 of its place.
#[derive(Debug)]
pub struct Application {
    process: Process,
    port: u16,
    scheme: &'static str,
}

/// A request that it has got.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The path of the URL.
    pub path: String,
    /// Whether the official SDK takes its signature for good.
    pub signed: bool,
    /// Query and form.
    pub parameters: Value,
}

impl Application {
    /// One that connects calls to `/greet` to the agent at `bot`.
    ///
    /// # Errors
    /// If it does not listen: `twilio` missing, say.
    pub fn start(place: &Place, bot: &str) -> Result<Self> {
        Self::listening(place, &["--bot", bot], "http")
    }

    /// One whose `/listened` has two listen.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn listened(place: &Place, [first, second]: [&str; 2]) -> Result<Self> {
        Self::listening(place, &["--bot", first, "--second", second], "http")
    }

    /// One that speaks TLS only.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn over_tls(place: &Place, certificate: &Certificate) -> Result<Self> {
        let file = certificate.both.display().to_string();
        Self::listening(place, &["--certificate", &file], "https")
    }

    fn listening(place: &Place, arguments: &[&str], scheme: &'static str) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("agents/twiml_app.py");
        let mut command = place.command(python());
        command.arg(script).args(["--token", TOKEN]).args(arguments);
        let mut process = Process::start("twiml_app.py", &mut command)?;
        process.wait_for("listening", Duration::from_secs(20))?;
        let listening = lines(&process).find_map(|line| line["listening"].as_u64());
        let port = listening
            .and_then(|port| u16::try_from(port).ok())
            .context("the application names no port")?;
        Ok(Self { process, port, scheme })
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    /// What it was asked so far, the first first.
    pub fn asked(&self) -> Vec<Asked> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let asked = lines(&self.process).filter_map(|line| {
            Some(Asked {
                path: text(&line["path"])?,
                signed: line["signed"].as_bool()?,
                parameters: line["parameters"].clone(),
            })
        });
        asked.collect()
    }

    /// Waits until it was asked so often for a path; gives all that it was asked for it.
    ///
    /// # Errors
    /// If it was not within `patience`.
    pub fn wait_for(&mut self, path: &str, times: usize, patience: Duration) -> Result<Vec<Asked>> {
        let of = |process: &Process| lines(process).filter(|line| line["path"] == path).count();
        self.process
            .poll(&format!("{times} requests of {path}"), patience, |process| {
                of(process) >= times
            })?;
        Ok(self.asked().into_iter().filter(|asked| asked.path == path).collect())
    }
}

fn lines(process: &Process) -> impl Iterator<Item = Value> {
    let output = process.stdout();
    let lines: Vec<Value> = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    lines.into_iter()
}
