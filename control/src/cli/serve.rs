//! `voxlane serve`

use std::path::PathBuf;

use anyhow::Context;

use crate::config::Config;
use crate::gateway;

/// `voxlane serve`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  Run on the embedded defaults, without root:
    voxlane serve --runtime-dir /tmp/voxlane
  Run on a configuration, with the details of SIP in the log:
    RUST_LOG=info,voxlane::sip=debug voxlane serve --config /etc/voxlane/voxlane.toml")]
pub(super) struct Args {
    /// Configuration file [default: embedded defaults; see config/default.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to place the admin socket that "voxlane status", "calls" and "flows" ask; overrides node.runtime_dir
    #[arg(long, value_name = "DIR", env = "VOXLANE_RUNTIME_DIR")]
    runtime_dir: Option<PathBuf>,
}

/// Serves until it is told to stop.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let mut config = match &args.config {
        Some(file) => Config::load(file)?,
        None => Config::embedded()?,
    };
    if let Some(runtime_dir) = args.runtime_dir {
        config.node.runtime_dir = runtime_dir;
    }
    let source = args
        .config
        .map_or_else(|| "embedded defaults".to_owned(), |file| file.display().to_string());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = source, "voxlane starts");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("tokio runtime")?;
    // On a thread of the runtime, which waits for the sockets itself: whatever blocks on it has to be woken by one that does.
    runtime.block_on(async { tokio::spawn(gateway::run(config)).await })?
}
