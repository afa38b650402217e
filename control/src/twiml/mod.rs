//! TwiML: what a web application answers when it is asked what is to become of a call.
//!
//! - [`document`]: from text to [`verbs`], or to a [`Problem`] that names the line and the verb;
//! - [`verbs`]: what a document asks for, typed;
//! - [`application`]: carries documents out, verb after verb: a state machine without I/O, which a call holds.
//!
//! What is understood, and what is not, says `docs/twiml.md`.

pub mod application;
pub mod document;
pub mod verbs;

use serde::{Deserialize, Serialize};
use url::Url;

pub use application::Application;
pub use document::Document;

/// Something that is wrong with an application or with what it answers. Codes are Twilio's, from its error dictionary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Twilio's error code.
    pub code: u16,
    /// In words, with the line where a document is at fault.
    pub text: String,
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

/// Twilio's error codes, as far as they are used.
pub mod code {
    /// A document or file could not be fetched, or was refused by its server.
    pub const HTTP_RETRIEVAL: u16 = 11_200;
    /// A host that the account's documents may not name.
    pub const FORBIDDEN_HOST: u16 = 11_210;
    /// Documents that follow one another without an end.
    pub const TOO_MANY_REDIRECTS: u16 = 11_215;
    /// A document that is not XML.
    pub const NOT_XML: u16 = 12_100;
    /// A document that does not begin with Response.
    pub const WRONG_ROOT: u16 = 12_102;
    /// A verb, noun, attribute or value that there is not.
    pub const SCHEMA: u16 = 12_200;
    /// A document or file of another type.
    pub const CONTENT_TYPE: u16 = 12_300;
    /// Dial cannot call whom it names.
    pub const DIAL_FORBIDDEN: u16 = 13_201;
    /// Dial shows a number that may not be shown.
    pub const CALLER_ID: u16 = 13_214;
    /// Refer cannot be carried out.
    pub const REFER: u16 = 13_700;
    /// A stream whose WebSocket could not be opened, or broke.
    pub const STREAM: u16 = 31_920;
    /// A stream's URL that is none.
    pub const STREAM_URL: u16 = 31_921;
}

/// How a URL is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Parameters in the query.
    Get,
    /// Parameters as a form.
    #[default]
    Post,
}

impl Method {
    /// Reads `GET` or `POST`, in either case.
    pub fn named(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "GET" => Some(Self::Get),
            "POST" => Some(Self::Post),
            _ => None,
        }
    }

    /// Reads it where somebody has written it for us.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn read(text: &str) -> Result<Self, String> {
        Self::named(text).ok_or_else(|| format!("{text:?} is neither \"GET\" nor \"POST\""))
    }
}

/// A URL, and how it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `http://…` or `https://…`.
    pub url: Url,
    /// How.
    pub method: Method,
}

impl Link {
    /// Reads a URL and how it is asked for: by `POST`, unless that is written.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn read(url: &str, method: Option<&str>) -> Result<Self, String> {
        Ok(Self {
            url: web_url(url)?,
            method: method.map(Method::read).transpose()?.unwrap_or_default(),
        })
    }
}

/// Reads an absolute `http` or `https` URL.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    checked(url)
}

/// The URL, if it is one that can be asked for.
fn checked(url: Url) -> Result<Url, String> {
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err(format!("{url} is neither http:// nor https://")),
    }
}

/// A URL as a document writes it: absolute, or relative to where the document came from.
fn url_from(text: &str, base: Option<&Url>) -> Result<Url, String> {
    let text = text.trim();
    let parsed = match base {
        Some(base) => base.join(text),
        None => Url::parse(text),
    };
    checked(parsed.map_err(|error| format!("{text:?} is not a URL: {error}"))?)
}
