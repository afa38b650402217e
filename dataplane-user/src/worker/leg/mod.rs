//! A leg with its agent.
//!
//! - `line`: the media. It writes its packets with `packetize` and its reports with `report`.
//! - `ear`: what the agent hears: the jitter buffer and what follows it.
//! - `voice`: the agent, what it has to say, and what it reports.
//! - `first_words`: what is said to it before it is ready.
//! - `grid`: when packets leave that are not as long as what the agent hears at a time.

mod ear;
mod first_words;
mod grid;
mod line;
mod packetize;
mod report;
mod voice;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::{Registry, Token};

use self::ear::Codecs;
pub(super) use self::ear::Ear;
use self::first_words::FirstWords;
use self::grid::Grid;
pub(super) use self::line::{Arrived, Content, Line, MAX_AUDIO};
pub(super) use self::packetize::Marker;
use self::packetize::Sound;
pub(super) use self::voice::Voice;
use super::Settings;
use super::clock::Clock;
use super::command::Left;
use super::opening::Opened;
use super::ports::{Kind, Ports};
use super::stats::LegStats;
use super::wheel::Wheel;
use crate::agent;
use crate::codec::Transcoder;
use crate::codec::g711::ULAW_SILENCE;
use crate::dtmf::Press;
use crate::media_plane::{AgentNotice, EndpointId, Session, Speech};

/// Presses that one frame may end: as many as packets may wait.
const PRESSES: usize = 64;

/// What is left of a leg.
pub(super) struct HungUp {
    pub(super) ports: Ports,
    /// The agent, which may have to close its connection.
    pub(super) voice: Voice,
    /// Its place on the grid.
    pub(super) slot: usize,
    /// What was said, if the agent was never ready to hear it.
    pub(super) unheard: Option<Box<Unheard>>,
}

/// What was said on a leg whose agent was not ready, for the agent that it is given to next.
pub struct Unheard {
    ear: Ear,
    words: FirstWords,
}

impl std::fmt::Debug for Unheard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unheard")
    }
}

/// A leg and its agent.
pub(super) struct AgentLeg {
    line: Line,
    ear: Ear,
    presses: Vec<Press>,
    /// What the agent hears at a time, milliseconds.
    ptime: u8,
    /// How long packets are that it sends, milliseconds.
    sends: u8,
    /// When they leave, if they are of another length.
    grid: Option<Grid>,
    voice: Voice,
    /// Whether what it says waits until something has come.
    speech: Speech,
    /// Turns what the agent says into the leg's codec, which is the ear's.
    said: Transcoder,
    /// Its place on the grid.
    slot: usize,
}

impl AgentLeg {
    /// A leg whose agent is connecting.
    pub(super) fn new(
        ports: Ports,
        settings: &Settings,
        voice: Voice,
        slot: usize,
        stats: Arc<[LegStats]>,
        clock: Clock,
    ) -> Self {
        let ptime = settings.ptime;
        Self {
            line: Line::new(ports, ptime, stats, 0, clock, clock.now()),
            ear: Ear::new(settings.jitter, ptime),
            presses: Vec::with_capacity(PRESSES),
            ptime,
            sends: ptime,
            grid: None,
            voice,
            speech: Speech::Free,
            said: Transcoder::new(agent::CODEC, agent::CODEC),
            slot,
        }
    }

    /// Goes on from where another has left the leg.
    pub(super) fn take_up(&mut self, left: Left) {
        self.line.take_up(left);
    }

    /// Goes on from what an agent before has not heard.
    pub(super) fn take_up_unheard(&mut self, unheard: Unheard) {
        self.said = Transcoder::new(agent::CODEC, unheard.ear.codec());
        self.ear = unheard.ear;
        self.voice.take_up(unheard.words);
    }

    /// What it leaves to another.
    pub(super) fn left(&self) -> Option<Left> {
        self.line.left()
    }

    /// Its endpoint.
    pub(super) fn endpoint(&self) -> EndpointId {
        self.voice.endpoint()
    }

    /// Its sockets.
    pub(super) fn ports(&self) -> &Ports {
        self.line.ports()
    }

    /// Its sockets, to register them.
    pub(super) fn ports_mut(&mut self) -> &mut Ports {
        self.line.ports_mut()
    }

    /// Changes what was agreed; its place on the grid of `ticks` is that of `key`.
    pub(super) fn set_session(&mut self, session: Session, ticks: &mut Wheel, key: usize, now: Duration) {
        if session.ptime != self.sends {
            self.sends = session.ptime;
            self.line.set_ptime(self.sends);
            self.voice.set_ptime(self.sends);
            self.leave_ticks(ticks, key);
            if self.sends != self.ptime {
                self.grid = Some(Grid::new(ticks.insert(key, now), self.sends));
            }
        }
        if self.ear.set_codec(session.codec) == Codecs::New {
            self.said = Transcoder::new(agent::CODEC, session.codec);
        }
        self.line.set_session(session);
        if self.line.heard_in().is_none() {
            self.ear.close();
        }
    }

