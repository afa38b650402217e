//! Telnyx media streaming, both ways (`stream_bidirectional_mode` is `rtp`).
//! <https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming>
//!
//! It is Twilio's protocol with other names; what bots say is the same: [`FromBot`].

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::sound::{self, Format};
use super::web::from_bot::FromBot;
use super::web::json::{pairs, push, quote, string, transfer};
use super::web::payload::Decoder;
use super::web::protocol::{Protocol, Said, Sent, Unusable};
use super::web::socket::Socket;
use super::web::{time, uuid};
use crate::dtmf::Press;
use crate::media_plane::{AgentNotice, WebSpec};
use crate::playout::{Mark, Playout};

/// The first message.
const CONNECTED: &str = r#"{"event":"connected","version":"1.0.0"}"#;

/// µ-law bytes a millisecond.
const BYTES_PER_MS: u64 = 8;

/// Bytes of audio in one message.
const LONGEST_AUDIO: usize = 30 * 8000;

/// One stream.
pub struct Telnyx {
    /// As they stand in JSON.
    stream_id: String,
    user_id: String,
    call_control_id: String,
    from: String,
    to: String,
    parameters: Vec<(String, String)>,
    encoding: Encoding,
    to_bot: sound::ToBot,
    from_bot: sound::FromBot,
    decoder: Decoder,
    sequence: u64,
    chunk: u64,
    /// Audio sent to the bot, bytes of µ-law.
    sent: u64,
    /// The bot's last mistake, until it is told.
    mistake: Option<Mistake>,
    buffer: String,
}

/// What audio is coded with, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// G.711 µ-law.
    #[default]
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    fn format(self) -> Format {
        match self {
            Self::Pcmu => Format::Ulaw,
            Self::Pcma => Format::Alaw,
        }
    }
}

/// What a bot has done wrong, as Telnyx tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    Malformed,
    NotBase64,
}

impl Mistake {
    /// Code, title and detail.
    fn told(self) -> (u32, &'static str, &'static str) {
        match self {
            Self::Malformed => (100_003, "malformed_frame", "Received frame was not formed correctly"),
            Self::NotBase64 => (100_004, "invalid_media", "Media provided was not base64 encoded"),
        }
    }
}

impl Telnyx {
    /// A stream that has not begun.
    pub fn new(spec: &WebSpec, encoding: Encoding) -> Self {
        Self {
            stream_id: quote(&uuid(&spec.stream_sid)),
            user_id: quote(&spec.account_sid),
            call_control_id: quote(&spec.call_sid),
            from: quote(&spec.from),
            to: quote(&spec.to),
            parameters: spec.parameters.clone(),
            encoding,
            to_bot: sound::ToBot::new(encoding.format()),
            from_bot: sound::FromBot::new(encoding.format()),
            decoder: Decoder::default(),
            sequence: 0,
            chunk: 0,
            sent: 0,
            mistake: None,
            buffer: String::with_capacity(512),
        }
    }

