//! What the gateway does for its trunks beside calls: it asks their gateways whether they are there ([`crate::route::health`]),
//! remembers what calls have found, and keeps us registered ([`registrar`](super::registrar)).

use std::collections::{BTreeSet, HashMap};

use tracing::{debug, info, warn};

use super::core::{Asker, Core};
use super::registrar::Registrar;
use crate::call::targets::Target;
use crate::call::{CallId, Side};
use crate::config::model::{Config, Gateway, Trunk};
use crate::ops::report::{GatewayRow, GatewayState, TrunkRow};
use crate::route::health::{Change, Evidence, Health};
use crate::sip::locate::Destination;
use crate::sip::outside::{Answer, Heard, Outside, OutsideId, OutsideMethod};
use crate::sip::{Address, Failure};
use crate::time::Time;

/// Most addresses of a trunk of which something is remembered.
const MOST_SEEN: usize = 128;

/// What is seen of one that does not answer OPTIONS.
const SILENT: &str = "no answer to OPTIONS";

/// A gateway: its trunk's place in the configuration, and its own in the trunk.
pub(super) type Named = (u16, u8);

/// What is known of all trunks.
#[derive(Default)]
pub(super) struct Trunks {
    /// By the trunk's place.
    seen: HashMap<u16, Vec<Seen>>,
    /// When each gateway is asked next.
    due: BTreeSet<(Time, Named)>,
    asked: HashMap<OutsideId, Asked>,
    /// When those have failed that wait for their answers.
    late: BTreeSet<(Time, OutsideId)>,
    pub(super) registrars: Vec<Registrar>,
}

/// An address of a gateway.
struct Seen {
    gateway: u8,
    destination: Destination,
    health: Health,
}

/// An OPTIONS that waits for its answer.
struct Asked {
    named: Named,
    destination: Destination,
}

impl Trunks {
    /// Of a configuration. `ZERO` is when everything begins.
    pub(super) fn new(config: &Config) -> Self {
        let trunks = || (0..).zip(&config.trunks);
        let due = trunks()
            .filter(|(_, trunk)| trunk.health.is_some())
            .flat_map(|(place, trunk)| {
                let gateways = (0..).zip(&trunk.gateways);
                gateways.map(move |(index, _)| (Time::ZERO, (place, index)))
            });
        Self {
            due: due.collect(),
            registrars: trunks()
                .filter_map(|(place, trunk)| Registrar::of(place, trunk))
                .collect(),
            ..Self::default()
        }
    }

    /// When something is to be done next.
    pub(super) fn wake(&self) -> Option<Time> {
        let due = self.due.first().map(|(at, _)| *at);
        let late = self.late.first().map(|(at, _)| *at);
        let registers = self.registrars.iter().filter_map(Registrar::wake);
        due.into_iter().chain(late).chain(registers).min()
    }

    /// Whether calls should rather go elsewhere.
    fn is_avoided(&self, trunk: u16, destination: Destination, now: Time) -> bool {
        let seen = self.seen.get(&trunk).into_iter().flatten();
        let mut at = seen.filter(|seen| seen.destination == destination);
        at.next().is_some_and(|seen| seen.health.is_avoided(now))
    }

    /// The same of a gateway: of all that is known of it.
    fn is_gateway_avoided(&self, (trunk, gateway): Named, now: Time) -> bool {
        let seen = self.seen.get(&trunk).into_iter().flatten();
        let mut known = seen.filter(|seen| seen.gateway == gateway).peekable();
        known.peek().is_some() && known.all(|seen| seen.health.is_avoided(now))
    }

    /// What is known of an address; `None`: too much is known of others.
    fn health(&mut self, (trunk, gateway): Named, destination: Destination, now: Time) -> Option<&mut Health> {
        let seen = self.seen.entry(trunk).or_default();
        if seen.len() >= MOST_SEEN {
            // Those that calls go to have nothing that must be remembered.
            seen.retain(|one| one.health.is_avoided(now));
        }
        let known = seen
            .iter()
            .position(|one| one.gateway == gateway && one.destination == destination);
        let at = match known {
            Some(at) => at,
            None if seen.len() >= MOST_SEEN => return None,
            None => {
                seen.push(Seen {
                    gateway,
                    destination,
                    health: Health::default(),
                });
                seen.len() - 1
            }
        };
        seen.get_mut(at).map(|seen| &mut seen.health)
    }
}

impl Core {
    /// Does what is due for the trunks.
    pub(super) fn tend_trunks(&mut self, now: Time) {
        while let Some((_, id)) = due(&mut self.trunks.late, now) {
            if let Some(Asked { named, destination }) = self.trunks.asked.remove(&id) {
                self.see(now, named, destination, Evidence::Bad, SILENT);
            }
        }
        while let Some((_, named)) = due(&mut self.trunks.due, now) {
            self.check(now, named);
        }
        self.tend_registrars(now);
    }

