//! Session timers (RFC 4028) in both roles: who refreshes and how, what is too short, what ends a call (interoperability
//! requirement I3). sipp is on either side; what each end does and checks its scenario says.

use std::time::Duration;

use voxlane_tests::config::{ECHO, NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::Lab;
use voxlane_tests::peers::conversation::{To, converse, with_answerers};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

/// A lab, all of whose trunks have these lines, with so many answerers.
fn config(lines: &str, answerers: u16) -> String {
    let config = lab(Xdp::Off, NO_BOT);
    assert_eq!(config.matches("codecs = ").count(), 2, "{config}");
    let config = config.replace("codecs = ", &format!("{lines}\ncodecs = "));
    with_answerers(&config, answerers, lines)
}

#[test]
fn either_side_refreshes_and_a_session_that_nobody_refreshes_ends() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = config("session_expires = \"6s\"\nmin_se = \"2s\"", 4);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let calls = [
        ("refreshes_by_update", To::Scenario("refreshes_by_reinvite")),
        ("has_no_timers", To::Scenario("wants_longer_sessions")),
        ("is_hung_up_on", To::Scenario("never_refreshes_though_called")),
        ("is_hung_up_on", To::Scenario("does_not_know_its_session")),
    ];
    converse(&net, &calls, PATIENCE)
        .map_err(|error| format!("{error:#}\n{}", gateway.log()))
        .unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!((status.calls.total, status.calls.answered), (4, 4));
    let mut causes: Vec<String> = gateway
        .calls()
        .unwrap()
        .recent
        .into_iter()
        .filter_map(|call| call.cause)
        .collect();
    causes.sort();
    assert_eq!(
        causes,
        [
            "caller: hung up",
            "caller: hung up",
            "gateway: leg b: the other side does not know the call (481)",
            "gateway: leg b: the session timer ran out",
        ]
    );
}

#[test]
fn session_timers_are_required_or_not_there_as_a_trunk_has_it() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    for (mode, caller, callee) in [
        ("required", "lacks_timers", "is_required_to_have_timers"),
        ("off", "requires_timers", "is_not_asked_for_timers"),
    ] {
        let lines = format!("session_timers = \"{mode}\"\nsession_expires = \"6s\"\nmin_se = \"2s\"");
        let gateway = Gateway::start_with(&binary, &net.gateway, &config(&lines, 2)).unwrap();
        let calls = [(caller, To::Number(ECHO)), (caller, To::Scenario(callee))];
        converse(&net, &calls, PATIENCE)
            .map_err(|error| format!("{error:#}\n{}", gateway.log()))
            .unwrap();
        gateway.wait_until_idle(PATIENCE).unwrap();
        gateway.stop().unwrap();
    }
}
