//! `"Display" <uri>;params`, as in From, To, Contact, Route (RFC 3261 section 20.10).

use super::params::Params;
use super::{SyntaxError, Uri};
use crate::sip::api::Address;

/// An address with display name and header parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    text: String,
    /// Display name, unquoted; empty if none.
    pub display: String,
    /// The URI.
    pub uri: Uri,
    /// Parameters of the header, not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// Reads one address, bracketed or bare.
    ///
    /// # Errors
    /// Any [`SyntaxError`] of its parts.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let text = text.trim();
        let (display, rest) = match text.strip_prefix('"') {
            Some(quoted) => {
                let (display, rest) = unquote(quoted)?;
                let rest = rest.trim_start();
                if !rest.starts_with('<') {
                    return Err(SyntaxError::Character);
                }
                (display, rest)
            }
            None => match text.find('<') {
                Some(at) => (text[..at].trim().to_owned(), &text[at..]),
                None => (String::new(), text),
            },
        };
        let (uri, params) = match rest.strip_prefix('<') {
            Some(bracketed) => bracketed.split_once('>').ok_or(SyntaxError::Unbalanced)?,
            // Without brackets everything from the first semicolon on belongs to the header (RFC 3261 section 20).
            None => rest.split_at(rest.find(';').unwrap_or(rest.len())),
        };
        if rest.starts_with('<') && display.contains(['"', '>']) && !text.starts_with('"') {
            return Err(SyntaxError::Character);
        }
        Ok(Self {
            uri: Uri::parse(uri.trim())?,
            params: Params::parse(params)?,
            display,
            text: text.to_owned(),
        })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The `tag` parameter, if there is one and it is not empty.
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// What the call layer sees of it.
    pub fn address(&self) -> Address {
        self.uri.address(self.display.clone())
    }
}

/// The text of a quoted string whose opening quote is gone, and what follows the closing one.
fn unquote(text: &str) -> Result<(String, &str), SyntaxError> {
    let mut plain = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            c if escaped => {
                plain.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok((plain, &text[at + 1..])),
            c => plain.push(c),
        }
    }
    Err(SyntaxError::Unbalanced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_an_address() {
        for (text, display, uri, tag) in [
            ("<sip:a@b>;tag=1", "", "sip:a@b", Some("1")),
            ("sip:a@b;tag=1", "", "sip:a@b", Some("1")),
            ("sip:a@b", "", "sip:a@b", None),
            ("Bob Smith <sip:b@c;x=y?z>", "Bob Smith", "sip:b@c;x=y?z", None),
            (
                r#""I \"am\" <x>, ok" <sip:a@[::1]:5>  ; tag = t"#,
                "I \"am\" <x>, ok",
                "sip:a@[::1]:5",
                Some("t"),
            ),
            ("\"\" <tel:+1>", "", "tel:+1", None),
            ("isbn:2983792873", "", "isbn:2983792873", None),
        ] {
            let parsed = NameAddr::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (parsed.display.as_str(), parsed.uri.as_str(), parsed.tag()),
                (display, uri, tag),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address() {
        for text in [
            "",
            "\"open <sip:a@b>",
            "<sip:a@b",
            "\"x\" sip:a@b",
            "<sip:a@b>;;,;,,",
            "<sip:a@b> x",
            "\"A\" B <x",
        ] {
            assert!(NameAddr::parse(text).is_err(), "{text}");
        }
    }
}
