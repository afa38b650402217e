//! Transfers, event by event.

use super::*;

pub(super) fn third(event: transfer::Event) -> Event {
    Event::Transfer(event)
}

/// A call to an agent that is up.
pub(super) fn with_agent() -> Call {
    let mut call = call(agent_plan(true), Some(OFFER));
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, Event::Resolved(vec![address("192.0.2.9:80")]));
    on(&mut call, Event::AgentReady);
    confirm(&mut call);
    call
}

pub(super) fn confirm(call: &mut Call) {
    let side = Side::A;
    on(call, Event::Confirmed { side, sdp: None });
    assert_eq!(call.phase(), Phase::Up);
}

/// A relayed call that is up.
pub(super) fn relayed() -> Call {
    let mut call = dialled();
    let sdp = Some(ANSWER.into());
    on(&mut call, Event::Answered { sdp });
    confirm(&mut call);
    call
}

/// How a call comes up that an agent places.
pub(super) fn way_up_of_placed() -> [Event; 5] {
    [
        located(&["192.0.2.2:5060"]),
        opened(Side::B),
        Event::Answered {
            sdp: Some(ANSWER.into()),
        },
        Event::Resolved(vec![address("192.0.2.9:443")]),
        Event::AgentReady,
    ]
}

/// A call that an agent has placed, and that is up.
fn placed_and_up() -> Call {
    let mut call = placed_call();
    on(&mut call, Event::Start);
    for event in way_up_of_placed() {
        // Not before the agent is there.
        assert_eq!(call.may_transfer(Side::A), Err(transfer::Refusal::NotUp));
        on(&mut call, event);
    }
    assert_eq!(call.phase(), Phase::Up);
    call
}

/// Transfers as far as leg C's INVITE; what that offers.
fn dial_third(call: &mut Call, leaves: Side, ringing: Ringing) -> String {
    let actions = on(call, third(transfer::Event::Asked(order(leaves, ringing))));
    assert!(matches!(actions.last(), Some(Action::Locate(_))), "{actions:?}");
    let actions = on(call, located(&["192.0.2.3:5060"]));
    assert!(
        matches!(actions[..], [Action::OpenMedia { side: Side::C, .. }]),
        "{actions:?}"
    );
    let actions = on(call, opened(Side::C));
    let [Action::Transfer(transfer::Action::Invite { sdp, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    text(sdp)
}

fn answered() -> Event {
    let sdp = Some(ANSWER.replace("8 96", "0 96").into_bytes());
    third(transfer::Event::Answered { sdp })
}

fn busy() -> Event {
    third(transfer::Event::Failed {
        status: 486,
        reason: "Busy Here".into(),
        failure: Failure::refused(),
    })
}

pub(super) fn states(actions: &[Action]) -> Vec<&str> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Transfer(transfer::Action::Tell(notice)) => Some(notice.state.word()),
        _ => None,
    });
    told.collect()
}

pub(super) fn last_outcome(call: &Call) -> Outcome {
    call.transfers().pop().unwrap().outcome
}

#[test]
fn whom_an_agents_call_is_transferred_to_takes_the_agents_place() {
    let mut call = with_agent();
    let offer = dial_third(&mut call, Side::B, Ringing::Agent);
    // What leg A speaks comes first, with its telephone-event.
    assert!(offer.contains("m=audio 10004 RTP/AVP 0 8 9 96\r\n"), "{offer}");
    assert_eq!(last_outcome(&call), Outcome::Calling);
    assert_eq!(states(&on(&mut call, third(transfer::Event::Progress))), ["ringing"]);
    let actions = on(&mut call, answered());
    assert!(
        matches!(
            actions[..],
            [
                Action::Transfer(transfer::Action::Replace { side: Side::B }),
                Action::Program { side: Side::B, .. },
                Action::Relay,
            ]
        ),
        "{actions:?}"
    );
    assert_eq!(last_outcome(&call), Outcome::Completed);
    // What the agent said last is no matter any more.
    assert!(on(&mut call, Event::AgentEnded).is_empty());
    let actions = on(
        &mut call,
        Event::Bye {
            side: Side::B,
            reason: None,
        },
    );
    assert!(
        matches!(actions[0], Action::HangUp { side: Side::A, .. }),
        "{actions:?}"
    );
}

