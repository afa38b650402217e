//! One gateway after the other.

use super::*;

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
    let actions = on(&mut call, Event::NotLocated("no such name".into()));
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
