//! REFER and the NOTIFYs that follow it, in both roles: what is sent, what is told, and what meets what on the way.

use std::time::Duration;

use crate::support::wire::{Wire, header, request};
use crate::support::{Network, Pair, outgoing};
use voxlane::sip::{DialogId, Event, News, Progress, RequestId, Within, WithinMethod};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(100);

fn refer(headers: &[(&str, &str)]) -> Within {
    let to = ("Refer-To", "<sip:+15550123@192.0.2.9>");
    let all = std::iter::once(&to).chain(headers);
    Within {
        method: WithinMethod::Refer,
        headers: all
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        content: None,
    }
}

fn asked(wire: &mut Wire, dialog: DialogId) -> (RequestId, String) {
    let name = wire.endpoint.request(wire.now, dialog, refer(&[])).expect("it is sent");
    (name, wire.only())
}

/// A NOTIFY of theirs in the dialog of [`Wire::called`].
fn notify(cseq: u32, tag: &str, event: &str, state: &str, status: &str) -> String {
    let body = match status {
        "" => String::new(),
        status => format!("Content-Type: message/sipfrag;version=2.0\n\nSIP/2.0 {status}\n"),
    };
    let headers = format!("Event: {event}\nSubscription-State: {state}\n{body}");
    request("NOTIFY", &format!("n{cseq}"), cseq, tag, &headers)
}

fn news(dialog: DialogId, request: RequestId, status: Option<u16>, ended: Option<&str>) -> Event {
    Event::Notified {
        dialog,
        request,
        news: Box::new(News {
            progress: status.map(Progress::of),
            ended: ended.map(str::to_owned),
        }),
    }
}

