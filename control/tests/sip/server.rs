//! What the endpoint answers, datagram by datagram: the server's side of RFC 3261.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::wire::{REMOTE, Wire, header, request, to_tag};
use voxlane::sip::{Event, Termination};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(100);

/// A call that rings; gives the wire and our tag.
fn ringing() -> (Wire, String) {
    let mut wire = Wire::new();
    wire.feed(&request("INVITE", "i1", 1, "", ""));
    assert_eq!(wire.lines(), ["SIP/2.0 100 Trying"]);
    wire.endpoint.ring(wire.now, wire.incoming(), 180, None);
    let tag = to_tag(&wire.only());
    (wire, tag)
}

/// A call that is up.
fn up() -> (Wire, String) {
    let (mut wire, tag) = ringing();
    wire.endpoint.answer(wire.now, wire.incoming(), b"v=0\r\n".to_vec());
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
    wire.feed(&request("ACK", "a1", 1, &tag, ""));
    assert!(matches!(wire.events.last(), Some(Event::Confirmed { .. })));
    (wire, tag)
}

#[test]
fn an_invite_is_answered_100_at_once_and_absorbed_when_repeated() {
    let mut wire = Wire::new();
    let invite = request("INVITE", "i1", 1, "", "Timestamp: 54\n");
    wire.feed(&invite);
    let trying = wire.only();
    assert_eq!(
        trying,
        "SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKi1\r\nFrom: <sip:caller@192.0.2.2>;tag=them\r\n\
         To: <sip:+15550100@192.0.2.1>\r\nCall-ID: call@192.0.2.2\r\nCSeq: 1 INVITE\r\nTimestamp: 54\r\n\
         Content-Length: 0\r\n\r\n"
    );
    wire.feed(&invite);
    assert_eq!(wire.only(), trying);
    assert_eq!(wire.events.len(), 1);
    assert_eq!(wire.endpoint.counters().retransmissions_received, 1);
}

#[test]
fn responses_that_make_a_dialog_carry_tag_contact_and_routes() {
    let mut wire = Wire::new();
    wire.feed(&request(
        "INVITE",
        "i1",
        1,
        "",
        "Record-Route: <sip:192.0.2.9;lr>, <sip:p2;lr>\nRecord-Route: <sip:p3;lr>\n",
    ));
    wire.take();
    wire.endpoint
        .ring(wire.now, wire.incoming(), 183, Some(b"v=0\r\n".to_vec()));
    let ring = wire.only();
    wire.endpoint.answer(wire.now, wire.incoming(), b"v=0\r\n".to_vec());
    let answer = wire.only();
    assert_eq!(to_tag(&ring), to_tag(&answer));
    for message in [ring, answer] {
        let routes = "Record-Route: <sip:192.0.2.9;lr>\r\nRecord-Route: <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n";
        assert!(message.contains(routes), "{message}");
        assert_eq!(header(&message, "Contact"), Some("<sip:192.0.2.1:5060>"));
        assert_eq!(
            header(&message, "Allow"),
            Some("INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, NOTIFY")
        );
        assert_eq!(header(&message, "Server"), Some("voxlane"));
        assert!(message.ends_with("Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"));
    }
}

#[test]
fn our_requests_follow_the_route_set() {
    let mut wire = Wire::new();
    wire.feed(&request(
        "INVITE",
        "i1",
        1,
        "",
        "Record-Route: <sip:192.0.2.9:5070;lr>, <sip:p2;lr>\n",
    ));
    let dialog = wire.incoming();
    wire.endpoint.answer(wire.now, dialog, vec![]);
    let tag = to_tag(wire.take().last().unwrap());
    wire.feed(&request("ACK", "a1", 1, &tag, ""));
    wire.endpoint.hang_up(wire.now, dialog, Some("Q.850;cause=16"));
    wire.drain();
    assert_eq!(wire.sent[0].path.remote, "192.0.2.9:5070".parse().unwrap());
    let bye = wire.only();
    assert!(bye.starts_with("BYE sip:caller@192.0.2.2 SIP/2.0\r\n"), "{bye}");
    assert!(bye.contains("Route: <sip:192.0.2.9:5070;lr>\r\nRoute: <sip:p2;lr>\r\n"));
    assert_eq!(
        header(&bye, "From"),
        Some(&*format!("<sip:+15550100@192.0.2.1>;tag={tag}"))
    );
    assert_eq!(header(&bye, "To"), Some("<sip:caller@192.0.2.2>;tag=them"));
    assert_eq!(header(&bye, "CSeq"), Some("1 BYE"));
    assert_eq!(header(&bye, "Max-Forwards"), Some("70"));
    assert_eq!(header(&bye, "Reason"), Some("Q.850;cause=16"));
}

