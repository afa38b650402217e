//! Our own simplest form: audio is binary, everything else is a JSON object with a `type`. docs/agents/pcm16.md has it for
//! who writes a bot.

use std::time::Duration;

use serde::Deserialize;

use super::sound::{self, Format};
use super::web::json::{pairs, push, quote, string, transfer};
use super::web::protocol::{End, Protocol, Said, Sent, Unusable};
use super::web::socket::Socket;
use crate::codec::resample::Rate;
use crate::dtmf::Press;
use crate::media_plane::{AgentNotice, CallDirection, TransferRequest, WebSpec};
use crate::playout::{Mark, Reached};

/// How long a key is held.
const KEY: Duration = Duration::from_millis(100);

/// One conversation.
pub struct Pcm16 {
    rate: Rate,
    /// As they stand in JSON.
    stream: String,
    call: String,
    account: String,
    from: String,
    to: String,
    direction: CallDirection,
    parameters: Vec<(String, String)>,
    to_bot: sound::ToBot,
    from_bot: sound::FromBot,
    buffer: String,
}

/// What a bot says, beside audio.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum FromBot {
    /// Forget what has not been played.
    Clear,
    /// Tell me when what I sent so far has been played.
    Mark {
        /// What to call it.
        name: String,
    },
    /// Transfer the call.
    Transfer(TransferRequest),
    /// Press keys.
    Dtmf {
        /// Which.
        digits: String,
    },
    /// Hang up, once all that is queued has been played.
    Hangup,
    #[serde(other)]
    Unknown,
}

impl Pcm16 {
    /// A conversation at this sample rate.
    pub fn new(spec: &WebSpec, rate: Rate) -> Self {
        Self {
            rate,
            stream: quote(&spec.stream_sid),
            call: quote(&spec.call_sid),
            account: quote(&spec.account_sid),
            from: quote(&spec.from),
            to: quote(&spec.to),
            direction: spec.direction,
            parameters: spec.parameters.clone(),
            to_bot: sound::ToBot::new(Format::Linear(rate)),
            from_bot: sound::FromBot::new(Format::Linear(rate)),
            buffer: String::with_capacity(512),
        }
    }

    fn started(&mut self) -> &str {
        let Self {
            stream,
            call,
            account,
            from,
            to,
            ..
        } = self;
        let (direction, rate) = (self.direction.word(), Format::Linear(self.rate).hertz());
        self.buffer.clear();
        push(
            &mut self.buffer,
            format_args!(
                r#"{{"type":"start","sample_rate":{rate},"stream":{stream},"call":{call},"account":{account},"from":{from},"to":{to},"direction":"{direction}","parameters":{{"#
            ),
        );
        pairs(&mut self.buffer, &self.parameters);
        self.buffer.push_str("}}");
        &self.buffer
    }

    fn pressed(&mut self, digit: char) -> &str {
        self.buffer.clear();
        push(&mut self.buffer, format_args!(r#"{{"type":"dtmf","digit":"{digit}"}}"#));
        &self.buffer
    }

    fn reached(&mut self, mark: &Mark) -> &str {
        self.buffer.clear();
        self.buffer.push_str(r#"{"type":"mark","name":"#);
        string(&mut self.buffer, &mark.name);
        self.buffer.push_str(match mark.reached {
            Reached::Played => r#","played":true}"#,
            Reached::Cleared => r#","played":false}"#,
        });
        &self.buffer
    }

    fn transferred(&mut self, notice: &AgentNotice) -> &str {
        self.buffer.clear();
        self.buffer.push_str(r#"{"type":"transfer","transfer":"#);
        transfer(&mut self.buffer, notice, "sip_status");
        self.buffer.push('}');
        &self.buffer
    }
}

impl Protocol for Pcm16 {
    fn start(&mut self, socket: &mut Socket) -> Sent {
        socket.send(self.started())
    }

    fn audio(&mut self, ulaw: &[u8], socket: &mut Socket) -> Sent {
        socket.send_binary(self.to_bot.turn(ulaw))
    }

    fn digit(&mut self, press: &Press, socket: &mut Socket) -> Sent {
        socket.send(self.pressed(press.digit))
    }

    fn mark(&mut self, mark: &Mark, socket: &mut Socket) -> Sent {
        socket.send(self.reached(mark))
    }

    fn notice(&mut self, notice: &AgentNotice, socket: &mut Socket) -> Sent {
        socket.send(self.transferred(notice))
    }

    fn stop(&mut self, socket: &mut Socket) -> Sent {
        socket.send(r#"{"type":"stop"}"#)
    }

    fn text(&mut self, text: &str, said: &mut Said<'_>) -> Result<(), Unusable> {
        match serde_json::from_str(text).map_err(|_| Unusable::Malformed)? {
            FromBot::Clear => {
                said.playout.clear();
                self.from_bot.restart();
            }
            FromBot::Mark { name } => said.playout.mark(name),
            FromBot::Transfer(request) => said.wishes.transfer = Some(request),
            FromBot::Dtmf { digits } => return said.press(&digits, KEY),
            FromBot::Hangup => said.wishes.end = End::WhenPlayed,
            FromBot::Unknown => return Err(Unusable::Unknown),
        }
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8], said: &mut Said<'_>) -> Result<(), Unusable> {
        said.play(self.from_bot.turn(bytes));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
