//! From two negotiated legs to four flows.

use std::net::{IpAddr, SocketAddr};

use voxlane_common::flow::FlowSpec;
use voxlane_common::splice::Continuity;

use super::error::Refusal;
use crate::flows::{self, Rules};
use crate::lane::Reason;
use crate::media_plane::Session;

/// One leg of a relayed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Where its RTP arrives. The port above is its RTCP's.
    pub local: SocketAddr,
    /// What was agreed for it.
    pub session: Session,
    /// Whether what it is sent is one stream, whoever sends it.
    pub continuity: Continuity,
}

/// Two legs to be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayPair(pub Leg, pub Leg);

/// The two flows that arrive at one leg. Generation, epoch, next hops and peer are for the table to fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LegFlows {
    /// The leg's RTP address.
    pub(super) local: SocketAddr,
    pub(super) rtp: FlowSpec,
    pub(super) rtcp: FlowSpec,
}

impl RelayPair {
    /// What arrives at the first leg and what arrives at the second.
    pub(super) fn flows(&self, rules: Rules) -> Result<[LegFlows; 2], Refusal> {
        let legs = [&self.0, &self.1];
        let is_v6 = self.0.local.is_ipv6();
        for address in legs
            .iter()
            .flat_map(|leg| [leg.local, leg.session.remote_rtp, leg.session.remote_rtcp])
        {
            // An unspecified address is nobody's, of no family.
            if address.is_ipv6() != is_v6 && !address.ip().is_unspecified() {
                let detail = format!("{} and {address} are of different IP versions", self.0.local);
                return Err(Refusal::new(Reason::MixedFamilies, detail));
            }
        }
        let [first, second] = flows::of_pair(
            legs.map(|leg| flows::Leg {
                local_rtp: leg.local,
                session: &leg.session,
                continuity: leg.continuity,
            }),
            rules,
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

    /// Where each leg's media is sent, as far as signalling has told: our address there and its.
    pub(super) fn destinations(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        [&self.0, &self.1]
            .into_iter()
            .map(|leg| (leg.local.ip(), leg.session.remote_rtp.ip()))
            .filter(|(_, remote)| !remote.is_unspecified())
    }
}

#[cfg(test)]
mod tests {
    use voxlane_common::flow::{Flow, Forwarding};

    use super::*;
    use crate::flows::tests::session;
    use crate::media_plane::Direction;

    fn leg(local: &str, remote: &str, event: u8) -> Leg {
        Leg {
            local: local.parse().unwrap(),
            session: session(remote, event),
            continuity: Continuity::Transparent,
        }
    }

    fn pair() -> RelayPair {
        RelayPair(
            leg("192.0.2.1:10000", "192.0.2.9:4000", 101),
            leg("198.51.100.1:10002", "198.51.100.9:5000", 96),
        )
    }

    fn address(text: &str) -> voxlane_common::address::TransportAddress {
        text.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn what_arrives_at_one_leg_leaves_from_the_other() {
        let [first, second] = pair().flows(Rules::default()).unwrap();
        assert_eq!(first.rtp.signalled, address("192.0.2.9:4000"));
        assert_eq!(first.rtp.outgoing, address("198.51.100.1:10002"));
        assert_eq!(first.rtp.destination, address("198.51.100.9:5000"));
        assert_eq!(first.rtcp.outgoing, address("198.51.100.1:10003"));
        assert_eq!(second.rtcp.destination, address("192.0.2.9:4001"));
        let flow = Flow::new(&first.rtp);
        assert_eq!([0, 13, 101].map(|kind| flow.outgoing_payload_type(kind)), [0, 13, 96]);
        assert_eq!(
            [0, 8, 13, 96, 101].map(|kind| flow.payload_types().contains(kind)),
            [true, false, true, false, true]
        );
    }

    #[test]
    fn hold_stops_media_one_way_and_never_reports() {
        let mut pair = pair();
        pair.0.session.direction = Direction::SendOnly;
        let [first, second] = pair.flows(Rules::default()).unwrap();
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
    fn legs_of_different_families_are_refused_by_name() {
        let mut mixed = pair();
        mixed.1.session.remote_rtp = "[2001:db8::1]:4000".parse().unwrap();
        assert_eq!(mixed.flows(Rules::default()).unwrap_err().reason, Reason::MixedFamilies);
        let mut held = pair();
        held.1.session.remote_rtp = "[::]:4000".parse().unwrap();
        assert!(held.flows(Rules::default()).is_ok());
    }
}
