//! baresip: calls, plays a sound file, records what it hears.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::audio;
use crate::netns::Place;
use crate::process::Process;

/// Number of the caller.
const CALLER: &str = "+15550123";

/// baresip in a call that it ends itself.
#[derive(Debug)]
pub struct Baresip {
    process: Process,
    directory: TempDir,
}

/// Where RTCP is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtcp {
    /// On the port above that of RTP.
    OwnPort,
    /// On that of RTP (RFC 5761).
    Multiplexed,
}

/// What baresip speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.722.
    G722,
}

impl Codec {
    /// Samples a second of what it plays and records.
    pub fn rate(self) -> u32 {
        match self {
            Self::Pcmu => audio::RATE,
            Self::G722 => 2 * audio::RATE,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU/8000/1",
            Self::G722 => "G722/16000/1",
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::Pcmu => "g711.so",
            Self::G722 => "g722.so",
        }
    }
}

/// What it wants of SRTP, with keys in SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Nothing.
    Off,
    /// Keys beside RTP/AVP: whoever knows them uses them.
    Optional,
    /// RTP/SAVP.
    Required,
}

/// What its signalling goes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS: certificate and key in one file of PEM, and who vouches for the other side.
    Tls {
        /// Certificate and key.
        identity: PathBuf,
        /// Who vouches for the other side.
        ca: PathBuf,
    },
}

impl Via {
    /// What is behind an address.
    pub fn parameter(&self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls { .. } => ";transport=tls",
        }
    }

    fn config(&self) -> String {
        match self {
            Self::Udp | Self::Tcp => String::new(),
            Self::Tls { identity, ca } => {
                let (identity, ca) = (identity.display(), ca.display());
                format!("sip_certificate {identity}\nsip_cafile {ca}\n")
            }
        }
    }
}

/// What a call of baresip came to.
#[derive(Debug)]
pub struct Outcome {
    /// What it heard, at its codec's rate.
    pub heard: Vec<i16>,
    /// What it said on its terminal.
    pub log: String,
}

impl Outcome {
    /// Whether the call was answered.
    pub fn established(&self) -> bool {
        self.log.contains("Call established")
    }
}

impl Baresip {
    /// Calls `uri` from `local`, playing `sound` (8 kHz), and hangs up `duration` after the start.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn call(place: &Place, local: IpAddr, uri: &str, sound: &[i16], duration: Duration) -> Result<Self> {
        Self::call_with(place, local, uri, sound, duration, Rtcp::OwnPort)
    }

    /// As [`Self::call`], with RTCP as said.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_with(
        place: &Place,
        local: IpAddr,
        uri: &str,
        sound: &[i16],
        duration: Duration,
        rtcp: Rtcp,
    ) -> Result<Self> {
        let prepared = prepare(place, local, CALLER, (sound, Codec::Pcmu), rtcp, Encryption::Off)?;
        Self::dial(prepared, uri, duration)
    }

    /// As [`Self::call`], in a codec, with a sound of its rate.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_in(
        codec: Codec,
        place: &Place,
        local: IpAddr,
        uri: &str,
        sound: &[i16],
        duration: Duration,
    ) -> Result<Self> {
        let prepared = prepare(place, local, CALLER, (sound, codec), Rtcp::OwnPort, Encryption::Off)?;
        Self::dial(prepared, uri, duration)
    }

    /// As [`Self::call`], with SRTP as said.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_secured(
        place: &Place,
        local: IpAddr,
        uri: &str,
        sound: &[i16],
        duration: Duration,
        encryption: Encryption,
    ) -> Result<Self> {
        let prepared = prepare(place, local, CALLER, (sound, Codec::Pcmu), Rtcp::OwnPort, encryption)?;
        Self::dial(prepared, uri, duration)
    }

    /// As [`Self::call_secured`], over a transport; `uri` has no parameter for it.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_over(
        via: &Via,
        place: &Place,
        local: IpAddr,
        uri: &str,
        sound: &[i16],
        duration: Duration,
        encryption: Encryption,
    ) -> Result<Self> {
        let prepared = prepare(place, local, CALLER, (sound, Codec::Pcmu), Rtcp::OwnPort, encryption)?;
        over(via, &prepared.1)?;
        Self::dial(prepared, &format!("{uri}{}", via.parameter()), duration)
    }

    /// As [`Self::answer_secured`], over a transport too: over TLS at port 5061.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn answer_over(
        via: &Via,
        place: &Place,
        local: IpAddr,
        number: &str,
        sound: &[i16],
        encryption: Encryption,
    ) -> Result<Self> {
        let prepared = prepare(place, local, number, (sound, Codec::Pcmu), Rtcp::OwnPort, encryption)?;
        over(via, &prepared.1)?;
        Self::listen(prepared)
    }

    /// As [`Self::call`], by somebody with a username and a password.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_as(
        (username, password): (&str, &str),
        place: &Place,
        local: IpAddr,
        uri: &str,
        sound: &[i16],
        duration: Duration,
    ) -> Result<Self> {
        let (command, directory) = prepare(
            place,
            local,
            CALLER,
            (sound, Codec::Pcmu),
            Rtcp::OwnPort,
            Encryption::Off,
        )?;
        let accounts = directory.path().join("accounts");
        let account = fs::read_to_string(&accounts)?;
        let login = format!("{};auth_user={username};auth_pass={password}\n", account.trim_end());
        fs::write(accounts, login)?;
        Self::dial((command, directory), uri, duration)
    }

    fn dial((mut command, directory): (Command, TempDir), uri: &str, duration: Duration) -> Result<Self> {
        command.args(["-t", &duration.as_secs().to_string()]);
        command.args(["-e", &format!("/dial {uri}")]);
        let process = Process::start("baresip", &mut command)?;
        Ok(Self { process, directory })
    }

    /// Answers calls to `number` at port 5060 of `local`, playing `sound`; returns once it can be called.
    ///
    /// # Errors
    /// If it cannot.
    pub fn answer(place: &Place, local: IpAddr, number: &str, sound: &[i16], rtcp: Rtcp) -> Result<Self> {
        Self::listen(prepare(
            place,
            local,
            number,
            (sound, Codec::Pcmu),
            rtcp,
            Encryption::Off,
        )?)
    }

    /// As [`Self::answer`], with SRTP as said.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn answer_secured(
        place: &Place,
        local: IpAddr,
        number: &str,
        sound: &[i16],
        encryption: Encryption,
    ) -> Result<Self> {
        Self::listen(prepare(
            place,
            local,
            number,
            (sound, Codec::Pcmu),
            Rtcp::OwnPort,
            encryption,
        )?)
    }

    fn listen((mut command, directory): (Command, TempDir)) -> Result<Self> {
        let mut process = Process::start("baresip", &mut command)?;
        process.wait_for("baresip is ready", Duration::from_secs(10))?;
        Ok(Self { process, directory })
    }

    /// Waits until it is in the call.
    ///
    /// # Errors
    /// If it is not within `patience`.
    pub fn wait_established(&mut self, patience: Duration) -> Result<()> {
        self.process.wait_for("Call established", patience)
    }

    /// Ends it as Ctrl-C does, and waits until it has ended.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn stop(self, patience: Duration) -> Result<Outcome> {
        self.process.signal("INT")?;
        self.finish(patience)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it does not within `patience`, or it has recorded nothing.
    pub fn finish(self, patience: Duration) -> Result<Outcome> {
        let log = self.process.wait(patience)?.stdout;
        let recording = recording(&self.directory).with_context(|| format!("baresip has recorded nothing:\n{log}"))?;
        Ok(Outcome {
            heard: audio::read_wav_as_it_is(&recording)?,
            log,
        })
    }
}