#[test]
fn a_transfer_that_fails_leaves_the_caller_with_the_agent() {
    type Fail = fn(&mut Call) -> Vec<Action>;
    let failures: [(Fail, u16); 4] = [
        (|call| on(call, busy()), 486),
        (|call| on(call, third(transfer::Event::TakenBack)), 487),
        (
            |call| call.on(third(transfer::Event::Due), Time::from_micros(30_000_000)),
            408,
        ),
        (|call| on(call, third(transfer::Event::Answered { sdp: None })), 502),
    ];
    for (fail, status) in failures {
        let mut call = with_agent();
        dial_third(&mut call, Side::B, Ringing::Agent);
        // Too early for a time-out.
        assert!(on(&mut call, third(transfer::Event::Due)).is_empty());
        let actions = fail(&mut call);
        assert_eq!(states(&actions), ["failed"], "{actions:?}");
        assert!(actions.contains(&Action::CloseMedia { side: Side::C }));
        let hung_up = actions
            .iter()
            .any(|action| matches!(action, Action::HangUp { side: Side::C, .. }));
        assert_eq!(hung_up, status != 486, "{actions:?}");
        let Outcome::Failed { status: kept, .. } = last_outcome(&call) else {
            panic!("{:?}", call.transfers());
        };
        assert_eq!((kept, call.phase()), (status, Phase::Up));
        if hung_up {
            // While that goes on there is no other.
            assert!(call.may_transfer(Side::B).is_err());
            on(&mut call, third(transfer::Event::Gone));
        }
        assert_eq!(call.may_transfer(Side::B), Ok(()));
        dial_third(&mut call, Side::B, Ringing::Agent);
    }
}

#[test]
fn an_agent_that_leaves_meanwhile_is_connected_again_if_the_transfer_fails() {
    for ended in [true, false] {
        let mut call = with_agent();
        let ringing = if ended { Ringing::Agent } else { Ringing::Ringback };
        dial_third(&mut call, Side::B, ringing);
        let failed = Event::AgentFailed(AgentFailure::Lost("x".into()));
        let event = if ended { Event::AgentEnded } else { failed };
        let actions = on(&mut call, event);
        // With a ring-back tone it had left before.
        assert_eq!(actions.len(), usize::from(ended), "{actions:?}");
        let actions = on(&mut call, busy());
        let reattached = actions.iter().find_map(|action| match action {
            Action::Transfer(transfer::Action::Reattach {
                side: Side::A,
                addresses,
                notice,
            }) => Some((addresses, notice)),
            _ => None,
        });
        let (addresses, notice) = reattached.unwrap();
        assert_eq!(addresses[..], [address("192.0.2.9:80")]);
        assert_eq!(
            (notice.status, notice.reason.as_deref()),
            (Some(486), Some("486 Busy Here"))
        );
        assert!(on(&mut call, Event::AgentReady).is_empty());
        // From now on the call needs it.
        let actions = on(&mut call, Event::AgentEnded);
        assert!(
            matches!(actions[0], Action::HangUp { side: Side::A, .. }),
            "{actions:?}"
        );
    }
}

#[test]
fn a_caller_that_hangs_up_meanwhile_ends_both() {
    let mut call = with_agent();
    dial_third(&mut call, Side::B, Ringing::Agent);
    let bye = Event::Bye {
        side: Side::A,
        reason: None,
    };
    let actions = on(&mut call, bye);
    assert!(
        matches!(
            actions[..],
            [
                Action::CloseMedia { side: Side::A },
                Action::HangUp { side: Side::C, .. },
                Action::CloseMedia { side: Side::C }
            ]
        ),
        "{actions:?}"
    );
    assert_eq!(call.phase(), Phase::Ending);
    let actions = on(
        &mut call,
        third(transfer::Event::Failed {
            status: 487,
            reason: String::new(),
            failure: Failure::TakenBack,
        }),
    );
    assert!(matches!(actions[..], [Action::Finish(_)]), "{actions:?}");
}

#[test]
fn either_leg_of_a_relayed_call_can_leave_it() {
    for leaves in [Side::A, Side::B] {
        let mut call = relayed();
        dial_third(&mut call, leaves, Ringing::Ringback);
        let actions = on(&mut call, answered());
        assert!(
            matches!(
                actions[..],
                [
                    Action::Transfer(transfer::Action::Replace { .. }),
                    Action::Program { .. },
                    Action::Relay,
                    Action::HangUp { side: Side::C, .. },
                    Action::CloseMedia { side: Side::C },
                ]
            ),
            "{actions:?}"
        );
        assert!(on(&mut call, third(transfer::Event::Gone)).is_empty());
        // And again.
        dial_third(&mut call, leaves, Ringing::Ringback);
    }
}

