//! `voxlane tap`

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;

use super::ask::{self, print};
use super::dial::pair;
use crate::ops::client;
use crate::ops::report::{TapOrder, TapReport, TapTracks};

/// `voxlane tap`
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "Examples:
  Stream both sides of a call to a transcriber, as Twilio's <Start><Stream> does, and stop:
    voxlane tap 5be8dde9f1a3c204 --url wss://transcriber.example/media
    voxlane tap 5be8 --stop
  Only what the caller says:
    voxlane tap 5be8 --url ws://127.0.0.1:9000/ --tracks inbound

What arrives is copied; the packets themselves stay where they are, in the kernel lane or in a worker, and the stream goes on
when the call goes to another lane or another agent. A listener that fails or does not read does not hurt the call.
\"voxlane calls\" shows the names of calls; the first characters will do.")]
pub(super) struct Args {
    /// The call, as "voxlane calls" names it
    #[arg(value_parser = ask::call)]
    call: String,
    /// WebSocket of the listener
    #[arg(long, required_unless_present = "stop")]
    url: Option<String>,
    /// What it hears
    #[arg(long, value_enum, default_value = "both")]
    tracks: Tracks,
    /// Sent to it at the start, as customParameters
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
    /// For wss://: PEM file of those who vouch for the listener; whom the system trusts if not
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// End every stream of the call instead, those that its documents have started, too
    #[arg(long, conflicts_with_all = ["url", "parameters", "ca"])]
    stop: bool,
    #[command(flatten)]
    gateway: ask::Args,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tracks {
    /// What the caller says
    Inbound,
    /// What the caller hears
    Outbound,
    /// Both, told apart
    Both,
}

/// Begins or ends it, and says so.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(ask_for(args))?;
    if args.gateway.json {
        return print(&[&answer[..], b"\n"].concat());
    }
    let report: TapReport = serde_json::from_slice(&answer).context(ask::OTHER_VERSION)?;
    print(text(&report).as_bytes())
}

async fn ask_for(args: &Args) -> anyhow::Result<Vec<u8>> {
    let directory = &args.gateway.runtime_dir;
    let route = format!("/v1/calls/{}/tap", args.call);
    if args.stop {
        return Ok(client::delete_bytes(directory, &route).await?.to_vec());
    }
    let order = TapOrder {
        url: args.url.clone().unwrap_or_default(),
        tracks: match args.tracks {
            Tracks::Inbound => TapTracks::Inbound,
            Tracks::Outbound => TapTracks::Outbound,
            Tracks::Both => TapTracks::Both,
        },
        parameters: args.parameters.iter().cloned().collect(),
        // The gateway's working directory is its own.
        ca: args.ca.as_deref().map(std::path::absolute).transpose()?,
    };
    Ok(client::post_bytes(directory, &route, &order).await?.to_vec())
}

fn text(report: &TapReport) -> String {
    let TapReport { call, stream, ended } = report;
    match stream {
        Some(stream) => format!("call {call} is listened to: stream {stream}\n"),
        None => format!(
            "call {call}: {ended} {} ended\n",
            if *ended == 1 { "stream" } else { "streams" }
        ),
    }
}
