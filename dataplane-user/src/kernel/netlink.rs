//! Routes and neighbours, asked from the kernel over one synchronous netlink socket.
//!
//! The socket stays in the network namespace it was opened in, whichever thread uses it.

use std::io;
use std::net::Ipv4Addr;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::error::KernelError;

/// A route to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The interface packets leave by.
    pub(super) ifindex: u32,
    /// The router, unless the destination is a neighbour.
    pub(super) gateway: Option<Ipv4Addr>,
    /// Whether it leads out: not to the host itself, and not nowhere.
    pub(super) unicast: bool,
}

/// The socket.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> Result<Self, KernelError> {
        let failed = |error| KernelError::io("open a netlink socket", error);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The route a packet from `source` to `destination` takes (RTM_GETROUTE).
    pub(super) fn route(&mut self, source: Ipv4Addr, destination: Ipv4Addr) -> io::Result<Route> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message.header.source_prefix_length = 32;
        message
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::Inet(destination)));
        message
            .attributes
            .push(RouteAttribute::Source(RouteAddress::Inet(source)));
        let answer = self.ask(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST)?;
        let Some(RouteNetlinkMessage::NewRoute(answer)) = answer else {
            return Err(io::Error::other(
                "the kernel answered a route request with something else",
            ));
        };
        let mut route = Route {
            ifindex: 0,
            gateway: None,
            unicast: answer.header.kind == RouteType::Unicast,
        };
        for attribute in answer.attributes {
            match attribute {
                RouteAttribute::Oif(ifindex) => route.ifindex = ifindex,
                RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => route.gateway = Some(gateway),
                _ => {}
            }
        }
        Ok(route)
    }

    /// Has the kernel find, or confirm, the hardware address of a neighbour, as if a packet were to be sent to it.
    ///
    /// An address that the administrator has set stays as it is: NTF_USE would take its permanence away.
    pub(super) fn prime(&mut self, ifindex: u32, address: Ipv4Addr) -> io::Result<()> {
        let known = self.neighbour_state(ifindex, address)?;
        if matches!(known, Some(NeighbourState::Permanent | NeighbourState::Noarp)) {
            return Ok(());
        }
        let mut message = neighbour(ifindex, address);
        message.header.flags = NeighbourFlags::Use;
        self.ask(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK,
        )
        .map(drop)
    }

    /// What the kernel knows of a neighbour; `None` if it has never heard of it.
    fn neighbour_state(&mut self, ifindex: u32, address: Ipv4Addr) -> io::Result<Option<NeighbourState>> {
        match self.ask(
            RouteNetlinkMessage::GetNeighbour(neighbour(ifindex, address)),
            NLM_F_REQUEST,
        ) {
            Ok(Some(RouteNetlinkMessage::NewNeighbour(answer))) => Ok(Some(answer.header.state)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and takes its answer; `None` if that is a bare acknowledgement.
    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
            // An answer to a request that was given up.
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
                NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
                _ => Ok(None),
            };
        }
    }
}

fn neighbour(ifindex: u32, address: Ipv4Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = ifindex;
    message
        .attributes
        .push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
    message
}
