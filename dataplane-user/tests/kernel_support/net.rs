//! Real sockets on both sides of a gateway.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::{Namespace, VLAN};

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
        // The gateway has link-local addresses: from those it asks for neighbours.
        // Frames that XDP hands to a veth are taken in only by a peer with GRO (or XDP); frames it is to rewrite need
        // whole checksums.
        net.caller.sh("ethtool -K e0 gro on tx off
             ip addr add 10.200.1.9/24 dev e0
             ip addr add 10.200.1.8/24 dev e0
             ip addr add 2001:db8:1::9/64 dev e0
             ip link set e0 up");
        net.callee.sh("ethtool -K e1 gro on tx off
             ip addr add 10.200.2.9/24 dev e1
             ip addr add 2001:db8:2::9/64 dev e1
             ip link set e1 up");
        net.gateway.sh("ip addr add 10.200.1.1/24 dev g0
             ip addr add 10.200.2.1/24 dev g1
             ip addr add 2001:db8:1::1/64 dev g0
             ip addr add 2001:db8:2::1/64 dev g1
             ip addr add fe80::1/64 dev g0
             ip addr add fe80::1/64 dev g1
             ip link set g0 up
             ip link set g1 up");
        net
    }

    /// Adds a VLAN to the callee's network, 10.200.3.0/24. Needs a kernel with 8021q.
    pub fn add_vlan(&self) {
        // A tag that stands beside a frame, as between veths, is not seen by XDP; on an Ethernet there is no such thing.
        self.callee.sh(&format!(
            "ethtool -K e1 tx-vlan-hw-insert off
             ip link add link e1 name e1.{VLAN} type vlan id {VLAN}
             ip addr add 10.200.3.9/24 dev e1.{VLAN}
             ip link set e1.{VLAN} up"
        ));
        self.gateway.sh(&format!(
            "ip link add link g1 name g1.{VLAN} type vlan id {VLAN}
             ip addr add 10.200.3.1/24 dev g1.{VLAN}
             ip link set g1.{VLAN} up"
        ));
    }

    /// Tells the gateway the hardware address of the callee behind an interface of its: no packet waits for it.
    pub fn introduce(&self, callee: SocketAddr, interface: &str) {
        let (mac, _) = self.callee.interface("e1");
        let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
        let callee = callee.ip();
        self.gateway
            .sh(&format!("ip neigh replace {callee} lladdr {mac} dev {interface}"));
    }
}

/// A UDP socket in a namespace.
pub fn socket(namespace: &Namespace, address: SocketAddr) -> UdpSocket {
    let socket = namespace.run(move || UdpSocket::bind(address)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Sends one packet and waits for it at the other end.
pub fn exchange(from: &UdpSocket, via: SocketAddr, to: &UdpSocket, packet: &[u8]) -> (Vec<u8>, SocketAddr) {
    from.send_to(packet, via).unwrap();
    let mut buffer = [0; 2048];
    let (length, source) = to.recv_from(&mut buffer).expect("the packet arrives");
    (buffer[..length].to_vec(), source)
}

/// Sends the first packet until it arrives: the next hop's hardware address may still be being asked for. Returns how
/// often it was sent.
pub fn knock(from: &UdpSocket, via: SocketAddr, to: &UdpSocket, packet: &[u8]) -> u64 {
    to.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 2048];
    for sent in 1..=100 {
        from.send_to(packet, via).unwrap();
        if to.recv_from(&mut buffer).is_ok() {
            to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            return sent;
        }
    }
    panic!("nothing arrives");
}
