//! Requests that the core has made of web servers, and who waits for each.

use std::collections::{HashMap, VecDeque};

use super::core::Core;
use crate::call::{ApplicationEvent, CallId, Event};
use crate::time::Time;
use crate::twiml::verbs::Play;
use crate::web::{Answer, Answered, Request, RequestId};

/// Who waits for an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Purpose {
    /// The application of a call, for a document; its own number of the request.
    Document(CallId, u32),
    /// The same, for a file that it plays.
    Audio(CallId, u32, Play),
    /// What is to be told next of a call.
    Callback(CallId),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Requests {
    made: u64,
    waiting: HashMap<RequestId, Purpose>,
    /// What is to be told of each call, in order, after what is on its way.
    callbacks: HashMap<CallId, VecDeque<Request>>,
}

impl Requests {
    /// Whether something is to be told of a call yet.
    pub fn is_telling(&self) -> bool {
        !self.callbacks.is_empty()
    }
}

impl Core {
    /// Asks a web server.
    pub(super) fn ask(&mut self, purpose: Purpose, request: Request) {
        let requests = &mut self.requests;
        requests.made += 1;
        let id = RequestId(requests.made);
        requests.waiting.insert(id, purpose);
        self.effects.requests.push((id, request));
    }

    /// Tells of a call, after what is told of it already.
    pub(super) fn tell_of(&mut self, call: CallId, request: Request) {
        match self.requests.callbacks.get_mut(&call) {
            Some(waiting) => waiting.push_back(request),
            None => {
                self.requests.callbacks.insert(call, VecDeque::new());
                self.ask(Purpose::Callback(call), request);
            }
        }
    }

    /// A request of [`super::core::Effects::requests`] was answered, or was not.
    pub fn responded(&mut self, now: Time, id: RequestId, answered: Answered) {
        let Some(purpose) = self.requests.waiting.remove(&id) else {
            return;
        };
        match purpose {
            Purpose::Document(call, request) => {
                let page = answered.and_then(|answer| match answer {
                    Answer::Document(page) => Ok(Box::new(page)),
                    Answer::Audio(_) | Answer::Nothing => Err(super::application::no_answer()),
                });
                self.feed(
                    now,
                    call,
                    Event::Application(ApplicationEvent::Fetched { request, page }),
                );
            }
            Purpose::Audio(call, request, play) => self.play(now, call, request, &play, answered),
            Purpose::Callback(call) => {
                if let Err(problem) = answered {
                    self.totals.applications.callbacks_failed += 1;
                    tracing::warn!(%call, "a status callback was not taken: {problem}");
                }
                let waiting = self.requests.callbacks.get_mut(&call);
                match waiting.and_then(VecDeque::pop_front) {
                    Some(next) => self.ask(Purpose::Callback(call), next),
                    None => {
                        self.requests.callbacks.remove(&call);
                    }
                }
            }
        }
        self.drain(now);
    }
}
