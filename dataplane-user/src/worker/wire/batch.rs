//! Many packets of many legs in one system call.
//!
//! `sendmmsg` sends by one socket, and every leg has its own, with its own port. A raw socket has no port: what it sends is
//! a whole IP packet, headers and all ([`super::packet`]). So each local address has one raw socket, and what legs on that
//! address send in a round of the worker's loop leaves together. That takes CAP_NET_RAW; without it, each packet is sent
//! by its leg's own socket.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::packet::{self, Envelope, HEADROOM};
use super::{Took, Unsent};
use crate::worker::io::{Message, keep_times, send_all};

/// Packets that leave together at most.
const MOST: usize = 64;

/// Longest payload that is batched; a longer one, of which there are none in telephony, goes by its leg's socket.
pub(super) const LONGEST: usize = 2048;

/// What the system may hold of a worker's packets, bytes: what all its legs' sockets could hold together.
const SEND_BUFFER: usize = 4 << 20;

/// The raw sockets of one worker.
#[derive(Default)]
pub(super) struct Batch {
    lines: Vec<Line>,
    /// The system gives no raw sockets.
    refused: bool,
}

/// What leaves from one local address.
struct Line {
    local: IpAddr,
    socket: Socket,
    keeps_times: bool,
    slots: Box<[Slot]>,
    used: usize,
}

/// One packet.
struct Slot {
    buffer: [u8; HEADROOM + LONGEST],
    start: usize,
    end: usize,
    to: SockAddr,
    departs: Option<u64>,
    unsent: Option<Unsent>,
}

impl Batch {
    /// Takes a packet to be sent with the next [`Self::flush`], or sooner.
    pub(super) fn push(&mut self, envelope: &Envelope, payload: &[u8], unsent: &Unsent) -> Took {
        if payload.len() > LONGEST {
            return Took::No;
        }
        let Some(line) = self.line(envelope.from.ip()) else {
            return Took::No;
        };
        if line.used == MOST {
            line.flush();
        }
        let slot = &mut line.slots[line.used];
        slot.end = HEADROOM + payload.len();
        slot.buffer[HEADROOM..slot.end].copy_from_slice(payload);
        let Some(start) = packet::seal(&mut slot.buffer, payload.len(), envelope) else {
            return Took::No;
        };
        slot.start = start;
        // The port is in the packet. One that was given here would have to be a protocol's number.
        let mut to = envelope.to;
        to.set_port(0);
        slot.to = to.into();
        slot.departs = envelope.departs.filter(|_| line.keeps_times);
        slot.unsent = Some(unsent.clone());
        line.used += 1;
        Took::Yes
    }

    /// Whether packets from this address can be taken.
    pub(super) fn has_line(&mut self, local: IpAddr) -> bool {
        self.line(local).is_some()
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) {
        self.lines.iter_mut().for_each(Line::flush);
    }

    fn line(&mut self, local: IpAddr) -> Option<&mut Line> {
        if let Some(place) = self.lines.iter().position(|line| line.local == local) {
            return self.lines.get_mut(place);
        }
        if self.refused {
            return None;
        }
        match raw_socket(local) {
            Ok(socket) => {
                let slot = || Slot {
                    buffer: [0; HEADROOM + LONGEST],
                    start: 0,
                    end: 0,
                    to: SocketAddr::new(local, 0).into(),
                    departs: None,
                    unsent: None,
                };
                self.lines.push(Line {
                    local,
                    keeps_times: keep_times(&socket).is_ok(),
                    socket,
                    slots: std::iter::repeat_with(slot).take(MOST).collect(),
                    used: 0,
                });
                self.lines.last_mut()
            }
            Err(error) => {
                tracing::warn!(
                    %local, %error,
                    "no raw socket (CAP_NET_RAW): a media worker sends each packet with a system call of its own"
                );
                self.refused = true;
                None
            }
        }
    }
}

impl Line {
    fn flush(&mut self) {
        let slots = &mut self.slots[..self.used];
        let messages = slots.iter().map(|slot| Message {
            bytes: &slot.buffer[slot.start..slot.end],
            to: &slot.to,
            departs: slot.departs,
        });
        send_all::<MOST>(&self.socket, messages, |place| {
            if let Some(unsent) = &slots[place].unsent {
                unsent.add();
            }
        });
        for slot in slots {
            slot.unsent = None;
        }
        self.used = 0;
    }
}

/// A socket for whole IP packets from this address, which it is bound to: routes may depend on it.
fn raw_socket(local: IpAddr) -> io::Result<Socket> {
    let local = SocketAddr::new(local, 0);
    let raw = Protocol::from(libc::IPPROTO_RAW);
    let socket = Socket::new(Domain::for_address(local), Type::RAW, Some(raw))?;
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    // More than others may have, if we may; what the system allows, if not.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    Ok(socket)
}
