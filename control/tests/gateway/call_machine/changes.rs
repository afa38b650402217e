//! Re-INVITEs and holds of a call that is up.

use super::*;

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
