//! The gateway's one piece of mutable state, and what is done when something happens to it.
//!
//! Input comes in by the methods at the top. Each leads to SIP commands, media commands and, in [`Effects`], what only
//! the shell can do: send datagrams, look up names.
//!
//! What the SIP core tells is taken in `arrivals`, what calls want is done in `perform`, their media is watched in
//! `supervision`; calls find their gateways in `placing` and `trunks`, and are placed in `dialling` and transferred in
//! `transfer`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracing::{debug, error, info};
use voxlane_dataplane::media_plane::{EndpointId, FailureKind, MediaEvent, MediaPlane};

use super::live::{Live, Record};
use super::overload::Guard;
use super::registrar::Registrar;
use super::requests::Requests;
use super::tallies::Tallies;
use super::trunks::Trunks;
use super::watch::{Measure, Watched};
use crate::call::{Action, CallId, Cause, Event, Side, transfer};
use crate::campaign::Dialler;
use crate::config::model::{Config, HostPort, Trunk};
use crate::guard::intake::Intake;
use crate::ops::report::{ApplicationCounts, ReferCounts, TransferCounts};
use crate::rest::register::Register;
use crate::route;
use crate::sip::digest::NonceKey;
use crate::sip::locate::{Destination, Place};
use crate::sip::transport::tls::ClientConfigs;
use crate::sip::{self, DialogId, Input, Listen, Output, Transmit, Transport};
use crate::time::Time;
use crate::web::{Request, RequestId};

/// Ended calls that `voxlane calls` still shows.
const RECENT: usize = 100;

/// What the shell has to do after an input.
#[derive(Debug, Default)]
pub struct Effects {
    /// Datagrams to send.
    pub transmits: Vec<Transmit>,
    /// Names of agents' hosts to look up; the answer goes to [`Core::resolved`].
    pub lookups: Vec<(CallId, HostPort)>,
    /// Names of the hosts of who is to listen to calls, by streams; the answer goes to [`Core::listener_found`].
    pub listeners: Vec<(CallId, String, HostPort)>,
    /// What to ask of web servers; the answer goes to [`Core::responded`].
    pub requests: Vec<(RequestId, Request)>,
    /// Places of SIP to find; the answer goes to [`Core::located`].
    pub places: Vec<(Asker, Place)>,
    /// When to call [`Core::timeout`].
    pub wake: Option<Time>,
}

/// Who waits for a place to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A call that is being placed.
    Call(CallId),
    /// A check of a gateway: its trunk's place in the configuration, and its own in the trunk.
    Gateway((u16, u8)),
    /// The registration of a trunk, by its place.
    Register(u16),
}

/// Calls since start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Came in.
    pub calls: u64,
    /// Were answered.
    pub answered: u64,
    /// Ended without an answer, refusals included.
    pub failed: u64,
    /// Agents that failed.
    pub agents_failed: u64,
    /// Of those, by kind.
    pub agent_failures: [u64; FailureKind::ALL.len()],
    /// Calls whose agent failed, and that got another or were sent elsewhere.
    pub agent_fallbacks: u64,
    /// Calls that ended because nothing came from a leg.
    pub media_timeouts: u64,
    /// Transfers.
    pub transfers: TransferCounts,
    /// REFERs of carriers.
    pub refers: ReferCounts,
    /// Times that somebody was to listen to a call.
    pub taps: u64,
    /// Times that somebody could not, or not to the end.
    pub taps_failed: u64,
    /// What applications have asked for.
    pub applications: ApplicationCounts,
    /// Times that a limit was crossed, by measure.
    pub crossings: [u64; Measure::ALL.len()],
}

/// Which of our addresses a message to `remote` by a transport leaves from.
pub type LocalFor = Box<dyn Fn(Transport, SocketAddr) -> std::io::Result<SocketAddr> + Send>;

