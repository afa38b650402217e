//! Calls that no application controls and that are given a document while they go on: it takes them over.

use voxlane::campaign::{Change, PlaceError, Updated};
use voxlane::config::model::HostPort;
use voxlane::rest::problem::Problem;
use voxlane::twiml::application::Source;
use voxlane_dataplane::media_plane::AgentSpec;

use super::*;

const NUMBERS: &str = r#"
[[tenant]]
name = "acme"
auth_token = "12345"
dial_trunks = ["third"]

[[did]]
number = "+15557001"
tenant = "acme"
agent = "bot"

[[did]]
number = "+15557002"
tenant = "acme"
trunk = "carrier"
"#;

const AGENTS: &str = "+15557001";
const RELAYED: &str = "+15557002";
const DIAL: &str = "<Response><Dial>+15550200</Dial></Response>";
const PAUSE: &str = "<Response><Pause length=\"5\"/></Response>";

fn world() -> World {
    let proxy = "proxy = \"192.0.2.20\"\n";
    let shown = format!("{proxy}caller_ids = [\"+15550100\"]\n");
    let config = format!("{CONFIG}{NUMBERS}").replacen(proxy, &shown, 1);
    World::with(&config, |_, _| Ok(address(GATEWAY)))
}

impl World {
    fn alive(&self) -> String {
        self.core.calls_report().active[0].id.clone()
    }

    fn change(&mut self, call: &str, change: Change) -> Result<Updated, PlaceError> {
        let changed = self.core.change_call(self.now, call, change, Requester::RestApi);
        self.settle();
        changed
    }

    fn give(&mut self, call: &str, document: &str) -> Result<Updated, PlaceError> {
        self.change(call, Change::Document(Source::Text(document.to_owned())))
    }

    fn spec(&self) -> Option<AgentSpec> {
        self.books.agent.lock().unwrap().clone()
    }

    fn pair(&self) -> Option<[EndpointId; 2]> {
        *self.books.pair.lock().unwrap()
    }

    fn hang_up(&mut self, name: &str, dialog: DialogId) {
        let now = self.now;
        self.peer(name).hang_up(now, dialog, None);
        self.settle();
    }

    fn answers(&mut self, name: &str, dialog: DialogId) {
        let now = self.now;
        self.peer(name).answer(now, dialog, SDP.into());
        self.settle();
    }
}

fn answered(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Answered { .. }))
}

fn hung_up(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Bye { .. }))
}

/// A caller whom an agent has answered.
fn with_an_agent() -> (World, DialogId, String) {
    let mut world = world();
    let caller = world.call(AGENTS);
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    assert!(answered(&world.heard(CALLER)));
    let call = world.alive();
    (world, caller, call)
}

#[test]
fn an_agents_caller_is_connected_to_somebody_else_and_the_agent_is_gone() {
    let (mut world, _, call) = with_an_agent();
    world.give(&call, DIAL).unwrap();
    assert!(matches!(world.spec(), Some(AgentSpec::Ringback)));
    let invite = incoming(world.heard(THIRD));
    assert_eq!(invite.request_uri.user, "+15550200");
    // What the bot does now is nobody's matter.
    world.media(MediaEvent::AgentEnded(EndpointId(0)));
    world.answers(THIRD, invite.dialog);
    assert_eq!(world.pair(), Some([EndpointId(0), EndpointId(1)]));
    assert!(!hung_up(&world.heard(CALLER)));
    assert_eq!(world.core.calls_report().active[0].agent.as_deref(), Some("twiml"));
    // The document ends with that Dial.
    world.hang_up(THIRD, invite.dialog);
    assert!(hung_up(&world.heard(CALLER)));
    world.assert_nothing_left();
}

#[test]
fn whom_an_agent_has_called_is_taken_over_before_the_agent_is_there() {
    let mut world = world();
    let request = serde_json::json!({"to": "+15557777", "trunk": "carrier", "agent": "bot", "tenant": "acme"});
    let placed = world.core.place_call(serde_json::from_value(request).unwrap()).unwrap();
    world.core.timeout(world.now);
    world.settle();
    let invite = incoming(world.heard(CALLEE));
    assert!(matches!(world.give(&placed.call, PAUSE), Err(PlaceError::NotNow(_))));
    world.answers(CALLEE, invite.dialog);
    world.give(&placed.call, DIAL).unwrap();
    // By the trunk that the call goes out on.
    let dialled = incoming(world.heard(CALLEE));
    assert_eq!(dialled.request_uri.user, "+15550200");
    world.answers(CALLEE, dialled.dialog);
    assert_eq!(world.pair(), Some([EndpointId(1), EndpointId(0)]));
    world.hang_up(CALLEE, dialled.dialog);
    let left = world.heard(CALLEE);
    assert!(
        left.iter()
            .any(|event| matches!(event, Event::Bye { dialog, .. } if *dialog == invite.dialog)),
        "{left:?}"
    );
    world.assert_nothing_left();
}

