//! Provisional responses that have to arrive (RFC 3262), as caller and as callee.

use std::time::Duration;

use crate::support::wire::{Wire, header, request, to_tag};
use crate::support::{Network, Pair, outgoing, reliable, with_policy};
use voxlane::sip::{DialogId, Event, Extension, Termination};

const SECOND: Duration = Duration::from_secs(1);
const SDP: &str = "Content-Type: application/sdp\nContent-Length: 5\n\nv=1\n";

fn wire(extension: Extension) -> Wire {
    let mut wire = Wire::new();
    let endpoint = std::mem::replace(&mut wire.endpoint, crate::support::endpoint(0));
    wire.endpoint = with_policy(endpoint, reliable(extension));
    wire
}

/// A message with a body: what [`request`] makes, without its last line.
fn with_body(method: &str, branch: &str, cseq: u32, tag: &str, extra: &str) -> String {
    request(method, branch, cseq, tag, extra).trim_end().to_owned() + "\n"
}

/// Their INVITE with an offer and these headers, which has rung with early media; the response to that.
fn rung(wire: &mut Wire, extra: &str) -> (DialogId, String) {
    wire.feed(&with_body("INVITE", "i1", 1, "", &format!("{extra}{SDP}")));
    let dialog = wire.incoming();
    wire.take();
    wire.endpoint.ring(wire.now, dialog, 183, Some(b"v=2\r\n".to_vec()));
    wire.events.clear();
    (dialog, wire.only())
}

/// Acknowledges a reliable response.
fn prack(ring: &str, branch: &str, cseq: u32, extra: &str) -> String {
    let rseq = header(ring, "RSeq").expect("RSeq");
    let rack = format!("RAck: {rseq} 1 INVITE\n{extra}");
    match extra.contains("\n\n") {
        true => with_body("PRACK", branch, cseq, &to_tag(ring), &rack),
        false => request("PRACK", branch, cseq, &to_tag(ring), &rack),
    }
}

#[test]
fn who_gets_reliable_responses() {
    use Extension::{Off, Required, Supported};
    // Of a 180 without SDP and a 183 with it.
    for (policy, asks, expected) in [
        (Off, "Supported: 100rel\n", [false, false]),
        (Supported, "", [false, false]),
        (Supported, "Supported: 100rel\n", [false, true]),
        (Supported, "Require: 100rel\n", [true, true]),
        (Required, "Supported: 100rel\n", [true, true]),
    ] {
        let mut wire = wire(policy);
        wire.feed(&with_body("INVITE", "i1", 1, "", &format!("{asks}{SDP}")));
        let dialog = wire.incoming();
        wire.take();
        let mut reliable = vec![];
        for (cseq, (status, sdp)) in [(180, None), (183, Some(b"v=2\r\n".to_vec()))].into_iter().enumerate() {
            wire.endpoint.ring(wire.now, dialog, status, sdp);
            let ring = wire.only();
            let is_reliable = header(&ring, "RSeq").is_some();
            assert_eq!(header(&ring, "Require"), is_reliable.then_some("100rel"));
            reliable.push(is_reliable);
            if is_reliable {
                wire.feed(&prack(&ring, &format!("p{cseq}"), cseq as u32 + 2, ""));
                assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
            }
        }
        assert_eq!(reliable, expected, "{policy:?} {asks}");
    }
    for (policy, asks, status, name) in [
        (Off, "Require: 100rel\n", "420", "Unsupported"),
        (Required, "", "421", "Require"),
    ] {
        let mut wire = wire(policy);
        wire.feed(&with_body("INVITE", "i1", 1, "", &format!("{asks}{SDP}")));
        let refusal = wire.only();
        assert!(refusal.starts_with(&format!("SIP/2.0 {status} ")), "{refusal}");
        assert_eq!(header(&refusal, name), Some("100rel"));
    }
}

