//! A model of OpenAI's Realtime API, without a bot between it and the call: µ-law both ways. [`events`] are what is said.
//!
//! The model hears when the caller begins to speak. What it had said and was not played yet is forgotten then, and it is told
//! how much was heard. It ends and transfers its call by calling the functions [`HANG_UP`] and [`TRANSFER`], which is done once
//! what it said before has been played.

mod events;

use std::collections::VecDeque;

use serde::Deserialize;
use tracing::warn;

use self::events::{Call, Event, Writer};
use super::web::payload::Decoder;
use super::web::protocol::{End, Protocol, Said, Sent, Unusable, When};
use super::web::socket::Socket;
use crate::dtmf::Press;
use crate::media_plane::{AgentFailure, AgentNotice, TransferRequest, TransferState, WebSpec};
use crate::playout::{Mark, Playout};

/// The function by which a model ends its call.
pub const HANG_UP: &str = "hang_up";
/// The function by which it transfers it.
pub const TRANSFER: &str = "transfer_call";

/// µ-law bytes a millisecond.
const BYTES_PER_MS: u64 = 8;

/// One conversation.
pub struct OpenAi {
    writer: Writer,
    decoder: Decoder,
    /// What is said first: how the session is to be, and that the model may greet.
    opening: Vec<String>,
    stream: String,
    session: SessionState,
    /// Audio of the model that was queued, bytes.
    queued: u64,
    /// Whose audio is not all played, the first first.
    speech: VecDeque<Speech>,
    /// The response that is being said, and the one that the caller has cut short.
    response: String,
    cut_short: Option<String>,
    /// A function that was called, until the response with it is complete.
    called: Option<Call>,
    /// The call of the transfer that is under way.
    transferring: Option<String>,
    /// What is to be said at the next tick.
    replies: VecDeque<Reply>,
}

/// Whether the session is as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionState {
    Asked,
    Updated,
}

/// What an item of the conversation says.
#[derive(Debug)]
struct Speech {
    item: String,
    content: u64,
    /// How many bytes had been queued before it.
    begins: u64,
    length: u64,
}

/// An answer to something that the model has said.
#[derive(Debug)]
enum Reply {
    /// So much of an item was heard, milliseconds.
    Truncate(Speech, u64),
    /// What came of a call, as JSON.
    Output(String, String),
}

/// What [`TRANSFER`] is called with.
#[derive(Deserialize)]
struct Destination {
    to: String,
}

impl OpenAi {
    /// A conversation that has not begun.
    pub fn new(spec: &WebSpec) -> Self {
        Self {
            writer: Writer::new(),
            decoder: Decoder::default(),
            opening: spec.opening.clone(),
            stream: spec.stream_sid.clone(),
            session: SessionState::Asked,
            queued: 0,
            speech: VecDeque::new(),
            response: String::new(),
            cut_short: None,
            called: None,
            transferring: None,
            replies: VecDeque::new(),
        }
    }

    /// Queues what the model says.
    fn speak(
        &mut self,
        response: &str,
        item: &str,
        content: u64,
        payload: &str,
        said: &mut Said<'_>,
    ) -> Result<(), Unusable> {
        if self.cut_short.as_deref() == Some(response) {
            return Ok(());
        }
        if self.response != response {
            response.clone_into(&mut self.response);
        }
        let audio = self.decoder.decode(payload).map_err(|_| Unusable::Malformed)?;
        let refused = said.playout.push(audio);
        said.wishes.refused_bytes += refused as u64;
        let taken = (audio.len() - refused) as u64;
        self.forget_what_was_played(said.playout);
        match self.speech.back_mut() {
            Some(last) if last.item == item && last.content == content => last.length += taken,
            Some(_) | None => self.speech.push_back(Speech {
                item: item.to_owned(),
                content,
                begins: self.queued,
                length: taken,
            }),
        }
        self.queued += taken;
        Ok(())
    }

    /// How many bytes of what was queued have been played.
    fn played(&self, playout: &Playout) -> u64 {
        self.queued.saturating_sub(playout.queued() as u64)
    }

    fn forget_what_was_played(&mut self, playout: &Playout) {
        let played = self.played(playout);
        while self
            .speech
            .front()
            .is_some_and(|first| self.speech.len() > 1 && first.begins + first.length <= played)
        {
            self.speech.pop_front();
        }
    }

