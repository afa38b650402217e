//! Outgoing messages.

use std::fmt::{Display, Write};

/// Builds one message, header by header. No value can end its line early: line ends in it become spaces.
#[derive(Debug)]
pub struct Writer(String);

impl Writer {
    /// Begins a request.
    pub fn request(method: &str, uri: &str) -> Self {
        let mut text = String::with_capacity(1024);
        text.push_str(method);
        text.push(' ');
        text.push_str(uri);
        text.push_str(" SIP/2.0\r\n");
        Self(text)
    }

    /// Begins a response.
    pub fn response(status: u16, reason: &str) -> Self {
        let mut writer = Self(String::with_capacity(1024));
        writer.line(format_args!("SIP/2.0 {status} {reason}"));
        writer
    }

    /// Adds a header.
    pub fn header(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.line(format_args!("{name}: {value}"));
        self
    }

    /// Ends the message with a body; `None` writes `Content-Length: 0`.
    pub fn finish(mut self, body: Option<(&str, &[u8])>) -> Vec<u8> {
        let Some((content_type, body)) = body else {
            self.0.push_str("Content-Length: 0\r\n\r\n");
            return self.0.into_bytes();
        };
        self.header("Content-Type", content_type);
        self.header("Content-Length", body.len());
        self.0.push_str("\r\n");
        let mut bytes = self.0.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let mut line = OneLine(&mut self.0);
        // Writing to a String cannot fail.
        let _ = line.write_fmt(text);
        self.0.push_str("\r\n");
    }
}

struct OneLine<'a>(&'a mut String);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if text.contains(['\r', '\n']) {
            self.0
                .extend(text.chars().map(|c| if matches!(c, '\r' | '\n') { ' ' } else { c }));
        } else {
            self.0.push_str(text);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_can_be_smuggled_in() {
        let mut writer = Writer::response(486, "Busy\r\nHere");
        writer.header("X", "a\r\nY: b");
        let text = String::from_utf8(writer.finish(None)).unwrap();
        assert_eq!(
            text,
            "SIP/2.0 486 Busy  Here\r\nX: a  Y: b\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
