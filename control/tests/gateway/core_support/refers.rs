//! Transfers by REFER between SIP user agents in memory.

use voxlane::call::transfer::Asker;
use voxlane::ops::report::TransferOrder;
use voxlane::sip::Progress;
use voxlane_dataplane::media_plane::{AgentSpec, TransferRequest};

use super::transfers::{state, transfer, up};
use super::*;

fn by_refer() -> TransferOrder {
    TransferOrder {
        to: "15558888".into(),
        by: Some("refer".into()),
        ..TransferOrder::default()
    }
}

/// The REFER that the caller's carrier gets, in its dialog.
fn referred(world: &mut World) -> (DialogId, voxlane::sip::Referral) {
    let found = world.heard(CALLER).into_iter().find_map(|event| match event {
        Event::Referred { dialog, referral } => Some((dialog, *referral)),
        _ => None,
    });
    found.expect("nobody was referred")
}

fn accept(world: &mut World, dialog: DialogId, statuses: &[u16]) {
    let now = world.now;
    world.peer(CALLER).accept_refer(now, dialog);
    world.settle();
    tell(world, dialog, statuses);
}

fn tell(world: &mut World, dialog: DialogId, statuses: &[u16]) {
    let now = world.now;
    for status in statuses {
        world.peer(CALLER).tell_of_refer(now, dialog, Progress::of(*status));
        world.settle();
    }
}

fn told(world: &World) -> Vec<&'static str> {
    let told = world.books.told.lock().unwrap();
    told.iter().map(|told| told.state.word()).collect()
}

/// The REFER as it was sent.
fn sent(world: &World) -> &str {
    let refers = |(_, text): &&(SocketAddr, String)| text.starts_with("REFER ");
    &world.sent.iter().find(refers).unwrap().1
}

#[test]
fn the_carrier_takes_an_agents_call_over_and_ours_ends() {
    let mut world = World::new();
    let (call, dialog) = up(&mut world, "+15550001");
    assert_eq!(transfer(&mut world, &call, &by_refer()).unwrap(), "calling");
    for header in [
        "Refer-To: <sip:+15558888@192.0.2.20>\r\n",
        "Referred-By: <sip:+15550001@203.0.113.50>\r\n",
    ] {
        assert!(sent(&world).contains(header), "{}", sent(&world));
    }
    assert!(!sent(&world).contains("Refer-Sub"), "{}", sent(&world));
    let (of, referral) = referred(&mut world);
    assert_eq!((of, referral.to.user.as_str()), (dialog, "+15558888"));
    accept(&mut world, of, &[]);
    assert_eq!(state(&world, &call).0, "calling");
    tell(&mut world, of, &[180]);
    assert_eq!(state(&world, &call).0, "ringing");
    tell(&mut world, of, &[200]);
    assert_eq!(state(&world, &call), ("completed".to_owned(), None));
    assert!(matches!(world.heard(CALLER)[..], [Event::Bye { .. }]));
    assert_eq!(told(&world), ["calling", "ringing"]);
    let record = &world.core.calls_report().recent[0];
    assert_eq!(
        record.cause.as_deref(),
        Some("gateway: transferred to +15558888 by REFER")
    );
    world.assert_nothing_left();
}

