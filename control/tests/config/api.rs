//! What the configuration says of the REST API.

use voxlane::config::Config;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "voxlane.toml", &|_| None).map_err(|errors| errors.to_string())
}

const TRUNKS: &str = r#"
[[trunk]]
name = "carrier"
proxy = "192.0.2.2"
caller_ids = ["+15550100"]

[[trunk]]
name = "inbound"
allow = ["192.0.2.0/24"]

[[trunk]]
name = "nameless"
proxy = "192.0.2.3"
"#;

#[test]
fn it_is_off_unless_written() {
    let config = parse(TRUNKS).unwrap();
    assert_eq!((config.api.listen, config.api.history), (None, 10_000));
    let text = format!("[api]\nlisten = \"127.0.0.1:8088\"\nhistory = 5\n{TRUNKS}");
    let config = parse(&text).unwrap();
    assert_eq!(
        (config.api.listen, config.api.history),
        (Some("127.0.0.1:8088".parse().unwrap()), 5)
    );
}

#[test]
fn calls_may_be_placed_by_trunks_that_can() {
    let account = |trunk: &str| {
        parse(&format!(
            "[node]\ncall_trunks = [\"{trunk}\"]\n{TRUNKS}\n[[tenant]]\nname = \"acme\"\ncall_trunks = [\"{trunk}\"]\n"
        ))
    };
    let config = account("carrier").unwrap();
    assert_eq!(config.account(Some("acme")).call_trunks, ["carrier"]);
    assert_eq!(config.account(None).call_trunks, ["carrier"]);
    for (trunk, why) in [
        ("inbound", "has no proxy"),
        ("nameless", "has no caller_ids"),
        ("other", "is not there"),
    ] {
        let errors = account(trunk).unwrap_err();
        assert_eq!(errors.matches(why).count(), 2, "{errors}");
        assert!(
            errors.contains("tenant.call_trunks") && errors.contains("node.call_trunks"),
            "{errors}"
        );
    }
}
