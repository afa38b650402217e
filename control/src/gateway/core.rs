//! The gateway's one piece of mutable state, and what is done when something happens to it.
//!
//! Input comes in by the methods at the top. Each leads to SIP commands, media commands and, in [`Effects`], what only
//! the shell can do: send datagrams, look up names.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracing::{debug, error, info, warn};
use voxlane_dataplane::media_plane::{Direction, EndpointId, FlowReport, MediaError, MediaEvent, MediaPlane};

use super::agents;
use super::live::{Live, Record};
use super::overload::Guard;
use super::registrar::Registrar;
use super::trunks::Trunks;
use super::watch::{Expected, Finding, Measure, Rules, Watched};
use crate::call::{Action, Call, CallId, Cause, Event, Origin, Phase, Plan, Setup, Side, transfer};
use crate::campaign::Dialler;
use crate::config::model::{Config, HostPort, Trunk};
use crate::guard::Reason;
use crate::guard::intake::Intake;
use crate::ops::report::{ReferCounts, TransferCounts};
use crate::route::{self, Route};
use crate::sip::digest::NonceKey;
use crate::sip::locate::{Destination, Place};
use crate::sip::{self, DialogId, Incoming, Input, Listen, Output, Transmit, Transport};
use crate::time::Time;

/// Ended calls that `voxlane calls` still shows.
const RECENT: usize = 100;

/// Legs that are looked at without a break.
const WATCHED_AT_ONCE: usize = 16;

/// Most turns in which the media of all calls is looked at.
const MOST_TURNS: u32 = 8;