/// See the [module](self).
pub struct Core {
    pub(super) config: Arc<Config>,
    pub(super) sip: sip::Endpoint,
    pub(super) plane: Arc<dyn MediaPlane>,
    /// Boxed: a table that grows moves all it has.
    pub(super) calls: HashMap<CallId, Box<Live>>,
    pub(super) recent: VecDeque<Record>,
    pub(super) totals: Totals,
    pub(super) guard: Guard,
    pub(super) dialler: Dialler,
    pub(super) dialogs: HashMap<DialogId, (CallId, Side)>,
    pub(super) endpoints: HashMap<EndpointId, (CallId, Side)>,
    pub(super) local_for: LocalFor,
    /// What TLS towards agents needs.
    pub(super) agent_certificates: ClientConfigs,
    pub(super) tallies: Tallies,
    pub(super) trunks: Trunks,
    /// Chooses among gateways.
    pub(super) random: StdRng,
    /// Makes the names of calls.
    names: StdRng,
    /// When calls want to be told that it is time.
    pub(super) wakes: BTreeSet<(Time, CallId)>,
    pub(super) effects: Effects,
    pub(super) requests: Requests,
    /// What the REST API tells of calls, if there is one.
    pub(super) register: Option<Arc<Register>>,
    pub(super) watched: HashMap<EndpointId, Watched>,
    /// Legs whose turn it is to be looked at.
    pub(super) to_watch: Vec<EndpointId>,
    /// Times that media was looked at.
    pub(super) looks: u64,
}

impl Core {
    /// A gateway with no calls.
    pub fn new(
        config: Arc<Config>,
        plane: Arc<dyn MediaPlane>,
        listen: Vec<Listen>,
        local_for: LocalFor,
        seed: u64,
    ) -> Self {
        let sip = sip::Endpoint::new(sip::EndpointConfig {
            user_agent: config.sip.user_agent.clone(),
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            invite_timeout: config.sip.invite_timeout,
            listen,
            seed,
        })
        .with_trunks(
            NonceKey::new(rand::random()),
            route::entrances(&config),
            route::logins(&config),
        )
        .with_domains(config.domains())
        .with_policies(route::policies(&config))
        .with_intake(Intake::new(
            config.sip.max_calls_per_second,
            config.overload.retry_after,
        ));
        let guard = Guard::new(&config);
        let dialler = Dialler::new(config.dial.max_waiting);
        let trunks = Trunks::new(&config);
        let tallies = Tallies::new(&config);
        Self {
            config,
            sip,
            plane,
            calls: HashMap::new(),
            recent: VecDeque::new(),
            totals: Totals::default(),
            guard,
            dialler,
            dialogs: HashMap::new(),
            endpoints: HashMap::new(),
            local_for,
            agent_certificates: ClientConfigs::default(),
            tallies,
            trunks,
            random: StdRng::seed_from_u64(seed.rotate_left(32)),
            // Not the sequence that tags are made of: names of calls are told to agents.
            names: StdRng::seed_from_u64(!seed),
            wakes: BTreeSet::new(),
            effects: Effects::default(),
            requests: Requests::default(),
            register: None,
            watched: HashMap::new(),
            to_watch: Vec::new(),
            looks: 0,
        }
    }

    /// What agents that are connected from now on are shown over TLS, and whom they are taken for.
    pub fn set_agent_certificates(&mut self, certificates: ClientConfigs) {
        self.agent_certificates = certificates;
    }

    /// A message arrived, or could not be delivered.
    pub fn input(&mut self, now: Time, input: Input<'_>) {
        self.sip.handle_input(now, input);
        self.drain(now);
    }

    /// The time asked for in [`Effects::wake`] has come.
    pub fn timeout(&mut self, now: Time) {
        self.sip.handle_timeout(now);
        while let Some((_, call)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.pop_first();
            if let Some(live) = self.calls.get_mut(&call) {
                live.wakes.retain(|at| *at > now);
            }
            self.feed(now, call, Event::Transfer(transfer::Event::Due));
        }
        self.dial(now);
        self.tend_trunks(now);
        self.drain(now);
    }

