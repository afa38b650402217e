//! The texts of jambonz's `listen`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::sound::Format;
use super::super::web::json::{push, quote, string, transfer};
use super::super::web::payload::quoted;
use super::super::web::protocol::Unusable;
use crate::codec::resample::Rate;
use crate::dtmf::Press;
use crate::media_plane::{AgentNotice, CallDirection, TransferRequest, WebSpec};
use crate::playout::Reached;

/// Ticks of the RTP clock a millisecond, by which jambonz counts how long a key was held.
const TICKS_A_MILLISECOND: u128 = 8;

/// What a bot says, beside audio.
#[derive(Debug)]
pub enum FromBot<'a> {
    /// Forget what has not been played.
    KillAudio,
    /// Tell me when what I sent so far has been played.
    Mark(Cow<'a, str>),
    /// Do not tell me of marks any more.
    ClearMarks,
    /// Hang up.
    Disconnect,
    /// Play this.
    PlayAudio(PlayAudio<'a>),
    /// Transfer the call. jambonz has no such message.
    Transfer(TransferRequest),
    /// Something this gateway does not know.
    Unknown,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// A whole piece of audio.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlayAudio<'a> {
    #[serde(borrow)]
    audio_content: &'a RawValue,
    #[serde(borrow, default)]
    audio_content_type: Option<Cow<'a, str>>,
    /// A number, or that in quotes.
    #[serde(borrow, default)]
    sample_rate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    queue_play: Option<bool>,
}

impl<'a> FromBot<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// It is not JSON, or lacks what its type needs.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let Message { kind, data } = serde_json::from_str(text)?;
        let data = data.map_or("null", RawValue::get);
        Ok(match kind.as_ref() {
            "killAudio" => Self::KillAudio,
            "mark" => Self::Mark(serde_json::from_str::<Named<'_>>(data)?.name),
            "clearMarks" => Self::ClearMarks,
            "disconnect" => Self::Disconnect,
            "playAudio" => Self::PlayAudio(serde_json::from_str(data)?),
            "transfer" => Self::Transfer(serde_json::from_str(data)?),
            _ => Self::Unknown,
        })
    }
}

impl PlayAudio<'_> {
    /// What is between the quotes of the audio: base64.
    ///
    /// # Errors
    /// It is no string.
    pub fn audio(&self) -> Result<&str, Unusable> {
        quoted(self.audio_content.get()).ok_or(Unusable::Malformed)
    }

    /// Its sample rate, if it is one that is known, of audio without a header.
    pub fn rate(&self) -> Option<Rate> {
        let raw = self.audio_content_type.as_deref().unwrap_or("raw");
        let hertz = self.sample_rate?.get().trim_matches('"').parse().ok()?;
        Rate::of_hz(hertz).filter(|_| raw == "raw")
    }

    /// What to call it when it has been played.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Whether it is played in place of what is queued.
    pub fn interrupts(&self) -> bool {
        self.queue_play == Some(false)
    }
}

/// Writes our messages, each into the same buffer.
#[derive(Debug)]
pub struct Writer {
    rate: Rate,
    /// As they stand in JSON.
    call: String,
    account: String,
    from: String,
    to: String,
    direction: CallDirection,
    parameters: Vec<(String, String)>,
    buffer: String,
}

impl Writer {
    /// A writer for one `listen`.
    pub fn new(spec: &WebSpec, rate: Rate) -> Self {
        Self {
            rate,
            call: quote(&spec.call_sid),
            account: quote(&spec.account_sid),
            from: quote(&spec.from),
            to: quote(&spec.to),
            direction: spec.direction,
            parameters: spec.parameters.clone(),
            buffer: String::with_capacity(512),
        }
    }

    /// The first message: what call it is, with the `metadata` of the verb beside it, which go before.
    pub fn metadata(&mut self) -> &str {
        let rate = Format::Linear(self.rate).hertz().to_string();
        let direction = quote(self.direction.word());
        let own = [
            ("sampleRate", rate.as_str()),
            ("mixType", r#""mono""#),
            ("callSid", &self.call),
            ("callId", &self.call),
            ("accountSid", &self.account),
            ("direction", &direction),
            ("from", &self.from),
            ("to", &self.to),
            ("callStatus", r#""in-progress""#),
        ];
        self.buffer.clear();
        self.buffer.push('{');
        for (name, value) in own {
            if !self.parameters.iter().any(|(other, _)| other == name) {
                push(&mut self.buffer, format_args!(r#""{name}":{value},"#));
            }
        }
        for (name, value) in &self.parameters {
            string(&mut self.buffer, name);
            self.buffer.push(':');
            string(&mut self.buffer, value);
            self.buffer.push(',');
        }
        self.buffer.pop();
        self.buffer.push('}');
        &self.buffer
    }

    /// A key the caller pressed.
    pub fn dtmf(&mut self, press: &Press) -> &str {
        let ticks = press.duration.as_millis() * TICKS_A_MILLISECOND;
        self.buffer.clear();
        push(
            &mut self.buffer,
            format_args!(r#"{{"event":"dtmf","dtmf":"{}","duration":"{ticks}"}}"#, press.digit),
        );
        &self.buffer
    }

    /// A mark was reached.
    pub fn mark(&mut self, name: &str, reached: Reached) -> &str {
        self.buffer.clear();
        self.buffer.push_str(r#"{"type":"mark","data":{"name":"#);
        string(&mut self.buffer, name);
        self.buffer.push_str(match reached {
            Reached::Played => r#","event":"playout"}}"#,
            Reached::Cleared => r#","event":"cleared"}}"#,
        });
        &self.buffer
    }

    /// What a `playAudio` wanted played has been.
    pub fn play_done(&mut self, id: &str) -> &str {
        self.buffer.clear();
        self.buffer.push_str(r#"{"type":"playDone""#);
        if !id.is_empty() {
            self.buffer.push_str(r#","data":{"id":"#);
            string(&mut self.buffer, id);
            self.buffer.push('}');
        }
        self.buffer.push('}');
        &self.buffer
    }

    /// How far a transfer of the call has come.
    pub fn transfer(&mut self, notice: &AgentNotice) -> &str {
        self.buffer.clear();
        self.buffer.push_str(r#"{"type":"transfer","data":"#);
        transfer(&mut self.buffer, notice, "sipStatus");
        self.buffer.push('}');
        &self.buffer
    }
}
