//! Logs, to standard error.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging at this level, unless `RUST_LOG` says otherwise. To be called once.
pub(super) fn start(format: Format, level: LevelFilter) {
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        Format::Text => builder.with_ansi(stderr().is_terminal()).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
}
