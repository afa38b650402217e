//! The real `voxlane serve`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::netns::Place;
use crate::process::{Ended, Process, pause};
use crate::reports::{Call, Calls, Flow, Flows, Status, Transfer};

const START: Duration = Duration::from_secs(20);

/// Bytes of a capture file before the first frame.
const FILE_HEADER: u64 = 24;
/// Bytes before each frame.
const RECORD_HEADER: u64 = 16;

/// Name of the configuration in the runtime directory.
const CONFIG: &str = "voxlane.toml";

/// A running gateway. Dropping it ends it.
#[derive(Debug)]
pub struct Gateway {
    binary: PathBuf,
    place: Place,
    process: Process,
    directory: TempDir,
}

impl Gateway {
    /// Starts a gateway on its embedded defaults, with these environment variables, and waits until it is ready.
    ///
    /// # Errors
    /// If it is not; what it logged is in the error.
    pub fn start(binary: &Path, place: &Place, environment: &[(&str, &str)]) -> Result<Self> {
        Self::launch(binary, place, None, environment)
    }

    /// Starts a gateway on a configuration and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(binary: &Path, place: &Place, config: &str) -> Result<Self> {
        Self::launch(binary, place, Some(config), &[])
    }

    /// The same, with these environment variables.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_within(binary: &Path, place: &Place, config: &str, environment: &[(&str, &str)]) -> Result<Self> {
        Self::launch(binary, place, Some(config), environment)
    }

    fn launch(binary: &Path, place: &Place, config: Option<&str>, environment: &[(&str, &str)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        if let Some(config) = config {
            fs::write(directory.path().join(CONFIG), config)?;
        }
        Self::run(binary, place, directory, environment)
    }

    fn run(binary: &Path, place: &Place, directory: TempDir, environment: &[(&str, &str)]) -> Result<Self> {
        let mut command = serve(binary, place, directory.path());
        command.envs(environment.iter().copied());
        let mut process = Process::start("voxlane serve", &mut command)?;
        let runtime = directory.path().to_owned();
        process.poll("the gateway to be ready", START, |process| {
            process.stderr().contains("ready") && ask::<Status>(binary, &runtime, "status").is_ok()
        })?;
        Ok(Self {
            binary: binary.to_owned(),
            place: place.clone(),
            process,
            directory,
        })
    }

    /// Kills it, as a crash would, and starts it again in the same place, on the same files.
    ///
    /// # Errors
    /// If it does not start: something of the first is in its way.
    pub fn crash_and_start_again(self) -> Result<Self> {
        self.crash()?.start_again()
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub fn crash(self) -> Result<Crashed> {
        self.process.signal("KILL")?;
        self.process.wait(START)?;
        Ok(Crashed {
            binary: self.binary,
            place: self.place,
            directory: self.directory,
        })
    }

    /// Stands it still while `work` is done: what is sent to it meanwhile it finds all at once.
    ///
    /// # Errors
    /// If it has ended.
    pub fn while_stopped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.process.signal("STOP")?;
        let done = work();
        self.process.signal("CONT")?;
        Ok(done)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// The directory of its admin socket.
    pub fn runtime_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// `voxlane status --json`
    ///
    /// # Errors
    /// If the gateway does not answer, or answers what cannot be read.
    pub fn status(&self) -> Result<Status> {
        ask(&self.binary, self.directory.path(), "status")
    }

    /// `voxlane calls --json`
    ///
    /// # Errors
    /// As [`Self::status`].
    pub fn calls(&self) -> Result<Calls> {
        ask(&self.binary, self.directory.path(), "calls")
    }

    /// `voxlane flows --json`
    ///
    /// # Errors
    /// As [`Self::status`].
    pub fn flows(&self) -> Result<Flows> {
        ask(&self.binary, self.directory.path(), "flows")
    }

    /// Asks for `report` until `holds`, and returns it.
    ///
    /// # Errors
    /// If it does not hold within `patience`; the last report and the gateway's log are in the error.
    pub fn wait_until<R: std::fmt::Debug>(
        &self,
        patience: Duration,
        report: impl Fn(&Self) -> Result<R>,
        mut holds: impl FnMut(&R) -> bool,
    ) -> Result<R> {
        let deadline = Instant::now() + patience;
        loop {
            let found = report(self)?;
            if holds(&found) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("after {patience:?} still {found:#?}\n{}", self.process.said());
            }
            pause()?;
        }
    }

    /// Waits until every call is over and nothing of them is left.
    ///
    /// # Errors
    /// If calls, agents or ports are left after `patience`.
    pub fn wait_until_idle(&self, patience: Duration) -> Result<Status> {
        self.wait_until(patience, Self::status, |status| {
            status.calls.active == 0 && status.agents.active == 0 && status.plane.ports_in_use == 0
        })
    }

    /// Waits until a call is up; its name.
    ///
    /// # Errors
    /// If none is after `patience`.
    pub fn wait_until_up(&self, patience: Duration) -> Result<String> {
        let is_up = |call: &&Call| call.state == "up";
        let up = |calls: &Calls| calls.active.iter().any(|call| is_up(&call));
        let calls = self.wait_until(patience, Self::calls, up)?;
        let name = calls.active.iter().find(is_up).map(|call| call.id.clone());
        name.context("no call is up")
    }

    /// Waits until two flows, those of one relayed call, are in the kernel lane and have received more than so many packets
    /// each.
    ///
    /// # Errors
    /// If they have not after `patience`.
    pub fn wait_until_relayed(&self, patience: Duration, packets: u64) -> Result<Flows> {
        let relayed = |flow: &Flow| flow.lane == "kernel" && flow.received.packets > packets;
        self.wait_until(patience, Self::flows, |flows| {
            flows.flows.len() == 2 && flows.flows.iter().all(relayed)
        })
    }

    /// `voxlane lane`: moves a call to `kernel` or `worker`.
    ///
    /// # Errors
    /// If it is not there afterwards; what it said is in the error.
    pub fn lane(&self, call: &str, lane: &str) -> Result<()> {
        let output = asking(&self.binary, self.directory.path(), "lane")
            .args([call, lane])
            .output()?;
        ensure!(output.status.success(), "voxlane lane {call} {lane}: {output:?}");
        Ok(())
    }

    /// `voxlane transfer`: what it printed, or what it said went wrong.
    ///
    /// # Errors
    /// If it cannot be started, or prints what cannot be read.
    pub fn transfer(&self, call: &str, options: &[&str]) -> Result<Transfer> {
        let output = asking(&self.binary, self.directory.path(), "transfer")
            .args([call, "--json"])
            .args(options)
            .output()?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("voxlane transfer {call}: {output:?}"))
    }

    /// `voxlane update`
    ///
    /// # Errors
    /// If the gateway refuses.
    pub fn update(&self, call: &str, options: &[&str]) -> Result<()> {
        let output = asking(&self.binary, self.directory.path(), "update")
            .arg(call)
            .args(options)
            .output()?;
        ensure!(output.status.success(), "voxlane update {call}: {output:?}");
        Ok(())
    }

    /// `voxlane tap CALL --json` with these options.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub fn tap(&self, call: &str, options: &[&str]) -> Result<serde_json::Value> {
        let output = asking(&self.binary, self.directory.path(), "tap")
            .args([call, "--json"])
            .args(options)
            .output()?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("voxlane tap {call}: {output:?}"))
    }

    /// `voxlane dial --json`: the results, and whether it says that all is well.
    ///
    /// # Errors
    /// If it prints what cannot be read; what it said is in the error.
    pub fn dial(&self, arguments: &[&str]) -> Result<(Vec<serde_json::Value>, bool)> {
        let mut command = asking(&self.binary, self.directory.path(), "dial");
        let output = command.arg("--json").args(arguments).output()?;
        let lines = String::from_utf8_lossy(&output.stdout);
        let results: Result<Vec<_>, _> = lines.lines().map(serde_json::from_str).collect();
        let results = results.with_context(|| format!("{output:?}"))?;
        ensure!(!results.is_empty(), "{output:?}\n{}", self.process.said());
        Ok((results, output.status.success()))
    }

    /// `voxlane flows`, as people read it.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub fn flows_for_people(&self) -> Result<String> {
        self.for_people("flows")
    }

    /// `voxlane calls`, as people read it.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub fn calls_for_people(&self) -> Result<String> {
        self.for_people("calls")
    }

    fn for_people(&self, what: &str) -> Result<String> {
        let output = asking(&self.binary, self.directory.path(), what).output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `voxlane capture CALL -w FILE`; returns once everything that arrives from now on is copied.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub fn capture(&self, call: &str, file: &Path) -> Result<Capture> {
        let mut command = asking(&self.binary, self.directory.path(), "capture");
        command.arg(call).arg("-w").arg(file);
        let mut capture = Capture {
            process: Process::start("voxlane capture", &mut command)?,
            file: file.to_owned(),
        };
        capture.wait_for_bytes(FILE_HEADER, START)?;
        Ok(capture)
    }

    /// Asks it to end as a service manager does, with SIGTERM, and waits.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn terminate(self) -> Result<Ended> {
        self.process.signal("TERM")?;
        self.process.wait(START)
    }

    /// Asks it to read its certificates anew, with SIGHUP.
    ///
    /// # Errors
    /// If it is gone.
    pub fn reload(&self) -> Result<()> {
        self.process.signal("HUP")
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(self) -> Result<Ended> {
        self.process.interrupt()
    }
}

