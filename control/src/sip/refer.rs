//! What a REFER asks, and what the NOTIFYs that follow it say (RFC 3515, RFC 4488, RFC 6665 section 4.1.3), as pure functions.

use serde::{Deserialize, Serialize};

use super::api::Address;
use super::syntax::NameAddr;
use super::syntax::fields::Fields;
use super::syntax::params::Params;
use super::syntax::status;

/// The event package of REFER.
pub const EVENT: &str = "refer";

/// What the body of its NOTIFYs is (RFC 3420).
pub const SIPFRAG: &str = "message/sipfrag";

/// What a NOTIFY tells of a REFER.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// How the referred request stands: the status line of its last response.
    pub progress: Option<Progress>,
    /// Nothing more follows: the reason of a subscription that is terminated, as written; empty if it gives none.
    pub ended: Option<String>,
}

/// A status line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Status, 100-699.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
}

impl Progress {
    /// A status with the usual reason phrase.
    pub fn of(status: u16) -> Self {
        Self {
            status,
            reason: status::phrase(status).to_owned(),
        }
    }

    /// Reads the first line of a `message/sipfrag` that is the start of a response. `None` if it is none.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let line = body.split(|byte| *byte == b'\n').next()?;
        let line = String::from_utf8_lossy(line);
        let (version, rest) = line.trim_end().split_once(' ')?;
        if !version.eq_ignore_ascii_case("SIP/2.0") {
            return None;
        }
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        let status: u16 = code.parse().ok().filter(|_| digits)?;
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        (100..=699).contains(&status).then(|| match reason.is_empty() {
            true => Self::of(status),
            false => Self { status, reason },
        })
    }

    /// As the body of a NOTIFY.
    pub fn fragment(&self) -> Vec<u8> {
        let reason: String = self.reason.chars().filter(|c| !c.is_control()).collect();
        format!("SIP/2.0 {} {reason}\r\n", self.status).into_bytes()
    }
}

/// What the other side asks by a REFER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// Whom to call.
    pub to: Address,
    /// The header fields that its URI brings for the request, as written: `Replaces=…` (RFC 3891).
    pub headers: Option<String>,
    /// Who asks (RFC 3892), as written.
    pub referred_by: Option<String>,
    /// Whether they want to be told what comes of it (RFC 4488 section 4).
    pub reports: Reports,
}

/// Whether somebody is told what comes of a REFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reports {
    /// By NOTIFY.
    Wanted,
    /// There is no subscription.
    Unwanted,
}

/// What a REFER asks.
///
/// # Errors
/// A reason phrase for 400.
pub fn referral(fields: &Fields) -> Result<Referral, &'static str> {
    let to = match fields.refer_to.as_slice() {
        [one] => NameAddr::parse(one).map_err(|_| "Malformed Refer-To")?,
        [] => return Err("Missing Refer-To"),
        [_, ..] => return Err("More Than One Refer-To"),
    };
    let text = to.uri.as_str();
    let (_, rest) = text.split_once('@').unwrap_or(("", text));
    let refuses = fields.refer_sub.as_deref().is_some_and(says_false);
    Ok(Referral {
        to: to.address(),
        headers: rest.split_once('?').map(|(_, headers)| headers.to_owned()),
        referred_by: fields.referred_by.clone(),
        reports: match refuses {
            true => Reports::Unwanted,
            false => Reports::Wanted,
        },
    })
}

/// Whether a Refer-Sub says that there is no subscription (RFC 4488 section 4).
pub fn says_false(refer_sub: &str) -> bool {
    let value = refer_sub.split(';').next().unwrap_or_default();
    value.trim().eq_ignore_ascii_case("false")
}

/// Why a NOTIFY is no news of a REFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoNews {
    /// It is of another event package, or of none.
    OtherEvent,
    /// It does not say how its subscription stands.
    NoState,
    /// Its body is none that is understood.
    OtherBody,
}

