//! Replaces (RFC 3891): which dialog an INVITE takes the place of, as pure functions.

use serde::{Deserialize, Serialize};

use super::syntax::params::Params;

/// The option tag.
pub const TAG: &str = "replaces";

/// Which dialog is replaced, as whoever gets the INVITE knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of whoever gets the INVITE.
    pub to_tag: String,
    /// The other side's.
    pub from_tag: String,
    /// Whether it is replaced only before it is answered.
    pub when: When,
}

/// When a dialog is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Answered or not.
    Any,
    /// Before it is answered (`early-only`).
    EarlyOnly,
}

impl Replaces {
    /// Reads a header value. `None`: it has no Call-ID, or not both tags (RFC 3891 section 6.1).
    pub fn parse(text: &str) -> Option<Self> {
        let (call_id, params) = text.split_at(text.find(';')?);
        let call_id = call_id.trim();
        let params = Params::parse(params).ok()?;
        let tag = |name| params.get(name).filter(|tag| !tag.is_empty()).map(str::to_owned);
        let is_whole = !call_id.is_empty() && !call_id.contains([' ', '\t', ',']);
        is_whole.then_some(Self {
            call_id: call_id.to_owned(),
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            when: match params.get("early-only") {
                Some(_) => When::EarlyOnly,
                None => When::Any,
            },
        })
    }

    /// The header fields of a Refer-To's URI that make the request carry it, and require that it is understood (RFC 5589
    /// section 7.3).
    pub fn in_uri(&self) -> String {
        let Self {
            call_id,
            to_tag,
            from_tag,
            ..
        } = self;
        let value = format!("{call_id};to-tag={to_tag};from-tag={from_tag}");
        format!("Replaces={}&Require={TAG}", escaped(&value))
    }
}

/// Escapes all but what no URI gives a meaning to (RFC 3261 section 19.1.1: unreserved).
fn escaped(text: &str) -> String {
    let mut uri = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_named_by_three_things() {
        let read = Replaces::parse("98732@sip.example.com ;from-tag=r33th4x0r;to-tag=ff87ff; early-only").unwrap();
        assert_eq!(
            (read.call_id.as_str(), read.to_tag.as_str()),
            ("98732@sip.example.com", "ff87ff")
        );
        assert_eq!((read.from_tag.as_str(), read.when), ("r33th4x0r", When::EarlyOnly));
        for wrong in [
            "",
            "a",
            "a;to-tag=b",
            "a;from-tag=b",
            ";to-tag=a;from-tag=b",
            "a b;to-tag=a;from-tag=b",
        ] {
            assert_eq!(Replaces::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn in_a_uri_it_is_escaped() {
        let named = Replaces {
            call_id: "a@b".into(),
            to_tag: "t".into(),
            from_tag: "f?".into(),
            when: When::Any,
        };
        let expected = "Replaces=a%40b%3Bto-tag%3Dt%3Bfrom-tag%3Df%3F&Require=replaces";
        assert_eq!(named.in_uri(), expected);
    }
}
