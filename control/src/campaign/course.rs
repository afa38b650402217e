//! The course of a campaign: which of its numbers wait, and when the next may be called.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::{CampaignId, CampaignReport, CampaignRequest, Placing};
use crate::call::CallId;
use crate::time::Time;

/// How late a call may be so that those after it do not wait for that.
const LATE: Duration = Duration::from_millis(50);

/// One.
#[derive(Clone, Debug)]
pub(super) struct Campaign {
    pub(super) placing: Placing,
    pub(super) rate: f64,
    pub(super) concurrency: usize,
    pub(super) calls: Vec<CallId>,
    /// Numbers that wait.
    pub(super) waiting: VecDeque<CallId>,
    pub(super) alive: usize,
    /// When the next may begin.
    pub(super) next: Time,
    pub(super) stopped: bool,
    pub(super) asked: SystemTime,
    pub(super) ended: Option<SystemTime>,
}

impl Campaign {
    /// One of these calls, of which none has begun.
    pub(super) fn new(request: &CampaignRequest, calls: Vec<CallId>, now: Time, wall: SystemTime) -> Self {
        Self {
            placing: request.placing.clone(),
            rate: request.rate,
            concurrency: request.concurrency,
            waiting: calls.iter().copied().collect(),
            calls,
            alive: 0,
            next: now,
            stopped: false,
            asked: wall,
            ended: None,
        }
    }

    /// When its next call may begin, if one may while those go on that are alive.
    pub(super) fn turn(&self) -> Option<Time> {
        (!self.waiting.is_empty() && self.alive < self.concurrency).then_some(self.next)
    }

    /// Its next call begins.
    pub(super) fn begin(&mut self, now: Time) -> Option<CallId> {
        let call = self.waiting.pop_front()?;
        self.alive += 1;
        let apart = Duration::from_secs_f64(1.0 / self.rate);
        // A timer that was late is made up for; what waited for others to end is not.
        let made_up = Time::ZERO + (now + apart).since(Time::ZERO + LATE);
        self.next = (self.next + apart).max(made_up);
        Some(call)
    }

    /// One of its calls is over.
    pub(super) fn ended(&mut self, had_begun: bool, wall: SystemTime) {
        self.alive -= usize::from(had_begun && self.alive > 0);
        if self.alive == 0 && self.waiting.is_empty() {
            self.ended = Some(wall);
        }
    }

    /// How it goes; so many of its calls are in which state.
    pub(super) fn report(&self, id: CampaignId, calls: BTreeMap<String, usize>) -> CampaignReport {
        let state = match (self.stopped, self.ended) {
            (true, _) => "stopped",
            (false, Some(_)) => "done",
            (false, None) => "running",
        };
        CampaignReport {
            campaign: id.0,
            state: state.to_owned(),
            numbers: self.calls.len(),
            rate: self.rate,
            concurrency: self.concurrency,
            trunk: self.placing.trunk.clone(),
            agent: self.placing.talks(),
            asked: self.asked.into(),
            ended: self.ended.map(Into::into),
            calls,
        }
    }
}
