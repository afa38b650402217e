//! Transfers between SIP user agents in memory.

use voxlane::call::Side;
use voxlane::ops::OperateError;
use voxlane::ops::report::TransferOrder;
use voxlane_dataplane::media_plane::{AgentSpec, TransferRequest};

use super::*;

fn to(number: &str) -> TransferOrder {
    TransferOrder {
        to: number.into(),
        trunk: Some("third".into()),
        ..TransferOrder::default()
    }
}

/// A call to an agent that is up, by its name, and the caller's dialog.
pub(super) fn up(world: &mut World, number: &str) -> (String, DialogId) {
    let dialog = world.call(number);
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    assert!(matches!(world.heard(CALLER).last(), Some(Event::Answered { .. })));
    (world.core.calls_report().active[0].id.clone(), dialog)
}

pub(super) fn transfer(world: &mut World, call: &str, order: &TransferOrder) -> Result<String, OperateError> {
    let now = world.now;
    let report = world.core.transfer(now, call, order);
    world.settle();
    report.map(|report| report.transfer.state)
}

pub(super) fn state(world: &World, call: &str) -> (String, Option<u16>) {
    let transfer = world.core.transfer_of(call).unwrap().transfer;
    (transfer.state, transfer.status)
}

#[test]
fn an_agents_call_is_transferred_and_what_is_left_is_relayed() {
    let mut world = World::new();
    let (call, dialog) = up(&mut world, "+15550001");
    assert_eq!(transfer(&mut world, &call, &to("15558888")).unwrap(), "calling");
    let invite = incoming(world.heard(THIRD));
    // The trunk shows numbers of its own only.
    assert_eq!(
        (invite.from.user.as_str(), invite.request_uri.user.as_str()),
        ("+15550999", "+15558888")
    );
    let now = world.now;
    world.peer(THIRD).ring(now, invite.dialog, 180, None);
    world.settle();
    assert_eq!(state(&world, &call).0, "ringing");
    world.peer(THIRD).answer(now, invite.dialog, SDP.into());
    world.settle();
    assert_eq!(state(&world, &call).0, "completed");
    assert_eq!(*world.books.pair.lock().unwrap(), Some([EndpointId(0), EndpointId(1)]));
    let told: Vec<&str> = world
        .books
        .told
        .lock()
        .unwrap()
        .iter()
        .map(|told| told.state.word())
        .collect();
    assert_eq!(told, ["calling", "ringing"]);
    let report = world.core.calls_report();
    let shown = &report.active[0];
    assert_eq!(
        (shown.agent.as_deref(), shown.trunk.as_deref()),
        (Some("echo"), Some("third"))
    );
    assert_eq!((shown.transfers.len(), shown.legs.len()), (1, 2));
    world.heard(THIRD);
    world.peer(CALLER).hang_up(now, dialog, None);
    world.settle();
    assert!(matches!(world.heard(THIRD)[..], [Event::Bye { .. }]));
    world.assert_nothing_left();
    // It is over, and what came of it is still known.
    assert_eq!(state(&world, &call).0, "completed");
}

#[test]
fn a_party_that_does_not_take_the_call_leaves_it_as_it_was() {
    for (silent, status) in [(false, 486), (true, 408)] {
        let mut world = World::new();
        let (call, dialog) = up(&mut world, "+15550001");
        let order = TransferOrder {
            timeout_s: Some(5),
            ..to("+15558888")
        };
        transfer(&mut world, &call, &order).unwrap();
        let invite = incoming(world.heard(THIRD));
        let now = world.now;
        if silent {
            world.peer(THIRD).ring(now, invite.dialog, 180, None);
            world.wait();
            assert!(matches!(world.heard(THIRD)[..], [Event::Cancelled { .. }]));
        } else {
            world.peer(THIRD).reject(now, invite.dialog, 486, &[]);
            world.settle();
        }
        assert_eq!(state(&world, &call), ("failed".to_owned(), Some(status)));
        let told = world.books.told.lock().unwrap().last().cloned().unwrap();
        assert_eq!((told.state.word(), told.status), ("failed", Some(status)));
        assert!(world.heard(CALLER).is_empty());
        assert_eq!(world.books.open.lock().unwrap().len(), 1);
        let now = world.now;
        world.peer(CALLER).hang_up(now, dialog, None);
        world.settle();
        world.assert_nothing_left();
    }
}

