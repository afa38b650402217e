//! What a bot tells Asterisk to do: a line, or a JSON object. Either is understood, whichever is sent.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::web::protocol::Unusable;

/// A command, with the `correlation_id` that its answer is to have.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Answer the call.
    Answer,
    /// Hang up.
    Hangup,
    /// Audio that follows comes in pieces of any length.
    StartMediaBuffering,
    /// That was all of it.
    StopMediaBuffering(Option<Cow<'a, str>>),
    /// Tell me when what I sent so far has been played.
    MarkMedia(Option<Cow<'a, str>>),
    /// Forget what has not been played.
    FlushMedia,
    /// Play silence for now.
    PauseMedia,
    /// Play what is queued again.
    ContinueMedia,
    /// Say how things are.
    GetStatus,
    /// Tell me when the queue is empty.
    ReportQueueDrained,
    /// Send or take audio one way only.
    SetMediaDirection(Direction),
}

/// Which way audio goes, seen from the bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    Both,
    /// The bot only hears.
    In,
    /// It only speaks.
    Out,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    command: Cow<'a, str>,
    #[serde(borrow, default)]
    correlation_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    direction: Option<Cow<'a, str>>,
}

impl<'a> Command<'a> {
    /// Reads a command.
    ///
    /// # Errors
    /// It is no command, or one that is not known.
    pub fn parse(text: &'a str) -> Result<Self, Unusable> {
        let text = text.trim();
        if text.starts_with('{') {
            let object: Object<'a> = serde_json::from_str(text).map_err(|_| Unusable::Malformed)?;
            return Self::of(&object.command, object.correlation_id, object.direction.as_deref());
        }
        match text.split_once(' ') {
            Some((command, rest)) => Self::of(command, Some(Cow::Borrowed(rest)), Some(rest)),
            None => Self::of(text, None, None),
        }
    }

    fn of(command: &str, id: Option<Cow<'a, str>>, direction: Option<&str>) -> Result<Self, Unusable> {
        Ok(match command {
            "ANSWER" => Self::Answer,
            "HANGUP" => Self::Hangup,
            "START_MEDIA_BUFFERING" => Self::StartMediaBuffering,
            "STOP_MEDIA_BUFFERING" => Self::StopMediaBuffering(id),
            "MARK_MEDIA" => Self::MarkMedia(id),
            "FLUSH_MEDIA" => Self::FlushMedia,
            "PAUSE_MEDIA" => Self::PauseMedia,
            "CONTINUE_MEDIA" => Self::ContinueMedia,
            "GET_STATUS" => Self::GetStatus,
            "REPORT_QUEUE_DRAINED" => Self::ReportQueueDrained,
            "SET_MEDIA_DIRECTION" => Self::SetMediaDirection(match direction {
                Some("both") => Direction::Both,
                Some("in") => Direction::In,
                Some("out") => Direction::Out,
                Some(_) | None => return Err(Unusable::Malformed),
            }),
            _ => return Err(Unusable::Unknown),
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answer => "ANSWER",
            Self::Hangup => "HANGUP",
            Self::StartMediaBuffering => "START_MEDIA_BUFFERING",
            Self::StopMediaBuffering(_) => "STOP_MEDIA_BUFFERING",
            Self::MarkMedia(_) => "MARK_MEDIA",
            Self::FlushMedia => "FLUSH_MEDIA",
            Self::PauseMedia => "PAUSE_MEDIA",
            Self::ContinueMedia => "CONTINUE_MEDIA",
            Self::GetStatus => "GET_STATUS",
            Self::ReportQueueDrained => "REPORT_QUEUE_DRAINED",
            Self::SetMediaDirection(_) => "SET_MEDIA_DIRECTION",
        }
    }

    /// Whether it is about what the bot plays, which it may not while its direction is [`Direction::In`].
    pub fn is_about_media(&self) -> bool {
        match self {
            Self::StartMediaBuffering
            | Self::StopMediaBuffering(_)
            | Self::MarkMedia(_)
            | Self::PauseMedia
            | Self::ContinueMedia => true,
            Self::Answer
            | Self::Hangup
            | Self::FlushMedia
            | Self::GetStatus
            | Self::ReportQueueDrained
            | Self::SetMediaDirection(_) => false,
        }
    }
}
