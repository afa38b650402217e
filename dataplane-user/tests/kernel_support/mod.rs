//! Kernel lanes in private network namespaces, and calls to relay in them.

#![allow(unsafe_code, dead_code, reason = "each test crate uses a part")]

pub mod bench;
pub mod far;
pub mod frames;
pub mod net;
pub mod pinned;
pub mod tap;

use std::net::{IpAddr, SocketAddr};

use voxlane_common::splice::Continuity;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::flows::{Policing, Rules};
use voxlane_dataplane::kernel::{KernelConfig, KernelLane, Leg, RelayPair};
use voxlane_dataplane::media_plane::{
    AttachPolicy, Direction, LatchMode, Pacing, RtcpPort, Session, TelephoneEvent, Unallocated,
};
pub use voxlane_tests::namespace::Namespace;
pub use voxlane_tests::requirements::namespaces as is_root;

/// Starts kernel lanes in a namespace.
pub trait Lanes {
    /// On these interfaces, for ports 10000-10099.
    fn lane(&self, interfaces: &[&str]) -> KernelLane;

    /// As configured.
    fn start(&self, config: KernelConfig) -> KernelLane;
}

impl Lanes for Namespace {
    fn lane(&self, interfaces: &[&str]) -> KernelLane {
        let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        let config = KernelConfig { interfaces, ..config() };
        self.start(config)
    }

    fn start(&self, config: KernelConfig) -> KernelLane {
        self.run(move || KernelLane::start(&config, |_| {})).unwrap()
    }
}

/// A kernel lane on no interface yet, for ports 10000-10099. Nothing is policed: tests send as fast as they can.
pub fn config() -> KernelConfig {
    KernelConfig {
        interfaces: vec![],
        policy: AttachPolicy::Auto,
        addresses: vec![],
        first_port: 10_000,
        last_port: 10_099,
        unallocated: Unallocated::Drop,
        rules: Rules {
            police: Policing::Off,
            ..Rules::default()
        },
        pin: None,
    }
}

/// A leg of PCMU with telephone events.
pub fn leg(local: SocketAddr, remote: SocketAddr, event: u8) -> Leg {
    let session = Session {
        remote_rtp: remote,
        remote_rtcp: above(remote),
        rtcp_port: RtcpPort::Own,
        codec: Codec::Pcmu,
        send_payload_type: 0,
        receive_payload_type: 0,
        telephone_event: Some(TelephoneEvent {
            send: event,
            receive: event,
        }),
        ptime: 20,
        direction: Direction::SendRecv,
        latch: LatchMode::Nat,
        pacing: Pacing::Off,
        srtp: None,
    };
    Leg {
        local,
        session,
        continuity: Continuity::Transparent,
    }
}

/// The call of most tests: a caller with telephone-event 101, a callee with 96.
#[derive(Clone, Copy)]
pub struct Call {
    pub caller: SocketAddr,
    pub caller_side: SocketAddr,
    pub callee_side: SocketAddr,
    pub callee: SocketAddr,
}

impl Call {
    /// Caller and callee behind different interfaces of the gateway.
    pub fn across() -> Self {
        Self {
            caller: "10.200.1.9:4000".parse().unwrap(),
            caller_side: "10.200.1.1:10000".parse().unwrap(),
            callee_side: "10.200.2.1:10002".parse().unwrap(),
            callee: "10.200.2.9:5000".parse().unwrap(),
        }
    }

    /// The same over IPv6.
    pub fn across_v6() -> Self {
        Self {
            caller: "[2001:db8:1::9]:4000".parse().unwrap(),
            caller_side: "[2001:db8:1::1]:10000".parse().unwrap(),
            callee_side: "[2001:db8:2::1]:10002".parse().unwrap(),
            callee: "[2001:db8:2::9]:5000".parse().unwrap(),
        }
    }

