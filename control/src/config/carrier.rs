//! `[[trunk]]`: what its carrier is told beside calls, and who is said to call: registration, health checks, identity.

use std::time::Duration;

use super::model::{Asserted, HealthRules, Register, TrustIdentity, UnlistedCallerId};
use super::reader::{Located, Section};
use super::sections::or;
use super::{dialogs, duration, value};
use crate::sip::digest::Login;

/// Registration that is asked for unless somebody says otherwise.
const EXPIRES: u32 = 3600;

/// Whether a trunk has gateways that can be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gateways {
    None,
    Some,
}

/// `register` and what belongs to it.
pub(super) fn register(section: &mut Section<'_>, login: Option<&Login>, gateways: Gateways) -> Option<Register> {
    let wanted = section.text("register", value::switch);
    let user = section.text("register_user", value::word);
    let expires = section.text("register_expires", dialogs::seconds);
    let Some(Located { value: true, line }) = wanted else {
        let written = [
            ("register_user", user.map(|user| user.line)),
            ("register_expires", expires.map(|expires| expires.line)),
        ];
        unused(section, &written, "register = \"on\"");
        return None;
    };
    if gateways == Gateways::None {
        let message = "needs somebody to register with; write proxy = \"HOST\"";
        section.report(line, "register", message);
    }
    let user = user.map(|user| user.value);
    let Some(user) = user.or_else(|| login.map(|login| login.username.clone())) else {
        let message = "needs a name; write register_user = \"…\", or username = \"…\" and a password";
        section.report(line, "register", message);
        return None;
    };
    let expires = expires.map_or(EXPIRES, |expires| expires.value);
    Some(Register {
        user,
        expires: Duration::from_secs(expires.into()),
    })
}

/// `health_interval` and what belongs to it.
pub(super) fn health(section: &mut Section<'_>, gateways: Gateways) -> Option<HealthRules> {
    let interval = section.text("health_interval", interval);
    let failures = section.integer("health_failures", 1..=100);
    let successes = section.integer("health_successes", 1..=100);
    let Some(Located {
        value: Some(interval),
        line,
    }) = interval
    else {
        let written = [
            ("health_failures", failures.map(|failures| failures.line)),
            ("health_successes", successes.map(|successes| successes.line)),
        ];
        unused(section, &written, "health_interval = \"30s\"");
        return None;
    };
    if gateways == Gateways::None {
        section.report(line, "health_interval", "needs gateways to ask; write proxy = \"HOST\"");
    }
    let number = |written: Option<Located<u64>>, default| {
        let written = written.and_then(|number| u16::try_from(number.value).ok());
        written.unwrap_or(default)
    };
    Some(HealthRules {
        interval,
        failures: number(failures, 3),
        successes: number(successes, 2),
    })
}

/// Keys that mean nothing without another one.
fn unused(section: &Section<'_>, written: &[(&str, Option<usize>)], without: &str) {
    for (key, line) in written {
        if let Some(line) = line {
            section.report(*line, key, format!("means nothing without {without}"));
        }
    }
}

/// At least a second, or `off`.
fn interval(text: &str) -> Result<Option<Duration>, String> {
    match value::keepalive(text)? {
        Some(interval) if interval < Duration::from_secs(1) => {
            Err(format!("{text:?} is less than a second; {}", duration::EXPECTED))
        }
        interval => Ok(interval),
    }
}

/// What From and P-Asserted-Identity of calls to and from a trunk are.
pub(super) struct Callers {
    pub(super) unlisted_caller_id: UnlistedCallerId,
    pub(super) asserted_identity: Asserted,
    pub(super) trust_identity: TrustIdentity,
}

/// Reads the keys of it.
pub(super) fn callers(section: &mut Section<'_>) -> Callers {
    Callers {
        unlisted_caller_id: or(section.text("unlisted_caller_id", unlisted), UnlistedCallerId::default),
        asserted_identity: or(section.text("asserted_identity", asserted), Asserted::default),
        trust_identity: match section.text("trust_identity", value::switch) {
            Some(Located { value: true, .. }) => TrustIdentity::On,
            Some(_) | None => TrustIdentity::Off,
        },
    }
}

fn unlisted(text: &str) -> Result<UnlistedCallerId, String> {
    match text {
        "replace" => Ok(UnlistedCallerId::Replace),
        "refuse" => Ok(UnlistedCallerId::Refuse),
        _ => Err(format!("{text:?} is unknown; write \"replace\" or \"refuse\"")),
    }
}

fn asserted(text: &str) -> Result<Asserted, String> {
    match text {
        "off" => Ok(Asserted::Off),
        "caller" => Ok(Asserted::Caller),
        _ => match value::number(text) {
            Ok(number) => Ok(Asserted::Number(number)),
            Err(_) => Err(format!(
                "{text:?} is unknown; write \"off\", \"caller\" or a number such as \"+15550100\""
            )),
        },
    }
}
