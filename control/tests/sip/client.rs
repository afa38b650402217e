//! What the endpoint does with the answers to its INVITE: the client's side of RFC 3261, with forks and RFC 6026.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::outgoing;
use crate::support::wire::{REMOTE, Wire, header, request};
use voxlane::sip::{DialogId, Event, Failure, Input, Termination, Transport};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(100);

/// A call being placed, and its INVITE.
struct Placed {
    wire: Wire,
    dialog: DialogId,
    invite: String,
}

fn placed() -> Placed {
    let mut wire = Wire::new();
    let dialog = wire.endpoint.invite(wire.now, outgoing(0));
    let invite = wire.only();
    Placed { wire, dialog, invite }
}

impl Placed {
    /// A response to a request of the endpoint's; `extra` as in [`request`].
    fn answer_to(&mut self, request: &str, status: &str, tag: &str, extra: &str) {
        let value = |name| header(request, name).expect(name);
        let to = value("To");
        let tagged = if tag.is_empty() || to.contains(";tag=") {
            String::new()
        } else {
            format!(";tag={tag}")
        };
        self.wire.feed(&format!(
            "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {to}{tagged}\nCall-ID: {}\nCSeq: {}\n{extra}\n",
            value("Via"),
            value("From"),
            value("Call-ID"),
            value("CSeq"),
        ));
    }

    /// A response to the INVITE.
    fn answer(&mut self, status: &str, tag: &str) {
        let contact = format!("Contact: <sip:{tag}@192.0.2.2>\n");
        let invite = self.invite.clone();
        self.answer_to(&invite, status, tag, &contact);
    }

    fn our_tag(&self) -> String {
        let from = header(&self.invite, "From").expect("From");
        from.split_once(";tag=").expect("a tag").1.to_owned()
    }

    /// A request of the other side's, in the dialog with its tag.
    fn request(&mut self, method: &str, branch: &str, cseq: u32, tag: &str) {
        let call_id = header(&self.invite, "Call-ID").expect("Call-ID").to_owned();
        let text = request(method, branch, cseq, &self.our_tag(), "");
        self.wire.feed(
            &text
                .replace("tag=them", &format!("tag={tag}"))
                .replace("call@192.0.2.2", &call_id),
        );
    }
}

#[test]
fn an_invite_has_all_it_must() {
    let Placed { invite, .. } = placed();
    assert!(
        invite.starts_with(
            "INVITE sip:+15550100@192.0.2.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"
        )
    );
    for (name, value) in [
        ("Max-Forwards", "70"),
        ("To", "<sip:+15550100@192.0.2.2:5060>"),
        ("Contact", "<sip:192.0.2.1:5060>"),
        ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, NOTIFY"),
        ("User-Agent", "voxlane"),
        ("Content-Type", "application/sdp"),
        ("Content-Length", "5"),
    ] {
        assert_eq!(header(&invite, name), Some(value), "{name}");
    }
    assert!(
        header(&invite, "From")
            .unwrap()
            .starts_with("<sip:+15550199@192.0.2.1:5060>;tag=")
    );
    assert!(header(&invite, "Via").unwrap().ends_with(";rport"));
}

#[test]
fn extra_headers_and_tel_addresses_go_out() {
    let mut wire = Wire::new();
    let mut call = outgoing(0);
    call.headers = vec![("P-Asserted-Identity".into(), "<sip:+1@x>\r\nEvil: yes".into())];
    call.from = voxlane::sip::parse_uri("tel:+15550199").unwrap();
    call.from.display = "Bob \"B\"".into();
    wire.endpoint.invite(wire.now, call);
    let invite = wire.only();
    assert_eq!(header(&invite, "P-Asserted-Identity"), Some("<sip:+1@x>  Evil: yes"));
    assert!(
        header(&invite, "From")
            .unwrap()
            .starts_with("\"Bob \\\"B\\\"\" <tel:+15550199>;tag=")
    );
}

#[test]
fn timers_a_and_b() {
    let Placed { mut wire, dialog, .. } = placed();
    let times: Vec<u64> = wire.run(LONG).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [500, 1500, 3500, 7500, 15500, 31500]);
    assert_eq!(
        wire.events,
        [Event::Failed {
            dialog,
            status: 408,
            reason: "Request Timeout".into(),
            failure: Failure::Silent,
        }]
    );
    assert_eq!(wire.endpoint.counters().transactions, 0);
}