#[test]
fn a_reliable_response_is_repeated_until_its_prack_and_the_answer_waits() {
    let mut wire = wire(Extension::Supported);
    let (dialog, ring) = rung(&mut wire, "Supported: 100rel\n");
    assert!(ring.ends_with("\r\n\r\nv=2\r\n"), "{ring}");
    let times: Vec<u64> = wire.run(8 * SECOND).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [500, 1500, 3500, 7500]);
    wire.endpoint.answer(wire.now, dialog, b"v=2\r\n".to_vec());
    assert_eq!(wire.take(), [""; 0]);
    // Of something else, or of nothing.
    let tag = to_tag(&ring);
    for (cseq, rack) in [(2, "RAck: 1 1 INVITE\n"), (3, "RAck: x\n"), (4, "")] {
        wire.feed(&request("PRACK", &format!("x{cseq}"), cseq, &tag, rack));
        assert_eq!(wire.lines(), ["SIP/2.0 481 Call/Transaction Does Not Exist"], "{rack}");
    }
    wire.feed(&prack(&ring, "p1", 5, ""));
    let sent = wire.take();
    assert!(
        sent[0].starts_with("SIP/2.0 200 OK\r\n") && header(&sent[0], "CSeq") == Some("5 PRACK"),
        "{sent:#?}"
    );
    // The answer was in the 183.
    assert!(
        sent[1].starts_with("SIP/2.0 200 OK\r\n") && header(&sent[1], "CSeq") == Some("1 INVITE"),
        "{sent:#?}"
    );
    assert!(sent[1].ends_with("Content-Length: 0\r\n\r\n"), "{}", sent[1]);
    wire.feed(&request("ACK", "a1", 1, &tag, ""));
    assert_eq!(wire.events, [Event::Confirmed { dialog, sdp: None }]);
    assert_eq!(wire.run(20 * SECOND), []);
}

#[test]
fn several_are_sent_one_after_the_other() {
    let mut wire = wire(Extension::Supported);
    let (dialog, first) = rung(&mut wire, "Require: 100rel\n");
    wire.endpoint.ring(wire.now, dialog, 180, None);
    assert_eq!(wire.take(), [""; 0]);
    wire.feed(&prack(&first, "p1", 2, ""));
    let sent = wire.take();
    assert!(sent[1].starts_with("SIP/2.0 180 "), "{sent:#?}");
    let rseq = |text: &str| {
        header(text, "RSeq")
            .and_then(|text| text.parse::<u32>().ok())
            .expect("RSeq")
    };
    assert_eq!(rseq(&sent[1]), rseq(&first) + 1);
    // One without SDP does not hold the answer up, and may be acknowledged after it.
    wire.endpoint.answer(wire.now, dialog, b"v=2\r\n".to_vec());
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
    wire.feed(&prack(&sent[1], "p2", 3, ""));
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
}

#[test]
fn without_a_prack_the_call_is_refused() {
    for answers in [false, true] {
        let mut wire = wire(Extension::Supported);
        let (dialog, _) = rung(&mut wire, "Supported: 100rel\n");
        if answers {
            wire.endpoint.answer(wire.now, dialog, b"v=2\r\n".to_vec());
        }
        let log = wire.run(33 * SECOND);
        let at = log
            .iter()
            .find(|(_, line)| line.starts_with("SIP/2.0 504 "))
            .map(|(at, _)| *at);
        assert_eq!(at, Some(32_000), "{log:?}");
        let ended = Event::Terminated {
            dialog,
            cause: Termination::NoPrack,
        };
        assert_eq!(wire.events, [ended]);
        assert_eq!(wire.endpoint.counters().dialogs, 0);
    }
}

#[test]
fn a_call_that_ends_while_its_answer_waits_ends_once() {
    // The callee hangs up.
    let mut wire = wire(Extension::Supported);
    let (dialog, _) = rung(&mut wire, "Supported: 100rel\n");
    wire.endpoint.answer(wire.now, dialog, b"v=2\r\n".to_vec());
    wire.endpoint.hang_up(wire.now, dialog, None);
    assert_eq!(wire.lines(), ["SIP/2.0 480 Temporarily Unavailable"]);
    assert!(
        matches!(wire.events[..], [Event::Terminated { .. }]),
        "{:?}",
        wire.events
    );
    // The caller gives up.
    let mut wire = self::wire(Extension::Supported);
    let (dialog, _) = rung(&mut wire, "Supported: 100rel\n");
    wire.endpoint.answer(wire.now, dialog, b"v=2\r\n".to_vec());
    wire.feed(&request("CANCEL", "i1", 1, "", ""));
    assert_eq!(wire.events, [Event::Cancelled { dialog }]);
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
}