#[test]
fn a_strict_router_gets_the_target_as_last_route() {
    let mut wire = Wire::new();
    wire.feed(&request("INVITE", "i1", 1, "", "Record-Route: <sip:192.0.2.9>\n"));
    let dialog = wire.incoming();
    wire.endpoint.answer(wire.now, dialog, vec![]);
    let tag = to_tag(wire.take().last().unwrap());
    wire.feed(&request("ACK", "a1", 1, &tag, ""));
    wire.endpoint.hang_up(wire.now, dialog, None);
    let bye = wire.only();
    assert!(bye.starts_with("BYE sip:192.0.2.9 SIP/2.0\r\n"), "{bye}");
    assert_eq!(header(&bye, "Route"), Some("<sip:caller@192.0.2.2>"));
}

#[test]
fn responses_go_where_rport_and_sent_by_say() {
    let nat: SocketAddr = "198.51.100.7:40001".parse().unwrap();
    for (via, to, stamped) in [
        ("10.0.0.1:5080;rport", "198.51.100.7:40001", "10.0.0.1:5080;rport=40001"),
        ("10.0.0.1:5080", "198.51.100.7:5080", "10.0.0.1:5080"),
        ("host.example", "198.51.100.7:5060", "host.example"),
    ] {
        let mut wire = Wire::new();
        let text = request("OPTIONS", "o", 1, "", "").replace("192.0.2.2;branch", &format!("{via};branch"));
        wire.feed_from(nat, text.replace('\n', "\r\n").as_bytes());
        assert_eq!(wire.sent[0].path.remote, to.parse().unwrap(), "{via}");
        let answer = wire.only();
        let expected = format!("SIP/2.0/UDP {stamped};branch=z9hG4bKo;received=198.51.100.7");
        assert_eq!(header(&answer, "Via"), Some(&*expected));
    }
}

#[test]
fn a_caller_behind_a_translator_is_reached_where_it_came_from() {
    let nat: SocketAddr = "198.51.100.7:40001".parse().unwrap();
    let mut wire = Wire::new();
    let behind = |text: String| {
        text.replace("192.0.2.2;branch", "10.0.0.1;rport;branch")
            .replace('\n', "\r\n")
    };
    wire.feed_from(nat, behind(request("INVITE", "i", 1, "", "")).as_bytes());
    let dialog = wire.incoming();
    wire.endpoint.answer(wire.now, dialog, vec![]);
    let tag = to_tag(wire.take().last().unwrap());
    wire.feed_from(nat, behind(request("ACK", "a", 1, &tag, "")).as_bytes());
    wire.endpoint.hang_up(wire.now, dialog, None);
    wire.drain();
    assert_eq!(wire.sent[0].path.remote, nat);
}

#[test]
fn timers_g_h_and_i_a_refusal_is_repeated_until_its_ack() {
    let (mut wire, _) = ringing();
    wire.endpoint.reject(wire.now, wire.incoming(), 486, &[]);
    let refusal = wire.only();
    let line = "SIP/2.0 486 Busy Here".to_owned();
    let log = wire.run(10 * SECOND);
    assert_eq!(log, [500, 1500, 3500, 7500].map(|at| (at, line.clone())));
    // An INVITE that comes again is answered the same.
    wire.feed(&request("INVITE", "i1", 1, "", ""));
    assert_eq!(wire.only(), refusal);
    wire.feed(&request("ACK", "i1", 1, &to_tag(&refusal), ""));
    assert_eq!(wire.endpoint.counters().transactions, 1);
    assert_eq!(wire.run(Duration::from_millis(4999)), []);
    assert_eq!(wire.endpoint.counters().transactions, 1);
    wire.run(Duration::from_millis(1));
    assert_eq!(wire.endpoint.counters().transactions, 0);

    let (mut wire, _) = ringing();
    wire.endpoint.reject(wire.now, wire.incoming(), 486, &[]);
    wire.take();
    let repeated = wire.run(LONG).len();
    assert_eq!(repeated, 10);
    assert_eq!(wire.endpoint.counters().transactions, 0);
}

