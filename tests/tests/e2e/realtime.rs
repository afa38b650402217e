//! Models of OpenAI's Realtime API, against a server made of the types of its official package.

use std::net::SocketAddr;
use std::time::Duration;

use voxlane_tests::audio::purity;
use voxlane_tests::config::{BOT, NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::agent::Agent;
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::phone::Phone;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const KEY: &str = "sk-known-to-both";
/// A model that transfers its calls, and one that is asked with another key.
const TRANSFERS: &str = "+15550041";
const FORGED: &str = "+15550042";

/// The lab with models at `url`.
fn config(url: &str) -> String {
    let model = |name: &str, number: &str, model: &str, key: &str| {
        format!(
            "\n[[agent]]\nname = \"{name}\"\nurl = \"{url}\"\nprotocol = \"openai-realtime\"\napi_key = \"{key}\"\n\
             model = \"{model}\"\nvoice = \"marin\"\ninstructions = \"Be brief.\"\ngreeting = \"Greet the caller.\"\n\
             transfer_trunks = [\"far\"]\n[[did]]\nnumber = \"{number}\"\ntenant = \"demo\"\nagent = \"{name}\"\n"
        )
    };
    lab(Xdp::Off, NO_BOT).replace(BOT, "+15550099")
        + &model("hangs-up", BOT, "hangs-up", KEY)
        + &model("transfers", TRANSFERS, "transfers", KEY)
        + &model("forged", FORGED, "hangs-up", "another")
        + "\n[transfer]\ntrunk = \"far\"\n"
}

#[test]
fn a_model_greets_is_interrupted_hangs_up_and_transfers() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let mut agent = Agent::realtime(&net.gateway, KEY, RELAYED).unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &config(&agent.realtime_url())).unwrap();
    let far = Sipp::answerer(&net.far, FAR).unwrap();
    let far = far.options(&["-m", "1"]).listen().unwrap();
    let call = |number: &str, duration: &str| {
        let uri = format!("sip:{number}@{GATEWAY}");
        let options = ["--tone", "1000", "--duration", duration, "--from", "+15550123"];
        Phone::call(&binary, &net.carrier, &uri, &options).unwrap()
    };

    let report = call(BOT, "20s").report(PATIENCE).unwrap();
    let ended = (report.result.as_str(), report.ended_by.as_deref());
    assert_eq!(ended, ("completed", Some("them")), "{report:?}");
    agent
        .wait_for("the end of the session", PATIENCE, |event| event["heard"].is_u64())
        .unwrap();
    let events = agent.events();
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    let session = &of("session.update")["session"];
    assert_eq!(
        (&session["instructions"], &session["audio"]["output"]["voice"]),
        (&"Be brief.".into(), &"marin".into())
    );
    let truncated = of("conversation.item.truncate");
    assert_eq!(
        (&truncated["item_id"], &truncated["content_index"]),
        (&"item_1".into(), &0.into())
    );
    // Some two of its four seconds were heard.
    let heard = truncated["audio_end_ms"].as_u64().unwrap();
    assert!((500..3500).contains(&heard), "{truncated}");
    let sound = purity(&agent.heard(), 1000);
    assert!(sound.share > 0.9 && sound.seconds > 2.0, "{sound:?}");
    gateway.wait_until_idle(PATIENCE).unwrap();

    // Who is called hears the caller, and the caller hangs up.
    let phone = call(TRANSFERS, "6s");
    let report = phone.report(PATIENCE).unwrap();
    assert_eq!(report.ended_by.as_deref(), Some("us"), "{report:?}");
    far.succeed(PATIENCE).unwrap();
    gateway.wait_until_idle(PATIENCE).unwrap();
    let calls = gateway.calls_for_people().unwrap();
    assert!(calls.contains(&format!("transfer to {RELAYED}: completed")), "{calls}");

    // Without the key there is no model.
    let refused = Sipp::caller(&net.carrier, Scenario::Refused, CARRIER, GATEWAY, FORGED).unwrap();
    refused
        .options(&["-m", "1"])
        .start()
        .unwrap()
        .succeed(PATIENCE)
        .unwrap();
    assert_eq!(gateway.wait_until_idle(PATIENCE).unwrap().agents.failures("refused"), 1);
    assert!(!gateway.log().contains(KEY), "{}", gateway.log());
}