    /// Asks a gateway whether it is there, as soon as it is known where that is.
    fn check(&mut self, now: Time, named: Named) {
        let Some((trunk, gateway)) = named_of(&self.config, named) else {
            return;
        };
        let Some(rules) = trunk.health else { return };
        let place = gateway.place.clone();
        self.trunks.due.insert((now + rules.interval, named));
        match place.literal() {
            Some(destination) => self.check_at(now, named, &[destination]),
            None => self.ask_for(Asker::Gateway(named), place),
        }
    }

    /// The places of a gateway are known, or cannot be found.
    pub(super) fn gateway_located(&mut self, now: Time, named: Named, found: Result<Vec<Destination>, String>) {
        match found {
            Ok(destinations) => {
                let destinations = self.reachable(destinations);
                // What DNS does not name any more is nobody's business.
                if let Some(seen) = self.trunks.seen.get_mut(&named.0) {
                    seen.retain(|one| one.gateway != named.1 || destinations.contains(&one.destination));
                }
                self.check_at(now, named, &destinations);
            }
            Err(why) => {
                let seen = self.trunks.seen.get(&named.0).into_iter().flatten();
                let known = seen.filter(|one| one.gateway == named.1).map(|one| one.destination);
                let known: Vec<Destination> = known.collect();
                if known.is_empty() {
                    warn!(
                        trunk = named_of(&self.config, named).map(|(trunk, _)| &trunk.name),
                        "{why}"
                    );
                }
                for destination in known {
                    self.see(now, named, destination, Evidence::Bad, &why);
                }
            }
        }
    }

    fn check_at(&mut self, now: Time, named: Named, destinations: &[Destination]) {
        let config = std::sync::Arc::clone(&self.config);
        let Some((trunk, gateway)) = named_of(&config, named) else {
            return;
        };
        for &destination in destinations {
            let Destination { remote, transport } = destination;
            let local = match (self.local_for)(transport, remote) {
                Ok(local) => local,
                Err(error) => {
                    self.see(now, named, destination, Evidence::Bad, &format!("no route: {error}"));
                    continue;
                }
            };
            let host = |host: String, port| Address {
                display: String::new(),
                user: String::new(),
                host,
                port,
            };
            let to = host(gateway.place.host.clone(), gateway.place.port);
            let id = self.sip.ask_outside(
                now,
                Outside {
                    method: OutsideMethod::Options,
                    local,
                    remote,
                    transport,
                    peer: self.config.peer(&trunk.name, named.1),
                    request_uri: to.clone(),
                    from: host(local.ip().to_string(), None),
                    to,
                    contact: String::new(),
                    sequence: None,
                    trunk: Some(trunk.name.clone()),
                    headers: Vec::new(),
                },
            );
            self.trunks.asked.insert(id, Asked { named, destination });
            self.trunks.late.insert((now + trunk.gateway_timeout, id));
        }
    }

    /// A request of ours outside dialogs has ended.
    pub(super) fn outside_ended(&mut self, now: Time, id: OutsideId, answer: &Answer) {
        let Some(asked) = self.trunks.asked.remove(&id) else {
            return self.register_answered(now, id, answer);
        };
        let (evidence, what) = match answer.heard {
            Heard::Response => (
                Evidence::of_options(answer.status),
                format!("{} {}", answer.status, answer.reason),
            ),
            Heard::Nothing => (Evidence::Bad, SILENT.to_owned()),
            Heard::Unreachable => (Evidence::Bad, "cannot be reached".to_owned()),
        };
        self.see(now, asked.named, asked.destination, evidence, &what);
    }

    /// Takes in what was seen of a gateway.
    fn see(&mut self, now: Time, named: Named, destination: Destination, evidence: Evidence, what: &str) {
        let Some((trunk, gateway)) = named_of(&self.config, named) else {
            return;
        };
        let Some(rules) = trunk.health else { return };
        let (name, place) = (trunk.name.clone(), gateway.place.to_string());
        let Some(health) = self.trunks.health(named, destination, now) else {
            return;
        };
        match health.see(evidence, what, &rules) {
            Some(Change::Down) => {
                warn!(trunk = name, gateway = place, target = %destination, "gateway is down: {what}");
            }
            Some(Change::Up) => {
                info!(trunk = name, gateway = place, target = %destination, "gateway is up again: {what}")
            }
            None => debug!(trunk = name, gateway = place, target = %destination, at = now.as_micros(), "{what}"),
        }
    }

