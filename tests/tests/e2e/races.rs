//! What meets on its way in a dialog: re-INVITEs, CANCEL and an answer, an ACK that is late, requests in the wrong order; and
//! offers that come from the other side than usual. sipp is on either side; what each end does and checks its scenario says.

use std::time::Duration;

use voxlane_tests::config::{ECHO, NO_BOT, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::Lab;
use voxlane_tests::peers::conversation::{To, converse, with_answerers};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn whatever_meets_on_its_way_calls_go_on_and_end() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = with_answerers(&lab(Xdp::Off, NO_BOT), 6, "");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let calls = [
        ("has_its_say_when_told", To::Scenario("updates")),
        ("asks_what_it_may_have", To::Scenario("hears_of_hold")),
        ("is_hung_up_on", To::Scenario("asks_when_called")),
        ("offers_late", To::Scenario("answers_an_offer")),
        ("cancels_too_late", To::Number(ECHO)),
        ("counts_back", To::Number(ECHO)),
    ];
    converse(&net, &calls, PATIENCE)
        .map_err(|error| format!("{error:#}\n{}", gateway.log()))
        .unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert_eq!((status.calls.total, status.calls.answered), (6, 6));

    // Nothing else is under way: what is repeated is the answer that has no ACK.
    let repeated = status.sip.retransmissions_sent;
    converse(&net, &[("acknowledges_late", To::Number(ECHO))], PATIENCE).unwrap();
    let status = gateway.wait_until_idle(PATIENCE).unwrap();
    assert!(status.sip.retransmissions_sent >= repeated + 2, "{status:?}");
    for call in gateway.calls().unwrap().recent {
        let cause = call.cause.unwrap();
        assert!(cause.ends_with(": hung up"), "{cause}");
    }
}