    /// The data plane has something to tell.
    pub fn media(&mut self, now: Time, event: MediaEvent) {
        let (endpoint, event) = match event {
            MediaEvent::AgentReady(endpoint) => (endpoint, Event::AgentReady),
            MediaEvent::AgentFailed(endpoint, failure) => {
                self.count_failure(failure.kind());
                (endpoint, Event::AgentFailed(failure))
            }
            MediaEvent::AgentEnded(endpoint) => (endpoint, Event::AgentEnded),
            MediaEvent::Digit {
                endpoint,
                digit,
                duration,
            } => match self.endpoints.get(&endpoint) {
                Some(&(call, side)) => {
                    // Keys are card numbers and PINs, often: which they were is told to those who debug only.
                    info!(%call, leg = ?side, duration_ms = duration.as_millis(), "key pressed");
                    debug!(%call, leg = ?side, %digit, "key");
                    (endpoint, Event::Digit { side, digit, duration })
                }
                None => return,
            },
            MediaEvent::Lost(endpoint) => match self.endpoints.get(&endpoint) {
                Some(&(_, side)) => {
                    let error = "its worker has died".to_owned();
                    (
                        endpoint,
                        Event::MediaFailed {
                            side,
                            status: 503,
                            error,
                        },
                    )
                }
                None => return,
            },
            MediaEvent::AgentAsks(endpoint, request) => return self.agent_asks(now, endpoint, request),
            MediaEvent::Tap(endpoint, tap, event) => {
                self.on_tap(endpoint, tap, &event);
                return self.drain(now);
            }
            // Softphones are no calls of the gateway.
            MediaEvent::PhoneDone(_) => return,
        };
        // An endpoint closed meanwhile is normal: the event was on its way.
        if let Some(&(call, _)) = self.endpoints.get(&endpoint) {
            self.feed(now, call, event);
            self.drain(now);
        }
    }

    /// A lookup asked for in [`Effects::lookups`] is done. One that the call does not wait for any more is passed over: another
    /// agent's address is not to be taken for that of the one that it looks for now.
    pub fn resolved(&mut self, now: Time, call: CallId, host: &HostPort, result: Result<Vec<SocketAddr>, String>) {
        let live = self.calls.get_mut(&call);
        if live.and_then(|live| live.looks_for.take_if(|it| it == host)).is_none() {
            return debug!(%call, host = host.host, "a lookup that nobody waits for");
        }
        let event = match result {
            Ok(addresses) => Event::Resolved(addresses),
            Err(why) => {
                self.count_failure(FailureKind::Unreachable);
                Event::Unresolved(why)
            }
        };
        self.feed(now, call, event);
        self.drain(now);
    }

    /// A place asked for in [`Effects::places`] is found, or not.
    pub fn located(&mut self, now: Time, asker: Asker, result: Result<Vec<Destination>, String>) {
        match asker {
            Asker::Call(call) => {
                let event = match result {
                    Ok(destinations) => {
                        let destinations = self.reachable(destinations);
                        Event::Located(self.best_first(now, call, destinations))
                    }
                    Err(why) => Event::NotLocated(why),
                };
                self.feed(now, call, event);
            }
            Asker::Gateway(named) => self.gateway_located(now, named, result),
            Asker::Register(trunk) => self.register_located(now, trunk, result),
        }
        self.drain(now);
    }

    /// Has a place found.
    pub(super) fn ask_for(&mut self, asker: Asker, place: Place) {
        self.effects.places.push((asker, place));
    }

    /// Ends every call, and takes back every registration.
    pub fn stop(&mut self, now: Time, text: &str) {
        self.leave_registrars(now);
        self.dialler.close(SystemTime::now());
        let mut calls: Vec<CallId> = self.calls.keys().copied().collect();
        calls.sort_unstable();
        for call in calls {
            self.feed(now, call, Event::Stop { text: text.to_owned() });
        }
        self.drain(now);
    }

    /// Takes what the shell has to do.
    pub fn take_effects(&mut self) -> Effects {
        let wake = self.effects.wake;
        std::mem::replace(
            &mut self.effects,
            Effects {
                wake,
                ..Effects::default()
            },
        )
    }

    /// Whether there is nothing for the shell to do now.
    pub fn is_quiet(&self) -> bool {
        let Effects {
            transmits,
            lookups,
            listeners,
            requests,
            places,
            wake: _,
        } = &self.effects;
        let asked = lookups.is_empty() && listeners.is_empty() && requests.is_empty() && places.is_empty();
        transmits.is_empty() && asked
    }

    /// What the SIP core has seen.
    pub fn sip_counters(&self) -> sip::Counters {
        self.sip.counters()
    }