    /// What a call has found at a target of a trunk: it lives, or an INVITE has failed there.
    pub(super) fn see_of_call(&mut self, now: Time, trunk: &str, target: &Target, failed: Option<(u16, &Failure)>) {
        let (Some(place), Some(gateway)) = (self.place_of(trunk), target.gateway) else {
            return;
        };
        let (named, destination) = ((place, gateway), target.destination);
        let (evidence, what) = match failed {
            None => (Evidence::Good, "answers calls".to_owned()),
            Some((_, Failure::Silent)) => (Evidence::Bad, "no answer to a call".to_owned()),
            Some((_, Failure::Unreachable)) => (Evidence::Bad, "cannot be reached".to_owned()),
            Some((status, Failure::Refused { retry_after, .. })) => {
                if let (503, Some(wish)) = (status, retry_after)
                    && let Some(health) = self.trunks.health(named, destination, now)
                {
                    health.rest(now, *wish);
                }
                (Evidence::of_call(status), format!("{status} to a call"))
            }
            Some((_, Failure::TakenBack)) => return,
        };
        self.see(now, named, destination, evidence, &what);
    }

    /// Whether a gateway is tried after the others.
    pub(super) fn is_last_resort(&self, now: Time, trunk: &str, gateway: u8) -> bool {
        let place = self.place_of(trunk);
        place.is_some_and(|place| self.trunks.is_gateway_avoided((place, gateway), now))
    }

    /// Destinations of the trunk that a call is being placed or transferred on, those that are down last.
    pub(super) fn best_first(&self, now: Time, call: CallId, mut destinations: Vec<Destination>) -> Vec<Destination> {
        let Some(live) = self.calls.get(&call) else {
            return destinations;
        };
        let side = match live.call.target() {
            Some(_) => Side::C,
            None => Side::B,
        };
        if let Some(place) = self.place_of(live.trunk_of(side)) {
            destinations.sort_by_key(|destination| self.trunks.is_avoided(place, *destination, now));
        }
        destinations
    }

    /// A trunk's place in the configuration.
    fn place_of(&self, trunk: &str) -> Option<u16> {
        let mut trunks = (0..).zip(&self.config.trunks);
        trunks.find(|(_, known)| known.name == trunk).map(|(place, _)| place)
    }

    /// The trunks of which there is something to tell.
    pub fn trunk_rows(&self, now: Time) -> Vec<TrunkRow> {
        let rows = (0..).zip(&self.config.trunks).filter_map(|(place, trunk)| {
            let seen = self.trunks.seen.get(&place).map_or(&[][..], Vec::as_slice);
            let gateways = (0..).zip(&trunk.gateways);
            let gateways: Vec<GatewayRow> = gateways
                .flat_map(|(index, gateway)| {
                    rows_of(gateway, trunk, seen.iter().filter(move |one| one.gateway == index), now)
                })
                .collect();
            let mut registrars = self.trunks.registrars.iter().filter(|one| one.trunk == place);
            let registration = registrars.next().map(|one| one.row(now));
            let tells = !gateways.is_empty() || registration.is_some();
            tells.then(|| TrunkRow {
                name: trunk.name.clone(),
                gateways,
                registration,
            })
        });
        rows.collect()
    }
}

/// What is known of the addresses of a gateway; where it is watched, also that nothing is.
fn rows_of<'a>(gateway: &Gateway, trunk: &Trunk, seen: impl Iterator<Item = &'a Seen>, now: Time) -> Vec<GatewayRow> {
    let row = |target: Option<Destination>, state, last: Option<&str>| GatewayRow {
        gateway: gateway.place.to_string(),
        target: target.map(|target| target.to_string()),
        state,
        last: last.map(str::to_owned),
    };
    let known = seen.map(
        |Seen {
             destination, health, ..
         }| {
            let state = match (health.is_down(), health.is_avoided(now)) {
                (true, _) => GatewayState::Down,
                (false, true) => GatewayState::Resting,
                (false, false) => GatewayState::Up,
            };
            row(Some(*destination), state, health.last())
        },
    );
    let mut rows: Vec<GatewayRow> = known.collect();
    if rows.is_empty() && trunk.health.is_some() {
        rows.push(row(None, GatewayState::Unknown, None));
    }
    rows
}

/// Takes the first that is due.
fn due<T: Copy + Ord>(queue: &mut BTreeSet<(Time, T)>, now: Time) -> Option<(Time, T)> {
    let first = queue.first().copied().filter(|(at, _)| *at <= now)?;
    queue.remove(&first);
    Some(first)
}

/// A gateway's trunk and itself.
fn named_of(config: &Config, (trunk, gateway): Named) -> Option<(&Trunk, &Gateway)> {
    let trunk = config.trunks.get(usize::from(trunk))?;
    Some((trunk, trunk.gateways.get(usize::from(gateway))?))
}
