//! What a trunk's carrier is told beside calls, and of callers: registration, health checks, caller identity.

use std::time::Duration;

use super::model::{Asserted, HealthRules, Register, TrustIdentity, UnlistedCallerId, UserPhone};
use super::reader::{Located, Section};
use super::sections::or;
use super::value;
use crate::sip::digest::Login;

/// `register` and what belongs to it.
pub(super) fn register(section: &mut Section<'_>, login: Option<&Login>, has_gateway: bool) -> Option<Register> {
    let wanted = section.text("register", value::switch);
    let user = section.text("register_user", value::word);
    let expires = section.text("register_expires", value::timeout);
    let on = wanted.as_ref().is_some_and(|wanted| wanted.value);
    let line = wanted.map_or(section.line, |wanted| wanted.line);
    if !on {
        for (key, written) in [
            ("register_user", user.as_ref().map(|user| user.line)),
            ("register_expires", expires.as_ref().map(|expires| expires.line)),
        ] {
            if let Some(line) = written {
                section.report(line, key, "is for register = \"on\", which is not written");
            }
        }
        return None;
    }
    if !has_gateway {
        section.report(
            line,
            "register",
            "needs somebody to register with; write proxy = \"HOST\"",
        );
    }
    let user = user
        .map(|user| user.value)
        .or_else(|| login.map(|login| login.username.clone()));
    let Some(user) = user else {
        section.report(
            line,
            "register",
            "needs a name; write register_user = \"…\", or username = \"…\" and a password",
        );
        return None;
    };
    Some(Register {
        user,
        expires: or(expires, || Duration::from_secs(60 * 60)),
    })
}

/// `health_interval` and what belongs to it.
pub(super) fn health(section: &mut Section<'_>, has_gateway: bool) -> Option<HealthRules> {
    let interval = section.text("health_interval", value::keepalive);
    let number = |written: Option<Located<u64>>, default| {
        let written = written.and_then(|number| u16::try_from(number.value).ok());
        written.unwrap_or(default)
    };
    let failures = number(section.integer("health_failures", 1..=100), 3);
    let successes = number(section.integer("health_successes", 1..=100), 2);
    let Located { value: interval, line } = interval?;
    let interval = interval?;
    if !has_gateway {
        section.report(line, "health_interval", "needs gateways to ask; write proxy = \"HOST\"");
    }
    Some(HealthRules {
        interval,
        failures,
        successes,
    })
}

/// What From and P-Asserted-Identity of calls to and from a trunk are.
pub(super) struct Callers {
    pub(super) unlisted_caller_id: UnlistedCallerId,
    pub(super) asserted_identity: Asserted,
    pub(super) trust_identity: TrustIdentity,
    pub(super) user_phone: UserPhone,
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
        user_phone: match section.text("user_phone", value::switch) {
            Some(Located { value: true, .. }) => UserPhone::On,
            Some(_) | None => UserPhone::Off,
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
