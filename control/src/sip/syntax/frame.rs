//! Framing: one datagram into start line, header lines and body (RFC 3261 sections 7 and 18.3).

use std::borrow::Cow;

use rsip::Header;

use super::fields::Fields;
use super::names::header;
use super::params::is_token;

/// Longest datagram that is looked at, bytes: the most UDP carries.
pub const MAX_MESSAGE: usize = 65_535;
/// Most header lines of a message.
pub const MAX_HEADERS: usize = 256;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// `METHOD uri SIP/x.y`
    Request {
        /// Method as written; methods are case-sensitive.
        method: String,
        /// Request-URI as written.
        uri: String,
        /// `SIP/2.0`, or what stands there.
        version: String,
    },
    /// `SIP/2.0 status reason`
    Response {
        /// Status, 100-699.
        status: u16,
        /// Reason phrase; may be empty.
        reason: String,
    },
}

/// A message whose parts are told apart. What is wrong with its headers is in [`Fields::fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// First line.
    pub start: StartLine,
    /// Headers.
    pub fields: Fields,
    /// Body: as many bytes as Content-Length says, or all the rest.
    pub body: Vec<u8>,
    /// Bytes of the message as it came.
    pub length: usize,
}

/// Why a datagram is not a message at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSip {
    /// Line ends or up to four bytes: keeps an address translator's binding alive (RFC 5626 section 3.5.1).
    #[error("keepalive")]
    Keepalive,
    /// The first line is neither a request line nor a status line.
    #[error("no SIP start line")]
    StartLine,
    /// Longer than [`MAX_MESSAGE`].
    #[error("longer than a datagram can be")]
    TooLong,
}

/// Takes a datagram apart.
///
/// # Errors
/// [`NotSip`] if it has no SIP start line. Damage further on is a [`Fields::fault`].
pub fn frame(data: &[u8]) -> Result<Framed, NotSip> {
    if data.len() > MAX_MESSAGE {
        return Err(NotSip::TooLong);
    }
    if data.len() <= 4 || data.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(NotSip::Keepalive);
    }
    let begin = data
        .iter()
        .position(|b| !matches!(b, b'\r' | b'\n'))
        .unwrap_or(data.len());
    let mut lines = Lines {
        rest: data.get(begin..).unwrap_or_default(),
    };
    let start = start_line(&text(lines.next().unwrap_or_default()))?;

    let mut fields = Fields::default();
    // One look-ahead: a line that begins with white space continues the one before it.
    let mut open: Option<Cow<'_, str>> = None;
    let mut count = 0;
    loop {
        match lines.next() {
            Some(line) if line.starts_with(b" ") || line.starts_with(b"\t") => match &mut open {
                Some(unfolded) => {
                    let unfolded = unfolded.to_mut();
                    unfolded.push(' ');
                    unfolded.push_str(text(line).trim());
                }
                None => fields.note("Malformed Header"),
            },
            Some(b"") => break,
            Some(line) => {
                if let Some(whole) = open.replace(text(line)) {
                    take(&mut fields, &whole);
                }
                count += 1;
                if count > MAX_HEADERS {
                    fields.note("Too Many Headers");
                    open = None;
                    break;
                }
            }
            None => {
                fields.note("Missing End of Headers");
                break;
            }
        }
    }
    if let Some(whole) = open {
        take(&mut fields, &whole);
    }
    let body = match fields.content_length {
        Some(length) if length > lines.rest.len() => {
            fields.note("Content-Length Beyond Message");
            Vec::new()
        }
        Some(length) => lines.rest.get(..length).unwrap_or_default().to_vec(),
        None => lines.rest.to_vec(),
    };
    Ok(Framed {
        start,
        fields,
        body,
        length: data.len(),
    })
}

fn take(fields: &mut Fields, line: &str) {
    match line.split_once(':') {
        Some((name, value)) => {
            let name = name.trim_end();
            if name.is_empty() || !name.bytes().all(is_token) {
                fields.note("Malformed Header");
                return;
            }
            let header: Header = header(name, value.trim().to_owned());
            fields.add(header);
        }
        None => fields.note("Malformed Header"),
    }
}

