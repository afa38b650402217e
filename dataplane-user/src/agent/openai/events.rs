//! The events of OpenAI's Realtime API that matter to a call: text in, text out, no I/O.
//!
//! Names are those of the general release; of the beta before it, `response.audio.delta`.
//! <https://developers.openai.com/api/docs/guides/realtime>

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::web::json::{push, string};
use super::super::web::payload::quoted;

/// What the model says, or is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The session is as it was asked for.
    SessionUpdated,
    /// Audio to play.
    Audio {
        /// Which response it is part of.
        response: Cow<'a, str>,
        /// Which item of the conversation.
        item: Cow<'a, str>,
        /// Which part of that.
        content: u64,
        /// What is between the quotes in JSON: base64 of µ-law.
        payload: &'a str,
    },
    /// The caller has begun to speak.
    SpeechStarted,
    /// The model calls a function.
    Called(Call),
    /// A response is complete, or was cut short.
    ResponseDone {
        /// Whether all of it was said.
        is_complete: bool,
    },
    /// Something that was asked for cannot be.
    Error {
        /// What, in words.
        message: String,
    },
    /// Something that does not matter here.
    Other,
}

/// A function that the model calls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Call {
    /// Names the call.
    pub call_id: String,
    /// The function.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// What most events have; the rest of an event is read when it is wanted.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    response_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    item_id: Option<Cow<'a, str>>,
    #[serde(default)]
    content_index: Option<u64>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Done {
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
struct Failed {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: Option<String>,
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// It is not JSON, or lacks what its kind needs.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let head: Head<'a> = serde_json::from_str(text)?;
        let missing = |what| <serde_json::Error as serde::de::Error>::missing_field(what);
        Ok(match head.kind.as_ref() {
            "response.output_audio.delta" | "response.audio.delta" => Self::Audio {
                response: head.response_id.unwrap_or_default(),
                item: head.item_id.ok_or_else(|| missing("item_id"))?,
                content: head.content_index.unwrap_or_default(),
                payload: head
                    .delta
                    .and_then(|delta| quoted(delta.get()))
                    .ok_or_else(|| missing("delta"))?,
            },
            "input_audio_buffer.speech_started" => Self::SpeechStarted,
            "response.function_call_arguments.done" => Self::Called(serde_json::from_str(text)?),
            "response.done" => {
                let Done { response } = serde_json::from_str(text)?;
                Self::ResponseDone {
                    is_complete: response.status.is_none_or(|status| status == "completed"),
                }
            }
            "session.updated" => Self::SessionUpdated,
            "error" => {
                let Failed { error } = serde_json::from_str(text)?;
                let code = error.code.map(|code| format!(" ({code})")).unwrap_or_default();
                Self::Error {
                    message: error.message + &code,
                }
            }
            _ => Self::Other,
        })
    }
}

/// Writes our events, each into the same buffer.
#[derive(Debug)]
pub struct Writer {
    buffer: String,
}

impl Writer {
    /// A writer.
    pub fn new() -> Self {
        Self {
            buffer: String::with_capacity(512),
        }
    }

