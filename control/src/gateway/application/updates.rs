//! Applications that come with a request: of calls that are placed, and documents for calls that are alive.

use tracing::info;

use super::Core;
use crate::call::{ApplicationEvent, Event};
use crate::campaign::{CallUpdate, PlaceError, Placing, Updated};
use crate::config::model::{Application, CallEvent, StatusCallback};
use crate::time::Time;
use crate::twiml::application::{Script, Source};
use crate::twiml::{Document, Link, Method, web_url};

/// The application of a call that is placed; it may dial by the trunk that the call goes out on.
///
/// # Errors
/// What is wrong with it.
pub(in crate::gateway) fn placed_application(placing: &Placing) -> Result<Application, String> {
    let asked = &placing.application;
    let url = asked
        .voice_url
        .as_deref()
        .map(|url| (url, asked.voice_method.as_deref()));
    let source = source(url, asked.twiml.as_deref())?.ok_or("nobody is to talk; write agent, voice_url or twiml")?;
    let named = |name: &String| {
        let named = CallEvent::ALL.into_iter().find(|event| event.name() == name);
        named.ok_or_else(|| format!("status_callback_event {name:?} is not told of"))
    };
    let events: Vec<CallEvent> = asked
        .status_callback_event
        .iter()
        .map(named)
        .collect::<Result<_, _>>()?;
    let link_of = |url: &Option<String>, method: &Option<String>| {
        let url = url.as_deref().map(|url| link(url, method.as_deref()));
        url.transpose()
    };
    let status_callback = link_of(&asked.status_callback, &asked.status_callback_method)?;
    Ok(Application {
        script: Script {
            source,
            fallback: link_of(&asked.voice_fallback_url, &asked.voice_fallback_method)?,
        },
        status_callback: status_callback.map(|link| StatusCallback {
            link,
            events: match events.is_empty() {
                true => vec![CallEvent::Completed],
                false => events,
            },
        }),
        dial_trunks: vec![placing.trunk.clone()],
    })
}

/// The first document: of a URL, and how that is asked, or itself.
fn source(voice_url: Option<(&str, Option<&str>)>, twiml: Option<&str>) -> Result<Option<Source>, String> {
    match (voice_url, twiml) {
        (Some(_), Some(_)) => Err("voice_url and twiml are both written; keep one of them".to_owned()),
        (Some((url, method)), None) => Ok(Some(Source::Link(link(url, method)?))),
        (None, Some(text)) => {
            Document::parse(text, None).map_err(|problem| problem.to_string())?;
            Ok(Some(Source::Text(text.to_owned())))
        }
        (None, None) => Ok(None),
    }
}

fn link(url: &str, method: Option<&str>) -> Result<Link, String> {
    Ok(Link {
        url: web_url(url)?,
        method: match method {
            None | Some("POST") => Method::Post,
            Some("GET") => Method::Get,
            Some(other) => return Err(format!("{other:?} is not a method; write \"POST\" or \"GET\"")),
        },
    })
}

impl Core {
    /// Gives a call that an application controls another document, or ends it.
    ///
    /// # Errors
    /// What is wrong with the document, or that there is no such call.
    pub fn update_call(&mut self, now: Time, name: &str, update: CallUpdate) -> Result<Updated, PlaceError> {
        let live = self
            .named(name)
            .map_err(|error| PlaceError::Request(error.to_string()))?;
        let (id, is_controlled) = (live.id(), live.call.is_controlled());
        let CallUpdate {
            voice_url,
            voice_method,
            twiml,
            hang_up,
        } = update;
        let url = voice_url.as_deref().map(|url| (url, voice_method.as_deref()));
        let source = source(url, twiml.as_deref()).map_err(PlaceError::Request)?;
        let event = match (source, hang_up) {
            (None, true) => Event::Stop {
                text: "hung up by an operator".to_owned(),
            },
            (Some(source), false) if is_controlled => Event::Application(ApplicationEvent::Updated(source)),
            (Some(_), false) => {
                let text = format!("call {id} is not controlled by an application");
                return Err(PlaceError::Request(text));
            }
            (None, false) | (Some(_), true) => {
                let text = "write one of voice_url, twiml and hang_up".to_owned();
                return Err(PlaceError::Request(text));
            }
        };
        info!(call = %id, "an operator updates the call");
        self.feed(now, id, event);
        self.drain(now);
        Ok(Updated { call: id.to_string() })
    }
}