#[test]
fn an_answer_is_repeated_until_its_ack_and_timer_l_absorbs_invites() {
    let (mut wire, tag) = ringing();
    wire.endpoint.answer(wire.now, wire.incoming(), vec![]);
    wire.take();
    let log = wire.run(8 * SECOND);
    assert_eq!(log, [500, 1500, 3500, 7500].map(|at| (at, "SIP/2.0 200 OK".to_owned())));
    wire.feed(&request("INVITE", "i1", 1, "", ""));
    assert!(wire.take().is_empty());
    wire.feed(&request("ACK", "a1", 1, &tag, ""));
    assert_eq!(wire.run(LONG), []);
    assert_eq!(wire.endpoint.counters().transactions, 0);
    assert_eq!(wire.endpoint.counters().dialogs, 1);
    let before = wire.endpoint.counters().retransmissions_received;
    wire.feed(&request("ACK", "a1", 1, &tag, ""));
    assert_eq!(wire.endpoint.counters().retransmissions_received, before + 1);
}

#[test]
fn an_answer_never_acknowledged_ends_in_bye() {
    let (mut wire, _) = ringing();
    let dialog = wire.incoming();
    wire.endpoint.answer(wire.now, dialog, vec![]);
    wire.take();
    let log = wire.run(32 * SECOND);
    assert_eq!(
        log.last().unwrap(),
        &(32_000, "BYE sip:caller@192.0.2.2 SIP/2.0".to_owned())
    );
    assert_eq!(
        wire.events.last(),
        Some(&Event::Terminated {
            dialog,
            cause: Termination::NoAck
        })
    );
    wire.run(LONG);
    let counters = wire.endpoint.counters();
    assert_eq!((counters.dialogs, counters.transactions), (0, 0));
}

#[test]
fn hanging_up_before_the_ack_waits_for_it_or_for_timer_h() {
    let (mut wire, _) = ringing();
    let dialog = wire.incoming();
    wire.endpoint.answer(wire.now, dialog, vec![]);
    wire.endpoint.hang_up(wire.now, dialog, None);
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
    let log = wire.run(LONG);
    assert_eq!(log.iter().find(|(_, line)| line.starts_with("BYE")).unwrap().0, 32_000);
    assert_eq!(
        wire.events.last(),
        Some(&Event::Terminated {
            dialog,
            cause: Termination::ByeTimeout
        })
    );
}

#[test]
fn timers_e_f_and_k_of_a_bye() {
    let (mut wire, _) = up();
    let dialog = wire.incoming();
    wire.endpoint.hang_up(wire.now, dialog, None);
    wire.take();
    let times: Vec<u64> = wire.run(LONG).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    assert_eq!(
        wire.events.last(),
        Some(&Event::Terminated {
            dialog,
            cause: Termination::ByeTimeout
        })
    );

    let (mut wire, _) = up();
    wire.run(LONG);
    let dialog = wire.incoming();
    wire.endpoint.hang_up(wire.now, dialog, None);
    let bye = wire.only();
    let via = header(&bye, "Via").unwrap();
    let answer = |status: &str| {
        format!(
            "SIP/2.0 {status}\nVia: {via}\nFrom: {}\nTo: {}\nCall-ID: call@192.0.2.2\nCSeq: 1 BYE\n\n",
            header(&bye, "From").unwrap(),
            header(&bye, "To").unwrap()
        )
    };
    wire.feed(&answer("100 Trying"));
    // E fires once more as armed, then every T2.
    let times: Vec<u64> = wire.run(9 * SECOND).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [500, 4500, 8500]);
    wire.feed(&answer("481"));
    assert_eq!(
        wire.events.last(),
        Some(&Event::Terminated {
            dialog,
            cause: Termination::ByeAnswered
        })
    );
    assert_eq!(
        (wire.endpoint.counters().dialogs, wire.endpoint.counters().transactions),
        (0, 1)
    );
    assert_eq!(wire.run(5 * SECOND), []);
    assert_eq!(wire.endpoint.counters().transactions, 0);
    wire.feed(&answer("200 OK"));
    assert_eq!(wire.endpoint.counters().stray, 1);
}

