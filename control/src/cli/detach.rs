//! `voxlane detach`

use std::path::{Path, PathBuf};

use anyhow::Context;
use voxlane_dataplane::plane;

use super::ask::print;
use crate::config::{Config, pin};

/// `voxlane detach`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Relayed calls of a gateway that is down go on in the kernel until this removes what carries \
                        them, or the next \"voxlane serve\" takes them over. Needs root, or CAP_NET_ADMIN and CAP_BPF.

Examples:
  Remove what the gateway of this configuration has left in the kernel:
    voxlane detach --config /etc/voxlane/voxlane.toml
  The same by the directory, as media.pin says:
    voxlane detach --pin /sys/fs/bpf/voxlane/pop1-a"
)]
pub(super) struct Args {
    /// Configuration file whose media.pin is to be removed [default: embedded defaults]
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    config: Option<PathBuf>,
    /// The directory to remove
    #[arg(long, value_name = "DIR", value_parser = directory)]
    pin: Option<PathBuf>,
}

/// Removes the programs, links and maps, and says what was there.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let directory = match &args.pin {
        Some(directory) => directory.clone(),
        None => pinned(args.config.as_deref())?,
    };
    let removed = plane::detach(&directory).map_err(anyhow::Error::msg)?;
    let text = match removed.as_slice() {
        [] => format!("nothing is pinned in {}\n", directory.display()),
        lines => lines.iter().map(|line| format!("{line}\n")).collect(),
    };
    print(text.as_bytes())
}

/// Where the gateway of a configuration pins.
fn pinned(file: Option<&Path>) -> anyhow::Result<PathBuf> {
    let config = match file {
        Some(file) => Config::load(file)?,
        None => Config::embedded()?,
    };
    let pin = config.media.pin;
    pin.context("media.pin is \"off\": the kernel lane of this configuration ends with the gateway")
}

fn directory(text: &str) -> Result<PathBuf, String> {
    pin(text)?.ok_or_else(|| "write the directory".to_owned())
}
