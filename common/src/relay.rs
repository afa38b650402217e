//! The decision about one packet: the heart of both relays, the XDP program and the userspace one.

use crate::address::TransportAddress;
use crate::drops::DropReason;
use crate::event::EventKind;
use crate::flow::{Beside, Flow, FlowKind, FlowState, Forwarding, RtcpPort};
use crate::latch::Admission;
use crate::next_hop::NextHopId;
use crate::pace::Departure;
use crate::rewrite::NewHeaders;
use crate::rtcp;
use crate::rtp::{self, Head, RtpHeader};
use crate::splice::Content;

/// What the decision needs to see of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketView {
    /// Where it comes from.
    pub source: TransportAddress,
    /// The first bytes of the UDP payload; where the payload is shorter, zero or what follows it in the frame.
    pub head: Head,
    /// Length of the UDP payload, bytes.
    pub length: u32,
    /// For RTCP: what is known of the RTP flow beside it.
    pub beside: Beside,
}

impl PacketView {
    /// The view of a whole UDP payload.
    pub fn new(source: TransportAddress, payload: &[u8]) -> Self {
        // A UDP payload is at most 65,527 bytes.
        Self {
            source,
            head: rtp::head(payload),
            length: payload.len().min(usize::from(u16::MAX)) as u32,
            beside: Beside::NOTHING,
        }
    }

    /// The same, of an RTCP packet beside an RTP flow.
    pub fn beside(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    /// Whether a packet that arrived on `flow` is RTCP that shares the port with RTP: it is judged by the flow of the
    /// entry above.
    #[inline(always)]
    pub fn is_rtcp_on(&self, flow: &Flow) -> bool {
        let [first, second] = rtp::first_bytes(&self.head);
        matches!((flow.kind(), flow.rtcp_port()), (FlowKind::Rtp, RtcpPort::Shared))
            && self.length >= rtcp::MIN_LEN as u32
            && rtcp::is_rtcp(first, second)
    }
}

/// How a packet is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Addresses, ports and TOS to write.
    pub headers: NewHeaders,
    /// What the payload begins with: the RTP header, or the first eight bytes of RTCP and four that may not be the
    /// packet's.
    pub head: Head,
    /// The neighbour on the way, if it is known.
    pub next_hop: NextHopId,
    /// When it leaves.
    pub departure: Departure,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no flow here: the packet is somebody else's.
    NoFlow,
    /// It is a worker's.
    Worker,
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
    /// Userspace is to be given a copy of the packet, whatever becomes of it.
    pub copy: Option<EventKind>,
}

impl Decision {
    const fn bare(verdict: Verdict) -> Self {
        Self {
            verdict,
            found: TransportAddress::NONE,
            copy: None,
        }
    }
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
        return Decision::bare(Verdict::NoFlow);
    }
    let kind = flow.kind();
    if let FlowKind::Worker = kind {
        return Decision::bare(Verdict::Worker);
    }
    state.enter(flow);
    let admitted = match kind {
        FlowKind::Rtp => admit_rtp(flow, state, packet, now_ns),
        FlowKind::Rtcp | FlowKind::Worker => admit_rtcp(flow, state, packet, now_ns),
    };
    let refused = match admitted {
        Ok(admitted) => {
            let verdict = match route(flow, state, &admitted, now_ns) {
                Ok(forward) => Verdict::Forward(forward),
                Err(reason) => {
                    state.on_dropped(reason);
                    Verdict::Drop(reason)
                }
            };
            return Decision {
                verdict,
                found: admitted.found,
                copy: admitted.copy,
            };
        }
        Err(reason) => reason,
    };
    state.on_dropped(refused);
    Decision::bare(Verdict::Drop(refused))
}

/// A packet that is media of this flow.
struct Admitted {
    head: Head,
    found: TransportAddress,
    copy: Option<EventKind>,
}

#[inline(always)]
fn admit_rtp(flow: &Flow, state: &mut FlowState, packet: &PacketView, now_ns: u64) -> Result<Admitted, DropReason> {
    if packet.length < rtp::HEADER_LEN as u32 {
        return Err(DropReason::TooShort);
    }
    let Some(header) = RtpHeader::new(packet.head) else {
        return Err(DropReason::NotRtp);
    };
    let payload_type = header.payload_type();
    if !flow.payload_types().contains(payload_type) {
        return Err(DropReason::PayloadType);
    }
    let admission = state
        .latch
        .on_rtp(flow.latch(), flow.signalled(), packet.source, &header);
    let found = found_by(admission, packet)?;
    // The packet that shows where a flow comes from counts, however fast somebody else was sending before.
    if !state.admits(flow, packet.length, now_ns) && found.is_none() {
        return Err(DropReason::Policed);
    }
    let tick = flow.tick();
    state.account.on_packet(&header, packet.length, now_ns, tick);
    let is_event = flow.is_event(payload_type);
    let content = if is_event { Content::Event } else { Content::Media };
    let head = match flow.forwarding() {
        Forwarding::On => state
            .sent
            .on_packet(flow.continuity(), content, &header, now_ns, tick, flow.ptime_ns()),
        Forwarding::Held => packet.head,
    };
    Ok(Admitted {
        head: rtp::with_payload_type(head, flow.outgoing_payload_type(payload_type)),
        found,
        copy: is_event.then_some(EventKind::TelephoneEvent),
    })
}