    /// Handles one datagram.
    pub(super) fn on_datagram(&mut self, kind: Kind, opened: Opened<'_>, from: SocketAddr, now: Duration) {
        let Some(datagram) = self.line.opened(opened) else {
            return;
        };
        if let Some(arrived) = self.line.on_datagram(kind, datagram, from, now) {
            self.speech = Speech::Free;
            let inserted = self.ear.insert(&arrived.header, arrived.carries, arrived.payload, now);
            self.line.on_inserted(inserted);
        }
    }

    /// Holds back what the agent says, or lets it go.
    pub(super) fn set_speech(&mut self, speech: Speech) {
        self.speech = speech;
    }

    /// The agent is told what happens to its call.
    pub(super) fn on_notice(&mut self, notice: &AgentNotice) {
        self.voice.on_notice(notice);
    }

    /// The agent's connection can be read or written.
    pub(super) fn on_agent(&mut self, now: Duration) {
        self.voice.on_ready(now);
    }

    /// A frame is due.
    pub(super) fn on_due(&mut self, frame: u64, now: Duration) {
        let due = self.due(frame);
        self.hear(due, now);
        if self.line.is_open() {
            self.voice.tick(now);
            if self.grid.is_none() {
                self.send(frame, due, now);
            }
        } else {
            self.voice.tick_unheard(now);
        }
    }

    /// A tick has come, for a leg that has a place among them.
    pub(super) fn on_tick(&mut self, tick: u64, now: Duration) {
        if let Some((packet, due)) = self.grid.as_mut().and_then(|grid| grid.take_due(tick))
            && self.line.is_open()
        {
            self.send(packet, due, now);
        }
    }

    /// Gives up its place among the ticks, if it has one.
    pub(super) fn leave_ticks(&mut self, ticks: &mut Wheel, key: usize) {
        if let Some(grid) = self.grid.take() {
            ticks.remove(grid.slot(), key);
        }
    }

    /// Sends the packet that is due at `due`; `packet` counts those of its grid.
    fn send(&mut self, packet: u64, due: Duration, now: Duration) {
        self.line.pace(due);
        let (playout, keys) = self.voice.output();
        let (said, speech) = (&mut self.said, self.speech);
        let next = |frame: &mut [u8]| {
            let sound = match speech {
                Speech::Free if playout.next(frame) => Sound::Talk,
                Speech::Free => Sound::Silence,
                Speech::Held => {
                    frame.fill(ULAW_SILENCE);
                    Sound::Silence
                }
            };
            said.run(frame);
            sound
        };
        self.line.send(packet, next, keys, now);
        self.voice.has_spoken();
        self.line.report(packet, now);
    }

    /// When a frame was due: the time of the grid, for a worker that is late must not take itself for jitter.
    fn due(&self, frame: u64) -> Duration {
        Duration::from_millis(frame * u64::from(self.ptime) + self.slot as u64)
    }

    /// Lets the agent hear the frame, and the keys that were pressed.
    fn hear(&mut self, due: Duration, now: Duration) {
        if self.line.heard_in().is_some() {
            let Self { line, presses, .. } = self;
            let audio = self.ear.hear(due, |header, payload| {
                let room = presses.len() < PRESSES;
                presses.extend(line.on_event(header, payload, due).filter(|_| room));
            });
            if let Some(audio) = audio {
                self.voice.hear(audio, now);
                self.line.heard_with(&self.ear.figures());
            }
        }
        self.presses.extend(self.line.lost_end(now));
        for press in self.presses.drain(..) {
            self.voice.on_press(&press);
        }
    }

    /// Tells the far end that it is over.
    pub(super) fn leave(&mut self, now: Duration) {
        self.line.leave(now);
    }

    /// To be called after anything else was.
    pub(super) fn settle(&mut self, registry: &Registry, token: Token) {
        self.voice.settle(registry, token);
    }

    /// Ends the call for the agent.
    pub(super) fn hang_up(self, now: Duration) -> HungUp {
        let mut voice = self.voice;
        let words = voice.unheard();
        voice.stop(now);
        HungUp {
            ports: self.line.into_ports(),
            voice,
            slot: self.slot,
            unheard: words.map(|words| Box::new(Unheard { ear: self.ear, words })),
        }
    }
}
