//! Twilio Media Streams one way (`<Start><Stream>`): tracks are told apart, and nothing is taken.

use super::super::web::protocol::{Protocol, Said, Sent, Unusable};
use super::super::web::socket::Socket;
use super::BYTES_PER_MS;
use super::messages::{CONNECTED, Writer};
use crate::dtmf::Press;
use crate::media_plane::{AgentNotice, TapSpec, TrackName};
use crate::playout::Mark;

/// One stream.
pub struct OneWay {
    writer: Writer,
    parameters: Vec<(String, String)>,
    tracks: Vec<TrackName>,
    /// Audio sent of each track, bytes.
    sent: [u64; 2],
}

impl OneWay {
    /// A stream that has not begun.
    pub fn new(spec: &TapSpec) -> Self {
        Self {
            writer: Writer::new(&spec.web),
            parameters: spec.web.parameters.clone(),
            tracks: spec.tracks.clone(),
            sent: [0; 2],
        }
    }

    /// Audio of a track.
    pub fn media(&mut self, track: TrackName, ulaw: &[u8], socket: &mut Socket) -> Sent {
        let sent = &mut self.sent[track as usize];
        let milliseconds = *sent / BYTES_PER_MS;
        *sent += ulaw.len() as u64;
        socket.send(self.writer.media(track, ulaw, milliseconds))
    }

    /// A key that was pressed.
    pub fn key(&mut self, track: TrackName, press: &Press, socket: &mut Socket) -> Sent {
        socket.send(self.writer.dtmf(track, press.digit))
    }
}

impl Protocol for OneWay {
    fn start(&mut self, socket: &mut Socket) -> Sent {
        socket.send(CONNECTED)?;
        socket.send(self.writer.start(&self.parameters, &self.tracks))
    }

    fn audio(&mut self, ulaw: &[u8], socket: &mut Socket) -> Sent {
        self.media(TrackName::Inbound, ulaw, socket)
    }

    fn digit(&mut self, press: &Press, socket: &mut Socket) -> Sent {
        self.key(TrackName::Inbound, press, socket)
    }

    fn mark(&mut self, _mark: &Mark, _socket: &mut Socket) -> Sent {
        Ok(())
    }

    fn notice(&mut self, _notice: &AgentNotice, _socket: &mut Socket) -> Sent {
        Ok(())
    }

    fn stop(&mut self, socket: &mut Socket) -> Sent {
        socket.send(self.writer.stop())
    }

    fn text(&mut self, _text: &str, _said: &mut Said<'_>) -> Result<(), Unusable> {
        // Twilio passes over what it is sent on such a stream, too.
        Err(Unusable::Unknown)
    }

    fn binary(&mut self, _bytes: &[u8], _said: &mut Said<'_>) -> Result<(), Unusable> {
        Err(Unusable::Unknown)
    }
}
