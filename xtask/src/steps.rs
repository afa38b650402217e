//! Progress, one line a step, on stderr:
//!
//! ```text
//!   ok   nightly rust-src
//!   …    installing bpf-linker 0.10.3 (about 90 s)
//!   !    not root: end-to-end tests are skipped
//! ```

use std::io::{IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// Something is there, or has been done.
pub fn ok(what: &str) {
    eprintln!("  {}   {what}", paint("32", "ok"));
}

/// Something begins that shows its own progress.
pub fn begin(what: &str) {
    eprintln!("  …    {what}");
}

/// Something the user should know.
pub fn note(what: &str) {
    eprintln!("  {}    {what}", paint("33", "!"));
}

/// Runs a command that says nothing unless it fails; returns what it wrote.
pub fn run(what: &str, command: &mut Command) -> Result<String> {
    let live = std::io::stderr().is_terminal();
    if !live {
        begin(what);
    }
    let started = Instant::now();
    let (mut reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    // The command holds the pipe's writing end; as long as it does, reading does not end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let output = thread::spawn(move || {
        let mut output = Vec::new();
        reader.read_to_end(&mut output).map(|_| output)
    });
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if live {
            eprint!("\r\x1b[2K  …    {what}  {} s", started.elapsed().as_secs());
            std::io::stderr().flush()?;
        }
        thread::sleep(Duration::from_millis(100));
    };
    let output = output
        .join()
        .map_err(|_| anyhow!("reading the output of {program} failed"))??;
    let output = String::from_utf8_lossy(&output).into_owned();
    if live {
        eprint!("\r\x1b[2K");
    }
    if !status.success() {
        eprintln!("  {} {what}\n{}", paint("31", "fail"), output.trim_end());
        bail!("{what} failed: {program}: {status}");
    }
    ok(&format!("{what}, took {} s", started.elapsed().as_secs()));
    Ok(output)
}

/// What a command prints; `None` if it cannot be run or fails.
pub fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An error that ends with the one command the user should run.
pub fn cannot(what: &str, run: &str) -> anyhow::Error {
    anyhow!("{what}. Run this, then try again:\n\n    {run}\n")
}

fn paint(colour: &str, text: &str) -> String {
    if std::io::stderr().is_terminal() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
