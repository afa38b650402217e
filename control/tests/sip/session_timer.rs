//! Session timers (RFC 4028) and UPDATE (RFC 3311): what is asked and answered, who refreshes, what ends.

use std::time::Duration;

use crate::support::wire::{Wire, header, request, to_tag};
use crate::support::{Network, Pair, outgoing, timers, with_policy};
use voxlane::sip::{DialogId, Event, Extension, Policy, Refresher, SessionTimer, Termination};

const SECOND: Duration = Duration::from_secs(1);
const ON: Extension = Extension::Supported;

fn wire(policy: Policy) -> Wire {
    let mut wire = Wire::new();
    wire.endpoint = with_policy(
        std::mem::replace(&mut wire.endpoint, crate::support::endpoint(0)),
        policy,
    );
    wire
}

/// One whose dialogs do nothing beyond RFC 3261.
fn wire_without() -> Wire {
    wire(Policy::default())
}

/// Their INVITE with these headers, answered; gives the response to it.
fn answered(wire: &mut Wire, extra: &str) -> String {
    wire.feed(&request("INVITE", "i1", 1, "", extra));
    if let Some(Event::Incoming(call)) = wire.events.last() {
        let dialog = call.dialog;
        wire.endpoint.answer(wire.now, dialog, b"v=0\r\no=- 1 1\r\n".to_vec());
    }
    wire.take().pop().expect("a response")
}

/// Our call; its INVITE.
fn placed(wire: &mut Wire) -> (DialogId, String) {
    let mut call = outgoing(0);
    call.trunk = Some("t".into());
    let dialog = wire.endpoint.invite(wire.now, call);
    (dialog, wire.only())
}

/// The timer of the one dialog.
fn timer(wire: &Wire) -> Option<SessionTimer> {
    wire.endpoint.session_timer(DialogId(1))
}

#[test]
fn what_is_answered_to_what_is_asked() {
    use Refresher::{Them, Us};
    let asks = |expires: &str| format!("Supported: timer\n{expires}\n");
    for (extra, policy, expected) in [
        // No more than is asked for, no more than we would have, no less than either has as least.
        (
            asks("Session-Expires: 600"),
            timers(ON, 1800, 90, None),
            Some((600, Them, "600;refresher=uac", true)),
        ),
        (
            asks("x: 3600"),
            timers(ON, 1800, 90, None),
            Some((1800, Them, "1800;refresher=uac", true)),
        ),
        (
            asks("Session-Expires: 3600\nMin-SE: 2000"),
            timers(ON, 1800, 90, None),
            Some((2000, Them, "2000;refresher=uac", true)),
        ),
        // Who refreshes is theirs to say, then ours.
        (
            asks("Session-Expires: 600;refresher=uas"),
            timers(ON, 1800, 90, Some(Them)),
            Some((600, Us, "600;refresher=uas", true)),
        ),
        (
            asks("Session-Expires: 600;refresher=uac"),
            timers(ON, 1800, 90, Some(Us)),
            Some((600, Them, "600;refresher=uac", true)),
        ),
        (
            asks("Session-Expires: 600"),
            timers(ON, 1800, 90, Some(Us)),
            Some((600, Us, "600;refresher=uas", true)),
        ),
        // Nothing is asked: we have one all the same.
        (
            "Supported: timer\n".into(),
            timers(ON, 1800, 90, None),
            Some((1800, Them, "1800;refresher=uac", true)),
        ),
        (
            "Supported: timer\nMin-SE: 2400\n".into(),
            timers(ON, 1800, 90, None),
            Some((2400, Them, "2400;refresher=uac", true)),
        ),
        // They have no timers: a proxy of theirs may have asked, and 422 would tell them nothing.
        (
            String::new(),
            timers(ON, 1800, 90, None),
            Some((1800, Us, "1800;refresher=uas", false)),
        ),
        (
            "Session-Expires: 60\n".into(),
            timers(ON, 1800, 90, None),
            Some((60, Us, "60;refresher=uas", false)),
        ),
        (
            "Require: timer\nSession-Expires: 600\n".into(),
            timers(ON, 1800, 90, None),
            Some((600, Them, "600;refresher=uac", true)),
        ),
        // What cannot be read is not there.
        (
            asks("Session-Expires: soon"),
            timers(ON, 1800, 90, None),
            Some((1800, Them, "1800;refresher=uac", true)),
        ),
        (asks("Session-Expires: 600"), Policy::default(), None),
    ] {
        let mut wire = wire(policy);
        let response = answered(&mut wire, &extra);
        assert!(response.starts_with("SIP/2.0 200 OK\r\n"), "{extra}: {response}");
        let (written, required) = match expected {
            Some((interval, refresher, written, required)) => {
                assert_eq!(timer(&wire), Some(SessionTimer { interval, refresher }), "{extra}");
                (Some(written), required.then_some("timer"))
            }
            None => (None, None),
        };
        assert_eq!(header(&response, "Session-Expires"), written, "{extra}");
        assert_eq!(header(&response, "Require"), required, "{extra}");
        assert_eq!(
            header(&response, "Supported"),
            Some(if expected.is_some() { "timer" } else { "" })
        );
    }
}

