//! Asterisk's `chan_websocket`. The gateway takes Asterisk's place.
//! <https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/>
//!
//! Audio is binary both ways; [`commands`] come and [`events`] go as text. Flow control keeps to Asterisk's levels, but audio
//! beyond them is taken as long as the queue's own limit allows.

mod commands;
mod events;

use self::commands::{Command, Direction};
pub use self::events::ControlMessages;
use self::events::{Events, Status};
use super::sound::{self, Format};
use super::web::protocol::{End, Protocol, Said, Sent, Unusable};
use super::web::socket::Socket;
use crate::dtmf::Press;
use crate::media_plane::{AgentNotice, WebSpec};
use crate::playout::{Mark, Playout, Reached};

/// µ-law bytes of a frame as Asterisk counts them, 20 ms.
const FRAME: usize = 160;

/// Frames above which a bot is asked to pause, and below which to go on: Asterisk's.
const XOFF: usize = 900;
const XON: usize = 800;

/// One channel.
pub struct Asterisk {
    events: Events,
    to_bot: sound::ToBot,
    from_bot: sound::FromBot,
    direction: Direction,
    flow: Flow,
    buffering: Buffering,
    /// The bot wants to be told when the queue is empty.
    reports_drained: bool,
    /// The bot wants to know how things are.
    status_wanted: bool,
    /// What the bot did wrong last, until it is told.
    error: Option<String>,
}

/// Whether the bot is to pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Off,
}

/// Whether the bot sends in bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Buffering {
    No,
    Bulk,
}

/// What a mark in the queue stands for; its name begins with the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A mark of the bot.
    Mark,
    /// The end of what it sent in bulk.
    EndOfBulk,
}

impl Place {
    const MARK: char = 'm';
    const BULK: char = 'b';

    fn name(self, id: Option<&str>) -> String {
        let letter = match self {
            Self::Mark => Self::MARK,
            Self::EndOfBulk => Self::BULK,
        };
        format!("{letter}{}", id.unwrap_or_default())
    }

    fn of(name: &str) -> (Self, &str) {
        match name.strip_prefix(Self::BULK) {
            Some(id) => (Self::EndOfBulk, id),
            None => (Self::Mark, name.strip_prefix(Self::MARK).unwrap_or(name)),
        }
    }
}

impl Asterisk {
    /// A channel with this format, whose control messages are of this form.
    pub fn new(spec: &WebSpec, format: Format, control: ControlMessages) -> Self {
        Self {
            events: Events::new(spec, format, control),
            to_bot: sound::ToBot::new(format),
            from_bot: sound::FromBot::new(format),
            direction: Direction::Both,
            flow: Flow::On,
            buffering: Buffering::No,
            reports_drained: false,
            status_wanted: false,
            error: None,
        }
    }

    fn carry_out(&mut self, command: Command<'_>, said: &mut Said<'_>) {
        if self.direction == Direction::In && command.is_about_media() {
            self.error = Some(format!(
                "{} not supported while media direction is 'in'",
                command.name()
            ));
            return;
        }
        match command {
            // It was when the WebSocket opened.
            Command::Answer => {}
            Command::Hangup => said.wishes.end = End::Now,
            Command::StartMediaBuffering => self.buffering = Buffering::Bulk,
            Command::StopMediaBuffering(id) => {
                self.buffering = Buffering::No;
                said.playout.mark(Place::EndOfBulk.name(id.as_deref()));
            }
            Command::MarkMedia(id) => said.playout.mark(Place::Mark.name(id.as_deref())),
            Command::FlushMedia => {
                said.playout.clear();
                said.playout.go_on();
                self.from_bot.restart();
                self.buffering = Buffering::No;
            }
            Command::PauseMedia => said.playout.pause(),
            Command::ContinueMedia => said.playout.go_on(),
            Command::GetStatus => self.status_wanted = true,
            Command::ReportQueueDrained => self.reports_drained = true,
            Command::SetMediaDirection(direction) => self.direction = direction,
        }
    }