#[test]
fn a_transfer_can_be_taken_back() {
    let mut world = World::new();
    let (call, _) = up(&mut world, "+15550001");
    let now = world.now;
    assert!(world.core.cancel_transfer(now, &call).is_err());
    transfer(&mut world, &call, &to("+15558888")).unwrap();
    assert!(transfer(&mut world, &call, &to("+15558888")).is_err());
    let invite = incoming(world.heard(THIRD));
    world.peer(THIRD).ring(now, invite.dialog, 180, None);
    world.settle();
    world.core.cancel_transfer(now, &call).unwrap();
    world.settle();
    assert!(matches!(world.heard(THIRD)[..], [Event::Cancelled { .. }]));
    assert_eq!(state(&world, &call), ("failed".to_owned(), Some(487)));
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn a_relayed_call_is_transferred_to_a_third_party() {
    for leaves in [Side::A, Side::B] {
        let mut world = World::new();
        world.call("+15551234");
        let invite = incoming(world.heard(CALLEE));
        let now = world.now;
        world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
        world.settle();
        world.heard(CALLER);
        world.heard(CALLEE);
        let call = world.core.calls_report().active[0].id.clone();
        let order = TransferOrder {
            leaves: Some(leaves),
            ..to("+15558888")
        };
        transfer(&mut world, &call, &order).unwrap();
        let invite = incoming(world.heard(THIRD));
        world.peer(THIRD).answer(now, invite.dialog, SDP.into());
        world.settle();
        let (left, stays) = match leaves {
            Side::A => (CALLER, CALLEE),
            Side::B | Side::C => (CALLEE, CALLER),
        };
        assert!(matches!(world.heard(left)[..], [Event::Bye { .. }]));
        assert!(world.heard(stays).is_empty());
        world.heard(THIRD);
        world.peer(THIRD).hang_up(now, invite.dialog, None);
        world.settle();
        assert!(matches!(world.heard(stays)[..], [Event::Bye { .. }]));
        world.assert_nothing_left();
    }
}

#[test]
fn an_agent_transfers_where_it_may() {
    let mut world = World::new();
    world.call("+15550003");
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    let ask = |trunk: &str| {
        let request = TransferRequest {
            to: "+15558888".into(),
            trunk: Some(trunk.into()),
            by: None,
        };
        MediaEvent::AgentAsks(EndpointId(0), request)
    };
    world.media(ask("carrier"));
    assert!(world.heard(CALLEE).is_empty());
    let told = world.books.told.lock().unwrap().pop().unwrap();
    assert_eq!((told.state.word(), told.status), ("failed", Some(403)));
    assert!(told.reason.unwrap().contains("transfer_trunks"));
    // It asks and goes: the caller hears a ring-back tone until the other party refuses.
    world.media(ask("third"));
    world.media(MediaEvent::AgentEnded(EndpointId(0)));
    assert!(matches!(*world.books.agent.lock().unwrap(), Some(AgentSpec::Ringback)));
    let invite = incoming(world.heard(THIRD));
    let now = world.now;
    world.peer(THIRD).reject(now, invite.dialog, 603, &[]);
    world.settle();
    let agent = world.books.agent.lock().unwrap().clone();
    let Some(AgentSpec::Web(spec)) = agent else {
        panic!("{agent:?}");
    };
    let parameters: Vec<(&str, &str)> = spec
        .parameters
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(
        parameters,
        [
            ("transferStatus", "failed"),
            ("transferTo", "+15558888"),
            ("transferSipStatus", "603"),
            ("transferReason", "603 Decline")
        ]
    );
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn what_cannot_be_transferred_is_said() {
    let mut world = World::new();
    world.call("+15550001");
    let call = world.core.calls_report().active[0].id.clone();
    let wrong = |world: &mut World, order: &TransferOrder| transfer(world, &call, order).unwrap_err().to_string();
    assert!(wrong(&mut world, &to("+15558888")).contains("not up"));
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    for (order, expected) in [
        (to("15\u{a0}@evil"), "is not a number"),
        (
            TransferOrder {
                trunk: Some("x".into()),
                ..to("+1")
            },
            "there is no trunk",
        ),
        (
            TransferOrder {
                by: Some("x".into()),
                ..to("+1")
            },
            "no way to transfer",
        ),
        (
            TransferOrder {
                leaves: Some(Side::A),
                ..to("+1")
            },
            "no such leg",
        ),
        (
            TransferOrder {
                leaves: Some(Side::C),
                ..to("+1")
            },
            "no such leg",
        ),
    ] {
        let said = wrong(&mut world, &order);
        assert!(said.contains(expected), "{said}");
    }
    assert!(matches!(
        transfer(&mut world, "nobody", &to("+1")),
        Err(OperateError::NoCall(_))
    ));
    let now = world.now;
    world.core.stop(now, "end of test");
    world.settle();
    world.assert_nothing_left();
}
