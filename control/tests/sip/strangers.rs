//! Requests over UDP from where no trunk is: their sources may be forged, so each gets one answer at most, no longer than it
//! was itself, and nothing is kept of it.

use std::time::Duration;

use crate::support::wire::{REMOTE, Wire, header, request, to_tag};
use voxlane::sip::Event;
use voxlane::sip::digest::{Auth, Entrance, Logins, NonceKey};

/// An endpoint whose one trunk takes calls from this network.
fn called_from(network: &str) -> Wire {
    let entrance = Entrance {
        trunk: "in".into(),
        networks: vec![network.parse().expect("a network")],
        auth: Auth::Ip,
        login: None,
    };
    let mut wire = Wire::new();
    let endpoint = std::mem::replace(&mut wire.endpoint, crate::support::endpoint(0));
    wire.endpoint = endpoint.with_trunks(NonceKey::new([2; 32]), vec![entrance], Logins::new());
    wire
}

/// Nothing is left of what came, and nothing more is sent for as long as a transaction could live.
fn assert_nothing_left(wire: &mut Wire) {
    let counters = wire.endpoint.counters();
    assert_eq!((counters.transactions, counters.dialogs), (0, 0));
    assert!(wire.events.is_empty(), "{:?}", wire.events);
    assert_eq!(wire.run(Duration::from_secs(64)), []);
    assert_eq!(wire.endpoint.counters().retransmissions_sent, 0);
}

#[test]
fn a_stranger_is_refused_once_to_each_invite() {
    let mut wire = called_from("198.51.100.0/24");
    let invite = request("INVITE", "i1", 1, "", &format!("X-Padding: {}\n", "x".repeat(300)));
    wire.feed(&invite);
    let refusal = wire.only();
    assert!(refusal.starts_with("SIP/2.0 403 Forbidden\r\n"), "{refusal}");
    let why = format!(
        "SIP;cause=403;text=\"no trunk allows calls from {}\"",
        std::net::IpAddr::from(REMOTE.0)
    );
    assert_eq!(header(&refusal, "Reason"), Some(why.as_str()));
    // Its ACK is absorbed, and the same request has the same answer.
    wire.feed(&request("ACK", "i1", 1, &to_tag(&refusal), ""));
    assert_eq!(wire.take(), [""; 0]);
    wire.feed(&invite);
    assert_eq!(wire.only(), refusal);
    wire.feed(&invite.replace("z9hG4bKi1", "z9hG4bKi2"));
    assert_ne!(to_tag(&wire.only()), to_tag(&refusal));
    let counters = wire.endpoint.counters();
    assert_eq!((counters.strangers, counters.stray), (3, 1));
    assert_nothing_left(&mut wire);
}

#[test]
fn what_could_not_be_served_anyway_is_refused_once_too() {
    let mut wire = called_from("198.51.100.0/24");
    let padding = format!("X-Padding: {}\n", "x".repeat(300));
    for (at, (to_tag, extra, status)) in [
        ("", "Content-Type: text/plain\nContent-Length: 2\n", "415"),
        ("", "Accept: text/plain\n", "406"),
        ("nobody", "", "481"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = if extra.contains("Length") { "hi" } else { "" };
        let invite = request("INVITE", &format!("i{at}"), 1, to_tag, &format!("{extra}{padding}"));
        wire.feed(&format!("{invite}{body}"));
        let refusal = wire.only();
        assert!(refusal.starts_with(&format!("SIP/2.0 {status} ")), "{refusal}");
        wire.feed(&format!("{invite}{body}"));
        assert_eq!(wire.only(), refusal);
    }
    assert_nothing_left(&mut wire);
}

#[test]
fn no_answer_is_longer_than_its_invite() {
    let mut wire = called_from("198.51.100.0/24");
    let bare = "INVITE sip:a@b SIP/2.0\nv: SIP/2.0/UDP c;branch=z9hG4bKi1\nMax-Forwards: 1\n\
                f: <sip:c@c>;tag=1\nt: <sip:a@b>\ni: 1\nCSeq: 1 INVITE\nm: <sip:c>\n";
    let mut answered = 0;
    for padding in 0..300 {
        let invite = format!("{bare}p: {}\n\n", "x".repeat(padding)).replace('\n', "\r\n");
        wire.feed_from(REMOTE.into(), invite.as_bytes());
        for answer in wire.take() {
            assert!(answer.len() <= invite.len(), "{invite}\n{answer}");
            answered += 1;
        }
    }
    assert!((1..300).contains(&answered), "{answered}");
    assert_eq!(wire.endpoint.counters().strangers, 300);
    assert_nothing_left(&mut wire);
}

#[test]
fn other_requests_get_no_longer_answers_either() {
    let mut wire = called_from("198.51.100.0/24");
    for (method, to_tag, status, answered_when_short) in [
        ("OPTIONS", "", "200", true),
        ("CANCEL", "", "481", false),
        ("BYE", "nobody", "481", true),
        ("REGISTER", "", "405", true),
        ("FETCH", "", "501", true),
    ] {
        for length in [0, 500] {
            let padding = format!("X-Padding: {}\n", "x".repeat(length));
            let asked = request(method, "r1", 1, to_tag, &padding).replace('\n', "\r\n");
            wire.feed_from(REMOTE.into(), asked.as_bytes());
            if length == 0 && !answered_when_short {
                assert_eq!(wire.take(), [""; 0]);
                continue;
            }
            let answer = wire.only();
            assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
            assert!(answer.len() <= asked.len(), "{asked}{answer}");
            // What is of use is left out where there is no room.
            assert_eq!(header(&answer, "Server").is_some(), length > 0, "{answer}");
        }
    }
    assert_nothing_left(&mut wire);
}

#[test]
fn whom_a_trunk_allows_has_a_transaction() {
    let mut wire = called_from("192.0.2.0/24");
    wire.feed(&request("INVITE", "i1", 1, "", ""));
    assert_eq!(wire.lines(), ["SIP/2.0 100 Trying"]);
    assert!(matches!(&wire.events[..], [Event::Incoming(call)] if call.trunk.as_deref() == Some("in")));
    // A refusal is repeated until it has its ACK.
    wire.feed(&request("INVITE", "i2", 1, "nobody", ""));
    assert_eq!(wire.lines(), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
    assert!(wire.run(Duration::from_secs(2)).len() >= 2);
    assert_eq!(wire.endpoint.counters().strangers, 0);
}
