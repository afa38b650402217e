//! tshark: what Wireshark makes of a capture.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

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

/// The same of what goes to and from a WebSocket server at a port of 127.0.0.1.
///
/// # Errors
/// As of [`capture`].
pub fn capture_websocket(place: &Place, file: &Path, port: u16) -> Result<Process> {
    capture_at(place, "lo", file, &format!("tcp port {port}"))
}

/// The same of the headers of RTP to one port, for hundreds of calls; it ends by itself after so many seconds.
///
/// # Errors
/// As of [`capture`].
pub fn capture_headers(place: &Place, file: &Path, port: u16, seconds: u32) -> Result<Process> {
    let mut command = place.command("tshark");
    command.args([
        "-i",
        "eth0",
        "-s",
        "64",
        "-B",
        "64",
        "-a",
        &format!("duration:{seconds}"),
    ]);
    command.args(["-f", &format!("udp dst port {port}"), "-w"]).arg(file);
    begun(&mut command)
}

/// When packets came from each port that has sent to this one, seconds since 1970.
///
/// # Errors
/// If tshark fails, or prints what cannot be read.
pub fn times(file: &Path, port: u16) -> Result<BTreeMap<u16, Vec<f64>>> {
    let mut times: BTreeMap<u16, Vec<f64>> = BTreeMap::new();
    let filter = format!("udp.dstport=={port}");
    for row in table(file, &[], &filter, &["udp.srcport", "frame.time_epoch"])? {
        match &row[..] {
            [from, at] => times.entry(from.parse()?).or_default().push(at.parse()?),
            _ => bail!("tshark says {row:?}"),
        }
    }
    Ok(times)
}

fn capture_of(place: &Place, file: &Path, filter: &str) -> Result<Process> {
    capture_at(place, "eth0", file, filter)
}

fn capture_at(place: &Place, interface: &str, file: &Path, filter: &str) -> Result<Process> {
    let mut command = place.command("tshark");
    command.args(["-i", interface, "-w"]).arg(file).args(["-f", filter]);
    begun(&mut command)
}

/// Waits until a capture has begun.
fn begun(command: &mut Command) -> Result<Process> {
    let mut process = Process::start("tshark", command)?;
    // "Capturing on" comes before there is a socket.
    process.poll("tshark to capture", Duration::from_secs(20), |process| {
        process.stderr().contains("Capture started")
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

/// One RTP packet of a capture.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When it passed, seconds since 1970.
    pub at: f64,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

/// The RTP packets that were sent from a port, in the order of the capture.
///
/// # Errors
/// If tshark fails, or prints what cannot be read.
pub fn packets(file: &Path, from: u16) -> Result<Vec<Packet>> {
    let filter = format!("udp.srcport=={from} && rtp");
    let wanted = ["frame.time_epoch", "rtp.seq", "rtp.timestamp", "rtp.payload"];
    let rows = table(file, &[&format!("udp.port=={from},rtp")], &filter, &wanted)?;
    let packets = rows
        .iter()
        .map(|row| packet(row).with_context(|| format!("tshark says {row:?}")));
    packets.collect()
}

fn packet(row: &[String]) -> Option<Packet> {
    let [at, sequence, timestamp, payload] = row else {
        return None;
    };
    let digits: Vec<u8> = payload.bytes().filter(|byte| *byte != b':').collect();
    let bytes = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    Some(Packet {
        at: at.parse().ok()?,
        sequence: sequence.parse().ok()?,
        timestamp: timestamp.parse().ok()?,
        payload: bytes.collect::<Option<_>>()?,
    })
}

/// The text messages that passed a WebSocket server's port, in the order of the capture: when, seconds since 1970, and what.
/// Those that have left in one piece are one text.
///
/// # Errors
/// If tshark fails, or prints what cannot be read.
pub fn texts(file: &Path, port: u16, filter: &str) -> Result<Vec<(f64, String)>> {
    let wanted = ["frame.time_epoch", "websocket.payload.text"];
    let rows = table(file, &[&format!("tcp.port=={port},http")], filter, &wanted)?;
    let texts = rows.into_iter().map(|row| match &row[..] {
        [at, text] => Ok((at.parse()?, text.clone())),
        _ => bail!("tshark says {row:?}"),
    });
    texts.collect()
}

/// Fields of each packet that passes a display filter, in the order of the capture; `decode` says what is in which port.
fn table(file: &Path, decode: &[&str], filter: &str, wanted: &[&str]) -> Result<Vec<Vec<String>>> {
    let decode = decode.iter().flat_map(|what| ["-d", what]);
    let wanted = wanted.iter().flat_map(|field| ["-e", field]);
    let arguments: Vec<&str> = decode.chain(["-Y", filter, "-T", "fields"]).chain(wanted).collect();
    let output = tshark(file, &[], &arguments)?;
    let rows = output.lines().map(|line| line.split('\t').map(str::to_owned).collect());
    Ok(rows.collect())
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