fn start_line(line: &str) -> Result<StartLine, NotSip> {
    let line = line.trim_end();
    let is_version = |text: &str| text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/"));
    let (first, rest) = line.split_once(' ').ok_or(NotSip::StartLine)?;
    if is_version(first) {
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        if !first.eq_ignore_ascii_case("SIP/2.0") || status.len() != 3 || !status.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotSip::StartLine);
        }
        return match status.parse() {
            Ok(status @ 100..=699) => Ok(StartLine::Response {
                status,
                reason: reason.to_owned(),
            }),
            Ok(_) | Err(_) => Err(NotSip::StartLine),
        };
    }
    let (uri, version) = rest.rsplit_once(' ').ok_or(NotSip::StartLine)?;
    if first.is_empty() || !first.bytes().all(is_token) || !is_version(version) {
        return Err(NotSip::StartLine);
    }
    Ok(StartLine::Request {
        method: first.to_owned(),
        uri: uri.to_owned(),
        version: version.to_owned(),
    })
}

/// Text of a line. A carriage return within it becomes a space, so that nothing echoed can end a line early.
fn text(line: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(line);
    if text.contains('\r') {
        Cow::Owned(text.replace('\r', " "))
    } else {
        text
    }
}

/// Lines ended by CRLF or a bare LF.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|b| *b == b'\n')?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(text: &str) -> Framed {
        frame(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    #[test]
    fn folding_bare_line_feeds_and_leading_line_ends() {
        let message = framed("\r\n\r\nOPTIONS sip:a SIP/2.0\nf :\n <sip:b>\n\t;tag=1\r\nl: 2\r\n\r\nabcd");
        assert_eq!(message.fields.from.as_deref(), Some("<sip:b> ;tag=1"));
        assert_eq!(message.body, b"ab");
        assert_eq!(message.fields.fault, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, fault) in [
            ("BYE sip:a SIP/2.0\r\nx\r\n\r\n", "Malformed Header"),
            ("BYE sip:a SIP/2.0\r\n folded: 1\r\n\r\n", "Malformed Header"),
            ("BYE sip:a SIP/2.0\r\nb d: 1\r\n\r\n", "Malformed Header"),
            ("BYE sip:a SIP/2.0\r\nx: 1\r\n", "Missing End of Headers"),
            ("BYE sip:a SIP/2.0\r\nl: 5\r\n\r\nabcd", "Content-Length Beyond Message"),
            ("BYE sip:a SIP/2.0\r\nl: -9\r\n\r\nabcd", "Malformed Content-Length"),
            (
                "BYE sip:a SIP/2.0\r\nCSeq: 1 BYE\r\nCSeq: 2 BYE\r\n\r\n",
                "Repeated CSeq",
            ),
        ] {
            assert_eq!(framed(text).fields.fault, Some(fault), "{text:?}");
        }
    }

    #[test]
    fn start_lines() {
        for (line, fits) in [
            ("SIP/2.0 200 OK", true),
            ("SIP/2.0 200", true),
            ("sip/2.0 100 ", true),
            ("INVITE sip:a SIP/7.0", true),
            ("re-!.*x sip:a sip/2.0", true),
            ("SIP/2.0 4294967301 better not", false),
            ("SIP/2.0 099 x", false),
            ("SIP/3.0 200 OK", false),
            ("INVITE sip:a", false),
            ("IN(ITE sip:a SIP/2.0", false),
            ("hello", false),
        ] {
            assert_eq!(start_line(line).is_ok(), fits, "{line}");
        }
    }

    #[test]
    fn keepalives() {
        for data in [&b"\r\n\r\n"[..], b"", b"\0", b"png!", b"\r\n\r\n\r\n"] {
            assert_eq!(frame(data), Err(NotSip::Keepalive));
        }
    }
}