#[test]
fn calls_that_ask_for_too_short_sessions_or_for_none_are_refused() {
    for (extra, policy, status, name, value) in [
        (
            "Supported: timer\nSession-Expires: 89\n",
            timers(ON, 1800, 90, None),
            422,
            "Min-SE",
            "90",
        ),
        (
            "Supported: timer\nSession-Expires: 100\n",
            timers(ON, 1800, 120, None),
            422,
            "Min-SE",
            "120",
        ),
        ("", timers(Extension::Required, 1800, 90, None), 421, "Require", "timer"),
        ("Require: timer\n", Policy::default(), 420, "Unsupported", "timer"),
        (
            "Require: timer, magic\n",
            timers(ON, 1800, 90, None),
            420,
            "Unsupported",
            "magic",
        ),
    ] {
        let mut wire = wire(policy);
        let response = answered(&mut wire, extra);
        assert!(
            response.starts_with(&format!("SIP/2.0 {status} ")),
            "{extra}: {response}"
        );
        assert_eq!(header(&response, name), Some(value), "{extra}");
        assert_eq!((wire.events.len(), wire.endpoint.counters().dialogs), (0, 0));
    }
}

#[test]
fn our_calls_ask_and_take_what_is_answered() {
    use Refresher::{Them, Us};
    for (policy, asked, least, answer, expected) in [
        (
            timers(ON, 1800, 90, None),
            "1800",
            None,
            "Session-Expires: 900;refresher=uas\n",
            Some((900, Them)),
        ),
        (
            timers(ON, 600, 90, Some(Us)),
            "600;refresher=uac",
            None,
            "Session-Expires: 600;refresher=uac\n",
            Some((600, Us)),
        ),
        (
            timers(ON, 600, 120, Some(Them)),
            "600;refresher=uas",
            Some("120"),
            "Session-Expires: 300\n",
            Some((300, Us)),
        ),
        // Nobody makes us refresh all the time.
        (
            timers(ON, 600, 90, None),
            "600",
            None,
            "Session-Expires: 1;refresher=uac\n",
            Some((90, Us)),
        ),
        // They have no timers: we refresh all the same, and find out whether they are there.
        (timers(ON, 600, 90, None), "600", None, "", Some((600, Us))),
    ] {
        let mut wire = wire(policy);
        let (dialog, invite) = placed(&mut wire);
        assert_eq!(header(&invite, "Session-Expires"), Some(asked));
        assert_eq!(header(&invite, "Min-SE"), least);
        assert_eq!(header(&invite, "Supported"), Some("timer"));
        wire.respond(&invite, "200 OK", &format!("Contact: <sip:them@192.0.2.2>\n{answer}"));
        let expected = expected.map(|(interval, refresher)| SessionTimer { interval, refresher });
        assert_eq!(wire.endpoint.session_timer(dialog), expected, "{answer}");
    }
}

