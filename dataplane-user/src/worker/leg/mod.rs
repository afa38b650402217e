//! A leg with its agent.
//!
//! - `line`: the media. It asks `order` what belongs where, writes its packets with `packetize` and its reports with
//!   `report`.
//! - `voice`: the agent, what it has to say, and what it reports.

mod line;
mod order;
mod packetize;
mod report;
mod voice;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Registry, Token};

use self::line::{Heard, Line};
pub(super) use self::voice::Voice;
use super::clock::Clock;
use super::command::Left;
use super::ports::{Kind, Ports};
use super::stats::LegStats;
use crate::media_plane::{EndpointId, Session};

/// A leg and its agent.
pub(super) struct AgentLeg {
    line: Line,
    voice: Voice,
    /// Its place on the grid.
    slot: usize,
}

impl AgentLeg {
    /// A leg whose agent is connecting.
    pub(super) fn new(
        ports: Ports,
        ptime: u8,
        voice: Voice,
        slot: usize,
        stats: Arc<[LegStats]>,
        clock: Clock,
    ) -> Self {
        Self {
            line: Line::new(ports, ptime, stats, clock),
            voice,
            slot,
        }
    }

    /// Goes on from where another has left the leg.
    pub(super) fn take_up(&mut self, left: Left) {
        self.line.take_up(left);
    }

    /// What it leaves to another.
    pub(super) fn left(&self) -> Option<Left> {
        self.line.left()
    }

    /// Its endpoint.
    pub(super) fn endpoint(&self) -> EndpointId {
        self.voice.endpoint()
    }

    /// One of its sockets.
    pub(super) fn socket(&self, kind: Kind) -> &UdpSocket {
        self.line.ports().socket(kind)
    }

    /// Its sockets.
    pub(super) fn ports_mut(&mut self) -> &mut Ports {
        self.line.ports_mut()
    }

    /// Changes what was agreed.
    pub(super) fn set_session(&mut self, session: Session, now: Duration) {
        self.line.set_session(session, now);
    }

    /// Handles one datagram.
    pub(super) fn on_datagram(&mut self, kind: Kind, datagram: &mut [u8], from: SocketAddr, now: Duration) {
        let Some(datagram) = self.line.unprotect(kind, datagram) else {
            return;
        };
        match self.line.on_datagram(kind, datagram, from, now) {
            Heard::Audio { silence, audio } => self.voice.hear(silence, audio, now),
            Heard::Press(press) => self.voice.on_press(&press),
            Heard::Nothing => {}
        }
    }

    /// The agent's connection can be read or written.
    pub(super) fn on_agent(&mut self, now: Duration) {
        self.voice.on_ready(now);
    }

    /// A frame is due.
    pub(super) fn on_due(&mut self, frame: u64, now: Duration) {
        if let Some(press) = self.line.lost_end(now) {
            self.voice.on_press(&press);
        }
        if self.line.is_open() {
            self.voice.tick(now);
            let (playout, keys) = self.voice.output();
            self.line.send(frame, playout, keys, now);
        } else {
            self.voice.tick_unheard(now);
        }
    }

    /// To be called after anything else was.
    pub(super) fn settle(&mut self, registry: &Registry, token: Token) {
        self.voice.settle(registry, token);
    }

    /// Ends the call for the agent; what is left is the ports, the agent, and its place on the grid.
    pub(super) fn hang_up(self, now: Duration) -> (Ports, Voice, usize) {
        let mut voice = self.voice;
        voice.stop(now);
        (self.line.into_ports(), voice, self.slot)
    }
}
