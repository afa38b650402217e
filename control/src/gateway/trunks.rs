//! What the gateway does for its trunks beside calls: it asks their gateways whether they are there ([`crate::route::health`]),
//! remembers what calls have found, and keeps us registered ([`registrar`](super::registrar)).

use std::collections::HashMap;

use tracing::{debug, info, warn};

use super::core::{Asker, Core};
use super::registrar::Registrar;
use crate::call::targets::Target;
use crate::config::model::{Config, Gateway, Trunk};
use crate::ops::report::{GatewayRow, TrunkRow};
use crate::route::health::{Change, Evidence, Health};
use crate::sip::locate::Destination;
use crate::sip::outside::{Answer, Heard, Outside, OutsideId, OutsideMethod};
use crate::sip::{Address, Failure};
use crate::time::Time;

/// Most addresses of a trunk of which something is remembered.
const MOST_SEEN: usize = 128;

/// A gateway: its trunk's place in the configuration, and its own in the trunk.
pub(super) type Named = (u16, u8);

/// What is known of all trunks.
#[derive(Default)]
pub(super) struct Trunks {
    /// By the trunk's place.
    seen: HashMap<u16, Vec<Seen>>,
    /// When each gateway is asked next.
    due: Vec<(Named, Time)>,
    asked: HashMap<OutsideId, Asked>,
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
    /// Then it has failed.
    until: Time,
}

impl Trunks {
    /// Of a configuration. `ZERO` is when everything begins.
    pub(super) fn new(config: &Config) -> Self {
        let trunks = || (0..).zip(&config.trunks);
        let due = trunks()
            .filter(|(_, trunk)| trunk.health.is_some())
            .flat_map(|(place, trunk)| {
                let gateways = (0..).zip(&trunk.gateways);
                gateways.map(move |(index, _)| ((place, index), Time::ZERO))
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
        let due = self.due.iter().map(|(_, at)| *at);
        let late = self.asked.values().map(|asked| asked.until);
        let registers = self.registrars.iter().filter_map(Registrar::wake);
        due.chain(late).chain(registers).min()
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

    fn health(&mut self, (trunk, gateway): Named, destination: Destination) -> Option<&mut Health> {
        let seen = self.seen.entry(trunk).or_default();
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
        let late: Vec<OutsideId> = self
            .trunks
            .asked
            .iter()
            .filter(|(_, one)| one.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(asked) = self.trunks.asked.remove(&id) {
                self.see(
                    now,
                    asked.named,
                    asked.destination,
                    Evidence::Bad,
                    "no answer to OPTIONS",
                );
            }
        }
        let due: Vec<Named> = self
            .trunks
            .due
            .iter()
            .filter(|(_, at)| *at <= now)
            .map(|(named, _)| *named)
            .collect();
        for named in due {
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
        for (known, at) in &mut self.trunks.due {
            if *known == named {
                *at = now + rules.interval;
            }
        }
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
            let asked = Asked {
                named,
                destination,
                until: now + trunk.gateway_timeout,
            };
            self.trunks.asked.insert(id, asked);
        }
    }

    /// A request of ours outside dialogs has ended.
    pub(super) fn outside_ended(&mut self, now: Time, id: OutsideId, answer: &Answer) {
        let Some(asked) = self.trunks.asked.remove(&id) else {
            return self.register_answered(now, id, answer);
        };
        let (evidence, what) = match answer.heard {
            Heard::Response => (
                Evidence::of_status(answer.status),
                format!("{} {}", answer.status, answer.reason),
            ),
            Heard::Nothing => (Evidence::Bad, "no answer to OPTIONS".to_owned()),
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
        let Some(health) = self.trunks.health(named, destination) else {
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
        let found = (0..).zip(&self.config.trunks).find(|(_, known)| known.name == trunk);
        let (Some((place, _)), Some(gateway)) = (found, target.gateway) else {
            return;
        };
        let (named, destination) = ((place, gateway), target.destination);
        if let Some((
            503,
            Failure::Refused {
                retry_after: Some(wish),
                ..
            },
        )) = failed
            && let Some(health) = self.trunks.health(named, destination)
        {
            health.rest(now, *wish);
        }
        match failed {
            None => self.see(now, named, destination, Evidence::Good, "answers calls"),
            Some((_, Failure::Silent)) => self.see(now, named, destination, Evidence::Bad, "no answer to a call"),
            Some((_, Failure::Unreachable)) => self.see(now, named, destination, Evidence::Bad, "cannot be reached"),
            Some((status, Failure::Refused { .. })) => {
                let what = format!("{status} to a call");
                self.see(now, named, destination, Evidence::of_status(status), &what);
            }
            Some((_, Failure::TakenBack)) => {}
        }
    }

    /// Whether a gateway is tried after the others.
    pub(super) fn is_last_resort(&self, now: Time, trunk: &str, gateway: u8) -> bool {
        let found = (0..).zip(&self.config.trunks).find(|(_, known)| known.name == trunk);
        found.is_some_and(|(place, _)| self.trunks.is_gateway_avoided((place, gateway), now))
    }

    /// Destinations of a trunk, those that are down last.
    pub(super) fn best_first(&self, now: Time, trunk: &str, mut destinations: Vec<Destination>) -> Vec<Destination> {
        if let Some((place, _)) = (0..).zip(&self.config.trunks).find(|(_, known)| known.name == trunk) {
            destinations.sort_by_key(|destination| self.trunks.is_avoided(place, *destination, now));
        }
        destinations
    }

    /// The trunks of which there is something to tell.
    pub fn trunk_rows(&self, now: Time) -> Vec<TrunkRow> {
        let rows = (0..).zip(&self.config.trunks).filter_map(|(place, trunk)| {
            let seen = self.trunks.seen.get(&place).into_iter().flatten();
            let gateways: Vec<GatewayRow> = seen.filter_map(|seen| gateway_row(trunk, seen, now)).collect();
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

fn gateway_row(trunk: &Trunk, seen: &Seen, now: Time) -> Option<GatewayRow> {
    let gateway = trunk.gateways.get(usize::from(seen.gateway))?;
    let health = &seen.health;
    let state = match (health.is_down(), health.is_avoided(now)) {
        (true, _) => "down",
        (false, true) => "resting",
        (false, false) => "up",
    };
    Some(GatewayRow {
        gateway: gateway.place.to_string(),
        target: seen.destination.to_string(),
        state: state.to_owned(),
        last: health.last().map(str::to_owned),
    })
}

/// A gateway's trunk and itself.
fn named_of(config: &Config, (trunk, gateway): Named) -> Option<(&Trunk, &Gateway)> {
    let trunk = config.trunks.get(usize::from(trunk))?;
    Some((trunk, trunk.gateways.get(usize::from(gateway))?))
}
