//! Carries documents out, verb after verb: a state machine without I/O.
//!
//! ```text
//!  start ─► Fetching ─► (verbs that take no time) ─► Doing ─► done ─┬► the next verb
//!              ▲                                                    └► the action's document
//!              └──── Redirect, action, fallback ────────────────────┘
//! ```
//!
//! Whoever holds it does what each [`Output`] says, in order, and tells what came of it. When a document cannot be had or
//! carried out, its problem is reported and the fallback is asked, once; when that fails, too, the application gives up.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::verbs::{Instruction, Rejection, Start, Verb};
use super::{Document, Link, Problem, code};
use crate::time::Time;

/// Documents that may follow one another without a verb that takes time.
const MOST_HASTY: u32 = 20;
/// A verb that takes less has taken no time.
const SOME_TIME: Duration = Duration::from_secs(1);

/// Where an application begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Its first document is asked for.
    Link(Link),
    /// Its first document is this.
    Text(String),
}

/// What a call is given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Where it begins.
    pub source: Source,
    /// Asked for a document when another cannot be had or carried out.
    pub fallback: Option<Link>,
}

impl Script {
    /// What it is called in logs and reports: its URL without what may be secret, a user or a query.
    pub fn name(&self) -> String {
        match &self.source {
            Source::Text(_) => "twiml".to_owned(),
            Source::Link(Link { url, .. }) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let host = url.host_str().unwrap_or_default();
                format!("{}://{host}{port}{}", url.scheme(), url.path())
            }
        }
    }
}

/// What an application wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask for a document; answer with [`Application::fetched`].
    Fetch(Fetch),
    /// Do this, which takes time; answer with [`Application::done`].
    Do(Verb),
    /// Let somebody listen, and go on.
    Start(Box<Start>),
    /// End the stream of this name by which somebody listens, and go on.
    Stop(String),
    /// Tell whoever looks after the application.
    Report(Problem),
    /// Refuse the call; if it is answered, end it.
    Reject(Rejection),
    /// The documents are over: end the call.
    HangUp,
    /// Nothing can be done any more: end the call, which is not answered for that.
    GiveUp(Problem),
}

/// A document that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Tells it from others.
    pub request: u32,
    /// Where.
    pub link: Link,
    /// Said beside what every request says.
    pub parameters: Vec<(String, String)>,
}

/// A document as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it came from in the end.
    pub url: Url,
    /// What its server says it is, if it does.
    pub content_type: Option<String>,
    /// Its text.
    pub text: String,
}

/// What came of a verb that takes time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is over; its action is told this.
    Over(Vec<(String, String)>),
    /// It has failed, and the next verb goes on; its action is told this.
    Failed(Problem, Vec<(String, String)>),
    /// It cannot be carried out at all.
    Impossible(Problem),
}

/// What is being done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Nothing yet.
    New(Source),
    /// A document is asked for.
    Fetching(Link),
    /// A verb is carried out.
    Doing { verb: Verb, since: Time },
    /// Nothing any more.
    Over,
}

/// An application that a call is given to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Application {
    state: State,
    fallback: Option<Link>,
    /// Whether the fallback's document is the one that is carried out, or asked for.
    fell_back: bool,
    /// What is left of the document.
    program: VecDeque<Instruction>,
    /// Where it came from.
    base: Option<Url>,
    /// Requests made.
    requests: u32,
    /// Documents since a verb last took time.
    hasty: u32,
}

impl Application {
    /// One that has not begun.
    pub fn new(script: Script) -> Self {
        Self {
            state: State::New(script.source),
            fallback: script.fallback,
            fell_back: false,
            program: VecDeque::new(),
            base: None,
            requests: 0,
            hasty: 0,
        }
    }

    /// Begins.
    pub fn start(&mut self, now: Time) -> Vec<Output> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::New(source) => self.begin(source, now),
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    /// Another document takes the place of what is being done.
    pub fn update(&mut self, source: Source, now: Time) -> Vec<Output> {
        self.hasty = 0;
        self.begin(source, now)
    }

    /// A document has come, or cannot be had. One that nobody waits for any more is passed over.
    pub fn fetched(&mut self, request: u32, page: Result<Page, Problem>, now: Time) -> Vec<Output> {
        let link = match &self.state {
            State::Fetching(link) if request == self.requests => link.clone(),
            State::Fetching(_) | State::New(_) | State::Doing { .. } | State::Over => return Vec::new(),
        };
        let mut outputs = Vec::new();
        let read = page.and_then(|page| {
            readable(&page)?;
            Ok((Document::parse(&page.text, Some(&page.url))?, page.url))
        });
        match read {
            Ok((document, url)) => self.carry_out(document, Some(url), now, &mut outputs),
            Err(problem) => self.fall_back(problem, Some(link.url), &mut outputs),
        }
        outputs
    }

    /// The verb that was being done is over.
    pub fn done(&mut self, outcome: Outcome, now: Time) -> Vec<Output> {
        let State::Doing { verb, since } = &self.state else {
            return Vec::new();
        };
        if *since + SOME_TIME <= now {
            self.hasty = 0;
        }
        let action = action(verb);
        let mut outputs = Vec::new();
        let told = match outcome {
            Outcome::Over(told) => told,
            Outcome::Failed(problem, told) => {
                outputs.push(Output::Report(problem));
                told
            }
            Outcome::Impossible(problem) => {
                let url = self.base.clone();
                self.fall_back(problem, url, &mut outputs);
                return outputs;
            }
        };
        match action {
            Some(link) => self.fetch(link, told, &mut outputs),
            None => self.go_on(now, &mut outputs),
        }
        outputs
    }

