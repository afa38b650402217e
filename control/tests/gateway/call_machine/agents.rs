//! Calls of agents: answered, placed, ended.

use super::*;

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
    // From here on the caller hears what the agent says.
    let confirmed = Event::Confirmed {
        side: Side::A,
        sdp: None,
    };
    assert_eq!(on(&mut call, confirmed.clone()), [Action::LetSpeak { side: Side::A }]);
    assert_eq!(call.phase(), Phase::Up);
    assert!(on(&mut call, confirmed).is_empty());

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
    let actions = fails(&mut call, AgentFailure::Refused("403 Forbidden".into()));
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
    let actions = fails(&mut call, AgentFailure::Lost("reset".into()));
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
    let unknown = on(&mut call, Event::Unresolved("no such host".into()));
    assert_eq!(unknown, [Action::FallBack(FailureKind::Unreachable)]);
    let actions = on(&mut call, Event::FallBack(hang_up()));
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
