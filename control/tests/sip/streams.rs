//! The endpoint over reliable transports: what is not repeated, what is not waited for, and which connection is taken.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::wire::{LOCAL, REMOTE, Wire, header, request, to_tag};
use crate::support::{endpoint, outgoing};
use voxlane::sip::{
    ConnectionId, DialogId, Event, Failure, Input, Large, Outgoing, Path, PeerId, Termination, Transport,
};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(100);

/// The connection that the other side has opened, from a port that it does not listen on.
const THEIRS: ConnectionId = ConnectionId(1);

fn connected(transport: Transport, connection: ConnectionId) -> Path {
    Path {
        local: LOCAL.into(),
        remote: SocketAddr::from((REMOTE.0, 40_000)),
        transport,
        connection: Some(connection),
        peer: None,
    }
}

fn feed(wire: &mut Wire, path: Path, text: &str) {
    let data = text.replace("/UDP", "/TCP").replace('\n', "\r\n");
    let data = data.as_bytes();
    wire.endpoint.handle_input(wire.now, Input::Message { path, data });
    wire.drain();
}

fn by_tcp() -> Path {
    connected(Transport::Tcp, THEIRS)
}

/// A call that came over TCP and is up.
fn up() -> (Wire, String) {
    let mut wire = Wire::new();
    feed(&mut wire, by_tcp(), &request("INVITE", "i1", 1, "", ""));
    wire.endpoint.answer(wire.now, wire.incoming(), b"v=0\r\n".to_vec());
    let tag = to_tag(&wire.take()[1]);
    feed(&mut wire, by_tcp(), &request("ACK", "a1", 1, &tag, ""));
    (wire, tag)
}

/// A call that is placed by a transport.
fn placed(transport: Transport) -> (Wire, DialogId, String) {
    let mut wire = Wire {
        endpoint: endpoint(7),
        ..Wire::new()
    };
    let call = Outgoing {
        transport,
        peer: Some(PeerId(3)),
        ..outgoing(0)
    };
    let dialog = wire.endpoint.invite(wire.now, call);
    wire.drain();
    let invite = String::from_utf8(wire.sent[0].data.clone()).expect("text is sent");
    (wire, dialog, invite)
}

/// The answer to a request of ours.
fn answer(request: &str, status: &str, contact: &str) -> String {
    let of = |name| header(request, name).expect("a header of every request");
    let contact = match contact {
        "" => String::new(),
        contact => format!("Contact: <{contact}>\n"),
    };
    format!(
        "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {};tag=them\nCall-ID: {}\nCSeq: {}\n{contact}\n",
        of("Via"),
        of("From"),
        of("To"),
        of("Call-ID"),
        of("CSeq")
    )
}

/// The one message that waits, and its way.
fn only(wire: &mut Wire) -> (Path, String) {
    wire.drain();
    assert_eq!(wire.sent.len(), 1, "{:#?}", wire.sent);
    let sent = wire.sent.remove(0);
    (sent.path, String::from_utf8(sent.data).expect("text is sent"))
}

#[test]
fn an_invite_is_sent_once_and_fails_when_nobody_answers() {
    let (mut wire, dialog, invite) = placed(Transport::Tcp);
    assert!(
        invite.starts_with(
            "INVITE sip:+15550100@192.0.2.2:5060;transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;"
        )
    );
    assert_eq!(header(&invite, "Contact"), Some("<sip:192.0.2.1:5060;transport=tcp>"));
    wire.sent.clear();
    assert_eq!(wire.run(31 * SECOND), []);
    assert_eq!(wire.events, []);
    assert_eq!(wire.run(2 * SECOND), []);
    assert!(matches!(&wire.events[..], [Event::Failed { dialog: failed, status: 408, .. }] if *failed == dialog));
}

#[test]
fn a_refusal_is_acknowledged_and_forgotten_at_once() {
    let (mut wire, _, invite) = placed(Transport::Tls);
    assert!(invite.contains("Via: SIP/2.0/TLS 192.0.2.1:5060;"), "{invite}");
    wire.sent.clear();
    feed(
        &mut wire,
        connected(Transport::Tls, THEIRS),
        &answer(&invite, "486 Busy Here", ""),
    );
    let (path, ack) = only(&mut wire);
    assert!(ack.starts_with("ACK sip:"));
    assert_eq!((path.transport, path.peer), (Transport::Tls, Some(PeerId(3))));
    // Timer D is 0.
    wire.endpoint.handle_timeout(wire.now);
    assert_eq!(wire.endpoint.counters().transactions, 0);
}