#[test]
fn once_acknowledged_the_session_may_change_before_the_answer() {
    let mut wire = wire(Extension::Supported);
    let (dialog, ring) = rung(&mut wire, "Supported: 100rel\n");
    let tag = to_tag(&ring);
    wire.feed(&with_body("UPDATE", "u1", 2, &tag, SDP));
    assert!(wire.only().starts_with("SIP/2.0 500 "));
    // An offer in the PRACK.
    wire.feed(&prack(&ring, "p1", 3, SDP));
    assert_eq!(wire.take(), [""; 0]);
    let offered = Event::Update {
        dialog,
        sdp: b"v=1\r\n".to_vec(),
    };
    assert_eq!(wire.events.last(), Some(&offered));
    assert_eq!(wire.events.len(), 1);
    wire.endpoint.answer_update(wire.now, dialog, b"v=3\r\n".to_vec());
    let answer = wire.only();
    assert_eq!(header(&answer, "CSeq"), Some("3 PRACK"));
    assert!(answer.ends_with("\r\n\r\nv=3\r\n"), "{answer}");
    // And one by UPDATE.
    wire.feed(&with_body("UPDATE", "u2", 4, &tag, SDP));
    assert_eq!(wire.events, [offered.clone(), offered]);
    wire.endpoint.reject_update(wire.now, dialog, 488, &[]);
    assert!(wire.only().starts_with("SIP/2.0 488 "));
}

#[test]
fn a_caller_without_an_offer_gets_no_reliable_response_without_one() {
    let mut wire = wire(Extension::Supported);
    wire.feed(&request("INVITE", "i1", 1, "", "Require: 100rel\n"));
    let dialog = wire.incoming();
    wire.take();
    wire.endpoint.ring(wire.now, dialog, 180, None);
    assert_eq!(wire.take(), [""; 0]);
    // With one its answer is in the PRACK.
    wire.endpoint.ring(wire.now, dialog, 183, Some(b"v=2\r\n".to_vec()));
    let ring = wire.only();
    wire.events.clear();
    wire.feed(&prack(&ring, "p1", 2, SDP));
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
    let sdp = Some(b"v=1\r\n".to_vec());
    assert_eq!(wire.events, [Event::Confirmed { dialog, sdp }]);
    wire.endpoint.answer(wire.now, dialog, b"v=2\r\n".to_vec());
    assert!(wire.only().ends_with("Content-Length: 0\r\n\r\n"));
}

/// Our call, and its INVITE.
fn placed(wire: &mut Wire) -> (DialogId, String) {
    let mut call = outgoing(0);
    call.trunk = Some("t".into());
    let dialog = wire.endpoint.invite(wire.now, call);
    (dialog, wire.only())
}

/// A provisional response of this fork.
fn provisional(wire: &mut Wire, invite: &str, tag: &str, rseq: u32, sdp: &str) {
    let value = |name| header(invite, name).expect(name);
    let body = match sdp {
        "" => "Content-Length: 0\n\n".to_owned(),
        sdp => format!(
            "Content-Type: application/sdp\nContent-Length: {}\n\n{sdp}\n",
            sdp.len() + 2
        ),
    };
    wire.feed(&format!(
        "SIP/2.0 183 Session Progress\nVia: {}\nFrom: {}\nTo: {};tag={tag}\nCall-ID: {}\nCSeq: {}\n\
         Contact: <sip:{tag}@192.0.2.2>\nRequire: 100rel\nRSeq: {rseq}\n{body}",
        value("Via"),
        value("From"),
        value("To"),
        value("Call-ID"),
        value("CSeq"),
    ));
}

