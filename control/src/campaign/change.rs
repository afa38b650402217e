//! What is to become of a call that is alive, and who asks for it.

use serde::{Deserialize, Serialize};

use super::PlaceError;
use crate::twiml::application::Source;
use crate::twiml::{Document, Link};

/// A document, as a request writes it: where it is to be had, or itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenDocument {
    /// Asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice_url: Option<String>,
    /// How that is asked: `POST` unless written, or `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice_method: Option<String>,
    /// The document itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twiml: Option<String>,
}

impl WrittenDocument {
    /// Reads what is written; `None` if nothing is.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn source(&self) -> Result<Option<Source>, String> {
        match (&self.voice_url, &self.twiml) {
            (Some(_), Some(_)) => Err("voice_url and twiml are both written; keep one of them".to_owned()),
            (Some(url), None) => Ok(Some(Source::Link(Link::read(url, self.voice_method.as_deref())?))),
            (None, Some(text)) => {
                Document::parse(text, None).map_err(|problem| problem.to_string())?;
                Ok(Some(Source::Text(text.clone())))
            }
            (None, None) => Ok(None),
        }
    }
}

/// `POST /v1/calls/{call}`: what is to become of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallUpdate {
    /// The document that takes the place of what is being done.
    #[serde(flatten)]
    pub document: WrittenDocument,
    /// Whether the call is ended instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hang_up: bool,
}

impl CallUpdate {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self) -> Result<Change, PlaceError> {
        let source = self.document.source().map_err(PlaceError::Request)?;
        match (source, self.hang_up) {
            (None, true) => Ok(Change::HangUp),
            (Some(source), false) => Ok(Change::Document(source)),
            (None, false) | (Some(_), true) => {
                let text = "write one of voice_url, twiml and hang_up".to_owned();
                Err(PlaceError::Request(text))
            }
        }
    }
}

/// What is to become of a call that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It goes on with this document.
    Document(Source),
    /// It ends, answered or not.
    HangUp,
    /// It is taken back, if it is not answered.
    TakeBack,
}

/// Who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// Whoever reaches the admin socket.
    Operator,
    /// Whoever has the credentials of the call's account.
    RestApi,
}

impl std::fmt::Display for Requester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Operator => "an operator",
            Self::RestApi => "the account's REST API",
        })
    }
}

/// What `POST /v1/calls/{call}` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// The call's whole name.
    pub call: String,
}
