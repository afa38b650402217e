//! `[[trunk]]`: what its dialogs may do beyond RFC 3261.

use std::time::Duration;

use super::model::Policy;
use super::reader::{Located, Section};
use super::value;
use crate::sip::{Extension, Refers, Refresher, SessionTimers};

/// Session interval that is asked for unless somebody says otherwise: what RFC 4028 section 4 recommends.
const EXPIRES: Duration = Duration::from_secs(1800);

/// Shortest that is accepted: the least that RFC 4028 section 5 allows.
const LEAST: Duration = Duration::from_secs(90);

/// Reads its keys.
pub(super) fn read(section: &mut Section<'_>) -> Policy {
    Policy {
        timers: timers(section),
        reliable: section
            .text("reliable_provisional", extension)
            .map_or(Extension::Supported, |extension| extension.value),
        replaces: section
            .text("replaces", replaces)
            .map(|replaces| replaces.value)
            .unwrap_or_default(),
        refers: section
            .text("refers", refers)
            .map(|refers| refers.value)
            .unwrap_or_default(),
    }
}

fn timers(section: &mut Section<'_>) -> SessionTimers {
    let extension = section.text("session_timers", extension);
    let expires = section.text("session_expires", seconds);
    let least = section.text("min_se", seconds);
    let refresher = section.text("session_refresher", refresher);
    let of = |written: &Option<Located<u32>>, default: Duration| match written {
        Some(written) => written.value,
        None => u32::try_from(default.as_secs()).unwrap_or(u32::MAX),
    };
    let timers = SessionTimers {
        extension: extension.map_or(Extension::Supported, |extension| extension.value),
        expires: of(&expires, EXPIRES),
        least: of(&least, LEAST),
        refresher: refresher.and_then(|refresher| refresher.value),
    };
    if timers.expires < timers.least {
        let line = expires.or(least).map_or(section.line, |written| written.line);
        let message = format!("is shorter than trunk.min_se, {} s", timers.least);
        section.report(line, "session_expires", message);
    }
    timers
}

fn extension(text: &str) -> Result<Extension, String> {
    match text {
        "off" => Ok(Extension::Off),
        "supported" => Ok(Extension::Supported),
        "required" => Ok(Extension::Required),
        _ => Err(format!(
            "{text:?} is not a mode; write \"off\", \"supported\" or \"required\""
        )),
    }
}

fn replaces(text: &str) -> Result<Extension, String> {
    match text {
        "off" => Ok(Extension::Off),
        "supported" => Ok(Extension::Supported),
        _ => Err(format!("{text:?} is unknown; write \"off\" or \"supported\"")),
    }
}

fn refers(text: &str) -> Result<Refers, String> {
    match text {
        "refuse" => Ok(Refers::Refuse),
        "routes" => Ok(Refers::Routes),
        "any" => Ok(Refers::Any),
        _ => Err(format!("{text:?} is unknown; write \"refuse\", \"routes\" or \"any\"")),
    }
}

/// Who refreshes; `None` leaves it to the other side.
fn refresher(text: &str) -> Result<Option<Refresher>, String> {
    match text {
        "auto" => Ok(None),
        "us" => Ok(Some(Refresher::Us)),
        "them" => Ok(Some(Refresher::Them)),
        _ => Err(format!("{text:?} is nobody; write \"auto\", \"us\" or \"them\"")),
    }
}

/// A duration in whole seconds, as headers have it.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    let duration = value::timeout(text)?;
    match u32::try_from(duration.as_secs()) {
        Ok(seconds @ 1..) if duration.subsec_nanos() == 0 => Ok(seconds),
        Ok(_) | Err(_) => Err(format!("{text:?} is not in whole seconds; write \"90s\" or \"30m\"")),
    }
}
