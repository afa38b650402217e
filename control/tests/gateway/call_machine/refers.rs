//! Transfers by REFER, event by event.

use voxlane::call::transfer::{Progress, Referral, Unreported};
use voxlane::sip::News;

use super::transfers::{confirm, last_outcome, relayed, states, third, with_agent};
use super::*;

pub(super) fn referring(leaves: Side, unreported: Unreported) -> Box<Order> {
    let referral = Referral {
        trunk: "carrier".into(),
        refer_to: "<sip:+15552000@carrier.example>".into(),
        referred_by: "<sip:+15550001@203.0.113.50>".into(),
        progress: Progress::Notify,
        unreported,
    };
    Box::new(Order {
        by: By::Refer(Box::new(referral)),
        ..*order(leaves, Ringing::Agent)
    })
}

/// Asks for it; the REFER is to be sent to whom stays.
fn refer(call: &mut Call, leaves: Side, unreported: Unreported) {
    let asked = transfer::Event::Asked(referring(leaves, unreported));
    let actions = on(call, third(asked));
    let side = leaves.other().unwrap();
    assert_eq!(
        actions.last(),
        Some(&Action::Transfer(transfer::Action::Refer { side })),
        "{actions:?}"
    );
    assert_eq!(last_outcome(call), Outcome::Calling);
}

fn accepted(reported: bool) -> Event {
    third(transfer::Event::ReferAccepted { reported })
}

fn news(status: Option<u16>, ended: Option<&str>) -> Event {
    third(transfer::Event::ReferNews(News {
        progress: status.map(voxlane::sip::Progress::of),
        ended: ended.map(str::to_owned),
    }))
}

fn hangs_up(actions: &[Action], side: Side) -> bool {
    let hangs_up = |action: &Action| matches!(action, Action::HangUp { side: of, .. } if *of == side);
    actions.iter().any(hangs_up)
}

#[test]
fn a_call_that_the_carrier_has_connected_elsewhere_ends() {
    // In the order in which it should be, and with news that overtake the answer.
    for early in [false, true] {
        let mut call = with_agent();
        refer(&mut call, Side::B, Unreported::HangUp);
        if !early {
            assert!(on(&mut call, accepted(true)).is_empty());
        }
        assert!(on(&mut call, news(Some(100), None)).is_empty());
        assert_eq!(states(&on(&mut call, news(Some(180), None))), ["ringing"]);
        assert_eq!(last_outcome(&call), Outcome::Ringing);
        assert!(on(&mut call, news(Some(183), None)).is_empty());
        let actions = on(&mut call, news(Some(200), Some("noresource")));
        assert!(hangs_up(&actions, Side::A), "{actions:?}");
        assert_eq!(last_outcome(&call), Outcome::Completed);
        assert_eq!(call.phase(), Phase::Ending);
        // What comes late is no matter.
        assert!(on(&mut call, accepted(true)).is_empty());
        assert!(on(&mut call, news(Some(486), Some(""))).is_empty());
        let cause = Termination::ByeAnswered;
        let actions = on(&mut call, Event::Terminated { side: Side::A, cause });
        let [Action::Finish(cause)] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(cause.text, "transferred to +15552000 by REFER");
    }
}

#[test]
fn a_carrier_that_has_accepted_and_hangs_up_has_taken_the_call() {
    for (leaves, stays) in [(Side::B, Side::A), (Side::A, Side::B)] {
        let mut call = relayed();
        refer(&mut call, leaves, Unreported::Wait);
        on(&mut call, accepted(false));
        let bye = Event::Bye {
            side: stays,
            reason: None,
        };
        let actions = on(&mut call, bye);
        assert!(hangs_up(&actions, leaves), "{actions:?}");
        assert_eq!(last_outcome(&call), Outcome::Completed);
    }
    // It has not accepted: whoever was there has hung up.
    let mut call = with_agent();
    refer(&mut call, Side::B, Unreported::HangUp);
    let bye = Event::Bye {
        side: Side::A,
        reason: None,
    };
    on(&mut call, bye);
    assert!(matches!(last_outcome(&call), Outcome::Failed { .. }));
    assert_eq!(call.phase(), Phase::Ended);
}