#[test]
fn a_provisional_response_stops_repetition() {
    let mut call = placed();
    call.answer("100 Trying", "");
    assert_eq!(call.wire.run(30 * SECOND), []);
    call.answer("180", "a");
    call.answer("199 Early Dialog Terminated", "a");
    let progress = |status| Event::Progress {
        dialog: call.dialog,
        status,
        sdp: None,
    };
    assert_eq!(call.wire.events, [progress(180), progress(199)]);
}

#[test]
fn a_refusal_is_acknowledged_each_time_until_timer_d() {
    let mut call = placed();
    call.answer("486 Busy", "a");
    let ack = call.wire.only();
    assert!(ack.starts_with("ACK sip:+15550100@192.0.2.2:5060 SIP/2.0\r\n"));
    assert_eq!(header(&ack, "Via"), header(&call.invite, "Via"));
    assert_eq!(header(&ack, "To"), Some("<sip:+15550100@192.0.2.2:5060>;tag=a"));
    assert_eq!(
        call.wire.events,
        [Event::Failed {
            dialog: call.dialog,
            status: 486,
            reason: "Busy".into(),
            failure: Failure::refused(),
        }]
    );
    call.answer("486 Busy", "a");
    assert_eq!(call.wire.only(), ack);
    assert_eq!(call.wire.run(Duration::from_millis(31_999)), []);
    assert_eq!(call.wire.endpoint.counters().transactions, 1);
    call.wire.run(Duration::from_millis(1));
    assert_eq!(call.wire.endpoint.counters().transactions, 0);
    call.answer("486 Busy", "a");
    assert!(call.wire.take().is_empty());
    assert_eq!((call.wire.events.len(), call.wire.endpoint.counters().stray), (1, 1));
}

#[test]
fn a_reason_phrase_is_made_up_where_there_is_none() {
    let mut call = placed();
    call.answer("404", "a");
    assert_eq!(
        call.wire.events,
        [Event::Failed {
            dialog: call.dialog,
            status: 404,
            reason: "Not Found".into(),
            failure: Failure::refused(),
        }]
    );
}

#[test]
fn a_success_is_acknowledged_each_time_until_timer_m() {
    let mut call = placed();
    let invite = call.invite.clone();
    let body = "Contact: <sip:callee@192.0.2.9:5070>\nRecord-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.7;lr>\n\
                Content-Type: application/sdp\nContent-Length: 5\n\nv=0";
    call.answer_to(&invite, "200 OK", "a", body);
    call.wire.drain();
    // Route set reversed, its first hop is where the ACK goes; a branch of its own.
    assert_eq!(call.wire.sent[0].path.remote, "192.0.2.7:5060".parse().unwrap());
    let ack = call.wire.only();
    assert!(ack.starts_with("ACK sip:callee@192.0.2.9:5070 SIP/2.0\r\n"), "{ack}");
    assert!(ack.contains("Route: <sip:192.0.2.7;lr>\r\nRoute: <sip:192.0.2.8;lr>\r\n"));
    assert_ne!(header(&ack, "Via"), header(&invite, "Via"));
    let cseq = header(&invite, "CSeq").unwrap().replace("INVITE", "ACK");
    assert_eq!(header(&ack, "CSeq"), Some(&*cseq));
    assert_eq!(
        call.wire.events,
        [Event::Answered {
            dialog: call.dialog,
            sdp: Some(b"v=0\r\n".to_vec())
        }]
    );

    call.answer("200 OK", "a");
    assert_eq!(call.wire.only(), ack);
    // A refusal by another fork comes too late.
    call.answer("486 Busy Here", "b");
    assert!(call.wire.take().is_empty());
    call.wire.run(32 * SECOND);
    let counters = call.wire.endpoint.counters();
    assert_eq!(
        (
            counters.transactions,
            counters.dialogs,
            counters.retransmissions_received
        ),
        (0, 1, 2)
    );
    assert_eq!(call.wire.events.len(), 1);
}