    /// The caller speaks: nothing more is played of what was said.
    fn interrupt(&mut self, playout: &mut Playout) {
        let played = self.played(playout);
        for speech in self.speech.drain(..) {
            let heard = played.saturating_sub(speech.begins);
            if heard < speech.length {
                let heard = heard / BYTES_PER_MS;
                self.replies.push_back(Reply::Truncate(speech, heard));
            }
        }
        playout.clear();
        if !self.response.is_empty() {
            self.cut_short = Some(std::mem::take(&mut self.response));
        }
    }

    /// A function was called, and the response with it is complete: it is done when all that was said has been played.
    fn carry_out(&mut self, call: Call, said: &mut Said<'_>) {
        match call.name.as_str() {
            HANG_UP => said.wishes.end = End::WhenPlayed,
            TRANSFER => match serde_json::from_str::<Destination>(&call.arguments) {
                Ok(Destination { to }) => {
                    said.wishes.transfer = Some(TransferRequest {
                        to,
                        trunk: None,
                        by: None,
                    });
                    said.wishes.transfer_when = When::Played;
                    self.transferring = Some(call.call_id);
                }
                Err(_) => self.refuse(call.call_id, "write {\"to\": \"+15550100\"}"),
            },
            _ => self.refuse(call.call_id, "there is no such function"),
        }
    }

    fn refuse(&mut self, call_id: String, why: &str) {
        let output = serde_json::json!({"status": "failed", "reason": why});
        self.replies.push_back(Reply::Output(call_id, output.to_string()));
    }

    fn told_of_an_error(&mut self, message: String, said: &mut Said<'_>) {
        warn!(stream = self.stream, "the Realtime API tells of an error: {message}");
        match self.session {
            // What it would say would not be µ-law.
            SessionState::Asked => said.wishes.failure = Some(AgentFailure::Refused(message)),
            SessionState::Updated => {}
        }
    }
}

impl Protocol for OpenAi {
    fn start(&mut self, socket: &mut Socket) -> Sent {
        self.opening.iter().try_for_each(|text| socket.send(text))
    }

    fn audio(&mut self, ulaw: &[u8], socket: &mut Socket) -> Sent {
        socket.send(self.writer.append(ulaw))
    }

    fn digit(&mut self, press: &Press, socket: &mut Socket) -> Sent {
        let text = format!("The caller pressed the key {}.", press.digit);
        socket.send(self.writer.note(&text))
    }

    fn mark(&mut self, _mark: &Mark, _socket: &mut Socket) -> Sent {
        Ok(())
    }

    fn notice(&mut self, notice: &AgentNotice, socket: &mut Socket) -> Sent {
        let failed = match notice.state {
            TransferState::Failed => self.transferring.take(),
            TransferState::Calling | TransferState::Ringing => None,
        };
        let Some(call_id) = failed else { return Ok(()) };
        let output = serde_json::json!({
            "status": "failed",
            "sip_status": notice.status,
            "reason": notice.reason,
        });
        socket.send(self.writer.output(&call_id, &output.to_string()))?;
        socket.send(self.writer.respond())
    }

    fn stop(&mut self, _socket: &mut Socket) -> Sent {
        Ok(())
    }

    fn text(&mut self, text: &str, said: &mut Said<'_>) -> Result<(), Unusable> {
        match Event::parse(text).map_err(|_| Unusable::Malformed)? {
            Event::Audio {
                response,
                item,
                content,
                payload,
            } => return self.speak(&response, &item, content, payload, said),
            Event::SpeechStarted => self.interrupt(said.playout),
            Event::Called(call) => self.called = Some(call),
            Event::ResponseDone { is_complete } => {
                if let Some(call) = self.called.take().filter(|_| is_complete) {
                    self.carry_out(call, said);
                }
            }
            Event::SessionUpdated => self.session = SessionState::Updated,
            Event::Error { message } => self.told_of_an_error(message, said),
            Event::Other => {}
        }
        Ok(())
    }

    fn binary(&mut self, _bytes: &[u8], _said: &mut Said<'_>) -> Result<(), Unusable> {
        Err(Unusable::Unknown)
    }

    fn tick(&mut self, _playout: &mut Playout, socket: &mut Socket) -> Sent {
        while let Some(reply) = self.replies.pop_front() {
            match reply {
                Reply::Truncate(speech, heard) => {
                    socket.send(self.writer.truncate(&speech.item, speech.content, heard))?;
                }
                Reply::Output(call_id, output) => {
                    socket.send(self.writer.output(&call_id, &output))?;
                    socket.send(self.writer.respond())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
