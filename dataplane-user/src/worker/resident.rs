//! What a worker carries.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Registry;
use mio::net::UdpSocket;

use super::bridge::Bridge;
use super::command::{Parted, Parting};
use super::leg::{AgentLeg, Voice};
use super::opening::Opened;
use super::ports::{Kind, Ports};
use super::relay::{RelayPair, Side};
use super::token::Source;
use crate::cache::Nearness;
use crate::flows::LegState;
use crate::media_plane::EndpointId;

/// One of a worker's residents.
pub(super) enum Resident {
    /// A relayed pair.
    Relay(Box<RelayPair>),
    /// A relayed pair whose legs differ.
    Bridge(Box<Bridge>),
    /// A leg with its agent.
    Leg(Box<AgentLeg>),
    /// The agent of a leg that is gone, closing its connection.
    Closing(Box<Voice>),
}

impl Resident {
    /// The endpoints it carries.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = EndpointId> {
        let endpoints = match self {
            Self::Relay(pair) => pair.endpoints().map(Some),
            Self::Bridge(pair) => pair.endpoints().map(Some),
            Self::Leg(leg) => [Some(leg.endpoint()), None],
            Self::Closing(_) => [None, None],
        };
        endpoints.into_iter().flatten()
    }

    /// Asks to be told when something has arrived.
    pub(super) fn register(&mut self, registry: &Registry, key: usize) -> io::Result<()> {
        match self {
            Self::Relay(pair) => register_pair(pair.ports_mut().each_mut(), registry, key),
            Self::Bridge(pair) => register_pair(pair.ports_mut(), registry, key),
            Self::Leg(leg) => {
                let token = |kind| Source::Port(Side::A, kind).token(key);
                leg.ports_mut().register(registry, token(Kind::Rtp), token(Kind::Rtcp))
            }
            Self::Closing(..) => Ok(()),
        }
    }

    /// Where packets of one of its sockets arrive, if it has it and takes them.
    pub(super) fn local(&self, side: Side, kind: Kind) -> Option<SocketAddr> {
        self.taking(side).map(|ports| ports.local(kind))
    }

    /// One of its sockets, if it has it and takes what arrives.
    pub(super) fn socket(&self, side: Side, kind: Kind) -> Option<&UdpSocket> {
        self.taking(side).map(|ports| ports.socket(kind))
    }

    /// The sockets of one of its legs, unless packets are to be left in them.
    fn taking(&self, side: Side) -> Option<&Ports> {
        match self {
            Self::Relay(pair) if pair.is_paused() => None,
            Self::Bridge(pair) if pair.is_paused() => None,
            _ => self.ports(side),
        }
    }

    /// The sockets of one of its legs, if it has it.
    pub(super) fn ports(&self, side: Side) -> Option<&Ports> {
        match self {
            Self::Relay(pair) => Some(pair.ports(side)),
            Self::Bridge(pair) => Some(pair.ports(side)),
            Self::Leg(leg) if side == Side::A => Some(leg.ports()),
            Self::Leg(_) | Self::Closing(..) => None,
        }
    }

    /// Handles one datagram that arrived at one of its sockets.
    pub(super) fn on_datagram(&mut self, side: Side, kind: Kind, opened: Opened<'_>, from: SocketAddr, now: Duration) {
        if kind == Kind::Rtp
            && let (Some(ports), Some(datagram)) = (self.ports(side), opened.datagram())
        {
            ports.copy_arrived(datagram, from);
        }
        match self {
            Self::Relay(pair) => pair.on_datagram(side, kind, opened, from, now),
            Self::Bridge(pair) => pair.on_datagram(side, kind, opened, from, now),
            Self::Leg(leg) => leg.on_datagram(kind, opened, from, now),
            Self::Closing(..) => {}
        }
    }

    /// A packet that arrived at one of its legs is about to be handled.
    pub(super) fn expect_packet(&self, side: Side, nearness: Nearness) {
        match self {
            Self::Bridge(pair) => pair.expect_packet(side, nearness),
            Self::Relay(_) | Self::Leg(_) | Self::Closing(_) => {}
        }
    }

    /// What it has to code at a tick is about to be asked for.
    pub(super) fn expect_coding(&self, nearness: Nearness) {
        match self {
            Self::Bridge(pair) => pair.expect_coding(nearness),
            Self::Relay(_) | Self::Leg(_) | Self::Closing(_) => {}
        }
    }

    /// A tick is about to come.
    pub(super) fn expect_tick(&self, nearness: Nearness) {
        match self {
            Self::Bridge(pair) => pair.expect_tick(nearness),
            Self::Relay(_) | Self::Leg(_) | Self::Closing(_) => {}
        }
    }

    /// Its agent's connection can be read or written.
    pub(super) fn on_agent(&mut self, now: Duration) {
        match self {
            Self::Relay(_) | Self::Bridge(_) => {}
            Self::Leg(leg) => leg.on_agent(now),
            Self::Closing(voice) => voice.on_ready(now),
        }
    }

    /// The pair whose legs differ, if it is one.
    pub(super) fn bridge(&mut self) -> Option<&mut Bridge> {
        match self {
            Self::Bridge(pair) => Some(pair),
            Self::Relay(_) | Self::Leg(_) | Self::Closing(_) => None,
        }
    }

    /// Its frame of the grid is due.
    pub(super) fn on_due(&mut self, frame: u64, now: Duration) {
        match self {
            Self::Relay(_) | Self::Bridge(_) => {}
            Self::Leg(leg) => leg.on_due(frame, now),
            Self::Closing(voice) => voice.tick(now),
        }
    }

    /// A tick has come, for one that has a place among them.
    pub(super) fn on_tick(&mut self, tick: u64, now: Duration) {
        match self {
            Self::Relay(_) | Self::Closing(_) => {}
            Self::Bridge(pair) => pair.on_due(now),
            Self::Leg(leg) => leg.on_tick(tick, now),
        }
    }

    /// To be called after the agent may have done something: watches its connection, passes on what it reports.
    pub(super) fn settle(&mut self, registry: &Registry, key: usize) {
        let token = Source::Agent.token(key);
        match self {
            Self::Relay(_) | Self::Bridge(_) => {}
            Self::Leg(leg) => leg.settle(registry, token),
            Self::Closing(voice) => voice.settle(registry, token),
        }
    }

    /// Whether nothing is left to do for it.
    pub(super) fn is_done(&self, now: Duration) -> bool {
        match self {
            Self::Relay(_) | Self::Bridge(_) | Self::Leg(_) => false,
            Self::Closing(voice) => voice.is_done(now),
        }
    }

    /// Leaves the packets of a pair in its sockets from now on; what is known of its legs, if it is one.
    pub(super) fn pause(&mut self, now: Duration) -> Option<[LegState; 2]> {
        match self {
            Self::Relay(pair) => Some(pair.pause(now)),
            Self::Bridge(pair) => Some(pair.pause(now)),
            Self::Leg(_) | Self::Closing(_) => None,
        }
    }

    /// A pair takes packets again.
    pub(super) fn resume(&mut self) {
        match self {
            Self::Relay(pair) => pair.resume(),
            Self::Bridge(pair) => pair.resume(),
            Self::Leg(_) | Self::Closing(_) => {}
        }
    }

    /// A pair takes what has waited in its sockets; another has what comes now.
    pub(super) fn end_pause(&mut self) {
        match self {
            Self::Relay(pair) => pair.end_pause(),
            Self::Bridge(pair) => pair.resume(),
            Self::Leg(_) | Self::Closing(_) => {}
        }
    }

    /// Ends a pair; what is known of its legs, and their sockets.
    pub(super) fn part(self, parting: Parting, registry: &Registry, now: Duration) -> Option<Parted> {
        match self {
            Self::Relay(pair) => Some(pair.part(registry)),
            Self::Bridge(pair) => Some(pair.part(parting, registry, now)),
            Self::Leg(_) | Self::Closing(_) => None,
        }
    }
}

fn register_pair([a, b]: [&mut Ports; 2], registry: &Registry, key: usize) -> io::Result<()> {
    for (side, ports) in [(Side::A, a), (Side::B, b)] {
        let token = |kind| Source::Port(side, kind).token(key);
        ports.register(registry, token(Kind::Rtp), token(Kind::Rtcp))?;
    }
    Ok(())
}