#[test]
fn as_the_caller_each_is_acknowledged_in_its_order_and_fork() {
    let mut wire = wire(Extension::Supported);
    let (dialog, invite) = placed(&mut wire);
    assert_eq!(header(&invite, "Supported"), Some("100rel"));
    assert_eq!(header(&invite, "Require"), None);
    let cseq: u32 = header(&invite, "CSeq")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    provisional(&mut wire, &invite, "a", 7, "v=a");
    let first = wire.only();
    assert!(first.starts_with("PRACK sip:a@192.0.2.2 SIP/2.0\r\n"), "{first}");
    assert_eq!(header(&first, "RAck"), Some(&*format!("7 {cseq} INVITE")));
    assert_eq!(header(&first, "CSeq"), Some(&*format!("{} PRACK", cseq + 1)));
    // Repeated, and with one missing before it: nothing, and no news.
    provisional(&mut wire, &invite, "a", 7, "v=a");
    provisional(&mut wire, &invite, "a", 9, "");
    assert_eq!((wire.take().len(), wire.events.len()), (0, 1));
    provisional(&mut wire, &invite, "a", 8, "v=x");
    let second = wire.only();
    assert_eq!(header(&second, "CSeq"), Some(&*format!("{} PRACK", cseq + 2)));
    // Another fork counts for itself.
    provisional(&mut wire, &invite, "b", 100, "v=b");
    let other = wire.only();
    assert!(other.starts_with("PRACK sip:b@192.0.2.2 "), "{other}");
    assert_eq!(header(&other, "CSeq"), Some(&*format!("{} PRACK", cseq + 1)));
    let progress = |sdp: Option<&str>| Event::Progress {
        dialog,
        status: 183,
        sdp: sdp.map(|sdp| sdp.as_bytes().to_vec()),
    };
    // What follows an answer is none.
    assert_eq!(
        wire.events,
        [progress(Some("v=a\r\n")), progress(None), progress(Some("v=b\r\n"))]
    );
    wire.events.clear();
    // Fork a answers: its session is told, since fork b's was the last.
    let value = |name| header(&invite, name).expect(name).to_owned();
    wire.feed(&format!(
        "SIP/2.0 200 OK\nVia: {}\nFrom: {}\nTo: {};tag=a\nCall-ID: {}\nCSeq: {}\nContact: <sip:a@192.0.2.2>\n\n",
        value("Via"),
        value("From"),
        value("To"),
        value("Call-ID"),
        value("CSeq"),
    ));
    let sdp = Some(b"v=a\r\n".to_vec());
    assert_eq!(wire.events, [Event::Answered { dialog, sdp }]);
    wire.take();
    wire.endpoint.hang_up(wire.now, dialog, None);
    let bye = wire.only();
    assert_eq!(header(&bye, "CSeq"), Some(&*format!("{} BYE", cseq + 3)), "{bye}");
}

#[test]
fn an_update_of_an_early_dialog_may_offer_once_that_is_settled() {
    let mut wire = wire(Extension::Required);
    let (dialog, invite) = placed(&mut wire);
    assert_eq!(header(&invite, "Require"), Some("100rel"));
    let ours = header(&invite, "From")
        .unwrap()
        .split_once(";tag=")
        .unwrap()
        .1
        .to_owned();
    let call_id = header(&invite, "Call-ID").unwrap().to_owned();
    let update = |branch: &str, cseq| {
        with_body("UPDATE", branch, cseq, &ours, SDP)
            .replace("tag=them", "tag=a")
            .replace("call@192.0.2.2", &call_id)
    };
    provisional(&mut wire, &invite, "a", 1, "");
    wire.take();
    wire.feed(&update("u1", 1));
    assert!(wire.only().starts_with("SIP/2.0 491 "));
    provisional(&mut wire, &invite, "a", 2, "v=a");
    wire.take();
    wire.events.clear();
    wire.feed(&update("u2", 1));
    assert!(wire.only().starts_with("SIP/2.0 500 "), "an old CSeq");
    wire.feed(&update("u3", 2));
    let sdp = b"v=1\r\n".to_vec();
    assert_eq!(wire.events, [Event::Update { dialog, sdp }]);
    wire.endpoint.answer_update(wire.now, dialog, b"v=4\r\n".to_vec());
    assert!(wire.only().starts_with("SIP/2.0 200 "));
}

#[test]
fn over_a_bad_network_early_media_arrives() {
    for seed in 0..200 {
        let network = Network {
            loss: 0.25,
            duplication: 0.1,
            delay: (1, 900),
        };
        let mut pair = Pair::new(seed, network);
        for side in [0, 1] {
            let end = std::mem::replace(&mut pair.ends[side], crate::support::endpoint(0));
            pair.ends[side] = with_policy(end, reliable(Extension::Required));
        }
        let mut call = outgoing(0);
        call.trunk = Some("t".into());
        let a = pair.ends[0].invite(pair.now, call);
        let Event::Incoming(call) = pair.event(1) else { panic!() };
        let b = call.dialog;
        pair.ends[1].ring(pair.now, b, 180, None);
        pair.ends[1].ring(pair.now, b, 183, Some(b"v=2\r\n".to_vec()));
        pair.ends[1].answer(pair.now, b, b"v=2\r\n".to_vec());
        let mut early = None;
        loop {
            match pair.event(0) {
                Event::Progress { sdp, .. } => early = early.or(sdp),
                Event::Answered { .. } => break,
                Event::Failed { status, .. } => panic!("seed {seed}: {status}"),
                _ => {}
            }
        }
        // Unless the answer has overtaken it.
        let _ = early;
        pair.run(40 * SECOND);
        assert!(pair.up.iter().all(|up| up.len() == 1), "seed {seed}");
        pair.ends[0].hang_up(pair.now, a, None);
        pair.settle();
        pair.assert_empty(&format!("seed {seed}"));
    }
}
