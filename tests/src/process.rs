//! A program that is started, watched and always ended.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

const POLL: Duration = Duration::from_millis(20);

/// How long a program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every wait in this process, now and later, end with an error: its user has pressed Ctrl-C.
pub fn interrupt_waits() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether [`interrupt_waits`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Sleeps for one turn of a wait.
///
/// # Errors
/// If [`interrupt_waits`] was called.
pub fn pause() -> Result<()> {
    thread::sleep(POLL);
    ensure!(!interrupted(), "interrupted");
    Ok(())
}

/// What a process has in memory now, bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    let kibibytes: u64 = kibibytes.parse().context("VmRSS is not a number")?;
    Ok(kibibytes << 10)
}

/// A running program; what it writes is kept. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: TempDir,
}

/// What a program that has ended leaves.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Process {
    /// Starts a program in a process group of its own, so that Ctrl-C at the terminal reaches only who is to end it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let output = tempfile::tempdir()?;
        let file = |name| File::create(output.path().join(name));
        command
            .stdin(Stdio::null())
            .stdout(file("stdout")?)
            .stderr(file("stderr")?)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            output,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// Waits until it has written something that contains `text`.
    ///
    /// # Errors
    /// If it ends first, or within `patience` says nothing of the kind; the error holds what it did say.
    pub fn wait_for(&mut self, text: &str, patience: Duration) -> Result<()> {
        let name = self.name.clone();
        self.poll(&format!("{name} to say {text:?}"), patience, |process| {
            process.stdout().contains(text) || process.stderr().contains(text)
        })
    }

    /// Waits until `holds`.
    ///
    /// # Errors
    /// If the program ends first, or it does not hold within `patience`.
    pub fn poll(&mut self, what: &str, patience: Duration, mut holds: impl FnMut(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let ended = self.child.try_wait()?;
            if holds(self) {
                return Ok(());
            }
            if let Some(status) = ended {
                bail!("waiting for {what}, but {} ended: {status}\n{}", self.name, self.said());
            }
            if Instant::now() > deadline {
                bail!("waited {patience:?} for {what}\n{}", self.said());
            }
            pause()?;
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it has not within `patience`; it is then ended.
    pub fn wait(mut self, patience: Duration) -> Result<Ended> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Ended {
                    status,
                    stdout: self.stdout(),
                    stderr: self.stderr(),
                });
            }
            if Instant::now() > deadline {
                bail!("{} still runs after {patience:?}\n{}", self.name, self.said());
            }
            pause()?;
        }
    }

    /// Sends it a signal, `INT` or `KILL` say.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill")
            .args(["-s", signal, &self.id().to_string()])
            .status()?;
        if !status.success() {
            bail!("cannot send {signal} to {}", self.name);
        }
        Ok(())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// If it does not; it is then killed.
    pub fn interrupt(self) -> Result<Ended> {
        self.signal("INT")?;
        self.wait(GRACE)
    }

    /// Everything it has written, for error messages.
    pub fn said(&self) -> String {
        format!(
            "--- stdout of {0}\n{1}\n--- stderr of {0}\n{2}",
            self.name,
            self.stdout(),
            self.stderr()
        )
    }

    fn read(&self, name: &str) -> String {
        let path: PathBuf = self.output.path().join(name);
        fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        let deadline = Instant::now() + GRACE;
        if self.signal("TERM").is_ok() {
            while self.is_running() && Instant::now() < deadline {
                thread::sleep(POLL);
            }
        }
        let _may_have_ended = self.child.kill();
        let _status = self.child.wait();
    }
}