#[test]
fn another_forks_success_is_acknowledged_and_ended() {
    let mut call = placed();
    call.answer("180 Ringing", "a");
    call.answer("180 Ringing", "b");
    call.answer("200 OK", "a");
    call.wire.take();
    call.answer("200 OK", "b");
    let sent = call.wire.take();
    assert_eq!(sent.len(), 2);
    assert!(
        sent[0].starts_with("ACK sip:b@192.0.2.2 ") && sent[1].starts_with("BYE sip:b@192.0.2.2 "),
        "{sent:#?}"
    );
    assert!(header(&sent[1], "To").unwrap().ends_with(";tag=b"));
    call.answer("200 OK", "b");
    assert_eq!(call.wire.only(), sent[0], "only the ACK is repeated");
    let bye = sent[1].clone();
    call.answer_to(&bye, "200 OK", "", "");
    call.wire.run(LONG);
    let counters = call.wire.endpoint.counters();
    assert_eq!((counters.dialogs, counters.transactions), (1, 0));
    // The first fork's dialog is untouched by all this.
    call.request("BYE", "b9", 1, "a");
    assert_eq!(call.wire.lines(), ["SIP/2.0 200 OK"]);
    assert_eq!(
        call.wire.events.last(),
        Some(&Event::Bye {
            dialog: call.dialog,
            reason: None
        })
    );
}

#[test]
fn cancel_copies_the_invite_and_waits_for_its_end() {
    let mut call = placed();
    call.wire.endpoint.hang_up(call.wire.now, call.dialog, None);
    assert!(call.wire.take().is_empty());
    call.answer("183 Session Progress", "a");
    let cancel = call.wire.only();
    assert!(cancel.starts_with("CANCEL sip:+15550100@192.0.2.2:5060 SIP/2.0\r\n"));
    for name in ["Via", "From", "To", "Call-ID"] {
        assert_eq!(header(&cancel, name), header(&call.invite, name));
    }
    call.answer_to(&cancel, "200 OK", "a", "");
    assert!(call.wire.events.is_empty());
    call.answer("487 Request Terminated", "a");
    assert_eq!(call.wire.lines(), ["ACK sip:+15550100@192.0.2.2:5060 SIP/2.0"]);
    assert!(matches!(call.wire.events[..], [Event::Failed { status: 487, .. }]));
    call.wire.run(LONG);
    assert_eq!(call.wire.endpoint.counters().transactions, 0);
}

#[test]
fn a_cancel_without_an_end_ends_after_a_while() {
    let mut call = placed();
    call.answer("180 Ringing", "a");
    call.wire.endpoint.hang_up(call.wire.now, call.dialog, None);
    let cancel = call.wire.only();
    call.answer_to(&cancel, "200 OK", "a", "");
    assert_eq!(call.wire.run(Duration::from_millis(31_999)), []);
    assert!(matches!(call.wire.events[..], [Event::Progress { .. }]));
    call.wire.run(SECOND);
    assert!(matches!(call.wire.events[..], [_, Event::Failed { status: 487, .. }]));
    let counters = call.wire.endpoint.counters();
    assert_eq!((counters.dialogs, counters.transactions), (0, 0));
}