    /// Audio that the caller was heard saying.
    pub fn append(&mut self, ulaw: &[u8]) -> &str {
        self.event("input_audio_buffer.append", |buffer| {
            buffer.push_str(r#","audio":""#);
            STANDARD.encode_string(ulaw, buffer);
            buffer.push('"');
        })
    }

    /// Of an item's audio the caller has heard so many milliseconds, and will hear no more.
    pub fn truncate(&mut self, item: &str, content: u64, milliseconds: u64) -> &str {
        self.event("conversation.item.truncate", |buffer| {
            buffer.push_str(r#","item_id":"#);
            string(buffer, item);
            push(
                buffer,
                format_args!(r#","content_index":{content},"audio_end_ms":{milliseconds}"#),
            );
        })
    }

    /// Something that the model is to know, and that nobody has said.
    pub fn note(&mut self, text: &str) -> &str {
        self.event("conversation.item.create", |buffer| {
            buffer.push_str(r#","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"#);
            string(buffer, text);
            buffer.push_str("}]}");
        })
    }

    /// What came of a function that the model has called.
    pub fn output(&mut self, call_id: &str, output: &str) -> &str {
        self.event("conversation.item.create", |buffer| {
            buffer.push_str(r#","item":{"type":"function_call_output","call_id":"#);
            string(buffer, call_id);
            buffer.push_str(r#","output":"#);
            string(buffer, output);
            buffer.push('}');
        })
    }

    /// The model is to say something.
    pub fn respond(&mut self) -> &str {
        self.event("response.create", |_| {})
    }

    fn event(&mut self, kind: &str, body: impl FnOnce(&mut String)) -> &str {
        self.buffer.clear();
        push(&mut self.buffer, format_args!(r#"{{"type":"{kind}""#));
        body(&mut self.buffer);
        self.buffer.push('}');
        &self.buffer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn events_of_the_documentation_are_read() {
        for kind in ["response.output_audio.delta", "response.audio.delta"] {
            let text = format!(
                r#"{{"event_id":"e1","type":"{kind}","response_id":"r1","item_id":"i1","output_index":0,"content_index":0,"delta":"/38="}}"#
            );
            let audio = Event::Audio {
                response: "r1".into(),
                item: "i1".into(),
                content: 0,
                payload: "/38=",
            };
            assert_eq!(Event::parse(&text).unwrap(), audio);
        }
        let called = r#"{"type":"response.function_call_arguments.done","response_id":"r1","item_id":"i2","output_index":0,
            "call_id":"c1","name":"transfer_call","arguments":"{\"to\":\"+15550100\"}"}"#;
        let call = Call {
            call_id: "c1".into(),
            name: "transfer_call".into(),
            arguments: r#"{"to":"+15550100"}"#.into(),
        };
        assert_eq!(Event::parse(called).unwrap(), Event::Called(call));
        for (text, expected) in [
            (
                r#"{"type":"input_audio_buffer.speech_started","audio_start_ms":9,"item_id":"i"}"#,
                Event::SpeechStarted,
            ),
            (
                r#"{"type":"response.done","response":{"id":"r1","status":"completed","output":[]}}"#,
                Event::ResponseDone { is_complete: true },
            ),
            (
                r#"{"type":"response.done","response":{"id":"r1","status":"cancelled"}}"#,
                Event::ResponseDone { is_complete: false },
            ),
            (r#"{"type":"session.updated","session":{}}"#, Event::SessionUpdated),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","code":"invalid_value","message":"no","param":null}}"#,
                Event::Error {
                    message: "no (invalid_value)".into(),
                },
            ),
            // The delta of something else.
            (
                r#"{"type":"response.output_audio_transcript.delta","item_id":"i","delta":"Hel"}"#,
                Event::Other,
            ),
        ] {
            assert_eq!(Event::parse(text).unwrap(), expected, "{text}");
        }
        for damaged in [
            "",
            "[]",
            r#"{"type":5}"#,
            r#"{"type":"response.output_audio.delta","item_id":"i"}"#,
            r#"{"type":"response.function_call_arguments.done","name":"x"}"#,
            r#"{"type":"response.done"}"#,
        ] {
            assert!(Event::parse(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn ours_are_those_of_the_documentation() {
        let mut writer = Writer::new();
        assert_eq!(
            value(writer.append(&[0xff, 0x7f])),
            json!({"type": "input_audio_buffer.append", "audio": "/38="})
        );
        assert_eq!(
            value(writer.truncate("i\"1", 0, 1500)),
            json!({"type": "conversation.item.truncate", "item_id": "i\"1", "content_index": 0, "audio_end_ms": 1500})
        );
        assert_eq!(
            value(writer.output("c1", r#"{"status":"failed"}"#)),
            json!({
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "c1", "output": "{\"status\":\"failed\"}"},
            })
        );
        assert_eq!(
            value(writer.note("a key")),
            json!({
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a key"}]},
            })
        );
        assert_eq!(value(writer.respond()), json!({"type": "response.create"}));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_panics(text: String) {
            let _ = Event::parse(&text);
        }
    }
}