    /// What is being done, if something is that takes time.
    pub fn doing(&self) -> Option<&Verb> {
        match &self.state {
            State::Doing { verb, .. } => Some(verb),
            State::New(_) | State::Fetching(_) | State::Over => None,
        }
    }

    /// Since when.
    pub fn since(&self) -> Option<Time> {
        match &self.state {
            State::Doing { since, .. } => Some(*since),
            State::New(_) | State::Fetching(_) | State::Over => None,
        }
    }

    /// A number for a request of whoever carries a verb out.
    pub fn next_request(&mut self) -> u32 {
        self.requests += 1;
        self.requests
    }

    /// Whether this request is the last that was made.
    pub fn is_last(&self, request: u32) -> bool {
        self.requests == request
    }

    fn begin(&mut self, source: Source, now: Time) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.fell_back = false;
        match source {
            Source::Link(link) => self.fetch(link, Vec::new(), &mut outputs),
            Source::Text(text) => match Document::parse(&text, None) {
                Ok(document) => self.carry_out(document, None, now, &mut outputs),
                Err(problem) => self.fall_back(problem, None, &mut outputs),
            },
        }
        outputs
    }

    fn carry_out(&mut self, document: Document, base: Option<Url>, now: Time, outputs: &mut Vec<Output>) {
        outputs.extend(document.warnings.into_iter().map(Output::Report));
        self.program = document.instructions.into();
        self.base = base;
        self.go_on(now, outputs);
    }

    /// The next verb.
    fn go_on(&mut self, now: Time, outputs: &mut Vec<Output>) {
        self.state = State::Over;
        let verb = loop {
            match self.program.pop_front().map(|instruction| instruction.verb) {
                Some(Verb::Start(start)) => outputs.push(Output::Start(start)),
                Some(Verb::Stop(name)) => outputs.push(Output::Stop(name)),
                other => break other,
            }
        };
        match verb {
            None | Some(Verb::HangUp) => outputs.push(Output::HangUp),
            // Taken above: they take no time.
            Some(Verb::Start(_) | Verb::Stop(_)) => {}
            Some(Verb::Reject(why)) => outputs.push(Output::Reject(why)),
            Some(Verb::Redirect(link)) => self.fetch(link, Vec::new(), outputs),
            Some(verb @ (Verb::Connect(_) | Verb::Dial(_) | Verb::Refer(_) | Verb::Play(_) | Verb::Pause(_))) => {
                self.state = State::Doing {
                    verb: verb.clone(),
                    since: now,
                };
                outputs.push(Output::Do(verb));
            }
        }
    }

    fn fetch(&mut self, link: Link, parameters: Vec<(String, String)>, outputs: &mut Vec<Output>) {
        self.program.clear();
        self.hasty += 1;
        if self.hasty > MOST_HASTY {
            self.state = State::Over;
            let text = format!("{MOST_HASTY} documents followed one another, and none did anything that takes time");
            return outputs.push(Output::GiveUp(Problem::new(code::TOO_MANY_REDIRECTS, text)));
        }
        self.state = State::Fetching(link.clone());
        let request = self.next_request();
        outputs.push(Output::Fetch(Fetch {
            request,
            link,
            parameters,
        }));
    }

    /// What is wrong is reported, and the fallback asked.
    fn fall_back(&mut self, problem: Problem, url: Option<Url>, outputs: &mut Vec<Output>) {
        self.state = State::Over;
        match self.fallback.clone().filter(|_| !self.fell_back) {
            Some(fallback) => {
                self.fell_back = true;
                let mut parameters = vec![("ErrorCode".to_owned(), problem.code.to_string())];
                parameters.extend(url.map(|url| ("ErrorUrl".to_owned(), url.into())));
                outputs.push(Output::Report(problem));
                self.fetch(fallback, parameters, outputs);
            }
            None => outputs.push(Output::GiveUp(problem)),
        }
    }
}

/// What is asked for the next document when a verb is over.
fn action(verb: &Verb) -> Option<Link> {
    match verb {
        Verb::Connect(connect) => connect.action.clone(),
        Verb::Dial(dial) => dial.action.clone(),
        Verb::Refer(refer) => refer.action.clone(),
        Verb::Start(_)
        | Verb::Stop(_)
        | Verb::Play(_)
        | Verb::Pause(_)
        | Verb::Redirect(_)
        | Verb::Reject(_)
        | Verb::HangUp => None,
    }
}

/// Whether a page can be a document.
fn readable(page: &Page) -> Result<(), Problem> {
    let content_type = page.content_type.as_deref().unwrap_or("text/xml");
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        // Frameworks call it HTML unless they are told; Twilio reads it all the same.
        "text/xml" | "application/xml" | "text/html" => Ok(()),
        other => {
            let text = format!("the document is {other:?}; answer with Content-Type: text/xml");
            Err(Problem::new(code::CONTENT_TYPE, text))
        }
    }
}

#[cfg(test)]
mod tests;