#[test]
fn news_of_a_refer_are_told_until_they_end_and_may_come_before_its_answer() {
    let mut wire = Wire::new();
    let (dialog, tag) = wire.called("");
    let (name, sent) = asked(&mut wire, dialog);
    let first = notify(2, &tag, "refer", "active;expires=60", "100 Trying");
    wire.feed(&first);
    // Again, since the answer was lost: it is answered again, and told once.
    wire.feed(&first);
    assert_eq!(wire.lines(), ["SIP/2.0 200 OK", "SIP/2.0 200 OK"]);
    wire.respond(&sent, "202 Accepted", "");
    wire.feed(&notify(3, &tag, "refer;id=1", "active", "180 Ringing"));
    wire.feed(&notify(4, &tag, "refer", "terminated;reason=noresource", "200 OK"));
    assert_eq!(wire.lines().len(), 2);
    let told: Vec<Event> = wire
        .events
        .drain(..)
        .filter(|e| !matches!(e, Event::Responded { .. }))
        .collect();
    let expected = [
        news(dialog, name, Some(100), None),
        news(dialog, name, Some(180), None),
        news(dialog, name, Some(200), Some("noresource")),
    ];
    assert_eq!(told, expected);
    // There is no subscription any more.
    wire.feed(&notify(5, &tag, "refer", "active", "100 Trying"));
    assert_eq!(wire.lines(), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
    assert_eq!(wire.events, []);
}

#[test]
fn news_that_nobody_has_asked_for_are_refused() {
    let mut wire = Wire::new();
    let (dialog, tag) = wire.called("");
    wire.feed(&notify(2, &tag, "refer", "active", "100 Trying"));
    assert!(wire.only().starts_with("SIP/2.0 481 "));
    let (_, sent) = asked(&mut wire, dialog);
    wire.respond(&sent, "202 Accepted", "");
    wire.events.clear();
    for (cseq, event, state, body, expected) in [
        (3, "dialog", "active", "", "489"),
        (4, "refer", "", "", "400"),
        (5, "refer;id=77", "active", "", "481"),
    ] {
        wire.feed(&notify(cseq, &tag, event, state, body));
        let answer = wire.only();
        assert!(answer.starts_with(&format!("SIP/2.0 {expected} ")), "{answer}");
        assert_eq!(header(&answer, "Allow-Events").is_some(), expected == "489", "{answer}");
    }
    let other = "Event: refer\nSubscription-State: active\nContent-Type: text/plain\n\nhello\n";
    wire.feed(&request("NOTIFY", "n6", 6, &tag, other));
    let answer = wire.only();
    assert!(answer.starts_with("SIP/2.0 415 "), "{answer}");
    assert_eq!(header(&answer, "Accept"), Some("message/sipfrag"));
    assert_eq!(wire.events, []);
}

#[test]
fn a_refer_that_is_refused_or_has_no_subscription_has_no_news() {
    for (status, headers) in [("603 Decline", ""), ("202 Accepted", "Refer-Sub: false\n")] {
        let mut wire = Wire::new();
        let (dialog, tag) = wire.called("");
        let asks = refer(&[("Refer-Sub", "false"), ("Supported", "norefersub")]);
        wire.endpoint.request(wire.now, dialog, asks).expect("it is sent");
        let sent = wire.only();
        assert_eq!(header(&sent, "Refer-Sub"), Some("false"));
        wire.respond(&sent, status, headers);
        wire.feed(&notify(2, &tag, "refer", "active", "100 Trying"));
        assert!(wire.only().starts_with("SIP/2.0 481 "), "{status}");
    }
}

#[test]
fn news_name_the_refer_that_they_are_of() {
    let mut wire = Wire::new();
    let (dialog, tag) = wire.called("");
    let (first, sent) = asked(&mut wire, dialog);
    wire.respond(&sent, "202 Accepted", "");
    let (second, sent) = asked(&mut wire, dialog);
    wire.respond(&sent, "202 Accepted", "");
    wire.events.clear();
    wire.feed(&notify(2, &tag, "refer;id=2", "active", "180 Ringing"));
    wire.feed(&notify(3, &tag, "refer", "active", "183 Session Progress"));
    assert_eq!(
        wire.events,
        [
            news(dialog, second, Some(180), None),
            news(dialog, first, Some(183), None)
        ]
    );
}

#[test]
fn a_refer_of_theirs_waits_for_the_call_layer_and_its_news_follow_each_other() {
    let mut wire = Wire::new();
    let (dialog, tag) = wire.called("");
    let theirs = request(
        "REFER",
        "r1",
        2,
        &tag,
        "Refer-To: <sip:+15550123@192.0.2.9>\nContact: <sip:c@192.0.2.2>\n",
    );
    wire.feed(&theirs);
    wire.feed(&theirs);
    let [Event::Referred { referral, .. }] = &wire.events[..] else {
        panic!("{:?}", wire.events);
    };
    assert_eq!(referral.to.user, "+15550123");
    assert_eq!(wire.take(), [""; 0]);
    // Another waits for its turn.
    wire.feed(&request("REFER", "r2", 3, &tag, "Refer-To: <sip:x@y>\n"));
    assert!(wire.only().starts_with("SIP/2.0 500 "));
    wire.endpoint.accept_refer(wire.now, dialog);
    for status in [180, 200] {
        wire.endpoint.tell_of_refer(wire.now, dialog, Progress::of(status));
    }
    let sent = wire.take();
    let [accepted, first] = &sent[..] else {
        panic!("{sent:#?}")
    };
    assert!(accepted.starts_with("SIP/2.0 202 Accepted\r\n"), "{accepted}");
    assert!(header(accepted, "Contact").is_some(), "{accepted}");
    assert!(first.starts_with("NOTIFY sip:c@192.0.2.2 SIP/2.0\r\n"), "{first}");
    assert_eq!(header(first, "Event"), Some("refer"));
    assert_eq!(header(first, "Subscription-State"), Some("active;expires=600"));
    assert!(first.ends_with("\r\n\r\nSIP/2.0 100 Trying\r\n"), "{first}");
    // The call layer hangs up: that waits for the news, each of which waits for the one before.
    wire.endpoint.hang_up(wire.now, dialog, None);
    wire.respond(first, "200 OK", "");
    let second = wire.only();
    assert!(second.ends_with("SIP/2.0 180 Ringing\r\n"), "{second}");
    wire.respond(&second, "200 OK", "");
    let third = wire.only();
    assert_eq!(
        header(&third, "Subscription-State"),
        Some("terminated;reason=noresource")
    );
    assert!(third.ends_with("SIP/2.0 200 OK\r\n"), "{third}");
    wire.respond(&third, "200 OK", "");
    assert!(wire.only().starts_with("BYE "));
}

#[test]
fn a_refer_that_cannot_be_taken_is_refused() {
    let mut wire = Wire::new();
    let (dialog, tag) = wire.called("");
    for (cseq, headers, expected) in [
        (2, "", "400 Missing Refer-To"),
        (
            3,
            "Refer-To: <sip:a@b>\nRefer-To: <sip:c@d>\n",
            "400 More Than One Refer-To",
        ),
        (4, "Refer-To: nobody\n", "400 Malformed Refer-To"),
        (5, "Refer-To: <sip:a@b>\nRequire: x\n", "420 Bad Extension"),
    ] {
        wire.feed(&request("REFER", &format!("r{cseq}"), cseq, &tag, headers));
        let answer = wire.only();
        assert!(answer.starts_with(&format!("SIP/2.0 {expected}\r\n")), "{answer}");
    }
    // Outside a call.
    wire.feed(&request("REFER", "r9", 9, "", "Refer-To: <sip:a@b>\n"));
    let answer = wire.only();
    assert!(answer.starts_with("SIP/2.0 403 Forbidden\r\n"), "{answer}");
    assert!(header(&answer, "Reason").is_some_and(|why| why.contains("within a call only")));
    // The call layer refuses, and a call that ends leaves none without an answer.
    wire.feed(&request("REFER", "r10", 10, &tag, "Refer-To: <sip:a@b>\n"));
    wire.endpoint.refuse_refer(wire.now, dialog, 603, &[]);
    assert!(wire.only().starts_with("SIP/2.0 603 Decline\r\n"));
    wire.feed(&request("REFER", "r11", 11, &tag, "Refer-To: <sip:a@b>\n"));
    wire.feed(&request("BYE", "b1", 12, &tag, ""));
    let mut lines = wire.lines();
    lines.sort();
    assert_eq!(lines, ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    wire.run(LONG);
    assert_eq!(wire.endpoint.counters().transactions, 0);
}

#[test]
fn who_does_not_know_the_subscription_is_told_no_more() {
    let mut wire = Wire::new();
    let (dialog, tag) = wire.called("");
    wire.feed(&request("REFER", "r1", 2, &tag, "Refer-To: <sip:a@b>\n"));
    wire.endpoint.accept_refer(wire.now, dialog);
    let first = wire.take().pop().expect("a NOTIFY");
    wire.respond(&first, "481 Subscription does not exist", "");
    wire.endpoint.tell_of_refer(wire.now, dialog, Progress::of(200));
    assert_eq!(wire.take(), [""; 0]);
    // The call goes on.
    assert_eq!(wire.endpoint.counters().dialogs, 1);
    // Nor is who does not want to be: it hears that it will not be.
    let quiet = "Refer-To: <sip:a@b>\nRefer-Sub: false\nSupported: norefersub\n";
    wire.feed(&request("REFER", "r3", 3, &tag, quiet));
    wire.endpoint.accept_refer(wire.now, dialog);
    let accepted = wire.only();
    assert_eq!(header(&accepted, "Refer-Sub"), Some("false"));
    wire.endpoint.tell_of_refer(wire.now, dialog, Progress::of(200));
    assert_eq!(wire.take(), [""; 0]);
}

/// A call that is up between two endpoints, by its names.
fn up(pair: &mut Pair) -> Option<[DialogId; 2]> {
    let a = pair.ends[0].invite(pair.now, outgoing(0));
    let mut b = None;
    let mut is_up = [false, false];
    while is_up != [true, true] {
        if !pair.step() {
            return None;
        }
        for side in [0, 1] {
            for event in std::mem::take(&mut pair.events[side]) {
                match event {
                    Event::Incoming(call) => {
                        b = Some(call.dialog);
                        pair.ends[1].answer(pair.now, call.dialog, b"v=0\r\n".to_vec());
                    }
                    Event::Answered { .. } | Event::Confirmed { .. } => is_up[side] = true,
                    Event::Failed { .. } | Event::Terminated { .. } => return None,
                    _ => {}
                }
            }
        }
    }
    Some([a, b?])
}

#[test]
fn news_arrive_in_order_whatever_the_network_does() {
    const TOLD: [u16; 5] = [180, 181, 182, 183, 200];
    let mut whole = 0;
    for seed in 0..200 {
        let network = Network {
            loss: 0.2,
            duplication: 0.2,
            delay: (1, 900),
        };
        let mut pair = Pair::new(seed, network);
        let Some([a, b]) = up(&mut pair) else { continue };
        let name = pair.ends[0].request(pair.now, a, refer(&[])).expect("it is sent");
        let (mut heard, mut ended) = (vec![], false);
        while !ended && pair.step() {
            for event in std::mem::take(&mut pair.events[1]) {
                match event {
                    Event::Referred { dialog, .. } => {
                        pair.ends[1].accept_refer(pair.now, dialog);
                        for status in TOLD {
                            pair.ends[1].tell_of_refer(pair.now, dialog, Progress::of(status));
                        }
                    }
                    Event::Terminated { .. } => ended = true,
                    _ => {}
                }
            }
            for event in std::mem::take(&mut pair.events[0]) {
                match event {
                    Event::Notified { request, news, .. } => {
                        assert_eq!(request, name);
                        heard.extend(news.progress.map(|progress| progress.status));
                        ended |= news.ended.is_some();
                    }
                    Event::Responded { outcome, .. } => assert!(matches!(outcome.status, 202 | 408), "{outcome:?}"),
                    Event::Terminated { .. } => ended = true,
                    _ => {}
                }
            }
        }
        let all: Vec<u16> = std::iter::once(100).chain(TOLD).collect();
        assert!(all.starts_with(&heard), "seed {seed}: {heard:?}");
        whole += usize::from(heard == all);
        pair.ends[0].hang_up(pair.now, a, None);
        pair.ends[1].hang_up(pair.now, b, None);
        pair.settle();
        pair.assert_empty(&format!("seed {seed}"));
    }
    assert!(whole > 100, "{whole} of 200 were told all");
}

#[test]
fn a_refer_that_crosses_a_bye_ends_with_the_call() {
    for seed in 0..50 {
        let network = Network {
            delay: (10, 60),
            ..Network::PERFECT
        };
        let mut pair = Pair::new(seed, network);
        let [a, b] = up(&mut pair).expect("a call");
        pair.ends[0].request(pair.now, a, refer(&[])).expect("it is sent");
        pair.ends[1].hang_up(pair.now, b, None);
        pair.settle();
        let ends = pair.events[0]
            .iter()
            .filter(|event| matches!(event, Event::Bye { .. } | Event::Terminated { .. }));
        assert_eq!(ends.count(), 1, "seed {seed}: {:?}", pair.events);
        assert!(
            !pair.events[1]
                .iter()
                .any(|event| matches!(event, Event::Referred { .. })),
            "seed {seed}: {:?}",
            pair.events
        );
        pair.assert_empty(&format!("seed {seed}"));
    }
}

#[test]
fn a_refer_that_nobody_answers_ends_the_call_after_its_time() {
    let mut wire = Wire::new();
    let (dialog, _) = wire.called("");
    let (_, sent) = asked(&mut wire, dialog);
    let log = wire.run(31 * SECOND);
    let line = sent.lines().next().expect("a line");
    let times: Vec<u64> = log.iter().filter(|(_, text)| text == line).map(|(at, _)| *at).collect();
    // Timer E: 500 ms, doubled up to 4 s.
    assert_eq!(times[..4], [500, 1500, 3500, 7500], "{log:?}");
    assert_eq!(wire.events, []);
    wire.run(LONG);
    assert!(matches!(
        &wire.events[..],
        [Event::Responded { outcome, .. }, Event::Terminated { .. }] if outcome.status == 408
    ));
}
