//! How calls fail and end.

use super::*;

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
