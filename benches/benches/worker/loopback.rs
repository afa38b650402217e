//! A worker on loopback, whose far ends are sockets.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};
use crossbeam_channel::unbounded;
use voxlane_common::splice::Continuity;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::media_plane::EndpointId;
use voxlane_dataplane::worker::{NewRelay, RelayLeg, Sockets, Workers};

use crate::calls::{self, Cost, Ends, is_report, packet, session, set_number};

/// One end of a call.
struct End {
    socket: UdpSocket,
    to: SocketAddr,
    packet: Vec<u8>,
}

/// What packets of so many calls between PCMU and G.722 cost a worker.
pub fn measure(calls: u16) -> Result<Cost> {
    let (events, _told) = unbounded();
    let workers = Workers::start(None, 20, events).context("cannot start a worker")?;
    let (mut ends, mut handles) = (Vec::new(), Vec::new());
    for call in 0..u64::from(calls) {
        let legs = [(Codec::Pcmu, 2 * call), (Codec::G722, 2 * call + 1)].map(|(codec, number)| leg(codec, number));
        let [a, b] = legs;
        let ((leg_a, end_a), (leg_b, end_b)) = (a?, b?);
        ends.extend([end_a, end_b]);
        handles.push(workers.add_relay(NewRelay {
            legs: [leg_a, leg_b],
            rules: Rules::default(),
            states: None,
        }));
    }
    calls::measure(&mut ends)
}

fn leg(codec: Codec, number: u64) -> Result<(RelayLeg, End)> {
    let (sockets, to) = sockets()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let leg = RelayLeg {
        endpoint: EndpointId(number),
        sockets,
        session: session(codec, None, socket.local_addr()?),
        continuity: Continuity::Transparent,
    };
    let end = End {
        socket,
        to,
        packet: packet(codec, number as u32),
    };
    Ok((leg, end))
}

impl Ends for Vec<End> {
    fn count(&self) -> usize {
        self.len()
    }

    fn send(&mut self, place: usize, number: u32) -> Result<()> {
        let End { socket, to, packet } = &mut self[place];
        set_number(packet, number);
        socket.send_to(packet, *to)?;
        Ok(())
    }

    fn receive(&mut self, mut came: impl FnMut(usize)) -> Result<()> {
        let mut buffer = [0; 512];
        for (place, end) in self.iter().enumerate() {
            while let Ok(length) = end.socket.recv(&mut buffer) {
                if !is_report(&buffer[..length]) {
                    came(place);
                }
            }
        }
        Ok(())
    }
}

/// A port pair that was free when it was asked for.
fn sockets() -> Result<(Sockets, SocketAddr)> {
    for _ in 0..1000 {
        let mut rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        rtp.set_port(rtp.port() & !1);
        if let Ok(sockets) = Sockets::bind(rtp, 0) {
            return Ok((sockets, rtp));
        }
    }
    anyhow::bail!("no free port pair")
}