#[test]
fn without_news_the_answer_counts_or_the_carriers_bye() {
    let mut call = with_agent();
    refer(&mut call, Side::B, Unreported::HangUp);
    let actions = on(&mut call, accepted(false));
    assert!(hangs_up(&actions, Side::A), "{actions:?}");
    assert_eq!(last_outcome(&call), Outcome::Completed);

    let mut call = with_agent();
    refer(&mut call, Side::B, Unreported::Wait);
    assert!(on(&mut call, accepted(false)).is_empty());
    let actions = call.on(third(transfer::Event::Due), Time::from_micros(30_000_000));
    assert_eq!(states(&actions), ["failed"], "{actions:?}");
    assert_eq!(call.phase(), Phase::Up);
}

#[test]
fn a_refer_that_comes_to_nothing_leaves_the_caller_with_the_agent() {
    type Fail = fn(&mut Call) -> Vec<Action>;
    let refused = |call: &mut Call| {
        let reason = "Decline".into();
        on(call, third(transfer::Event::ReferRefused { status: 603, reason }))
    };
    let busy = |call: &mut Call| {
        on(call, accepted(true));
        on(call, news(Some(486), Some("noresource")))
    };
    let silent = |call: &mut Call| {
        on(call, news(Some(180), None));
        on(call, news(Some(180), Some("timeout")))
    };
    let mute = |call: &mut Call| on(call, news(None, Some("")));
    let late = |call: &mut Call| call.on(third(transfer::Event::Due), Time::from_micros(30_000_000));
    let taken_back = |call: &mut Call| on(call, third(transfer::Event::TakenBack));
    let failures: [(Fail, u16, &str); 6] = [
        (refused, 603, "REFER: 603 Decline"),
        (busy, 486, "486 Busy Here"),
        (silent, 480, "the carrier does not say what came of its call (timeout)"),
        (mute, 480, "the carrier does not say what came of its call"),
        (late, 408, "no answer within 30 s"),
        (taken_back, 487, "taken back"),
    ];
    for (fail, status, why) in failures {
        let mut call = with_agent();
        refer(&mut call, Side::B, Unreported::HangUp);
        let actions = fail(&mut call);
        let told = actions.iter().find_map(|action| match action {
            Action::Transfer(transfer::Action::Tell(notice)) if notice.state.word() == "failed" => Some(notice),
            _ => None,
        });
        let told = told.unwrap_or_else(|| panic!("{why}: {actions:?}"));
        assert_eq!((told.status, told.reason.as_deref()), (Some(status), Some(why)));
        assert_eq!((actions.len(), call.phase()), (1, Phase::Up), "{actions:?}");
        // News of it that come after all are no matter; another may be tried.
        assert!(on(&mut call, news(Some(200), Some(""))).is_empty());
        refer(&mut call, Side::B, Unreported::HangUp);
    }
}

#[test]
fn an_agent_that_leaves_after_the_refer_is_connected_again_if_that_fails() {
    let mut call = with_agent();
    refer(&mut call, Side::B, Unreported::HangUp);
    let actions = on(&mut call, Event::AgentEnded);
    assert!(
        matches!(
            actions[..],
            [Action::Transfer(transfer::Action::RingBack { side: Side::A })]
        ),
        "{actions:?}"
    );
    let mut other = call.clone();
    let actions = on(&mut call, news(Some(603), Some("noresource")));
    assert!(
        matches!(actions[..], [Action::Transfer(transfer::Action::Reattach { .. })]),
        "{actions:?}"
    );
    let actions = on(&mut other, news(Some(200), Some("noresource")));
    assert!(hangs_up(&actions, Side::A), "{actions:?}");
}

#[test]
fn whoever_is_to_leave_may_hang_up_while_the_carrier_calls() {
    let mut call = relayed();
    refer(&mut call, Side::B, Unreported::HangUp);
    on(&mut call, accepted(true));
    let bye = Event::Bye {
        side: Side::B,
        reason: None,
    };
    let actions = on(&mut call, bye);
    assert!(
        actions.contains(&Action::Transfer(transfer::Action::RingBack { side: Side::A })),
        "{actions:?}"
    );
    assert_eq!(last_outcome(&call), Outcome::Calling);
    on(&mut call, news(Some(200), Some("noresource")));
    assert_eq!(last_outcome(&call), Outcome::Completed);
    // A call that is not confirmed yet can be referred, too.
    let mut call = dialled();
    let sdp = Some(ANSWER.into());
    on(&mut call, Event::Answered { sdp });
    refer(&mut call, Side::B, Unreported::HangUp);
    confirm(&mut call);
    assert_eq!(states(&on(&mut call, news(Some(486), None))), [""; 0]);
}
