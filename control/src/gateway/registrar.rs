//! Keeps us registered with the carriers that want that (RFC 3261 section 10.2): sends what
//! [`crate::route::registration`] asks for, by the trunk's gateways in turn.

use rand::Rng;
use tracing::{info, warn};

use super::core::{Asker, Core};
use crate::call::targets::{Next, Target, Targets, Then};
use crate::config::model::{Redirects, Trunk};
use crate::ops::report::RegistrationRow;
use crate::route;
use crate::route::registration::{Answered, News, Registration};
use crate::sip::locate::Destination;
use crate::sip::outside::{Answer, Heard, Known, Outside, OutsideId, OutsideMethod, Sequence};
use crate::sip::{Address, Failure};
use crate::time::Time;

/// One trunk's registration, and what its REGISTER tries.
pub(super) struct Registrar {
    /// The trunk's place in the configuration.
    pub(super) trunk: u16,
    registration: Registration,
    /// User part of our Contact: hard to guess, so that who calls it has it from the registrar.
    contact: String,
    sequence: Option<Sequence>,
    targets: Option<Targets>,
    /// Where the last REGISTER went.
    target: Option<Target>,
    asked: Option<OutsideId>,
}

impl Registrar {
    /// Of a trunk that wants one.
    pub(super) fn of(place: u16, trunk: &Trunk) -> Option<Self> {
        let register = trunk.register.as_ref()?;
        Some(Self {
            trunk: place,
            registration: Registration::new(Time::ZERO, register.expires),
            contact: format!("vx{:032x}", rand::rng().random::<u128>()),
            sequence: None,
            targets: None,
            target: None,
            asked: None,
        })
    }

    pub(super) fn wake(&self) -> Option<Time> {
        self.registration.wake()
    }

    /// Whether the REGISTER that ends it waits for its answer.
    pub(super) fn is_leaving(&self) -> bool {
        self.asked.is_some() && !self.registration.is_gone() && self.registration.asked().is_zero()
    }

    pub(super) fn row(&self, now: Time) -> RegistrationRow {
        RegistrationRow {
            registered: self.registration.is_known(now),
            expires_in_s: self.registration.known_for(now).map(|left| left.as_secs()),
            last: self.registration.last().map(str::to_owned),
        }
    }
}

impl Core {
    pub(super) fn tend_registrars(&mut self, now: Time) {
        for index in 0..self.trunks.registrars.len() {
            let due = self
                .trunks
                .registrars
                .get_mut(index)
                .is_some_and(|one| one.registration.is_due(now));
            if due {
                self.begin_register(now, index);
            }
        }
    }

    /// Begins with the first gateway of the trunk.
    fn begin_register(&mut self, now: Time, index: usize) {
        let config = std::sync::Arc::clone(&self.config);
        let Some(registrar) = self.trunks.registrars.get(index) else {
            return;
        };
        let Some(trunk) = config.trunks.get(usize::from(registrar.trunk)) else {
            return;
        };
        let domain = route::domain(trunk);
        let mut ways = route::ways(trunk);
        self.order_ways(now, &trunk.name, &mut ways);
        if let Some(registrar) = self.trunks.registrars.get_mut(index) {
            registrar.targets = Some(Targets::new(ways, domain, Redirects::Off));
        }
        self.step_register(now, index);
    }

    /// Sends the REGISTER to what is next.
    fn step_register(&mut self, now: Time, index: usize) {
        loop {
            let Some(registrar) = self.trunks.registrars.get_mut(index) else {
                return;
            };
            let Some(targets) = &mut registrar.targets else { return };
            match targets.advance() {
                Next::LookUp(place) => match place.literal() {
                    Some(destination) => targets.found(vec![destination]),
                    None => {
                        let asker = Asker::Register(registrar.trunk);
                        return self.ask_for(asker, place);
                    }
                },
                Next::Try(target) => {
                    registrar.target = Some(target);
                    match self.send_register(now, index) {
                        Ok(()) => return,
                        Err(why) => {
                            let failed = self
                                .trunks
                                .registrars
                                .get_mut(index)
                                .and_then(|one| one.targets.as_mut());
                            failed.map(|targets| targets.failed(503, &why, &Failure::Unreachable));
                        }
                    }
                }
                Next::Exhausted => {
                    let last = targets.tried().last();
                    let text = last.map_or_else(|| "there is no gateway".to_owned(), |last| last.outcome.clone());
                    let answered = Answered {
                        status: 408,
                        text: &text,
                        expires: None,
                        min_expires: None,
                        retry_after: None,
                    };
                    return self.judge(now, index, &answered);
                }
            }
        }
    }