#[test]
fn a_refer_that_fails_leaves_the_caller_with_the_agent_and_the_reason() {
    type Fail = fn(&mut World, DialogId);
    let failures: [(Fail, u16, &str); 4] = [
        (
            |world, dialog| {
                let now = world.now;
                world.peer(CALLER).refuse_refer(now, dialog, 603, &[]);
                world.settle();
            },
            603,
            "REFER: 603 Decline",
        ),
        (|world, dialog| accept(world, dialog, &[180, 486]), 486, "486 Busy Here"),
        (
            |world, dialog| accept(world, dialog, &[503]),
            503,
            "503 Service Unavailable",
        ),
        (
            |world, dialog| {
                accept(world, dialog, &[180]);
                world.wait();
            },
            408,
            "no answer within 30 s",
        ),
    ];
    for (fail, status, why) in failures {
        let mut world = World::new();
        let (call, _) = up(&mut world, "+15550001");
        transfer(&mut world, &call, &by_refer()).unwrap();
        let (dialog, _) = referred(&mut world);
        fail(&mut world, dialog);
        let report = world.core.transfer_of(&call).unwrap().transfer;
        assert_eq!(
            (report.state.as_str(), report.status, report.reason.as_deref()),
            ("failed", Some(status), Some(why))
        );
        let last = world.books.told.lock().unwrap().last().cloned().unwrap();
        assert_eq!((last.state.word(), last.reason.as_deref()), ("failed", Some(why)));
        // The call is as it was, and can be given to somebody else after all; late news of the REFER are not taken for it.
        let order = TransferOrder {
            to: "15559999".into(),
            trunk: Some("third".into()),
            ..TransferOrder::default()
        };
        assert_eq!(transfer(&mut world, &call, &order).unwrap(), "calling");
        tell(&mut world, dialog, &[200]);
        assert_eq!(state(&world, &call).0, "calling");
        let now = world.now;
        world.core.stop(now, "end of test");
        world.settle();
        world.assert_nothing_left();
    }
}

/// A gateway whose trunk `carrier` has these keys.
pub(super) fn with_keys(keys: &str) -> World {
    let config = CONFIG.replacen(
        "proxy = \"192.0.2.20\"\n",
        &format!("proxy = \"192.0.2.20\"\n{keys}\n"),
        1,
    );
    World::with(&config, |_, _| Ok(address(GATEWAY)))
}

