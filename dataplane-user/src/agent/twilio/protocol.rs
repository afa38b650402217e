//! The messages of Twilio Media Streams: text in, text out, no I/O.
//!
//! Whatever Twilio writes as a number is a JSON string. <https://www.twilio.com/docs/voice/media-streams/websocket-messages>

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::media_plane::TwilioSpec;

/// The first message: what is spoken here.
pub const CONNECTED: &str = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;

/// What a bot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBot<'a> {
    /// Audio to play: base64 of µ-law, any length.
    Media {
        /// As it was sent.
        payload: Cow<'a, str>,
    },
    /// Tell me when what I sent so far has been played.
    Mark {
        /// What to call it.
        name: Cow<'a, str>,
    },
    /// Forget what has not been played.
    Clear,
    /// Something this gateway does not know.
    Unknown,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    media: Option<Media<'a>>,
    #[serde(borrow, default)]
    mark: Option<Mark<'a>>,
}

#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

impl<'a> FromBot<'a> {
    /// Reads a message. Keys it does not need may hold anything.
    ///
    /// # Errors
    /// It is not JSON, or lacks what its event needs.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let message: Message<'a> = serde_json::from_str(text)?;
        let missing = |what| <serde_json::Error as serde::de::Error>::missing_field(what);
        match (message.event.as_ref(), message.media, message.mark) {
            ("media", Some(media), _) => Ok(Self::Media { payload: media.payload }),
            ("media", None, _) => Err(missing("media")),
            ("mark", _, Some(mark)) => Ok(Self::Mark { name: mark.name }),
            ("mark", _, None) => Err(missing("mark")),
            ("clear", ..) => Ok(Self::Clear),
            _ => Ok(Self::Unknown),
        }
    }
}

/// Decodes a media payload to the end of `ulaw`.
///
/// # Errors
/// It is not base64; `ulaw` is as it was.
pub fn decode(payload: &str, ulaw: &mut Vec<u8>) -> Result<(), base64::DecodeError> {
    let before = ulaw.len();
    STANDARD
        .decode_vec(payload, ulaw)
        .inspect_err(|_| ulaw.truncate(before))
}

/// Writes our messages, numbered in order, each into the same buffer.
#[derive(Debug)]
pub struct Writer {
    stream_sid: String,
    account_sid: String,
    call_sid: String,
    sequence: u64,
    chunk: u64,
    buffer: String,
}

impl Writer {
    /// A writer for one stream.
    pub fn new(spec: &TwilioSpec) -> Self {
        Self {
            stream_sid: spec.stream_sid.clone(),
            account_sid: spec.account_sid.clone(),
            call_sid: spec.call_sid.clone(),
            sequence: 0,
            chunk: 0,
            buffer: String::with_capacity(512),
        }
    }

