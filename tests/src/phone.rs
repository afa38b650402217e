//! voxlane's own softphone, `voxlane call` and `voxlane answer`, as a peer.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::netns::Place;
use crate::process::Process;
use crate::reports::Stream;

/// What the softphone reports of a call.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// `completed` or `failed`.
    pub result: String,
    /// Final SIP status of the INVITE.
    pub status: Option<u16>,
    /// Its reason phrase, or what went wrong.
    pub reason: Option<String>,
    /// Caller.
    pub from: Option<String>,
    /// Agreed codec.
    pub codec: Option<String>,
    /// INVITE to final answer, milliseconds.
    pub setup_ms: Option<f64>,
    /// `us` or `them`.
    pub ended_by: Option<String>,
    /// What became of the BYE: `answered`, `received`, `timeout` or `none`.
    pub bye: Option<String>,
    /// RTP packets sent.
    pub sent_packets: Option<u64>,
    /// RTP packets received.
    pub received: Option<Stream>,
    /// The sound that came.
    pub heard: Option<Heard>,
    /// Keys the other side pressed.
    #[serde(default)]
    pub digits: String,
}

/// The sound that came.
#[derive(Clone, Debug, Deserialize)]
pub struct Heard {
    /// Strongest frequency, Hz.
    pub frequency_hz: Option<f64>,
    /// Its level, dBm0.
    pub level_dbm0: Option<f64>,
    /// From sending a sound to hearing it, milliseconds, where what was sent came back.
    pub round_trip_ms: Option<f64>,
}

/// A softphone in a call, or waiting for one.
#[derive(Debug)]
pub struct Phone {
    process: Process,
}

impl Phone {
    /// Calls `uri`; `options` as on the command line.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn call(binary: &Path, place: &Place, uri: &str, options: &[&str]) -> Result<Self> {
        let mut command = place.command(binary);
        command.args(["call", uri, "--json"]).args(options);
        Ok(Self {
            process: Process::start("voxlane call", &mut command)?,
        })
    }

    /// Waits for calls at `listen`; returns once it is listening.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn answer(binary: &Path, place: &Place, listen: SocketAddr, options: &[&str]) -> Result<Self> {
        let mut command = place.command(binary);
        command
            .args(["answer", "--listen", &listen.to_string(), "--json"])
            .args(options);
        let mut process = Process::start("voxlane answer", &mut command)?;
        process.wait_for("listening on", Duration::from_secs(10))?;
        Ok(Self { process })
    }

    /// Whether its call has ended.
    pub fn has_ended(&mut self) -> bool {
        !self.process.is_running()
    }

    /// Waits until a call has ended and returns what it came to; the softphone is ended with it.
    ///
    /// # Errors
    /// If it does not end within `patience` or reports nothing that can be read.
    pub fn report(mut self, patience: Duration) -> Result<Report> {
        let report = |process: &Process| {
            let output = process.stdout();
            serde_json::Deserializer::from_str(&output)
                .into_iter::<Report>()
                .next()?
                .ok()
        };
        self.process
            .poll("the softphone's report", patience, |process| report(process).is_some())?;
        report(&self.process).context("the softphone's report cannot be read a second time")
    }
}
