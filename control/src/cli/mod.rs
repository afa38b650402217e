//! The command line: one file a command.
//!
//! - [`serve`]: the gateway itself;
//! - [`check_config`]: reads a configuration and says what is wrong with it;
//! - [`status`], [`calls`], [`flows`]: ask a running gateway over its admin socket ([`ask`]) and print tables ([`table`],
//!   [`kernel`]);
//! - [`lane`], [`transfer`], [`update`], [`capture`], [`tap`]: tell a running gateway what to do with a call, over the same socket;
//! - [`dial`]: lets a running gateway place calls, and follows campaigns of them;
//! - [`detach`]: removes what a gateway that is down has left in the kernel;
//! - [`phone`]: the softphone, `call` and `answer`; what it does is in [`crate::softphone`].

mod ask;
mod calls;
mod capture;
mod check_config;
mod detach;
mod dial;
mod flows;
mod kernel;
mod lane;
mod log;
pub mod phone;
mod serve;
mod status;
mod table;
mod tap;
mod transfer;
mod update;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use crate::config::ConfigErrors;
use crate::softphone;

/// SIP gateway between telephone carriers and AI voice agents.
#[derive(Debug, Parser)]
#[command(
    name = "voxlane",
    version,
    arg_required_else_help = true,
    long_about = "SIP gateway between telephone carriers and AI voice agents.\n\n\
                  Calls arrive and leave over SIP trunks; agents behind WebSockets answer them; calls that need no agent \
                  are relayed inside the kernel (XDP).",
    after_help = "Examples:
  Run on the embedded defaults; from another terminal, call the echo agent and look at the media:
    voxlane serve --runtime-dir /tmp/voxlane
    voxlane call sip:+15550001@127.0.0.1 --tone 440
    voxlane flows --runtime-dir /tmp/voxlane
  Check a configuration, then run on it:
    voxlane check-config voxlane.toml && voxlane serve --config voxlane.toml

Logs go to standard error; RUST_LOG sets what is logged (RUST_LOG=debug, RUST_LOG=voxlane::sip=trace)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How logs are written
    #[arg(long, global = true, value_enum, default_value_t = log::Format::Text, display_order = 900)]
    log_format: log::Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    ///
    /// Runs until Ctrl-C or SIGTERM; calls that are up are hung up then. Without --config it runs on embedded defaults:
    /// SIP on UDP port 5060, built-in agents at +15550001 (echo) and +15550002 (tone). Relaying in the kernel needs
    /// root, or CAP_NET_ADMIN and CAP_BPF; without, calls are relayed in userspace, and "voxlane flows" says so.
    Serve(serve::Args),
    /// Read a configuration file and say what is wrong with it
    CheckConfig(check_config::Args),
    /// Show a running gateway at a glance
    Status(ask::Args),
    /// Show the calls of a running gateway
    Calls(ask::Args),
    /// Show the media flows of a running gateway, and the lane of each
    Flows(ask::Args),
    /// Move a relayed call between the kernel lane and the worker lane
    Lane(lane::Args),
    /// Transfer a call to another number
    Transfer(transfer::Args),
    /// Give a call that an application controls another document, or end it
    Update(update::Args),
    /// Write the packets of a call to a file, for tshark and its like
    Capture(capture::Args),
    /// Let somebody listen to a call over a WebSocket
    Tap(tap::Args),
    /// Let a running gateway place calls, with an agent or an application that talks, and say what became of each
    Dial(dial::Args),
    /// Show or stop campaigns of calls that a running gateway places
    Campaign(dial::CampaignArgs),
    /// Remove what a gateway that is down has left in the kernel
    Detach(detach::Args),
    /// Place a call with the built-in softphone and say what came of it
    Call(phone::CallArgs),
    /// Wait for a call with the built-in softphone, take it and say what came of it
    Answer(phone::AnswerArgs),
}

/// Runs the command line of this process. Exit status: 0 done, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(status) => status,
        Err(error) => {
            match error.downcast_ref::<ConfigErrors>() {
                // Each line names the file already.
                Some(errors) => eprintln!("{errors}"),
                None => eprintln!("voxlane: {error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let level = match cli.command {
        Command::Serve(_) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    log::start(cli.log_format, level);
    match cli.command {
        Command::Serve(args) => serve::run(args)?,
        Command::CheckConfig(args) => check_config::run(&args)?,
        Command::Status(args) => ask::run(&args, "/v1/status", status::text)?,
        Command::Calls(args) => ask::run(&args, "/v1/calls", calls::text)?,
        Command::Flows(args) => ask::run(&args, "/v1/flows", flows::text)?,
        Command::Lane(args) => return lane::run(&args),
        Command::Transfer(args) => return transfer::run(&args),
        Command::Update(args) => update::run(&args)?,
        Command::Capture(args) => capture::run(&args)?,
        Command::Tap(args) => tap::run(&args)?,
        Command::Dial(args) => return dial::run(&args),
        Command::Campaign(args) => dial::campaign(&args)?,
        Command::Detach(args) => detach::run(&args)?,
        Command::Call(args) => return phone::run(softphone::call(&args), args.media.json),
        Command::Answer(args) => return phone::run(softphone::answer(&args), args.media.json),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
