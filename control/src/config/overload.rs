//! Reads `[overload]`, and the limits of calls.

use std::time::Duration;

use super::model::{CallLimits, Overload};
use super::reader::Section;
use super::sections::or;
use super::{duration, value};
use crate::guard::overload::Limits;

/// Reads `[overload]`.
pub(super) fn read(mut section: Section<'_>) -> Overload {
    let overload = Overload {
        limits: Limits {
            cpu: or(section.text("cpu", share), || Some(0.9)),
            host_cpu: or(section.text("host_cpu", share), || None),
            delay: or(section.text("delay", unless_off), || Some(Duration::from_millis(500))),
        },
        retry_after: or(section.text("retry_after", value::timeout), || Duration::from_secs(5)),
    };
    section.finish();
    overload
}

/// Reads a trunk's limits of calls.
pub(super) fn calls(section: &mut Section<'_>) -> CallLimits {
    let most = section.integer("max_calls", 1..=1_000_000);
    CallLimits {
        most: most.and_then(|most| usize::try_from(most.value).ok()),
        per_second: per_second(section),
    }
}

/// Reads how many calls may begin in a second.
pub(super) fn per_second(section: &mut Section<'_>) -> Option<u32> {
    let written = section.integer("max_calls_per_second", 1..=100_000);
    written.and_then(|written| u32::try_from(written.value).ok())
}

fn share(text: &str) -> Result<Option<f64>, String> {
    let percent = text
        .strip_suffix('%')
        .and_then(|number| number.trim_end().parse::<f64>().ok());
    match percent {
        _ if text == "off" => Ok(None),
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Some(percent / 100.0)),
        _ => Err(format!(
            "{text:?} is not a share of processors; write \"90%\" or \"off\""
        )),
    }
}

fn unless_off(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        _ => match duration::parse(text)? {
            Duration::ZERO => Err(format!(
                "{text:?} is always exceeded; {}, or \"off\"",
                duration::EXPECTED
            )),
            delay => Ok(Some(delay)),
        },
    }
}
