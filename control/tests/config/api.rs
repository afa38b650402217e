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

#[test]
fn hosts_and_stream_settings_of_an_account() {
    let parse = |tenant: &str, more: &str| {
        let text = format!(
            "[[tenant]]\nname = \"acme\"\n{tenant}\n\n[[agent]]\nname = \"bot\"\nurl = \"wss://bot.example/\"\n\n\
            [[agent]]\nname = \"echo\"\nurl = \"builtin:echo\"\n{more}"
        );
        Config::parse(&text, "", &|_| None).map_err(|errors| errors.to_string())
    };
    let config = parse(
        "stream_settings = \"bot\"\nallowed_hosts = [\"App.example\", \"*.bots.example\", \"2001:0db8::1\"]",
        "",
    )
    .unwrap();
    let account = config.account(Some("acme"));
    assert_eq!(account.stream_settings.as_deref(), Some("bot"));
    for (host, is_allowed) in [
        ("app.example", true),
        ("x.bots.example", true),
        ("[2001:db8::1]", true),
        ("127.0.0.1", false),
    ] {
        assert_eq!(account.allowed_hosts.has(host), is_allowed, "{host}");
        // That of calls which are no tenant's has its own.
        assert!(config.account(None).allowed_hosts.has(host), "{host}");
    }
    let number = "\n[[did]]\nnumber = \"+15550100\"\ntenant = \"acme\"\nvoice_url = \"https://app.example/\"\n";
    for (tenant, more, expected) in [
        (
            "stream_settings = \"nobody\"",
            "",
            "tenant.stream_settings: agent \"nobody\" is not there; ",
        ),
        (
            "stream_settings = \"echo\"",
            "",
            "tenant.stream_settings: agent \"echo\" is behind no WebSocket, ",
        ),
        (
            "allowed_hosts = [\"https://app.example\"]",
            "",
            "tenant.allowed_hosts: \"https://app.example\" is no host; ",
        ),
        (
            "allowed_hosts = [\"app.example:8080\"]",
            "",
            "tenant.allowed_hosts: \"app.example:8080\" is no host; ",
        ),
        ("allowed_hosts = []", "", "tenant.allowed_hosts: is empty; "),
        (
            "allowed_hosts = [\"other.example\"]",
            number,
            "did.voice_url: leads to app.example, which is not among the allowed_hosts of the account; ",
        ),
    ] {
        let said = parse(tenant, more).unwrap_err();
        assert!(said.contains(expected), "{tenant}: {said}");
    }
}
