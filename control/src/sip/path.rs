//! The way a message takes: addresses, transport, connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What carries messages (RFC 3261 section 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams: lost, repeated and reordered by the network.
    Udp,
    /// A stream.
    Tcp,
    /// A stream that nobody on the way can read.
    Tls,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// Whether what is sent arrives, or the sender hears that it does not: nothing is repeated then.
    pub fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls => true,
        }
    }

    /// Where it is listened on unless somebody says otherwise (RFC 3261 section 19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// As a URI parameter, in the configuration and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// As Via has it.
    pub fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The transport of this name, in any case.
    pub fn of_name(name: &str) -> Option<Self> {
        let same = |transport: &Self| transport.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(same)
    }

    /// What a URI says of it: nothing for UDP.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An address that is listened on: `udp:IP:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// By which transport.
    pub transport: Transport,
    /// Where; the IP may be a wildcard.
    pub address: SocketAddr,
}

impl Listen {
    /// The address a message from this IP is sent from, if this listener has it.
    pub fn at(&self, transport: Transport, ip: IpAddr) -> Option<SocketAddr> {
        let own = self.address.ip();
        let fits = own == ip || own.is_unspecified() && own.is_ipv4() == ip.is_ipv4();
        (self.transport == transport && fits).then(|| SocketAddr::new(ip, self.address.port()))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.address)
    }
}

/// Names one connection while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// Names whom a connection over TLS is opened to, for those who know what certificate that one has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerId(pub u32);

/// Between which addresses a message travels, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Path {
    /// Ours: of a listener, also where a connection leaves from another port.
    pub local: SocketAddr,
    /// Theirs: where a connection is opened to where there is none.
    pub remote: SocketAddr,
    /// By what.
    pub transport: Transport,
    /// The connection to use as long as it is there.
    pub connection: Option<ConnectionId>,
    /// Whom a connection is opened to.
    pub peer: Option<PeerId>,
}

impl Path {
    /// A datagram's.
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            transport: Transport::Udp,
            connection: None,
            peer: None,
        }
    }
}