    /// How often authentication failed.
    pub fn auth_failures(&self) -> Vec<sip::AuthFailures> {
        self.sip.auth_failures()
    }

    /// Whether nothing is left of any call, nor of what is to be told of one, nor of a registration that is being taken back.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && !self.requests.is_telling()
            && !self.trunks.registrars.iter().any(Registrar::is_leaving)
    }

    /// Empties the SIP core's output: datagrams to the shell, events to their calls.
    pub(super) fn drain(&mut self, now: Time) {
        loop {
            match self.sip.poll_output() {
                Output::Transmit(transmit) => self.effects.transmits.push(transmit),
                Output::Event(event) => self.sip_event(now, event),
                Output::Timeout(wake) => {
                    let call = self.wakes.first().map(|(at, _)| *at);
                    let own = [call, self.dialler.wake(now), self.trunks.wake()];
                    self.effects.wake = wake.into_iter().chain(own.into_iter().flatten()).min();
                    break;
                }
            }
        }
        self.mind_intake(now);
    }

    /// A name for a call.
    pub(super) fn new_call_id(&mut self) -> CallId {
        loop {
            let id = CallId(self.names.random());
            if !self.calls.contains_key(&id) {
                return id;
            }
        }
    }

    /// Gives an event to a call and carries out what it answers, and what follows from that.
    pub(super) fn feed(&mut self, now: Time, id: CallId, event: Event) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            let Some(live) = self.calls.get_mut(&id) else {
                return debug!(call = %id, ?event, "event of a call that is over");
            };
            debug!(call = %id, phase = ?live.call.phase(), ?event, "call event");
            let transfers = live.call.ended_transfers().len();
            let mut actions = live.call.on(event, now).into_iter();
            self.count_transfers(id, transfers);
            while let Some(action) = actions.next() {
                let Some(next) = self.perform(now, id, action) else {
                    continue;
                };
                if let Event::MediaFailed { .. } = next {
                    // What was to follow, a 200 above all, was meant for media that runs.
                    let withheld = actions.any(|action| matches!(action, Action::Answer { side: Side::A, .. }));
                    queue.extend(withheld.then_some(Event::AnswerWithheld));
                }
                queue.push_back(next);
            }
        }
    }

    pub(super) fn finish(&mut self, id: CallId, cause: Cause) {
        self.placed_ended(id, &cause);
        self.end_listening(id, |_| true, "the call is over");
        self.tell_owner_of_end(id, &cause);
        self.register_end(id, &cause);
        let Some(live) = self.calls.remove(&id) else { return };
        for at in &live.wakes {
            self.wakes.remove(&(*at, id));
        }
        self.uncount_trunks(&live.route);
        if live.answered.is_none() {
            self.totals.failed += 1;
        }
        for (side, leg) in live.legs() {
            if let Some(dialog) = leg.dialog {
                self.dialogs.remove(&dialog);
            }
            if let Some(endpoint) = leg.endpoint {
                error!(call = %id, leg = ?side, "media was left open at the end of a call");
                self.endpoints.remove(&endpoint.id);
                self.plane.close(endpoint.id);
            }
        }
        info!(call = %id, by = ?cause.by, status = cause.status, "call ended: {}", cause.text);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(live.into_record(cause));
    }

    pub(super) fn trunk(&self, name: &str) -> Option<&Trunk> {
        self.config.trunk(name).map(|(_, trunk)| trunk)
    }

    pub(super) fn endpoint(&self, id: CallId, side: Side) -> Option<EndpointId> {
        self.calls.get(&id)?.leg(side).endpoint.map(|endpoint| endpoint.id)
    }

    pub(super) fn dialog(&self, id: CallId, side: Side) -> Option<DialogId> {
        self.calls.get(&id)?.leg(side).dialog
    }
}

/// A Reason header (RFC 3326): for a refusal its status, for a BYE normal clearing. One that came from the other leg is
/// passed on as it is.
pub(super) fn reason_header(status: Option<u16>, text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if text.starts_with("Q.850;") || text.starts_with("SIP;") {
        return text;
    }
    let text = text.replace(['"', '\\'], "'");
    match status {
        Some(status) => format!("SIP;cause={status};text=\"{text}\""),
        None => format!("Q.850;cause=16;text=\"{text}\""),
    }
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