#[test]
fn a_422_is_answered_by_a_longer_session_as_often_as_it_grows() {
    let mut wire = wire(timers(ON, 600, 90, None));
    let (dialog, invite) = placed(&mut wire);
    let mut invite = invite;
    for least in [900, 1200] {
        wire.respond(&invite, "422 Session Interval Too Small", &format!("Min-SE: {least}\n"));
        let sent = wire.take();
        assert!(
            sent[0].starts_with("ACK ") && sent[1].starts_with("INVITE "),
            "{sent:#?}"
        );
        let next = sent[1].clone();
        assert_eq!(header(&next, "Session-Expires"), Some(&*least.to_string()));
        assert_eq!(header(&next, "Min-SE"), Some(&*least.to_string()));
        assert_eq!(header(&next, "Call-ID"), header(&invite, "Call-ID"));
        assert_ne!(header(&next, "CSeq"), header(&invite, "CSeq"));
        invite = next;
    }
    assert_eq!(wire.events, []);
    // The same again leads nowhere.
    wire.respond(&invite, "422 Session Interval Too Small", "Min-SE: 1200\n");
    assert!(
        matches!(&wire.events[..], [Event::Failed { dialog: of, status: 422, .. }] if *of == dialog),
        "{:?}",
        wire.events
    );
}

#[test]
fn we_refresh_at_half_time_by_update_where_it_is_taken_and_else_by_the_same_sdp() {
    for (allow, method) in [
        ("Allow: INVITE, ACK, BYE, UPDATE\n", "UPDATE"),
        ("Allow: INVITE\n", "INVITE"),
        ("", "INVITE"),
    ] {
        let mut wire = wire(timers(ON, 600, 90, None));
        let extra = format!("Supported: timer\nSession-Expires: 600;refresher=uas\n{allow}");
        let tag = to_tag(&answered(&mut wire, &extra));
        wire.feed(&request("ACK", "a1", 1, &tag, ""));
        let mut refreshes = 0;
        for round in 1..=3 {
            let sent = at_next(&mut wire);
            assert_eq!(wire.now.as_micros(), round * 300_000_000, "{method}");
            assert!(
                sent.starts_with(&format!("{method} sip:caller@192.0.2.2 SIP/2.0\r\n")),
                "{sent}"
            );
            assert_eq!(header(&sent, "Session-Expires"), Some("600;refresher=uac"));
            assert_eq!(header(&sent, "Supported"), Some("timer"));
            assert_eq!(
                sent.ends_with("\r\n\r\nv=0\r\no=- 1 1\r\n"),
                method == "INVITE",
                "{sent}"
            );
            let answer = "Session-Expires: 600;refresher=uac\nContent-Type: application/sdp\n\nv=0\no=- 5 5\n";
            wire.respond(&sent, "200 OK", answer);
            wire.take();
            refreshes += 1;
            assert_eq!(wire.endpoint.counters().sessions_refreshed, refreshes);
        }
        // That theirs is what it was when they first said it nobody need hear, only that they first said it.
        let told = wire
            .events
            .iter()
            .filter(|event| matches!(event, Event::OfferAnswered { .. }))
            .count();
        assert_eq!(told, usize::from(method == "INVITE"), "{:?}", wire.events);
    }
}

/// Runs to the next time at which something is sent, and takes the first of it.
fn at_next(wire: &mut Wire) -> String {
    loop {
        wire.now = wire.drain().expect("a timer");
        wire.endpoint.handle_timeout(wire.now);
        let sent = wire.take();
        if let Some(first) = sent.first() {
            return first.clone();
        }
    }
}

