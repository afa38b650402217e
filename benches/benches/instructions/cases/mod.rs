//! What is counted: stages of a packet's way, each run over and over on the calling thread.
//!
//! - [`pairs`]: a relayed packet and a transcoded one, from socket to socket;
//! - [`agent`]: an agent's packet both ways;
//! - [`srtp`]: SRTP by itself;
//! - `invite`: an INVITE read.
//!
//! Each does the same every time, by simulated time, and sees for itself that it was done. What the far ends do is counted, too:
//! a system call or two, and copies of what they send.

mod agent;
#[path = "../../sip/invite.rs"]
mod invite;
#[path = "../../worker/packet.rs"]
mod packet;
mod pairs;
#[path = "../../worker/ports.rs"]
mod ports;
mod srtp;

use std::hint::black_box;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::srtp::Suite;
use voxlane_dataplane::worker::stages;

/// Before the name of a case in which the worker is to take a lock for each packet, which it must not.
pub const LOCKED: &str = "locked ";

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// A packet of a call whose legs agree.
    Relayed,
    /// A packet of a call between PCMU and G.722.
    Transcoded,
    /// A packet to an agent, and one of the agent's.
    Agent,
    /// A packet protected.
    Protected(Suite),
    /// A packet protected, and unprotected after that.
    BothWays(Suite),
    /// An INVITE, read.
    Invite,
}

impl Case {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let secured = Suite::ALL.into_iter();
        let secured = secured.flat_map(|suite| [Self::Protected(suite), Self::BothWays(suite)]);
        [Self::Relayed, Self::Transcoded, Self::Agent]
            .into_iter()
            .chain(secured)
            .chain([Self::Invite])
    }

    /// How it is asked for.
    pub fn name(self) -> String {
        match self {
            Self::Relayed => "relayed".to_owned(),
            Self::Transcoded => "transcoded".to_owned(),
            Self::Agent => "agent".to_owned(),
            Self::Protected(suite) => format!("protected {suite}"),
            Self::BothWays(suite) => format!("both ways {suite}"),
            Self::Invite => "invite".to_owned(),
        }
    }

    /// Runs the one of that name.
    pub fn run(name: &str, packets: u32) -> Result<()> {
        let (name, is_locked) = match name.strip_prefix(LOCKED) {
            Some(name) => (name, true),
            None => (name, false),
        };
        let case = Self::all().find(|case| case.name() == name);
        let case = case.with_context(|| format!("no case {name}"))?;
        if is_locked {
            stages::plant_lock();
        }
        match case {
            Self::Relayed => pairs::run([Codec::Pcmu, Codec::Pcmu], packets),
            Self::Transcoded => pairs::run([Codec::Pcmu, Codec::G722], packets),
            Self::Agent => agent::run(packets),
            Self::Protected(suite) => srtp::protect(suite, packets),
            Self::BothWays(suite) => srtp::both_ways(suite, packets),
            Self::Invite => {
                for _ in 0..packets {
                    black_box(invite::read());
                }
                Ok(())
            }
        }
    }
}

/// What a far end is sent.
struct Heard {
    socket: UdpSocket,
    packets: u32,
}

impl Heard {
    fn by(socket: UdpSocket) -> Self {
        Self { socket, packets: 0 }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes what has come.
    fn take(&mut self) {
        let mut buffer = [0; 512];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.packets += u32::from(!packet::is_report(&buffer[..length]));
        }
    }

    /// Whether so many have come, but for some.
    fn check(&self, packets: u32, but: u32) -> Result<()> {
        let came = self.packets;
        ensure!(came.abs_diff(packets) <= but, "{came} packets came, of {packets}");
        Ok(())
    }
}
