//! What either leg is offered and answered.

use super::*;

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
    assert!(
        matches!(
            &actions[..],
            [Action::LetSpeak { side: Side::A }, Action::Program { side: Side::A, session }]
                if session.codec == Codec::Pcma
        ),
        "{actions:?}"
    );
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
