//! Agents that fail, and what takes their place.

use super::*;

/// Another agent, behind a host or built in.
pub(super) fn other_agent(host: bool) -> Fallback {
    Fallback::Agent {
        name: "backup".into(),
        host: host.then(|| HostPort {
            host: "backup.example".into(),
            port: 80,
        }),
    }
}

/// A number on a trunk.
pub(super) fn somebody() -> Fallback {
    let By::Bridge(target) = order(Side::B, Ringing::Ringback).by else {
        unreachable!()
    };
    Fallback::Call {
        to: "+15552000".into(),
        target,
        timeout: Duration::from_secs(20),
    }
}

/// A call whose agent is being connected.
fn ringing() -> Call {
    let mut call = call(agent_plan(false), Some(OFFER));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    assert_eq!(call.phase(), Phase::Connecting);
    call
}

/// A call that talks with its agent.
fn up() -> Call {
    let mut call = ringing();
    on(&mut call, Event::AgentReady);
    let confirmed = Event::Confirmed {
        side: Side::A,
        sdp: None,
    };
    on(&mut call, confirmed);
    assert_eq!(call.phase(), Phase::Up);
    call
}

fn fails_into(call: &mut Call, fallback: Fallback) -> Vec<Action> {
    let failed = on(call, Event::AgentFailed(AgentFailure::Silent));
    assert_eq!(failed, [Action::FallBack(FailureKind::Silent)]);
    on(call, Event::FallBack(fallback))
}

#[test]
fn a_caller_who_is_not_answered_waits_for_another_agent() {
    let mut call = ringing();
    let actions = fails_into(&mut call, other_agent(true));
    assert!(
        matches!(&actions[..], [Action::Resolve(host)] if host.host == "backup.example"),
        "{actions:?}"
    );
    assert_eq!(call.agent(), Some(("backup", Side::A)));
    let actions = on(&mut call, Event::Resolved(vec![address("192.0.2.9:80")]));
    assert!(
        matches!(actions[..], [Action::Attach { .. }, Action::Ring { .. }]),
        "{actions:?}"
    );
    let actions = on(&mut call, Event::AgentReady);
    assert!(
        matches!(actions[..], [Action::Program { .. }, Action::Answer { .. }]),
        "{actions:?}"
    );
    let [failure] = call.failures() else {
        panic!("{:?}", call.failures())
    };
    assert_eq!(
        (failure.agent.as_str(), failure.kind, failure.then.as_str()),
        ("bot", FailureKind::Silent, "agent backup")
    );
}

#[test]
fn a_caller_who_is_answered_gets_another_agent_while_the_call_stays_up() {
    let mut call = up();
    let actions = fails_into(&mut call, other_agent(true));
    assert!(matches!(&actions[..], [Action::Resolve(_)]), "{actions:?}");
    assert_eq!(call.phase(), Phase::Up);
    let addresses = vec![address("192.0.2.9:80")];
    let actions = on(&mut call, Event::Resolved(addresses.clone()));
    assert_eq!(actions, [Action::Attach { addresses }]);
    assert_eq!(on(&mut call, Event::AgentReady), []);

    // One that is built in is there at once; one whose host is not known has failed as well.
    let actions = fails_into(&mut call, other_agent(false));
    assert_eq!(actions, [Action::Attach { addresses: vec![] }]);
    fails_into(&mut call, other_agent(true));
    let actions = on(&mut call, Event::Unresolved("no such host".into()));
    assert_eq!(actions, [Action::FallBack(FailureKind::Unreachable)]);
    let actions = on(&mut call, Event::FallBack(hang_up()));
    assert!(
        matches!(&actions[..], [Action::HangUp { side: Side::A, text }, Action::CloseMedia { .. }] if text.contains("no such host")),
        "{actions:?}"
    );
    assert_eq!(call.failures().len(), 4);
}

