//! From two negotiated legs to four flows.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use voxlane_common::flow::FlowSpec;

use super::error::Refusal;
use crate::flows;
use crate::lane::Reason;
use crate::media_plane::Session;

/// One leg of a relayed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Where its RTP arrives; RTCP arrives on the next port.
    pub local: SocketAddrV4,
    /// What was agreed for it.
    pub session: Session,
}

/// Two legs to be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayPair(pub Leg, pub Leg);

/// The two flows that arrive at one leg. Generation, epoch and peer are for the table to fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LegFlows {
    /// The leg's RTP address.
    pub(super) local: SocketAddrV4,
    pub(super) rtp: FlowSpec,
    pub(super) rtcp: FlowSpec,
}

impl LegFlows {
    /// The leg's RTCP address.
    pub(super) fn local_rtcp(&self) -> SocketAddrV4 {
        rtcp_of(self.local)
    }
}

impl RelayPair {
    /// What arrives at the first leg and what arrives at the second.
    pub(super) fn flows(&self) -> Result<[LegFlows; 2], Refusal> {
        let legs = [&self.0, &self.1];
        for session in legs.map(|leg| &leg.session) {
            for address in [session.remote_rtp, session.remote_rtcp] {
                if address.is_ipv6() {
                    return Err(Refusal::new(Reason::Ipv6, format!("{address} is an IPv6 address")));
                }
            }
        }
        let [first, second] = flows::of_pair(
            legs.map(|leg| flows::Leg {
                local_rtp: SocketAddr::V4(leg.local),
                session: &leg.session,
            }),
            0,
            0,
        );
        Ok(
            [(self.0.local, first), (self.1.local, second)].map(|(local, flows)| LegFlows {
                local,
                rtp: flows.rtp,
                rtcp: flows.rtcp,
            }),
        )
    }

    /// Where each leg's media is sent, as far as signalling has told.
    pub(super) fn destinations(&self) -> impl Iterator<Item = (&Leg, Ipv4Addr)> {
        [&self.0, &self.1]
            .into_iter()
            .filter_map(|leg| match leg.session.remote_rtp {
                SocketAddr::V4(remote) if !remote.ip().is_unspecified() => Some((leg, *remote.ip())),
                _ => None,
            })
    }
}

/// RTCP arrives one port above RTP (RFC 3550 section 11).
fn rtcp_of(rtp: SocketAddrV4) -> SocketAddrV4 {
    SocketAddrV4::new(*rtp.ip(), rtp.port().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use voxlane_common::flow::{Flow, Forwarding};

    use super::*;
    use crate::codec::Codec;
    use crate::media_plane::{Direction, TelephoneEvent};

    fn leg(local: &str, remote: &str, event: Option<u8>) -> Leg {
        let remote_rtp: SocketAddr = remote.parse().unwrap();
        let session = Session {
            remote_rtp,
            remote_rtcp: SocketAddr::new(remote_rtp.ip(), remote_rtp.port() + 1),
            codec: Codec::Pcmu,
            send_payload_type: 0,
            receive_payload_type: 0,
            telephone_event: event.map(|number| TelephoneEvent {
                send: number,
                receive: number,
            }),
            ptime: 20,
            direction: Direction::SendRecv,
        };
        Leg {
            local: local.parse().unwrap(),
            session,
        }
    }

    fn pair() -> RelayPair {
        RelayPair(
            leg("192.0.2.1:10000", "192.0.2.9:4000", Some(101)),
            leg("198.51.100.1:10002", "198.51.100.9:5000", Some(96)),
        )
    }

    #[test]
    fn what_arrives_at_one_leg_leaves_from_the_other() {
        let [first, second] = pair().flows().unwrap();
        assert_eq!(first.rtp.signalled, "192.0.2.9:4000".parse().unwrap());
        assert_eq!(first.rtp.outgoing, "198.51.100.1:10002".parse().unwrap());
        assert_eq!(first.rtp.destination, "198.51.100.9:5000".parse().unwrap());
        assert_eq!(first.rtcp.outgoing, "198.51.100.1:10003".parse().unwrap());
        assert_eq!(second.rtcp.destination, "192.0.2.9:4001".parse().unwrap());
        assert_eq!(second.local_rtcp(), "198.51.100.1:10003".parse().unwrap());
        let flow = Flow::new(&first.rtp);
        assert_eq!([0, 13, 101].map(|kind| flow.outgoing_payload_type(kind)), [0, 13, 96]);
        assert_eq!(
            [0, 8, 13, 96, 101].map(|kind| flow.payload_types().contains(kind)),
            [true, false, true, false, true]
        );
    }

    #[test]
    fn digits_are_let_through_only_if_both_legs_have_them() {
        let mut pair = pair();
        pair.1.session.telephone_event = None;
        let [first, second] = pair.flows().unwrap();
        assert!(!first.rtp.payload_types.contains(101));
        assert!(!second.rtp.payload_types.contains(96));
    }

    #[test]
    fn hold_stops_media_one_way_and_never_reports() {
        let mut pair = pair();
        pair.0.session.direction = Direction::SendOnly;
        let [first, second] = pair.flows().unwrap();
        assert_eq!(
            (first.rtp.forwarding, second.rtp.forwarding),
            (Forwarding::Held, Forwarding::On)
        );
        assert_eq!(
            (first.rtcp.forwarding, second.rtcp.forwarding),
            (Forwarding::On, Forwarding::On)
        );
    }

    #[test]
    fn ipv6_is_refused_by_name() {
        let mut pair = pair();
        pair.1.session.remote_rtp = "[2001:db8::1]:4000".parse().unwrap();
        assert_eq!(pair.flows().unwrap_err().reason, Reason::Ipv6);
    }
}
