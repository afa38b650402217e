//! A small softphone on the gateway's own SIP core and worker lane: `voxlane call` places one call, `voxlane answer`
//! takes one. It plays a tone or a file, presses keys, records, and says what it measured.

pub mod audio;
mod phone;

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use serde::Serialize;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::StreamStats;

use self::audio::Heard;
use self::phone::{Media, Phone};
use crate::cli::phone::{AnswerArgs, CallArgs};
use crate::config::model::HostPort;
use crate::gateway::resolve;
use crate::sip::{Address, parse_uri};

/// What came of a call.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// `completed` if the call was answered, else `failed`.
    pub result: CallResult,
    /// Final SIP status; 0 if none came.
    pub status: u16,
    /// Its reason phrase, or what went wrong.
    pub reason: String,
    /// The caller's number or user.
    pub from: String,
    /// The called number or user.
    pub to: String,
    /// SIP Call-ID.
    pub call_id: Option<String>,
    /// Agreed codec.
    pub codec: Option<Codec>,
    /// Our RTP address.
    pub local_rtp: Option<SocketAddr>,
    /// The far end's RTP address, from SDP.
    pub remote_rtp: Option<SocketAddr>,
    /// From INVITE to answer.
    pub setup_ms: Option<f64>,
    /// From answer to end.
    pub duration_ms: Option<f64>,
    /// Who hung up.
    pub ended_by: Option<EndedBy>,
    /// What became of the BYE.
    pub bye: Bye,
    /// RTP packets sent.
    pub sent_packets: u64,
    /// RTP received.
    pub received: StreamStats,
    /// What the audio was.
    pub heard: Heard,
    /// Keys the far end pressed.
    pub digits: String,
}

/// Whether a call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallResult {
    /// It was.
    Completed,
    /// It was not.
    Failed,
}

/// Who hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// This side.
    Us,
    /// The far end.
    Them,
}

/// What became of the BYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bye {
    /// There was none.
    None,
    /// We sent it and it was answered.
    Answered,
    /// We received and answered it.
    Received,
    /// We sent it, and nothing came back.
    Timeout,
}

/// Places a call and stays on the line as the arguments say.
///
/// # Errors
/// If the URI, a file or an address is no use; a call that was refused is an [`Outcome`], not an error.
pub async fn call(args: &CallArgs) -> anyhow::Result<Outcome> {
    let uri = &args.uri;
    let callee = parse_uri(uri).with_context(|| format!("{uri:?} is not a SIP URI; write sip:NUMBER@HOST[:PORT]"))?;
    let host = HostPort {
        host: callee.host.clone(),
        port: callee.port.unwrap_or(5060),
    };
    let remote = *resolve(&host)
        .await
        .map_err(anyhow::Error::msg)?
        .first()
        .context("the host has no address")?;
    let media = Media::read(&args.media, args.duration)?;
    let bind = SocketAddr::new(args.local.unwrap_or(unspecified(remote.ip())), 0);
    let phone = Phone::start(bind, Some(remote), media)?;
    let from = Address {
        display: String::new(),
        user: args.from.clone(),
        host: String::new(),
        port: None,
    };
    phone.call(remote, callee, from).await
}

/// Waits for one call and takes it.
///
/// # Errors
/// If a file or the address is no use.
pub async fn answer(args: &AnswerArgs) -> anyhow::Result<Outcome> {
    let media = Media::read(&args.media, args.duration)?;
    let phone = Phone::start(args.listen, None, media)?;
    for address in phone.listening() {
        eprintln!("listening on {address}");
    }
    phone.answer().await
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

impl std::fmt::Display for Outcome {
    /// For people: what came of the call, in a few lines.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} -> {}: {} {}", self.from, self.to, self.status, self.reason)?;
        if self.result == CallResult::Failed {
            return Ok(());
        }
        if let (Some(codec), Some(local), Some(remote)) = (self.codec, self.local_rtp, self.remote_rtp) {
            writeln!(f, "  media     {codec}, {local} <-> {remote}")?;
        }
        if let (Some(setup), Some(duration)) = (self.setup_ms, self.duration_ms) {
            let by = match self.ended_by {
                Some(EndedBy::Us) => "hung up by us",
                Some(EndedBy::Them) => "hung up by them",
                None => "not hung up",
            };
            writeln!(
                f,
                "  time      answered after {setup:.0} ms, {:.1} s long, {by}",
                duration / 1000.0
            )?;
        }
        let received = &self.received;
        writeln!(
            f,
            "  packets   {} sent, {} received, {} lost, jitter {:.1} ms",
            self.sent_packets, received.packets, received.lost, received.jitter_ms
        )?;
        match (self.heard.frequency_hz, self.heard.level_dbm0, self.heard.round_trip_ms) {
            (Some(frequency), Some(level), Some(delay)) => {
                writeln!(
                    f,
                    "  heard     {frequency} Hz at {level} dBm0, back after {delay:.0} ms"
                )?;
            }
            (Some(frequency), Some(level), None) => writeln!(f, "  heard     {frequency} Hz at {level} dBm0")?,
            _ => writeln!(f, "  heard     silence")?,
        }
        if !self.digits.is_empty() {
            writeln!(f, "  keys      {}", self.digits)?;
        }
        Ok(())
    }
}
