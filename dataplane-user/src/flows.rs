//! What two sessions mean for the four flows of a relayed call, in whichever lane.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_common::account::Tick;
use voxlane_common::flow::{
    Events, FlowKind, FlowSpec, FlowState, Forwarding, Mirror, PayloadRewrite, PayloadTypes, RtcpPort,
};
use voxlane_common::next_hop::NextHopId;
use voxlane_common::pace::Pacing;
use voxlane_common::police::Police;
use voxlane_common::rtp::{RtpHeader, media};
use voxlane_common::splice::Continuity;

use crate::dtmf::{self, Press};
use crate::media_plane::{Direction, FarEnd, Session};
use crate::rtcp::{CLOCK_RATE, RoundTrip};

/// Comfort noise (RFC 3389), a static payload type that senders of G.711 use without announcing it.
pub(crate) const COMFORT_NOISE: u8 = 13;

/// Expedited forwarding (RFC 3246), as the TOS byte.
pub const TOS_EF: u8 = 0xb8;

/// How every relayed call is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The TOS byte (IPv6: traffic class) of what is sent on.
    pub tos: u8,
    /// Whether flows are held to their rate.
    pub police: Policing,
}

/// Whether relayed flows are held to their rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policing {
    /// What comes faster than ptime and packet size allow is dropped.
    #[default]
    On,
    /// They are not.
    Off,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            tos: TOS_EF,
            police: Policing::On,
        }
    }
}

/// One leg of a relayed call.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'a> {
    /// Where its RTP arrives; its RTCP arrives one port above, unless both share the port.
    pub local_rtp: SocketAddr,
    /// What was agreed with its far end.
    pub session: &'a Session,
    /// Whether what it is sent is one stream, whoever sends it: set once it has been sent another's.
    pub continuity: Continuity,
}

impl Leg<'_> {
    /// Where its RTCP arrives, and is sent from.
    fn local_rtcp(&self) -> SocketAddr {
        match self.session.rtcp_port {
            RtcpPort::Shared => self.local_rtp,
            RtcpPort::Own => above(self.local_rtp),
        }
    }
}

/// The port above (RFC 3550 section 11).
pub(crate) fn above(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))
}

/// The two flows that arrive at a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegFlows {
    /// RTP.
    pub rtp: FlowSpec,
    /// RTCP.
    pub rtcp: FlowSpec,
}

/// What one lane leaves to another of a leg: the states of the two flows that arrive at it, and what was heard on them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegState {
    /// RTP.
    pub rtp: FlowState,
    /// RTCP.
    pub rtcp: FlowState,
    /// What was heard.
    pub heard: Heard,
}

impl LegState {
    /// The far ends are to be found anew: signalling has moved one of them.
    pub fn open_latches(&mut self) {
        self.rtp.open_latch();
        self.rtcp.open_latch();
    }
}

/// What userspace has heard of a leg, in whichever lane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heard {
    /// Datagrams that a socket of the leg has received.
    pub datagrams: u64,
    /// Keys pressed by its far end.
    pub digits: u64,
    /// The key that is pressed, and the one before.
    pub keys: dtmf::Receiver,
    /// Its reports.
    pub reports: RoundTrip,
}

impl Heard {
    /// Takes a whole packet of telephone events, at `now_ns` on the monotonic clock; returns a press that it ends.
    pub(crate) fn on_event_packet(&mut self, packet: &[u8], now_ns: u64) -> Option<Press> {
        let (header, media) = RtpHeader::parse(packet).zip(media(packet))?;
        self.on_event(&header, media, now_ns)
    }

    /// The same, of a packet whose header has been read.
    pub(crate) fn on_event(&mut self, header: &RtpHeader, media: &[u8], now_ns: u64) -> Option<Press> {
        let press = self.keys.on_packet(header, media, Duration::from_nanos(now_ns));
        self.counted(press)
    }

    /// What its far end reported last of what it is sent.
    pub(crate) fn far(&self) -> Option<FarEnd> {
        let block = self.reports.reported()?;
        Some(FarEnd {
            loss: f64::from(block.fraction_lost) / 256.0,
            lost: block.lost,
            jitter_ms: f64::from(block.jitter) * 1000.0 / CLOCK_RATE as f64,
        })
    }

    /// A press whose end was lost and which is over by `now_ns`.
    pub(crate) fn on_time(&mut self, now_ns: u64) -> Option<Press> {
        let press = self.keys.poll(Duration::from_nanos(now_ns));
        self.counted(press)
    }

    fn counted(&mut self, press: Option<Press>) -> Option<Press> {
        self.digits += u64::from(press.is_some());
        press
    }
}

