//! Three networks with real sockets in them: a caller's, the gateway's, a callee's.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::Namespace;

/// A gateway `g0`/`g1` between a caller's network and a callee's, joined by veth pairs.
pub struct Net {
    pub gateway: Namespace,
    pub caller: Namespace,
    pub callee: Namespace,
}

impl Net {
    pub fn new() -> Self {
        let net = Self {
            gateway: Namespace::new(),
            caller: Namespace::new(),
            callee: Namespace::new(),
        };
        net.gateway.sh("ip link add g0 type veth peer name e0
             ip link add g1 type veth peer name e1");
        net.gateway.give("e0", &net.caller);
        net.gateway.give("e1", &net.callee);
        // Frames that XDP hands to a veth are taken in only by a peer with GRO (or XDP); frames it is to rewrite need
        // whole checksums.
        net.caller.sh("ethtool -K e0 gro on tx off
             ip addr add 10.200.1.9/24 dev e0
             ip addr add 10.200.1.8/24 dev e0
             ip link set e0 up");
        net.callee.sh("ethtool -K e1 gro on tx off
             ip addr add 10.200.2.9/24 dev e1
             ip link set e1 up");
        net.gateway.sh("ip addr add 10.200.1.1/24 dev g0
             ip addr add 10.200.2.1/24 dev g1
             ip link set g0 up
             ip link set g1 up");
        net
    }
}

/// A socket that waits at most five seconds.
pub fn socket(namespace: &Namespace, address: SocketAddr) -> UdpSocket {
    let socket = namespace.run(move || UdpSocket::bind(address)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}
