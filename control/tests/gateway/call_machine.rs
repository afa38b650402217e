//! The call state machine: what carriers and agents see of it, and what may never happen.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use voxlane::call::targets::Way;
use voxlane::call::transfer::{self, Asker, By, Order, Outcome, Ringing, Target};
use voxlane::call::{Action, Call, CallId, Cause, Event, Origin, Outbound, Party, Phase, Plan, Setup, Side};
use voxlane::config::model::{HostPort, KeysInClear, LegMedia, Redirects, SdpIdentity, SrtpPolicy, Transcode};
use voxlane::route::identity::Identity;
use voxlane::sdp::Crypto;
use voxlane::sip::locate::{Destination, Place};
use voxlane::sip::{Address, Failure, Privacy, Termination, Transport, UserPhone};
use voxlane::time::Time;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{AgentFailure, Endpoint, EndpointId, LatchMode, Pacing, RtcpPort, Session};
use voxlane_dataplane::srtp::{Keying, SrtpKeys, Suite};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n";
const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=audio 50000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\n";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn agent_plan(host: bool) -> Plan {
    let host = host.then(|| HostPort {
        host: "bot.example".into(),
        port: 80,
    });
    Plan::Agent {
        name: "bot".into(),
        host,
    }
}

fn way(host: &str, gateway: u8) -> Way {
    Way {
        place: Place {
            host: host.into(),
            port: None,
            transport: None,
        },
        gateway: Some(gateway),
        request_uri: None,
    }
}

/// The place that was to be located is here.
fn located(addresses: &[&str]) -> Event {
    let at = |text: &&str| Destination {
        remote: address(text),
        transport: Transport::Udp,
    };
    Event::Located(addresses.iter().map(at).collect())
}

fn trunk_plan() -> Plan {
    let party = |user: &str| Address {
        display: String::new(),
        user: user.into(),
        host: "c.example".into(),
        port: None,
    };
    Plan::Trunk(Box::new(Outbound {
        ways: vec![way("c.example", 0)],
        patience: Duration::from_secs(4),
        redirects: Redirects::Any,
        request_uri: party("+15551000"),
        identity: Identity {
            from: party("+15550100"),
            asserted: None,
            privacy: Privacy::None,
        },
        to: party("+15551000"),
        user_phone: UserPhone::Off,
        max_forwards: 69,
        codecs: Codec::ALL.to_vec(),
        media: LegMedia {
            pacing: Pacing::Auto,
            ..LegMedia::default()
        },
    }))
}

fn call(plan: Plan, offer: Option<&str>) -> Call {
    let setup = Setup {
        id: CallId(1),
        origin: Origin::Caller,
        offer: offer.map(|offer| offer.as_bytes().to_vec()),
        remote: address("192.0.2.1:5060"),
        transport: Transport::Udp,
        identity: SdpIdentity {
            origin_user: "trusst".into(),
            session_name: "test".into(),
        },
        session_id: 1000,
        codecs: Codec::ALL.to_vec(),
        media: LegMedia {
            latch: LatchMode::Open,
            ..LegMedia::default()
        },
        ptime: 20,
        plan,
    };
    Call::new(setup, Time::ZERO)
}

/// A call that an agent places.
fn placed_call() -> Call {
    let mut setup = call(trunk_plan(), None).setup().clone();
    setup.origin = Origin::Agent {
        name: "bot".into(),
        host: Some(HostPort {
            host: "bot.example".into(),
            port: 443,
        }),
    };
    Call::new(setup, Time::ZERO)
}

/// A call on a trunk with `srtp = "required"`.
fn secured_call(plan: Plan, offer: &str, in_clear: KeysInClear) -> Call {
    let mut setup = call(plan, Some(offer)).setup().clone();
    setup.media.srtp = SrtpPolicy::Required;
    setup.media.srtp_keys_in_clear = in_clear;
    Call::new(setup, Time::ZERO)
}

fn on(call: &mut Call, event: Event) -> Vec<Action> {
    call.on(event, Time::ZERO)
}

fn opened(side: Side) -> Event {
    let (id, rtp) = match side {
        Side::A => (1, "203.0.113.50:10000"),
        Side::B => (2, "203.0.113.50:10002"),
        Side::C => (3, "203.0.113.50:10004"),
    };
    Event::MediaOpened {
        side,
        endpoint: Endpoint {
            id: EndpointId(id),
            rtp: address(rtp),
        },
    }
}

/// A relayed call, as far as leg B's INVITE.
fn dialled() -> Call {
    let mut call = call(trunk_plan(), Some(OFFER));
    on(&mut call, Event::Start);
    let actions = on(&mut call, opened(Side::A));
    assert!(matches!(&actions[..], [Action::Locate(_)]), "{actions:?}");
    on(&mut call, located(&["192.0.2.2:5060"]));
    let actions = on(&mut call, opened(Side::B));
    assert!(matches!(&actions[..], [Action::Invite { .. }]), "{actions:?}");
    call
}

fn text(sdp: &[u8]) -> String {
    String::from_utf8(sdp.to_vec()).unwrap()
}