    /// The caller on an untagged network, the callee in a VLAN behind the same interface.
    pub fn into_vlan() -> Self {
        Self {
            callee_side: "10.200.3.1:10002".parse().unwrap(),
            callee: "10.200.3.9:5000".parse().unwrap(),
            ..Self::across()
        }
    }

    /// Caller and callee behind the same interface.
    pub fn beside() -> Self {
        Self {
            callee_side: "10.200.1.1:10002".parse().unwrap(),
            callee: "10.200.1.8:5000".parse().unwrap(),
            ..Self::across()
        }
    }

    pub fn pair(&self) -> RelayPair {
        RelayPair(
            leg(self.caller_side, self.caller, 101),
            leg(self.callee_side, self.callee, 96),
        )
    }
}

/// The port above: RTCP.
pub fn above(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// VLAN of 10.200.3.0/24.
pub const VLAN: u16 = 33;

/// Adds [`VLAN`] to a [`gateway`]'s first interface. Needs a kernel with 8021q.
pub fn add_vlan(gateway: &Namespace) {
    gateway.sh("ip link add link a0 name a0.33 type vlan id 33
         ip addr add 10.200.3.1/24 dev a0.33
         ip link set a0.33 up
         ip neigh replace 10.200.3.9 lladdr 02:00:00:00:03:09 dev a0.33");
}

/// A gateway with two interfaces whose neighbours are known beforehand; nobody is there to answer.
pub fn gateway() -> Namespace {
    let gateway = Namespace::new();
    gateway.sh("ip link add a0 type veth peer name a1
         ip link add b0 type veth peer name b1
         ethtool -K a0 tx off
         ethtool -K b0 tx off
         ip addr add 10.200.1.1/24 dev a0
         ip addr add 10.200.2.1/24 dev b0
         ip addr add 2001:db8:1::1/64 dev a0
         ip addr add 2001:db8:2::1/64 dev b0
         ip link set a0 up
         ip link set a1 up
         ip link set b0 up
         ip link set b1 up
         ip neigh replace 10.200.1.9 lladdr 02:00:00:00:01:09 dev a0
         ip neigh replace 10.200.1.8 lladdr 02:00:00:00:01:08 dev a0
         ip neigh replace 10.200.2.9 lladdr 02:00:00:00:02:09 dev b0
         ip neigh replace 10.200.2.7 lladdr 02:00:00:00:02:07 dev b0
         ip neigh replace 2001:db8:1::9 lladdr 02:00:00:00:01:09 dev a0
         ip neigh replace 2001:db8:1::8 lladdr 02:00:00:00:01:08 dev a0
         ip neigh replace 2001:db8:2::9 lladdr 02:00:00:00:02:09 dev b0
         ip neigh replace 2001:db8:2::7 lladdr 02:00:00:00:02:07 dev b0
         ip route add 203.0.113.0/24 via 10.200.2.7
         ip route add 2001:db8:ff::/48 via 2001:db8:2::7");
    gateway
}

/// The hardware address [`gateway`] knows for a far end.
pub fn neighbour(address: SocketAddr) -> [u8; 6] {
    match address.ip() {
        IpAddr::V4(ip) => match ip.octets() {
            [10, 200, net, host] => [2, 0, 0, 0, net, host],
            // Everybody else is behind the router 10.200.2.7.
            _ => [2, 0, 0, 0, 2, 7],
        },
        IpAddr::V6(ip) => match ip.segments() {
            [0x2001, 0xdb8, net @ 1..=9, .., host] => [2, 0, 0, 0, net as u8, host as u8],
            _ => [2, 0, 0, 0, 2, 7],
        },
    }
}

/// The network of [`gateway`] that an address is in, or behind: 1, 2 or 3.
pub fn network(address: SocketAddr) -> u8 {
    let [.., network, _] = neighbour(address);
    network
}

/// An RTP packet with 20 ms of PCMU.
pub fn rtp(payload_type: u8, sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160u32).map(|place| (place.wrapping_mul(ssrc | 1) ^ u32::from(sequence)) as u8));
    packet
}

/// An empty receiver report.
pub fn report(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet
}
