use core::net::SocketAddr;

use super::*;
use crate::drops::DropReason;
use crate::splice::SentStream;

fn address(text: &str) -> TransportAddress {
    TransportAddress::new(text.parse::<SocketAddr>().unwrap())
}

/// An RTP flow with telephone events, 101 here and 96 there.
pub(crate) fn spec() -> FlowSpec {
    FlowSpec {
        generation: 1,
        epoch: 0,
        kind: FlowKind::Rtp,
        signalled: address("192.0.2.1:4000"),
        outgoing: address("198.51.100.1:10002"),
        destination: address("198.51.100.9:5000"),
        next_hop: NextHopId(5),
        payload_types: PayloadTypes::of([0, 101]),
        rewrites: [PayloadRewrite { from: 0, to: 0 }, PayloadRewrite { from: 101, to: 96 }],
        events: Events::Second,
        tick: Tick::of_rate(8000),
        ptime: 20,
        forwarding: Forwarding::On,
        latch: LatchMode::Nat,
        rtcp_port: RtcpPort::Own,
        continuity: Continuity::Transparent,
        pacing: Pacing::Off,
        police: Police::of_rtp(20, 8),
        mirror: Mirror::Off,
        tos: 0xb8,
        peer: 7,
    }
}

#[test]
fn a_flow_says_what_its_spec_says() {
    let specs = [
        spec(),
        FlowSpec {
            kind: FlowKind::Rtcp,
            forwarding: Forwarding::Held,
            latch: LatchMode::Open,
            pacing: Pacing::Always,
            signalled: address("[2001:db8::1]:4000"),
            events: Events::None,
            ..spec()
        },
        FlowSpec {
            latch: LatchMode::Strict,
            rtcp_port: RtcpPort::Shared,
            continuity: Continuity::Spliced,
            pacing: Pacing::Auto,
            mirror: Mirror::On,
            ..spec()
        },
        FlowSpec::of_worker(9, WorkerId::new(3)),
    ];
    for spec in specs {
        assert_eq!(Flow::new(&spec).spec(), Some(spec));
    }
    assert_eq!(Flow::default().spec(), None);
    let flow = Flow::new(&spec());
    assert_eq!([0, 8, 101].map(|kind| flow.outgoing_payload_type(kind)), [0, 8, 96]);
    assert_eq!([0, 96, 101].map(|kind| flow.is_event(kind)), [false, false, true]);
    assert_eq!((flow.ptime_ns(), flow.tos()), (20_000_000, 0xb8));
}

#[test]
fn a_next_hop_is_for_the_destination_it_was_found_for() {
    let flow = Flow::new(&spec());
    assert_eq!(flow.next_hop_to(spec().destination), NextHopId(5));
    assert_eq!(flow.next_hop_to(address("198.51.100.9:5002")), NextHopId::UNKNOWN);
}

#[test]
fn payload_type_sets_hold_what_they_were_given() {
    let set = PayloadTypes::of([0, 63, 64, 127, 128, 255]);
    for kind in 0..=255 {
        assert_eq!(set.contains(kind), [0, 63, 64, 127].contains(&kind), "{kind}");
    }
}

#[test]
fn a_new_generation_begins_afresh_and_a_new_epoch_keeps_the_counts() {
    let mut state = FlowState::default();
    let flow = Flow::new(&spec());
    let found = address("203.0.113.5:2313");
    state.peer_found(&flow, found);
    state.on_forwarded();
    state.on_dropped(DropReason::Held);
    assert_eq!(state.destination(&flow), found);

    let moved = Flow::new(&FlowSpec { epoch: 1, ..spec() });
    state.enter(&moved);
    assert_eq!(state.destination(&moved), moved.destination());
    assert_eq!(
        (state.forwarded, state.dropped(DropReason::Held), state.dropped_in_all()),
        (1, 1, 1)
    );

    let next = Flow::new(&FlowSpec {
        generation: 4,
        ..spec()
    });
    assert!(!state.belongs_to(&next));
    let resumed = state.moved_to(&next);
    assert!(resumed.belongs_to(&next));
    assert_eq!(resumed.forwarded, 1);
    state.enter(&next);
    assert!(state.belongs_to(&next));
    assert_eq!((state.forwarded, state.dropped_in_all()), (0, 0));
}

#[test]
fn a_flow_that_leads_to_another_leg_goes_on_from_what_that_leg_was_sent() {
    let flow = Flow::new(&spec());
    let found = address("203.0.113.5:2313");
    let sent = SentStream::left_at(9, 8, 7, 6);
    let mut state = FlowState::default();
    state.lead_to(found, sent, 3);
    let mut state = state.moved_to(&flow);
    state.enter(&flow);
    assert_eq!(
        (state.destination(&flow), state.sent, state.forwarded),
        (found, sent, 3)
    );
    state.open_latch();
    assert_eq!((state.destination(&flow), state.sent), (flow.destination(), sent));
}

#[test]
fn what_two_lanes_have_counted_adds_up() {
    let packet = |sequence: u8| {
        let bytes = [0x80, 0, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 1];
        crate::rtp::RtpHeader::parse(&bytes).unwrap()
    };
    let hear = |state: &mut FlowState, sequence: u8| {
        state.account.on_packet(&packet(sequence), 172, 1, Tick::of_rate(8000));
        state.on_forwarded();
    };
    // The third packet is heard by the one, the fourth by the other.
    for first in [1, 3] {
        let mut before = FlowState::default();
        (first..3).for_each(|sequence| hear(&mut before, sequence));
        let (mut one, mut other) = (before, before);
        hear(&mut one, 3);
        one.on_dropped(DropReason::Held);
        hear(&mut other, 4);
        other.add(&one.counted_since(&before));
        let all = u64::from(5 - first);
        assert_eq!((other.account.packets, other.account.bytes), (all, all * 172));
        assert_eq!((other.account.lost(), other.forwarded), (0, all));
        assert_eq!(other.dropped(DropReason::Held), 1);
    }
}