/// What a leg is programmed with.
fn programmed(actions: &[Action], wanted: Side) -> &Session {
    let found = actions.iter().find_map(|action| match action {
        Action::Program { side, session } if *side == wanted => Some(session),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("leg {wanted} is not programmed: {actions:?}"))
}

#[path = "call_support/refers.rs"]
mod refers;
#[path = "call_support/transfers.rs"]
mod transfers;

#[test]
fn each_leg_is_treated_as_its_own_trunk_says() {
    let mut call = dialled();
    let actions = on(
        &mut call,
        Event::Answered {
            sdp: Some(ANSWER.into()),
        },
    );
    let [a, b] = [Side::A, Side::B].map(|side| programmed(&actions, side));
    assert_eq!((a.latch, a.pacing), (LatchMode::Open, Pacing::Off));
    assert_eq!((b.latch, b.pacing), (LatchMode::Nat, Pacing::Auto));
}

#[test]
fn rtcp_mux_is_agreed_with_the_caller_alone_and_kept_when_an_offer_is_asked_for() {
    let offer = format!("{OFFER}a=rtcp-mux\r\n");
    let mut call = call(trunk_plan(), Some(&offer));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, located(&["192.0.2.2:5060"]));
    let actions = on(&mut call, opened(Side::B));
    let [Action::Invite { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(!text(sdp).contains("rtcp-mux"), "{}", text(sdp));
    let actions = on(
        &mut call,
        Event::Answered {
            sdp: Some(ANSWER.into()),
        },
    );
    let [a, b] = [Side::A, Side::B].map(|side| programmed(&actions, side));
    assert_eq!((a.rtcp_port, a.remote_rtcp), (RtcpPort::Shared, a.remote_rtp));
    assert_eq!(b.rtcp_port, RtcpPort::Own);
    let Some(Action::Answer { sdp, .. }) = actions.last() else {
        panic!("{actions:?}")
    };
    assert!(text(sdp).contains("a=rtcp-mux\r\n"), "{}", text(sdp));
    // A refresh without SDP: had our offer left it out, the answer would have ended it.
    let confirmed = |sdp: Option<&str>| Event::Confirmed {
        side: Side::A,
        sdp: sdp.map(Into::into),
    };
    on(&mut call, confirmed(None));
    let refresh = Event::Reinvite {
        side: Side::A,
        sdp: None,
    };
    let actions = on(&mut call, refresh);
    let [Action::Answer { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(text(sdp).contains("a=rtcp-mux\r\n"), "{}", text(sdp));
    let actions = on(&mut call, confirmed(Some(&offer)));
    assert_eq!(programmed(&actions, Side::A).rtcp_port, RtcpPort::Shared);
}

#[test]
fn keys_are_kept_with_the_leg_they_were_pressed_on() {
    let mut call = dialled();
    for (side, digit) in [(Side::A, '1'), (Side::B, '9'), (Side::A, '#')] {
        let duration = Duration::from_millis(100);
        assert!(on(&mut call, Event::Digit { side, digit, duration }).is_empty());
    }
    assert_eq!((call.digits(Side::A), call.digits(Side::B)), ("1#", "9"));
}

#[test]
fn an_agent_call_is_answered_when_the_agent_is_there() {
    let mut call = call(agent_plan(true), Some(OFFER));
    assert!(matches!(
        on(&mut call, Event::Start)[..],
        [Action::OpenMedia { side: Side::A, .. }]
    ));
    assert!(matches!(on(&mut call, opened(Side::A))[..], [Action::Resolve(_)]));
    let actions = on(&mut call, Event::Resolved(vec![address("192.0.2.9:80")]));
    assert!(
        matches!(actions[..], [Action::Attach { .. }, Action::Ring { status: 180, .. }]),
        "{actions:?}"
    );
    let actions = on(&mut call, Event::AgentReady);
    let [
        Action::Program { side: Side::A, session },
        Action::Answer { side: Side::A, sdp },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    // Our preference decides (I5): PCMU, although the caller named PCMA first.
    assert_eq!(session.codec, Codec::Pcmu);
    assert!(text(sdp).contains("m=audio 10000 RTP/AVP 0 96\r\n"), "{}", text(sdp));
    assert!(
        on(
            &mut call,
            Event::Confirmed {
                side: Side::A,
                sdp: None
            }
        )
        .is_empty()
    );
    assert_eq!(call.phase(), Phase::Up);

    let actions = on(
        &mut call,
        Event::Bye {
            side: Side::A,
            reason: None,
        },
    );
    let Action::Finish(cause) = actions.last().unwrap() else {
        panic!("{actions:?}")
    };
    assert_eq!((cause.by, cause.status), (Party::Caller, None));
    assert!(actions.contains(&Action::CloseMedia { side: Side::A }));
}

#[test]
fn an_agent_that_cannot_be_reached_refuses_the_call() {
    let mut call = call(agent_plan(false), Some(OFFER));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    let actions = on(
        &mut call,
        Event::AgentFailed(AgentFailure::Refused("403 Forbidden".into())),
    );
    assert!(
        matches!(
            &actions[..],
            [
                Action::Reject { side: Side::A, status: 480, text },
                Action::CloseMedia { side: Side::A },
                Action::Finish(Cause { by: Party::Agent, status: Some(480), .. }),
            ] if text.contains("403")
        ),
        "{actions:?}"
    );
}

#[test]
fn an_agent_that_dies_hangs_up() {
    let mut call = call(agent_plan(false), Some(OFFER));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, Event::AgentReady);
    on(
        &mut call,
        Event::Confirmed {
            side: Side::A,
            sdp: None,
        },
    );
    let actions = on(&mut call, Event::AgentFailed(AgentFailure::Lost("reset".into())));
    assert!(
        matches!(
            &actions[..],
            [Action::HangUp { side: Side::A, .. }, Action::CloseMedia { .. }]
        ),
        "{actions:?}"
    );
    let actions = on(
        &mut call,
        Event::Terminated {
            side: Side::A,
            cause: Termination::ByeAnswered,
        },
    );
    assert!(
        matches!(&actions[..], [Action::Finish(Cause { by: Party::Agent, .. })]),
        "{actions:?}"
    );
}

#[test]
fn a_relayed_call_agrees_on_one_codec_end_to_end() {
    let mut call = dialled();
    assert!(matches!(
        on(&mut call, Event::Progress { status: 180, sdp: None })[..],
        [Action::Ring { status: 180, .. }]
    ));
    let actions = on(
        &mut call,
        Event::Answered {
            sdp: Some(ANSWER.into()),
        },
    );
    let [
        Action::Program {
            side: Side::B,
            session: b,
        },
        Action::Program {
            side: Side::A,
            session: a,
        },
        Action::Relay,
        Action::Answer { side: Side::A, sdp },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((a.codec, b.codec), (Codec::Pcma, Codec::Pcma));
    assert_eq!(a.telephone_event, b.telephone_event);
    assert!(text(sdp).contains("RTP/AVP 8 96\r\n"), "{}", text(sdp));
}

/// SDP with these payload types.
fn sdp_of(payload_types: &str) -> Vec<u8> {
    format!(
        "v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 50000 RTP/AVP {payload_types}\r\n\
         a=rtpmap:96 telephone-event/8000\r\n"
    )
    .into_bytes()
}

fn answered_with(call: &mut Call, payload_types: &str) -> Vec<Action> {
    let sdp = Some(sdp_of(payload_types));
    on(call, Event::Answered { sdp })
}

#[test]
fn a_callee_that_wants_another_codec_gets_it_and_the_caller_one_of_his() {
    let mut call = dialled();
    let actions = answered_with(&mut call, "9 96");
    let [a, b] = [Side::A, Side::B].map(|side| programmed(&actions, side));
    assert_eq!((a.codec, b.codec), (Codec::Pcmu, Codec::G722));
    assert!(actions.contains(&Action::Relay));
    assert!(matches!(&actions[..], [.., Action::Answer { side: Side::A, sdp }] if text(sdp).contains("RTP/AVP 0 96")));
}

#[test]
fn a_reinvite_makes_the_legs_agree_if_it_can() {
    let mut call = dialled();
    answered_with(&mut call, "9 96");
    on(
        &mut call,
        Event::Confirmed {
            side: Side::A,
            sdp: None,
        },
    );
    // It does not offer the codec of the other leg.
    let reinvite = |call: &mut Call, side, payload_types| {
        let sdp = Some(sdp_of(payload_types));
        programmed(&on(call, Event::Reinvite { side, sdp }), side).codec
    };
    assert_eq!(reinvite(&mut call, Side::A, "8 96"), Codec::Pcma);
    assert_eq!(reinvite(&mut call, Side::A, "0 9 96"), Codec::G722);
    assert_eq!(reinvite(&mut call, Side::B, "8 9 96"), Codec::G722);
}

/// The same SDP with media in this direction.
fn directed(attribute: &str) -> Vec<u8> {
    [sdp_of("0 96"), format!("a={attribute}\r\n").into_bytes()].concat()
}

#[test]
fn the_other_leg_is_told_of_hold_and_of_its_end_once() {
    let mut call = dialled();
    answered_with(&mut call, "0 96");
    on(
        &mut call,
        Event::Confirmed {
            side: Side::A,
            sdp: None,
        },
    );
    // Whichever leg holds, by whichever request.
    for (side, update) in [(Side::A, false), (Side::B, true)] {
        let mut change = |attribute: &str| {
            let sdp = directed(attribute);
            let event = match update {
                true => Event::Update { side, sdp },
                false => Event::Reinvite { side, sdp: Some(sdp) },
            };
            let actions = on(&mut call, event);
            let answered = actions.iter().any(|action| match action {
                Action::Answer { side: of, .. } => *of == side && !update,
                Action::AnswerUpdate { side: of, .. } => *of == side && update,
                _ => false,
            });
            assert!(answered, "{actions:?}");
            let offered = actions.iter().find_map(|action| match action {
                Action::Offer { side: to, sdp } => {
                    assert_eq!(*to, side.other().unwrap());
                    Some(text(sdp))
                }
                _ => None,
            });
            if offered.is_some() {
                let sdp = Some(sdp_of("0 96"));
                let actions = on(
                    &mut call,
                    Event::OfferAnswered {
                        side: side.other().unwrap(),
                        sdp,
                    },
                );
                programmed(&actions, side.other().unwrap());
            }
            offered
        };
        let held = change("sendonly").expect("an offer");
        assert!(held.contains("a=sendonly\r\n") && held.contains("RTP/AVP 0 "), "{held}");
        assert_eq!(change("sendonly"), None);
        assert!(change("inactive").expect("an offer").contains("a=inactive\r\n"));
        let resumed = change("sendrecv").expect("an offer");
        assert!(
            !resumed.contains("a=inactive") && !resumed.contains("a=sendonly"),
            "{resumed}"
        );
        assert_eq!(change("sendrecv"), None);
    }
}

#[test]
fn hold_that_the_other_leg_refuses_to_hear_of_is_tried_again_at_the_next_change() {
    let mut call = dialled();
    answered_with(&mut call, "0 96");
    let hold = |call: &mut Call, attribute: &str| {
        let sdp = Some(directed(attribute));
        let actions = on(call, Event::Reinvite { side: Side::A, sdp });
        actions.iter().any(|action| matches!(action, Action::Offer { .. }))
    };
    assert!(hold(&mut call, "sendonly"));
    on(&mut call, Event::OfferRefused { side: Side::B });
    // It was never told of the hold, so there is no end of it to tell of.
    assert!(!hold(&mut call, "sendrecv"));
    assert!(hold(&mut call, "sendonly"));
}

#[test]
fn a_refresh_that_is_answered_otherwise_moves_the_media() {
    let mut call = dialled();
    answered_with(&mut call, "0 96");
    let moved = text(&sdp_of("0 96")).replace("50000", "50002");
    // Leg A's session is an answer of ours, leg B's an offer.
    for side in [Side::A, Side::B] {
        let sdp = Some(moved.clone().into_bytes());
        let actions = on(&mut call, Event::OfferAnswered { side, sdp });
        assert_eq!(
            programmed(&actions, side).remote_rtp,
            address("192.0.2.2:50002"),
            "{side}"
        );
        // What is no answer changes nothing.
        assert_eq!(on(&mut call, Event::OfferAnswered { side, sdp: None }), []);
    }
}

#[test]
fn where_nothing_is_transcoded_the_callee_is_offered_what_the_caller_has() {
    let Plan::Trunk(mut outbound) = trunk_plan() else {
        panic!("a trunk")
    };
    outbound.media.transcode = Transcode::Off;
    let mut call = call(Plan::Trunk(outbound), Some(OFFER));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, located(&["192.0.2.2:5060"]));
    let actions = on(&mut call, opened(Side::B));
    let [Action::Invite { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(text(sdp).contains("RTP/AVP 0 8 96\r\n"), "{}", text(sdp));
    let actions = answered_with(&mut call, "9 96");
    assert!(matches!(actions[0], Action::Reject { status: 502, .. }), "{actions:?}");
}

#[test]
fn a_caller_without_an_offer_is_offered_the_callees_codec_first() {
    let mut call = call(trunk_plan(), None);
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, located(&["192.0.2.2:5060"]));
    on(&mut call, opened(Side::B));
    let actions = answered_with(&mut call, "9 96");
    let [_, Action::Answer { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(text(sdp).contains("RTP/AVP 9 0 8 101\r\n"), "{}", text(sdp));
    let sdp = Some(sdp_of("0 96"));
    let actions = on(&mut call, Event::Confirmed { side: Side::A, sdp });
    assert_eq!(programmed(&actions, Side::A).codec, Codec::Pcmu);
    assert!(actions.contains(&Action::Relay));
}

#[test]
fn early_media_is_relayed_and_its_answer_stands() {
    let mut call = dialled();
    let actions = on(
        &mut call,
        Event::Progress {
            status: 183,
            sdp: Some(ANSWER.into()),
        },
    );
    let Some(Action::Ring {
        status: 183,
        sdp: Some(early),
    }) = actions.last()
    else {
        panic!("{actions:?}")
    };
    assert!(actions.contains(&Action::Relay));
    let actions = on(&mut call, Event::Answered { sdp: None });
    assert!(
        matches!(&actions[..], [Action::Answer { sdp, .. }] if sdp == early),
        "{actions:?}"
    );
}

#[test]
fn a_delayed_offer_is_answered_in_the_ack() {
    let mut call = call(agent_plan(false), None);
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    let actions = on(&mut call, Event::AgentReady);
    let [Action::Answer { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(text(sdp).contains("RTP/AVP 0 8 9 101\r\n"), "{}", text(sdp));
    let actions = on(
        &mut call,
        Event::Confirmed {
            side: Side::A,
            sdp: Some(ANSWER.into()),
        },
    );
    assert!(matches!(&actions[..], [Action::Program { side: Side::A, session }] if session.codec == Codec::Pcma));
}

#[test]
fn a_callee_that_refuses_is_passed_on_and_our_own_troubles_are_not() {
    for (theirs, ours) in [
        (486, 486),
        (404, 404),
        (603, 603),
        (401, 502),
        (407, 502),
        (302, 502),
        (422, 502),
        (483, 483),
    ] {
        let mut call = dialled();
        let actions = on(
            &mut call,
            Event::Failed {
                status: theirs,
                reason: "because".into(),
                failure: Failure::refused(),
            },
        );
        assert!(
            matches!(actions[0], Action::Reject { status, .. } if status == ours),
            "{theirs}: {actions:?}"
        );
        assert!(matches!(actions.last(), Some(Action::Finish(_))));
    }
}

#[test]
fn a_leg_without_media_ends_both_and_says_why() {
    let mut call = dialled();
    on(
        &mut call,
        Event::Answered {
            sdp: Some(ANSWER.as_bytes().to_vec()),
        },
    );
    let quiet = Duration::from_secs(60);
    let actions = on(&mut call, Event::MediaTimeout { side: Side::B, quiet });
    let why = "Q.850;cause=102;text=\"no media from leg b for 60 s\"";
    let told: Vec<Side> = actions
        .iter()
        .filter_map(|action| match action {
            Action::HangUp { side, text } if text == why => Some(*side),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Side::A, Side::B], "{actions:?}");
    for side in told {
        on(
            &mut call,
            Event::Terminated {
                side,
                cause: Termination::ByeAnswered,
            },
        );
    }
    assert_eq!(call.phase(), Phase::Ended);
}

#[test]
fn a_caller_that_gives_up_stops_the_ringing() {
    let mut call = dialled();
    let actions = on(&mut call, Event::Cancelled);
    assert!(matches!(
        actions[..],
        [
            Action::CloseMedia { .. },
            Action::HangUp { side: Side::B, .. },
            Action::CloseMedia { .. }
        ]
    ));
    let actions = on(
        &mut call,
        Event::Failed {
            status: 487,
            reason: "Request Terminated".into(),
            failure: Failure::TakenBack,
        },
    );
    assert!(matches!(
        &actions[..],
        [Action::Finish(Cause {
            by: Party::Caller,
            status: Some(487),
            ..
        })]
    ));
}

#[test]
fn a_caller_whose_media_cannot_run_is_refused_rather_than_answered() {
    let mut call = dialled();
    let actions = on(
        &mut call,
        Event::Answered {
            sdp: Some(ANSWER.into()),
        },
    );
    assert!(matches!(actions.last(), Some(Action::Answer { .. })));
    // The gateway has not carried that last one out.
    assert!(on(&mut call, Event::AnswerWithheld).is_empty());
    let failed = Event::MediaFailed {
        side: Side::B,
        status: 503,
        error: "no".into(),
    };
    let actions = on(&mut call, failed);
    assert!(
        matches!(
            &actions[0],
            Action::Reject {
                side: Side::A,
                status: 503,
                ..
            }
        ),
        "{actions:?}"
    );
    assert!(
        matches!(&actions[2], Action::HangUp { side: Side::B, .. }),
        "{actions:?}"
    );
    assert_eq!(call.answered(), None);
}

#[test]
fn nothing_acceptable_is_488_and_damage_is_400() {
    for (offer, status) in [
        (
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4 RTP/AVP 18\r\n",
            488,
        ),
        ("not sdp", 400),
    ] {
        let mut call = call(agent_plan(false), Some(offer));
        let mut actions = on(&mut call, Event::Start);
        if let [Action::OpenMedia { .. }] = actions[..] {
            actions = on(&mut call, opened(Side::A));
        }
        assert!(
            matches!(actions[0], Action::Reject { status: given, .. } if given == status),
            "{actions:?}"
        );
    }
}

#[test]
fn state_survives_being_stored() {
    let mut call = dialled();
    on(
        &mut call,
        Event::Progress {
            status: 183,
            sdp: Some(ANSWER.into()),
        },
    );
    let mut stored: Call = serde_json::from_str(&serde_json::to_string(&call).unwrap()).unwrap();
    let answered = || Event::Answered { sdp: None };
    assert_eq!(on(&mut stored, answered()), on(&mut call, answered()));
}

#[test]
fn an_agent_that_places_a_call_is_connected_once_it_is_answered() {
    let mut call = placed_call();
    let invited = |call: &mut Call| {
        let looked_up = on(call, Event::Start);
        assert!(!looked_up.is_empty() && !looked_up.iter().any(|a| matches!(a, Action::OpenMedia { .. })));
        let transport = Transport::Udp;
        let remote = address("192.0.2.2:5060");
        on(call, Event::Located(vec![Destination { remote, transport }]));
        on(call, opened(Side::B))
    };
    let actions = invited(&mut call);
    let [Action::Invite { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(text(sdp).contains("m=audio"), "{}", text(sdp));
    assert_eq!(call.agent(), Some(("bot", Side::B)));
    // It rings; with early media, where that goes is agreed already.
    let ringing = |sdp: Option<&str>| Event::Progress {
        status: 180,
        sdp: sdp.map(Into::into),
    };
    assert_eq!(on(&mut call, ringing(None)), []);
    programmed(&on(&mut call, ringing(Some(ANSWER))), Side::B);
    let actions = on(&mut call, Event::Answered { sdp: None });
    assert!(
        matches!(&actions[..], [Action::Resolve(host)] if host.host == "bot.example"),
        "{actions:?}"
    );
    assert_eq!(call.phase(), Phase::Answering);
    let addresses = vec![address("192.0.2.9:443")];
    let actions = on(&mut call, Event::Resolved(addresses.clone()));
    assert_eq!(actions, [Action::Attach { addresses }]);
    assert_eq!(on(&mut call, Event::AgentReady), []);
    assert_eq!(call.phase(), Phase::Up);
    let actions = on(&mut call, Event::AgentEnded);
    assert!(matches!(
        &actions[..],
        [
            Action::HangUp { side: Side::B, .. },
            Action::CloseMedia { side: Side::B }
        ]
    ));

    // The agent is not there: who has answered is hung up on.
    let mut call = placed_call();
    invited(&mut call);
    let answer = Event::Answered {
        sdp: Some(ANSWER.into()),
    };
    programmed(&on(&mut call, answer), Side::B);
    let actions = on(&mut call, Event::Unresolved("no such host".into()));
    assert!(matches!(
        &actions[..],
        [
            Action::HangUp { side: Side::B, .. },
            Action::CloseMedia { side: Side::B }
        ]
    ));

    // Engaged: that is all there is to it.
    let mut call = placed_call();
    invited(&mut call);
    let actions = on(
        &mut call,
        Event::Failed {
            status: 486,
            reason: "Busy Here".into(),
            failure: Failure::refused(),
        },
    );
    assert!(
        matches!(&actions[..], [Action::CloseMedia { side: Side::B }, Action::Finish(_)]),
        "{actions:?}"
    );
}

#[test]
fn the_offer_of_appendix_a_comes_out_line_for_line() {
    let mut setup = call(agent_plan(false), None).setup().clone();
    setup.session_id = 1_234_567_890;
    setup.codecs = vec![Codec::Pcmu, Codec::Pcma];
    setup.identity.session_name = "Trusst AI Voice Session".into();
    let mut call = Call::new(setup, Time::ZERO);
    on(&mut call, Event::Start);
    let endpoint = Endpoint {
        id: EndpointId(1),
        rtp: address("203.0.113.50:16000"),
    };
    let side = Side::A;
    on(&mut call, Event::MediaOpened { side, endpoint });
    let actions = on(&mut call, Event::AgentReady);
    let Some(Action::Answer { sdp, .. }) = actions.last() else {
        panic!("{actions:?}")
    };
    let lines = [
        "v=0",
        "o=trusst 1234567890 1234567891 IN IP4 203.0.113.50",
        "s=Trusst AI Voice Session",
        "c=IN IP4 203.0.113.50",
        "t=0 0",
        "m=audio 16000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "",
    ];
    assert_eq!(text(sdp), lines.join("\r\n"));
}

#[test]
fn a_stream_that_was_refused_keeps_its_place_in_our_offers() {
    let video = "m=video 50000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";
    for offer in [
        format!("{OFFER}{video}"),
        OFFER.replace("m=audio", &format!("{video}m=audio")),
    ] {
        let mut call = call(agent_plan(false), Some(&offer));
        on(&mut call, Event::Start);
        on(&mut call, opened(Side::A));
        on(&mut call, Event::AgentReady);
        on(
            &mut call,
            Event::Confirmed {
                side: Side::A,
                sdp: None,
            },
        );
        let asked = Event::Reinvite {
            side: Side::A,
            sdp: None,
        };
        let actions = on(&mut call, asked);
        let [Action::Answer { sdp, .. }] = &actions[..] else {
            panic!("{actions:?}")
        };
        let sdp = text(sdp);
        let streams: Vec<&str> = sdp.lines().filter(|line| line.starts_with("m=")).collect();
        let at = streams.iter().position(|line| *line == "m=video 0 RTP/AVP 96");
        let theirs = offer.lines().filter(|line| line.starts_with("m="));
        assert_eq!(at, theirs.clone().position(|line| line.starts_with("m=video")), "{sdp}");
        assert_eq!(streams.len(), theirs.count());
    }
}

/// The world around a call, for random walks: what is open, which dialogs are alive.
#[derive(Default)]
struct World {
    media: [bool; 3],
    dialogs: [bool; 3],
    /// Whether what is refused from now on are re-INVITEs.
    answered: bool,
    finished: usize,
    replies: Vec<Event>,
}

impl World {
    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert_eq!(self.finished, 0, "{action:?} after Finish");
            match action {
                Action::OpenMedia { side, .. } => {
                    self.media[side as usize] = true;
                    self.replies.push(opened(side));
                }
                Action::CloseMedia { side } => {
                    assert!(self.media[side as usize], "closed twice: {side:?}");
                    self.media[side as usize] = false;
                }
                Action::Invite { .. } => self.dialogs[1] = true,
                Action::Reject {
                    side: Side::A, status, ..
                } if !self.answered && status != 491 => self.dialogs[0] = false,
                Action::Answer { .. } => self.answered = true,
                Action::HangUp { side, .. } => {
                    assert!(self.dialogs[side as usize], "hung up a dialog that is gone");
                    self.replies.push(Event::Terminated {
                        side,
                        cause: Termination::ByeAnswered,
                    });
                }
                Action::Finish(_) => self.finished += 1,
                Action::Program { side, .. } => assert!(self.media[side as usize], "programmed closed media"),
                Action::Relay => assert!(self.media[..2] == [true, true], "relayed closed media"),
                Action::Transfer(transfer::Action::Invite { .. }) => self.dialogs[2] = true,
                Action::Transfer(transfer::Action::Replace { side }) => {
                    self.media.swap(side as usize, 2);
                    self.dialogs.swap(side as usize, 2);
                }
                Action::Transfer(transfer::Action::TakePlace { side }) => {
                    self.dialogs.swap(side as usize, 2);
                }
                Action::Transfer(transfer::Action::RingBack { side }) => {
                    assert!(self.media[side as usize], "a tone for closed media");
                }
                Action::Transfer(transfer::Action::Reattach { .. }) => {
                    assert!(self.media[0], "an agent for closed media");
                }
                Action::Transfer(transfer::Action::Refer { side }) => {
                    assert!(self.dialogs[side as usize], "referred a dialog that is gone");
                }
                Action::Transfer(
                    transfer::Action::Wake(_) | transfer::Action::Tell(_) | transfer::Action::Report { .. },
                ) => {}
                Action::Offer { side, .. } => assert!(self.dialogs[side as usize], "offered to a dialog that is gone"),
                Action::AnswerUpdate { .. } | Action::RejectUpdate { .. } => {}
                Action::Reject { .. }
                | Action::Resolve(_)
                | Action::Locate(_)
                | Action::Attach { .. }
                | Action::Ring { .. } => {}
            }
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let side = prop_oneof![Just(Side::A), Just(Side::B), Just(Side::C)];
    let sdp = prop_oneof![
        Just(None),
        Just(Some(ANSWER.into())),
        Just(Some(OFFER.into())),
        Just(Some(b"junk".to_vec()))
    ];
    prop_oneof![
        Just(located(&["192.0.2.2:5060"])),
        Just(Event::Resolved(vec![])),
        Just(Event::Unresolved("no".into())),
        Just(Event::AgentReady),
        Just(Event::AgentEnded),
        Just(Event::AgentFailed(AgentFailure::Timeout("connecting"))),
        sdp.clone().prop_map(|sdp| Event::Progress { status: 183, sdp }),
        sdp.clone().prop_map(|sdp| Event::Answered { sdp }),
        Just(Event::Failed {
            status: 486,
            reason: "Busy Here".into(),
            failure: Failure::refused(),
        }),
        Just(Event::Failed {
            status: 503,
            reason: "Service Unavailable".into(),
            failure: Failure::refused(),
        }),
        (side.clone(), sdp.clone()).prop_map(|(side, sdp)| Event::Confirmed { side, sdp }),
        Just(Event::Cancelled),
        (side.clone(), sdp.clone()).prop_map(|(side, sdp)| Event::Reinvite { side, sdp }),
        (side.clone(), sdp.clone()).prop_map(|(side, sdp)| Event::Update {
            side,
            sdp: sdp.unwrap_or_default()
        }),
        (side.clone(), sdp).prop_map(|(side, sdp)| Event::OfferAnswered { side, sdp }),
        side.clone().prop_map(|side| Event::OfferRefused { side }),
        side.clone().prop_map(|side| Event::Bye { side, reason: None }),
        side.prop_map(|side| Event::MediaFailed {
            side,
            status: 503,
            error: "no port".into()
        }),
        Just(Event::Stop { text: "stop".into() }),
        any_transfer().prop_map(Event::Transfer),
        any_transfer().prop_map(Event::Transfer),
    ]
}

fn order(leaves: Side, ringing: Ringing) -> Box<Order> {
    let Plan::Trunk(outbound) = trunk_plan() else {
        unreachable!()
    };
    Box::new(Order {
        to: "+15552000".into(),
        by: By::Bridge(Box::new(Target {
            trunk: "third".into(),
            outbound: *outbound,
            referred_by: None,
        })),
        asked_by: Asker::Operator,
        leaves,
        ringing,
        timeout: Duration::from_secs(30),
    })
}

fn any_transfer() -> impl Strategy<Value = transfer::Event> {
    use transfer::Event;

    let sdp = prop_oneof![Just(None), Just(Some(ANSWER.into())), Just(Some(b"junk".to_vec()))];
    let side = prop_oneof![Just(Side::A), Just(Side::B), Just(Side::C)];
    let ringing = prop_oneof![Just(Ringing::Agent), Just(Ringing::Ringback)];
    prop_oneof![
        4 => (side, ringing).prop_map(|(side, ringing)| Event::Asked(order(side, ringing))),
        2 => (prop_oneof![Just(Side::A), Just(Side::B)], any::<bool>()).prop_map(|(side, waits)| {
            let unreported = if waits { transfer::Unreported::Wait } else { transfer::Unreported::HangUp };
            Event::Asked(refers::referring(side, unreported))
        }),
        1 => any::<bool>().prop_map(|reported| Event::ReferAccepted { reported }),
        1 => Just(Event::ReferRefused { status: 403, reason: "Forbidden".into() }),
        2 => (prop_oneof![Just(100u16), Just(180), Just(200), Just(486)], any::<bool>()).prop_map(|(status, ends)| {
            Event::ReferNews(voxlane::sip::News {
                progress: Some(voxlane::sip::Progress::of(status)),
                ended: ends.then(String::new),
            })
        }),
        1 => Just(Event::TakenBack),
        1 => Just(Event::Due),
        1 => Just(Event::Progress),
        3 => sdp.prop_map(|sdp| Event::Answered { sdp }),
        2 => Just(Event::Failed {
            status: 486,
            reason: "Busy Here".into(),
            failure: Failure::refused(),
        }),
    ]
}

/// Whether an event can come, given which dialogs there are; notes which of them it ends.
fn is_possible(world: &mut World, event: &Event) -> bool {
    let [a, b, c] = &mut world.dialogs;
    let gone = |dialog: &mut bool| std::mem::replace(dialog, false);
    match event {
        Event::Progress { .. } | Event::Answered { .. } => *b,
        Event::Failed { .. } => gone(b),
        Event::Cancelled => gone(a),
        Event::Reinvite { side, .. } | Event::Update { side, .. } => world.dialogs[*side as usize],
        Event::Bye { side, .. } => gone(&mut world.dialogs[*side as usize]),
        Event::Transfer(transfer::Event::Progress | transfer::Event::Answered { .. }) => *c,
        Event::Transfer(transfer::Event::Failed { .. }) => gone(c),
        _ => true,
    }
}

proptest! {
    /// Whatever happens in whatever order: media is closed exactly once, and once both dialogs are gone the call is
    /// finished, exactly once, as its last act.
    #[test]
    fn no_leg_is_left_behind(
        trunk: bool,
        offer: bool,
        placed: bool,
        events in prop::collection::vec(any_event(), 0..20),
        up: bool,
    ) {
        // A placed call comes up otherwise.
        let up = up && !placed;
        let plan = if trunk { trunk_plan() } else { agent_plan(true) };
        let mut call = if placed { placed_call() } else { call(plan, offer.then_some(OFFER)) };
        let mut world = World { dialogs: [!placed, false, false], ..World::default() };
        world.perform(call.on(Event::Start, Time::ZERO));
        // Transfers begin with a call that is up, which chance seldom comes to.
        let sdp = || Some(ANSWER.into());
        let way_up = [
            opened(Side::A),
            if trunk { located(&["192.0.2.2:5060"]) } else { Event::Resolved(vec![address("192.0.2.2:5060")]) },
            opened(Side::B),
            if trunk { Event::Answered { sdp: sdp() } } else { Event::AgentReady },
            Event::Confirmed { side: Side::A, sdp: sdp().filter(|_| !offer) },
        ];
        let way_up = way_up.into_iter().filter(|event| up && (trunk || !matches!(event, Event::MediaOpened { side: Side::B, .. })));
        for event in way_up {
            world.replies.clear();
            world.perform(call.on(event, Time::ZERO));
        }
        prop_assert!(!up || call.phase() == Phase::Up);
        for event in events.into_iter().chain([Event::Stop { text: "end of test".into() }]) {
            while let Some(reply) = world.replies.pop() {
                if let Event::Terminated { side, .. } = reply
                    && !std::mem::replace(&mut world.dialogs[side as usize], false)
                {
                    continue;
                }
                world.perform(call.on(reply, Time::ZERO));
            }
            if world.finished == 1 {
                break;
            }
            if is_possible(&mut world, &event) {
                world.perform(call.on(event, Time::from_micros(60_000_000)));
            }
        }
        while let Some(reply) = world.replies.pop() {
            if world.finished == 0 {
                world.perform(call.on(reply, Time::ZERO));
            }
        }
        prop_assert_eq!(world.finished, 1);
        prop_assert_eq!(world.media, [false; 3]);
        prop_assert_eq!(call.phase(), Phase::Ended);
    }
}

/// A key as an `a=crypto` line has it.
fn crypto(tag: u32, key: u8) -> String {
    let suite = Suite::AesCm128HmacSha1Tag80;
    let keying = Keying::from_bytes(suite, &[key; 30], None).unwrap();
    format!("a={}\r\n", Crypto { tag, keying })
}

/// A re-INVITE of leg A with this key; the SRTP keys that follow from it.
fn offered_again(call: &mut Call, key: u8) -> SrtpKeys {
    let sdp = format!("{}{}", OFFER.replace("RTP/AVP", "RTP/SAVP"), crypto(1, key));
    let actions = on(
        call,
        Event::Reinvite {
            side: Side::A,
            sdp: Some(sdp.into_bytes()),
        },
    );
    let [Action::Program { session, .. }, Action::Answer { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}");
    };
    let keys = session.srtp.clone().unwrap();
    assert!(text(sdp).contains(keys.send.inline().as_str()));
    keys
}

#[test]
fn another_key_of_theirs_brings_another_of_ours_and_the_same_key_none() {
    let sdp = format!("{}{}", OFFER.replace("RTP/AVP", "RTP/SAVP"), crypto(1, 7));
    let plan = Plan::Agent {
        name: "echo".into(),
        host: None,
    };
    let mut call = secured_call(plan, &sdp, KeysInClear::Allow);
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, Event::AgentReady);
    let first = call.session(Side::A).unwrap().srtp.clone().unwrap();
    let same = offered_again(&mut call, 7);
    assert_eq!(same, first);
    let other = offered_again(&mut call, 8);
    assert_ne!(other.receive, first.receive);
    assert_ne!(other.send, first.send);
    // Neither shows in what may be logged.
    let shown = format!("{:?}", call.session(Side::A));
    assert!(!shown.contains(other.send.inline().as_str()), "{shown}");
}

#[test]
fn keys_over_unencrypted_signalling_are_refused() {
    let sdp = format!("{}{}", OFFER.replace("RTP/AVP", "RTP/SAVP"), crypto(1, 7));
    let plan = Plan::Agent {
        name: "echo".into(),
        host: None,
    };
    let mut call = secured_call(plan, &sdp, KeysInClear::Refuse);
    on(&mut call, Event::Start);
    let actions = on(&mut call, opened(Side::A));
    assert!(
        matches!(&actions[..], [Action::Reject { status: 488, text, .. }, ..] if text.contains("unencrypted signalling")),
        "{actions:?}"
    );
}

/// A relayed call by two gateways, of which the first is at these addresses, as far as its first INVITE.
fn dialled_by_two(first: &[&str]) -> Call {
    let Plan::Trunk(mut outbound) = trunk_plan() else {
        panic!("a trunk was expected")
    };
    outbound.ways.push(way("d.example", 1));
    let mut call = call(Plan::Trunk(outbound), Some(OFFER));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, located(first));
    let actions = on(&mut call, opened(Side::B));
    assert_eq!(
        tried(&actions),
        Some((first[0].to_owned(), Some(Duration::from_secs(4))))
    );
    call
}

/// Where an INVITE goes, and how long it has for an answer.
fn tried(actions: &[Action]) -> Option<(String, Option<Duration>)> {
    actions.iter().find_map(|action| match action {
        Action::Invite { target, patience, .. } => Some((target.destination.remote.to_string(), *patience)),
        _ => None,
    })
}

fn failed(status: u16, failure: Failure) -> Event {
    Event::Failed {
        status,
        reason: "because".into(),
        failure,
    }
}

#[test]
fn one_target_after_the_other_is_tried_and_the_last_has_time() {
    let mut call = dialled_by_two(&["192.0.2.2:5060", "192.0.2.3:5060"]);
    // The next address of the same gateway, with the ports that are open.
    let actions = on(&mut call, failed(408, Failure::Silent));
    assert_eq!(actions.len(), 1, "{actions:?}");
    assert_eq!(tried(&actions).unwrap().0, "192.0.2.3:5060");
    // The other gateway is looked up only now.
    let actions = on(&mut call, failed(503, Failure::refused()));
    assert!(
        matches!(&actions[..], [Action::Locate(place)] if place.host == "d.example"),
        "{actions:?}"
    );
    let actions = on(&mut call, located(&["192.0.2.4:5060"]));
    assert_eq!(tried(&actions), Some(("192.0.2.4:5060".into(), None)));
    let actions = on(&mut call, Event::Progress { status: 180, sdp: None });
    assert!(matches!(&actions[..], [Action::Ring { status: 180, .. }]));
    let actions = on(
        &mut call,
        Event::Answered {
            sdp: Some(ANSWER.into()),
        },
    );
    assert!(
        matches!(actions.last(), Some(Action::Answer { side: Side::A, .. })),
        "{actions:?}"
    );
    let outcomes: Vec<&str> = call.tried().iter().map(|attempt| attempt.outcome.as_str()).collect();
    assert_eq!(outcomes, ["no answer", "503 because"]);
}

#[test]
fn early_media_of_a_target_that_fails_does_not_stand_in_the_way_of_the_next() {
    let mut call = dialled_by_two(&["192.0.2.2:5060", "192.0.2.3:5060"]);
    let early = Event::Progress {
        status: 183,
        sdp: Some(ANSWER.into()),
    };
    let actions = on(&mut call, early);
    programmed(&actions, Side::A);
    on(&mut call, failed(503, Failure::refused()));
    let other = ANSWER.replace("192.0.2.2", "192.0.2.3");
    let actions = on(
        &mut call,
        Event::Answered {
            sdp: Some(other.into_bytes()),
        },
    );
    assert_eq!(programmed(&actions, Side::B).remote_rtp, address("192.0.2.3:50000"));
    assert!(
        matches!(actions.last(), Some(Action::Answer { side: Side::A, .. })),
        "{actions:?}"
    );
}

#[test]
fn early_media_moves_to_the_ports_of_the_next_target_and_keeps_its_codec() {
    let mut call = dialled_by_two(&["192.0.2.2:5060", "[2001:db8::3]:5060"]);
    let early = Event::Progress {
        status: 183,
        sdp: Some(ANSWER.into()),
    };
    assert!(on(&mut call, early).contains(&Action::Relay));
    on(&mut call, failed(503, Failure::refused()));
    let endpoint = Endpoint {
        id: EndpointId(3),
        rtp: address("[2001:db8::50]:10004"),
    };
    let side = Side::B;
    let actions = on(&mut call, Event::MediaOpened { side, endpoint });
    let [Action::Invite { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    // The caller has been given PCMA, and hears of no other answer.
    let offer = text(sdp);
    assert!(offer.contains("RTP/AVP 8 0 9 96"), "{offer}");
    let sixth = ANSWER.replace("IN IP4 192.0.2.2", "IN IP6 2001:db8::3");
    let sdp = Some(sixth.into_bytes());
    let actions = on(&mut call, Event::Answered { sdp });
    assert_eq!(programmed(&actions, Side::B).remote_rtp, address("[2001:db8::3]:50000"));
    let relayed = actions.iter().position(|action| *action == Action::Relay);
    assert!(
        matches!(actions.last(), Some(Action::Answer { side: Side::A, .. })) && relayed.is_some(),
        "the caller does not hear the new ports: {actions:?}"
    );
}

#[test]
fn where_nothing_is_transcoded_the_next_target_is_offered_what_early_media_had() {
    let Plan::Trunk(mut outbound) = trunk_plan() else {
        panic!("a trunk was expected")
    };
    outbound.media.transcode = Transcode::Off;
    let mut call = call(Plan::Trunk(outbound), Some(OFFER));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, located(&["192.0.2.2:5060", "192.0.2.3:5060"]));
    on(&mut call, opened(Side::B));
    let sdp = Some(ANSWER.into());
    on(&mut call, Event::Progress { status: 183, sdp });
    let actions = on(&mut call, failed(503, Failure::refused()));
    let [Action::Invite { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    let offer = text(sdp);
    assert!(offer.contains("RTP/AVP 8 96"), "{offer}");
}

/// A call to a trunk that requires SRTP, at one gateway with a UDP and a TLS target, up to the first INVITE or the end.
fn to_a_secured_trunk(transports: &[Transport]) -> (Call, Vec<Action>) {
    let Plan::Trunk(mut outbound) = trunk_plan() else {
        panic!("a trunk was expected")
    };
    outbound.media.srtp = SrtpPolicy::Required;
    let mut call = call(Plan::Trunk(outbound), Some(OFFER));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    let at = |transport: &Transport| Destination {
        remote: address("192.0.2.2:5061"),
        transport: *transport,
    };
    let destinations = transports.iter().map(at).collect();
    on(&mut call, Event::Located(destinations));
    let actions = on(&mut call, opened(Side::B));
    (call, actions)
}

#[test]
fn a_target_in_clear_is_passed_over_where_srtp_is_required() {
    let (call, actions) = to_a_secured_trunk(&[Transport::Udp, Transport::Tls]);
    let [Action::Invite { target, sdp, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(target.destination.transport, Transport::Tls);
    assert!(text(sdp).contains("RTP/SAVP"));
    assert!(
        call.tried()[0].outcome.contains("unencrypted signalling"),
        "{:?}",
        call.tried()
    );

    let (_, actions) = to_a_secured_trunk(&[Transport::Udp, Transport::Tcp]);
    assert!(
        matches!(&actions[..], [Action::Reject { status: 488, text, .. }, .., Action::Finish(_)]
            if text.contains("unencrypted signalling")),
        "{actions:?}"
    );
}

#[test]
fn a_target_of_the_other_ip_version_gets_other_ports() {
    let mut call = dialled_by_two(&["192.0.2.2:5060", "[2001:db8::3]:5060"]);
    let actions = on(&mut call, failed(503, Failure::Unreachable));
    assert!(
        matches!(
            &actions[..],
            [Action::CloseMedia { side: Side::B }, Action::OpenMedia { side: Side::B, towards }] if towards.is_ipv6()
        ),
        "{actions:?}"
    );
    let endpoint = Endpoint {
        id: EndpointId(3),
        rtp: address("[2001:db8::50]:10004"),
    };
    let actions = on(
        &mut call,
        Event::MediaOpened {
            side: Side::B,
            endpoint,
        },
    );
    assert_eq!(tried(&actions).unwrap().0, "[2001:db8::3]:5060");
}

#[test]
fn when_everything_has_failed_the_caller_hears_of_the_last() {
    let mut call = dialled_by_two(&["192.0.2.2:5060"]);
    on(&mut call, failed(503, Failure::refused()));
    let actions = on(&mut call, Event::Unresolved("no such name".into()));
    let Some(Action::Finish(cause)) = actions.last() else {
        panic!("{actions:?}")
    };
    assert_eq!(cause.to_string(), "callee: 503 because (the last of 2 tried) (503)");
    // A refusal is not passed on to others.
    let mut call = dialled_by_two(&["192.0.2.2:5060"]);
    let actions = on(&mut call, failed(486, Failure::refused()));
    assert!(matches!(actions[0], Action::Reject { status: 486, .. }), "{actions:?}");
}

#[test]
fn a_caller_that_gives_up_between_two_targets_ends_the_call() {
    let mut call = dialled_by_two(&["192.0.2.2:5060"]);
    on(&mut call, failed(503, Failure::refused()));
    let actions = on(&mut call, Event::Cancelled);
    assert!(matches!(actions.last(), Some(Action::Finish(_))), "{actions:?}");
    assert_eq!(on(&mut call, located(&["192.0.2.4:5060"])), []);
}

#[test]
fn a_call_between_two_targets_can_be_stored() {
    let mut call = dialled_by_two(&["192.0.2.2:5060"]);
    on(&mut call, failed(503, Failure::refused()));
    let mut stored: Call = serde_json::from_str(&serde_json::to_string(&call).unwrap()).unwrap();
    let next = || located(&["192.0.2.4:5060"]);
    assert_eq!(on(&mut stored, next()), on(&mut call, next()));
}
