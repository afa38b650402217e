//! The messages of Twilio Media Streams: text in, text out, no I/O.
//!
//! Whatever Twilio writes as a number is a JSON string. <https://www.twilio.com/docs/voice/media-streams/websocket-messages>

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::frames::KEPT;
use crate::media_plane::{AgentNotice, TransferRequest, TwilioSpec};

/// The first message: what is spoken here.
pub const CONNECTED: &str = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;

/// What a bot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBot<'a> {
    /// Audio to play, of any length.
    Media {
        /// What is between the quotes in JSON: base64 of µ-law. See [`Decoder`].
        payload: &'a str,
    },
    /// Tell me when what I sent so far has been played.
    Mark {
        /// What to call it.
        name: Cow<'a, str>,
    },
    /// Forget what has not been played.
    Clear,
    /// Transfer the call. Twilio has no such message.
    Transfer(TransferRequest),
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
    /// Read when it is wanted: in other messages it may be anything.
    #[serde(borrow, default)]
    transfer: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Media<'a> {
    /// As it was written: to take the escapes out would take room.
    #[serde(borrow)]
    payload: &'a RawValue,
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
            ("media", Some(media), _) => match quoted(media.payload.get()) {
                Some(payload) => Ok(Self::Media { payload }),
                None => Err(missing("payload")),
            },
            ("media", None, _) => Err(missing("media")),
            ("mark", _, Some(mark)) => Ok(Self::Mark { name: mark.name }),
            ("mark", _, None) => Err(missing("mark")),
            ("clear", ..) => Ok(Self::Clear),
            ("transfer", ..) => match message.transfer {
                Some(transfer) => serde_json::from_str(transfer.get()).map(Self::Transfer),
                None => Err(missing("transfer")),
            },
            _ => Ok(Self::Unknown),
        }
    }
}

/// What is between the quotes of a JSON string.
fn quoted(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

/// Decodes media payloads, each in the same buffers.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Base64 in which nothing is escaped.
    plain: Vec<u8>,
    ulaw: Vec<u8>,
}

impl Decoder {
    /// The µ-law that a JSON string is the base64 of; `payload` is what is between its quotes.
    ///
    /// # Errors
    /// It is not base64.
    pub fn decode(&mut self, payload: &str) -> Result<&[u8], NotBase64> {
        for buffer in [&mut self.plain, &mut self.ulaw] {
            buffer.clear();
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
        let base64 = if payload.contains('\\') {
            unescape(payload, &mut self.plain)?;
            &self.plain
        } else {
            payload.as_bytes()
        };
        STANDARD.decode_vec(base64, &mut self.ulaw).map_err(|_| NotBase64)?;
        Ok(&self.ulaw)
    }
}

/// A payload is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct NotBase64;

/// Appends a JSON string without its escapes. Of those, some writers use `\/` and `\u003d`: others are of nothing that is in
/// base64.
fn unescape(json: &str, plain: &mut Vec<u8>) -> Result<(), NotBase64> {
    let mut rest = json.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let byte = match (byte, rest) {
            (b'\\', [b'/', after @ ..]) => {
                rest = after;
                b'/'
            }
            (b'\\', [b'u', hex @ ..]) => {
                let (digits, after) = hex.split_at_checked(4).ok_or(NotBase64)?;
                rest = after;
                let digits = std::str::from_utf8(digits).map_err(|_| NotBase64)?;
                match u8::from_str_radix(digits, 16) {
                    Ok(byte) if !digits.starts_with('+') => byte,
                    Ok(_) | Err(_) => return Err(NotBase64),
                }
            }
            (byte, _) => *byte,
        };
        plain.push(byte);
    }
    Ok(())
}

/// Writes our messages, numbered in order, each into the same buffer.
#[derive(Debug)]
pub struct Writer {
    /// As it stands in JSON.
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
            stream_sid: quote(&spec.stream_sid),
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
            buffer.push_str(&stream);
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