#[test]
fn a_relayed_caller_is_taken_over_and_the_other_party_is_hung_up_on() {
    let mut world = world();
    world.call(RELAYED);
    let invite = incoming(world.heard(CALLEE));
    world.answers(CALLEE, invite.dialog);
    let call = world.alive();
    assert!(world.pair().is_some());
    world.give(&call, PAUSE).unwrap();
    assert!(hung_up(&world.heard(CALLEE)));
    assert!(!hung_up(&world.heard(CALLER)));
    assert!(matches!(world.spec(), Some(AgentSpec::Quiet)));
    world.now = world.now + Duration::from_secs(5);
    world.core.timeout(world.now);
    world.settle();
    assert!(hung_up(&world.heard(CALLER)));
    world.assert_nothing_left();
}

#[test]
fn a_transfer_that_rings_is_given_up_before_the_document_dials() {
    let (mut world, caller, call) = with_an_agent();
    let order = voxlane::ops::report::TransferOrder {
        to: "+15550300".into(),
        trunk: Some("third".into()),
        ..Default::default()
    };
    let now = world.now;
    world.core.transfer(now, &call, &order).unwrap();
    world.settle();
    let first = incoming(world.heard(THIRD));
    world.peer(THIRD).ring(now, first.dialog, 180, None);
    world.settle();
    world.give(&call, DIAL).unwrap();
    let heard = world.heard(THIRD);
    assert!(heard.contains(&Event::Cancelled { dialog: first.dialog }), "{heard:?}");
    let second = incoming(heard);
    assert_eq!(second.request_uri.user, "+15550200");
    world.answers(THIRD, second.dialog);
    assert_eq!(world.pair().map(|pair| pair[0]), Some(EndpointId(0)));
    world.hang_up(CALLER, caller);
    assert!(hung_up(&world.heard(THIRD)));
    world.assert_nothing_left();
}

#[test]
fn what_is_not_answered_or_over_is_not_changed() {
    let mut world = world();
    let caller = world.call(AGENTS);
    let call = world.alive();
    let refused = world.give(&call, PAUSE).unwrap_err();
    assert_eq!(Problem::from(refused).codes().1, 21220);
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    let refused = world.change(&call, Change::TakeBack).unwrap_err();
    assert_eq!(Problem::from(refused).codes().1, 21220);
    world.hang_up(CALLER, caller);
    // Whoever has looked it up a moment before takes it for alive.
    for change in [
        Change::HangUp,
        Change::TakeBack,
        Change::Document(Source::Text(PAUSE.into())),
    ] {
        let refused = world.change(&call, change).unwrap_err();
        assert_eq!(Problem::from(refused).codes().1, 21220);
    }
    world.assert_nothing_left();
}

#[test]
fn a_call_that_is_being_hung_up_is_not_taken_over() {
    let (mut world, _, call) = with_an_agent();
    let now = world.now;
    world
        .core
        .change_call(now, &call, Change::HangUp, Requester::RestApi)
        .unwrap();
    // The caller's answer to our BYE has not come.
    let change = Change::Document(Source::Text(DIAL.into()));
    let refused = world
        .core
        .change_call(now, &call, change, Requester::RestApi)
        .unwrap_err();
    assert_eq!(Problem::from(refused).codes().1, 21220);
    world.settle();
    assert!(world.heard(THIRD).is_empty());
    world.assert_nothing_left();
}

#[test]
fn records_say_who_hung_up() {
    for (by, expected) in [
        (Requester::Operator, "hung up by an operator"),
        (Requester::RestApi, "hung up by the account's REST API"),
    ] {
        let (mut world, _, call) = with_an_agent();
        let now = world.now;
        world.core.change_call(now, &call[..6], Change::HangUp, by).unwrap();
        world.settle();
        assert!(hung_up(&world.heard(CALLER)));
        let cause = world.core.calls_report().recent[0].cause.clone().unwrap();
        assert_eq!(cause, format!("gateway: {expected}"));
        world.assert_nothing_left();
    }
}

#[test]
fn the_address_of_an_agent_that_was_given_up_is_not_taken_for_the_next_ones() {
    let (mut world, caller, call) = with_an_agent();
    let (now, id) = (world.now, CallId(u64::from_str_radix(&call, 16).unwrap()));
    let host = |host: &str| HostPort {
        host: host.to_owned(),
        port: 80,
    };
    for name in ["first.example", "second.example"] {
        let document = format!("<Response><Connect><Stream url=\"ws://{name}/\"/></Connect></Response>");
        let change = Change::Document(Source::Text(document));
        world.core.change_call(now, &call, change, Requester::RestApi).unwrap();
        let lookups = world.core.take_effects().lookups;
        assert_eq!(lookups, [(id, host(name))]);
    }
    let (first, second) = (address("192.0.2.41:80"), address("192.0.2.42:80"));
    world.core.resolved(now, id, &host("first.example"), Ok(vec![first]));
    assert!(!matches!(world.spec(), Some(AgentSpec::Web(_))));
    world.core.resolved(now, id, &host("second.example"), Ok(vec![second]));
    let Some(AgentSpec::Web(spec)) = world.spec() else {
        panic!("no agent");
    };
    assert_eq!(
        (spec.url.as_str(), spec.addresses),
        ("ws://second.example/", vec![second])
    );
    world.hang_up(CALLER, caller);
    world.assert_nothing_left();
}
