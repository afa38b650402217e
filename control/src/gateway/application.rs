//! Calls that are given to an application: what it wants done, and what it and its owner are told.

mod callbacks;
mod orders;
mod updates;

use tracing::{info, warn};
use voxlane_dataplane::media_plane::{AgentLimits, AgentSpec, CallDirection, PlaySpec, Speech, WebProtocol, WebSpec};

pub(super) use self::updates::placed_application;
use super::agents::{self, sid};
use super::core::Core;
use super::live::Live;
use super::perform::media_failed;
use super::requests::Purpose;
use crate::call::{ApplicationAction as Action, ApplicationEvent, CallId, Event, Side};
use crate::config::model::{ApplicationRules, CallEvent, HostPort, Target};
use crate::rest::resource::call_sid;
use crate::route::Route;
use crate::time::Time;
use crate::twiml::application::Fetch;
use crate::twiml::verbs::Play;
use crate::twiml::{Link, Method, Problem, code};
use crate::web::{Answer, Answered, Request, Wants};

/// Problems that are kept of a call.
const MOST_PROBLEMS: usize = 16;

/// Agents that documents name have as long as configured ones have by default, unless `stream_settings` says otherwise.
const AGENT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(4);

/// What the gateway knows of a call's application.
#[derive(Debug)]
pub(super) struct Applied {
    /// What holds for its documents.
    pub rules: ApplicationRules,
    /// What has gone wrong, the first first.
    pub problems: Vec<Problem>,
    /// The stream of its agent.
    stream_sid: String,
    /// Callbacks made.
    told: u32,
    /// What they told of: of each event once.
    past: Vec<CallEvent>,
}

impl Applied {
    pub fn new(rules: ApplicationRules) -> Self {
        Self {
            rules,
            problems: Vec::new(),
            stream_sid: String::new(),
            told: 0,
            past: Vec::new(),
        }
    }
}

impl Core {
    /// Does what the application of a call wants.
    pub(super) fn perform_application(&mut self, now: Time, id: CallId, action: Action) -> Option<Event> {
        match action {
            Action::Fetch(fetch) => {
                self.fetch(id, fetch);
                None
            }
            Action::Play { request, play, .. } => {
                let link = Link {
                    url: play.url.clone(),
                    method: Method::Get,
                };
                let asked = self.request(id, link, Vec::new(), Wants::Audio)?;
                self.ask(Purpose::Audio(id, request, play), asked);
                None
            }
            Action::Quiet { side } => self.attach_built_in(id, side, AgentSpec::Quiet),
            Action::Dial { stays, dial } => {
                let live = self.calls.get(&id)?;
                let is_answered = live.call.answered().is_some();
                let order = self.dial_order(live, stays, &dial);
                Some(match is_answered {
                    true => self.ordered(now, id, order),
                    false => self.placed_first(now, id, order),
                })
            }
            Action::Refer { stays, refer } => {
                let order = self.calls.get(&id).map(|live| self.refer_order(live, stays, &refer));
                Some(self.ordered(now, id, order?))
            }
            Action::StartStream(start) => {
                self.start_stream(id, start);
                None
            }
            Action::StopStream(name) => {
                self.stop_stream(id, &name);
                None
            }
            Action::Stream(stream, state) => {
                let sid = self.calls.get(&id)?.applied.as_ref()?.stream_sid.clone();
                self.tell_of_stream(id, &stream, &sid, &state);
                None
            }
            Action::Report(problem) => {
                self.report_problem(id, problem);
                None
            }
        }
    }

    /// The application that a call is routed to.
    pub(super) fn application_of(&self, route: &Route) -> Option<Applied> {
        let did = self.config.did(&route.number)?;
        match &did.target {
            Target::Application(_) => Some(Applied::new(did.rules.clone())),
            Target::Agent(_) | Target::Trunk { .. } => None,
        }
    }

    fn fetch(&mut self, id: CallId, fetch: Fetch) {
        let Some(live) = self.calls.get(&id) else { return };
        let Fetch {
            request,
            link,
            parameters,
        } = fetch;
        info!(call = %id, host = link.url.host_str(), path = link.url.path(), "a document is asked for");
        let mut told = self.usual_parameters(live);
        told.extend(parameters);
        let Some(asked) = self.request(id, link, told, Wants::Document) else {
            return;
        };
        self.totals.applications.documents += 1;
        self.ask(Purpose::Document(id, request), asked);
    }

    /// What is asked in the name of a call's account.
    fn request(&self, id: CallId, link: Link, parameters: Vec<(String, String)>, wants: Wants) -> Option<Request> {
        let live = self.calls.get(&id)?;
        let account = self.config.account(live.route.tenant.as_deref());
        Some(Request {
            link,
            parameters,
            auth_token: account.auth_token,
            hosts: account.allowed_hosts,
            wants,
        })
    }