    /// `start`, the first numbered message.
    pub fn start(&mut self, parameters: &[(String, String)]) -> &str {
        let (account, call, stream) = (self.account_sid.clone(), self.call_sid.clone(), self.stream_sid.clone());
        self.message("start", |buffer| {
            buffer.push_str(r#""start":{"accountSid":"#);
            string(buffer, &account);
            buffer.push_str(r#","streamSid":"#);
            string(buffer, &stream);
            buffer.push_str(r#","callSid":"#);
            string(buffer, &call);
            buffer.push_str(
                r#","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{"#,
            );
            for (index, (name, value)) in parameters.iter().enumerate() {
                if index > 0 {
                    buffer.push(',');
                }
                string(buffer, name);
                buffer.push(':');
                string(buffer, value);
            }
            buffer.push_str("}}");
        })
    }

    /// `media`: audio the caller was heard saying; `milliseconds` since the start of the stream.
    pub fn media(&mut self, ulaw: &[u8], milliseconds: u64) -> &str {
        self.chunk += 1;
        let chunk = self.chunk;
        self.message("media", |buffer| {
            push(
                buffer,
                format_args!(
                    r#""media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{milliseconds}","payload":""#
                ),
            );
            STANDARD.encode_string(ulaw, buffer);
            buffer.push_str("\"}");
        })
    }

    /// `dtmf`: a key the caller pressed.
    pub fn dtmf(&mut self, digit: char) -> &str {
        self.message("dtmf", |buffer| {
            push(
                buffer,
                format_args!(r#""dtmf":{{"track":"inbound_track","digit":"{digit}"}}"#),
            );
        })
    }

    /// `mark`: what the bot sent before this mark has been played, or cleared.
    pub fn mark(&mut self, name: &str) -> &str {
        self.message("mark", |buffer| {
            buffer.push_str(r#""mark":{"name":"#);
            string(buffer, name);
            buffer.push('}');
        })
    }

    /// `stop`, the last message.
    pub fn stop(&mut self) -> &str {
        let (account, call) = (self.account_sid.clone(), self.call_sid.clone());
        self.message("stop", |buffer| {
            buffer.push_str(r#""stop":{"accountSid":"#);
            string(buffer, &account);
            buffer.push_str(r#","callSid":"#);
            string(buffer, &call);
            buffer.push('}');
        })
    }

    fn message(&mut self, event: &str, body: impl FnOnce(&mut String)) -> &str {
        self.sequence += 1;
        self.buffer.clear();
        push(
            &mut self.buffer,
            format_args!(r#"{{"event":"{event}","sequenceNumber":"{}","#, self.sequence),
        );
        body(&mut self.buffer);
        self.buffer.push_str(r#","streamSid":"#);
        string(&mut self.buffer, &self.stream_sid);
        self.buffer.push('}');
        &self.buffer
    }
}

fn push(buffer: &mut String, text: std::fmt::Arguments<'_>) {
    buffer.write_fmt(text).expect("writing to a String does not fail");
}

/// Writes a JSON string.
fn string(buffer: &mut String, text: &str) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn writer() -> Writer {
        Writer::new(&TwilioSpec {
            url: String::new(),
            addresses: Vec::new(),
            headers: Vec::new(),
            account_sid: "AC1".into(),
            call_sid: "CA1".into(),
            stream_sid: "MZ1".into(),
            parameters: Vec::new(),
            connect_timeout: Duration::ZERO,
            silence_timeout: Duration::ZERO,
        })
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn messages_are_those_that_twilio_documents() {
        let mut writer = writer();
        assert_eq!(
            value(CONNECTED),
            json!({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        );
        let parameters = [("who".to_owned(), "Ann \"\u{1}\\".to_owned())];
        assert_eq!(
            value(writer.start(&parameters)),
            json!({
                "event": "start", "sequenceNumber": "1", "streamSid": "MZ1",
                "start": {
                    "accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"],
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                    "customParameters": {"who": "Ann \"\u{1}\\"},
                },
            })
        );
        assert_eq!(
            value(writer.media(&[0xff, 0x7f], 40)),
            json!({
                "event": "media", "sequenceNumber": "2", "streamSid": "MZ1",
                "media": {"track": "inbound", "chunk": "1", "timestamp": "40", "payload": "/38="},
            })
        );
        assert_eq!(
            value(writer.dtmf('#')),
            json!({
                "event": "dtmf", "sequenceNumber": "3", "streamSid": "MZ1",
                "dtmf": {"track": "inbound_track", "digit": "#"},
            })
        );
        assert_eq!(
            value(writer.mark("a\"b")),
            json!({"event": "mark", "sequenceNumber": "4", "streamSid": "MZ1", "mark": {"name": "a\"b"}})
        );
        assert_eq!(
            value(writer.stop()),
            json!({
                "event": "stop", "sequenceNumber": "5", "streamSid": "MZ1",
                "stop": {"accountSid": "AC1", "callSid": "CA1"},
            })
        );
    }

    #[test]
    fn bots_may_write_as_they_like() {
        // Pipecat sends no track, chunk or timestamp.
        let media = FromBot::parse(r#"{"event":"media","media":{"payload":"\/38="},"streamSid":"MZ1"}"#).unwrap();
        let FromBot::Media { payload } = media else {
            panic!("{media:?}")
        };
        let mut ulaw = vec![1];
        decode(&payload, &mut ulaw).unwrap();
        assert_eq!(ulaw, [1, 0xff, 0x7f]);
        assert!(decode("not base64!", &mut ulaw).is_err());
        assert_eq!(ulaw.len(), 3);
        let mark = r#"{"streamSid":"MZ1","mark":{"name":"m\u00e9"},"event":"mark"}"#;
        assert_eq!(FromBot::parse(mark).unwrap(), FromBot::Mark { name: "mé".into() });
        assert_eq!(
            FromBot::parse(r#"{"event":"clear","streamSid":"x"}"#).unwrap(),
            FromBot::Clear
        );
        assert_eq!(
            FromBot::parse(r#"{"event":"other","media":null}"#).unwrap(),
            FromBot::Unknown
        );
        for damaged in [
            "",
            "{",
            "[]",
            r#"{"event":"media"}"#,
            r#"{"event":"mark","mark":{}}"#,
            r#"{"event":5}"#,
        ] {
            assert!(FromBot::parse(damaged).is_err(), "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn nothing_a_bot_sends_panics(text: String) {
            let _ = FromBot::parse(&text);
            let _ = decode(&text, &mut Vec::new());
        }

        #[test]
        fn names_survive(name: String) {
            let mut writer = writer();
            prop_assert_eq!(&value(writer.mark(&name))["mark"]["name"], &Value::String(name));
        }
    }
}
