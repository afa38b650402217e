//! The decision about one packet: the heart of both relays, the XDP program and the userspace one.

use crate::address::TransportAddress;
use crate::drops::DropReason;
use crate::flow::{Flow, FlowKind, FlowState, Forwarding};
use crate::latch::Admission;
use crate::rtcp;
use crate::rtp::{self, RtpHeader};

/// What the decision needs to see of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketView {
    /// Where it comes from.
    pub source: TransportAddress,
    /// The first bytes of the UDP payload; zero where the payload is shorter.
    pub head: [u8; rtp::HEADER_LEN],
    /// Length of the UDP payload, bytes.
    pub length: u16,
    /// For RTCP: who owns the RTP flow beside it ([`FlowState::owner_beside`]).
    pub rtp_owner: TransportAddress,
}

impl PacketView {
    /// The view of a whole UDP payload.
    pub fn new(source: TransportAddress, payload: &[u8]) -> Self {
        let mut head = [0; rtp::HEADER_LEN];
        for (to, from) in head.iter_mut().zip(payload) {
            *to = *from;
        }
        // A UDP payload over IPv4 is at most 65,507 bytes.
        Self {
            source,
            head,
            length: payload.len().min(usize::from(u16::MAX)) as u16,
            rtp_owner: TransportAddress::NONE,
        }
    }

    /// The same, of an RTCP packet beside an RTP flow with this owner.
    pub fn beside(self, rtp_owner: TransportAddress) -> Self {
        Self { rtp_owner, ..self }
    }
}

/// How a packet is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Source address and port to write: ours on the outgoing leg.
    pub source: TransportAddress,
    /// Destination address and port to write.
    pub destination: TransportAddress,
    /// The second byte of the payload: RTP marker and payload type (renumbered), or RTCP packet type (unchanged).
    pub second_byte: u8,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no flow here: the packet is somebody else's.
    NoFlow,
    /// It is sent on.
    Forward(Forward),
    /// It ends here, and [`FlowState`] has counted it.
    Drop(DropReason),
}

/// The decision about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens to the packet.
    pub verdict: Verdict,
    /// The packet has shown where the flow really comes from (otherwise [`TransportAddress::NONE`]): the caller tells
    /// the flow's peer by [`FlowState::peer_found`], even if the packet itself is not sent on.
    pub found: TransportAddress,
}

/// Judges and counts one packet of `flow`.
///
/// A packet that was accepted is in the account; a dropped one is in the drop counters. After [`Verdict::Forward`] the
/// caller says how sending went: [`FlowState::on_forwarded`] or [`FlowState::on_dropped`], so that every packet ends in
/// exactly one counter.
///
/// `now_ns` is a reading of the monotonic clock.
#[inline(always)]
pub fn decide(flow: &Flow, state: &mut FlowState, packet: &PacketView, now_ns: u64) -> Decision {
    if !flow.is_active() {
        return Decision {
            verdict: Verdict::NoFlow,
            found: TransportAddress::NONE,
        };
    }
    state.enter(flow);
    let admitted = match flow.kind() {
        FlowKind::Rtp => admit_rtp(flow, state, packet, now_ns),
        FlowKind::Rtcp => admit_rtcp(flow, state, packet, now_ns),
    };
    let (outcome, found) = match admitted {
        Ok(Admitted { second_byte, found }) => (route(flow, state, second_byte), found),
        Err(reason) => (Err(reason), TransportAddress::NONE),
    };
    let verdict = match outcome {
        Ok(forward) => Verdict::Forward(forward),
        Err(reason) => {
            state.on_dropped(reason);
            Verdict::Drop(reason)
        }
    };
    Decision { verdict, found }
}

/// A packet that is media of this flow.
struct Admitted {
    second_byte: u8,
    found: TransportAddress,
}

#[inline(always)]
fn admit_rtp(flow: &Flow, state: &mut FlowState, packet: &PacketView, now_ns: u64) -> Result<Admitted, DropReason> {
    if usize::from(packet.length) < rtp::HEADER_LEN {
        return Err(DropReason::TooShort);
    }
    let Some(header) = RtpHeader::new(packet.head) else {
        return Err(DropReason::NotRtp);
    };
    let payload_type = header.payload_type();
    if !flow.payload_types().contains(payload_type) {
        return Err(DropReason::PayloadType);
    }
    let found = found_by(state.latch.on_rtp(flow.signalled(), packet.source, &header), packet)?;
    state
        .account
        .on_packet(&header, u32::from(packet.length), now_ns, flow.tick());
    let marker = packet.head[1] & 0x80;
    Ok(Admitted {
        second_byte: marker | flow.outgoing_payload_type(payload_type),
        found,
    })
}

