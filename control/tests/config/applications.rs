//! Numbers and tenants with a `voice_url`.

use voxlane::config::model::{ApplicationRules, CallEvent, Config, Target};
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

[[tenant]]
name = "talks"
agent = "bot"
dial_trunks = ["carrier"]

[[tenant]]
name = "quiet"

[[agent]]
name = "bot"
url = "ws://192.0.2.40/media"
protocol = "pcm16"

[[agent]]
name = "other"
url = "builtin:echo"
"#;

fn parse(lines: &str) -> Result<Config, String> {
    let text = format!("{TRUNK}\n[[did]]\nnumber = \"+15550100\"\n{lines}");
    Config::parse(&text, "", &|_| None).map_err(|errors| errors.to_string())
}

/// Where the application of a number begins, and what holds for its documents.
fn application(lines: &str) -> Result<(Source, ApplicationRules), String> {
    let did = parse(lines)?.dids.remove(0);
    match did.target {
        Target::Application(source) => Ok((*source, did.rules)),
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
    let (source, rules) = application("tenant = \"acme\"").unwrap();
    assert_eq!(asked(&source), ("https://app.example/acme", Method::Post));
    assert_eq!(rules.fallback, None);
    assert_eq!(rules.dial_trunks, ["carrier"]);
    let callback = rules.status_callback.unwrap();
    assert_eq!(callback.events, [CallEvent::Answered, CallEvent::Completed]);
}

#[test]
fn what_a_number_says_goes_before_its_tenant() {
    let (source, rules) = application(
        r#"
tenant = "acme"
voice_url = "http://127.0.0.1:8080/voice"
voice_method = "GET"
voice_fallback_url = "http://127.0.0.1:8080/fallback"
status_callback_event = ["completed"]
"#,
    )
    .unwrap();
    assert_eq!(asked(&source), ("http://127.0.0.1:8080/voice", Method::Get));
    assert_eq!(rules.fallback.unwrap().url.path(), "/fallback");
    let callback = rules.status_callback.unwrap();
    assert_eq!(callback.link.url.as_str(), "https://app.example/status");
    assert_eq!(callback.events, [CallEvent::Completed]);
}

#[test]
fn a_number_that_says_nothing_has_its_tenants_agent() {
    let did = parse("tenant = \"talks\"").unwrap().dids.remove(0);
    assert_eq!(did.target, Target::Agent("bot".into()));
    // For documents that its calls are given later.
    assert_eq!(did.rules.dial_trunks, ["carrier"]);
    let of = |lines: &str| {
        parse(&format!("tenant = \"talks\"\n{lines}"))
            .unwrap()
            .dids
            .remove(0)
            .target
    };
    assert_eq!(of("agent = \"other\""), Target::Agent("other".into()));
    assert!(matches!(of("trunk = \"carrier\""), Target::Trunk { .. }));
    assert!(matches!(of("voice_url = \"https://a/\""), Target::Application(_)));
}

#[test]
fn a_tenants_agent_is_one_that_there_is_and_alone() {
    let tenant = |line: &str| {
        let text = format!("{TRUNK}\n[[tenant]]\nname = \"last\"\n{line}");
        Config::parse(&text, "", &|_| None).unwrap_err().to_string()
    };
    let said = tenant("agent = \"bott\"");
    assert!(
        said.contains("tenant.agent: there is no agent \"bott\"; did you mean \"bot\"?"),
        "{said}"
    );
    let said = tenant("agent = \"bot\"\nvoice_url = \"https://a/\"");
    assert!(
        said.contains("tenant.agent: and tenant.voice_url are both written; "),
        "{said}"
    );
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
            "trunk = \"carrier\"\nstatus_callback = \"https://a/\"",
            "did.status_callback: is for calls to an application; remove it, or write voice_url instead of trunk",
        ),
        (
            "trunk = \"carrier\"\ndial_trunks = [\"nobody\"]",
            "did.dial_trunks: there is no trunk \"nobody\"; there is \"carrier\", \"inbound\"",
        ),
        (
            "tenant = \"quiet\"",
            "or voice_url = \"https://…\"; or agent or voice_url of tenant \"quiet\"",
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