/// What the shell has to do after an input.
#[derive(Debug, Default)]
pub struct Effects {
    /// Datagrams to send.
    pub transmits: Vec<Transmit>,
    /// Names of agents' hosts to look up; the answer goes to [`Core::resolved`].
    pub lookups: Vec<(CallId, HostPort)>,
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
    /// Calls that ended because nothing came from a leg.
    pub media_timeouts: u64,
    /// Transfers.
    pub transfers: TransferCounts,
    /// REFERs of carriers.
    pub refers: ReferCounts,
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
    pub(super) trunks: Trunks,
    /// Chooses among gateways.
    pub(super) random: StdRng,
    /// Makes the names of calls.
    names: StdRng,
    /// When calls want to be told that it is time.
    pub(super) wakes: BTreeSet<(Time, CallId)>,
    effects: Effects,
    watched: HashMap<EndpointId, Watched>,
    /// Legs whose turn it is to be looked at.
    to_watch: Vec<EndpointId>,
    /// Times that media was looked at.
    looks: u64,
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
            trunks,
            random: StdRng::seed_from_u64(seed.rotate_left(32)),
            // Not the sequence that tags are made of: names of calls are told to agents.
            names: StdRng::seed_from_u64(!seed),
            wakes: BTreeSet::new(),
            effects: Effects::default(),
            watched: HashMap::new(),
            to_watch: Vec::new(),
            looks: 0,
        }
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
                self.totals.agents_failed += 1;
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
            // Softphones are no calls of the gateway.
            MediaEvent::PhoneDone(_) => return,
        };
        // An endpoint closed meanwhile is normal: the event was on its way.
        if let Some(&(call, _)) = self.endpoints.get(&endpoint) {
            self.feed(now, call, event);
            self.drain(now);
        }
    }

    /// Looks at the media of some of the calls: to be called twice a second. Each leg has its turn every few seconds, or
    /// more often where `media.media_timeout` is short.
    pub fn watch_media(&mut self, now: Time) {
        self.begin_watch();
        while self.watch_some(now) {}
    }

    /// Begins [`Self::watch_media`], which is then done piece by piece: [`Self::watch_some`].
    pub fn begin_watch(&mut self) {
        if !self.to_watch.is_empty() {
            // There is no time for more.
            return;
        }
        let media = &self.config.media;
        let soonest = media.timeout.unwrap_or(media.quality_period).min(media.quality_period);
        let turns = (soonest.as_millis() / 2000).clamp(1, MOST_TURNS.into()) as u64;
        self.looks += 1;
        let turn = self.looks % turns;
        let endpoints = self.endpoints.iter();
        let due = endpoints.filter(|(endpoint, _)| endpoint.0 % turns == turn);
        self.to_watch.extend(due.map(|(endpoint, _)| *endpoint));
        self.to_watch.sort_unstable();
    }

    /// Looks at the media of a few of those calls, so that no message waits for long meanwhile; whether there are more.
    pub fn watch_some(&mut self, now: Time) -> bool {
        for _ in 0..WATCHED_AT_ONCE {
            let Some(endpoint) = self.to_watch.pop() else { break };
            // It may have been closed since.
            let of = self.endpoints.get(&endpoint).copied();
            if let (Some((call, side)), Some(flow)) = (of, self.plane.flow(endpoint)) {
                self.watch_leg(endpoint, call, side, &flow, now);
            }
        }
        self.drain(now);
        !self.to_watch.is_empty()
    }

    fn watch_leg(&mut self, endpoint: EndpointId, call: CallId, side: Side, flow: &FlowReport, now: Time) {
        let Some(live) = self.calls.get_mut(&call) else { return };
        let media = &self.config.media;
        let trunk = live.trunk_of(side).to_owned();
        let own = self.config.trunks.iter().find(|one| one.name == trunk);
        let rules = Rules {
            timeout: media.timeout,
            limits: own.map_or(media.limits, |own| own.limits.over(media.limits)),
            period: media.quality_period,
        };
        let up = matches!(live.call.phase(), Phase::Answering | Phase::Up);
        let direction = live.call.session(side).map(|session| session.direction);
        let expected = match (up, direction) {
            (true, Some(Direction::SendRecv)) => Expected::Media,
            // On hold, or not there yet.
            _ => Expected::Nothing,
        };
        let watched = self.watched.entry(endpoint).or_insert_with(|| Watched::new(flow, now));
        for finding in watched.look(flow, expected, &rules, now) {
            match finding {
                Finding::Crossed(measure, measured, limit) => {
                    warn!(%call, leg = ?side, trunk, measure = measure.name(), measured, limit,
                        "the network is beyond a limit");
                    self.totals.crossings[measure as usize] += 1;
                    if let Some(live) = self.calls.get_mut(&call) {
                        live.leg_mut(side).mark(measure);
                    }
                }
                Finding::Kept(measure, measured, limit) => {
                    info!(%call, leg = ?side, trunk, measure = measure.name(), measured, limit,
                        "the network keeps to a limit again");
                }
                Finding::KeyUsedUp => {
                    warn!(%call, leg = ?side, trunk,
                        "an SRTP master key is used up: its packets are refused until a re-INVITE brings another");
                }
                Finding::Quiet(quiet) => {
                    warn!(%call, leg = ?side, trunk, quiet_ms = quiet.as_millis(), "no media: the call is ended");
                    self.totals.media_timeouts += 1;
                    return self.feed(now, call, Event::MediaTimeout { side, quiet });
                }
            }
        }
    }

    /// A lookup asked for in [`Effects::lookups`] is done.
    pub fn resolved(&mut self, now: Time, call: CallId, result: Result<Vec<SocketAddr>, String>) {
        let event = match result {
            Ok(addresses) => Event::Resolved(addresses),
            Err(why) => Event::Unresolved(why),
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
                    Err(why) => Event::Unresolved(why),
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
            places,
            wake: _,
        } = &self.effects;
        transmits.is_empty() && lookups.is_empty() && places.is_empty()
    }

    /// What the SIP core has seen.
    pub fn sip_counters(&self) -> sip::Counters {
        self.sip.counters()
    }

    /// How often authentication failed.
    pub fn auth_failures(&self) -> Vec<sip::AuthFailures> {
        self.sip.auth_failures()
    }

    /// Whether nothing is left of any call, nor of a registration that is being taken back.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && !self.trunks.registrars.iter().any(Registrar::is_leaving)
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

    fn sip_event(&mut self, now: Time, event: sip::Event) {
        let dialog = match event {
            sip::Event::Incoming(incoming) => return self.incoming(now, *incoming),
            sip::Event::Referred { dialog, referral } => return self.referred(now, dialog, &referral),
            sip::Event::Outside { id, answer } => return self.outside_ended(now, id, &answer),
            sip::Event::Responded { dialog, .. }
            | sip::Event::Notified { dialog, .. }
            | sip::Event::Progress { dialog, .. }
            | sip::Event::Answered { dialog, .. }
            | sip::Event::Failed { dialog, .. }
            | sip::Event::Confirmed { dialog, .. }
            | sip::Event::Cancelled { dialog }
            | sip::Event::OfferAnswered { dialog, .. }
            | sip::Event::OfferRefused { dialog, .. }
            | sip::Event::Reinvite { dialog, .. }
            | sip::Event::Update { dialog, .. }
            | sip::Event::Bye { dialog, .. }
            | sip::Event::Terminated { dialog, .. } => dialog,
        };
        let Some(&(call, side)) = self.dialogs.get(&dialog) else {
            return debug!(?dialog, "event of a dialog that belongs to no call");
        };
        if let sip::Event::Answered { .. } = event {
            self.note_success(now, (call, side));
        }
        let event = match (event, side) {
            (event @ (sip::Event::Responded { .. } | sip::Event::Notified { .. }), _) => {
                debug!(%call, leg = %side, ?event, "REFER");
                match self.of_refer(call, side, event) {
                    Some(event) => Event::Transfer(event),
                    None => return,
                }
            }
            (sip::Event::Progress { .. }, Side::C) => Event::Transfer(transfer::Event::Progress),
            (sip::Event::Answered { sdp, .. }, Side::C) => Event::Transfer(transfer::Event::Answered { sdp }),
            (
                sip::Event::Failed {
                    status,
                    reason,
                    failure,
                    ..
                },
                Side::C,
            ) => {
                self.note_attempt(now, (call, side), status, &reason, &failure);
                Event::Transfer(transfer::Event::Failed {
                    status,
                    reason,
                    failure,
                })
            }
            (event, _) => match event {
                sip::Event::Incoming(_)
                | sip::Event::Referred { .. }
                | sip::Event::Responded { .. }
                | sip::Event::Notified { .. }
                | sip::Event::Outside { .. } => return,
                sip::Event::Progress { status, sdp, .. } => Event::Progress { status, sdp },
                sip::Event::Answered { sdp, .. } => Event::Answered { sdp },
                sip::Event::Confirmed { sdp, .. } => Event::Confirmed { side, sdp },
                sip::Event::Reinvite { sdp, .. } => Event::Reinvite { side, sdp },
                sip::Event::Update { sdp, .. } => Event::Update { side, sdp },
                sip::Event::OfferAnswered { sdp, .. } => Event::OfferAnswered { side, sdp },
                sip::Event::OfferRefused { outcome, .. } => {
                    debug!(%call, leg = %side, status = outcome.status, "our offer was refused: {}", outcome.reason);
                    Event::OfferRefused { side }
                }
                sip::Event::Failed {
                    status,
                    reason,
                    failure,
                    ..
                } => {
                    self.note_attempt(now, (call, side), status, &reason, &failure);
                    Event::Failed {
                        status,
                        reason,
                        failure,
                    }
                }
                sip::Event::Cancelled { .. } => Event::Cancelled,
                sip::Event::Bye { reason, .. } => Event::Bye { side, reason },
                sip::Event::Terminated { cause, .. } => Event::Terminated { side, cause },
            },
        };
        if matches!(
            event,
            Event::Failed { .. }
                | Event::Transfer(transfer::Event::Failed { .. })
                | Event::Cancelled
                | Event::Bye { .. }
                | Event::Terminated { .. }
        ) {
            self.dialogs.remove(&dialog);
        }
        self.note_placed(call, &event);
        self.feed(now, call, event);
    }

    fn incoming(&mut self, now: Time, incoming: Incoming) {
        if let Some(replaced) = incoming.replaces {
            return self.replace_dialog(now, incoming, replaced);
        }
        self.totals.calls += 1;
        let refusal = match route::route(&self.config, &incoming) {
            Ok(route) => match self.too_many_on_trunks(now, &route) {
                None => return self.begin(now, incoming, route),
                Some(reason) => return self.turn_away(now, &incoming, reason),
            },
            Err(refusal) => refusal,
        };
        self.totals.failed += 1;
        warn!(remote = %incoming.remote, from = incoming.from.user, to = incoming.request_uri.user,
            status = refusal.status, "call refused: {}", refusal.text);
        let reason = reason_header(Some(refusal.status), &refusal.text);
        let headers = [("Reason", reason.as_str())];
        self.sip.reject(now, incoming.dialog, refusal.status, &headers);
    }

    /// Refuses a call because there are too many.
    fn turn_away(&mut self, now: Time, incoming: &Incoming, reason: Reason) {
        self.totals.failed += 1;
        debug!(remote = %incoming.remote, trunk = incoming.trunk, reason = reason.name(), "call refused");
        let retry_after = self.sip.retry_after(reason).to_string();
        let why = reason_header(Some(503), reason.text());
        let headers = [("Reason", why.as_str()), ("Retry-After", retry_after.as_str())];
        self.sip.reject(now, incoming.dialog, 503, &headers);
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

    fn begin(&mut self, now: Time, incoming: Incoming, mut route: Route) {
        let id = self.new_call_id();
        info!(call = %id, trunk = route.trunk, tenant = route.tenant, from = route.caller, to = route.number,
            target = route.target, transport = %incoming.transport, sip_call_id = incoming.call_id, "call in");
        let (codecs, media) = match self.config.trunk(&route.trunk) {
            Some((peer, trunk)) => {
                self.sip.belongs_to(incoming.dialog, peer);
                (trunk.codecs.clone(), trunk.media)
            }
            None => Default::default(),
        };
        if let Plan::Trunk(outbound) = &mut route.plan {
            self.order_ways(now, &route.target, &mut outbound.ways);
        }
        let call = Call::new(
            Setup {
                id,
                origin: Origin::Caller,
                offer: incoming.sdp.clone(),
                remote: incoming.remote,
                transport: incoming.transport,
                identity: self.config.sdp.clone(),
                session_id: unix_seconds(),
                codecs,
                media,
                ptime: self.config.media.ptime,
                plan: route.plan.clone(),
            },
            now,
        );
        self.dialogs.insert(incoming.dialog, (id, Side::A));
        self.count_trunks(&route);
        self.calls.insert(id, Box::new(Live::new(call, route, incoming)));
        self.feed(now, id, Event::Start);
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

    fn perform(&mut self, now: Time, id: CallId, action: Action) -> Option<Event> {
        match action {
            Action::Resolve(host) => {
                self.effects.lookups.push((id, host));
                None
            }
            // An address needs no DNS, and its call no waiting.
            Action::Locate(place) => match place.literal() {
                Some(destination) => Some(Event::Located(vec![destination])),
                None => {
                    self.ask_for(Asker::Call(id), place);
                    None
                }
            },
            Action::OpenMedia { side, towards } => Some(self.open_media(id, side, towards)),
            Action::Program { side, session } => {
                let endpoint = self.endpoint(id, side)?;
                self.plane
                    .program(endpoint, session)
                    .err()
                    .map(|error| media_failed(side, &error))
            }
            Action::Relay => {
                let (a, b) = (self.endpoint(id, Side::A)?, self.endpoint(id, Side::B)?);
                match self.plane.relay(a, b) {
                    Ok(lanes) => {
                        info!(call = %id, lane_a = ?lanes[0], lane_b = ?lanes[1], "media relayed");
                        None
                    }
                    Err(error) => Some(media_failed(Side::B, &error)),
                }
            }
            Action::Attach { addresses } => {
                let live = self.calls.get(&id)?;
                let (_, side) = live.call.agent()?;
                let endpoint = self.endpoint(id, side)?;
                let Some(spec) = agents::spec(&self.config, live, addresses) else {
                    return Some(Event::Stop {
                        text: format!("agent {} is not configured", live.route.target),
                    });
                };
                self.plane
                    .attach(endpoint, spec)
                    .err()
                    .map(|error| media_failed(side, &error))
            }
            Action::CloseMedia { side } => {
                self.close_media(id, side);
                None
            }
            Action::Invite { target, patience, sdp } => match self.calls.get(&id)?.call.setup().plan.clone() {
                Plan::Trunk(outbound) => self.invite(now, id, Side::B, (*outbound, Vec::new()), &target, patience, sdp),
                Plan::Agent { .. } => None,
            },
            Action::Transfer(action) => self.perform_transfer(now, id, action),
            Action::Ring { status, sdp } => {
                let dialog = self.dialog(id, Side::A)?;
                self.sip.ring(now, dialog, status, sdp);
                None
            }
            Action::Answer { side, sdp } => {
                let dialog = self.dialog(id, side)?;
                self.sip.answer(now, dialog, sdp);
                let live = self.calls.get_mut(&id)?;
                if live.answered.is_none() {
                    live.answered = Some(SystemTime::now());
                    self.totals.answered += 1;
                    info!(call = %id, "call answered");
                }
                None
            }
            Action::Reject { side, status, text } => {
                let dialog = self.dialog(id, side)?;
                let reason = ("Reason", reason_header(Some(status), &text));
                // RFC 3261 section 21.4.26.
                let warning = (status == 488).then(|| ("Warning", warning_header(&text)));
                let headers: Vec<(&str, &str)> = iter::once(&reason)
                    .chain(&warning)
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                self.sip.reject(now, dialog, status, &headers);
                // A refused re-INVITE leaves its dialog as it was; a refused INVITE leaves nothing.
                if self.sip.call_id(dialog).is_none() {
                    self.dialogs.remove(&dialog);
                }
                None
            }
            Action::AnswerUpdate { side, sdp } => {
                let dialog = self.dialog(id, side)?;
                self.sip.answer_update(now, dialog, sdp);
                None
            }
            Action::RejectUpdate { side, status, text } => {
                let dialog = self.dialog(id, side)?;
                let reason = reason_header(Some(status), &text);
                self.sip.reject_update(now, dialog, status, &[("Reason", &reason)]);
                None
            }
            Action::Offer { side, sdp } => {
                let dialog = self.dialog(id, side)?;
                // Where the dialog has just ended, that is told as well.
                self.sip.offer(now, dialog, sdp);
                None
            }
            Action::HangUp { side, text } => {
                let dialog = self.dialog(id, side)?;
                self.sip.hang_up(now, dialog, Some(&reason_header(None, &text)));
                None
            }
            Action::Finish(cause) => {
                self.finish(id, cause);
                None
            }
        }
    }

    fn open_media(&mut self, id: CallId, side: Side, towards: SocketAddr) -> Event {
        let opened = self
            .media_address(id, side, towards)
            .map_err(|error| (503, error))
            .and_then(|local| {
                let failed = |error| (status_of(&error), error.to_string());
                self.plane.open(local).map_err(failed)
            });
        match (opened, self.calls.get_mut(&id)) {
            (Ok(endpoint), Some(live)) => {
                self.endpoints.insert(endpoint.id, (id, side));
                live.leg_mut(side).endpoint = Some(endpoint);
                Event::MediaOpened { side, endpoint }
            }
            (Ok(endpoint), None) => {
                self.plane.close(endpoint.id);
                Event::MediaFailed {
                    side,
                    status: 503,
                    error: "the call is over".to_owned(),
                }
            }
            (Err((status, error)), _) => Event::MediaFailed { side, status, error },
        }
    }

    /// Which of our addresses a leg's media gets: the trunk's, else the one the route to its far end starts from, if
    /// that is a media address, else the first of the family.
    fn media_address(&self, id: CallId, side: Side, towards: SocketAddr) -> Result<IpAddr, String> {
        let live = self.calls.get(&id).ok_or("the call is over")?;
        let trunk = self.trunk(live.trunk_of(side));
        if let Some(address) = trunk.and_then(|trunk| trunk.media_address) {
            return Ok(address);
        }
        let addresses = &self.config.media.addresses;
        let of_the_version = addresses.iter().find(|address| address.is_ipv4() == towards.is_ipv4());
        // A stream on hold may name no address, and nothing has to listen for SIP of the media's IP version.
        let routed = match towards.ip().is_unspecified() {
            true => Err("it names no address".to_owned()),
            false => self.routed(towards),
        };
        match (routed, of_the_version) {
            (Ok(routed), _) if addresses.is_empty() || addresses.contains(&routed.ip()) => Ok(routed.ip()),
            (_, Some(address)) => Ok(*address),
            (Err(error), None) if addresses.is_empty() => Err(format!("no route to {towards}: {error}")),
            (_, None) => Err(format!("media.addresses has none of the IP version of {towards}")),
        }
    }

    /// Where the route to an address starts from, whatever is listened on there.
    fn routed(&self, towards: SocketAddr) -> Result<SocketAddr, String> {
        let mut routed = Err("nothing is listened on".to_owned());
        for transport in Transport::ALL {
            routed = (self.local_for)(transport, towards).map_err(|error| error.to_string());
            if routed.is_ok() {
                break;
            }
        }
        routed
    }

    fn close_media(&mut self, id: CallId, side: Side) {
        let Some(live) = self.calls.get_mut(&id) else { return };
        let Some(endpoint) = live.leg_mut(side).endpoint.take() else {
            return;
        };
        self.endpoints.remove(&endpoint.id);
        self.watched.remove(&endpoint.id);
        if let Some(report) = self.plane.close(endpoint.id) {
            let flow = &report.flow;
            info!(call = %id, leg = ?side, lane = ?flow.lane, reason = ?flow.reason,
                received = flow.received.packets, lost = flow.received.lost, jitter_ms = flow.received.jitter_ms,
                sent = flow.sent_packets, "media closed");
            live.leg_mut(side).report = Some(report.flow);
        }
    }

    fn finish(&mut self, id: CallId, cause: Cause) {
        let Some(live) = self.calls.remove(&id) else { return };
        self.uncount_trunks(&live.route);
        self.placed_ended(&live, &cause);
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

    fn dialog(&self, id: CallId, side: Side) -> Option<DialogId> {
        self.calls.get(&id)?.leg(side).dialog
    }
}

pub(super) fn media_failed(side: Side, error: &MediaError) -> Event {
    Event::MediaFailed {
        side,
        status: status_of(error),
        error: error.to_string(),
    }
}

/// What a caller is told whose media cannot be had: it is us.
fn status_of(error: &MediaError) -> u16 {
    match error {
        MediaError::NoPort { .. }
        | MediaError::NotLocal(_)
        | MediaError::Closed(_)
        | MediaError::NoSession(_)
        | MediaError::NotRelayed(_)
        | MediaError::NotInKernel { .. }
        | MediaError::InUse(_)
        | MediaError::Io { .. } => 503,
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

/// A Warning header (RFC 3261 section 20.43) that says why there can be no media.
fn warning_header(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("399 voxlane \"{}\"", text.replace(['"', '\\'], "'"))
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