#[test]
fn their_refused_invite_is_answered_once_and_given_up_after_timer_h() {
    let mut wire = Wire::new();
    feed(&mut wire, by_tcp(), &request("INVITE", "i1", 1, "", ""));
    wire.endpoint.reject(wire.now, wire.incoming(), 486, &[]);
    assert_eq!(wire.lines(), ["SIP/2.0 100 Trying", "SIP/2.0 486 Busy Here"]);
    assert_eq!(wire.run(31 * SECOND), []);
    assert_eq!(wire.endpoint.counters().transactions, 1);
    wire.run(2 * SECOND);
    assert_eq!(wire.endpoint.counters().transactions, 0);
}

#[test]
fn an_ack_to_a_refusal_and_the_answer_to_a_bye_leave_nothing_behind() {
    let mut wire = Wire::new();
    feed(&mut wire, by_tcp(), &request("INVITE", "i1", 1, "", ""));
    wire.endpoint.reject(wire.now, wire.incoming(), 486, &[]);
    let tag = to_tag(&wire.take()[1]);
    feed(&mut wire, by_tcp(), &request("ACK", "i1", 1, &tag, ""));
    wire.endpoint.handle_timeout(wire.now);
    assert_eq!(wire.endpoint.counters().transactions, 0);

    let (mut wire, tag) = up();
    feed(&mut wire, by_tcp(), &request("BYE", "b1", 2, &tag, ""));
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK"]);
    wire.endpoint.handle_timeout(wire.now);
    // Timer L goes on (RFC 6026), J does not.
    assert_eq!(
        (wire.endpoint.counters().dialogs, wire.endpoint.counters().transactions),
        (0, 1)
    );
    wire.run(LONG);
    assert_eq!(wire.endpoint.counters().transactions, 0);
}

#[test]
fn a_2xx_is_repeated_all_the_same() {
    // RFC 3261 section 13.3.1.4: the way may go on over UDP.
    let mut wire = Wire::new();
    feed(&mut wire, by_tcp(), &request("INVITE", "i1", 1, "", ""));
    wire.endpoint.answer(wire.now, wire.incoming(), b"v=0\r\n".to_vec());
    wire.take();
    let repeated = wire.run(2 * SECOND);
    assert_eq!(
        repeated,
        [(500, "SIP/2.0 200 OK".into()), (1500, "SIP/2.0 200 OK".into())]
    );
}

#[test]
fn responses_and_requests_take_the_connection_the_call_came_on() {
    let mut wire = Wire::new();
    feed(&mut wire, by_tcp(), &request("INVITE", "i1", 1, "", ""));
    let (path, trying) = only(&mut wire);
    // RFC 3261 section 18.2.2: should the connection be gone, to the port in sent-by.
    assert_eq!((path.connection, path.remote), (Some(THEIRS), REMOTE.into()));
    assert!(
        trying.contains("Via: SIP/2.0/TCP 192.0.2.2;branch=z9hG4bKi1\r\n"),
        "{trying}"
    );
    wire.endpoint.answer(wire.now, wire.incoming(), b"v=0\r\n".to_vec());
    let (_, ok) = only(&mut wire);
    assert_eq!(header(&ok, "Contact"), Some("<sip:192.0.2.1:5060;transport=tcp>"));
    feed(&mut wire, by_tcp(), &request("ACK", "a1", 1, &to_tag(&ok), ""));
    wire.endpoint.belongs_to(wire.incoming(), PeerId(2));
    wire.endpoint.hang_up(wire.now, wire.incoming(), None);
    let (path, bye) = only(&mut wire);
    let expected = Path {
        remote: REMOTE.into(),
        peer: Some(PeerId(2)),
        ..by_tcp()
    };
    assert_eq!(path, expected);
    assert!(bye.contains("\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;"), "{bye}");
    assert_eq!(wire.run(31 * SECOND), []);
    wire.run(2 * SECOND);
    assert!(matches!(
        wire.events.last(),
        Some(Event::Terminated {
            cause: Termination::ByeTimeout,
            ..
        })
    ));
}

