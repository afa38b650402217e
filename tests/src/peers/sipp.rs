//! sipp: its stock scenarios, and ours in `tests/scenarios`.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::netns::Place;
use crate::pcap::{self, Fate};
use crate::process::Process;

/// Master key and salt of [`Scenario::Rekeys`], AES_CM_128_HMAC_SHA1_80.
pub const FIRST_KEY: &[u8; 30] = b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#";

/// Those that its re-INVITE brings.
pub const SECOND_KEY: &[u8; 30] = b"70xwPH5@/,L:S1wY\"~='EpgT%(i_Vc";

/// What it writes, in a directory of its own.
const ERRORS: &str = "errors.log";
/// The same of [`Sipp::traced`].
const MESSAGES: &str = "messages.log";

/// What sipp plays through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// The stock caller: INVITE with PCMU, ACK, `-d` pause, BYE.
    Uac,
    /// The stock answerer.
    Uas,
    /// A caller that plays `sound.pcap` from its directory, then hangs up.
    Play,
    /// The same, which must be hung up on instead, within 30 s.
    PlaysUntilHungUpOn,
    /// As [`Self::Play`], which asks for packets of so many milliseconds.
    PlayAsking(u8),
    /// A caller that must be refused with a final 4xx, 5xx or 6xx within 7 s.
    Refused,
    /// A caller that calls its number at the domain of `-key domain NAME`, and must be refused with this status.
    RefusedAt(u16),
    /// A caller that leaves RTP to somebody else: `-key rtp_port PORT` says whom, `-d` how long.
    SignalsOnly,
    /// The same, which asks for PCMA and 30 ms in a re-INVITE after `-d`, and stays on.
    ChangesCodec,
    /// Its answerer.
    AnswersOnly,
    /// The same with RTP of its own, behind a proxy that stays in the way.
    AnswersThroughAProxy,
    /// An answerer that plays `sound.pcap` as soon as it has answered, until it is hung up on.
    AnswersAndPlays,
    /// As [`Self::AnswersOnly`], with PCMA and 30 ms.
    AnswersInPcma,
    /// An answerer that rings and is busy.
    Busy,
    /// A caller with SRTP whose key becomes another by a re-INVITE: first [`FIRST_KEY`], for 32 packets, after 5 s
    /// [`SECOND_KEY`]. Otherwise as [`Self::SignalsOnly`].
    Rekeys,
    /// A caller with SRTP that must be refused with 488 and a Warning about SRTP within 7 s.
    SrtpRefused,
    /// A caller that must be answered, and hung up on by the other side.
    HungUpOn,
    /// A caller that plays `sound.pcap`, falls silent, and must be hung up on for that.
    FallsSilent,
    /// A caller that plays `sound.pcap`, puts the call on hold for `-d`, and hangs up itself.
    Holds,
    /// A caller that must be challenged, and then let in with the credentials of `-au` and `-ap`.
    Authenticates,
    /// The same that must not be let in.
    FailsToAuthenticate,
    /// A scenario of `tests/scenarios/dialogs`: what it does its first line says.
    Dialogs(&'static str),
    /// One of `tests/scenarios/transfers`, likewise.
    Transfers(&'static str),
    /// One of `tests/scenarios/applications`, likewise.
    Applications(&'static str),
    /// An answerer that is engaged.
    Engaged,
    /// An answerer that rings, and must see the call taken back.
    OnlyRings,
    /// A carrier's gateway, which answers OPTIONS and calls.
    Serves,
    /// An answerer that refuses with this status and phrase; `-key contact ADDRESS` is its Contact.
    Refuses(&'static str),
    /// An answerer that challenges the call with 401, and its BYE with a stale nonce: username acme, password s3cret.
    Challenges,
}

/// A sipp about to be started.
#[derive(Debug)]
pub struct Sipp {
    place: Place,
    command: Command,
    directory: TempDir,
}

impl Sipp {
    /// A caller at `local` that calls `number` at `gateway`.
    ///
    /// # Errors
    /// If there is no room for its files.
    pub fn caller(place: &Place, scenario: Scenario, local: IpAddr, gateway: SocketAddr, number: &str) -> Result<Self> {
        let mut sipp = Self::new(place, scenario, local)?;
        sipp.command.args(["-s", number, &gateway.to_string()]);
        Ok(sipp)
    }

    /// An answerer at port 5060 of `local`.
    ///
    /// # Errors
    /// As [`Self::caller`].
    pub fn answerer(place: &Place, local: IpAddr) -> Result<Self> {
        Self::answerer_as(place, Scenario::Uas, local)
    }

    /// An answerer at port 5060 of `local` that goes through a scenario of ours.
    ///
    /// # Errors
    /// As [`Self::caller`].
    pub fn answerer_as(place: &Place, scenario: Scenario, local: IpAddr) -> Result<Self> {
        let mut sipp = Self::new(place, scenario, local)?;
        sipp.command.args(["-p", "5060"]);
        Ok(sipp)
    }

    fn new(place: &Place, scenario: Scenario, local: IpAddr) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = place.command("sipp");
        match scenario {
            Scenario::Uac => command.args(["-sn", "uac"]),
            Scenario::Uas => command.args(["-sn", "uas"]),
            Scenario::Play => play(&mut command, 20),
            Scenario::PlayAsking(ptime) => play(&mut command, ptime),
            Scenario::Refused => command.arg("-sf").arg(file("refused.xml")),
            Scenario::RefusedAt(status) => {
                let scenario = fs::read_to_string(file("refused_at.xml"))?.replace("STATUS", &status.to_string());
                let written = directory.path().join("refused_at.xml");
                fs::write(&written, scenario)?;
                command.arg("-sf").arg(written)
            }
            Scenario::SignalsOnly => command.arg("-sf").arg(file("signals_only.xml")),
            Scenario::ChangesCodec => command.arg("-sf").arg(file("changes_codec.xml")),
            Scenario::AnswersOnly => command.arg("-sf").arg(file("answers_only.xml")),
            Scenario::AnswersThroughAProxy => command.arg("-sf").arg(file("answers_through_a_proxy.xml")),
            Scenario::AnswersAndPlays => command.arg("-sf").arg(file("answers_and_plays.xml")),
            Scenario::PlaysUntilHungUpOn => command.arg("-sf").arg(file("plays_until_hung_up_on.xml")),
            Scenario::AnswersInPcma => command.arg("-sf").arg(file("answers_in_pcma.xml")),
            Scenario::Busy => command.arg("-sf").arg(file("busy.xml")),
            Scenario::Rekeys => command.arg("-sf").arg(file("rekeys.xml")),
            Scenario::SrtpRefused => command.arg("-sf").arg(file("srtp_refused.xml")),
            Scenario::HungUpOn => command.arg("-sf").arg(file("hung_up_on.xml")),
            Scenario::FallsSilent => command.arg("-sf").arg(file("falls_silent.xml")),
            Scenario::Holds => command.arg("-sf").arg(file("holds.xml")),
            Scenario::Authenticates => command.arg("-sf").arg(file("authenticates.xml")),
            Scenario::FailsToAuthenticate => command.arg("-sf").arg(file("fails_to_authenticate.xml")),
            Scenario::Dialogs(name) => command.arg("-sf").arg(file("dialogs").join(name).with_extension("xml")),
            Scenario::Transfers(name) => command
                .arg("-sf")
                .arg(file("transfers").join(name).with_extension("xml")),
            Scenario::Applications(name) => command
                .arg("-sf")
                .arg(file("applications").join(name).with_extension("xml")),
            Scenario::Engaged => command.arg("-sf").arg(file("engaged.xml")),
            Scenario::OnlyRings => command.arg("-sf").arg(file("only_rings.xml")),
            Scenario::Serves => command.arg("-sf").arg(file("serves.xml")),
            Scenario::Refuses(status) => {
                let text =
                    fs::read_to_string(file("refuses.xml"))?.replace("SIP/2.0 STATUS", &format!("SIP/2.0 {status}"));
                let filled = directory.path().join("refuses.xml");
                fs::write(&filled, text)?;
                command.arg("-sf").arg(filled)
            }
            Scenario::Challenges => command.arg("-sf").arg(file("challenges.xml")),
        };
        // sipp writes its error log next to where it is started, and reads keys from its terminal unless told not to.
        command
            .current_dir(directory.path())
            .args(["-nostdin", "-trace_err", "-error_file", ERRORS]);
        command.args(["-i", &local.to_string()]);
        Ok(Self {
            place: place.clone(),
            command,
            directory,
        })
    }

    /// Has all its messages shown where it fails.
    pub fn traced(self) -> Self {
        self.options(&["-trace_msg", "-message_file", MESSAGES])
    }

    /// Adds options as on sipp's command line.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.command.args(options);
        self
    }

    /// Makes the sound that [`Scenario::Play`] plays; returns the number of its packets.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sound(&self, samples: &[i16]) -> Result<u32> {
        pcap::write_pcmu(&self.directory.path().join("sound.pcap"), samples)
    }

    /// The same, as it comes through a bad network.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sound_through(&self, samples: &[i16], fate: impl Fn(u32) -> Fate) -> Result<u32> {
        pcap::write_pcmu_through(&self.directory.path().join("sound.pcap"), samples, fate)
    }

    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut self) -> Result<Running> {
        let process = Process::start("sipp", &mut self.command)?;
        Ok(Running {
            process,
            directory: self.directory,
        })
    }

    /// Starts an answerer and waits until it listens.
    ///
    /// # Errors
    /// If it does not.
    pub fn listen(self) -> Result<Running> {
        self.listen_at(5060)
    }

    /// The same of one that the options `-p PORT` have moved to another port.
    ///
    /// # Errors
    /// As [`Self::listen`].
    pub fn listen_at(self, port: u16) -> Result<Running> {
        let at = format!(":{port:04X} ");
        let place = self.place.clone();
        let mut running = self.start()?;
        running.process.poll("sipp to listen", Duration::from_secs(10), |_| {
            let sockets = place
                .command("cat")
                .args(["/proc/net/udp", "/proc/net/udp6", "/proc/net/tcp", "/proc/net/tcp6"])
                .output();
            sockets.is_ok_and(|sockets| String::from_utf8_lossy(&sockets.stdout).contains(&at))
        })?;
        Ok(running)
    }
}

/// A sipp at work.
#[derive(Debug)]
pub struct Running {
    process: Process,
    directory: TempDir,
}

impl Running {
    /// Waits until it has ended; every call must have gone as the scenario says.
    ///
    /// # Errors
    /// If it does not end within `patience`, or a call went otherwise; sipp's log of it is in the error.
    pub fn succeed(self, patience: Duration) -> Result<()> {
        let ended = self.process.wait(patience)?;
        let log = |name| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        ensure!(
            ended.status.success(),
            "sipp: {}\n{}\n{}\n{}",
            ended.status,
            log(ERRORS),
            log(MESSAGES),
            ended.stderr
        );
        Ok(())
    }
}

/// The caller that plays, and asks for this packet time, in milliseconds.
fn play(command: &mut Command, ptime: u8) -> &mut Command {
    let play = command.arg("-sf").arg(file("play.xml"));
    play.args(["-key", "ptime", &ptime.to_string()])
}

fn file(scenario: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario)
}
