//! Whatever stands in a configuration file: no panic, and every mistake names its line.

use proptest::prelude::*;
use voxlane::config::{Config, DEFAULT};

/// The defaults in which some characters are replaced, some pieces doubled or left out.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..3_u8, "[ -~\n]|µ", 0..30_usize);
    prop::collection::vec(edit, 0..6).prop_map(|edits| {
        let mut text: Vec<char> = DEFAULT.chars().collect();
        for (at, kind, character, length) in edits {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            match kind {
                0 => drop(text.splice(at..=at, character.chars())),
                1 if end - at < text.len() => drop(text.drain(at..end)),
                _ => {
                    let piece = text[at..end].to_vec();
                    text.splice(at..at, piece);
                }
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn mistakes_are_told_with_their_lines(text in mutated()) {
        if let Err(errors) = Config::parse(&text, "voxlane.toml", &|_| None) {
            let lines = text.split('\n').count();
            prop_assert!(!errors.0.is_empty());
            for error in errors.0 {
                let line = error.line.unwrap_or_default();
                prop_assert!((1..=lines).contains(&line), "{error}");
            }
        }
    }
}