#[test]
fn what_a_lost_connection_took_with_it_is_sent_once_more() {
    let (mut wire, _) = up();
    wire.endpoint.hang_up(wire.now, wire.incoming(), None);
    let (_, bye) = only(&mut wire);
    let lost = Input::Lost {
        connection: THEIRS,
        transport: Transport::Tcp,
        remote: by_tcp().remote,
    };
    wire.endpoint.handle_input(wire.now, lost);
    let (path, again) = only(&mut wire);
    assert_eq!((path.connection, path.remote, &again), (None, REMOTE.into(), &bye));
    wire.endpoint.handle_input(wire.now, lost);
    assert_eq!(wire.take(), [""; 0]);
    // Nobody listens there.
    let unreachable = Input::Unreachable {
        transport: Transport::Tcp,
        remote: REMOTE.into(),
    };
    wire.endpoint.handle_input(wire.now, unreachable);
    wire.drain();
    assert!(matches!(
        wire.events.last(),
        Some(Event::Terminated {
            cause: Termination::ByeTimeout,
            ..
        })
    ));
}

#[test]
fn an_invite_whose_connection_is_lost_twice_has_failed() {
    // As where somebody takes connections, and closes them for what we show them.
    for transport in [Transport::Tcp, Transport::Tls] {
        let (mut wire, dialog, invite) = placed(transport);
        let (first, _) = only(&mut wire);
        let lost = |connection| Input::Lost {
            connection: ConnectionId(connection),
            transport,
            remote: first.remote,
        };
        wire.endpoint.handle_input(wire.now, lost(11));
        let (path, again) = only(&mut wire);
        assert_eq!((path.remote, again), (first.remote, invite));
        assert_eq!(wire.events, []);
        wire.endpoint.handle_input(wire.now, lost(12));
        assert_eq!(wire.take(), [""; 0]);
        let failed = Event::Failed {
            dialog,
            status: 503,
            reason: "Service Unavailable".into(),
            failure: Failure::Unreachable,
        };
        assert_eq!(wire.events, [failed]);
        let counters = wire.endpoint.counters();
        assert_eq!((counters.transactions, counters.dialogs), (0, 0));
    }
}

#[test]
fn a_call_follows_its_other_side_to_another_connection() {
    let (mut wire, tag) = up();
    let other = connected(Transport::Tcp, ConnectionId(2));
    feed(&mut wire, other, &request("OPTIONS", "o1", 2, &tag, ""));
    assert_eq!(only(&mut wire).0.connection, other.connection);
    wire.endpoint.hang_up(wire.now, wire.incoming(), None);
    assert_eq!(only(&mut wire).0.connection, other.connection);
}

#[test]
fn another_host_does_not_get_what_is_meant_for_the_route() {
    let mut wire = Wire::new();
    let route = "Record-Route: <sip:192.0.2.9;transport=tcp;lr>\n";
    feed(&mut wire, by_tcp(), &request("INVITE", "i1", 1, "", route));
    wire.endpoint.answer(wire.now, wire.incoming(), b"v=0\r\n".to_vec());
    let tag = to_tag(&wire.take()[1]);
    feed(&mut wire, by_tcp(), &request("ACK", "a1", 1, &tag, ""));
    wire.endpoint.hang_up(wire.now, wire.incoming(), None);
    let (path, _) = only(&mut wire);
    assert_eq!(
        (path.connection, path.remote),
        (None, "192.0.2.9:5060".parse().unwrap())
    );
}

#[test]
fn what_was_encrypted_stays_so_whatever_a_contact_says() {
    let (mut wire, dialog, invite) = placed(Transport::Tls);
    wire.sent.clear();
    let path = connected(Transport::Tls, ConnectionId(5));
    feed(
        &mut wire,
        path,
        &answer(&invite, "200 OK", "sip:b@192.0.2.2:7000;transport=udp"),
    );
    let (ack, _) = only(&mut wire);
    assert_eq!((ack.transport, ack.connection), (Transport::Tls, path.connection));
    wire.endpoint.hang_up(wire.now, dialog, None);
    assert_eq!(only(&mut wire).0.transport, Transport::Tls);
}