/// A call of theirs that is up, where the other side refreshes every `interval` or does not.
fn refreshed_by(refresher: &str, interval: u32) -> (Wire, String) {
    let mut wire = wire(timers(ON, interval, 10, None));
    let extra = format!("Supported: timer\nAllow: UPDATE\nSession-Expires: {interval};refresher={refresher}\n");
    let tag = to_tag(&answered(&mut wire, &extra));
    wire.feed(&request("ACK", "a1", 1, &tag, ""));
    wire.events.clear();
    (wire, tag)
}

#[test]
fn a_session_that_nobody_refreshes_ends_before_its_interval_does() {
    for (interval, ends) in [(600, 568), (60, 40)] {
        let (mut wire, _) = refreshed_by("uac", interval);
        let bye = at_next(&mut wire);
        assert_eq!(wire.now.as_micros(), ends * 1_000_000);
        assert!(bye.starts_with("BYE "), "{bye}");
        assert_eq!(
            header(&bye, "Reason"),
            Some("Q.850;cause=102;text=\"session timer expired\"")
        );
        let expired = Event::Terminated {
            dialog: DialogId(1),
            cause: Termination::SessionExpired,
        };
        assert_eq!(wire.events, [expired]);
        assert_eq!(wire.endpoint.counters().sessions_expired, 1);
        wire.respond(&bye, "200 OK", "");
        assert_eq!((wire.events.len(), wire.endpoint.counters().dialogs), (1, 0));
    }
}

#[test]
fn each_refresh_of_theirs_begins_the_interval_anew() {
    let (mut wire, tag) = refreshed_by("uac", 60);
    let session = "Supported: timer\nSession-Expires: 60;refresher=uac\n";
    for cseq in 2..6 {
        wire.run(30 * SECOND);
        match cseq % 2 {
            0 => {
                wire.feed(&request("UPDATE", &format!("u{cseq}"), cseq, &tag, session));
                let response = wire.only();
                assert!(response.starts_with("SIP/2.0 200 OK\r\n"), "{response}");
                assert_eq!(header(&response, "Session-Expires"), Some("60;refresher=uac"));
                assert_eq!(header(&response, "Contact"), Some("<sip:192.0.2.1:5060>"));
            }
            _ => {
                wire.feed(&request("INVITE", &format!("r{cseq}"), cseq, &tag, session));
                assert!(matches!(wire.events.pop(), Some(Event::Reinvite { .. })));
                wire.endpoint.answer(wire.now, DialogId(1), b"v=0\r\n".to_vec());
                wire.feed(&request("ACK", &format!("k{cseq}"), cseq, &tag, ""));
                assert!(matches!(wire.events.pop(), Some(Event::Confirmed { .. })));
            }
        }
    }
    wire.take();
    // One that is too short is none.
    wire.run(30 * SECOND);
    wire.feed(&request(
        "UPDATE",
        "short",
        9,
        &tag,
        "Supported: timer\nSession-Expires: 9\n",
    ));
    let response = wire.only();
    assert!(response.starts_with("SIP/2.0 422 "), "{response}");
    assert_eq!(header(&response, "Min-SE"), Some("10"));
    assert!(wire.run(11 * SECOND).iter().any(|(_, line)| line.starts_with("BYE ")));
}

#[test]
fn a_refresh_that_is_refused_is_tried_again_otherwise_and_ends_in_time() {
    // UPDATE is not served after all: a re-INVITE.
    let (mut wire, _) = refreshed_by("uas", 320);
    let update = at_next(&mut wire);
    assert!(update.starts_with("UPDATE "));
    wire.respond(&update, "405 Method Not Allowed", "");
    let invite = wire.only();
    assert!(invite.starts_with("INVITE "), "{invite}");
    // Which they cannot take now, and later.
    wire.respond(&invite, "500 Later", "Retry-After: 7\n");
    wire.take();
    let invite = at_next(&mut wire);
    assert_eq!(wire.now.as_micros(), 167_000_000);
    wire.respond(&invite, "503 Never", "");
    wire.take();
    let invite = at_next(&mut wire);
    assert!(invite.starts_with("INVITE "));
    // A sixteenth of the interval later.
    assert_eq!(wire.now.as_micros(), 187_000_000);
    wire.respond(&invite, "422 Too Short", "Min-SE: 400\n");
    let sent = wire.take();
    assert_eq!(
        header(&sent[1], "Session-Expires"),
        Some("400;refresher=uac"),
        "{sent:#?}"
    );
    wire.respond(&sent[1], "503 Never", "");
    while wire.endpoint.counters().sessions_expired == 0 {
        let sent = at_next(&mut wire);
        if sent.starts_with("INVITE ") {
            wire.respond(&sent, "503 Never", "");
        }
    }
    assert_eq!(wire.now.as_micros(), 288_000_000);
}

