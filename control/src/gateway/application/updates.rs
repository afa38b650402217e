//! Applications that come with a request: of calls that are placed, and documents for calls that are alive.

use tracing::info;

use super::{Applied, Core};
use crate::call::{ApplicationEvent, CallId, Event, Phase};
use crate::campaign::{Change, PlaceError, Placing, Requester, State, Updated};
use crate::config::model::{ApplicationRules, CallEvent, StatusCallback};
use crate::gateway::live::Live;
use crate::ops::OperateError;
use crate::time::Time;
use crate::twiml::Link;
use crate::twiml::application::Source;

/// The application of a call that is placed, and what holds for it; it may dial by the trunk that the call goes out on.
///
/// # Errors
/// What is wrong with it.
pub(in crate::gateway) fn placed_application(placing: &Placing) -> Result<(Source, ApplicationRules), String> {
    let asked = &placing.application;
    let source = asked.document.source()?;
    let source = source.ok_or("nobody is to talk; write agent, voice_url or twiml")?;
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
        let url = url.as_deref().map(|url| Link::read(url, method.as_deref()));
        url.transpose()
    };
    let status_callback = link_of(&asked.status_callback, &asked.status_callback_method)?;
    let rules = ApplicationRules {
        fallback: link_of(&asked.voice_fallback_url, &asked.voice_fallback_method)?,
        status_callback: status_callback.map(|link| StatusCallback {
            link,
            events: match events.is_empty() {
                true => vec![CallEvent::Completed],
                false => events,
            },
        }),
        dial_trunks: vec![placing.trunk.clone()],
    };
    Ok((source, rules))
}

impl Core {
    /// Changes what becomes of a call: it gets another document, or ends.
    ///
    /// # Errors
    /// There is no such call, or it is not so far, or over.
    pub fn change_call(&mut self, now: Time, name: &str, change: Change, by: Requester) -> Result<Updated, PlaceError> {
        if let Some(id) = self.waits_for_its_turn(name) {
            return match change {
                Change::HangUp | Change::TakeBack => self.take_back(now, id, by),
                Change::Document(_) => Err(PlaceError::NotNow("It waits for its turn".to_owned())),
            };
        }
        let live = self.named(name).map_err(|error| match error {
            OperateError::NoCall(name) => PlaceError::NotAlive(name),
            other => PlaceError::Request(other.to_string()),
        })?;
        let id = live.id();
        let is_answered = live.call.answered().is_some();
        match change {
            Change::TakeBack if is_answered => Err(PlaceError::NotNow("It is answered".to_owned())),
            Change::HangUp | Change::TakeBack if live.placing.is_some() => self.take_back(now, id, by),
            Change::HangUp | Change::TakeBack => {
                let text = format!("hung up by {by}");
                self.changed(now, id, Event::Stop { text })
            }
            Change::Document(_) if matches!(live.call.phase(), Phase::Ending | Phase::Ended) => {
                Err(PlaceError::NotNow("It is ending".to_owned()))
            }
            Change::Document(_) if !is_answered && !live.call.is_controlled() => {
                Err(PlaceError::NotNow("It is not answered".to_owned()))
            }
            Change::Document(source) => {
                info!(call = %id, "{by} gives the call another document");
                let rules = self.rules_of(live);
                let script = Box::new(rules.script(source));
                if let Some(live) = self.calls.get_mut(&id) {
                    if !live.call.is_controlled() {
                        live.agent = Some(script.name());
                    }
                    live.applied.get_or_insert_with(|| Applied::new(rules));
                }
                self.changed(now, id, Event::Application(ApplicationEvent::Updated { script }))
            }
        }
    }

    /// The call that waits to be placed, if this is the whole of its name.
    fn waits_for_its_turn(&self, name: &str) -> Option<CallId> {
        let id = u64::from_str_radix(name, 16).ok().map(CallId)?;
        let result = self.dialler.result(id).ok()?;
        (result.call == name && result.state == State::Waiting).then_some(id)
    }

    fn take_back(&mut self, now: Time, id: CallId, by: Requester) -> Result<Updated, PlaceError> {
        self.cancel_call(id, now, by)?;
        Ok(Updated { call: id.to_string() })
    }

    fn changed(&mut self, now: Time, id: CallId, event: Event) -> Result<Updated, PlaceError> {
        self.feed(now, id, event);
        self.drain(now);
        Ok(Updated { call: id.to_string() })
    }

    /// What holds for the documents of a call: what it was placed with, or what its number and that one's tenant say.
    fn rules_of(&self, live: &Live) -> ApplicationRules {
        match (&live.applied, &live.placing) {
            (Some(applied), _) => applied.rules.clone(),
            (None, Some(placing)) => ApplicationRules {
                dial_trunks: vec![placing.trunk.clone()],
                ..ApplicationRules::default()
            },
            (None, None) => {
                let did = self.config.did(&live.route.number);
                did.map(|did| did.rules.clone()).unwrap_or_default()
            }
        }
    }
}
