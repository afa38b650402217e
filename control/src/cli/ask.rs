//! What `status`, `calls` and `flows` have in common: ask the admin socket, print.

use std::io::{ErrorKind, Write, stdout};
use std::path::PathBuf;

use anyhow::Context;
use serde::de::DeserializeOwned;

use crate::ops::client;

/// Why an answer cannot be read, most likely.
pub(super) const OTHER_VERSION: &str =
    "the gateway's answer has another form; is it of another version than this command?";

/// Where to ask and how to print.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The runtime directory of the gateway, as given to "voxlane serve" or as node.runtime_dir
    #[arg(
        long,
        value_name = "DIR",
        env = "VOXLANE_RUNTIME_DIR",
        default_value = "/run/voxlane"
    )]
    pub(super) runtime_dir: PathBuf,
    /// Print the answer as the JSON it is
    #[arg(long)]
    pub(super) json: bool,
}

/// Asks for a route and prints the answer: as JSON, or as `text` makes it readable.
pub(super) fn run<T: DeserializeOwned>(args: &Args, route: &str, text: fn(&T) -> String) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(client::get_bytes(&args.runtime_dir, route))?;
    if args.json {
        print(&[&answer[..], b"\n"].concat())
    } else {
        let report = serde_json::from_slice(&answer).context(OTHER_VERSION)?;
        print(text(&report).as_bytes())
    }
}

/// The name of a call, or how it begins.
pub(super) fn call(text: &str) -> Result<String, String> {
    match text.bytes().all(|byte| byte.is_ascii_hexdigit()) && (1..=16).contains(&text.len()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("names of calls are hexadecimal digits; \"voxlane calls\" shows them".to_owned()),
    }
}

/// Writes to standard output. That its reader went away (`| head`) is not an error.
pub(super) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}
