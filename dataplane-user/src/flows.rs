//! What two sessions mean for the four flows of a relayed call, in whichever lane.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use voxlane_common::flow::{FlowKind, FlowSpec, Forwarding, PayloadRewrite, PayloadTypes};

use crate::media_plane::{Direction, Session};

/// Comfort noise (RFC 3389), a static payload type that senders of G.711 use without announcing it.
const COMFORT_NOISE: u8 = 13;

/// One leg of a relayed call.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'a> {
    /// Where its RTP arrives; its RTCP arrives one port above.
    pub local_rtp: SocketAddr,
    /// What was agreed with its far end.
    pub session: &'a Session,
}

/// The two flows that arrive at a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegFlows {
    /// RTP.
    pub rtp: FlowSpec,
    /// RTCP.
    pub rtcp: FlowSpec,
}

/// The flows of a relayed pair, by the leg they arrive at. `peer` is left 0: only the kernel lane has a table.
///
/// Flows know IPv4 only: an IPv6 address counts as one that cannot be sent to.
pub fn of_pair(legs: [Leg<'_>; 2], generation: u32, epoch: u32) -> [LegFlows; 2] {
    let [a, b] = legs;
    [(a, b), (b, a)].map(|(from, to)| LegFlows {
        rtp: rtp(from, to, generation, epoch),
        rtcp: rtcp(from, to, generation, epoch),
    })
}

fn rtp(from: Leg<'_>, to: Leg<'_>, generation: u32, epoch: u32) -> FlowSpec {
    let codec = PayloadRewrite {
        from: from.session.receive_payload_type,
        to: to.session.send_payload_type,
    };
    let event = match (from.session.telephone_event, to.session.telephone_event) {
        (Some(from), Some(to)) => PayloadRewrite {
            from: from.receive,
            to: to.send,
        },
        // What one side does not have cannot be sent to it.
        (None, _) | (_, None) => codec,
    };
    FlowSpec {
        generation,
        epoch,
        kind: FlowKind::Rtp,
        signalled: ipv4(from.session.remote_rtp),
        outgoing: ipv4(to.local_rtp),
        destination: ipv4(to.session.remote_rtp),
        payload_types: PayloadTypes::of([codec.from, event.from, COMFORT_NOISE]),
        rewrites: [codec, event],
        clock_rate: from.session.codec.clock_rate(),
        forwarding: forwarding(from.session.direction, to.session.direction),
        peer: 0,
    }
}

fn rtcp(from: Leg<'_>, to: Leg<'_>, generation: u32, epoch: u32) -> FlowSpec {
    let mut outgoing = ipv4(to.local_rtp);
    outgoing.set_port(outgoing.port().saturating_add(1));
    FlowSpec {
        kind: FlowKind::Rtcp,
        signalled: ipv4(from.session.remote_rtcp),
        outgoing,
        destination: ipv4(to.session.remote_rtcp),
        payload_types: PayloadTypes::default(),
        // Reports go on while media is on hold (RFC 3264 section 8.4).
        forwarding: Forwarding::On,
        ..rtp(from, to, generation, epoch)
    }
}

fn forwarding(from: Direction, to: Direction) -> Forwarding {
    if receives(from) && sends(to) {
        Forwarding::On
    } else {
        Forwarding::Held
    }
}

/// Whether the gateway takes media in this direction.
pub(crate) fn receives(direction: Direction) -> bool {
    match direction {
        Direction::SendRecv | Direction::RecvOnly => true,
        Direction::SendOnly | Direction::Inactive => false,
    }
}

/// Whether the gateway sends media in this direction.
pub(crate) fn sends(direction: Direction) -> bool {
    match direction {
        Direction::SendRecv | Direction::SendOnly => true,
        Direction::RecvOnly | Direction::Inactive => false,
    }
}

pub(crate) fn ipv4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::media_plane::TelephoneEvent;

    fn session(remote: &str, event: u8) -> Session {
        let remote_rtp: SocketAddr = remote.parse().unwrap();
        let mut remote_rtcp = remote_rtp;
        remote_rtcp.set_port(remote_rtp.port() + 1);
        Session {
            remote_rtp,
            remote_rtcp,
            codec: Codec::Pcmu,
            send_payload_type: 0,
            receive_payload_type: 0,
            telephone_event: Some(TelephoneEvent {
                send: event,
                receive: event,
            }),
            ptime: 20,
            direction: Direction::SendRecv,
        }
    }

    fn pair(a: &Session, b: &Session) -> [LegFlows; 2] {
        let leg = |local: &str, session| Leg {
            local_rtp: local.parse().unwrap(),
            session,
        };
        of_pair([leg("192.0.2.1:10000", a), leg("198.51.100.1:10002", b)], 1, 0)
    }

    #[test]
    fn each_leg_is_sent_what_arrives_at_the_other() {
        let (a, b) = (session("192.0.2.9:4000", 101), session("198.51.100.9:5000", 96));
        let [to_b, to_a] = pair(&a, &b);
        assert_eq!(to_b.rtp.signalled, "192.0.2.9:4000".parse().unwrap());
        assert_eq!(to_b.rtp.outgoing, "198.51.100.1:10002".parse().unwrap());
        assert_eq!(to_b.rtp.destination, "198.51.100.9:5000".parse().unwrap());
        assert_eq!(to_b.rtp.rewrites[1], PayloadRewrite { from: 101, to: 96 });
        assert_eq!(to_a.rtp.rewrites[1], PayloadRewrite { from: 96, to: 101 });
        assert_eq!(to_b.rtcp.outgoing, "198.51.100.1:10003".parse().unwrap());
        assert_eq!(to_b.rtcp.destination, "198.51.100.9:5001".parse().unwrap());
    }

    #[test]
    fn hold_stops_media_and_not_reports() {
        let a = session("192.0.2.9:4000", 101);
        let mut b = session("198.51.100.9:5000", 101);
        b.direction = Direction::RecvOnly;
        let [to_b, to_a] = pair(&a, &b);
        assert_eq!(
            (to_b.rtp.forwarding, to_a.rtp.forwarding),
            (Forwarding::Held, Forwarding::On)
        );
        assert_eq!(
            (to_b.rtcp.forwarding, to_a.rtcp.forwarding),
            (Forwarding::On, Forwarding::On)
        );
    }

    #[test]
    fn a_side_without_telephone_event_is_not_sent_any() {
        let a = session("192.0.2.9:4000", 101);
        let mut b = session("198.51.100.9:5000", 101);
        b.telephone_event = None;
        let [to_b, _] = pair(&a, &b);
        assert!(to_b.rtp.payload_types.contains(0) && to_b.rtp.payload_types.contains(13));
        assert!(!to_b.rtp.payload_types.contains(101));
    }
}