#[test]
fn a_leg_that_leaves_before_the_answer_is_not_waited_for() {
    let bye = || Event::Bye {
        side: Side::B,
        reason: None,
    };
    let mut call = relayed();
    dial_third(&mut call, Side::B, Ringing::Agent);
    let actions = on(&mut call, bye());
    assert!(
        matches!(
            actions[..],
            [
                Action::CloseMedia { side: Side::B },
                Action::Transfer(transfer::Action::RingBack { side: Side::A })
            ]
        ),
        "{actions:?}"
    );
    let mut other = call.clone();
    on(&mut call, answered());
    assert_eq!(call.phase(), Phase::Up);
    // Nobody is left for the caller to talk with.
    let actions = on(&mut other, busy());
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::HangUp { side: Side::A, .. })),
        "{actions:?}"
    );
}

#[test]
fn transfers_without_end_come_to_one() {
    let mut call = relayed();
    for _ in 0..transfer::MOST {
        dial_third(&mut call, Side::B, Ringing::Agent);
        on(&mut call, answered());
        on(&mut call, third(transfer::Event::Gone));
    }
    assert_eq!(call.may_transfer(Side::B), Err(transfer::Refusal::TooOften));
    assert!(on(&mut call, third(transfer::Event::Asked(order(Side::B, Ringing::Agent)))).is_empty());
}

#[test]
fn a_target_in_clear_is_passed_over_where_the_trunk_transferred_to_requires_srtp() {
    let mut call = with_agent();
    let mut secured = order(Side::B, Ringing::Agent);
    let By::Bridge(target) = &mut secured.by else {
        panic!("a bridge was expected")
    };
    target.outbound.media.srtp = SrtpPolicy::Required;
    on(&mut call, third(transfer::Event::Asked(secured)));
    let at = |transport| Destination {
        remote: address("192.0.2.3:5061"),
        transport,
    };
    let destinations = vec![at(Transport::Udp), at(Transport::Tls)];
    on(&mut call, Event::Located(destinations));
    let actions = on(&mut call, opened(Side::C));
    let [Action::Transfer(transfer::Action::Invite { target, sdp, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(target.destination.transport, Transport::Tls);
    assert!(text(sdp).contains("RTP/SAVP"));
}

#[test]
fn an_agent_that_has_placed_a_call_gives_it_to_another_party() {
    let mut call = placed_and_up();
    // It stands for leg A; whom it has called cannot leave it.
    assert_eq!(call.may_transfer(Side::B), Err(transfer::Refusal::NoLeg));
    dial_third(&mut call, Side::A, Ringing::Agent);
    assert_eq!(states(&on(&mut call, busy())), ["failed"]);
    assert_eq!(call.agent(), Some(("bot", Side::B)));

    // One that leaves at once is called back to whom it has called.
    let actions = on(
        &mut call,
        third(transfer::Event::Asked(order(Side::A, Ringing::Ringback))),
    );
    let ring_back = Action::Transfer(transfer::Action::RingBack { side: Side::B });
    assert!(actions.contains(&ring_back), "{actions:?}");
    assert!(on(&mut call, Event::AgentEnded).is_empty());
    let actions = on(&mut call, third(transfer::Event::TakenBack));
    let [
        Action::Transfer(transfer::Action::Reattach {
            side: Side::B,
            addresses,
            ..
        }),
    ] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(addresses[..], [address("192.0.2.9:443")]);
    on(&mut call, located(&["192.0.2.3:5060"]));

    dial_third(&mut call, Side::A, Ringing::Agent);
    let actions = on(&mut call, answered());
    assert!(
        matches!(
            actions[..],
            [
                Action::Transfer(transfer::Action::Replace { side: Side::A }),
                Action::Program { side: Side::A, .. },
                Action::Relay,
            ]
        ),
        "{actions:?}"
    );
    assert_eq!((call.agent(), call.is_placed()), (None, true));
    assert!(on(&mut call, Event::AgentEnded).is_empty());
    // What is left is a call like any other.
    assert_eq!(
        (call.may_transfer(Side::A), call.may_transfer(Side::B)),
        (Ok(()), Ok(()))
    );
    let bye = Event::Bye {
        side: Side::A,
        reason: None,
    };
    let actions = on(&mut call, bye);
    assert!(
        matches!(
            actions[..],
            [
                Action::CloseMedia { side: Side::A },
                Action::HangUp { side: Side::B, .. },
                Action::CloseMedia { side: Side::B },
            ]
        ),
        "{actions:?}"
    );
}
