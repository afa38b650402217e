//! JSON as it is written: into one buffer, which is there already.

use std::fmt::Write as _;

use crate::media_plane::AgentNotice;

/// Appends text.
pub fn push(buffer: &mut String, text: std::fmt::Arguments<'_>) {
    buffer.write_fmt(text).expect("writing to a String does not fail");
}

/// A text as a JSON string.
pub fn quote(text: &str) -> String {
    let mut quoted = String::new();
    string(&mut quoted, text);
    quoted
}

/// Writes a JSON string.
pub fn string(buffer: &mut String, text: &str) {
    buffer.push('"');
    for c in text.chars() {
        match c {
            '"' => buffer.push_str("\\\""),
            '\\' => buffer.push_str("\\\\"),
            c if c < ' ' => push(buffer, format_args!("\\u{:04x}", u32::from(c))),
            c => buffer.push(c),
        }
    }
    buffer.push('"');
}

/// Writes the members of an object whose values are strings.
pub fn pairs(buffer: &mut String, pairs: &[(String, String)]) {
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            buffer.push(',');
        }
        string(buffer, name);
        buffer.push(':');
        string(buffer, value);
    }
}

/// Writes how far a transfer has come, as an object; `status` is what the SIP status is called in it.
pub fn transfer(buffer: &mut String, notice: &AgentNotice, status: &str) {
    push(buffer, format_args!(r#"{{"status":"{}","to":"#, notice.state.word()));
    string(buffer, &notice.to);
    if let Some(code) = notice.status {
        push(buffer, format_args!(r#","{status}":"{code}""#));
    }
    if let Some(reason) = &notice.reason {
        buffer.push_str(r#","reason":"#);
        string(buffer, reason);
    }
    buffer.push('}');
}
