//! A call as the gateway holds it while it lives, and the record that is left of it.

use std::net::SocketAddr;
use std::time::SystemTime;

use voxlane_dataplane::media_plane::{Endpoint, FlowReport};

use super::application::Applied;
use super::tap::Listening;
use super::watch::Measure;
use crate::call::targets::Target;
use crate::call::{Call, CallId, Cause, Plan, Side};
use crate::campaign::Placing;
use crate::config::model::HostPort;
use crate::route::Route;
use crate::sip::{DialogId, Incoming, MAX_FORWARDS, RequestId};
use crate::time::Time;

/// A call that lives.
#[derive(Debug)]
pub(super) struct Live {
    pub call: Call,
    pub route: Route,
    /// The caller's number.
    pub from: String,
    pub started: SystemTime,
    /// How an agent places it.
    pub placing: Option<Placing>,
    /// What the application may do that it is given to.
    pub applied: Option<Applied>,
    /// The host of an agent that it waits for to be looked up.
    pub looks_for: Option<HostPort>,
    /// Who listens to it.
    pub listening: Vec<Listening>,
    /// When it wants to be told that it is time.
    pub wakes: Vec<Time>,
    /// The status that refused the INVITE of a call that an agent placed.
    pub refused_with: Option<u16>,
    pub answered: Option<SystemTime>,
    /// How many hops it may still take.
    pub hops_left: u8,
    /// The agent that took the call, if one did.
    pub agent: Option<String>,
    a: LiveLeg,
    b: LiveLeg,
    c: LiveLeg,
}

/// What joins a leg of a call to the SIP core and the data plane.
#[derive(Debug, Default)]
pub(super) struct LiveLeg {
    /// The trunk that it belongs to.
    pub trunk: String,
    pub dialog: Option<DialogId>,
    /// The REFER of the last transfer that was asked of its far end.
    pub refer: Option<RequestId>,
    pub endpoint: Option<Endpoint>,
    /// SIP Call-ID, as far as known.
    pub call_id: Option<String>,
    /// Our signalling address.
    pub local: Option<SocketAddr>,
    /// The far end's signalling address.
    pub remote: Option<SocketAddr>,
    /// Where its INVITE went, until that is answered.
    pub target: Option<Target>,
    /// The last state of its media, once closed.
    pub report: Option<FlowReport>,
    /// Limits of the network that were crossed, in the order in which they were first.
    pub crossed: Vec<Measure>,
}

impl LiveLeg {
    /// One that is to be placed on a trunk.
    pub fn on(trunk: &str) -> Self {
        Self {
            trunk: trunk.to_owned(),
            ..Self::default()
        }
    }

    /// A limit of the network was crossed on it.
    pub fn mark(&mut self, measure: Measure) {
        if !self.crossed.contains(&measure) {
            self.crossed.push(measure);
        }
    }
}

/// What is left of a call.
#[derive(Debug)]
pub(super) struct Record {
    pub live: Live,
    pub ended: SystemTime,
    pub cause: Cause,
}

impl Live {
    pub fn new(call: Call, route: Route, incoming: Incoming) -> Self {
        let (agent, callee) = match &call.setup().plan {
            Plan::Agent { name, .. } | Plan::Application { name, .. } => (Some(name.clone()), route.trunk.clone()),
            Plan::Trunk(_) => (None, route.target.clone()),
        };
        Self {
            call,
            from: route.caller.clone(),
            started: SystemTime::now(),
            placing: None,
            applied: None,
            looks_for: None,
            listening: Vec::new(),
            wakes: Vec::new(),
            refused_with: None,
            answered: None,
            hops_left: incoming.max_forwards.min(MAX_FORWARDS).saturating_sub(1),
            agent,
            a: LiveLeg {
                trunk: route.trunk.clone(),
                dialog: Some(incoming.dialog),
                call_id: Some(incoming.call_id),
                local: Some(incoming.local),
                remote: Some(incoming.remote),
                ..LiveLeg::default()
            },
            b: LiveLeg::on(&callee),
            c: LiveLeg::default(),
            route,
        }
    }

    /// One that an agent places.
    pub fn placed(call: Call, route: Route, placing: Placing) -> Self {
        Self {
            call,
            from: route.caller.clone(),
            started: SystemTime::now(),
            refused_with: None,
            applied: None,
            looks_for: None,
            listening: Vec::new(),
            wakes: Vec::new(),
            answered: None,
            hops_left: MAX_FORWARDS,
            agent: Some(placing.agent.clone()),
            a: LiveLeg::default(),
            b: LiveLeg::on(&route.target),
            c: LiveLeg::default(),
            placing: Some(placing),
            route,
        }
    }

    pub fn id(&self) -> CallId {
        self.call.setup().id
    }

    /// The trunk that a leg belongs to.
    pub fn trunk_of(&self, side: Side) -> &str {
        &self.leg(side).trunk
    }

    /// Leg C and this one change places.
    pub fn swap_third(&mut self, side: Side) {
        match side {
            Side::A => std::mem::swap(&mut self.a, &mut self.c),
            Side::B => std::mem::swap(&mut self.b, &mut self.c),
            Side::C => {}
        }
    }

    /// The dialogs of leg C and this one change places; what was told of the old one's REFER is nobody's.
    pub fn swap_dialogs(&mut self, side: Side) {
        let (one, third) = match side {
            Side::A => (&mut self.a, &mut self.c),
            Side::B => (&mut self.b, &mut self.c),
            Side::C => return,
        };
        std::mem::swap(&mut one.dialog, &mut third.dialog);
        std::mem::swap(&mut one.call_id, &mut third.call_id);
        std::mem::swap(&mut one.local, &mut third.local);
        std::mem::swap(&mut one.remote, &mut third.remote);
        one.refer = None;
    }

    pub fn leg(&self, side: Side) -> &LiveLeg {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
            Side::C => &self.c,
        }
    }

    pub fn leg_mut(&mut self, side: Side) -> &mut LiveLeg {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
            Side::C => &mut self.c,
        }
    }

    pub fn legs(&self) -> [(Side, &LiveLeg); 3] {
        [(Side::A, &self.a), (Side::B, &self.b), (Side::C, &self.c)]
    }

    pub fn into_record(self, cause: Cause) -> Record {
        Record {
            live: self,
            ended: SystemTime::now(),
            cause,
        }
    }
}
