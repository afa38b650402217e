//! Numbers and tenants with a `voice_url`.

use voxlane::config::model::{Application, CallEvent, Config, Target};
use voxlane::twiml::Method;
use voxlane::twiml::application::Source;

const TRUNK: &str = r#"
[[trunk]]
name = "carrier"
allow = ["192.0.2.0/24"]
proxy = "192.0.2.1"

[[trunk]]
name = "inbound"
allow = ["192.0.3.0/24"]

[[tenant]]
name = "acme"
voice_url = "https://app.example/acme"
status_callback = "https://app.example/status"
status_callback_event = ["answered", "completed"]
dial_trunks = ["carrier"]
"#;

fn parse(lines: &str) -> Result<Config, String> {
    let text = format!("{TRUNK}\n[[did]]\nnumber = \"+15550100\"\n{lines}");
    Config::parse(&text, "", &|_| None).map_err(|errors| errors.to_string())
}

fn application(lines: &str) -> Result<Application, String> {
    match parse(lines)?.dids.remove(0).target {
        Target::Application(application) => Ok(*application),
        other => Err(format!("{other:?}")),
    }
}

fn asked(source: &Source) -> (&str, Method) {
    match source {
        Source::Link(link) => (link.url.as_str(), link.method),
        Source::Text(text) => panic!("{text}"),
    }
}

#[test]
fn a_number_that_says_nothing_has_its_tenants_application() {
    let application = application("tenant = \"acme\"").unwrap();
    assert_eq!(
        asked(&application.script.source),
        ("https://app.example/acme", Method::Post)
    );
    assert_eq!(application.script.fallback, None);
    assert_eq!(application.dial_trunks, ["carrier"]);
    let callback = application.status_callback.unwrap();
    assert_eq!(callback.events, [CallEvent::Answered, CallEvent::Completed]);
}

#[test]
fn what_a_number_says_goes_before_its_tenant() {
    let application = application(
        r#"
tenant = "acme"
voice_url = "http://127.0.0.1:8080/voice"
voice_method = "GET"
voice_fallback_url = "http://127.0.0.1:8080/fallback"
status_callback_event = ["completed"]
"#,
    )
    .unwrap();
    assert_eq!(
        asked(&application.script.source),
        ("http://127.0.0.1:8080/voice", Method::Get)
    );
    assert_eq!(application.script.fallback.unwrap().url.path(), "/fallback");
    let callback = application.status_callback.unwrap();
    assert_eq!(callback.link.url.as_str(), "https://app.example/status");
    assert_eq!(callback.events, [CallEvent::Completed]);
}

#[test]
fn mistakes_are_told() {
    for (lines, expected) in [
        (
            "voice_url = \"ftp://a/\"",
            "did.voice_url: ftp://a/ is neither http:// nor https://",
        ),
        ("voice_url = \"app\"", "did.voice_url: \"app\" is not a URL"),
        (
            "voice_url = \"https://a/\"\nvoice_method = \"PUT\"",
            "did.voice_method: \"PUT\" is neither \"GET\" nor \"POST\"",
        ),
        (
            "voice_url = \"https://a/\"\nstatus_callback = \"https://a/\"\nstatus_callback_event = [\"busy\"]",
            "did.status_callback_event: \"busy\" is not told of; there is \"initiated\", ",
        ),
        (
            "voice_url = \"https://a/\"\nvoice_fallback_method = \"GET\"",
            "did.voice_fallback_method: is of no use without voice_fallback_url; ",
        ),
        (
            "voice_url = \"https://a/\"\ndial_trunks = [\"nobody\"]",
            "did.dial_trunks: there is no trunk \"nobody\"; there is \"carrier\", \"inbound\"",
        ),
        (
            "voice_url = \"https://a/\"\ndial_trunks = [\"inbound\"]",
            "did.dial_trunks: trunk \"inbound\" has no proxy to send calls to; ",
        ),
        (
            "trunk = \"carrier\"\nvoice_url = \"https://a/\"",
            "did.trunk: and did.voice_url are both written; ",
        ),
        (
            "trunk = \"carrier\"\ndial_trunks = [\"carrier\"]",
            "did.dial_trunks: is for calls to an application; remove it, or write voice_url instead of trunk",
        ),
        (
            "",
            "did.agent: is missing; write agent = \"NAME\", trunk = \"NAME\" or voice_url = ",
        ),
    ] {
        let said = parse(lines).unwrap_err();
        assert!(said.contains(expected), "{lines}: {said}");
    }
}
