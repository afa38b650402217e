//! jambonz's `listen` verb with `bidirectionalAudio.streaming` and `passDtmf`. The gateway takes the place of jambonz.
//! <https://docs.jambonz.org/verbs/verbs/listen>
//!
//! Audio is binary both ways, and the first message says of what call it is. [`messages`] are the texts.

mod messages;

use self::messages::{FromBot, PlayAudio, Writer};
use super::sound::{self, Format};
use super::web::payload::Decoder;
use super::web::protocol::{End, Protocol, Said, Sent, Unusable};
use super::web::socket::Socket;
use crate::codec::resample::Rate;
use crate::dtmf::Press;
use crate::media_plane::{AgentNotice, WebSpec};
use crate::playout::{Mark, Reached};

/// One `listen`.
pub struct Jambonz {
    writer: Writer,
    to_bot: sound::ToBot,
    from_bot: sound::FromBot,
    decoder: Decoder,
}

/// What a mark in the queue stands for; its name begins with the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A mark of the bot.
    Mark,
    /// The end of what a `playAudio` plays.
    End,
}

impl Place {
    const MARK: char = 'm';
    const END: char = 'e';

    fn name(self, name: &str) -> String {
        let letter = match self {
            Self::Mark => Self::MARK,
            Self::End => Self::END,
        };
        format!("{letter}{name}")
    }

    fn of(name: &str) -> (Self, &str) {
        match name.strip_prefix(Self::END) {
            Some(name) => (Self::End, name),
            None => (Self::Mark, name.strip_prefix(Self::MARK).unwrap_or(name)),
        }
    }
}

impl Jambonz {
    /// A `listen` at this sample rate, both ways.
    pub fn new(spec: &WebSpec, rate: Rate) -> Self {
        Self {
            writer: Writer::new(spec, rate),
            to_bot: sound::ToBot::new(Format::Linear(rate)),
            from_bot: sound::FromBot::new(Format::Linear(rate)),
            decoder: Decoder::default(),
        }
    }

    /// Plays a whole piece of audio that came as text.
    fn play(&mut self, piece: &PlayAudio<'_>, said: &mut Said<'_>) -> Result<(), Unusable> {
        let rate = piece.rate().ok_or(Unusable::Malformed)?;
        let bytes = self.decoder.decode(piece.audio()?).map_err(|_| Unusable::Malformed)?;
        if piece.interrupts() {
            said.playout.clear();
        }
        said.play(sound::FromBot::new(Format::Linear(rate)).turn(bytes));
        said.playout.mark(Place::End.name(piece.id()));
        Ok(())
    }
}

impl Protocol for Jambonz {
    // The documentation has the first; releases of jambonz from source, and its SDK, the second.
    const SUBPROTOCOLS: Option<&'static str> = Some("audio.jambonz.org, audio.drachtio.org");

    fn start(&mut self, socket: &mut Socket) -> Sent {
        socket.send(self.writer.metadata())
    }

    fn audio(&mut self, ulaw: &[u8], socket: &mut Socket) -> Sent {
        socket.send_binary(self.to_bot.turn(ulaw))
    }

    fn digit(&mut self, press: &Press, socket: &mut Socket) -> Sent {
        socket.send(self.writer.dtmf(press))
    }

    fn mark(&mut self, mark: &Mark, socket: &mut Socket) -> Sent {
        match (Place::of(&mark.name), mark.reached) {
            ((Place::Mark, name), reached) => socket.send(self.writer.mark(name, reached)),
            ((Place::End, id), Reached::Played) => socket.send(self.writer.play_done(id)),
            ((Place::End, _), Reached::Cleared) => Ok(()),
        }
    }

    /// jambonz has no such message; bots pass over what they do not know.
    fn notice(&mut self, notice: &AgentNotice, socket: &mut Socket) -> Sent {
        socket.send(self.writer.transfer(notice))
    }

    /// jambonz says nothing before it closes.
    fn stop(&mut self, _socket: &mut Socket) -> Sent {
        Ok(())
    }

    fn text(&mut self, text: &str, said: &mut Said<'_>) -> Result<(), Unusable> {
        match FromBot::parse(text).map_err(|_| Unusable::Malformed)? {
            FromBot::KillAudio => {
                said.playout.clear();
                self.from_bot.restart();
            }
            FromBot::Mark(name) => said.playout.mark(Place::Mark.name(&name)),
            FromBot::ClearMarks => said.playout.forget_marks(),
            FromBot::Disconnect => said.wishes.end = End::Now,
            FromBot::Transfer(request) => said.wishes.transfer = Some(request),
            FromBot::PlayAudio(piece) => return self.play(&piece, said),
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