    /// Frames above which a bot is asked to pause, and below which to go on: less than Asterisk's where the queue holds less.
    fn levels(playout: &Playout) -> (usize, usize) {
        let frames = playout.limit() / FRAME;
        (XOFF.min(frames * 9 / 10), XON.min(frames * 8 / 10))
    }

    fn control_flow(&mut self, frames: usize, playout: &Playout, socket: &mut Socket) -> Sent {
        let (xoff, xon) = Self::levels(playout);
        match self.flow {
            Flow::On if frames >= xoff => {
                self.flow = Flow::Off;
                socket.send(self.events.bare("MEDIA_XOFF"))
            }
            Flow::Off if frames < xon => {
                self.flow = Flow::On;
                socket.send(self.events.bare("MEDIA_XON"))
            }
            Flow::On | Flow::Off => Ok(()),
        }
    }

    fn tell_status(&mut self, frames: usize, playout: &Playout, socket: &mut Socket) -> Sent {
        let (xoff_level, xon_level) = Self::levels(playout);
        let status = Status {
            queue_length: frames,
            xon_level,
            xoff_level,
            queue_full: self.flow == Flow::Off,
            bulk_media: self.buffering == Buffering::Bulk,
            media_paused: playout.is_paused(),
        };
        socket.send(self.events.status(&status))
    }
}

impl Protocol for Asterisk {
    const SUBPROTOCOLS: Option<&'static str> = Some("media");

    fn start(&mut self, socket: &mut Socket) -> Sent {
        socket.send(self.events.media_start())
    }

    fn audio(&mut self, ulaw: &[u8], socket: &mut Socket) -> Sent {
        match self.direction {
            Direction::Both | Direction::In => socket.send_binary(self.to_bot.turn(ulaw)),
            Direction::Out => Ok(()),
        }
    }

    fn digit(&mut self, press: &Press, socket: &mut Socket) -> Sent {
        socket.send(self.events.dtmf_end(press.digit))
    }

    /// Marks that were flushed are not told of, as Asterisk does.
    fn mark(&mut self, mark: &Mark, socket: &mut Socket) -> Sent {
        match (Place::of(&mark.name), mark.reached) {
            (_, Reached::Cleared) => Ok(()),
            ((Place::Mark, id), Reached::Played) => socket.send(self.events.correlated("MEDIA_MARK_PROCESSED", id)),
            ((Place::EndOfBulk, id), Reached::Played) => {
                socket.send(self.events.correlated("MEDIA_BUFFERING_COMPLETED", id))
            }
        }
    }

    /// Asterisk has no words for it.
    fn notice(&mut self, _notice: &AgentNotice, _socket: &mut Socket) -> Sent {
        Ok(())
    }

    /// Asterisk says nothing before it closes.
    fn stop(&mut self, _socket: &mut Socket) -> Sent {
        Ok(())
    }

    fn text(&mut self, text: &str, said: &mut Said<'_>) -> Result<(), Unusable> {
        match Command::parse(text) {
            Ok(command) => {
                self.carry_out(command, said);
                Ok(())
            }
            Err(Unusable::Malformed) => {
                self.error = Some("Unable to parse command".to_owned());
                Err(Unusable::Malformed)
            }
            Err(Unusable::Unknown) => Err(Unusable::Unknown),
        }
    }

    fn binary(&mut self, bytes: &[u8], said: &mut Said<'_>) -> Result<(), Unusable> {
        match self.direction {
            Direction::Both | Direction::Out => said.play(self.from_bot.turn(bytes)),
            Direction::In => {}
        }
        Ok(())
    }

    fn tick(&mut self, playout: &mut Playout, socket: &mut Socket) -> Sent {
        let frames = playout.queued().div_ceil(FRAME);
        self.control_flow(frames, playout, socket)?;
        if let Some(error) = self.error.take() {
            socket.send(self.events.error(&error))?;
        }
        if std::mem::take(&mut self.status_wanted) {
            self.tell_status(frames, playout, socket)?;
        }
        if frames == 0 && !playout.is_paused() && std::mem::take(&mut self.reports_drained) {
            socket.send(self.events.bare("QUEUE_DRAINED"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
