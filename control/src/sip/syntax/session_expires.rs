//! Session-Expires and Min-SE (RFC 4028 sections 4 and 5).

use super::params::Params;

/// What a Session-Expires says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Session interval, seconds.
    pub seconds: u32,
    /// Who refreshes, if it says.
    pub refresher: Option<Role>,
}

/// Part in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Who sent the request.
    Uac,
    /// Who answered it.
    Uas,
}

impl SessionExpires {
    /// Reads one. `None` if it cannot be read: a header that is no use is as good as none.
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, params) = number_and_params(text)?;
        let refresher = match params.get("refresher") {
            Some(role) if role.eq_ignore_ascii_case("uac") => Some(Role::Uac),
            Some(role) if role.eq_ignore_ascii_case("uas") => Some(Role::Uas),
            Some(_) | None => None,
        };
        Some(Self { seconds, refresher })
    }
}

/// The seconds of a Min-SE; `None` if it cannot be read.
pub fn min_se(text: &str) -> Option<u32> {
    number_and_params(text).map(|(seconds, _)| seconds)
}

/// Longer than any call: what is beyond is as good as this.
const LONGEST: u32 = 365 * 24 * 3600;

fn number_and_params(text: &str) -> Option<(u32, Params)> {
    let (number, params) = match text.split_once(';') {
        Some((number, _)) => (number, text.get(number.len()..)?),
        None => (text, ""),
    };
    let number = number.trim();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.then(|| number.parse().unwrap_or(LONGEST).min(LONGEST))?;
    Some((seconds, Params::parse(params).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_and_refresher() {
        for (text, seconds, refresher) in [
            ("1800", 1800, None),
            (" 90 ; Refresher=UAC", 90, Some(Role::Uac)),
            ("90;x=y;refresher=uas", 90, Some(Role::Uas)),
            ("90;refresher=nobody", 90, None),
            ("99999999999999999999", LONGEST, None),
        ] {
            assert_eq!(
                SessionExpires::parse(text),
                Some(SessionExpires { seconds, refresher }),
                "{text}"
            );
        }
        for text in ["", "soon", "-1", "+90", "90;;", "9 0"] {
            assert_eq!(SessionExpires::parse(text), None, "{text}");
        }
        assert_eq!(min_se("120;x"), Some(120));
    }
}
