//! Attended transfer between SIP user agents in memory: two calls that the carrier joins, and calls that take the place of
//! another (RFC 3891).

use voxlane::call::Side;
use voxlane::ops::report::TransferOrder;
use voxlane::sip::Progress;

use super::refers::with_keys;
use super::transfers::{state, transfer, up};
use super::*;

/// The value of a header in a message.
fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message
        .split("\r\n")
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {message}"))
}

fn tag(value: &str) -> &str {
    value.split_once(";tag=").unwrap().1
}

/// Call-ID, our tag and theirs of each call of a party that the gateway has answered, in order.
fn answered(world: &World, who: &str) -> Vec<[String; 3]> {
    let to = address(who);
    let answers = world.sent.iter().filter(|(remote, text)| {
        *remote == to && text.starts_with("SIP/2.0 200 ") && header(text, "CSeq").ends_with(" INVITE")
    });
    let names = answers.map(|(_, text)| {
        let part = |name| header(text, name).to_owned();
        [
            part("Call-ID"),
            tag(&part("To")).to_owned(),
            tag(&part("From")).to_owned(),
        ]
    });
    names.collect()
}

fn party(user: &str) -> Address {
    Address {
        display: String::new(),
        user: user.into(),
        host: "203.0.113.50".into(),
        port: None,
    }
}

/// A party calls in the place of a dialog.
fn call_replacing(world: &mut World, who: &str, replaces: &str, sdp: &str) -> DialogId {
    let now = world.now;
    let dialog = world.peer(who).invite(
        now,
        Outgoing {
            local: address(who),
            remote: address(GATEWAY),
            transport: Transport::Udp,
            peer: None,
            large: Large::default(),
            request_uri: party("+15550001"),
            from: party("+15556666"),
            to: party("+15550001"),
            max_forwards: MAX_FORWARDS,
            trunk: None,
            headers: vec![("Replaces".into(), replaces.into())],
            user_phone: UserPhone::Off,
            patience: None,
            sdp: sdp.into(),
        },
    );
    world.settle();
    dialog
}

fn named([call_id, ours, theirs]: &[String; 3]) -> String {
    format!("{call_id};to-tag={ours};from-tag={theirs}")
}

