//! What the REST API is told of calls, for its [`Register`](crate::rest::register::Register).

use std::sync::Arc;
use std::time::SystemTime;

use super::core::Core;
use super::live::Live;
use crate::call::{CallId, Cause};
use crate::campaign::{Order, State};
use crate::rest::register::{Entry, Register};
use crate::rest::{Direction, Status};

impl Core {
    /// Has calls told of, from now on.
    pub fn set_register(&mut self, register: Arc<Register>) {
        self.register = Some(register);
    }

    /// A call waits to be placed.
    pub(super) fn register_waiting(&self, order: &Order) {
        let Some(register) = &self.register else { return };
        register.begin(Entry::new(
            order.call,
            order.placing.tenant.clone(),
            (&order.from, &order.to),
            (Direction::Outbound, Status::Queued),
            SystemTime::now(),
        ));
    }

    /// A call begins.
    pub(super) fn register_begin(&self, id: CallId) {
        let (Some(register), Some(live)) = (&self.register, self.calls.get(&id)) else {
            return;
        };
        let (direction, status) = match live.call.is_placed() {
            true => (Direction::Outbound, Status::Initiated),
            false => (Direction::Inbound, Status::Ringing),
        };
        register.begin(Entry::new(
            id,
            live.route.tenant.clone(),
            (&live.from, &live.route.number),
            (direction, status),
            live.started,
        ));
    }

    /// A call has come so far.
    pub(super) fn register_reached(&self, id: CallId, status: Status) {
        if let Some(register) = &self.register {
            register.reached(id, status, SystemTime::now());
        }
    }

    /// A call is over.
    pub(super) fn register_end(&self, id: CallId, cause: &Cause) {
        if let Some(live) = self.calls.get(&id) {
            self.register_reached(id, self.final_status(live, cause));
        }
    }

    /// What has become of a call that was to be placed, if it is over.
    pub(super) fn register_result(&self, id: CallId) {
        if let Some(status) = self.status_of_placed(id).filter(|status| status.is_final()) {
            self.register_reached(id, status);
        }
    }

    /// How a call has ended.
    pub(super) fn final_status(&self, live: &Live, cause: &Cause) -> Status {
        let placed = self.status_of_placed(live.id());
        match (placed.filter(|status| status.is_final()), live.answered, cause.status) {
            (Some(status), ..) => status,
            (None, Some(_), _) => Status::Completed,
            (None, None, Some(status)) => Status::unanswered(live.refused_with.unwrap_or(status)),
            (None, None, None) => Status::Failed,
        }
    }

    fn status_of_placed(&self, id: CallId) -> Option<Status> {
        let result = self.dialler.result(id).ok()?;
        Some(match result.state {
            State::Waiting => Status::Queued,
            State::Calling => Status::Initiated,
            State::Ringing => Status::Ringing,
            State::Answered => Status::InProgress,
            State::Ended => Status::Completed,
            State::Busy => Status::Busy,
            State::NoAnswer => Status::NoAnswer,
            State::Cancelled => Status::Canceled,
            State::Failed => Status::Failed,
        })
    }
}
