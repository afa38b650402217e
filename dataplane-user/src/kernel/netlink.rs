//! Routes, neighbours, links and queues, asked from the kernel over one synchronous netlink socket.
//!
//! The socket stays in the network namespace it was opened in, whichever thread uses it.

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::link::{InfoData, InfoVlan, LinkAttribute, LinkInfo, LinkMessage, LinkXdp};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_route::tc::{TcAttribute, TcMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::error::KernelError;

/// A route to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The interface packets leave by.
    pub(super) ifindex: u32,
    /// The router, unless the destination is a neighbour.
    pub(super) gateway: Option<IpAddr>,
    /// Whether it leads out: not to the host itself, and not nowhere.
    pub(super) unicast: bool,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) ifindex: u32,
    pub(super) name: String,
    /// Its hardware address, if it is an Ethernet.
    pub(super) mac: Option<[u8; 6]>,
    /// Largest IP packet, bytes.
    pub(super) mtu: u32,
    /// Of a VLAN: the interface below and the identifier.
    pub(super) vlan: Option<(u32, u16)>,
    /// Its XDP program.
    pub(super) xdp: Option<u32>,
}

/// A neighbour as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
    /// Its hardware address, as long as it may be used.
    pub(super) mac: Option<[u8; 6]>,
    /// Set by the administrator: never asked for again.
    pub(super) fixed: bool,
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
    pub(super) fn route(&mut self, source: IpAddr, destination: IpAddr) -> io::Result<Route> {
        let mut message = RouteMessage::default();
        let (family, length) = match destination {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message.header.address_family = family;
        message.header.destination_prefix_length = length;
        message.header.source_prefix_length = length;
        message
            .attributes
            .push(RouteAttribute::Destination(route_address(destination)));
        message.attributes.push(RouteAttribute::Source(route_address(source)));
        let answer = self.ask_one(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST)?;
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
                RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => route.gateway = Some(gateway.into()),
                RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => route.gateway = Some(gateway.into()),
                _ => {}
            }
        }
        Ok(route)
    }

    /// Has the kernel find, or confirm, the hardware address of a neighbour, as if a packet were to be sent to it.
    ///
    /// An address that the administrator has set stays as it is: NTF_USE would take its permanence away.
    pub(super) fn prime(&mut self, ifindex: u32, address: IpAddr) -> io::Result<()> {
        if self.neighbour(ifindex, address)?.is_some_and(|known| known.fixed) {
            return Ok(());
        }
        let mut message = neighbour_request(ifindex, address);
        message.header.flags = NeighbourFlags::Use;
        self.ask(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK,
        )
        .map(drop)
    }

    /// What the kernel knows of a neighbour; `None` if it has never heard of it.
    pub(super) fn neighbour(&mut self, ifindex: u32, address: IpAddr) -> io::Result<Option<Neighbour>> {
        let request = neighbour_request(ifindex, address);
        match self.ask_one(RouteNetlinkMessage::GetNeighbour(request), NLM_F_REQUEST) {
            Ok(Some(RouteNetlinkMessage::NewNeighbour(answer))) => Ok(neighbour_of(&answer)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every interface.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.ask(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(link_of(link)),
                _ => None,
            })
            .collect())
    }

    /// These interfaces, with those below them in the place of VLANs: only there frames can be met in the driver.
    pub(super) fn below_vlans(&mut self, names: &[String]) -> io::Result<Vec<String>> {
        let links = self.links()?;
        let below = |name: &String| {
            let (ifindex, _) = links.iter().find(|link| link.name == *name)?.vlan?;
            let below = links.iter().find(|link| link.ifindex == ifindex)?;
            Some(below.name.clone())
        };
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let name = below(name).unwrap_or_else(|| name.clone());
            if !found.contains(&name) {
                found.push(name);
            }
        }
        Ok(found)
    }

    /// Whether packets that leave by this interface pass queues that keep departure times: `fq`, as the root or under
    /// every queue of `mq`.
    pub(super) fn keeps_departure_times(&mut self, ifindex: u32) -> io::Result<bool> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let answers = self.ask(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut kinds = Vec::new();
        for answer in answers {
            if let RouteNetlinkMessage::NewQueueDiscipline(queue) = answer
                && u32::try_from(queue.header.index) == Ok(ifindex)
            {
                kinds.extend(queue.attributes.into_iter().filter_map(|attribute| match attribute {
                    TcAttribute::Kind(kind) => Some(kind),
                    _ => None,
                }));
            }
        }
        kinds.retain(|kind| !matches!(kind.as_str(), "mq" | "clsact" | "ingress"));
        Ok(!kinds.is_empty() && kinds.iter().all(|kind| kind == "fq"))
    }

    /// Sends a request that has one answer; `None` if that is a bare acknowledgement.
    fn ask_one(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
        Ok(self.ask(request, flags)?.into_iter().next())
    }

    /// Sends a request and takes its answers.
    fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let is_dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for answer in messages(&datagram) {
                // An answer to a request that was given up.
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    _ => return Ok(answers),
                }
            }
            if !is_dump && !answers.is_empty() {
                return Ok(answers);
            }
        }
    }
}

/// The messages of one datagram. What cannot be read ends it.
pub(super) fn messages(mut datagram: &[u8]) -> Vec<NetlinkMessage<RouteNetlinkMessage>> {
    let mut messages = Vec::new();
    while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram) {
        // Messages are aligned to four bytes.
        let length = (message.header.length as usize).next_multiple_of(4);
        messages.push(message);
        match datagram.get(length..) {
            Some(rest) if length > 0 && !rest.is_empty() => datagram = rest,
            _ => break,
        }
    }
    messages
}

/// The neighbour that a message tells of.
pub(super) fn neighbour_of(message: &NeighbourMessage) -> Option<Neighbour> {
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    let state = message.header.state;
    let usable = !matches!(
        state,
        NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None
    );
    Some(Neighbour {
        ifindex: message.header.ifindex,
        address: address?,
        mac: mac.filter(|_| usable),
        fixed: matches!(state, NeighbourState::Permanent | NeighbourState::Noarp),
    })
}

fn link_of(message: &LinkMessage) -> Link {
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        vlan: None,
        xdp: None,
    };
    let (mut below, mut identifier) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Xdp(attributes) => {
                link.xdp = attributes.iter().find_map(|attribute| match attribute {
                    LinkXdp::ProgId(program) => Some(*program),
                    _ => None,
                });
            }
            LinkAttribute::Link(ifindex) => below = Some(*ifindex),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Data(InfoData::Vlan(attributes)) = info {
                        identifier = attributes.iter().find_map(|attribute| match attribute {
                            InfoVlan::Id(identifier) => Some(*identifier),
                            _ => None,
                        });
                    }
                }
            }
            _ => {}
        }
    }
    link.vlan = below.zip(identifier);
    link
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn neighbour_request(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.header.ifindex = ifindex;
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}