#[test]
fn a_refresh_that_nobody_answers_ends_the_call() {
    let (mut wire, _) = refreshed_by("uas", 600);
    wire.run(332 * SECOND);
    let lost = Event::Terminated {
        dialog: DialogId(1),
        cause: Termination::Lost { status: 408 },
    };
    assert_eq!(wire.events, [lost]);
}

#[test]
fn two_of_us_keep_a_call_up_whoever_refreshes_over_any_network() {
    for seed in 0..200 {
        let network = Network {
            loss: [0.0, 0.1][seed as usize % 2],
            duplication: 0.1,
            delay: (1, 400),
        };
        let mut pair = Pair::new(seed, network);
        let refresher = [None, Some(Refresher::Us), Some(Refresher::Them)][seed as usize % 3];
        for (side, expires) in [(0, 90), (1, 120)] {
            let end = std::mem::replace(&mut pair.ends[side], crate::support::endpoint(0));
            pair.ends[side] = with_policy(end, timers(Extension::Required, expires, 90, refresher));
        }
        let mut call = outgoing(0);
        call.trunk = Some("t".into());
        let a = pair.ends[0].invite(pair.now, call);
        let Event::Incoming(call) = pair.event(1) else { panic!() };
        pair.ends[1].answer(pair.now, call.dialog, b"v=0\r\n".to_vec());
        pair.run(1000 * SECOND);
        let refreshed = pair
            .ends
            .iter()
            .map(|end| end.counters().sessions_refreshed)
            .collect::<Vec<_>>();
        assert!(refreshed.iter().all(|count| *count > 5), "seed {seed}: {refreshed:?}");
        assert!(pair.up.iter().all(|up| up.len() == 1), "seed {seed}: {:?}", pair.events);
        pair.ends[0].hang_up(pair.now, a, None);
        pair.settle();
        pair.assert_empty(&format!("seed {seed}"));
    }
}

#[test]
fn a_peer_that_vanishes_is_noticed_by_either_side() {
    for refresher in [Refresher::Us, Refresher::Them] {
        let mut pair = Pair::new(1, Network::PERFECT);
        for side in [0, 1] {
            let end = std::mem::replace(&mut pair.ends[side], crate::support::endpoint(0));
            pair.ends[side] = with_policy(end, timers(ON, 90, 90, Some(refresher)));
        }
        let mut call = outgoing(0);
        call.trunk = Some("t".into());
        pair.ends[0].invite(pair.now, call);
        let Event::Incoming(call) = pair.event(1) else { panic!() };
        pair.ends[1].answer(pair.now, call.dialog, b"v=0\r\n".to_vec());
        pair.run(10 * SECOND);
        // The network is gone for good.
        pair.cut();
        pair.settle();
        pair.assert_empty("vanished");
        assert!(pair.now.as_micros() < 200_000_000, "{:?}", pair.now);
    }
}

