//! What Twilio Media Streams says to a bot, as text. What a bot says is [`FromBot`](super::super::web::from_bot::FromBot).
//!
//! Whatever Twilio writes as a number is a JSON string. <https://www.twilio.com/docs/voice/media-streams/websocket-messages>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::web::json::{pairs, push, quote, string, transfer};
use crate::media_plane::{AgentNotice, TrackName, WebSpec};

/// The first message: what is spoken here.
pub const CONNECTED: &str = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;

/// Writes our messages, numbered in order, each into the same buffer.
#[derive(Debug)]
pub struct Writer {
    /// As it stands in JSON.
    stream_sid: String,
    account_sid: String,
    call_sid: String,
    sequence: u64,
    /// Of each track.
    chunks: [u64; 2],
    buffer: String,
}

impl Writer {
    /// A writer for one stream.
    pub fn new(spec: &WebSpec) -> Self {
        Self {
            stream_sid: quote(&spec.stream_sid),
            account_sid: spec.account_sid.clone(),
            call_sid: spec.call_sid.clone(),
            sequence: 0,
            chunks: [0; 2],
            buffer: String::with_capacity(512),
        }
    }

    /// `start`, the first numbered message.
    pub fn start(&mut self, parameters: &[(String, String)], tracks: &[TrackName]) -> &str {
        let (account, call, stream) = (self.account_sid.clone(), self.call_sid.clone(), self.stream_sid.clone());
        self.message("start", |buffer| {
            buffer.push_str(r#""start":{"accountSid":"#);
            string(buffer, &account);
            buffer.push_str(r#","streamSid":"#);
            buffer.push_str(&stream);
            buffer.push_str(r#","callSid":"#);
            string(buffer, &call);
            buffer.push_str(r#","tracks":["#);
            for (place, track) in tracks.iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                push(buffer, format_args!(r#"{comma}"{}""#, track.word()));
            }
            buffer.push_str(
                r#"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{"#,
            );
            pairs(buffer, parameters);
            buffer.push_str("}}");
        })
    }

    /// `media`: audio of a track; `milliseconds` since the start of the stream.
    pub fn media(&mut self, track: TrackName, ulaw: &[u8], milliseconds: u64) -> &str {
        let chunk = &mut self.chunks[track as usize];
        *chunk += 1;
        let (chunk, track) = (*chunk, track.word());
        self.message("media", |buffer| {
            push(
                buffer,
                format_args!(
                    r#""media":{{"track":"{track}","chunk":"{chunk}","timestamp":"{milliseconds}","payload":""#
                ),
            );
            STANDARD.encode_string(ulaw, buffer);
            buffer.push_str("\"}");
        })
    }

    /// `dtmf`: a key that was pressed.
    pub fn dtmf(&mut self, track: TrackName, digit: char) -> &str {
        let track = track.word();
        self.message("dtmf", |buffer| {
            push(
                buffer,
                format_args!(r#""dtmf":{{"track":"{track}_track","digit":"{digit}"}}"#),
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
            buffer.push_str(r#""transfer":"#);
            transfer(buffer, notice, "sipStatus");
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::media_plane::{CallDirection, TransferState, WebProtocol};

    fn writer() -> Writer {
        Writer::new(&WebSpec {
            protocol: WebProtocol::Twilio,
            url: String::new(),
            addresses: Vec::new(),
            headers: Vec::new(),
            tls: None,
            account_sid: "AC1".into(),
            call_sid: "CA1".into(),
            stream_sid: "MZ1".into(),
            from: "+15550100".into(),
            to: "+15550200".into(),
            direction: CallDirection::Inbound,
            parameters: Vec::new(),
            connect_timeout: Duration::ZERO,
            silence_timeout: Duration::ZERO,
            limits: crate::media_plane::AgentLimits::default(),
            tally: std::sync::Arc::default(),
            opening: Vec::new(),
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
            value(writer.start(&parameters, &[TrackName::Inbound])),
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
            value(writer.media(TrackName::Inbound, &[0xff, 0x7f], 40)),
            json!({
                "event": "media", "sequenceNumber": "2", "streamSid": "MZ1",
                "media": {"track": "inbound", "chunk": "1", "timestamp": "40", "payload": "/38="},
            })
        );
        assert_eq!(
            value(writer.dtmf(TrackName::Inbound, '#')),
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

    proptest! {
        #[test]
        fn names_survive(name: String) {
            let mut writer = writer();
            prop_assert_eq!(&value(writer.mark(&name))["mark"]["name"], &Value::String(name));
        }
    }
}