#[test]
fn the_carrier_joins_two_calls_that_it_has_with_us() {
    let mut world = World::new();
    let (first, dialog) = up(&mut world, "+15550001");
    let other_dialog = world.call("+15550001");
    world.media(MediaEvent::AgentReady(EndpointId(1)));
    world.heard(CALLER);
    let other = world
        .core
        .calls_report()
        .active
        .iter()
        .map(|call| call.id.clone())
        .find(|id| *id != first)
        .unwrap();
    let order = TransferOrder {
        to_call: Some(other),
        ..TransferOrder::default()
    };
    assert_eq!(transfer(&mut world, &first, &order).unwrap(), "calling");
    let found = world.heard(CALLER).into_iter().find_map(|event| match event {
        Event::Referred { dialog, referral } => Some((dialog, *referral)),
        _ => None,
    });
    let (of, referral) = found.unwrap();
    assert_eq!((of, referral.to.host.as_str()), (dialog, "198.51.100.1"));
    // The names of the other call, as its far end knows them: that one's own tag is the one it is called by.
    let [_, [call_id, ours, theirs]] = &answered(&world, CALLER)[..] else {
        panic!("{:?}", answered(&world, CALLER));
    };
    let expected = format!("Replaces={call_id}%3Bto-tag%3D{theirs}%3Bfrom-tag%3D{ours}&Require=replaces");
    assert_eq!(referral.headers.as_deref(), Some(&*expected));
    let now = world.now;
    world.peer(CALLER).accept_refer(now, of);
    world.settle();
    world.peer(CALLER).tell_of_refer(now, of, Progress::of(200));
    world.settle();
    assert_eq!(state(&world, &first).0, "completed");
    // The carrier has put the one in the place of ours in the other.
    world.peer(CALLER).hang_up(now, other_dialog, None);
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn calls_that_cannot_be_joined_are_said() {
    let mut world = World::new();
    let (call, _) = up(&mut world, "+15550001");
    let with = |to_call: &str| TransferOrder {
        to_call: Some(to_call.into()),
        ..TransferOrder::default()
    };
    world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let other = world
        .core
        .calls_report()
        .active
        .iter()
        .map(|call| call.id.clone())
        .find(|id| *id != call)
        .unwrap();
    for (order, expected) in [
        (with(&call), "with itself"),
        (with("ffffffff"), "ffffffff"),
        (with(&other), "is not up"),
        (
            TransferOrder {
                to: "+15558888".into(),
                ..with(&other)
            },
            "leave out to",
        ),
        (
            TransferOrder {
                by: Some("bridge".into()),
                ..with(&other)
            },
            "by REFER only",
        ),
    ] {
        let said = transfer(&mut world, &call, &order).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
    let now = world.now;
    world.peer(CALLEE).reject(now, invite.dialog, 486, &[]);
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn a_call_takes_the_place_of_an_agents_caller() {
    let mut world = with_keys("replaces = \"supported\"");
    let (call, _) = up(&mut world, "+15550001");
    let names = answered(&world, CALLER).remove(0);
    assert!(
        world
            .sent
            .iter()
            .any(|(_, text)| text.contains("Supported: timer, 100rel, replaces\r\n"))
    );
    // It may be somebody else of the carrier's, elsewhere.
    let other = call_replacing(&mut world, CALLER, &named(&names), &SDP.replace("40000", "40002"));
    let heard = world.heard(CALLER);
    assert!(
        matches!(heard[..], [Event::Answered { .. }, Event::Bye { .. }]),
        "{heard:?}"
    );
    // The agent has not been asked, and the ports are those before.
    assert_eq!(world.books.attached.load(Ordering::SeqCst), 1);
    let session = world.books.open.lock().unwrap()[&EndpointId(0)].clone().unwrap();
    assert_eq!(session.remote_rtp, address("198.51.100.1:40002"));
    let report = world.core.calls_report();
    assert_eq!((report.active.len(), report.active[0].id.as_str()), (1, call.as_str()));
    // And once more: it is a call as any other.
    let names = answered(&world, CALLER).remove(1);
    let third = call_replacing(&mut world, CALLER, &named(&names), SDP);
    let heard = world.heard(CALLER);
    assert!(
        matches!(&heard[..], [Event::Answered { dialog, .. }, Event::Bye { dialog: gone, .. }] if *dialog == third && *gone == other),
        "{heard:?}"
    );
    let now = world.now;
    world.peer(CALLER).hang_up(now, third, None);
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn a_call_takes_the_place_of_either_leg_of_a_relayed_call() {
    let mut world = with_keys("replaces = \"supported\"");
    let caller = world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    world.heard(CALLER);
    world.heard(CALLEE);
    let names = answered(&world, CALLER).remove(0);
    // On hold from the start, which the other leg is told.
    let other = call_replacing(&mut world, CALLER, &named(&names), &format!("{SDP}a=sendonly\r\n"));
    let heard = world.heard(CALLER);
    assert!(
        matches!(&heard[..], [Event::Answered { .. }, Event::Bye { dialog, .. }] if *dialog == caller),
        "{heard:?}"
    );
    assert!(matches!(world.heard(CALLEE)[..], [Event::Reinvite { .. }]));
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    // Leg B, whose INVITE was ours.
    let ours = world
        .sent
        .iter()
        .find(|(to, text)| *to == address(CALLEE) && text.starts_with("INVITE "))
        .unwrap();
    let ack = world
        .sent
        .iter()
        .find(|(to, text)| *to == address(CALLEE) && text.starts_with("ACK "))
        .unwrap();
    let names = [
        header(&ours.1, "Call-ID"),
        tag(header(&ours.1, "From")),
        tag(header(&ack.1, "To")),
    ]
    .map(str::to_owned);
    let callee = call_replacing(&mut world, CALLER, &named(&names), SDP);
    let heard = world.heard(CALLER);
    assert!(
        heard
            .iter()
            .any(|event| matches!(event, Event::Answered { dialog, .. } if *dialog == callee)),
        "{heard:?}"
    );
    let heard = world.heard(CALLEE);
    assert!(
        heard.iter().any(|event| matches!(event, Event::Bye { .. })),
        "{heard:?}"
    );
    assert_eq!(world.core.calls_report().active.len(), 1);
    world.peer(CALLER).hang_up(now, other, None);
    world.settle();
    assert!(
        world
            .heard(CALLER)
            .iter()
            .any(|event| matches!(event, Event::Bye { dialog, .. } if *dialog == callee))
    );
    world.assert_nothing_left();
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    let mut world = with_keys("replaces = \"supported\"");
    world.call("+15550001");
    // Not answered, and not begun by us.
    let ringing = world
        .sent
        .iter()
        .find(|(_, text)| text.starts_with("SIP/2.0 180 "))
        .unwrap()
        .1
        .clone();
    let part = |name| header(&ringing, name).to_owned();
    let early = [
        part("Call-ID"),
        tag(&part("To")).to_owned(),
        tag(&part("From")).to_owned(),
    ];
    world.heard(CALLER);
    call_replacing(&mut world, CALLER, &named(&early), SDP);
    assert_eq!(failed(&world.heard(CALLER)), Some(481));
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    world.heard(CALLER);
    let names = answered(&world, CALLER).remove(0);
    let [call_id, ours, theirs] = &names;
    for (replaces, status) in [
        (format!("{};early-only", named(&names)), 486),
        (format!("{call_id};to-tag={ours};from-tag=x"), 481),
        (format!("{call_id};to-tag={theirs};from-tag={ours}"), 481),
        (format!("x;to-tag={ours};from-tag={theirs}"), 481),
        ("nonsense".to_owned(), 400),
        (named(&names).replace("from-tag", "from"), 400),
    ] {
        call_replacing(&mut world, CALLER, &replaces, SDP);
        assert_eq!(failed(&world.heard(CALLER)), Some(status), "{replaces}");
    }
    // No media that could be had.
    call_replacing(
        &mut world,
        CALLER,
        &named(&names),
        &SDP.replace("RTP/AVP 0 101", "RTP/AVP 18"),
    );
    assert_eq!(failed(&world.heard(CALLER)), Some(488));
    // While it is being transferred.
    let call = world.core.calls_report().active[0].id.clone();
    let order = TransferOrder {
        to: "15558888".into(),
        trunk: Some("third".into()),
        leaves: Some(Side::B),
        ..TransferOrder::default()
    };
    transfer(&mut world, &call, &order).unwrap();
    call_replacing(&mut world, CALLER, &named(&names), SDP);
    assert_eq!(failed(&world.heard(CALLER)), Some(491));
    // All that has changed nothing.
    assert_eq!(world.core.calls_report().active.len(), 1);
    let now = world.now;
    world.core.stop(now, "end of test");
    world.settle();
    // It is over, and has left nothing to replace.
    call_replacing(&mut world, CALLER, &named(&names), SDP);
    assert_eq!(failed(&world.heard(CALLER)), Some(481));
    world.assert_nothing_left();
}

#[test]
fn where_replaces_is_off_it_is_not_known() {
    let mut world = World::new();
    up(&mut world, "+15550001");
    let names = answered(&world, CALLER).remove(0);
    call_replacing(&mut world, CALLER, &named(&names), SDP);
    // A call of its own.
    assert_eq!(world.core.calls_report().active.len(), 2);
    let now = world.now;
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}
