//! The only SIP I/O: datagrams between sockets and the [`Endpoint`](super::Endpoint).

pub mod udp;

pub use udp::{Received, UdpTransport};
