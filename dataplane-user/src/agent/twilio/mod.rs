//! Twilio Media Streams, both ways (`<Connect><Stream>`). [`messages`] are the messages, as text.

mod messages;
mod one_way;

use self::messages::{CONNECTED, Writer};
pub use self::one_way::OneWay;
use super::web::from_bot::FromBot;
use super::web::payload::Decoder;
use super::web::protocol::{Protocol, Said, Sent, Unusable};
use super::web::socket::Socket;
use crate::dtmf::Press;
use crate::media_plane::{AgentNotice, TrackName, WebSpec};
use crate::playout::Mark;

/// µ-law bytes a millisecond.
const BYTES_PER_MS: u64 = 8;

/// One stream.
pub struct Twilio {
    writer: Writer,
    decoder: Decoder,
    parameters: Vec<(String, String)>,
    /// Audio sent to the bot, bytes.
    sent: u64,
}

impl Twilio {
    /// A stream that has not begun.
    pub fn new(spec: &WebSpec) -> Self {
        Self {
            writer: Writer::new(spec),
            decoder: Decoder::default(),
            parameters: spec.parameters.clone(),
            sent: 0,
        }
    }
}

impl Protocol for Twilio {
    fn start(&mut self, socket: &mut Socket) -> Sent {
        socket.send(CONNECTED)?;
        socket.send(self.writer.start(&self.parameters, &[TrackName::Inbound]))
    }

    fn audio(&mut self, ulaw: &[u8], socket: &mut Socket) -> Sent {
        let milliseconds = self.sent / BYTES_PER_MS;
        self.sent += ulaw.len() as u64;
        socket.send(self.writer.media(TrackName::Inbound, ulaw, milliseconds))
    }

    fn digit(&mut self, press: &Press, socket: &mut Socket) -> Sent {
        socket.send(self.writer.dtmf(TrackName::Inbound, press.digit))
    }

    fn mark(&mut self, mark: &Mark, socket: &mut Socket) -> Sent {
        socket.send(self.writer.mark(&mark.name))
    }

    fn notice(&mut self, notice: &AgentNotice, socket: &mut Socket) -> Sent {
        socket.send(self.writer.transfer(notice))
    }

    fn stop(&mut self, socket: &mut Socket) -> Sent {
        socket.send(self.writer.stop())
    }

    fn text(&mut self, text: &str, said: &mut Said<'_>) -> Result<(), Unusable> {
        match FromBot::parse(text).map_err(|_| Unusable::Malformed)? {
            FromBot::Media { payload } => {
                said.play(self.decoder.decode(payload).map_err(|_| Unusable::Malformed)?);
            }
            FromBot::Mark { name } => said.playout.mark(name.into_owned()),
            FromBot::Clear => said.playout.clear(),
            FromBot::Transfer(request) => said.wishes.transfer = Some(request),
            FromBot::Unknown => return Err(Unusable::Unknown),
        }
        Ok(())
    }

    fn binary(&mut self, _bytes: &[u8], _said: &mut Said<'_>) -> Result<(), Unusable> {
        Err(Unusable::Unknown)
    }
}
