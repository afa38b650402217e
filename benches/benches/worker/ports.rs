//! Where packets for a leg arrive.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Result;
use voxlane_dataplane::worker::Sockets;

/// A port pair that was free when it was asked for.
pub fn sockets() -> Result<(Sockets, SocketAddr)> {
    for _ in 0..1000 {
        let mut rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        rtp.set_port(rtp.port() & !1);
        if let Ok(sockets) = Sockets::bind(rtp, 0) {
            return Ok((sockets, rtp));
        }
    }
    anyhow::bail!("no free port pair")
}