    /// A gateway that a REGISTER is to go to is found, or not.
    pub(super) fn register_located(&mut self, now: Time, trunk: u16, found: Result<Vec<Destination>, String>) {
        let Some(index) = self.trunks.registrars.iter().position(|one| one.trunk == trunk) else {
            return;
        };
        let found = found.map(|destinations| self.reachable(destinations));
        let targets = self
            .trunks
            .registrars
            .get_mut(index)
            .and_then(|one| one.targets.as_mut());
        let Some(targets) = targets.filter(|targets| targets.is_looking()) else {
            return;
        };
        match found {
            Ok(destinations) => targets.found(destinations),
            Err(why) => targets.not_found(&why),
        }
        self.step_register(now, index);
    }

    fn send_register(&mut self, now: Time, index: usize) -> Result<(), String> {
        let config = std::sync::Arc::clone(&self.config);
        let registrar = self.trunks.registrars.get(index).ok_or("there is no registration")?;
        let trunk = config
            .trunks
            .get(usize::from(registrar.trunk))
            .ok_or("there is no trunk")?;
        let register = trunk.register.as_ref().ok_or("the trunk does not register")?;
        let target = registrar.target.clone().ok_or("there is nowhere to register")?;
        let Destination { remote, transport } = target.destination;
        let local = (self.local_for)(transport, remote).map_err(|error| format!("no route to {remote}: {error}"))?;
        let domain = route::domain(trunk);
        let known_as = Address {
            user: register.user.clone(),
            port: None,
            ..domain.clone()
        };
        let outside = Outside {
            method: OutsideMethod::Register,
            local,
            remote,
            transport,
            peer: target.gateway.and_then(|gateway| config.peer(&trunk.name, gateway)),
            request_uri: domain,
            from: known_as.clone(),
            to: known_as,
            contact: registrar.contact.clone(),
            sequence: registrar.sequence.clone(),
            trunk: Some(trunk.name.clone()),
            headers: vec![(
                "Expires".to_owned(),
                registrar.registration.asked().as_secs().to_string(),
            )],
        };
        // A call may come before the answer does.
        let whose = match route::takes_calls(trunk) {
            true => Known::AsUsual,
            false => Known::Of(trunk.name.clone()),
        };
        self.sip.take_contact(&registrar.contact, whose);
        let id = self.sip.ask_outside(now, outside);
        if let Some(registrar) = self.trunks.registrars.get_mut(index) {
            registrar.asked = Some(id);
        }
        Ok(())
    }

    /// A REGISTER was answered, or not.
    pub(super) fn register_answered(&mut self, now: Time, id: OutsideId, answer: &Answer) {
        let Some(index) = self.trunks.registrars.iter().position(|one| one.asked == Some(id)) else {
            return;
        };
        let Some(registrar) = self.trunks.registrars.get_mut(index) else {
            return;
        };
        registrar.asked = None;
        registrar.sequence = Some(answer.sequence.clone());
        let leaving = registrar.registration.asked().is_zero();
        let failure = match answer.heard {
            Heard::Response => Failure::refused(),
            Heard::Nothing => Failure::Silent,
            Heard::Unreachable => Failure::Unreachable,
        };
        let failed = !(200..300).contains(&answer.status);
        if failed
            && !leaving
            && let Some(targets) = &mut registrar.targets
            && targets.failed(answer.status, &answer.reason, &failure) == Then::Next
            && targets.has_more()
        {
            return self.step_register(now, index);
        }
        let text = format!("{} {}", answer.status, answer.reason);
        let answered = Answered {
            status: answer.status,
            text: &text,
            expires: answer.expires,
            min_expires: answer.min_expires,
            retry_after: answer.retry_after,
        };
        self.judge(now, index, &answered);
    }

    fn judge(&mut self, now: Time, index: usize, answered: &Answered<'_>) {
        let chance = self.random.random_range(0.0..1.0);
        let Some(registrar) = self.trunks.registrars.get_mut(index) else {
            return;
        };
        let trunk = self
            .config
            .trunks
            .get(usize::from(registrar.trunk))
            .map(|trunk| &trunk.name);
        let news = registrar.registration.on_answer(now, answered, chance);
        let target = registrar.target.as_ref().map(|target| target.destination.to_string());
        match news {
            News::Registered => {
                let for_s = registrar.registration.known_for(now).map(|left| left.as_secs());
                info!(trunk, target, for_s, "registered");
            }
            News::Failed => {
                let again = registrar.registration.wake().map(|at| at.since(now).as_secs());
                warn!(trunk, target, again_in_s = again, "not registered: {}", answered.text);
            }
            News::Nothing => {}
        }
        if registrar.registration.is_gone() {
            info!(trunk, "registration taken back");
        }
    }

    /// Takes every registration back.
    pub(super) fn leave_registrars(&mut self, now: Time) {
        for index in 0..self.trunks.registrars.len() {
            let Some(registrar) = self.trunks.registrars.get_mut(index) else {
                return;
            };
            if registrar.registration.leave(now)
                && registrar.target.is_some()
                && let Err(why) = self.send_register(now, index)
            {
                warn!("a registration cannot be taken back: {why}");
            }
        }
    }
}
