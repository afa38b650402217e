//! What Asterisk tells a bot: a line, or a JSON object.

use super::super::sound::Format;
use super::super::web::json::{pairs, push, quote, string};
use super::super::web::uuid;
use crate::codec::resample::Rate;
use crate::media_plane::WebSpec;

/// Milliseconds of a frame.
const PTIME: usize = 20;

/// What control messages look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlMessages {
    /// Lines of words: what Asterisk does unless it is configured otherwise.
    #[default]
    PlainText,
    /// JSON objects.
    Json,
}

/// How things are.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Frames that wait to be played.
    pub queue_length: usize,
    /// Below so many, the bot is told to go on.
    pub xon_level: usize,
    /// Above so many, it is told to pause.
    pub xoff_level: usize,
    /// It was told to pause.
    pub queue_full: bool,
    /// It sends in bulk.
    pub bulk_media: bool,
    /// It has paused what is played.
    pub media_paused: bool,
}

/// Writes events, each into the same buffer.
#[derive(Debug)]
pub struct Events {
    control: ControlMessages,
    format: Format,
    connection: String,
    channel: String,
    variables: Vec<(String, String)>,
    buffer: String,
}

impl Events {
    /// A writer for one channel.
    pub fn new(spec: &WebSpec, format: Format, control: ControlMessages) -> Self {
        Self {
            control,
            format,
            connection: uuid(&spec.stream_sid),
            channel: spec.call_sid.clone(),
            variables: spec.parameters.clone(),
            buffer: String::with_capacity(512),
        }
    }

    /// `MEDIA_START`, the first message.
    pub fn media_start(&mut self) -> &str {
        let format = name(self.format);
        let frame = PTIME * self.format.bytes_a_millisecond();
        match self.control {
            ControlMessages::PlainText => {
                self.buffer.clear();
                push(
                    &mut self.buffer,
                    format_args!(
                        "MEDIA_START connection_id:{connection} channel:WebSocket/{channel} channel_id:{channel} \
                         format:{format} optimal_frame_size:{frame} ptime:{PTIME}",
                        connection = self.connection,
                        channel = self.channel,
                    ),
                );
            }
            ControlMessages::Json => {
                self.object("MEDIA_START");
                let connection = quote(&self.connection);
                let channel = quote(&format!("WebSocket/{}", self.channel));
                push(
                    &mut self.buffer,
                    format_args!(
                        r#","connection_id":{connection},"channel":{channel},"format":"{format}","optimal_frame_size":{frame},"ptime":{PTIME},"channel_variables":{{"#
                    ),
                );
                pairs(&mut self.buffer, &self.variables);
                self.buffer.push_str("}}");
            }
        }
        &self.buffer
    }

    /// An event that says all by its name.
    pub fn bare(&mut self, event: &str) -> &str {
        match self.control {
            ControlMessages::PlainText => {
                self.buffer.clear();
                self.buffer.push_str(event);
            }
            ControlMessages::Json => {
                self.object(event);
                self.buffer.push('}');
            }
        }
        &self.buffer
    }

    /// An event that answers a command, with the `id` of that, which may be empty.
    pub fn correlated(&mut self, event: &str, id: &str) -> &str {
        match self.control {
            ControlMessages::PlainText => {
                self.buffer.clear();
                self.buffer.push_str(event);
                if !id.is_empty() {
                    self.buffer.push(' ');
                    self.buffer.push_str(id);
                }
            }
            ControlMessages::Json => {
                self.object(event);
                self.buffer.push_str(r#","correlation_id":"#);
                string(&mut self.buffer, id);
                self.buffer.push('}');
            }
        }
        &self.buffer
    }

    /// `DTMF_END`: a key the caller pressed.
    pub fn dtmf_end(&mut self, digit: char) -> &str {
        match self.control {
            ControlMessages::PlainText => {
                self.buffer.clear();
                let channel = &self.channel;
                push(
                    &mut self.buffer,
                    format_args!("DTMF_END digit:{digit} channel_id:{channel}"),
                );
            }
            ControlMessages::Json => {
                self.object("DTMF_END");
                push(&mut self.buffer, format_args!(r#","digit":"{digit}"}}"#));
            }
        }
        &self.buffer
    }

    /// `STATUS`
    pub fn status(&mut self, status: &Status) -> &str {
        let Status {
            queue_length,
            xon_level,
            xoff_level,
            queue_full,
            bulk_media,
            media_paused,
        } = status;
        match self.control {
            ControlMessages::PlainText => {
                self.buffer.clear();
                let channel = &self.channel;
                push(
                    &mut self.buffer,
                    format_args!(
                        "STATUS channel_id:{channel} queue_length:{queue_length} xon_level:{xon_level} \
                         xoff_level:{xoff_level} queue_full:{queue_full} bulk_media:{bulk_media} \
                         media_paused:{media_paused}"
                    ),
                );
            }
            ControlMessages::Json => {
                self.object("STATUS");
                push(
                    &mut self.buffer,
                    format_args!(
                        r#","queue_length":{queue_length},"xon_level":{xon_level},"xoff_level":{xoff_level},"queue_full":{queue_full},"bulk_media":{bulk_media},"media_paused":{media_paused}}}"#
                    ),
                );
            }
        }
        &self.buffer
    }

    /// `ERROR`: what the bot did wrong.
    pub fn error(&mut self, what: &str) -> &str {
        match self.control {
            ControlMessages::PlainText => {
                self.buffer.clear();
                let channel = &self.channel;
                push(
                    &mut self.buffer,
                    format_args!("ERROR channel_id:{channel} error_text:{what}"),
                );
            }
            ControlMessages::Json => {
                self.object("ERROR");
                self.buffer.push_str(r#","error_text":"#);
                string(&mut self.buffer, what);
                self.buffer.push('}');
            }
        }
        &self.buffer
    }

    /// The beginning of an object, up to its next member.
    fn object(&mut self, event: &str) {
        self.buffer.clear();
        push(&mut self.buffer, format_args!(r#"{{"event":"{event}","channel_id":"#));
        string(&mut self.buffer, &self.channel);
    }
}

/// What Asterisk calls a format.
fn name(format: Format) -> &'static str {
    match format {
        Format::Ulaw => "ulaw",
        Format::Alaw => "alaw",
        Format::Linear(Rate::Khz8) => "slin",
        Format::Linear(Rate::Khz16) => "slin16",
        Format::Linear(Rate::Khz24) => "slin24",
        Format::Linear(Rate::Khz48) => "slin48",
    }
}