/// A call over UDP whose offer makes its INVITE this long or longer.
fn large(length: usize, large: Large) -> (Wire, String) {
    let mut wire = Wire::new();
    let call = Outgoing {
        sdp: vec![b'x'; length],
        large,
        ..outgoing(0)
    };
    wire.endpoint.invite(wire.now, call);
    wire.drain();
    let invite = String::from_utf8(wire.sent[0].data.clone()).expect("text is sent");
    (wire, invite)
}

#[test]
fn a_large_invite_goes_over_tcp_and_its_dialog_over_udp() {
    for (size, setting, transport) in [
        (1300, Large::Tcp, Transport::Tcp),
        (1300, Large::Udp, Transport::Udp),
        (100, Large::Tcp, Transport::Udp),
    ] {
        assert_eq!(
            large(size, setting).0.sent[0].path.transport,
            transport,
            "{size} {setting:?}"
        );
    }
    let (mut wire, invite) = large(1300, Large::Tcp);
    assert!(invite.contains("Via: SIP/2.0/TCP ") && invite.starts_with("INVITE sip:+15550100@192.0.2.2:5060 SIP"));
    assert_eq!(header(&invite, "Contact"), Some("<sip:192.0.2.1:5060>"));
    wire.sent.clear();
    feed(
        &mut wire,
        connected(Transport::Tcp, THEIRS),
        &answer(&invite, "200 OK", "sip:b@192.0.2.2:7000"),
    );
    assert_eq!(
        only(&mut wire).0,
        Path::udp(LOCAL.into(), "192.0.2.2:7000".parse().unwrap())
    );

    // Its Contact may ask for what the INVITE took.
    let (mut wire, invite) = large(1300, Large::Tcp);
    wire.sent.clear();
    feed(
        &mut wire,
        connected(Transport::Tcp, THEIRS),
        &answer(&invite, "200 OK", "sip:b@192.0.2.2:7000;transport=tcp"),
    );
    let (ack, _) = only(&mut wire);
    assert_eq!(
        (ack.transport, ack.remote),
        (Transport::Tcp, "192.0.2.2:7000".parse().unwrap())
    );
}

#[test]
fn a_large_invite_that_nobody_takes_over_tcp_goes_over_udp() {
    let (mut wire, _) = large(1300, Large::Tcp);
    wire.sent.clear();
    let refused = |transport| Input::Unreachable {
        transport,
        remote: REMOTE.into(),
    };
    wire.endpoint.handle_input(wire.now, refused(Transport::Tcp));
    let (path, invite) = only(&mut wire);
    assert_eq!(path, Path::udp(LOCAL.into(), REMOTE.into()));
    assert!(invite.contains("Via: SIP/2.0/UDP "), "{invite}");
    // It is repeated, as over UDP it has to be; and when that is refused, too, the call fails.
    let repeated = wire.run(2 * SECOND);
    assert_eq!(repeated.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [500, 1500]);
    wire.endpoint.handle_input(wire.now, refused(Transport::Udp));
    wire.drain();
    assert!(matches!(wire.events.last(), Some(Event::Failed { status: 503, .. })));
}

#[test]
fn a_damaged_stream_is_answered_where_that_can_be() {
    let mut wire = Wire::new();
    let head = request("INVITE", "i1", 1, "", "Content-Length: x\n").replace('\n', "\r\n");
    let damaged = |head| Input::Damaged {
        path: by_tcp(),
        head,
        status: 400,
        reason: "Malformed Content-Length",
    };
    wire.endpoint.handle_input(wire.now, damaged(head.as_bytes()));
    let (path, refusal) = only(&mut wire);
    assert!(
        refusal.starts_with("SIP/2.0 400 Malformed Content-Length\r\n"),
        "{refusal}"
    );
    assert_eq!(path.connection, Some(THEIRS));
    for head in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"INVITE sip:a SIP/2.0\r\nl: x\r\n\r\n",
    ] {
        wire.endpoint.handle_input(wire.now, damaged(head));
        assert_eq!(wire.take(), [""; 0]);
    }
    let counters = wire.endpoint.counters();
    assert_eq!((counters.bad_requests, counters.malformed), (1, 2));
}
