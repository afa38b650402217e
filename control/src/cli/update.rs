//! `voxlane update`

use std::path::PathBuf;

use anyhow::Context;

use super::ask::{self, OTHER_VERSION, print};
use super::dial::document;
use crate::campaign::{CallUpdate, Updated, WrittenDocument};
use crate::ops::client;

/// `voxlane update`
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "Examples:
  Give the call to an application, or the application another document:
    voxlane update 5be8dde9f1a3c204 --voice-url https://app.example/goodbye
  End the call:
    voxlane update 5be8 --hang-up

\"voxlane calls\" shows the names of calls; the first characters will do.")]
pub(super) struct Args {
    /// The call, as "voxlane calls" names it
    #[arg(value_parser = ask::call)]
    call: String,
    /// Where the document is asked for that takes the place of what is being done, or of the agent
    #[arg(long, value_name = "URL", required_unless_present_any = ["twiml", "hang_up"])]
    voice_url: Option<String>,
    /// A file with that document
    #[arg(long, value_name = "FILE", conflicts_with = "voice_url")]
    twiml: Option<PathBuf>,
    /// End the call instead
    #[arg(long, conflicts_with_all = ["voice_url", "twiml"])]
    hang_up: bool,
    #[command(flatten)]
    gateway: ask::Args,
}

/// Updates the call, and says so.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let update = CallUpdate {
        document: WrittenDocument {
            voice_url: args.voice_url.clone(),
            voice_method: None,
            twiml: args.twiml.as_deref().map(document).transpose()?,
        },
        hang_up: args.hang_up,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let route = format!("/v1/calls/{}", args.call);
    let answer = runtime.block_on(client::post_bytes(&args.gateway.runtime_dir, &route, &update))?;
    if args.gateway.json {
        return print(&[&answer[..], b"\n"].concat());
    }
    let updated: Updated = serde_json::from_slice(&answer).context(OTHER_VERSION)?;
    print(format!("call {}: updated\n", updated.call).as_bytes())
}
