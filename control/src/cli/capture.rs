//! `voxlane capture`

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write, stdout};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::signal::unix::{SignalKind, signal};

use super::ask;
use crate::ops::client;
use crate::ops::pcap::Splitter;
use crate::ops::report::StatusReport;

/// `voxlane capture`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  Capture a call until Ctrl-C is pressed or it ends, then look at its streams:
    voxlane capture 5be8dde9f1a3c204 -w call.pcap
    tshark -r call.pcap -q -z rtp,streams
  Watch 10 seconds of it as they come:
    voxlane capture 5be8 -w - --seconds 10 | tshark -r -

What arrives from both far ends is copied, RTP and RTCP; the packets themselves stay in the kernel lane. Only calls in that
lane can be captured, and a capture ends when its call leaves it. The file holds what was said: only its owner may read it. \"voxlane calls\" shows the names of calls; the first characters will do.")]
pub(super) struct Args {
    /// The call, as "voxlane calls" names it
    #[arg(value_parser = ask::call)]
    call: String,
    /// The file to write (pcap); "-" is standard output
    #[arg(short = 'w', long = "write", value_name = "FILE.pcap")]
    write: PathBuf,
    /// End after this many seconds [default: when the call ends or leaves the kernel lane, or Ctrl-C is pressed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
    /// The runtime directory of the gateway, as given to "voxlane serve" or as node.runtime_dir
    #[arg(
        long,
        value_name = "DIR",
        env = "VOXLANE_RUNTIME_DIR",
        default_value = "/run/voxlane"
    )]
    runtime_dir: PathBuf,
}

/// Writes the file, and says to standard error what is in it.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(capture(args))
}

async fn capture(args: &Args) -> anyhow::Result<()> {
    let lost_before = lost(&args.runtime_dir).await;
    let mut packets = client::open(&args.runtime_dir, &format!("/v1/calls/{}/capture", args.call)).await?;
    let mut output = Output::create(&args.write)?;
    let mut splitter = Splitter::default();
    let end = copy(&mut packets, &mut splitter, &mut output, args.seconds).await?;
    // The gateway ends the mirroring when this is closed.
    drop(packets);
    eprintln!(
        "{} {} in {}{}",
        splitter.frames(),
        if splitter.frames() == 1 { "frame" } else { "frames" },
        args.write.display(),
        match end {
            End::Asked => "",
            End::Call => "; the call has ended or left the kernel lane",
            End::Broken => "; the gateway is gone",
        }
    );
    if let (Some(before), Some(after)) = (lost_before, lost(&args.runtime_dir).await)
        && after > before
    {
        eprintln!(
            "{} frames of this or another capture found no room on their way here and are missing",
            after - before
        );
    }
    Ok(())
}

/// Why a capture ended.
enum End {
    /// Time is up, or Ctrl-C was pressed, or nobody reads what is written.
    Asked,
    /// The gateway has come to the end of it.
    Call,
    /// The gateway went away.
    Broken,
}

async fn copy(
    packets: &mut Incoming,
    splitter: &mut Splitter,
    output: &mut Output,
    seconds: Option<u32>,
) -> anyhow::Result<End> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let end = seconds.map(|seconds| tokio::time::Instant::now() + Duration::from_secs(seconds.into()));
    let time_is_up = async {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time_is_up);
    loop {
        let frame = tokio::select! {
            frame = packets.frame() => frame,
            () = &mut time_is_up => return Ok(End::Asked),
            _ = interrupt.recv() => return Ok(End::Asked),
            _ = terminate.recv() => return Ok(End::Asked),
        };
        let bytes = match frame {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return Ok(End::Broken),
            None => return Ok(End::Call),
        };
        if !output.write(&splitter.push(&bytes)?)? {
            return Ok(End::Asked);
        }
    }
}

/// Mirrored frames that the gateway has lost so far, of all captures; `None` if it does not say.
async fn lost(runtime_dir: &Path) -> Option<u64> {
    let status: StatusReport = client::get(runtime_dir, "/v1/status").await.ok()?;
    status.plane.kernel.map(|kernel| kernel.mirrored_lost)
}

enum Output {
    File(File, PathBuf),
    Stdout,
}

impl Output {
    fn create(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        // The mode above is that of a file which was not there before.
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))
                .with_context(|| format!("cannot keep {} from others", path.display()))?;
        }
        Ok(Self::File(file, path.to_owned()))
    }

    /// Writes whole records; whether there is anybody who wants more.
    fn write(&mut self, records: &[u8]) -> anyhow::Result<bool> {
        match self {
            Self::File(file, path) => {
                let written = file.write_all(records);
                written.with_context(|| format!("cannot write {}", path.display()))?;
            }
            Self::Stdout => {
                let mut out = stdout().lock();
                match out.write_all(records).and_then(|()| out.flush()) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
                    written => written.context("standard output")?,
                }
            }
        }
        Ok(true)
    }
}
