//! What is said before the other side is there to hear it.

use std::time::Duration;

use voxlane_tests::audio::{breaks, purity, tone};
use voxlane_tests::config::{Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{FAR, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);

/// How long the bot takes to be there, seconds.
const LATE: f64 = 1.5;

#[test]
fn a_bot_that_is_late_hears_what_the_called_party_has_said_from_the_first_word() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut bot = Agent::late(&net.gateway, LATE, 3).unwrap();
    // By its name, so that it is looked up after the answer.
    let config = lab(Xdp::Auto, &bot.url().replace("127.0.0.1", "localhost"));
    let config = below(&config, "proxy = \"10.200.2.2:5060\"", "caller_ids = [\"+15550100\"]");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let far = Sipp::answerer_as(&net.far, Scenario::AnswersAndPlays, FAR).unwrap();
    far.sound(&tone(440, 3000)).unwrap();
    let far = far.options(&["-m", "1"]).listen().unwrap();
    let call = [
        "+15557777",
        "--trunk",
        "far",
        "--agent",
        "bot",
        "--caller-id",
        "+15550100",
        "--parameter",
        "then=leave",
    ];
    let (results, success) = gateway.dial(&call).unwrap();
    assert!(success, "{results:?}");
    far.succeed(PATIENCE).unwrap();
    bot.wait_for("the end of the stream", PATIENCE, |event| event["heard"].is_u64())
        .unwrap();
    let heard = bot.heard();
    let sound = purity(&heard, 440);
    assert!(sound.share > 0.9 && sound.seconds > 2.8, "{sound:?}");
    assert_eq!(breaks(&heard, 440), 0);
    let end = bot.events().pop().unwrap();
    assert_eq!(end["untimely"], 0, "{end}");
    gateway.wait_until_idle(PATIENCE).unwrap();
}