    /// A numbered message, but for its end.
    fn begin(&mut self, event: &str) {
        self.sequence += 1;
        self.buffer.clear();
        push(
            &mut self.buffer,
            format_args!(r#"{{"event":"{event}","sequence_number":"{}","#, self.sequence),
        );
    }

    /// Its end.
    fn end(&mut self) -> &str {
        push(&mut self.buffer, format_args!(r#","stream_id":{}}}"#, self.stream_id));
        &self.buffer
    }

    fn started(&mut self) -> &str {
        self.begin("start");
        let Self {
            buffer,
            user_id,
            call_control_id: call,
            from,
            to,
            ..
        } = self;
        push(
            buffer,
            format_args!(
                r#""start":{{"user_id":{user_id},"call_control_id":{call},"call_session_id":{call},"from":{from},"to":{to},"#
            ),
        );
        buffer.push_str(r#""tags":[],"custom_parameters":{"#);
        pairs(buffer, &self.parameters);
        push(
            buffer,
            format_args!(
                r#"}},"media_format":{{"encoding":"{}","sample_rate":8000,"channels":1}}}}"#,
                self.encoding.name()
            ),
        );
        self.end()
    }

    fn media(&mut self, ulaw: &[u8]) -> &str {
        self.chunk += 1;
        let milliseconds = self.sent / BYTES_PER_MS;
        self.sent += ulaw.len() as u64;
        self.begin("media");
        push(
            &mut self.buffer,
            format_args!(
                r#""media":{{"track":"inbound","chunk":"{}","timestamp":"{milliseconds}","payload":""#,
                self.chunk
            ),
        );
        STANDARD.encode_string(self.to_bot.turn(ulaw), &mut self.buffer);
        self.buffer.push_str("\"}");
        self.end()
    }

    fn pressed(&mut self, digit: char, at: SystemTime) -> &str {
        self.begin("dtmf");
        push(
            &mut self.buffer,
            format_args!(r#""occurred_at":"{}","#, time::rfc3339(at)),
        );
        push(&mut self.buffer, format_args!(r#""dtmf":{{"digit":"{digit}"}}"#));
        self.end()
    }

    fn reached(&mut self, name: &str) -> &str {
        self.begin("mark");
        self.buffer.push_str(r#""mark":{"name":"#);
        string(&mut self.buffer, name);
        self.buffer.push('}');
        self.end()
    }

    fn stopped(&mut self) -> &str {
        self.begin("stop");
        push(
            &mut self.buffer,
            format_args!(
                r#""stop":{{"user_id":{},"call_control_id":{}}}"#,
                self.user_id, self.call_control_id
            ),
        );
        self.end()
    }

    /// `error`, which is not numbered.
    fn refused(&mut self, mistake: Mistake) -> &str {
        let (code, title, detail) = mistake.told();
        self.buffer.clear();
        push(
            &mut self.buffer,
            format_args!(r#"{{"event":"error","payload":{{"code":{code},"title":"{title}","detail":"{detail}"}}"#),
        );
        self.end()
    }

    fn take(&mut self, text: &str, said: &mut Said<'_>) -> Result<(), Mistake> {
        match FromBot::parse(text).map_err(|_| Mistake::Malformed)? {
            FromBot::Media { payload } => {
                let audio = self.decoder.decode(payload).map_err(|_| Mistake::NotBase64)?;
                if audio.len() > LONGEST_AUDIO {
                    return Err(Mistake::Malformed);
                }
                said.play(self.from_bot.turn(audio));
            }
            FromBot::Mark { name } => said.playout.mark(name.into_owned()),
            FromBot::Clear => said.playout.clear(),
            FromBot::Transfer(request) => said.wishes.transfer = Some(request),
            FromBot::Unknown => return Err(Mistake::Malformed),
        }
        Ok(())
    }
}

impl Protocol for Telnyx {
    fn start(&mut self, socket: &mut Socket) -> Sent {
        socket.send(CONNECTED)?;
        socket.send(self.started())
    }

    fn audio(&mut self, ulaw: &[u8], socket: &mut Socket) -> Sent {
        socket.send(self.media(ulaw))
    }

    fn digit(&mut self, press: &Press, socket: &mut Socket) -> Sent {
        socket.send(self.pressed(press.digit, SystemTime::now()))
    }

    fn mark(&mut self, mark: &Mark, socket: &mut Socket) -> Sent {
        socket.send(self.reached(&mark.name))
    }

    /// Telnyx has no such message; bots pass over what they do not know.
    fn notice(&mut self, notice: &AgentNotice, socket: &mut Socket) -> Sent {
        self.begin("transfer");
        self.buffer.push_str(r#""transfer":"#);
        transfer(&mut self.buffer, notice, "sip_status");
        socket.send(self.end())
    }

    fn stop(&mut self, socket: &mut Socket) -> Sent {
        socket.send(self.stopped())
    }

    fn text(&mut self, text: &str, said: &mut Said<'_>) -> Result<(), Unusable> {
        self.take(text, said).map_err(|mistake| {
            self.mistake = Some(mistake);
            Unusable::Malformed
        })
    }

    fn binary(&mut self, _bytes: &[u8], _said: &mut Said<'_>) -> Result<(), Unusable> {
        self.mistake = Some(Mistake::Malformed);
        Err(Unusable::Malformed)
    }

    fn tick(&mut self, _playout: &mut Playout, socket: &mut Socket) -> Sent {
        match self.mistake.take() {
            Some(mistake) => socket.send(self.refused(mistake)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
