//! The VM as a process: what its console says, and its end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::kernels::Kernel;
use crate::workspace::Workspace;

/// A single test that says nothing for this long hangs, or the kernel does.
const LONGEST_SILENCE: Duration = Duration::from_secs(120);

/// A VM that runs for this long will not end.
const LONGEST_RUN: Duration = Duration::from_secs(900);

/// What a VM takes for the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The host's, as anybody outside would.
    Host,
    /// The instructions that it has carried out: it stands still while the host has other things to do, and leaps to the next
    /// timer when there is nothing to do inside. What is measured by it does not depend on the host.
    Instructions,
}

/// How a VM has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It has switched itself off, or its kernel has crashed.
    Off,
    /// It was killed after a time without a word.
    Silent(Duration),
    /// It was killed although it still had something to say.
    Endless(Duration),
}

/// Boots and passes on each line of the console until the end.
pub fn run(
    workspace: &Workspace,
    kernel: &Kernel,
    initramfs: &Path,
    clock: Clock,
    on_line: impl FnMut(&str),
) -> Result<End> {
    let (reader, writer) = std::io::pipe()?;
    let mut qemu = qemu(workspace, kernel, initramfs, clock);
    qemu.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut machine = Machine(qemu.spawn().context("cannot start qemu")?);
    // The command holds the pipe's writing end; as long as it does, reading does not end.
    drop(qemu);
    let (tell, lines) = mpsc::sync_channel(100);
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    let end = listen(&lines, LONGEST_SILENCE, LONGEST_RUN, on_line);
    if end == End::Off {
        machine.0.wait()?;
    }
    Ok(end)
}

fn qemu(workspace: &Workspace, kernel: &Kernel, initramfs: &Path, clock: Clock) -> Command {
    // `mitigations` and the like are left alone: some of them change what the verifier lets pass.
    const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet loglevel=4 no_timer_check oops=panic panic=-1";
    // An xtask that is killed takes its VM with it.
    let mut qemu = workspace.command("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-serial", "stdio", "-no-reboot"])
        // Emulated even where there is a /dev/kvm: one inside another VM was seen to fail half-way through the boot.
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", KERNEL_ARGUMENTS]);
    if clock == Clock::Instructions {
        // Four nanoseconds each.
        qemu.args(["-icount", "shift=2,sleep=off"]);
    }
    qemu
}

fn listen(lines: &Receiver<String>, silence: Duration, run: Duration, mut on_line: impl FnMut(&str)) -> End {
    let started = Instant::now();
    loop {
        let left = run.saturating_sub(started.elapsed());
        if left.is_zero() {
            return End::Endless(run);
        }
        match lines.recv_timeout(silence.min(left)) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Disconnected) => return End::Off,
            Err(RecvTimeoutError::Timeout) if left > silence => return End::Silent(silence),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// A qemu that does not outlive this value.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_endless_talk_are_told_apart() {
        let moment = Duration::from_millis(20);
        let (tell, lines) = mpsc::sync_channel(1);
        tell.send("a".to_owned()).unwrap();
        let mut heard = Vec::new();
        let end = listen(&lines, moment, Duration::from_secs(60), |line| {
            heard.push(line.to_owned())
        });
        assert_eq!((end, heard), (End::Silent(moment), vec!["a".to_owned()]));

        let talk = thread::spawn(move || while tell.send(String::new()).is_ok() {});
        assert_eq!(
            listen(&lines, Duration::from_secs(60), moment, |_| {}),
            End::Endless(moment)
        );
        drop(lines);
        talk.join().unwrap();

        let (tell, lines) = mpsc::sync_channel(1);
        drop(tell);
        assert_eq!(listen(&lines, moment, moment, |_| {}), End::Off);
    }
}