/// The flows of a relayed pair, by the leg they arrive at. What only the kernel lane knows is left for it to fill in:
/// next hop and peer. Flows are not mirrored.
pub fn of_pair(legs: [Leg<'_>; 2], rules: Rules, generation: u32, epoch: u32) -> [LegFlows; 2] {
    let [a, b] = legs;
    [(a, b), (b, a)].map(|(from, to)| {
        let rtp = rtp(from, to, rules, generation, epoch);
        LegFlows {
            rtp,
            rtcp: rtcp(from, to, rtp, rules),
        }
    })
}

fn rtp(from: Leg<'_>, to: Leg<'_>, rules: Rules, generation: u32, epoch: u32) -> FlowSpec {
    let codec = PayloadRewrite {
        from: from.session.receive_payload_type,
        to: to.session.send_payload_type,
    };
    let (event, events) = match (from.session.telephone_event, to.session.telephone_event) {
        (Some(from), Some(to)) => (
            PayloadRewrite {
                from: from.receive,
                to: to.send,
            },
            Events::Second,
        ),
        // What one side does not have cannot be sent to it.
        (None, _) | (_, None) => (codec, Events::None),
    };
    FlowSpec {
        generation,
        epoch,
        kind: FlowKind::Rtp,
        signalled: from.session.remote_rtp.into(),
        outgoing: to.local_rtp.into(),
        destination: to.session.remote_rtp.into(),
        next_hop: NextHopId::UNKNOWN,
        payload_types: PayloadTypes::of([codec.from, event.from, COMFORT_NOISE]),
        rewrites: [codec, event],
        events,
        tick: Tick::of_rate(from.session.codec.clock_rate()),
        ptime: from.session.ptime,
        forwarding: forwarding(from.session.direction, to.session.direction),
        latch: from.session.latch,
        rtcp_port: from.session.rtcp_port,
        continuity: to.continuity,
        pacing: to.session.pacing,
        police: match rules.police {
            Policing::On => Police::of_rtp(from.session.ptime, from.session.codec.bytes_a_millisecond()),
            Policing::Off => Police::OFF,
        },
        mirror: Mirror::Off,
        tos: rules.tos,
        peer: 0,
    }
}

fn rtcp(from: Leg<'_>, to: Leg<'_>, rtp: FlowSpec, rules: Rules) -> FlowSpec {
    FlowSpec {
        kind: FlowKind::Rtcp,
        signalled: from.session.remote_rtcp.into(),
        outgoing: to.local_rtcp().into(),
        destination: to.session.remote_rtcp.into(),
        payload_types: PayloadTypes::NONE,
        events: Events::None,
        // Reports go on while media is on hold (RFC 3264 section 8.4).
        forwarding: Forwarding::On,
        rtcp_port: RtcpPort::Own,
        pacing: Pacing::Off,
        police: match rules.police {
            Policing::On => Police::of_rtcp(),
            Policing::Off => Police::OFF,
        },
        ..rtp
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

#[cfg(test)]
pub(crate) mod tests {
    use voxlane_common::address::TransportAddress;
    use voxlane_common::latch::LatchMode;

    use super::*;
    use crate::codec::Codec;
    use crate::media_plane::TelephoneEvent;

    pub(crate) fn session(remote: &str, event: u8) -> Session {
        let remote_rtp: SocketAddr = remote.parse().unwrap();
        Session {
            remote_rtp,
            remote_rtcp: above(remote_rtp),
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
        }
    }

    fn address(text: &str) -> TransportAddress {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn pair(a: &Session, b: &Session) -> [LegFlows; 2] {
        let leg = |local: &str, session| Leg {
            local_rtp: local.parse().unwrap(),
            session,
            continuity: Continuity::Transparent,
        };
        of_pair(
            [leg("192.0.2.1:10000", a), leg("198.51.100.1:10002", b)],
            Rules::default(),
            1,
            0,
        )
    }

    #[test]
    fn each_leg_is_sent_what_arrives_at_the_other() {
        let (a, b) = (session("192.0.2.9:4000", 101), session("198.51.100.9:5000", 96));
        let [to_b, to_a] = pair(&a, &b);
        assert_eq!(to_b.rtp.signalled, address("192.0.2.9:4000"));
        assert_eq!(to_b.rtp.outgoing, address("198.51.100.1:10002"));
        assert_eq!(to_b.rtp.destination, address("198.51.100.9:5000"));
        assert_eq!(to_b.rtp.rewrites[1], PayloadRewrite { from: 101, to: 96 });
        assert_eq!(to_a.rtp.rewrites[1], PayloadRewrite { from: 96, to: 101 });
        assert_eq!(to_b.rtcp.outgoing, address("198.51.100.1:10003"));
        assert_eq!(to_b.rtcp.destination, address("198.51.100.9:5001"));
        assert_eq!((to_b.rtp.tos, to_b.rtp.ptime), (0xb8, 20));
    }

    #[test]
    fn a_leg_with_rtcp_mux_has_one_port_for_both() {
        let (mut a, b) = (session("192.0.2.9:4000", 101), session("198.51.100.9:5000", 96));
        (a.rtcp_port, a.remote_rtcp) = (RtcpPort::Shared, a.remote_rtp);
        let [to_b, to_a] = pair(&a, &b);
        assert_eq!(
            (to_b.rtp.rtcp_port, to_a.rtp.rtcp_port),
            (RtcpPort::Shared, RtcpPort::Own)
        );
        assert_eq!(to_b.rtcp.outgoing, address("198.51.100.1:10003"));
        assert_eq!(to_a.rtcp.outgoing, address("192.0.2.1:10000"));
        assert_eq!(to_a.rtcp.destination, address("192.0.2.9:4000"));
        assert_eq!(to_b.rtcp.signalled, address("192.0.2.9:4000"));
    }

    #[test]
    fn a_flow_is_latched_as_its_own_leg_says_and_paced_as_the_other() {
        let (mut a, mut b) = (session("192.0.2.9:4000", 101), session("198.51.100.9:5000", 96));
        (a.latch, b.pacing) = (LatchMode::Strict, Pacing::Always);
        let [to_b, to_a] = pair(&a, &b);
        assert_eq!((to_b.rtp.latch, to_a.rtp.latch), (LatchMode::Strict, LatchMode::Nat));
        assert_eq!((to_b.rtp.pacing, to_a.rtp.pacing), (Pacing::Always, Pacing::Off));
        assert_eq!(to_b.rtcp.pacing, Pacing::Off);
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
        assert_eq!(to_b.rtp.events, Events::None);
    }
}