    /// Whether the agent that a call looks for may be there: those that documents name are where the account allows.
    pub(super) fn may_look_for(&self, id: CallId, host: &HostPort) -> Result<(), String> {
        let live = self.calls.get(&id).filter(|live| live.call.is_controlled());
        let account = live.map(|live| self.config.account(live.route.tenant.as_deref()));
        match account.is_none_or(|account| account.allowed_hosts.has(&host.host)) {
            true => Ok(()),
            false => Err(format!(
                "{} is not among the allowed_hosts of the account; nothing was asked of it",
                host.host
            )),
        }
    }

    /// A file that is to be played has come, or cannot be had.
    pub(super) fn play(&mut self, now: Time, id: CallId, request: u32, play: &Play, answered: Answered) {
        let waits = self.calls.get(&id).filter(|live| live.call.waits_for_file(request));
        let Some(side) = waits.and_then(|live| live.call.agent()).map(|(_, side)| side) else {
            return;
        };
        let event = match answered {
            Ok(Answer::Audio(audio)) => {
                let times = play.times;
                let attached = self.attach_built_in(id, side, AgentSpec::Play(PlaySpec { audio, times }));
                attached.or_else(|| self.hold_until_answered(id, side))
            }
            Ok(Answer::Document(_) | Answer::Nothing) => Some(not_played(request, no_answer())),
            Err(problem) => Some(not_played(request, problem)),
        };
        if let Some(event) = event {
            self.feed(now, id, event);
        }
    }

    /// What a caller is played who does not know of the answer yet waits until then.
    fn hold_until_answered(&self, id: CallId, side: Side) -> Option<Event> {
        let live = self.calls.get(&id)?;
        let endpoint = self.endpoint(id, side)?;
        match live.call.answered() {
            Some(_) => None,
            None => {
                let held = self.plane.set_speech(endpoint, Speech::Held);
                held.err().map(|error| media_failed(side, &error))
            }
        }
    }

    fn attach_built_in(&mut self, id: CallId, side: Side, agent: AgentSpec) -> Option<Event> {
        let endpoint = self.endpoint(id, side)?;
        let attached = self.plane.attach(endpoint, agent);
        attached.err().map(|error| media_failed(side, &error))
    }

    pub(super) fn report_problem(&mut self, id: CallId, problem: Problem) {
        self.totals.applications.problems += 1;
        warn!(call = %id, code = problem.code, "application: {}", problem.text);
        let applied = self.calls.get_mut(&id).and_then(|live| live.applied.as_mut());
        if let Some(applied) = applied.filter(|applied| applied.problems.len() < MOST_PROBLEMS) {
            applied.problems.push(problem);
        }
    }

    /// A name for the stream of the agent that is about to be connected.
    pub(super) fn name_stream(&mut self, id: CallId) {
        let applied = self.calls.get_mut(&id).and_then(|live| live.applied.as_mut());
        if let Some(applied) = applied {
            applied.stream_sid = sid("MZ", rand::random());
        }
    }
}

/// The agent that the application of a call has connected, or silence where it has none. `None` if the call has no
/// application.
pub(super) fn spec(core: &Core, live: &Live, addresses: Vec<std::net::SocketAddr>) -> Option<AgentSpec> {
    let applied = live.applied.as_ref()?;
    let Some(stream) = live.call.stream() else {
        return Some(AgentSpec::Quiet);
    };
    let account = core.config.account(live.route.tenant.as_deref());
    let as_agent = account.stream_settings.as_deref();
    let like = as_agent.and_then(|name| core.config.agents.iter().find(|agent| agent.name == name));
    Some(AgentSpec::Web(Box::new(WebSpec {
        protocol: WebProtocol::Twilio,
        url: stream.url.clone(),
        addresses,
        headers: agents::signed(&stream.url, account.auth_token.as_ref())
            .into_iter()
            .collect(),
        opening: Vec::new(),
        tls: as_agent.and_then(|name| core.agent_certificates.get(name)).cloned(),
        account_sid: account.sid,
        call_sid: call_sid(live.id()),
        stream_sid: applied.stream_sid.clone(),
        from: live.from.clone(),
        to: live.route.number.clone(),
        direction: match live.call.is_placed() {
            true => CallDirection::Outbound,
            false => CallDirection::Inbound,
        },
        parameters: stream.parameters.clone(),
        connect_timeout: like.map_or(AGENT_TIMEOUT, |agent| agent.connect_timeout),
        silence_timeout: like.map_or(AGENT_TIMEOUT, |agent| agent.silence_timeout),
        limits: like.map_or_else(AgentLimits::default, |agent| agent.limits),
        tally: core.tallies.of_documents(),
    })))
}

fn not_played(request: u32, problem: Problem) -> Event {
    Event::Application(ApplicationEvent::NotPlayed { request, problem })
}

/// An answer that is not what was asked for.
pub(super) fn no_answer() -> Problem {
    Problem::new(code::HTTP_RETRIEVAL, "the answer is not what was asked for")
}
