//! `voxlane call` and `voxlane answer`, the softphone.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use voxlane_dataplane::codec::Codec;

use super::ask::print;
use crate::config::duration;
use crate::softphone::{CallResult, Outcome};

/// `voxlane call`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  Call the built-in echo agent of a gateway on this machine, send a tone, keep what comes back:
    voxlane call sip:+15550001@127.0.0.1 --tone 440 --record echo.wav
  Call with a number of your own, press keys, hang up after 10 seconds:
    voxlane call sip:+15550003@203.0.113.50 --from +15550100 --dtmf 123# --duration 10s")]
pub struct CallArgs {
    /// Whom to call: sip:NUMBER@HOST[:PORT]
    pub uri: String,
    /// Number to call from
    #[arg(long, value_name = "NUMBER", default_value = "voxlane")]
    pub from: String,
    /// Local IP address for signalling and audio [default: the one the route to HOST starts from]
    #[arg(long, value_name = "IP")]
    pub local: Option<IpAddr>,
    /// How to carry SIP
    #[arg(long, value_enum, default_value_t = Transport::Udp)]
    pub transport: Transport,
    /// Hang up this long after the call was answered [default: a second after everything is played and pressed; a tone
    /// lasts 5 s]
    #[arg(long, value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// What to play, record and press.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// `voxlane answer`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  Be the far end of a trunk: take one call and send it a tone:
    voxlane answer --listen 127.0.0.1:5070 --tone 1000
  Answer in A-law only and keep what was heard:
    voxlane answer --listen 203.0.113.60:5060 --codec PCMA --record heard.wav")]
pub struct AnswerArgs {
    /// Where to wait for calls (SIP over UDP)
    #[arg(long, value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// Hang up this long after answering, if the caller has not [default: a second after everything is played and
    /// pressed; a tone lasts 5 s]
    #[arg(long, value_parser = duration::parse)]
    pub duration: Option<Duration>,
    /// What to play, record and press.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// What the softphone does while it is in a call.
#[derive(Clone, Debug, Args)]
pub struct MediaArgs {
    /// Send a steady tone of this frequency
    #[arg(long, value_name = "HZ", conflicts_with = "play", value_parser = clap::value_parser!(u16).range(20..=3800))]
    pub tone: Option<u16>,
    /// Send this sound: a WAV file of 8, 16, 24 or 48 kHz, 16 bit, one channel
    #[arg(long, value_name = "FILE.wav")]
    pub play: Option<PathBuf>,
    /// Write what is heard to this file
    #[arg(long, value_name = "FILE.wav")]
    pub record: Option<PathBuf>,
    /// Keys to press (RFC 4733): 0-9 * # A-D
    #[arg(long, value_name = "DIGITS", default_value = "", value_parser = digits)]
    pub dtmf: String,
    /// Codecs in order of preference
    #[arg(long, value_name = "CODEC,…", value_delimiter = ',', default_value = "PCMU,PCMA,G722", value_parser = codec)]
    pub codec: Vec<Codec>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// How SIP is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// UDP
    Udp,
}

/// Lets the softphone do what it is to do and prints what came of it. A call that was not answered is a failure.
pub(super) fn run(phone: impl Future<Output = anyhow::Result<Outcome>>, json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(phone)?;
    let text = if json {
        serde_json::to_string_pretty(&outcome)? + "\n"
    } else {
        outcome.to_string()
    };
    print(text.as_bytes())?;
    Ok(match outcome.result {
        CallResult::Completed => ExitCode::SUCCESS,
        CallResult::Failed => ExitCode::FAILURE,
    })
}

fn codec(text: &str) -> Result<Codec, String> {
    let same = |codec: &Codec| codec.name().eq_ignore_ascii_case(text);
    Codec::ALL.into_iter().find(same).ok_or_else(|| {
        let names: Vec<&str> = Codec::ALL.into_iter().map(Codec::name).collect();
        format!("there is {}", names.join(", "))
    })
}

fn digits(text: &str) -> Result<String, String> {
    match text
        .chars()
        .find(|digit| !matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D'))
    {
        None => Ok(text.to_owned()),
        Some(other) => Err(format!("{other:?} is not a key; there is 0-9 * # A-D")),
    }
}