#[test]
fn an_answer_that_crosses_the_cancel_is_ended() {
    let mut call = placed();
    call.answer("180 Ringing", "a");
    call.wire.endpoint.hang_up(call.wire.now, call.dialog, None);
    call.wire.take();
    call.answer("200 OK", "a");
    let sent = call.wire.take();
    assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "), "{sent:#?}");
    assert!(matches!(
        call.wire.events.last(),
        Some(Event::Failed { status: 487, .. })
    ));
    let bye = sent[1].clone();
    call.answer_to(&bye, "200 OK", "", "");
    assert_eq!(call.wire.endpoint.counters().dialogs, 0);
    assert_eq!(call.wire.events.len(), 2, "the end was told once");
}

#[test]
fn a_call_nobody_answers_is_cancelled_and_fails_408() {
    let mut call = placed();
    call.answer("180 Ringing", "a");
    let log = call.wire.run(61 * SECOND);
    assert_eq!(
        log.first(),
        Some(&(60_000, "CANCEL sip:+15550100@192.0.2.2:5060 SIP/2.0".to_owned()))
    );
    call.answer("487 Request Terminated", "a");
    assert!(matches!(
        call.wire.events.last(),
        Some(Event::Failed { status: 408, .. })
    ));
}

#[test]
fn an_unreachable_destination_fails_503() {
    let mut call = placed();
    let unreachable = Input::Unreachable {
        transport: Transport::Udp,
        remote: REMOTE.into(),
    };
    call.wire.endpoint.handle_input(
        call.wire.now,
        Input::Unreachable {
            transport: Transport::Udp,
            remote: "192.0.2.77:5060".parse().unwrap(),
        },
    );
    call.wire.drain();
    assert!(call.wire.events.is_empty());
    call.wire.endpoint.handle_input(call.wire.now, unreachable);
    call.wire.drain();
    assert_eq!(
        call.wire.events,
        [Event::Failed {
            dialog: call.dialog,
            status: 503,
            reason: "Service Unavailable".into(),
            failure: Failure::Unreachable,
        }]
    );
    assert_eq!(call.wire.drain(), None);

    let mut call = placed();
    call.answer("100 Trying", "");
    call.wire.endpoint.handle_input(call.wire.now, unreachable);
    call.wire.drain();
    assert!(call.wire.events.is_empty(), "it has answered, so it is there");
    call.answer("200 OK", "a");
    call.wire.endpoint.hang_up(call.wire.now, call.dialog, None);
    call.wire.endpoint.handle_input(call.wire.now, unreachable);
    call.wire.drain();
    let ended = Event::Terminated {
        dialog: call.dialog,
        cause: Termination::ByeTimeout,
    };
    assert_eq!(call.wire.events.last(), Some(&ended));
}

#[test]
fn what_the_network_returns_fails_503_if_it_was_ours() {
    let mut call = placed();
    let invite = call.invite.clone();
    let branch = invite
        .split("branch=")
        .nth(1)
        .and_then(|rest| rest.split([';', '\r']).next())
        .unwrap();
    let guessed = invite.replace(branch, "z9hG4bKguessed");
    let mut returned = |remote: &str, datagram: &str| {
        let (remote, datagram) = (remote.parse().unwrap(), datagram.as_bytes());
        call.wire
            .endpoint
            .handle_input(call.wire.now, Input::Returned { remote, datagram });
        call.wire.drain();
        call.wire.events.len()
    };
    let remote = SocketAddr::from(REMOTE).to_string();
    // Whoever has not seen the request cannot say that it did not arrive; nor of another address; nor of another method.
    assert_eq!(returned(&remote, &guessed), 0);
    assert_eq!(returned("192.0.2.77:5060", &invite), 0);
    assert_eq!(returned(&remote, &invite.replacen("INVITE", "BYE", 1)), 0);
    assert_eq!(returned(&remote, ""), 0);
    // Routers return as little as the UDP header and eight bytes.
    assert_eq!(returned(&remote, &invite[..8]), 0);
    let quoted = invite.find("\r\nFrom").unwrap();
    assert_eq!(returned(&remote, &invite[..quoted]), 1);
    assert_eq!(
        call.wire.events,
        [Event::Failed {
            dialog: call.dialog,
            status: 503,
            reason: "Service Unavailable".into(),
            failure: Failure::Unreachable,
        }]
    );
    assert_eq!(call.wire.endpoint.counters().undelivered, 1);
}

#[test]
fn requests_before_our_call_is_answered() {
    let mut call = placed();
    call.answer("180 Ringing", "a");
    call.request("INVITE", "r1", 1, "a");
    assert_eq!(call.wire.lines(), ["SIP/2.0 491 Request Pending"]);
    call.request("BYE", "r2", 2, "stranger");
    assert_eq!(call.wire.lines(), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
    // Their 2xx was lost and they gave up.
    call.request("BYE", "r3", 3, "a");
    assert_eq!(
        call.wire.lines(),
        ["SIP/2.0 200 OK", "CANCEL sip:+15550100@192.0.2.2:5060 SIP/2.0"]
    );
    call.wire.run(LONG);
    assert!(matches!(
        call.wire.events.last(),
        Some(Event::Failed { status: 487, .. })
    ));
    assert_eq!(call.wire.endpoint.counters().dialogs, 0);
}

#[test]
fn responses_that_are_not_ours_are_dropped() {
    let mut call = placed();
    let invite = call.invite.clone();
    let good = header(&invite, "Via").unwrap();
    for (from, to) in [
        (
            good.to_owned(),
            "SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKsomebody".to_owned(),
        ),
        (good.to_owned(), format!("{good}, SIP/2.0/UDP second")),
        ("INVITE".to_owned(), "BYE".to_owned()),
        ("INVITE".to_owned(), "FROB".to_owned()),
    ] {
        let text = format!(
            "SIP/2.0 200 OK\nVia: {good}\nFrom: {}\nTo: <sip:a@b>;tag=x\nCall-ID: {}\nCSeq: {}\n\n",
            header(&invite, "From").unwrap(),
            header(&invite, "Call-ID").unwrap(),
            header(&invite, "CSeq").unwrap(),
        );
        call.wire.feed(&text.replace(&from, &to));
        assert!(call.wire.take().is_empty());
    }
    assert!(call.wire.events.is_empty());
    let counters = call.wire.endpoint.counters();
    assert_eq!((counters.stray, counters.malformed), (3, 1));
}

#[test]
fn an_invite_that_nobody_answers_in_time_has_failed_and_a_late_answer_is_taken_back() {
    for late in ["180", "200"] {
        let mut wire = Wire::new();
        let call = voxlane::sip::Outgoing {
            patience: Some(2 * SECOND),
            ..outgoing(0)
        };
        let dialog = wire.endpoint.invite(wire.now, call);
        let invite = wire.only();
        let mut call = Placed { wire, dialog, invite };
        call.wire.run(Duration::from_millis(1999));
        assert_eq!(call.wire.events, []);
        call.wire.run(Duration::from_millis(1));
        let silent = Event::Failed {
            dialog,
            status: 408,
            reason: "Nothing answers".into(),
            failure: Failure::Silent,
        };
        assert_eq!(call.wire.events, std::slice::from_ref(&silent));
        call.wire.take();
        call.answer(late, "a");
        let sent: Vec<String> = call.wire.lines();
        let begin = |method: &str| sent.iter().filter(|line| line.starts_with(method)).count();
        match late {
            "180" => assert_eq!(begin("CANCEL "), 1, "{sent:?}"),
            _ => assert_eq!((begin("ACK "), begin("BYE ")), (1, 1), "{sent:?}"),
        }
        call.wire.run(LONG);
        // Nothing more is told, and nothing kept.
        assert_eq!(call.wire.events, [silent]);
        let counters = call.wire.endpoint.counters();
        assert_eq!((counters.transactions, counters.dialogs), (0, 0), "{late}");
    }
}

#[test]
fn a_provisional_answer_gives_an_invite_all_the_time_it_needs() {
    let mut wire = Wire::new();
    let call = voxlane::sip::Outgoing {
        patience: Some(2 * SECOND),
        ..outgoing(0)
    };
    let dialog = wire.endpoint.invite(wire.now, call);
    let invite = wire.only();
    let mut call = Placed { wire, dialog, invite };
    call.answer("100 Trying", "");
    call.wire.run(10 * SECOND);
    assert_eq!(call.wire.events, []);
}

#[test]
fn a_redirect_brings_its_contacts_and_a_503_its_retry_after() {
    let mut call = placed();
    let invite = call.invite.clone();
    call.answer_to(
        &invite,
        "302 Moved",
        "a",
        "Contact: <sip:+1@192.0.2.7>;q=0.1, <sip:+2@b.example>\n",
    );
    let Some(Event::Failed {
        failure: Failure::Refused { redirects, .. },
        ..
    }) = call.wire.events.pop()
    else {
        panic!("{:?}", call.wire.events)
    };
    let users: Vec<&str> = redirects
        .iter()
        .map(|redirect| redirect.address.user.as_str())
        .collect();
    assert_eq!(users, ["+2", "+1"]);
    let mut call = placed();
    let invite = call.invite.clone();
    call.answer_to(&invite, "503 No", "a", "Retry-After: 120 (maintenance)\n");
    let Some(Event::Failed {
        failure: Failure::Refused { retry_after, .. },
        ..
    }) = call.wire.events.pop()
    else {
        panic!("{:?}", call.wire.events)
    };
    assert_eq!(retry_after, Some(120 * SECOND));
}