/// A capture in the making. Dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Waits until frames of this many bytes each are in the file, and ends the capture. All frames are of one length.
    ///
    /// # Errors
    /// If they are not within `patience`, or some were lost on their way.
    pub fn finish(mut self, frames: u64, of_bytes: u64, patience: Duration) -> Result<()> {
        self.wait_for_bytes(FILE_HEADER + frames * (RECORD_HEADER + of_bytes), patience)?;
        self.stop()
    }

    /// Ends it.
    ///
    /// # Errors
    /// If frames were lost on their way.
    pub fn stop(self) -> Result<()> {
        let ended = self.process.interrupt()?;
        ensure!(
            ended.status.success() && !ended.stderr.contains("missing"),
            "voxlane capture: {ended:?}"
        );
        Ok(())
    }

    fn wait_for_bytes(&mut self, bytes: u64, patience: Duration) -> Result<()> {
        let file = self.file.clone();
        self.process.poll(&format!("{bytes} bytes captured"), patience, |_| {
            fs::metadata(&file).is_ok_and(|file| file.len() >= bytes)
        })
    }
}

/// What is left of a gateway that was killed.
#[derive(Debug)]
pub struct Crashed {
    binary: PathBuf,
    place: Place,
    directory: TempDir,
}

impl Crashed {
    /// Starts it again in the same place, on the same files.
    ///
    /// # Errors
    /// If it does not start: something of the first is in its way.
    pub fn start_again(self) -> Result<Gateway> {
        Gateway::run(&self.binary, &self.place, self.directory, &[])
    }
}

