//! Durations as people write them: `500ms`, `4s`, `2m`, `1h`, `1.5s`.

use std::time::Duration;

/// What to write, for error messages.
pub const EXPECTED: &str = "write a number and a unit: \"500ms\", \"4s\", \"2m\" or \"1h\"";

/// Longest duration that is taken, so that adding one to a clock cannot overflow: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads a duration.
///
/// # Errors
/// A sentence saying what is wrong and what to write.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; {EXPECTED}");
    let unit_at = text
        .find(|character: char| character.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let milliseconds = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return Err(wrong()),
    };
    if !number.starts_with(|character: char| character.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: f64 = number.trim_end().parse().map_err(|_| wrong())?;
    match Duration::try_from_secs_f64(number * milliseconds / 1000.0) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(format!("{text:?} is longer than a year")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("4s", 4000),
            ("1.5s", 1500),
            ("2 m", 120_000),
            ("1h", 3_600_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "+1s",
            "1d",
            "1s2",
            "infs",
            "NaNs",
            "1e3s",
            "9999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