/// `sndfile` keeps both directions in files named for their time; `dec` is what was received.
fn recording(directory: &TempDir) -> Option<PathBuf> {
    let files = fs::read_dir(directory.path()).ok()?.flatten().map(|entry| entry.path());
    files
        .into_iter()
        .find(|file| file.to_string_lossy().ends_with("-dec.wav"))
}

/// Changes the files of a baresip so that it signals over a transport.
fn over(via: &Via, directory: &TempDir) -> Result<()> {
    let change = |name: &str, change: &dyn Fn(String) -> String| -> Result<()> {
        let file = directory.path().join(name);
        let text = fs::read_to_string(&file)?;
        Ok(fs::write(&file, change(text))?)
    };
    change("config", &|text| text + &via.config())?;
    change("accounts", &|text| {
        text.replacen('>', &format!("{}>", via.parameter()), 1)
    })
}

/// A baresip that answers by itself, and its files.
fn prepare(
    place: &Place,
    local: IpAddr,
    number: &str,
    (sound, codec): (&[i16], Codec),
    rtcp: Rtcp,
    encryption: Encryption,
) -> Result<(Command, TempDir)> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    audio::write_wav_at(&path("play.wav"), sound, codec.rate())?;
    fs::write(path("config"), config(local, &directory, rtcp, codec))?;
    let host = SocketAddr::new(local, 5060);
    let encryption = match encryption {
        Encryption::Off => "",
        Encryption::Optional => ";mediaenc=srtp",
        Encryption::Required => ";mediaenc=srtp-mand",
    };
    fs::write(
        path("accounts"),
        format!(
            "<sip:{number}@{host}>;regint=0;audio_codecs={};answermode=auto{encryption}\n",
            codec.name()
        ),
    )?;
    fs::write(path("contacts"), "")?;
    let mut command = place.command("baresip");
    command.arg("-f").arg(directory.path());
    if local.is_ipv6() {
        command.arg("-6");
    }
    Ok((command, directory))
}

fn config(local: IpAddr, directory: &TempDir, rtcp: Rtcp, codec: Codec) -> String {
    let directory = directory.path().display();
    let codec = codec.module();
    let listen = SocketAddr::new(local, 5060);
    let multiplexed = match rtcp {
        Rtcp::OwnPort => "no",
        Rtcp::Multiplexed => "yes",
    };
    format!(
        "sip_listen {listen}\n\
         rtcp_mux {multiplexed}\n\
         module_path /usr/lib/baresip/modules\n\
         module {codec}\n\
         module srtp.so\n\
         module aufile.so\n\
         module sndfile.so\n\
         module_app account.so\n\
         module_app menu.so\n\
         audio_source aufile,{directory}/play.wav\n\
         snd_path {directory}\n\
         audio_level no\n"
    )
}