#[test]
fn timer_j_a_repeated_bye_is_answered_the_same() {
    let (mut wire, tag) = up();
    wire.run(LONG);
    let dialog = wire.incoming();
    let bye = request("BYE", "b1", 2, &tag, "Reason: SIP;cause=200\n");
    wire.feed(&bye);
    let answer = wire.only();
    assert_eq!(
        wire.events.last(),
        Some(&Event::Bye {
            dialog,
            reason: Some("SIP;cause=200".into())
        })
    );
    wire.feed(&bye);
    assert_eq!(wire.only(), answer);
    wire.run(Duration::from_millis(31_999));
    assert_eq!(wire.endpoint.counters().transactions, 1);
    wire.run(Duration::from_millis(1));
    assert_eq!(wire.endpoint.counters().transactions, 0);
    wire.feed(&request("BYE", "b2", 3, &tag, ""));
    assert_eq!(wire.lines(), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
}

#[test]
fn cancel_ends_what_rings_and_nothing_else() {
    let (mut wire, tag) = ringing();
    let dialog = wire.incoming();
    wire.feed(&request("CANCEL", "i1", 1, "", ""));
    let sent = wire.take();
    assert!(sent[0].starts_with("SIP/2.0 200 OK\r\n") && header(&sent[0], "CSeq") == Some("1 CANCEL"));
    assert!(sent[1].starts_with("SIP/2.0 487 Request Terminated\r\n") && header(&sent[1], "CSeq") == Some("1 INVITE"));
    assert_eq!((to_tag(&sent[0]), to_tag(&sent[1])), (tag.clone(), tag));
    assert_eq!(wire.events.last(), Some(&Event::Cancelled { dialog }));

    let (mut wire, _) = ringing();
    wire.endpoint.answer(wire.now, wire.incoming(), vec![]);
    wire.take();
    wire.feed(&request("CANCEL", "i1", 1, "", ""));
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
    assert_eq!(wire.endpoint.counters().dialogs, 1);

    wire.feed(&request("CANCEL", "other", 1, "", ""));
    assert_eq!(wire.lines(), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
}

#[test]
fn a_bye_before_the_answer_takes_the_call_back() {
    let (mut wire, tag) = ringing();
    let dialog = wire.incoming();
    wire.feed(&request("BYE", "b1", 2, &tag, ""));
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    assert_eq!(wire.events.last(), Some(&Event::Cancelled { dialog }));
}

#[test]
fn options_say_what_is_offered() {
    let mut wire = Wire::new();
    wire.feed(&request("OPTIONS", "o1", 1, "", ""));
    let answer = wire.only();
    assert!(answer.starts_with("SIP/2.0 200 OK\r\n"));
    assert_eq!(header(&answer, "Accept"), Some("application/sdp"));
    assert!(header(&answer, "Allow").is_some() && header(&answer, "Supported").is_some());
    assert!(!to_tag(&answer).is_empty());
    wire.endpoint.options_status(503);
    wire.feed(&request("OPTIONS", "o2", 2, "", ""));
    assert_eq!(wire.lines(), ["SIP/2.0 503 Service Unavailable"]);

    let (mut wire, tag) = up();
    wire.endpoint.options_status(503);
    wire.feed(&request("OPTIONS", "o3", 2, &tag, ""));
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
}

#[test]
fn a_reinvite_is_the_call_layers_and_keeps_the_dialog_when_refused() {
    let (mut wire, tag) = up();
    let dialog = wire.incoming();
    let sdp = "Content-Type: application/sdp\nContent-Length: 5\n\nv=0\n";
    wire.feed(&request("INVITE", "r1", 2, &tag, sdp));
    assert_eq!(wire.lines(), ["SIP/2.0 100 Trying"]);
    assert!(matches!(wire.events.last(), Some(Event::Reinvite { sdp: Some(_), .. })));
    // A second one before the first is answered: RFC 3261 section 14.2.
    wire.feed(&request("INVITE", "r2", 3, &tag, ""));
    let early = wire.only();
    assert!(
        early.starts_with("SIP/2.0 500 ") && header(&early, "Retry-After").is_some(),
        "{early}"
    );
    wire.endpoint.reject(wire.now, dialog, 488, &[]);
    assert_eq!(wire.lines(), ["SIP/2.0 488 Not Acceptable Here"]);
    wire.feed(&request("ACK", "r1", 2, &tag, ""));
    assert_eq!(wire.endpoint.counters().dialogs, 1);

    wire.feed(&request("INVITE", "r3", 4, &tag, "").replace("caller@192.0.2.2>\n\n", "moved@192.0.2.77>\n\n"));
    wire.endpoint.answer(wire.now, dialog, b"v=0\r\n".to_vec());
    assert_eq!(wire.lines(), ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
    // Before its ACK another is too early: RFC 5407.
    wire.feed(&request("INVITE", "r4", 5, &tag, ""));
    assert_eq!(wire.lines(), ["SIP/2.0 491 Request Pending"]);
    wire.feed(&request(
        "ACK",
        "r5",
        4,
        &tag,
        "Content-Type: application/sdp\nContent-Length: 5\n\nv=0\n",
    ));
    assert_eq!(
        wire.events.last(),
        Some(&Event::Confirmed {
            dialog,
            sdp: Some(b"v=0\r\n".to_vec())
        })
    );
    // The remote target has moved with it.
    wire.endpoint.hang_up(wire.now, dialog, None);
    wire.drain();
    assert_eq!(wire.sent[0].path.remote, "192.0.2.77:5060".parse().unwrap());
    assert_eq!(wire.lines(), ["BYE sip:moved@192.0.2.77 SIP/2.0"]);
}

#[test]
fn a_waiting_reinvite_is_answered_487_when_the_call_ends() {
    for they_end in [true, false] {
        let (mut wire, tag) = up();
        wire.feed(&request("INVITE", "r1", 2, &tag, ""));
        wire.take();
        if they_end {
            wire.feed(&request("BYE", "b1", 3, &tag, ""));
            assert_eq!(wire.lines(), ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
        } else {
            wire.endpoint.hang_up(wire.now, wire.incoming(), None);
            assert_eq!(
                wire.lines(),
                ["SIP/2.0 487 Request Terminated", "BYE sip:caller@192.0.2.2 SIP/2.0"]
            );
        }
    }
}

#[test]
fn a_reinvite_taken_back_leaves_the_dialog() {
    let (mut wire, tag) = up();
    let dialog = wire.incoming();
    wire.feed(&request("INVITE", "r1", 2, &tag, ""));
    wire.take();
    let events = wire.events.len();
    wire.feed(&request("CANCEL", "r1", 2, &tag, ""));
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    wire.endpoint.answer(wire.now, dialog, vec![]);
    assert!(wire.take().is_empty());
    assert_eq!((wire.events.len(), wire.endpoint.counters().dialogs), (events, 1));
}

#[test]
fn order_and_identity_within_a_dialog() {
    let (mut wire, tag) = up();
    for (text, answer) in [
        (
            request("OPTIONS", "x1", 1, &tag, ""),
            "SIP/2.0 500 Server Internal Error",
        ),
        (request("BYE", "x2", 0, &tag, ""), "SIP/2.0 500 Server Internal Error"),
        (
            request("BYE", "x3", 9, "nobody", ""),
            "SIP/2.0 481 Call/Transaction Does Not Exist",
        ),
        (
            request("BYE", "x4", 9, &tag, "").replace("tag=them", "tag=stranger"),
            "SIP/2.0 481 Call/Transaction Does Not Exist",
        ),
        (
            request("BYE", "x5", 9, &tag, "").replace("call@", "other@"),
            "SIP/2.0 481 Call/Transaction Does Not Exist",
        ),
        (request("INFO", "x6", 9, &tag, ""), "SIP/2.0 405 Method Not Allowed"),
        (request("FROB", "x7", 10, &tag, ""), "SIP/2.0 501 Not Implemented"),
        (
            request("OPTIONS", "x8", 10, &tag, ""),
            "SIP/2.0 500 Server Internal Error",
        ),
        (
            request("BYE", "x9", 11, &tag, "Require: nothing-we-know\n"),
            "SIP/2.0 200 OK",
        ),
    ] {
        wire.feed(&text);
        assert_eq!(wire.lines(), [answer], "{text}");
    }
}

#[test]
fn requests_that_are_not_served() {
    for (text, status, says) in [
        (
            request("REGISTER", "a", 1, "", ""),
            405,
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, NOTIFY",
        ),
        (request("MESSAGE", "b", 1, "", ""), 405, "Allow: "),
        (request("NOTIFY", "c", 1, "", ""), 405, "Allow: "),
        (request("invite", "d", 1, "", ""), 501, "Allow: "),
        (
            request("!interesting-Method0123456789_*+`.%indeed'~", "e", 1, "", ""),
            501,
            "Allow: ",
        ),
        (
            request("INVITE", "f", 1, "", "Require: 100rel, timer\n"),
            420,
            "Unsupported: 100rel, timer",
        ),
        (request("OPTIONS", "g", 1, "", "Require: x\n"), 420, "Unsupported: x"),
        (
            request("INVITE", "h", 1, "", "Content-Type: text/plain\nContent-Length: 1\n\nx"),
            415,
            "Accept: application/sdp",
        ),
        (
            request("INVITE", "h2", 1, "", "c: application/sdp\ne: gzip\nl: 1\n\nx"),
            415,
            "Accept-Encoding: identity",
        ),
        (
            request("INVITE", "h3", 1, "", "Content-Length: 1\n\nx"),
            415,
            "Accept: application/sdp",
        ),
        (request("BYE", "i", 1, "", ""), 481, "Server: "),
        (request("INVITE", "j", 1, "unknown", ""), 481, "Server: "),
    ] {
        let mut wire = Wire::new();
        wire.feed(&text);
        let answer = wire.only();
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{text}\n{answer}");
        assert!(answer.contains(&format!("\r\n{says}")), "{text}\n{answer}");
        assert!(!to_tag(&answer).is_empty());
        wire.feed(&text);
        assert_eq!(wire.only(), answer, "a repetition is answered the same");
        wire.run(LONG);
        assert!(wire.events.is_empty());
        assert_eq!(wire.endpoint.counters().transactions, 0);
    }
}

#[test]
fn an_optional_body_is_ignored() {
    let mut wire = Wire::new();
    let body = "Content-Type: image/jpeg\nContent-Disposition: icon; handling = optional\nContent-Length: 1\n\nx";
    wire.feed(&request("INVITE", "i", 1, "", body));
    assert!(matches!(&wire.events[0], Event::Incoming(call) if call.sdp.is_none()));
}

#[test]
fn what_is_missing_or_malformed_is_named() {
    let good = request(
        "INVITE",
        "i",
        1,
        "",
        "X-Padding: so that the answer is shorter than the question\n",
    );
    for (from, to, status, reason) in [
        ("Call-ID: call@192.0.2.2\n", "", 400, "Missing Call-ID"),
        ("From: <sip:caller@192.0.2.2>;tag=them\n", "", 400, "Missing From"),
        ("To: <sip:+15550100@192.0.2.1>\n", "", 400, "Missing To"),
        ("CSeq: 1 INVITE\n", "", 400, "Missing CSeq"),
        ("Contact: <sip:caller@192.0.2.2>\n", "", 400, "Missing Contact"),
        ("CSeq: 1 INVITE", "CSeq: 1 OPTIONS", 400, "CSeq Method Mismatch"),
        (
            "CSeq: 1 INVITE",
            "CSeq: 36893488147419103232 INVITE",
            400,
            "Malformed CSeq",
        ),
        ("Max-Forwards: 70", "Max-Forwards: 300", 400, "Malformed Max-Forwards"),
        ("Contact: <", "Contact: <sip:a@b>, <", 400, "More Than One Contact"),
        ("To: <", "To: \"open <", 400, "Malformed To"),
        (
            "To: <sip:+15550100@192.0.2.1>",
            "To: <sip:a@b> ;;,;,,",
            400,
            "Malformed To",
        ),
        ("INVITE sip:", "INVITE <sip:", 400, "Malformed Request-URI"),
        (
            "INVITE sip:+15550100@192.0.2.1",
            "INVITE sip:a b@192.0.2.1",
            400,
            "Malformed Request-URI",
        ),
        (
            "INVITE sip:+15550100@192.0.2.1",
            "INVITE nobody:knows",
            416,
            "Unsupported URI Scheme",
        ),
        ("SIP/2.0\n", "SIP/7.0\n", 505, "Version Not Supported"),
        (
            "Max-Forwards: 70\n",
            "Content-Length: 9999\n",
            400,
            "Content-Length Beyond Message",
        ),
        (
            "Max-Forwards: 70\n",
            "Content-Length: -999\n",
            400,
            "Malformed Content-Length",
        ),
        ("Max-Forwards: 70\n", "Call-ID: second\n", 400, "Repeated Call-ID"),
        ("Max-Forwards: 70\n", "no colon here\n", 400, "Malformed Header"),
    ] {
        assert!(good.contains(from));
        let mut wire = Wire::new();
        wire.feed(&good.replacen(from, to, 1));
        let answer = wire.only();
        assert_eq!(answer.lines().next(), Some(&*format!("SIP/2.0 {status} {reason}")));
        assert!(answer.contains("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKi"));
        let counters = wire.endpoint.counters();
        assert_eq!((counters.bad_requests, counters.transactions), (1, 0));
    }
}

#[test]
fn what_cannot_be_answered_is_dropped_and_counted() {
    for text in [
        "OPTIONS sip:a SIP/2.0\nFrom: x\n\n",
        "SIP/2.0 200 OK\nVia: SIP/2.0/UDP a\n\n",
        "ACK sip:a SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.2\n\n",
        // The answer would be longer than this.
        "X sip:a SIP/2.0\nv:SIP/2.0/UDP a\n\n",
        "GET / HTTP/1.1\n\n",
        "hello\n",
    ] {
        let mut wire = Wire::new();
        wire.feed(text);
        assert!(wire.take().is_empty(), "{text}");
        assert_eq!(wire.endpoint.counters().malformed, 1, "{text}");
    }
    let mut wire = Wire::new();
    for keepalive in [&b"\r\n\r\n"[..], b"\0", b"", b"ping"] {
        wire.feed_from(REMOTE.into(), keepalive);
    }
    assert_eq!(wire.endpoint.counters(), Default::default());
}

#[test]
fn strays_are_counted() {
    let mut wire = Wire::new();
    wire.feed(&request("ACK", "a", 1, "nobody", ""));
    let text = request("OPTIONS", "a", 1, "nobody", "");
    wire.feed(&text.replacen("OPTIONS sip:+15550100@192.0.2.1 SIP/2.0", "SIP/2.0 200", 1));
    assert!(wire.take().is_empty());
    assert_eq!(wire.endpoint.counters().stray, 2);
}

#[test]
fn a_request_that_comes_by_two_ways_is_merged() {
    let mut wire = Wire::new();
    wire.feed(&request("INVITE", "one-way", 1, "", ""));
    wire.take();
    wire.feed(&request("INVITE", "other-way", 1, "", ""));
    assert_eq!(wire.lines(), ["SIP/2.0 482 Loop Detected"]);
    assert_eq!(wire.events.len(), 1);
}

#[test]
fn a_peer_of_rfc_2543_without_branch_is_served() {
    let mut wire = Wire::new();
    let old = |text: String| text.replace(";branch=z9hG4bKi1", "").replace(";branch=z9hG4bKa1", "");
    wire.feed(&old(request("INVITE", "i1", 1, "", "")));
    wire.feed(&old(request("INVITE", "i1", 1, "", "")));
    assert_eq!(wire.lines(), ["SIP/2.0 100 Trying", "SIP/2.0 100 Trying"]);
    wire.endpoint.reject(wire.now, wire.incoming(), 486, &[]);
    let tag = to_tag(&wire.only());
    wire.feed(&old(request("ACK", "i1", 1, &tag, "")));
    assert_eq!(wire.run(LONG), []);
    assert_eq!(wire.endpoint.counters().transactions, 0);
}

#[test]
fn long_ringing_is_refreshed_every_minute() {
    let (mut wire, _) = ringing();
    let log = wire.run(Duration::from_secs(130));
    assert_eq!(log, [60_000, 120_000].map(|at| (at, "SIP/2.0 180 Ringing".to_owned())));
}
