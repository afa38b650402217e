//! Calls that are placed because an operator or a campaign asks for it: they are checked, wait in the
//! [`Dialler`](crate::campaign::Dialler), and begin when their turn comes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::application::{Applied, placed_application};
use super::core::Core;
use super::live::Live;
use crate::call::{Call, CallId, Cause, Event, Origin, Plan, Setup};
use crate::campaign::{
    CallRequest, CallResult, CampaignId, CampaignReport, CampaignRequest, Ending, Order, PlaceError, PlacedApplication,
    Placing, Requester,
};
use crate::config::model::CallEvent;
use crate::rest::Status;
use crate::route::{self, Route};
use crate::sip::Transport;
use crate::time::Time;

/// Fastest campaign, calls a second.
const MOST_PER_SECOND: f64 = 1000.0;
/// How long calls wait when the gateway takes none.
const REST: Duration = Duration::from_secs(1);
/// How long they wait when their trunk has too many.
const PAUSE: Duration = Duration::from_millis(100);
/// Most calls that begin before other things get their turn.
const AT_ONCE: usize = 32;

impl Core {
    /// Takes a call that is to be placed.
    ///
    /// # Errors
    /// What is wrong with it, or that too many wait.
    pub fn place_call(&mut self, request: CallRequest) -> Result<CallResult, PlaceError> {
        self.dialler.has_room(1)?;
        let order = self.placing_order(&request.to, request.placing)?;
        let call = order.call;
        self.register_waiting(&order);
        self.dialler.call(order, SystemTime::now());
        self.dialler.result(call)
    }

    /// Takes a campaign.
    ///
    /// # Errors
    /// What is wrong with it: then nothing of it is called.
    pub fn start_campaign(&mut self, request: CampaignRequest, now: Time) -> Result<CampaignReport, PlaceError> {
        let wrong = |text: &str| Err(PlaceError::Request(text.to_owned()));
        if request.numbers.is_empty() {
            return wrong("numbers is empty; write at least one");
        }
        if !(request.rate > 0.0 && request.rate <= MOST_PER_SECOND) {
            return wrong("rate is calls a second; write more than 0 and at most 1000");
        }
        if request.concurrency == 0 {
            return wrong("concurrency is calls at once; write at least 1");
        }
        self.dialler.has_room(request.numbers.len())?;
        let orders = request
            .numbers
            .iter()
            .map(|entry| self.placing_order(entry.number(), entry.placing(&request.placing)));
        let orders: Result<Vec<Order>, PlaceError> = orders.collect();
        let id = self.dialler.campaign(&request, orders?, now, SystemTime::now());
        info!(
            campaign = id.0,
            numbers = request.numbers.len(),
            rate = request.rate,
            concurrency = request.concurrency,
            "campaign begins"
        );
        self.dialler.campaign_report(id)
    }

