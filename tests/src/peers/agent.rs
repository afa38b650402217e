//! WebSocket agents in Python.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::audio::from_ulaw;
use crate::netns::Place;
use crate::process::Process;
use crate::requirements::python;

/// How an agent misbehaves from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Answers the handshake with 403.
    Refuse,
    /// Accepts the connection and says nothing.
    Silent,
    /// Completes the handshake, then neither reads nor answers pings.
    Frozen,
    /// Completes the handshake, then sends what cannot be understood.
    Garbage,
    /// Completes the handshake, then sends a message that is too long.
    Long,
}

/// What an agent speaks, if it is not Twilio Media Streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Telnyx media streaming.
    Telnyx,
    /// jambonz's `listen`.
    Jambonz,
    /// Asterisk's `chan_websocket`.
    Asterisk,
    /// The gateway's own.
    Pcm16,
}

impl Protocol {
    fn script(self) -> &'static str {
        match self {
            Self::Telnyx => "telnyx_agent.py",
            Self::Jambonz => "jambonz_agent.py",
            Self::Asterisk => "asterisk_agent.py",
            Self::Pcm16 => "pcm16_agent.py",
        }
    }
}

/// An agent that listens on a port of 127.0.0.1 of its place.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl Agent {
    /// One that plays a tone of `frequency` Hz for `seconds` and records what it hears.
    ///
    /// # Errors
    /// If it does not listen: `websockets` missing, say.
    pub fn tone(place: &Place, frequency: u32, seconds: u32) -> Result<Self> {
        let tone = ["--tone", &frequency.to_string(), "--seconds", &seconds.to_string()];
        Self::start(place, "tone_agent.py", &tone, Recording::Kept)
    }

    /// The same, which gives its first call to `number` as soon as it has it, and goes.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn transferring(place: &Place, number: &str) -> Result<Self> {
        let transfer = ["--seconds", "1", "--transfer", number];
        Self::start(place, "tone_agent.py", &transfer, Recording::Kept)
    }

    /// One that speaks TLS, with the certificate and key in `both`, and takes handshakes that are signed with `token`, of clients
    /// for whom `client_ca` vouches.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn guarded(place: &Place, token: &str, both: &Path, client_ca: &Path) -> Result<Self> {
        let (both, client_ca) = (both.to_string_lossy(), client_ca.to_string_lossy());
        let arguments = ["--token", token, "--certificate", &both, "--client-ca", &client_ca];
        Self::start(place, "guarded_agent.py", &arguments, Recording::None)
    }

    /// As [`Self::tone`], but it answers the handshake only after so many seconds.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn late(place: &Place, by: f64, seconds: u32) -> Result<Self> {
        let arguments = ["--late", &by.to_string(), "--seconds", &seconds.to_string()];
        Self::start(place, "tone_agent.py", &arguments, Recording::Kept)
    }

    /// One that says a minute at once, and more that it forgets again: see `timing_agent.py`.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn timing(place: &Place) -> Result<Self> {
        Self::start(place, "timing_agent.py", &[], Recording::None)
    }

    /// No agent, but one who listens to calls of others: see `tap_listener.py`.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn listener(place: &Place) -> Result<Self> {
        Self::start(place, "tap_listener.py", &[], Recording::Kept)
    }

    /// The same over TLS only, with the certificate and key in `both`.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn secure_listener(place: &Place, both: &Path) -> Result<Self> {
        let both = both.to_string_lossy();
        Self::start(place, "tap_listener.py", &["--certificate", &both], Recording::Kept)
    }

    /// One that takes hundreds of calls at once: see `crowd_agent.py`.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn crowd(place: &Place) -> Result<Self> {
        Self::start(place, "crowd_agent.py", &[], Recording::None)
    }

    /// The same, deaf to the first.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn deaf_to_the_first(place: &Place) -> Result<Self> {
        Self::start(place, "crowd_agent.py", &["--deaf"], Recording::None)
    }

    /// One that speaks this protocol, has itself interrupted by key 1 and hangs up at key 2; `conversation.py` says more.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn speaking(place: &Place, protocol: Protocol) -> Result<Self> {
        Self::start(place, protocol.script(), &[], Recording::Kept)
    }

    /// An AudioSocket server that plays a tone of `frequency` Hz for `seconds`, records what it hears, and hangs up when "#" is
    /// pressed.
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn audiosocket(place: &Place, frequency: u32, seconds: u32) -> Result<Self> {
        let tone = ["--tone", &frequency.to_string(), "--seconds", &seconds.to_string()];
        Self::start(place, "audiosocket_agent.py", &tone, Recording::Kept)
    }

    /// A model of the Realtime API, which lets clients in that know `key`, and transfers calls to `number` if it is asked for as
    /// "transfers".
    ///
    /// # Errors
    /// As [`Self::tone`].
    pub fn realtime(place: &Place, key: &str, number: &str) -> Result<Self> {
        let arguments = ["--key", key, "--transfer", number];
        Self::start(place, "realtime_model.py", &arguments, Recording::Kept)
    }

    /// One that does not do as it should.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn bad(place: &Place, how: Misbehaviour) -> Result<Self> {
        let behaviour = match how {
            Misbehaviour::Refuse => "refuse",
            Misbehaviour::Silent => "silent",
            Misbehaviour::Frozen => "frozen",
            Misbehaviour::Garbage => "garbage",
            Misbehaviour::Long => "long",
        };
        Self::start(place, "bad_agent.py", &[behaviour], Recording::None)
    }

    fn start(place: &Place, script: &str, arguments: &[&str], recording: Recording) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("agents");
        let mut command = place.command(python());
        command.arg(scripts.join(script)).args(arguments);
        match recording {
            Recording::Kept => command.arg("--record").arg(recorded(&directory)),
            Recording::None => &mut command,
        };
        let mut process = Process::start(script, &mut command)?;
        process.wait_for("listening", Duration::from_secs(20))?;
        let listening = events(&process).find_map(|event| event["listening"].as_u64());
        let port = listening
            .and_then(|port| u16::try_from(port).ok())
            .context("the agent names no port")?;
        Ok(Self {
            process,
            port,
            directory,
        })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL at which the gateway reaches it.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/media", self.port)
    }

    /// The same of one that speaks TLS.
    pub fn secure_url(&self) -> String {
        format!("wss://127.0.0.1:{}/media?from=voxlane", self.port)
    }

    /// The URL of one that speaks AudioSocket.
    pub fn audiosocket_url(&self) -> String {
        format!("audiosocket://127.0.0.1:{}", self.port)
    }

    /// The URL of a model of the Realtime API.
    pub fn realtime_url(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/realtime", self.port)
    }

    /// Every message but media that it has received, and what it reports of itself.
    pub fn events(&self) -> Vec<Value> {
        events(&self.process).collect()
    }

    /// Waits until it has received, or reported, an event that `holds`.
    ///
    /// # Errors
    /// If it has not within `patience`.
    pub fn wait_for(&mut self, what: &str, patience: Duration, holds: impl Fn(&Value) -> bool) -> Result<()> {
        self.process
            .poll(what, patience, |process| events(process).any(|event| holds(&event)))
    }

    /// What it has heard so far, 8 kHz.
    pub fn heard(&self) -> Vec<i16> {
        let bytes = std::fs::read(recorded(&self.directory)).unwrap_or_default();
        bytes.into_iter().map(from_ulaw).collect()
    }

    /// What a listener has heard so far of a track, 8 kHz.
    pub fn heard_of(&self, track: &str) -> Vec<i16> {
        let bytes = std::fs::read(recorded(&self.directory).with_extension(format!("ulaw.{track}")));
        bytes.unwrap_or_default().into_iter().map(from_ulaw).collect()
    }

    /// What one has heard so far that keeps 16-bit samples.
    pub fn heard_linear(&self) -> Vec<i16> {
        let bytes = std::fs::read(recorded(&self.directory)).unwrap_or_default();
        let (samples, _) = bytes.as_chunks::<2>();
        samples.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect()
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// If it is dead already.
    pub fn crash(&self) -> Result<()> {
        self.process.signal("KILL")
    }
}

/// Whether a script is asked to keep what it hears.
enum Recording {
    Kept,
    None,
}

fn recorded(directory: &TempDir) -> PathBuf {
    directory.path().join("heard.ulaw")
}

fn events(process: &Process) -> impl Iterator<Item = Value> {
    let lines = process.stdout();
    let events: Vec<Value> = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    events.into_iter()
}