#[inline(always)]
fn admit_rtcp(flow: &Flow, state: &mut FlowState, packet: &PacketView, now_ns: u64) -> Result<Admitted, DropReason> {
    if packet.length < rtcp::MIN_LEN as u32 {
        return Err(DropReason::TooShort);
    }
    let [first, second] = rtp::first_bytes(&packet.head);
    if !rtcp::is_rtcp(first, second) {
        return Err(DropReason::NotRtcp);
    }
    let admission = state
        .latch
        .on_rtcp(flow.latch(), flow.signalled(), packet.beside.owner, packet.source);
    let found = found_by(admission, packet)?;
    // The packet that shows where a flow comes from counts, however fast somebody else was sending before.
    if !state.admits(flow, packet.length, now_ns) && found.is_none() {
        return Err(DropReason::Policed);
    }
    state.account.on_report(packet.length, now_ns);
    let mut head = packet.head;
    // The sender of the report is known to the far end by the SSRC of the media.
    if let Some(ssrc) = packet.beside.ssrc {
        head[1] = ssrc.to_be();
    }
    Ok(Admitted {
        head,
        found,
        copy: Some(EventKind::Rtcp),
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
fn route(flow: &Flow, state: &mut FlowState, admitted: &Admitted, now_ns: u64) -> Result<Forward, DropReason> {
    match flow.forwarding() {
        Forwarding::Held => return Err(DropReason::Held),
        Forwarding::On => {}
    }
    let destination = state.destination(flow);
    if destination.is_none() {
        return Err(DropReason::NoDestination);
    }
    Ok(Forward {
        headers: NewHeaders {
            source: flow.outgoing(),
            destination,
            tos: flow.tos() as u32,
        },
        head: admitted.head,
        next_hop: flow.next_hop_to(destination),
        departure: state.departure(flow, now_ns),
    })
}

#[cfg(test)]
mod tests {
    use crate::sockets::WorkerId;
    use proptest::prelude::*;

    use super::*;
    use crate::flow::FlowSpec;
    use crate::flow::tests::spec;
    use crate::latch::LatchMode;
    use crate::splice::Continuity;

    const CALLER: &str = "192.0.2.1:4000";
    const CALLEE: &str = "198.51.100.9:5000";

    fn address(text: &str) -> TransportAddress {
        TransportAddress::new(text.parse::<core::net::SocketAddr>().unwrap())
    }

    fn packet(from: &str, payload: &[u8]) -> PacketView {
        PacketView::new(address(from), payload)
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
        let caller = address(CALLER);
        assert_eq!(decision.found, caller);
        let forward = Forward {
            headers: NewHeaders {
                source: spec().outgoing,
                destination: address(CALLEE),
                tos: 0xb8,
            },
            head: rtp::head(&RTP),
            next_hop: NextHopId(5),
            departure: Departure::Now,
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
            Verdict::Forward(forward) => assert_eq!(rtp::first_bytes(&forward.head)[1], 0x80 | 96),
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
        let cases: [(FlowSpec, &str, &[u8], DropReason); 10] = [
            (spec(), CALLER, &RTP[..11], DropReason::TooShort),
            (spec(), CALLER, &[], DropReason::TooShort),
            (report, CALLER, &REPORT[..7], DropReason::TooShort),
            (spec(), CALLER, &[0; 12], DropReason::NotRtp),
            (report, CALLER, &RTP, DropReason::NotRtcp),
            (spec(), CALLER, &other_type, DropReason::PayloadType),
            (spec(), CALLEE, &RTP, DropReason::Probation),
            (
                FlowSpec {
                    latch: LatchMode::Strict,
                    ..spec()
                },
                CALLEE,
                &RTP,
                DropReason::WrongSource,
            ),
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
                    destination: TransportAddress::NONE,
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
            signalled: address(CALLEE),
            destination: address(CALLER),
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
            Verdict::Forward(forward) => assert_eq!(
                (forward.headers.destination, forward.next_hop),
                (address(nat), NextHopId::UNKNOWN)
            ),
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
        assert!(matches!(verdict, Verdict::Forward(forward) if forward.head[..2] == rtp::head(&REPORT)[..2]));
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
        let rtp_owner = address("198.51.100.9:1234");
        let verdict = decide(
            &rtcp,
            &mut state,
            &report.beside(Beside {
                owner: rtp_owner,
                ssrc: None,
            }),
            2,
        )
        .verdict;
        assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
    }

    #[test]
    fn reports_that_share_the_port_are_told_from_media() {
        let shared = Flow::new(&FlowSpec {
            rtcp_port: RtcpPort::Shared,
            ..spec()
        });
        assert!(packet(CALLER, &REPORT).is_rtcp_on(&shared));
        assert!(!packet(CALLER, &RTP).is_rtcp_on(&shared));
        assert!(!packet(CALLER, &REPORT[..7]).is_rtcp_on(&shared));
        assert!(!packet(CALLER, &REPORT).is_rtcp_on(&Flow::new(&spec())));
    }

    #[test]
    fn events_and_reports_are_copied_and_media_is_not() {
        let mut event = RTP;
        event[1] = 101;
        let rtcp = FlowSpec {
            kind: FlowKind::Rtcp,
            ..spec()
        };
        let copy = |spec: FlowSpec, payload: &[u8]| {
            decide(
                &Flow::new(&spec),
                &mut FlowState::default(),
                &packet(CALLER, payload),
                1,
            )
            .copy
        };
        assert_eq!(copy(spec(), &event), Some(EventKind::TelephoneEvent));
        assert_eq!(copy(rtcp, &REPORT), Some(EventKind::Rtcp));
        assert_eq!((copy(spec(), &RTP), copy(spec(), &[0; 12])), (None, None));
        let held = FlowSpec {
            forwarding: Forwarding::Held,
            ..spec()
        };
        assert_eq!(copy(held, &event), Some(EventKind::TelephoneEvent));
    }

    #[test]
    fn a_spliced_flow_gives_its_media_and_reports_one_ssrc() {
        let spliced = FlowSpec {
            continuity: Continuity::Spliced,
            ..spec()
        };
        let mut state = FlowState::default();
        let flow = Flow::new(&spliced);
        decide(&flow, &mut state, &packet(CALLER, &RTP), 1);
        let mut other = RTP;
        (other[3], other[11]) = (77, 99);
        match decide(&flow, &mut state, &packet(CALLER, &other), 20_000_001).verdict {
            Verdict::Forward(forward) => {
                let sent = RtpHeader::new(forward.head).unwrap();
                assert_eq!((sent.sequence(), sent.timestamp(), sent.ssrc()), (2, 320, 0x0102_0304));
            }
            verdict => panic!("{verdict:?}"),
        }
        let rtcp = Flow::new(&FlowSpec {
            kind: FlowKind::Rtcp,
            ..spliced
        });
        let mut report = REPORT;
        report[7] = 99;
        let view = packet(CALLER, &report).beside(state.beside(&rtcp));
        match decide(&rtcp, &mut FlowState::default(), &view, 1).verdict {
            Verdict::Forward(forward) => assert_eq!(forward.head[..2], rtp::head(&REPORT)[..2]),
            verdict => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn a_flood_from_the_owner_is_held_to_the_rate_and_counted() {
        let flow = Flow::new(&spec());
        let mut state = FlowState::default();
        let mut forwarded = 0;
        for _ in 0..1000 {
            if let Verdict::Forward(_) = decide(&flow, &mut state, &packet(CALLER, &RTP), 1).verdict {
                forwarded += 1;
            }
        }
        assert!(forwarded > 50 && forwarded < 150, "{forwarded}");
        assert_eq!(state.dropped(DropReason::Policed), 1000 - forwarded);
    }

    #[test]
    fn a_workers_packets_are_not_looked_at() {
        let flow = Flow::new(&FlowSpec::of_worker(3, WorkerId::NONE));
        let mut state = FlowState::default();
        let decision = decide(&flow, &mut state, &packet(CALLER, &RTP), 1);
        assert_eq!((decision.verdict, state), (Verdict::Worker, FlowState::default()));
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
            state.beside(&flow).owner
        };
        assert_eq!(beside(1, 0), address(CALLER));
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
                let from = TransportAddress::from_network(crate::address::Host::v4([192, 0, 2, from]), [15, 160]);
                match decide(&flow, &mut state, &PacketView::new(from, &payload), 1).verdict {
                    Verdict::NoFlow | Verdict::Worker => prop_assert!(false),
                    Verdict::Forward(_) => forwarded += 1,
                    Verdict::Drop(_) => {}
                }
            }
            prop_assert_eq!(forwarded + state.dropped_in_all(), packets.len() as u64);
            prop_assert_eq!(state.account.packets, forwarded);
        }
    }
}
