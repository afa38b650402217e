//! `;name=value` parameters and comma lists, with quoting (RFC 3261 section 7.3.1).

use super::SyntaxError;

/// Most elements of a comma list, and most parameters of one element.
pub const MAX_ELEMENTS: usize = 64;

/// Parameters in the order written. Values are kept as written, quotes included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, Option<String>)>);

impl Params {
    /// Reads `;a;b=c;d="e;f"`; an empty text has no parameters.
    ///
    /// # Errors
    /// [`SyntaxError::Params`] for an empty name or value, or text before the first semicolon;
    /// [`SyntaxError::Unbalanced`] for an open quote; [`SyntaxError::TooMany`].
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let list = text.strip_prefix(';').ok_or(SyntaxError::Params)?;
        let mut params = Vec::new();
        for item in split(list, ';')? {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (item, None),
            };
            if name.is_empty() || !name.bytes().all(is_token) || value == Some("") {
                return Err(SyntaxError::Params);
            }
            params.push((name.to_owned(), value.map(str::to_owned)));
        }
        Ok(Self(params))
    }

    /// The value of a parameter: `None` if it is absent, `Some("")` if it has no value. Names compare without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(written, _)| written.eq_ignore_ascii_case(name))?;
        Some(value.as_deref().unwrap_or(""))
    }

    /// Sets or adds a parameter.
    pub fn set(&mut self, name: &str, value: String) {
        match self
            .0
            .iter_mut()
            .find(|(written, _)| written.eq_ignore_ascii_case(name))
        {
            Some((_, slot)) => *slot = Some(value),
            None => self.0.push((name.to_owned(), Some(value))),
        }
    }
}

impl std::fmt::Display for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.0 {
            match value {
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}

/// Splits at a separator that stands outside quotes and angle brackets; elements are trimmed, and may be empty.
///
/// # Errors
/// [`SyntaxError::Unbalanced`], [`SyntaxError::TooMany`].
pub fn split(text: &str, separator: char) -> Result<Vec<&str>, SyntaxError> {
    let mut elements = Vec::new();
    let (mut start, mut quoted, mut escaped, mut bracketed) = (0, false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '<' => bracketed = true,
            '>' => bracketed = false,
            c if c == separator && !bracketed => {
                elements.push(text[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
        if elements.len() >= MAX_ELEMENTS {
            return Err(SyntaxError::TooMany);
        }
    }
    if quoted || bracketed {
        return Err(SyntaxError::Unbalanced);
    }
    elements.push(text[start..].trim());
    Ok(elements)
}

/// Whether a byte may be part of a token (RFC 3261 section 25.1).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_quotes_and_brackets_do_not_split() {
        assert_eq!(
            split(r#""a,\",b" <sip:c,d>, e"#, ',').unwrap(),
            [r#""a,\",b" <sip:c,d>"#, "e"]
        );
        assert_eq!(split(r#""open"#, ','), Err(SyntaxError::Unbalanced));
    }

    #[test]
    fn parameters_keep_order_and_allow_space() {
        let params = Params::parse(" ; branch  =   z9hG4bK9ikj8 ; rport;x=\"a;b\"").unwrap();
        assert_eq!(params.get("BRANCH"), Some("z9hG4bK9ikj8"));
        assert_eq!(params.get("rport"), Some(""));
        assert_eq!(params.get("none"), None);
        assert_eq!(params.to_string(), ";branch=z9hG4bK9ikj8;rport;x=\"a;b\"");
    }

    #[test]
    fn empty_parameters_are_refused() {
        for text in [";;,;,,", ";", "x", ";a=", ";=b"] {
            assert!(Params::parse(text).is_err(), "{text}");
        }
    }
}
