//! Hosts that the documents of a tenant may name: what is not among them is not asked, whoever leads there.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::config::{NO_BOT, Xdp, below, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::application::{Application, TOKEN};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
/// Its document is somewhere else.
const AWAY: &str = "+15550041";
/// Its document connects a bot that is somewhere else.
const STRAY: &str = "+15550042";

#[test]
fn nothing_is_asked_of_a_host_that_a_tenant_may_not_name() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let bot = Agent::tone(&net.gateway, 600, 1).unwrap();
    // The same server by another name, which is not in the list.
    let elsewhere = bot.url().replace("127.0.0.1", "localhost");
    let application = Application::start(&net.gateway, &elsewhere).unwrap();
    let number = |number: &str, path: &str| {
        let url = application.url(path);
        format!("\n[[did]]\nnumber = \"{number}\"\ntenant = \"demo\"\nvoice_url = \"{url}\"\n")
    };
    let account = format!("auth_token = \"{TOKEN}\"\nallowed_hosts = [\"127.0.0.1\", \"*.demo.example\"]");
    let config = below(&lab(Xdp::Off, NO_BOT), "name = \"demo\"", &account);
    let config = [config, number(AWAY, "/away"), number(STRAY, "/bot")].concat();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    for (number, code, host) in [(AWAY, "(11210)", "localhost"), (STRAY, "(31920)", "localhost")] {
        let caller = Sipp::caller(&net.carrier, Scenario::Refused, CARRIER, GATEWAY, number).unwrap();
        caller.options(&["-m", "1"]).start().unwrap().succeed(PATIENCE).unwrap();
        gateway.wait_until_idle(PATIENCE).unwrap();
        let calls = gateway.calls().unwrap();
        let problems = calls.to(number).unwrap().problems.join("\n");
        let told = format!("{host} is not among the allowed_hosts of the account");
        assert!(
            problems.contains(code) && problems.contains(&told),
            "{number}: {problems}"
        );
        assert!(gateway.log().contains(&told), "{}", gateway.log());
    }
    let asked: Vec<String> = application.asked().into_iter().map(|asked| asked.path).collect();
    // What follows the stream that failed is its action's document.
    assert_eq!(asked, ["/away", "/bot", "/left"]);
    assert!(
        bot.events().iter().all(|event| event["event"].is_null()),
        "{:?}",
        bot.events()
    );
}
