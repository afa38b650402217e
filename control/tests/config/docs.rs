//! `docs/configuration.md` says what the code does.

use voxlane::config::Config;

const DOCS: &str = include_str!("../../../docs/configuration.md");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "docs", &|_| None).map_err(|errors| errors.to_string())
}

#[test]
fn the_complete_file_is_sound() {
    let example = DOCS
        .split("## A complete file\n")
        .nth(1)
        .and_then(|rest| rest.split("```toml\n").nth(1))
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let config = parse(example).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.trunks.len(), config.agents.len(), config.dids.len()), (1, 1, 2));
}

#[test]
fn every_key_has_a_row_in_its_section() {
    for heading in [
        "[node]",
        "[sip]",
        "[sip.tls]",
        "[sip.dns]",
        "[media]",
        "[overload]",
        "[dial]",
        "[route]",
        "[sdp]",
        "[transfer]",
        "[[trunk]]",
        "[[trunk.gateway]]",
        "[[tenant]]",
        "[[agent]]",
        "[[did]]",
    ] {
        let section = DOCS
            .split("\n## ")
            .find(|section| section.starts_with(&format!("`{heading}`")))
            .unwrap();
        // An unknown key is answered with the known ones.
        let within = match heading {
            "[[trunk.gateway]]" => "[[trunk]]\n",
            _ => "",
        };
        let errors = parse(&format!("{within}{heading}\nxxxxxxxxxxxxxxxx = 1")).unwrap_err();
        let known = errors
            .split("unknown key; there is ")
            .nth(1)
            .and_then(|list| list.lines().next())
            .unwrap();
        for key in known.split(", ") {
            let row = format!("| `{}` |", key.trim_matches('"'));
            assert!(section.contains(&row), "{heading} {key} has no row");
        }
        assert_eq!(
            section.matches("\n| `").count(),
            known.split(", ").count(),
            "{heading} has rows of no key"
        );
    }
}
