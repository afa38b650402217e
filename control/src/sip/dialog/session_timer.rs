//! What two sides agree on about the life of their session (RFC 4028), as pure functions.

use serde::{Deserialize, Serialize};

use crate::sip::policy::{Extension, Refresher, SessionTimers};
use crate::sip::syntax::fields::Fields;
use crate::sip::syntax::session_expires::{Role, SessionExpires, min_se};

/// Min-SE of who says nothing of it, seconds (RFC 4028 section 5).
const LEAST_UNSAID: u32 = 90;

/// The session timer of a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTimer {
    /// Session interval, seconds.
    pub interval: u32,
    /// Who refreshes.
    pub refresher: Refresher,
}

impl std::fmt::Display for SessionTimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let refresher = match self.refresher {
            Refresher::Us => "us",
            Refresher::Them => "them",
        };
        write!(f, "{} s by {refresher}", self.interval)
    }
}

/// What our 2xx to a request says of the session timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What is agreed.
    pub timer: SessionTimer,
    /// Whether the other side has the extension.
    pub supported: bool,
}

/// A request of theirs asks for less than the policy allows: this many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall(pub u32);

/// Whether a message says that its sender has the extension.
pub fn is_supported(fields: &Fields) -> bool {
    let mut tags = fields.supported.iter().chain(&fields.require);
    tags.any(|tag| tag.eq_ignore_ascii_case("timer"))
}

/// Answers an INVITE or UPDATE (RFC 4028 section 9).
///
/// # Errors
/// [`TooSmall`]: it is to be refused with 422.
pub fn answer(policy: &SessionTimers, request: &Fields) -> Result<Option<Terms>, TooSmall> {
    if policy.extension == Extension::Off {
        return Ok(None);
    }
    let supported = is_supported(request);
    let asked = request.session_expires.as_deref().and_then(SessionExpires::parse);
    let their_least = request.min_se.as_deref().and_then(min_se).unwrap_or(0);
    let interval = match asked {
        // Who does not have the extension could make nothing of a 422.
        Some(asked) if asked.seconds < policy.least && supported => return Err(TooSmall(policy.least)),
        // It may become less, but never more.
        Some(asked) => policy.expires.max(their_least).max(policy.least).min(asked.seconds),
        None => policy.expires.max(their_least),
    };
    let refresher = match (supported, asked.and_then(|asked| asked.refresher)) {
        (false, _) | (true, Some(Role::Uas)) => Refresher::Us,
        (true, Some(Role::Uac)) => Refresher::Them,
        (true, None) => policy.refresher.unwrap_or(Refresher::Them),
    };
    Ok(Some(Terms {
        timer: SessionTimer { interval, refresher },
        supported,
    }))
}

impl Terms {
    /// The headers of the 2xx.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let refresher = match self.timer.refresher {
            Refresher::Us => "uas",
            Refresher::Them => "uac",
        };
        let mut headers = vec![(
            "Session-Expires",
            format!("{};refresher={refresher}", self.timer.interval),
        )];
        if self.supported {
            headers.push(("Require", "timer".to_owned()));
        }
        headers
    }
}

/// The headers of an INVITE or UPDATE of ours (RFC 4028 sections 7.1 and 7.4). `least` is the largest Min-SE that was heard
/// of, `running` what is agreed already.
pub fn ask(policy: &SessionTimers, least: u32, running: Option<SessionTimer>) -> Vec<(String, String)> {
    if policy.extension == Extension::Off {
        return Vec::new();
    }
    let least = policy.least.max(least);
    let interval = running.map_or(policy.expires, |timer| timer.interval).max(least);
    let refresher = match running.map(|timer| timer.refresher).or(policy.refresher) {
        Some(Refresher::Us) => ";refresher=uac",
        Some(Refresher::Them) => ";refresher=uas",
        None => "",
    };
    let mut headers = vec![("Session-Expires".to_owned(), format!("{interval}{refresher}"))];
    if least != LEAST_UNSAID {
        headers.push(("Min-SE".to_owned(), least.to_string()));
    }
    if policy.extension == Extension::Required {
        headers.push(("Require".to_owned(), "timer".to_owned()));
    }
    headers
}

/// What a 2xx to an INVITE or UPDATE of ours agrees on (RFC 4028 section 7.2); `least` and `running` as when it was asked.
pub fn agreed(
    policy: &SessionTimers,
    least: u32,
    running: Option<SessionTimer>,
    answer: &Fields,
) -> Option<SessionTimer> {
    if policy.extension == Extension::Off {
        return None;
    }
    let least = policy.least.max(least);
    let asked = running.map_or(policy.expires, |timer| timer.interval).max(least);
    let answered = answer.session_expires.as_deref().and_then(SessionExpires::parse);
    Some(match answered {
        Some(answered) => SessionTimer {
            // Nobody makes us refresh more often than we would have it.
            interval: answered.seconds.max(policy.least),
            refresher: match answered.refresher {
                Some(Role::Uas) => Refresher::Them,
                Some(Role::Uac) | None => Refresher::Us,
            },
        },
        // The other side has no timers: what we send by ours finds out whether it is there.
        None => SessionTimer {
            interval: asked,
            refresher: Refresher::Us,
        },
    })
}

/// The Min-SE of a 422.
pub fn least_of(refusal: &Fields) -> Option<u32> {
    refusal.min_se.as_deref().and_then(min_se)
}
