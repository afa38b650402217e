//! What a document asks for, typed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use voxlane_dataplane::media_plane::TrackName;

use super::{Link, Method};

/// A verb and the line that it stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// From 1.
    pub line: u32,
    /// What is to be done.
    pub verb: Verb,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// `<Connect><Stream>`: an agent talks with the far end until it ends that.
    Connect(Box<Connect>),
    /// `<Start><Stream>`: somebody listens from now on, while the next verbs are done.
    Start(Box<Start>),
    /// `<Stop><Stream>`: whoever listens by the stream of this name does so no more.
    Stop(String),
    /// `<Dial>`: somebody is called and joined with the far end.
    Dial(Box<Dial>),
    /// `<Refer>`: the carrier is asked to call somebody instead of us.
    Refer(Box<Refer>),
    /// `<Play>`: the far end hears a file.
    Play(Play),
    /// `<Pause>`: nothing is done for so long.
    Pause(Duration),
    /// `<Redirect>`: another document takes the place of this one.
    Redirect(Link),
    /// `<Reject>`: the call is refused.
    Reject(Rejection),
    /// `<Hangup>`: it ends.
    HangUp,
}

impl Verb {
    /// Its name in a document.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "Connect",
            Self::Start(_) => "Start",
            Self::Stop(_) => "Stop",
            Self::Dial(_) => "Dial",
            Self::Refer(_) => "Refer",
            Self::Play(_) => "Play",
            Self::Pause(_) => "Pause",
            Self::Redirect(_) => "Redirect",
            Self::Reject(_) => "Reject",
            Self::HangUp => "Hangup",
        }
    }
}

/// `<Connect>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// Who is connected.
    pub stream: Stream,
    /// Asked for the next document once the stream has ended; `None`: this one goes on.
    pub action: Option<Link>,
}

/// `<Start>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Who listens.
    pub stream: Stream,
    /// To what, each once.
    pub tracks: Vec<TrackName>,
}

/// `<Stream>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// `ws://…` or `wss://…`, as written.
    pub url: String,
    /// The URL's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it is called by, if it has a name.
    pub name: Option<String>,
    /// `customParameters`, in the order written.
    pub parameters: Vec<(String, String)>,
    /// Told when the stream starts, stops or fails.
    pub status_callback: Option<Link>,
}

/// `<Dial>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    /// Who is called.
    pub to: Party,
    /// The number that is shown; `None`: the caller's.
    pub caller_id: Option<String>,
    /// How long it may ring.
    pub timeout: Duration,
    /// How long the two may talk.
    pub time_limit: Duration,
    /// When a call that is not answered yet is.
    pub answer: Answer,
    /// Whether the caller leaves the called party by pressing `*`.
    pub on_star: OnStar,
    /// Asked for the next document once it is over; `None`: this one goes on.
    pub action: Option<Link>,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Party {
    /// `<Number>`, or the text of `<Dial>`.
    Number(String),
    /// `<Sip>`
    Sip(SipUri),
}

/// The address of somebody who is called by SIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipUri {
    /// Before the `@`.
    pub user: String,
    /// Behind it.
    pub host: String,
    /// Port, if one is written.
    pub port: Option<u16>,
}

impl std::fmt::Display for SipUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sip:{}@{}", self.user, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => f.write_str(number),
            Self::Sip(uri) => uri.fmt(f),
        }
    }
}

/// When a call that is not answered yet is, as somebody is dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Before.
    #[default]
    AtOnce,
    /// When the called party does: the caller hears its ringing (`answerOnBridge`).
    OnBridge,
}

/// What `*` does while the caller talks with the called party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnStar {
    /// Nothing.
    #[default]
    Nothing,
    /// The called party is hung up on, and the caller goes on with the next verb.
    HangUp,
}

/// `<Refer>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refer {
    /// Whom the carrier is to call.
    pub to: SipUri,
    /// Asked for the next document once it is known what came of it; `None`: this one goes on.
    pub action: Option<Link>,
}

/// `<Play>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Play {
    /// A WAV file.
    pub url: Url,
    /// How often it is played; `None`: until the call ends.
    pub times: Option<u32>,
}

/// `<Reject>`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejection {
    /// 603
    #[default]
    Rejected,
    /// 486
    Busy,
}

impl Rejection {
    /// The SIP status that tells the caller.
    pub const fn status(self) -> u16 {
        match self {
            Self::Rejected => 603,
            Self::Busy => 486,
        }
    }
}

/// Reads a `method` attribute.
pub(super) fn method(text: &str) -> Result<Method, String> {
    Method::named(text).ok_or_else(|| format!("{text:?} is neither GET nor POST"))
}
