//! A call as the gateway holds it while it lives, and the record that is left of it.

use std::net::SocketAddr;
use std::time::SystemTime;

use voxlane_dataplane::media_plane::{Endpoint, FlowReport};

use super::watch::Measure;
use crate::call::targets::Target;
use crate::call::{Call, CallId, Cause, Plan, Side};
use crate::route::Route;
use crate::sip::{DialogId, Incoming};

/// A call that lives.
#[derive(Debug)]
pub(super) struct Live {
    pub call: Call,
    pub route: Route,
    /// The caller's number.
    pub from: String,
    pub started: SystemTime,
    pub answered: Option<SystemTime>,
    a: LiveLeg,
    b: LiveLeg,
}

/// What joins a leg of a call to the SIP core and the data plane.
#[derive(Debug, Default)]
pub(super) struct LiveLeg {
    pub dialog: Option<DialogId>,
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
        Self {
            call,
            from: route.caller.clone(),
            route,
            started: SystemTime::now(),
            answered: None,
            a: LiveLeg {
                dialog: Some(incoming.dialog),
                call_id: Some(incoming.call_id),
                local: Some(incoming.local),
                remote: Some(incoming.remote),
                ..LiveLeg::default()
            },
            b: LiveLeg::default(),
        }
    }

    pub fn id(&self) -> CallId {
        self.call.setup().id
    }

    /// The trunk that a leg belongs to.
    pub fn trunk_of(&self, side: Side) -> &str {
        match (side, &self.call.setup().plan) {
            (Side::B, Plan::Trunk(_)) => &self.route.target,
            (Side::A, _) | (Side::B, Plan::Agent { .. }) => &self.route.trunk,
        }
    }

    pub fn leg(&self, side: Side) -> &LiveLeg {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub fn leg_mut(&mut self, side: Side) -> &mut LiveLeg {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    pub fn legs(&self) -> [(Side, &LiveLeg); 2] {
        [(Side::A, &self.a), (Side::B, &self.b)]
    }

    pub fn into_record(self, cause: Cause) -> Record {
        Record {
            live: self,
            ended: SystemTime::now(),
            cause,
        }
    }
}