#[test]
fn a_caller_who_is_not_answered_is_sent_to_a_number_as_if_it_had_never_been_an_agents() {
    let mut call = ringing();
    let actions = fails_into(&mut call, somebody());
    assert!(
        matches!(
            actions[..],
            [
                Action::CloseMedia { side: Side::A },
                Action::OpenMedia { side: Side::A, .. }
            ]
        ),
        "{actions:?}"
    );
    assert_eq!(call.agent(), None);
    assert!(matches!(on(&mut call, opened(Side::A))[..], [Action::Locate(_)]));
    on(&mut call, located(&["192.0.2.2:5060"]));
    let actions = on(&mut call, opened(Side::B));
    assert!(matches!(actions[..], [Action::Invite { .. }]), "{actions:?}");
    // What is left of the agent is nobody's.
    assert_eq!(on(&mut call, Event::AgentReady), []);
    assert_eq!(on(&mut call, Event::AgentEnded), []);
    let actions = answered_with(&mut call, "8 96");
    assert_eq!(programmed(&actions, Side::A).codec, Codec::Pcma);
    assert!(actions.contains(&Action::Relay), "{actions:?}");
    assert!(matches!(actions.last(), Some(Action::Answer { side: Side::A, .. })));
}

#[test]
fn a_caller_who_is_answered_is_given_to_a_number_and_hears_it_ring() {
    let mut call = up();
    let actions = fails_into(&mut call, somebody());
    let asked: Vec<_> = actions
        .iter()
        .map(|action| match action {
            Action::Transfer(transfer::Action::Wake(_)) => "wake",
            Action::Transfer(transfer::Action::RingBack { side: Side::A }) => "ring back",
            Action::Locate(_) => "locate",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, ["wake", "ring back", "locate"]);
    on(&mut call, located(&["192.0.2.2:5060"]));
    let media = on(&mut call, opened(Side::C));
    assert!(matches!(media[..], [Action::Transfer(transfer::Action::Invite { .. })]));
    let answered = transfer::Event::Answered {
        sdp: Some(ANSWER.into()),
    };
    let actions = on(&mut call, Event::Transfer(answered));
    assert!(actions.contains(&Action::Relay), "{actions:?}");
    assert_eq!((call.agent(), call.phase()), (None, Phase::Up));
    assert_eq!(call.transfers()[0].asked_by, Asker::Fallback);

    // Nobody answers there: that is the end of it, for the agent is gone.
    let mut call = up();
    fails_into(&mut call, somebody());
    on(&mut call, located(&["192.0.2.2:5060"]));
    on(&mut call, opened(Side::C));
    let busy = transfer::Event::Failed {
        status: 486,
        reason: "Busy Here".into(),
        failure: Failure::refused(),
    };
    let actions = on(&mut call, Event::Transfer(busy));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::HangUp { side: Side::A, text } if text.contains("486"))),
        "{actions:?}"
    );
}

#[test]
fn a_call_may_end_with_a_status_or_a_cause_of_its_own() {
    let wanted = Fallback::HangUp {
        status: Some(503),
        cause: Some(27),
        why: None,
    };
    let mut call = ringing();
    let actions = fails_into(&mut call, wanted.clone());
    assert!(
        matches!(&actions[0], Action::Reject { status: 503, text, .. } if text.starts_with("Q.850;cause=27;")),
        "{actions:?}"
    );
    let mut call = up();
    let actions = fails_into(&mut call, wanted);
    assert!(
        matches!(&actions[0], Action::HangUp { text, .. } if text.starts_with("Q.850;cause=27;text=\"agent ")),
        "{actions:?}"
    );
}

#[test]
fn the_agent_of_a_placed_call_has_fallbacks_too() {
    let connected = || {
        let mut call = placed_call();
        on(&mut call, Event::Start);
        on(&mut call, located(&["192.0.2.2:5060"]));
        on(&mut call, opened(Side::B));
        answered_with(&mut call, "8 96");
        on(&mut call, Event::Resolved(vec![address("192.0.2.9:443")]));
        assert_eq!(call.phase(), Phase::Answering);
        call
    };
    let mut call = connected();
    assert_eq!(
        fails_into(&mut call, other_agent(false)),
        [Action::Attach { addresses: vec![] }]
    );
    assert_eq!(call.agent(), Some(("backup", Side::B)));
    on(&mut call, Event::AgentReady);
    assert_eq!(call.phase(), Phase::Up);

    let mut call = connected();
    let actions = fails_into(&mut call, somebody());
    let ring_back = Action::Transfer(transfer::Action::RingBack { side: Side::B });
    assert!(actions.contains(&ring_back), "{actions:?}");
}
