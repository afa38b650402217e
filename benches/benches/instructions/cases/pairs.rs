//! Calls between two far ends each, of whom one talks.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use crossbeam_channel::unbounded;
use voxlane_common::splice::Continuity;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::media_plane::EndpointId;
use voxlane_dataplane::worker::stages::Stages;
use voxlane_dataplane::worker::{NewRelay, RelayLeg};

use super::Heard;
use super::packet::{PTIME, packet, session, set_number};
use super::ports::sockets;

/// Calls at once: a worker that is busy takes the packets of many at a turn, and codes them together.
const CALLS: u32 = 16;

/// How far the clock goes at once: not as far as a worker is late.
const STEP: Duration = Duration::from_millis(5);

/// Packets of a call that may be on their way through at the end.
const UNDER_WAY: u32 = 12;

/// Sends so many packets through all of them.
pub fn run(codecs: [Codec; 2], packets: u32) -> Result<()> {
    let (events, _told) = unbounded();
    let mut worker = Stages::start(20, events)?;
    let (caller, mut heard) = (socket()?, Heard::by(socket()?));
    let (mut gateway, mut stats) = (Vec::new(), Vec::new());
    for call in 0..u64::from(CALLS) {
        let (leg_a, to) = leg(2 * call, codecs[0], caller.local_addr()?)?;
        let (leg_b, _) = leg(2 * call + 1, codecs[1], heard.address()?)?;
        gateway.push(to);
        stats.push(worker.add_relay(NewRelay {
            legs: [leg_a, leg_b],
            rules: Rules::default(),
            states: None,
        }));
    }
    let mut packet = packet(codecs[0], 1);
    let each = packets / CALLS;
    for number in 0..each {
        set_number(&mut packet, number);
        for to in &gateway {
            caller.send_to(&packet, to)?;
        }
        for _ in 0..PTIME.as_millis() / STEP.as_millis() {
            worker.turn();
            worker.pass(STEP);
        }
        heard.take();
    }
    for stats in &stats {
        let stream = stats[0].stream();
        ensure!(stream.packets == u64::from(each), "{stream:?}");
    }
    heard.check(CALLS * each, CALLS * UNDER_WAY)
}

/// A far end's.
fn socket() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The leg of a far end, and where it sends its packets.
fn leg(number: u64, codec: Codec, far_end: SocketAddr) -> Result<(RelayLeg, SocketAddr)> {
    let (sockets, local) = sockets()?;
    let leg = RelayLeg {
        endpoint: EndpointId(number),
        sockets,
        session: session(codec, None, far_end),
        continuity: Continuity::Transparent,
    };
    Ok((leg, local))
}