/// Which REFER a NOTIFY is of, and what it says; without a number it is of the first in the dialog (RFC 3515 section
/// 2.4.6).
///
/// # Errors
/// [`NoNews`].
pub fn news(fields: &Fields, body: &[u8]) -> Result<(Option<u32>, News), NoNews> {
    let (package, params) = value(fields.event.as_deref().unwrap_or_default());
    if !package.eq_ignore_ascii_case(EVENT) {
        return Err(NoNews::OtherEvent);
    }
    let id = params.get("id").and_then(|id| id.trim().parse().ok());
    let (state, params) = value(fields.subscription_state.as_deref().unwrap_or_default());
    let ended = match state {
        _ if state.eq_ignore_ascii_case("terminated") => Some(params.get("reason").unwrap_or_default().to_owned()),
        _ if state.is_empty() => return Err(NoNews::NoState),
        _ => None,
    };
    let (content, _) = value(fields.content_type.as_deref().unwrap_or_default());
    let progress = match body {
        [] => None,
        _ if !content.eq_ignore_ascii_case(SIPFRAG) => return Err(NoNews::OtherBody),
        body => Progress::parse(body),
    };
    Ok((id, News { progress, ended }))
}

/// A header value and its parameters; those that cannot be read are none.
fn value(text: &str) -> (&str, Params) {
    let (value, params) = text.split_at(text.find(';').unwrap_or(text.len()));
    (value.trim(), Params::parse(params).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(event: &str, state: &str, content: &str) -> Fields {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Fields {
            event: some(event),
            subscription_state: some(state),
            content_type: some(content),
            ..Fields::default()
        }
    }

    #[test]
    fn status_lines_are_read_and_written() {
        let read = |text: &str| Progress::parse(text.as_bytes());
        assert_eq!(read("SIP/2.0 100 Trying\r\n"), Some(Progress::of(100)));
        assert_eq!(read("sip/2.0 486"), Some(Progress::of(486)));
        let busy = read("SIP/2.0 486 Busy at the moment\r\nFrom: x\r\n").unwrap();
        assert_eq!((busy.status, busy.reason.as_str()), (486, "Busy at the moment"));
        assert_eq!(busy.fragment(), b"SIP/2.0 486 Busy at the moment\r\n");
        for wrong in [
            "",
            "INVITE sip:x SIP/2.0",
            "SIP/2.0",
            "SIP/2.0 99 x",
            "SIP/2.0 700 x",
            "SIP/2.0 +20 x",
            "SIP/3.0 200 OK",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_referral_has_one_target_with_what_its_request_is_to_carry() {
        let mut said = Fields::default();
        assert_eq!(referral(&said), Err("Missing Refer-To"));
        said.refer_to
            .push("<sip:+15550123@192.0.2.9?Replaces=a%40b%3Bto-tag%3Dc>;x=y".into());
        let asked = referral(&said).unwrap();
        assert_eq!(
            (asked.to.user.as_str(), asked.to.host.as_str()),
            ("+15550123", "192.0.2.9")
        );
        assert_eq!(asked.headers.as_deref(), Some("Replaces=a%40b%3Bto-tag%3Dc"));
        assert_eq!((asked.referred_by, asked.reports), (None, Reports::Wanted));
        said.refer_sub = Some("False ;x".into());
        assert_eq!(referral(&said).unwrap().reports, Reports::Unwanted);
        said.refer_to.push("<sip:a@b>".into());
        assert_eq!(referral(&said), Err("More Than One Refer-To"));
        said.refer_to = vec!["nonsense".into()];
        assert_eq!(referral(&said), Err("Malformed Refer-To"));
    }

    #[test]
    fn news_say_of_which_refer_they_are_and_whether_more_follows() {
        let body = b"SIP/2.0 180 Ringing\r\n";
        let said = fields("refer;id=93809824", "active;expires=60", "message/sipfrag;version=2.0");
        let (id, heard) = news(&said, body).unwrap();
        assert_eq!(
            (id, heard.ended, heard.progress),
            (Some(93_809_824), None, Some(Progress::of(180)))
        );
        let said = fields("Refer", "terminated ; reason=noresource", "");
        let (id, heard) = news(&said, b"").unwrap();
        assert_eq!(
            (id, heard.ended.as_deref(), heard.progress),
            (None, Some("noresource"), None)
        );
        for (said, why) in [
            (fields("dialog", "active", SIPFRAG), NoNews::OtherEvent),
            (fields("", "active", SIPFRAG), NoNews::OtherEvent),
            (fields("refer", "", SIPFRAG), NoNews::NoState),
            (fields("refer", "active", "text/plain"), NoNews::OtherBody),
        ] {
            assert_eq!(news(&said, body), Err(why), "{said:?}");
        }
    }
}