    /// `transfer`: how far a transfer of the call has come. Twilio has no such message; bots ignore what they do not know.
    pub fn transfer(&mut self, notice: &AgentNotice) -> &str {
        self.message("transfer", |buffer| {
            push(
                buffer,
                format_args!(r#""transfer":{{"status":"{}","to":"#, notice.state.word()),
            );
            string(buffer, &notice.to);
            if let Some(status) = notice.status {
                push(buffer, format_args!(r#","sipStatus":"{status}""#));
            }
            if let Some(reason) = &notice.reason {
                buffer.push_str(r#","reason":"#);
                string(buffer, reason);
            }
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
        self.buffer.push_str(&self.stream_sid);
        self.buffer.push('}');
        &self.buffer
    }
}

fn push(buffer: &mut String, text: std::fmt::Arguments<'_>) {
    buffer.write_fmt(text).expect("writing to a String does not fail");
}

/// A text as a JSON string.
fn quote(text: &str) -> String {
    let mut quoted = String::new();
    string(&mut quoted, text);
    quoted
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
    use crate::media_plane::TransferState;

    fn writer() -> Writer {
        Writer::new(&TwilioSpec {
            url: String::new(),
            addresses: Vec::new(),
            headers: Vec::new(),
            tls: None,
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
        let notice = AgentNotice {
            state: TransferState::Failed,
            to: "+15550100".into(),
            status: Some(486),
            reason: Some("486 Busy \"Here\"".into()),
        };
        assert_eq!(
            value(writer.transfer(&notice)),
            json!({
                "event": "transfer", "sequenceNumber": "5", "streamSid": "MZ1",
                "transfer": {"status": "failed", "to": "+15550100", "sipStatus": "486", "reason": "486 Busy \"Here\""},
            })
        );
        assert_eq!(
            value(writer.stop()),
            json!({
                "event": "stop", "sequenceNumber": "6", "streamSid": "MZ1",
                "stop": {"accountSid": "AC1", "callSid": "CA1"},
            })
        );
    }

    #[test]
    fn a_bot_may_ask_for_a_transfer() {
        let ask = |transfer: &str| {
            FromBot::parse(&format!(r#"{{"event":"transfer","streamSid":"MZ1"{transfer}}}"#))
                .map(|message| message == FromBot::Unknown)
        };
        let whole = r#"{"event":"transfer","transfer":{"to":"+15550100","trunk":"far","by":"refer"}}"#;
        let wanted = TransferRequest {
            to: "+15550100".into(),
            trunk: Some("far".into()),
            by: Some("refer".into()),
        };
        assert_eq!(FromBot::parse(whole).unwrap(), FromBot::Transfer(wanted));
        assert!(ask(r#","transfer":{"to":"+15550100"}"#).is_ok());
        for wrong in [
            "",
            r#","transfer":{}"#,
            r#","transfer":{"to":"1","number":"2"}"#,
            r#","transfer":1"#,
        ] {
            assert!(ask(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bots_may_write_as_they_like() {
        // Pipecat sends no track, chunk or timestamp; PHP escapes slashes, Gson equals signs.
        for payload in ["/38=", r"\/38=", r"\u002f38\u003d"] {
            let message = format!(r#"{{"event":"media","media":{{"payload":"{payload}"}},"streamSid":"MZ1"}}"#);
            assert_eq!(FromBot::parse(&message).unwrap(), FromBot::Media { payload });
            assert_eq!(Decoder::default().decode(payload).unwrap(), [0xff, 0x7f]);
        }
        for payload in [
            "not base64!",
            r"\n\/38=",
            r"\u",
            r"\u+02f38=",
            r"\ud83d\ude00",
            "é",
            "\\",
        ] {
            assert_eq!(Decoder::default().decode(payload), Err(NotBase64), "{payload}");
        }
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
            r#"{"event":"media","media":{"payload":5}}"#,
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
            let _ = Decoder::default().decode(&text);
        }

        /// However a bot escapes its base64, and however long it is.
        #[test]
        fn audio_survives(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..4), escape: bool) {
            let mut decoder = Decoder::default();
            for ulaw in chunks {
                let mut payload = STANDARD.encode(&ulaw);
                if escape {
                    payload = payload.replace('/', r"\/").replace('=', r"\u003d").replace('+', r"\u002B");
                }
                prop_assert_eq!(decoder.decode(&payload).unwrap(), &ulaw[..]);
            }
        }

        #[test]
        fn names_survive(name: String) {
            let mut writer = writer();
            prop_assert_eq!(&value(writer.mark(&name))["mark"]["name"], &Value::String(name));
        }
    }
}
