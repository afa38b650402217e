//! Requests and offers of ours within a dialog: what is sent, what comes of it, and what meets what on the way.

use std::time::Duration;

use crate::support::wire::{Wire, header, request};
use crate::support::{Network, Pair, outgoing, update};
use voxlane::sip::digest::{Algorithm, Login, NonceKey, Proof, Secret};
use voxlane::sip::{Content, DialogId, Event, Outcome, Termination, Within, WithinMethod};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(100);

fn within(method: WithinMethod) -> Within {
    Within {
        method,
        headers: vec![],
        content: None,
    }
}

fn refer() -> Within {
    Within {
        headers: vec![("Refer-To".into(), "<sip:+15550123@192.0.2.9>".into())],
        ..within(WithinMethod::Refer)
    }
}

/// What the call layer was told of a request.
fn outcome(wire: &Wire) -> &Outcome {
    match wire.events.first() {
        Some(Event::Responded { outcome, .. }) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_has_what_its_dialog_and_its_method_ask_for() {
    let mut wire = Wire::new();
    let (dialog, tag) = wire.called("Record-Route: <sip:192.0.2.9:5070;lr>, <sip:p2;lr>\n");
    let name = wire.endpoint.request(wire.now, dialog, refer()).expect("it is sent");
    wire.drain();
    assert_eq!(wire.sent[0].path.remote, "192.0.2.9:5070".parse().unwrap());
    let sent = wire.only();
    assert!(sent.starts_with("REFER sip:caller@192.0.2.2 SIP/2.0\r\n"), "{sent}");
    assert!(sent.contains("Route: <sip:192.0.2.9:5070;lr>\r\nRoute: <sip:p2;lr>\r\n"));
    for (name, value) in [
        ("From", &*format!("<sip:+15550100@192.0.2.1>;tag={tag}")),
        ("To", "<sip:caller@192.0.2.2>;tag=them"),
        ("Call-ID", "call@192.0.2.2"),
        ("CSeq", "1 REFER"),
        ("Contact", "<sip:192.0.2.1:5060>"),
        ("Refer-To", "<sip:+15550123@192.0.2.9>"),
        ("User-Agent", "voxlane"),
        ("Content-Length", "0"),
    ] {
        assert_eq!(header(&sent, name), Some(value), "{name}");
    }
    wire.respond(&sent, "202 Accepted", "Refer-Sub: false\n");
    let heard = Outcome {
        status: 202,
        reason: "Accepted".into(),
        retry_after: None,
        warning: None,
        refer_sub: Some("false".into()),
    };
    let responded = Event::Responded {
        dialog,
        request: name,
        method: WithinMethod::Refer,
        outcome: Box::new(heard),
    };
    assert_eq!(wire.events, [responded]);

    let notify = Within {
        method: WithinMethod::Notify,
        headers: vec![("Event".into(), "refer".into())],
        content: Some(Content {
            content_type: "message/sipfrag;version=2.0".into(),
            body: b"SIP/2.0 100 Trying\r\n".to_vec(),
        }),
    };
    let next = wire.endpoint.request(wire.now, dialog, notify);
    assert!(next.is_some_and(|next| next != name));
    let sent = wire.only();
    assert_eq!(header(&sent, "CSeq"), Some("2 NOTIFY"));
    assert!(
        sent.ends_with("Content-Type: message/sipfrag;version=2.0\r\nContent-Length: 20\r\n\r\nSIP/2.0 100 Trying\r\n"),
        "{sent}"
    );
}

#[test]
fn what_a_refusal_says_reaches_the_call_layer() {
    let mut wire = Wire::new();
    let (dialog, _) = wire.calling("");
    wire.endpoint.request(wire.now, dialog, refer());
    let sent = wire.only();
    wire.respond(
        &sent,
        "503 Busy",
        "Retry-After: 18 (in a meeting);duration=3600\nWarning: 399 x \"no\"\n",
    );
    let heard = outcome(&wire);
    assert_eq!((heard.status, heard.reason.as_str()), (503, "Busy"));
    assert_eq!(
        (heard.retry_after, heard.warning.as_deref()),
        (Some(18), Some("399 x \"no\""))
    );
    // The dialog is what it was.
    assert_eq!(wire.endpoint.counters().dialogs, 1);
}

#[test]
fn only_a_dialog_that_is_up_can_be_asked_and_only_so_much() {
    let mut wire = Wire::new();
    wire.feed(&request("INVITE", "i1", 1, "", ""));
    let ringing = wire.incoming();
    assert_eq!(wire.endpoint.request(wire.now, ringing, refer()), None);
    assert!(!wire.endpoint.offer(wire.now, ringing, b"v=0\r\n".to_vec()));
    assert_eq!(wire.endpoint.request(wire.now, DialogId(99), refer()), None);
    wire.endpoint.hang_up(wire.now, ringing, None);
    wire.take();

    let (dialog, _) = wire.calling("");
    for method in [WithinMethod::Bye, WithinMethod::Prack] {
        assert_eq!(wire.endpoint.request(wire.now, dialog, within(method)), None);
    }
    let taken = (0..100).filter_map(|_| wire.endpoint.request(wire.now, dialog, update()));
    assert_eq!(taken.count(), 16);
    // There is room for the BYE, and its answer ends the dialog; the others' answers are nobody's.
    wire.take();
    wire.endpoint.hang_up(wire.now, dialog, None);
    let bye = wire.only();
    assert!(bye.starts_with("BYE "), "{bye}");
    wire.respond(&bye, "200 OK", "");
    let ended = Event::Terminated {
        dialog,
        cause: Termination::ByeAnswered,
    };
    assert_eq!(wire.events.last(), Some(&ended));
    wire.run(LONG);
    assert_eq!(wire.endpoint.counters().transactions, 0);
}

#[test]
fn a_challenged_request_is_sent_again_with_credentials() {
    let login = Login {
        username: "ann".into(),
        realm: None,
        proof: Proof::Password(Secret::new("right".into()), Algorithm::ALL.to_vec()),
    };
    let mut wire = Wire::new();
    let endpoint = std::mem::replace(&mut wire.endpoint, crate::support::endpoint(0));
    wire.endpoint = endpoint.with_trunks(NonceKey::new([2; 32]), Vec::new(), [("t".into(), login)].into());
    let mut call = outgoing(0);
    call.trunk = Some("t".into());
    let dialog = wire.endpoint.invite(wire.now, call);
    let invite = wire.only();
    wire.respond(&invite, "200 OK", "Contact: <sip:them@192.0.2.2>\n");
    wire.take();
    wire.events.clear();

    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\n";
    let name = wire.endpoint.request(wire.now, dialog, refer());
    let first = wire.only();
    assert_eq!(header(&first, "Proxy-Authorization"), None);
    wire.respond(&first, "407 Proxy Authentication Required", challenge);
    let second = wire.only();
    assert!(header(&second, "Proxy-Authorization").is_some_and(|shown| shown.contains("username=\"ann\"")));
    assert_eq!(header(&second, "Refer-To"), header(&first, "Refer-To"));
    let cseq = |text: &str| -> u32 {
        let written = header(text, "CSeq").expect("CSeq");
        written
            .split(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number")
    };
    assert_eq!(cseq(&second), cseq(&first) + 1);
    wire.respond(&second, "202 Accepted", "");
    assert!(matches!(&wire.events[..], [Event::Responded { request, .. }] if Some(*request) == name));

    // So is an offer.
    wire.events.clear();
    assert!(wire.endpoint.offer(wire.now, dialog, b"v=0\r\n".to_vec()));
    let offer = wire.only();
    wire.respond(
        &offer,
        "401 Unauthorized",
        "WWW-Authenticate: Digest realm=\"s\", nonce=\"m\"\n",
    );
    let sent = wire.take();
    assert!(sent[0].starts_with("ACK "));
    assert!(header(&sent[1], "Authorization").is_some(), "{}", sent[1]);
    assert!(sent[1].starts_with("INVITE ") && sent[1].ends_with("v=0\r\n"));
    wire.respond(&sent[1], "200 OK", "Contact: <sip:them@192.0.2.2>\n");
    assert!(
        matches!(&wire.events[..], [Event::OfferAnswered { sdp: None, .. }]),
        "{:?}",
        wire.events
    );
}

#[test]
fn where_the_other_side_has_gone_the_call_ends() {
    // Never answered, not known, and not known where that is of the subscription only.
    for (method, status, ends) in [
        (WithinMethod::Refer, None, true),
        (WithinMethod::Update, None, true),
        (WithinMethod::Refer, Some("481 Gone"), true),
        (WithinMethod::Update, Some("408 Request Timeout"), true),
        (WithinMethod::Refer, Some("403 Forbidden"), false),
        (WithinMethod::Notify, Some("481 Gone"), false),
        (WithinMethod::Notify, None, false),
    ] {
        let mut wire = Wire::new();
        let (dialog, _) = wire.called("");
        wire.endpoint.request(wire.now, dialog, within(method));
        let sent = wire.only();
        match status {
            Some(status) => wire.respond(&sent, status, ""),
            None => {
                wire.run(32 * SECOND);
            }
        }
        let expected = status.map_or(408, |status| status[..3].parse().unwrap());
        assert_eq!(outcome(&wire).status, expected, "{method:?} {status:?}");
        let lost = Event::Terminated {
            dialog,
            cause: Termination::Lost { status: expected },
        };
        assert_eq!(wire.events.get(1), ends.then_some(&lost), "{method:?} {status:?}");
        wire.run(LONG);
        assert_eq!(
            wire.endpoint.counters().dialogs,
            u64::from(!ends),
            "{method:?} {status:?}"
        );
    }
}

#[test]
fn an_offer_is_answered_and_its_ack_repeated() {
    let mut wire = Wire::new();
    let (dialog, _) = wire.called("Record-Route: <sip:192.0.2.9:5070;lr>\n");
    assert!(wire.endpoint.offer(wire.now, dialog, b"v=1\r\n".to_vec()));
    let offer = wire.only();
    assert!(offer.starts_with("INVITE sip:caller@192.0.2.2 SIP/2.0\r\n"), "{offer}");
    assert_eq!(header(&offer, "CSeq"), Some("1 INVITE"));
    assert_eq!(header(&offer, "To"), Some("<sip:caller@192.0.2.2>;tag=them"));
    assert_eq!(header(&offer, "Route"), Some("<sip:192.0.2.9:5070;lr>"));
    assert_eq!(header(&offer, "Contact"), Some("<sip:192.0.2.1:5060>"));
    assert!(offer.ends_with("Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=1\r\n"));
    wire.respond(&offer, "100 Trying", "");
    let answer = "Contact: <sip:elsewhere@192.0.2.2>\nContent-Type: application/sdp\n\nv=2";
    wire.respond(&offer, "200 OK", answer);
    let ack = wire.only();
    // The target is refreshed (RFC 3261 section 12.2.1.2), the route set stays.
    assert!(ack.starts_with("ACK sip:elsewhere@192.0.2.2 SIP/2.0\r\n"), "{ack}");
    assert_eq!(header(&ack, "CSeq"), Some("1 ACK"));
    assert_eq!(header(&ack, "Route"), Some("<sip:192.0.2.9:5070;lr>"));
    assert!(
        matches!(&wire.events[..], [Event::OfferAnswered { dialog: of, sdp: Some(sdp) }] if *of == dialog && sdp.starts_with(b"v=2")),
        "{:?}",
        wire.events
    );
    wire.respond(&offer, "200 OK", answer);
    assert_eq!(wire.only(), ack);
    assert_eq!(wire.events.len(), 1);
    wire.run(LONG);
    assert_eq!(wire.endpoint.counters().transactions, 0);
    assert_eq!(wire.endpoint.counters().dialogs, 1);
}

#[test]
fn an_offer_refused_leaves_the_session_and_a_lost_one_ends_it() {
    for (status, ends) in [
        ("488 Not Acceptable Here", false),
        ("481 Gone", true),
        ("408 Timeout", true),
    ] {
        let mut wire = Wire::new();
        let (dialog, _) = wire.calling("");
        wire.endpoint.offer(wire.now, dialog, b"v=1\r\n".to_vec());
        let offer = wire.only();
        wire.respond(&offer, status, "");
        let sent = wire.take();
        assert!(
            sent[0].starts_with("ACK ") && header(&sent[0], "To") == header(&offer, "To"),
            "{sent:#?}"
        );
        let code: u16 = status[..3].parse().unwrap();
        assert!(
            matches!(&wire.events[0], Event::OfferRefused { outcome, .. } if outcome.status == code),
            "{:?}",
            wire.events
        );
        assert_eq!(wire.events.len() == 2, ends, "{:?}", wire.events);
        assert_eq!(sent.len() == 2, ends, "{sent:#?}");
        // Where it goes on there is room for the next offer.
        assert_eq!(wire.endpoint.offer(wire.now, dialog, b"v=2\r\n".to_vec()), !ends);
    }
}

#[test]
fn an_offer_that_nobody_answers_ends_the_call() {
    let mut wire = Wire::new();
    let (dialog, _) = wire.calling("");
    wire.endpoint.offer(wire.now, dialog, b"v=1\r\n".to_vec());
    let offer = wire.only();
    wire.respond(&offer, "100 Trying", "");
    let log = wire.run(LONG);
    assert_eq!(log[0], (60_000, "BYE sip:them@192.0.2.2 SIP/2.0".into()));
    let lost = Event::Terminated {
        dialog,
        cause: Termination::Lost { status: 408 },
    };
    assert_eq!(wire.events, [lost]);
    assert_eq!(wire.endpoint.counters().dialogs, 0);
    // A 2xx that comes after all finds nobody, and harms nobody.
    wire.respond(&offer, "200 OK", "Contact: <sip:them@192.0.2.2>\n");
    assert_eq!(wire.take(), [""; 0]);
}

#[test]
fn of_an_offer_whose_call_has_ended_nothing_stays() {
    // Before the first response, and after.
    for early in [true, false] {
        let mut wire = Wire::new();
        let (dialog, tag) = wire.called("");
        wire.endpoint.offer(wire.now, dialog, b"v=1\r\n".to_vec());
        let offer = wire.only();
        if early {
            wire.respond(&offer, "100 Trying", "");
        }
        wire.feed(&request("BYE", "b1", 2, &tag, ""));
        wire.respond(&offer, "100 Trying", "");
        wire.run(LONG);
        let counters = wire.endpoint.counters();
        assert_eq!((counters.dialogs, counters.transactions), (0, 0), "early: {early}");
    }
}

#[test]
fn an_offer_that_meets_another_waits_as_long_as_its_side_has_to() {
    for (ours, least, most) in [(true, 2100, 4000), (false, 0, 2000)] {
        let mut waits = vec![];
        for round in 0..20 {
            let mut wire = Wire::new();
            for _ in 0..round {
                // Draws something, so that each round waits otherwise.
                wire.endpoint.invite(wire.now, outgoing(0));
            }
            wire.take();
            let (dialog, tag) = match ours {
                true => wire.calling(""),
                false => wire.called(""),
            };
            wire.endpoint.offer(wire.now, dialog, b"v=1\r\n".to_vec());
            let offer = wire.only();
            // Theirs comes while ours is on its way.
            let call_id = header(&offer, "Call-ID").unwrap().to_owned();
            let theirs = request("INVITE", "r1", 2, &tag, "").replace("call@192.0.2.2", &call_id);
            wire.feed(&theirs);
            assert_eq!(wire.lines(), ["SIP/2.0 491 Request Pending"]);
            wire.respond(&offer, "491 Request Pending", "");
            assert_eq!(wire.lines().len(), 1);
            assert_eq!(wire.events, []);
            let begun = wire
                .run(5 * SECOND)
                .into_iter()
                .find(|(_, line)| line.starts_with("INVITE sip:them") || line.starts_with("INVITE sip:caller"));
            waits.push(begun.expect("it is sent again").0);
        }
        assert!(waits.iter().all(|wait| (least..=most).contains(wait)), "{waits:?}");
        waits.dedup();
        assert!(waits.len() > 10, "{waits:?}");
    }
}

#[test]
fn an_offer_waits_for_theirs_and_the_last_of_several_is_sent() {
    let mut wire = Wire::new();
    let (dialog, tag) = wire.called("");
    wire.feed(&request("INVITE", "r1", 2, &tag, ""));
    assert!(matches!(wire.events.last(), Some(Event::Reinvite { .. })));
    wire.take();
    for version in ["v=1\r\n", "v=2\r\n"] {
        assert!(wire.endpoint.offer(wire.now, dialog, version.into()));
    }
    assert_eq!(wire.take(), [""; 0]);
    wire.endpoint.answer(wire.now, dialog, b"v=0\r\n".to_vec());
    wire.feed(&request("ACK", "r2", 2, &tag, ""));
    wire.take();
    wire.events.clear();
    let mut offer = String::new();
    while offer.is_empty() {
        wire.now = wire.drain().expect("the offer waits");
        wire.endpoint.handle_timeout(wire.now);
        offer = wire.take().join("");
    }
    assert!(offer.starts_with("INVITE ") && offer.ends_with("v=2\r\n"), "{offer}");
    assert!(wire.now.as_micros() <= 2_000_000, "{:?}", wire.now);
}

#[test]
fn offers_that_cross_are_both_answered_in_the_end() {
    for seed in 0..50 {
        let mut pair = Pair::new(
            seed,
            Network {
                delay: (50, 50),
                ..Network::PERFECT
            },
        );
        let a = pair.ends[0].invite(pair.now, outgoing(0));
        let Event::Incoming(call) = pair.event(1) else { panic!() };
        let b = call.dialog;
        pair.ends[1].answer(pair.now, b, b"v=0\r\n".to_vec());
        assert!(matches!(pair.event(0), Event::Answered { .. }));
        assert!(matches!(pair.event(1), Event::Confirmed { .. }));
        let names = [a, b];
        for side in [0, 1] {
            assert!(pair.ends[side].offer(pair.now, names[side], b"v=1\r\n".to_vec()));
        }
        let mut answered = [0, 0];
        while answered != [1, 1] {
            assert!(pair.step(), "seed {seed}: {answered:?}");
            for side in [0, 1] {
                for event in std::mem::take(&mut pair.events[side]) {
                    match event {
                        Event::Reinvite { dialog, sdp } => {
                            assert_eq!(sdp.as_deref(), Some(&b"v=1\r\n"[..]));
                            pair.ends[side].answer(pair.now, dialog, b"v=2\r\n".to_vec());
                        }
                        Event::OfferAnswered { sdp, .. } => {
                            assert_eq!(sdp.as_deref(), Some(&b"v=2\r\n"[..]));
                            answered[side] += 1;
                        }
                        Event::Confirmed { .. } => {}
                        other => panic!("seed {seed}: {other:?}"),
                    }
                }
            }
        }
        assert!(pair.log.iter().any(|(_, _, text)| text.starts_with("SIP/2.0 491 ")));
        pair.ends[0].hang_up(pair.now, a, None);
        pair.settle();
        pair.assert_empty("ended");
    }
}

#[test]
fn a_call_that_ends_while_an_offer_is_under_way_ends_once() {
    // Whoever hangs up.
    for ender in [0, 1] {
        let mut pair = Pair::new(3, Network::PERFECT);
        let a = pair.ends[0].invite(pair.now, outgoing(0));
        let Event::Incoming(call) = pair.event(1) else { panic!() };
        let b = call.dialog;
        pair.ends[1].answer(pair.now, b, b"v=0\r\n".to_vec());
        pair.run(SECOND);
        pair.events = [vec![], vec![]];
        pair.ends[0].offer(pair.now, a, b"v=1\r\n".to_vec());
        assert!(matches!(pair.event(1), Event::Reinvite { .. }));
        pair.ends[ender].hang_up(pair.now, [a, b][ender], None);
        pair.settle();
        assert!(
            matches!(pair.events[ender][..], [Event::Terminated { .. }]),
            "{:?}",
            pair.events
        );
        // Whose offer it was may hear of that before.
        assert!(
            matches!(
                pair.events[1 - ender][..],
                [Event::OfferRefused { .. }, Event::Bye { .. }] | [Event::Bye { .. }]
            ),
            "{:?}",
            pair.events
        );
        pair.assert_empty("ended");
    }
}
