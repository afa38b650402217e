//! `Digest name=value, name="value"` (RFC 3261 section 25.1, `auth-param`).

use std::fmt::{Display, Write};

use crate::sip::syntax::params::{is_token, split};

/// The parameters of a Digest header, in order.
///
/// Values are kept without their quotes but otherwise as written, escapes included: that is what is hashed (`unq` of RFC
/// 7616 section 3.4.1), and what goes back between quotes unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthParams(Vec<(String, String)>);

impl AuthParams {
    /// Reads a header; `None` if it is of another scheme, or broken, or names a parameter twice.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, list) = text.trim().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut params: Vec<(String, String)> = Vec::new();
        for element in split(list, ',').ok()? {
            if element.is_empty() {
                continue;
            }
            let (name, value) = element.split_once('=')?;
            let (name, value) = (name.trim(), unquoted(value.trim())?);
            let known = params.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            if known || name.is_empty() || !name.bytes().all(is_token) {
                return None;
            }
            params.push((name.to_owned(), value.to_owned()));
        }
        Some(Self(params))
    }

    /// The value of a parameter. Names compare without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// What stands between quotes, or a value without any.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        // The splitter has seen that quotes are closed; text behind the closing one is an error.
        Some(rest) => {
            let inner = rest.strip_suffix('"')?;
            ends_there(inner).then_some(inner)
        }
        None => (!value.is_empty() && !value.contains(['"', '\\', ' ', '\t'])).then_some(value),
    }
}

/// Whether no unescaped quote stands in the text, nor an escape at its very end.
fn ends_there(inner: &str) -> bool {
    let mut escaped = false;
    for byte in inner.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !escaped
}

/// Writes such a header, parameter by parameter.
#[derive(Debug)]
pub struct AuthWriter(String);

impl AuthWriter {
    /// `Digest`
    pub fn digest() -> Self {
        Self("Digest".to_owned())
    }

    /// A parameter whose value stands in quotes; the value is as in [`AuthParams`].
    pub fn quoted(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.add(format_args!("{name}=\"{value}\""))
    }

    /// A parameter whose value does not.
    pub fn bare(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.add(format_args!("{name}={value}"))
    }

    /// The header.
    pub fn finish(self) -> String {
        self.0
    }

    fn add(&mut self, parameter: std::fmt::Arguments<'_>) -> &mut Self {
        self.0.push_str(if self.0.len() == "Digest".len() { " " } else { ", " });
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(parameter);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_escapes_and_blanks() {
        let params = AuthParams::parse(r#"digest  realm = "a, \"b\"" ,, QOP="auth,auth-int",algorithm=MD5"#).unwrap();
        assert_eq!(params.get("REALM"), Some(r#"a, \"b\""#));
        assert_eq!(params.get("qop"), Some("auth,auth-int"));
        assert_eq!(params.get("algorithm"), Some("MD5"));
        assert_eq!(params.get("nonce"), None);
    }

    #[test]
    fn what_is_not_one() {
        for text in [
            "",
            "Digest",
            "Basic realm=\"a\"",
            "Digest realm",
            "Digest =a",
            "Digest realm=",
            "Digest realm=\"a",
            "Digest realm=\"a\"b",
            "Digest realm=\"a\"\"b\"",
            "Digest realm=\"a\\\"",
            "Digest realm=a b",
            "Digest nonce=a, NONCE=b",
        ] {
            assert_eq!(AuthParams::parse(text), None, "{text}");
        }
    }
}
