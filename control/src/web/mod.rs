//! Requests that the gateway makes over HTTP: for documents and files of applications, and to tell of calls.
//!
//! The gateway's core says what is to be asked ([`Request`]) and is told what came of it ([`Answer`]); [`client`] is the only
//! one that does I/O, on tasks of its own. [`audio`] makes samples of files, [`form`] writes parameters.

mod allowed;
pub mod audio;
mod cache;
pub mod client;
mod form;

use std::sync::Arc;

pub use self::allowed::AllowedHosts;
use crate::sip::digest::Secret;
use crate::twiml::application::Page;
use crate::twiml::{Link, Problem};

/// Names one request of the core's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Something that is asked of a web server.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Where, and how.
    pub link: Link,
    /// What it is told.
    pub parameters: Vec<(String, String)>,
    /// Signs it; `None`: it is not signed.
    pub auth_token: Option<Secret>,
    /// Where it may lead, redirects included.
    pub hosts: AllowedHosts,
    /// What is wanted of it.
    pub wants: Wants,
}

/// What is wanted of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Its text.
    Document,
    /// Its samples.
    Audio,
    /// That there is one.
    Nothing,
}

/// What a web server has answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A text.
    Document(Page),
    /// 8 kHz µ-law.
    Audio(Arc<[u8]>),
    /// Something.
    Nothing,
}

/// An answer, or why there is none.
pub type Answered = Result<Answer, Problem>;