#[inline(always)]
fn admit_rtcp(flow: &Flow, state: &mut FlowState, packet: &PacketView, now_ns: u64) -> Result<Admitted, DropReason> {
    if usize::from(packet.length) < rtcp::MIN_LEN {
        return Err(DropReason::TooShort);
    }
    let [first, second, ..] = packet.head;
    if !rtcp::is_rtcp(first, second) {
        return Err(DropReason::NotRtcp);
    }
    let found = found_by(
        state.latch.on_rtcp(flow.signalled(), packet.rtp_owner, packet.source),
        packet,
    )?;
    state.account.on_report(u32::from(packet.length), now_ns);
    Ok(Admitted {
        second_byte: second,
        found,
    })
}

/// The address the packet has revealed, if any.
#[inline(always)]
fn found_by(admission: Admission, packet: &PacketView) -> Result<TransportAddress, DropReason> {
    match admission {
        Admission::Owner => Ok(TransportAddress::NONE),
        Admission::NewOwner => Ok(packet.source),
        Admission::Probation => Err(DropReason::Probation),
        Admission::Stranger => Err(DropReason::WrongSource),
    }
}

#[inline(always)]
fn route(flow: &Flow, state: &FlowState, second_byte: u8) -> Result<Forward, DropReason> {
    match flow.forwarding() {
        Forwarding::Held => return Err(DropReason::Held),
        Forwarding::On => {}
    }
    let destination = state.destination(flow);
    if destination.is_none() {
        return Err(DropReason::NoDestination);
    }
    Ok(Forward {
        source: flow.outgoing(),
        destination,
        second_byte,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::{FlowSpec, PayloadRewrite, PayloadTypes};

    const CALLER: &str = "192.0.2.1:4000";
    const CALLEE: &str = "198.51.100.9:5000";

    fn spec() -> FlowSpec {
        FlowSpec {
            generation: 1,
            epoch: 0,
            kind: FlowKind::Rtp,
            signalled: CALLER.parse().unwrap(),
            outgoing: "198.51.100.1:10002".parse().unwrap(),
            destination: CALLEE.parse().unwrap(),
            payload_types: PayloadTypes::of([0, 101]),
            rewrites: [PayloadRewrite { from: 0, to: 0 }, PayloadRewrite { from: 101, to: 96 }],
            clock_rate: 8000,
            forwarding: Forwarding::On,
            peer: 0,
        }
    }

    fn packet(from: &str, payload: &[u8]) -> PacketView {
        PacketView::new(TransportAddress::new(from.parse().unwrap()), payload)
    }

    const RTP: [u8; 12] = [0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
    const REPORT: [u8; 8] = [0x80, 201, 0, 1, 1, 2, 3, 4];

    fn verdict(spec: FlowSpec, from: &str, payload: &[u8]) -> (Verdict, FlowState) {
        let mut state = FlowState::default();
        let decision = decide(&Flow::new(&spec), &mut state, &packet(from, payload), 1);
        (decision.verdict, state)
    }

    #[test]
    fn media_from_the_signalled_source_is_sent_on_and_counted() {
        let mut state = FlowState::default();
        let decision = decide(&Flow::new(&spec()), &mut state, &packet(CALLER, &RTP), 1);
        let caller = TransportAddress::new(CALLER.parse().unwrap());
        assert_eq!(decision.found, caller);
        let forward = Forward {
            source: spec().outgoing.into(),
            destination: CALLEE.parse().map(TransportAddress::new).unwrap(),
            second_byte: 0,
        };
        assert_eq!(decision.verdict, Verdict::Forward(forward));
        assert_eq!(
            (state.account.packets, state.account.bytes, state.dropped_in_all()),
            (1, 12, 0)
        );
        assert_eq!(state.latch.source(), caller);
    }

    #[test]
    fn telephone_events_are_renumbered_and_keep_their_marker() {
        let mut event = RTP;
        event[1] = 0x80 | 101;
        match verdict(spec(), CALLER, &event).0 {
            Verdict::Forward(forward) => assert_eq!(forward.second_byte, 0x80 | 96),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_reason_to_drop() {
        let report = FlowSpec {
            kind: FlowKind::Rtcp,
            ..spec()
        };
        let mut other_type = RTP;
        other_type[1] = 8;
        let cases: [(FlowSpec, &str, &[u8], DropReason); 9] = [
            (spec(), CALLER, &RTP[..11], DropReason::TooShort),
            (spec(), CALLER, &[], DropReason::TooShort),
            (report, CALLER, &REPORT[..7], DropReason::TooShort),
            (spec(), CALLER, &[0; 12], DropReason::NotRtp),
            (report, CALLER, &RTP, DropReason::NotRtcp),
            (spec(), CALLER, &other_type, DropReason::PayloadType),
            (spec(), CALLEE, &RTP, DropReason::Probation),
            (
                FlowSpec {
                    forwarding: Forwarding::Held,
                    ..spec()
                },
                CALLER,
                &RTP,
                DropReason::Held,
            ),
            (
                FlowSpec {
                    destination: "0.0.0.0:9".parse().unwrap(),
                    ..spec()
                },
                CALLER,
                &RTP,
                DropReason::NoDestination,
            ),
        ];
        for (spec, from, payload, reason) in cases {
            let (verdict, state) = verdict(spec, from, payload);
            assert_eq!(verdict, Verdict::Drop(reason));
            assert_eq!((state.dropped(reason), state.dropped_in_all()), (1, 1), "{reason:?}");
        }
        let flow = Flow::new(&spec());
        let mut state = FlowState::default();
        decide(&flow, &mut state, &packet(CALLER, &RTP), 1);
        assert_eq!(
            decide(&flow, &mut state, &packet(CALLEE, &RTP), 1).verdict,
            Verdict::Drop(DropReason::WrongSource)
        );
    }

    #[test]
    fn the_peer_learns_where_a_caller_behind_nat_is() {
        let there = Flow::new(&spec());
        let back = Flow::new(&FlowSpec {
            signalled: CALLEE.parse().unwrap(),
            destination: CALLER.parse().unwrap(),
            ..spec()
        });
        let (mut there_state, mut back_state) = (FlowState::default(), FlowState::default());
        let nat = "203.0.113.5:61000";
        let mut second = RTP;
        second[3] = 2;
        decide(&there, &mut there_state, &packet(nat, &RTP), 1);
        let decision = decide(&there, &mut there_state, &packet(nat, &second), 2);
        back_state.peer_found(&there, decision.found);
        match decide(&back, &mut back_state, &packet(CALLEE, &RTP), 3).verdict {
            Verdict::Forward(forward) => assert_eq!(forward.destination.get(), nat.parse().ok()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_flow_is_nobodys_packet_and_leaves_no_trace() {
        let mut state = FlowState::default();
        let decision = decide(&Flow::default(), &mut state, &packet(CALLER, &RTP), 1);
        assert_eq!((decision.verdict, state), (Verdict::NoFlow, FlowState::default()));
    }

    #[test]
    fn reports_pass_on_their_own_flow() {
        let rtcp = FlowSpec {
            kind: FlowKind::Rtcp,
            ..spec()
        };
        let (verdict, state) = verdict(rtcp, CALLER, &REPORT);
        assert!(matches!(verdict, Verdict::Forward(forward) if forward.second_byte == 201));
        assert_eq!((state.account.packets, state.account.bytes), (1, 8));
    }

    #[test]
    fn reports_of_strangers_are_dropped_until_the_media_comes_from_there() {
        let rtcp = Flow::new(&FlowSpec {
            kind: FlowKind::Rtcp,
            ..spec()
        });
        let mut state = FlowState::default();
        let report = packet(CALLEE, &REPORT);
        let dropped = Verdict::Drop(DropReason::Probation);
        assert_eq!(decide(&rtcp, &mut state, &report, 1).verdict, dropped);
        let rtp_owner = TransportAddress::new("198.51.100.9:1234".parse().unwrap());
        let verdict = decide(&rtcp, &mut state, &report.beside(rtp_owner), 2).verdict;
        assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
    }

    #[test]
    fn an_owner_of_an_earlier_call_vouches_for_nobody() {
        let (_, state) = verdict(spec(), CALLER, &RTP);
        let beside = |generation, epoch| {
            let flow = Flow::new(&FlowSpec {
                kind: FlowKind::Rtcp,
                generation,
                epoch,
                ..spec()
            });
            state.owner_beside(&flow)
        };
        assert_eq!(beside(1, 0).get(), CALLER.parse().ok());
        assert_eq!(beside(2, 0), TransportAddress::NONE);
        assert_eq!(beside(1, 1), TransportAddress::NONE);
    }

    proptest! {
        #[test]
        fn every_packet_ends_in_exactly_one_place(
            packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0u8..3), 0..60),
            rtcp: bool,
        ) {
            let kind = if rtcp { FlowKind::Rtcp } else { FlowKind::Rtp };
            let flow = Flow::new(&FlowSpec { kind, ..spec() });
            let mut state = FlowState::default();
            let mut forwarded = 0;
            for (mut payload, from) in packets.clone() {
                if let Some(first) = payload.first_mut() {
                    *first = *first & 0x3f | 0x80;
                }
                let from = TransportAddress::from_network([192, 0, 2, from], [15, 160]);
                match decide(&flow, &mut state, &PacketView::new(from, &payload), 1).verdict {
                    Verdict::NoFlow => prop_assert!(false),
                    Verdict::Forward(_) => forwarded += 1,
                    Verdict::Drop(_) => {}
                }
            }
            prop_assert_eq!(forwarded + state.dropped_in_all(), packets.len() as u64);
            prop_assert_eq!(state.account.packets, forwarded);
        }
    }
}