/// `voxlane detach --pin`
///
/// # Errors
/// If it cannot be started.
pub fn detach(binary: &Path, place: &Place, pin: &Path) -> Result<Output> {
    let mut command = place.command(binary);
    Ok(command.arg("detach").arg("--pin").arg(pin).output()?)
}

/// A gateway that has not been started: on the configuration in its runtime directory, if there is one.
pub fn serve(binary: &Path, place: &Place, runtime_dir: &Path) -> Command {
    let mut command = place.command(binary);
    command.arg("serve").arg("--runtime-dir").arg(runtime_dir);
    let config = runtime_dir.join(CONFIG);
    if config.exists() {
        command.arg("--config").arg(config);
    }
    command
}

fn asking(binary: &Path, runtime_dir: &Path, what: &str) -> Command {
    let mut command = Command::new(binary);
    command.arg(what).arg("--runtime-dir").arg(runtime_dir);
    command
}

fn ask<R: DeserializeOwned>(binary: &Path, runtime_dir: &Path, what: &str) -> Result<R> {
    let output = asking(binary, runtime_dir, what)
        .arg("--json")
        .output()
        .context("cannot start voxlane")?;
    ensure!(
        output.status.success(),
        "voxlane {what}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "voxlane {what} --json printed {}",
            String::from_utf8_lossy(&output.stdout)
        )
    })
}
