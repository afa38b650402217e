//! `voxlane check-config`

use std::path::PathBuf;

use super::ask::print;
use crate::config::Config;
use crate::sip::transport::tls::{self, Tls};

/// `voxlane check-config`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints every mistake with its file, line, key and what would be right, and exits with 1.\n\n\
                        Example:\n  voxlane check-config /etc/voxlane/voxlane.toml"
)]
pub(super) struct Args {
    /// The file to check
    file: PathBuf,
}

/// Reads the file; its mistakes are the error.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load(&args.file)?;
    Tls::load(config.tls())?;
    tls::clients(config.agent_peers())?;
    print(format!("{}: ok ({})\n", args.file.display(), summary(&config)).as_bytes())
}

fn summary(config: &Config) -> String {
    let listen: Vec<String> = config.sip.listen.iter().map(ToString::to_string).collect();
    let pairs = (config.media.last_port - config.media.first_port).div_ceil(2);
    format!(
        "listens on {}; {}, {}, {}, {}; RTP ports {}-{}, {pairs} pairs an address",
        listen.join(", "),
        count(config.trunks.len(), "trunk"),
        count(config.tenants.len(), "tenant"),
        count(config.agents.len(), "agent"),
        count(config.dids.len(), "DID"),
        config.media.first_port,
        config.media.last_port,
    )
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