#[test]
fn an_update_with_an_offer_is_the_call_layers() {
    let mut wire = wire_without();
    let (dialog, tag) = wire.called("");
    let sdp = "Content-Type: application/sdp\nContact: <sip:moved@192.0.2.2>\nContent-Length: 5\n\nv=1\n";
    let update = |branch: &str, cseq| request("UPDATE", branch, cseq, &tag, sdp).trim_end().to_owned() + "\n";
    wire.feed(&update("u1", 2));
    assert_eq!(wire.take(), [""; 0]);
    let offered = Event::Update {
        dialog,
        sdp: b"v=1\r\n".to_vec(),
    };
    assert_eq!(wire.events, [offered]);
    // Repeated it is not another, and the next one waits for it (RFC 3311 section 5.2).
    wire.feed(&update("u1", 2));
    assert_eq!((wire.take().len(), wire.events.len()), (0, 1));
    wire.feed(&update("u2", 3));
    let later = wire.only();
    assert!(
        later.starts_with("SIP/2.0 500 ") && header(&later, "Retry-After").is_some(),
        "{later}"
    );
    wire.endpoint.answer_update(wire.now, dialog, b"v=2\r\n".to_vec());
    let answer = wire.only();
    assert!(
        answer.starts_with("SIP/2.0 200 OK\r\n") && answer.ends_with("\r\n\r\nv=2\r\n"),
        "{answer}"
    );
    assert_eq!(header(&answer, "CSeq"), Some("2 UPDATE"));
    wire.feed(&update("u1", 2));
    assert_eq!(wire.only(), answer);
    // Their target has moved, and so has where our requests go.
    wire.feed(&update("u4", 4));
    wire.endpoint
        .reject_update(wire.now, dialog, 488, &[("Warning", "399 x \"no\"")]);
    let refusal = wire.only();
    assert!(
        refusal.starts_with("SIP/2.0 488 ") && header(&refusal, "Warning").is_some(),
        "{refusal}"
    );
    wire.endpoint.hang_up(wire.now, dialog, None);
    assert!(wire.only().starts_with("BYE sip:moved@192.0.2.2 "));
}

#[test]
fn offers_by_update_that_meet_other_offers() {
    let sdp = "Content-Type: application/sdp\nContent-Length: 5\n\nv=1\n";
    let update = |branch: &str, cseq, tag: &str, extra: &str| {
        request("UPDATE", branch, cseq, tag, extra).trim_end().to_owned() + "\n"
    };
    // Before the call is answered its own offer is not, either; without an offer there is nothing to meet.
    let mut wire = wire_without();
    wire.feed(&request("INVITE", "i1", 1, "", ""));
    let dialog = wire.incoming();
    wire.endpoint.ring(wire.now, dialog, 180, None);
    let tag = to_tag(&wire.take()[1]);
    wire.feed(&update("u1", 2, &tag, sdp));
    let later = wire.only();
    assert!(
        later.starts_with("SIP/2.0 500 ") && header(&later, "Retry-After").is_some(),
        "{later}"
    );
    wire.feed(&(update("u2", 3, &tag, "") + "\n"));
    assert!(wire.only().starts_with("SIP/2.0 200 "));
    // Our answer to an INVITE without one is an offer, and on its way until the ACK.
    wire.endpoint.answer(wire.now, dialog, b"v=0\r\n".to_vec());
    wire.take();
    wire.feed(&update("u3", 4, &tag, sdp));
    assert!(wire.only().starts_with("SIP/2.0 491 "));
    wire.feed(&request("ACK", "a1", 1, &tag, ""));
    // So is our re-INVITE.
    wire.endpoint.offer(wire.now, dialog, b"v=2\r\n".to_vec());
    wire.take();
    wire.feed(&update("u4", 5, &tag, sdp));
    assert!(wire.only().starts_with("SIP/2.0 491 "));
    // A re-INVITE of theirs waits for its answer.
    let mut wire = wire_without();
    let (_, tag) = wire.called("");
    wire.feed(&request("INVITE", "r1", 2, &tag, ""));
    wire.take();
    wire.feed(&update("u1", 3, &tag, sdp));
    assert!(wire.only().starts_with("SIP/2.0 500 "));
    // In a dialog that is not there.
    wire.feed(&update("u9", 9, "nobody", sdp));
    assert!(wire.only().starts_with("SIP/2.0 481 "));
}
