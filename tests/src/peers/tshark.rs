//! tshark: what Wireshark makes of a capture.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns::Place;
use crate::process::Process;

/// A capture of all RTP in a namespace, once it has begun; it ends on SIGINT.
///
/// # Errors
/// If tshark cannot be started, or does not capture.
pub fn capture(place: &Place, file: &Path) -> Result<Process> {
    capture_of(place, file, "udp and not port 5060")
}

/// The same of all SIP.
///
/// # Errors
/// As of [`capture`].
pub fn capture_sip(place: &Place, file: &Path) -> Result<Process> {
    capture_of(place, file, "port 5060")
}

fn capture_of(place: &Place, file: &Path, filter: &str) -> Result<Process> {
    let mut command = place.command("tshark");
    command.args(["-i", "eth0", "-w"]).arg(file).args(["-f", filter]);
    let mut process = Process::start("tshark", &mut command)?;
    process.poll("tshark to capture", Duration::from_secs(20), |process| {
        process.stderr().contains("Capturing on")
    })?;
    Ok(process)
}

/// One RTP stream, as `-z rtp,streams` shows it.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Port it was sent to.
    pub port: u16,
    /// Packets.
    pub packets: u64,
    /// Packets that are missing.
    pub lost: i64,
    /// Mean of the interarrival jitter, milliseconds.
    pub mean_jitter_ms: f64,
    /// Its greatest, milliseconds.
    pub max_jitter_ms: f64,
}

/// The RTP streams of a capture, to these ports.
///
/// # Errors
/// If tshark fails, or prints what cannot be read.
pub fn streams(file: &Path, ports: &[u16]) -> Result<Vec<Stream>> {
    let output = tshark(file, ports, &["-q", "-z", "rtp,streams"])?;
    // Two lines of headings, a stream a line, and a line of `=`.
    let lines = output.lines().filter(|line| line.contains("0x"));
    lines
        .map(|line| stream(line).with_context(|| format!("tshark says {line:?}")))
        .collect()
}

/// One field of each packet that passes a display filter, in the order of the capture.
///
/// # Errors
/// If tshark fails.
pub fn fields(file: &Path, ports: &[u16], filter: &str, field: &str) -> Result<Vec<String>> {
    let output = tshark(file, ports, &["-Y", filter, "-T", "fields", "-e", field])?;
    Ok(output.lines().map(str::to_owned).collect())
}

fn tshark(file: &Path, ports: &[u16], arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file);
    for port in ports {
        command.args(["-d", &format!("udp.port=={port},rtp")]);
    }
    let output = command.args(arguments).output().context("cannot start tshark")?;
    ensure!(
        output.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Reads `start end source port destination port SSRC payload packets lost (n%) deltas.. jitters..`, where there are three
/// deltas and three jitters: least, mean and greatest.
fn stream(line: &str) -> Option<Stream> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ssrc = words.iter().position(|word| word.starts_with("0x"))?;
    let percent = words.iter().position(|word| word.starts_with('('))?;
    let jitters = words.get(percent + 4..percent + 7)?;
    Some(Stream {
        port: words.get(ssrc - 1)?.parse().ok()?,
        packets: words.get(percent - 2)?.parse().ok()?,
        lost: words.get(percent - 1)?.parse().ok()?,
        mean_jitter_ms: jitters[1].parse().ok()?,
        max_jitter_ms: jitters[2].parse().ok()?,
    })
}