    /// What became of a call that was placed.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn placed(&self, call: CallId) -> Result<CallResult, PlaceError> {
        self.dialler.result(call)
    }

    /// Takes a placed call back, or hangs it up.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn cancel_call(&mut self, call: CallId, now: Time, by: Requester) -> Result<CallResult, PlaceError> {
        if self.dialler.cancel(call, SystemTime::now())? {
            self.stop_call(now, call, &format!("hung up by {by}"));
        }
        self.register_result(call);
        self.dialler.result(call)
    }

    /// Stops a campaign: what waits is not called, what rings is taken back, and what is answered goes on.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn stop_campaign(&mut self, id: CampaignId, now: Time) -> Result<CampaignReport, PlaceError> {
        let ringing = self.dialler.stop(id, SystemTime::now())?;
        info!(campaign = id.0, ringing = ringing.len(), "campaign stopped");
        for call in ringing {
            self.stop_call(now, call, "its campaign was stopped");
        }
        self.dialler.campaign_report(id)
    }

    /// Checks a call that is asked for.
    fn placing_order(&mut self, to: &str, placing: Placing) -> Result<Order, PlaceError> {
        let wrong = |text: String| PlaceError::Request(text);
        let trunk = self.config.trunks.iter().find(|trunk| trunk.name == placing.trunk);
        let trunk = trunk.ok_or_else(|| wrong(format!("there is no trunk {:?}", placing.trunk)))?;
        match placing.agent.as_str() {
            "" => {
                placed_application(&placing).map_err(wrong)?;
            }
            _ if placing.application != PlacedApplication::default() => {
                return Err(wrong(
                    "agent is written beside an application; keep one of them".to_owned(),
                ));
            }
            name if self.config.agents.iter().any(|agent| agent.name == name) => {}
            name => return Err(wrong(format!("there is no agent {name:?}"))),
        }
        if let Some(tenant) = &placing.tenant
            && !self.config.tenants.iter().any(|known| &known.name == tenant)
        {
            return Err(wrong(format!("there is no tenant {tenant:?}")));
        }
        if !route::number::is_e164(to) {
            let text = "is not a number in E.164; write \"+\", country code and number, 7 to 15 digits";
            return Err(wrong(format!("{to:?} {text}")));
        }
        let first = trunk.caller_ids.first();
        let from = match (&placing.caller_id, first) {
            (Some(own), _) if trunk.caller_ids.contains(own) => own.clone(),
            (Some(own), _) => {
                let text = format!("{own:?} is not among the caller_ids of trunk {:?}", trunk.name);
                return Err(wrong(text));
            }
            (None, Some(first)) => first.clone(),
            (None, None) => {
                let text = format!(
                    "trunk {:?} has no caller_ids; write those that it may show there",
                    trunk.name
                );
                return Err(wrong(text));
            }
        };
        for (name, value) in &placing.headers {
            let valid = crate::config::header_name(name) && !value.chars().any(char::is_control);
            if !valid {
                return Err(wrong(format!("{name:?} with its value is no HTTP header")));
            }
        }
        // Whether it can be called is found out now, not when its turn comes.
        route::placed(trunk, to, &from).map_err(wrong)?;
        Ok(Order {
            call: self.new_call_id(),
            to: to.to_owned(),
            from,
            placing,
        })
    }

    /// Places what is due, and takes back what rings for too long.
    pub(super) fn dial(&mut self, now: Time) {
        for call in self.dialler.overdue(now) {
            self.stop_call(now, call, "not answered in time");
        }
        for _ in 0..AT_ONCE {
            if self.refuses_calls(now).is_some() {
                self.dialler.rest_until(now + REST);
            }
            let (config, guard) = (&self.config, &self.guard);
            let may = |trunk: &str| !guard.is_full(config, trunk);
            match self.dialler.due(now, SystemTime::now(), may) {
                Some(order) => self.begin_placed(now, order),
                None => {
                    if self.dialler.is_ready(now) {
                        self.dialler.rest_until(now + PAUSE);
                    }
                    return;
                }
            }
        }
    }

    fn begin_placed(&mut self, now: Time, order: Order) {
        let Order {
            call: id,
            to,
            from,
            placing,
        } = order;
        let config = Arc::clone(&self.config);
        let trunk = config.trunks.iter().find(|trunk| trunk.name == placing.trunk);
        let origin = match self.origin(&placing) {
            Ok(origin) => origin,
            Err(why) => return self.not_placed(id, &why),
        };
        let Some(trunk) = trunk else {
            return self.not_placed(id, "its trunk is not configured any more");
        };
        let mut plan = match route::placed(trunk, &to, &from) {
            Ok(plan) => plan,
            Err(why) => return self.not_placed(id, &why),
        };
        if let Plan::Trunk(outbound) = &mut plan {
            self.order_ways(now, &trunk.name, &mut outbound.ways);
        }
        info!(call = %id, trunk = trunk.name, tenant = placing.tenant, from, to, agent = placing.talks(), "call out");
        let setup = Setup {
            id,
            origin,
            offer: None,
            remote: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            transport: Transport::Udp,
            identity: self.config.sdp.clone(),
            session_id: super::core::unix_seconds(),
            codecs: trunk.codecs.clone(),
            media: trunk.media,
            ptime: self.config.media.ptime,
            plan: plan.clone(),
        };
        let route = Route {
            trunk: trunk.name.clone(),
            number: to,
            caller: from,
            tenant: placing.tenant.clone(),
            plan,
            target: trunk.name.clone(),
        };
        self.totals.calls += 1;
        self.count_trunks(&route);
        let applied = match placing.agent.is_empty() {
            true => placed_application(&placing).ok().map(|(_, rules)| Applied::new(rules)),
            false => None,
        };
        let mut live = Live::placed(Call::new(setup, now), route, placing);
        live.applied = applied;
        self.calls.insert(id, Box::new(live));
        self.register_begin(id);
        self.tell_owner(id, CallEvent::Initiated);
        self.feed(now, id, Event::Start);
    }

    /// Who talks with the called party.
    fn origin(&self, placing: &Placing) -> Result<Origin, String> {
        if placing.agent.is_empty() {
            let (source, rules) = placed_application(placing)?;
            let script = Box::new(rules.script(source));
            let name = script.name();
            return Ok(Origin::Application { name, script });
        }
        let agent = self.config.agents.iter().find(|agent| agent.name == placing.agent);
        let agent = agent.ok_or("its agent is not configured any more")?;
        Ok(Origin::Agent {
            name: agent.name.clone(),
            host: agent.endpoint.host().cloned(),
        })
    }

    fn not_placed(&mut self, id: CallId, why: &str) {
        warn!(call = %id, "not placed: {why}");
        let ending = Ending {
            status: None,
            cause: why.to_owned(),
        };
        self.dialler.ended(id, ending, SystemTime::now());
        self.register_result(id);
    }

    /// What becomes of a call that an agent has placed is entered in the book.
    pub(super) fn note_placed(&mut self, id: CallId, event: &Event) {
        let wall = SystemTime::now();
        match event {
            Event::Progress { .. } => {
                self.dialler.ringing(id, wall);
                self.register_reached(id, Status::Ringing);
                self.tell_owner(id, CallEvent::Ringing);
            }
            Event::Answered { .. } => {
                if let Some(live) = self.calls.get_mut(&id)
                    && live.call.is_placed()
                    && live.answered.is_none()
                {
                    live.answered = Some(wall);
                    self.totals.answered += 1;
                    self.dialler.answered(id, wall);
                    self.register_reached(id, Status::InProgress);
                    self.tell_owner(id, CallEvent::Answered);
                }
            }
            Event::Failed { status, .. } => {
                if let Some(live) = self.calls.get_mut(&id) {
                    live.refused_with = Some(*status);
                }
            }
            _ => {}
        }
    }

    /// A call that was placed is over.
    pub(super) fn placed_ended(&mut self, id: CallId, cause: &Cause) {
        let live = self.calls.get(&id).filter(|live| live.call.is_placed());
        if let Some(live) = live {
            let ending = Ending {
                status: live.refused_with,
                cause: cause.text.clone(),
            };
            self.dialler.ended(id, ending, SystemTime::now());
        }
    }

    fn stop_call(&mut self, now: Time, call: CallId, text: &str) {
        self.feed(now, call, Event::Stop { text: text.to_owned() });
        self.drain(now);
    }
}
