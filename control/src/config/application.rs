//! `voice_url` and what goes with it, of a number or, for all its numbers that say nothing else, of a tenant.

use super::model::{ApplicationRules, CallEvent, StatusCallback, Trunk};
use super::reader::{Located, Reader, Section, quoted};
use super::sections::{distinct_list, distinct_located, or};
use super::value;
use crate::twiml::application::Source;
use crate::twiml::{Link, Method, web_url};
use crate::web::AllowedHosts;

/// What is written of an application; a number's goes before its tenant's, key by key.
#[derive(Clone, Default)]
pub(super) struct WrittenApplication {
    voice: Option<Link>,
    fallback: Option<Link>,
    status_callback: Option<Link>,
    events: Option<Vec<CallEvent>>,
    dial_trunks: Option<Vec<Located<String>>>,
}

/// The keys without which the others mean nothing, and those.
const URLS: [[&str; 2]; 3] = [
    ["voice_url", "voice_method"],
    ["voice_fallback_url", "voice_fallback_method"],
    ["status_callback", "status_callback_method"],
];

/// Reads the keys of a section.
pub(super) fn read(section: &mut Section<'_>) -> WrittenApplication {
    for [url, method] in URLS {
        if section.has(method) && !section.has(url) {
            section.report(
                section.line,
                method,
                format!("is of no use without {url}; write that, too"),
            );
        }
    }
    let [voice, fallback, status_callback] = URLS.map(|[url, method]| link(section, url, method));
    WrittenApplication {
        voice,
        fallback,
        status_callback,
        events: distinct_list(section, "status_callback_event", event),
        dial_trunks: distinct_located(section, "dial_trunks", value::name),
    }
}

fn link(section: &mut Section<'_>, url_key: &'static str, method_key: &'static str) -> Option<Link> {
    let url = section.text(url_key, web_url);
    let method = or(section.text(method_key, Method::read), Method::default);
    url.map(|url| Link { url: url.value, method })
}

impl WrittenApplication {
    /// What is written here and, where that is nothing, what `tenant` says.
    pub(super) fn over(&self, tenant: Option<&Self>) -> Self {
        let none = Self::default();
        let tenant = tenant.unwrap_or(&none);
        Self {
            voice: self.voice.as_ref().or(tenant.voice.as_ref()).cloned(),
            fallback: self.fallback.as_ref().or(tenant.fallback.as_ref()).cloned(),
            status_callback: self
                .status_callback
                .as_ref()
                .or(tenant.status_callback.as_ref())
                .cloned(),
            events: self.events.as_ref().or(tenant.events.as_ref()).cloned(),
            dial_trunks: self.dial_trunks.as_ref().or(tenant.dial_trunks.as_ref()).cloned(),
        }
    }

    /// Reports URLs whose hosts the account may not name; `line` is that of the number that they are for.
    pub(super) fn check_hosts(&self, reader: &Reader<'_>, line: usize, hosts: &AllowedHosts) {
        let links = [&self.voice, &self.fallback, &self.status_callback];
        for (link, [key, _]) in links.into_iter().zip(URLS) {
            let host = link.as_ref().and_then(|link| link.url.host_str());
            if let Some(host) = host.filter(|host| !hosts.has(host)) {
                let message =
                    format!("leads to {host}, which is not among the allowed_hosts of the account; add it there");
                reader.report(line, format!("did.{key}"), message);
            }
        }
    }

    /// Where the application begins, if there is one.
    pub(super) fn source(&self) -> Option<Source> {
        self.voice.clone().map(Source::Link)
    }

    /// What holds for its documents.
    pub(super) fn rules(self) -> ApplicationRules {
        let events = self.events;
        let dial_trunks = self.dial_trunks.into_iter().flatten();
        ApplicationRules {
            fallback: self.fallback,
            status_callback: self.status_callback.map(|link| StatusCallback {
                link,
                // As at Twilio.
                events: events.unwrap_or_else(|| vec![CallEvent::Completed]),
            }),
            dial_trunks: dial_trunks.map(|trunk| trunk.value).collect(),
        }
    }

    /// Reports trunks that nobody can be called by; `section` is what this stands in.
    pub(super) fn check(&self, reader: &Reader<'_>, section: &str, trunks: &[Trunk]) {
        for Located { value: name, line } in self.dial_trunks.iter().flatten() {
            let message = match trunks.iter().find(|trunk| trunk.name == *name) {
                Some(trunk) if !trunk.gateways.is_empty() => continue,
                Some(_) => format!("trunk {name:?} has no proxy to send calls to; write proxy = \"HOST:PORT\" there"),
                None => {
                    let known: Vec<&str> = trunks.iter().map(|trunk| trunk.name.as_str()).collect();
                    format!("there is no trunk {name:?}; there is {}", quoted(&known))
                }
            };
            reader.report(*line, format!("{section}.dial_trunks"), message);
        }
    }
}

fn event(text: &str) -> Result<CallEvent, String> {
    let named = CallEvent::ALL.into_iter().find(|event| event.name() == text);
    named.ok_or_else(|| {
        let names = CallEvent::ALL.map(CallEvent::name);
        format!("{text:?} is not told of; there is {}", quoted(&names))
    })
}