#[test]
fn a_trunk_says_how_its_calls_are_transferred_and_whether_with_news() {
    for (unreported, completed) in [("hang_up", true), ("wait", false)] {
        let keys = format!("transfer_by = \"refer\"\nrefer_progress = \"none\"\nrefer_unreported = \"{unreported}\"");
        let mut world = with_keys(&keys);
        let (call, caller) = up(&mut world, "+15550001");
        let plain = TransferOrder { by: None, ..by_refer() };
        transfer(&mut world, &call, &plain).unwrap();
        assert!(sent(&world).contains("Refer-Sub: false\r\nSupported: norefersub\r\n"));
        let (dialog, _) = referred(&mut world);
        accept(&mut world, dialog, &[]);
        if !completed {
            assert_eq!(state(&world, &call).0, "calling");
            let now = world.now;
            world.peer(CALLER).hang_up(now, caller, None);
            world.settle();
        }
        assert_eq!(state(&world, &call).0, "completed");
        assert!(!world.sent.iter().any(|(_, text)| text.starts_with("NOTIFY ")));
        world.assert_nothing_left();
    }
    // Who names another trunk wants a leg there; a REFER cannot go there.
    let mut world = with_keys("transfer_by = \"refer\"");
    let (call, _) = up(&mut world, "+15550001");
    let elsewhere = TransferOrder {
        trunk: Some("third".into()),
        ..by_refer()
    };
    let said = transfer(&mut world, &call, &elsewhere).unwrap_err().to_string();
    assert!(said.contains("leave trunk out"), "{said}");
    let order = TransferOrder { by: None, ..elsewhere };
    transfer(&mut world, &call, &order).unwrap();
    incoming(world.heard(THIRD));
    let now = world.now;
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn an_agent_asks_for_a_refer_and_goes_and_has_its_caller_back() {
    let config = CONFIG.replacen("transfer_trunks = [\"third\"]", "transfer_trunks = [\"carrier\"]", 1);
    let mut world = World::with(&config, |_, _| Ok(address(GATEWAY)));
    world.call("+15550003");
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    let request = TransferRequest {
        to: "+15558888".into(),
        trunk: None,
        by: Some("refer".into()),
    };
    world.media(MediaEvent::AgentAsks(EndpointId(0), request));
    world.media(MediaEvent::AgentEnded(EndpointId(0)));
    assert!(matches!(*world.books.agent.lock().unwrap(), Some(AgentSpec::Ringback)));
    let (dialog, _) = referred(&mut world);
    accept(&mut world, dialog, &[486]);
    let agent = world.books.agent.lock().unwrap().clone();
    let Some(AgentSpec::Web(spec)) = agent else {
        panic!("{agent:?}");
    };
    assert!(
        spec.parameters
            .iter()
            .any(|(name, value)| &**name == "transferSipStatus" && &**value == "486")
    );
    let now = world.now;
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn a_relayed_calls_callee_is_referred_where_the_caller_leaves() {
    let mut world = World::new();
    world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    let call = world.core.calls_report().active[0].id.clone();
    let order = TransferOrder {
        leaves: Some(voxlane::call::Side::A),
        ..by_refer()
    };
    transfer(&mut world, &call, &order).unwrap();
    let (to, _) = world.sent.iter().find(|(_, text)| text.starts_with("REFER ")).unwrap();
    assert_eq!(*to, address(CALLEE));
    world.heard(CALLER);
    // It hangs up before it has answered: that is a hang-up.
    world.peer(CALLEE).hang_up(now, invite.dialog, None);
    world.settle();
    assert_eq!(state(&world, &call).0, "failed");
    assert!(matches!(world.heard(CALLER)[..], [Event::Bye { .. }]));
    world.assert_nothing_left();
}

#[test]
fn a_refer_of_a_carrier_is_refused_where_nobody_has_said_otherwise() {
    let mut world = World::new();
    let (_, dialog) = up(&mut world, "+15550001");
    let now = world.now;
    let refer = voxlane::sip::Within {
        method: voxlane::sip::WithinMethod::Refer,
        headers: vec![("Refer-To".into(), "<sip:+15551234@203.0.113.50>".into())],
        content: None,
    };
    world.peer(CALLER).request(now, dialog, refer);
    world.settle();
    assert!(matches!(
        &world.heard(CALLER)[..],
        [Event::Responded { outcome, .. }] if outcome.status == 603
    ));
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}

/// A relayed call of a gateway whose trunk `carrier` takes REFERs like this; the names of the caller's dialog and the
/// callee's.
fn taking(refers: &str) -> (World, [DialogId; 2]) {
    let mut world = with_keys(&format!("refers = \"{refers}\""));
    let caller = world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    world.heard(CALLER);
    world.heard(CALLEE);
    (world, [caller, invite.dialog])
}

/// A party asks for its call to be transferred; the status that is answered.
fn ask(world: &mut World, who: &str, dialog: DialogId, headers: &[(&str, &str)]) -> u16 {
    let now = world.now;
    let refer = voxlane::sip::Within {
        method: voxlane::sip::WithinMethod::Refer,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        content: None,
    };
    world.peer(who).request(now, dialog, refer);
    world.settle();
    let heard = world.heard.get_mut(&address(who)).unwrap();
    let at = heard
        .iter()
        .position(|event| matches!(event, Event::Responded { .. }))
        .unwrap();
    let Event::Responded { outcome, .. } = heard.remove(at) else {
        unreachable!()
    };
    outcome.status
}

/// What a party was told of its REFER: each status, and whether that was the last.
fn news(world: &mut World, who: &str) -> Vec<(u16, bool)> {
    let heard = world.heard.entry(address(who)).or_default();
    let news = heard.iter().filter_map(|event| match event {
        Event::Notified { news, .. } => Some((news.progress.as_ref()?.status, news.ended.is_some())),
        _ => None,
    });
    let news = news.collect();
    heard.retain(|event| !matches!(event, Event::Notified { .. }));
    news
}

const THERE: &str = "<sip:+15554000@203.0.113.50>";

#[test]
fn a_refer_of_a_party_is_honoured_and_told_of_to_the_end() {
    // +15554000 goes to trunk "several", of which the first gateway is silent and the last the callee; the caller asks, or
    // the callee.
    for (who, stays) in [(CALLER, CALLEE), (CALLEE, CALLER)] {
        let (mut world, [caller, callee]) = taking("routes");
        let dialog = if who == CALLER { caller } else { callee };
        let by = ("Referred-By", "<sip:ann@example.com>");
        assert_eq!(ask(&mut world, who, dialog, &[("Refer-To", THERE), by]), 202);
        assert_eq!(news(&mut world, who), [(100, false)]);
        for _ in 0..20 {
            world.now = world.now + Duration::from_millis(500);
            let now = world.now;
            world.core.timeout(now);
            world.settle();
        }
        let invite = incoming(world.heard(CALLEE));
        let sent = world.sent.iter().rev().find(|(_, text)| text.starts_with("INVITE "));
        assert!(sent.unwrap().1.contains("Referred-By: <sip:ann@example.com>\r\n"));
        let now = world.now;
        world.peer(CALLEE).ring(now, invite.dialog, 180, None);
        world.settle();
        world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
        world.settle();
        assert_eq!(news(&mut world, who), [(180, false), (200, true)]);
        // Then it is hung up on, and whom it talked with has the other.
        let ended = |event: &&Event| matches!(event, Event::Bye { dialog: of, .. } if *of == dialog);
        assert_eq!(world.heard(who).iter().filter(ended).count(), 1);
        assert!(
            !world
                .heard(stays)
                .iter()
                .any(|event| matches!(event, Event::Bye { .. }))
        );
        let report = world.core.calls_report();
        let transfer = &report.active[0].transfers[0];
        assert_eq!(
            (transfer.asked_by, transfer.state.as_str()),
            (Asker::Carrier, "completed")
        );
        world.peer(CALLEE).hang_up(now, invite.dialog, None);
        world.settle();
        world.assert_nothing_left();
    }
}

#[test]
fn a_refer_that_comes_to_nothing_leaves_the_call_and_says_so() {
    let (mut world, [caller, _]) = taking("any");
    // No number of ours: by the trunk of the party that stays.
    let there = [("Refer-To", "<sip:+15558888@203.0.113.50>")];
    assert_eq!(ask(&mut world, CALLER, caller, &there), 202);
    // One at a time.
    assert_eq!(ask(&mut world, CALLER, caller, &there), 491);
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    world.peer(CALLEE).reject(now, invite.dialog, 486, &[]);
    world.settle();
    assert_eq!(news(&mut world, CALLER), [(100, false), (486, true)]);
    assert!(world.heard(CALLER).is_empty() && world.heard(CALLEE).is_empty());
    // Who does not want to be told is not, and need not wait.
    let quiet = [there[0], ("Refer-Sub", "false"), ("Supported", "norefersub")];
    assert_eq!(ask(&mut world, CALLER, caller, &quiet), 202);
    let invite = incoming(world.heard(CALLEE));
    world.peer(CALLER).hang_up(now, caller, None);
    world.settle();
    assert_eq!(news(&mut world, CALLER), []);
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    assert!(
        !world
            .heard(CALLEE)
            .iter()
            .any(|event| matches!(event, Event::Bye { .. }))
    );
    assert_eq!(world.core.calls_report().active.len(), 1);
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn a_call_that_ends_ends_what_is_told_of_a_refer() {
    let (mut world, [caller, callee]) = taking("any");
    let there = [("Refer-To", "<sip:+15558888@203.0.113.50>")];
    assert_eq!(ask(&mut world, CALLER, caller, &there), 202);
    let now = world.now;
    world.peer(CALLEE).hang_up(now, callee, None);
    world.settle();
    assert_eq!(news(&mut world, CALLER), [(100, false), (487, true)]);
    assert!(matches!(world.heard(CALLER)[..], [Event::Bye { .. }]));
    world.assert_nothing_left();
}

#[test]
fn what_a_refer_may_not_ask_for_is_refused() {
    let (mut world, [caller, _]) = taking("routes");
    for (to, status) in [
        ("<sip:+15558888@203.0.113.50>", 404),
        ("<sip:+15550001@203.0.113.50>", 603),
        ("<sip:+15554000@203.0.113.50?Replaces=a>", 603),
        ("<sip:nobody@203.0.113.50>", 404),
    ] {
        assert_eq!(ask(&mut world, CALLER, caller, &[("Refer-To", to)]), status, "{to}");
    }
    let now = world.now;
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
    // An agent has nobody to talk with without its caller.
    let mut world = with_keys("refers = \"any\"");
    let (_, caller) = up(&mut world, "+15550001");
    assert_eq!(ask(&mut world, CALLER, caller, &[("Refer-To", THERE)]), 603);
    let now = world.now;
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}
