//! What the gateway tells of itself when asked: [`ops::Inspect`](crate::ops::Inspect) over the core.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Notify;
use voxlane_dataplane::media_plane::FailureKind;

use super::core::Core;
use super::live::{Live, Record};
use super::lock;
use super::transfer;
use super::watch::Measure;
use crate::call::targets::Attempt;
use crate::call::{Side, fallback};
use crate::ops::Inspect;
use crate::ops::report::{
    AgentCounts, AgentFailureRow, AttemptRow, CallCounts, CallReport, CallsReport, FlowRow, FlowsReport, LegRow,
    QualityCounts, StatusReport, TapCounts,
};
use crate::rest::server::Counts;
use crate::sip::transport::Transports;
use crate::time::{Clock, Time};

/// Looks at the core on behalf of the admin socket.
pub(super) struct Inspector {
    pub(super) core: Arc<Mutex<Core>>,
    transport: Arc<Transports>,
    started: Instant,
    clock: Clock,
    /// Wakes the gateway, which carries out what the core wants done.
    acted: Arc<Notify>,
    /// How often the REST API was asked.
    api: Arc<Counts>,
}

impl Inspector {
    pub fn new(
        core: Arc<Mutex<Core>>,
        transport: Arc<Transports>,
        clock: Clock,
        acted: Arc<Notify>,
        api: Arc<Counts>,
    ) -> Self {
        Self {
            core,
            transport,
            started: Instant::now(),
            clock,
            acted,
            api,
        }
    }

    /// Does something to the core that it may want something done for.
    pub(super) fn act<T>(&self, work: impl FnOnce(&mut Core, Time) -> T) -> T {
        let done = work(&mut lock(&self.core), self.clock.now());
        self.acted.notify_one();
        done
    }
}

impl Inspect for Inspector {
    fn status(&self) -> StatusReport {
        let core = lock(&self.core);
        let agents = core.calls.values().filter(|live| live.call.agent().is_some()).count();
        let sip = core.sip.counters();
        StatusReport {
            name: core.config.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            plane: core.plane.status(),
            sip,
            listen: self.transport.listen().iter().map(ToString::to_string).collect(),
            connections: self.transport.streams.counts(),
            auth_failures: core.auth_failures(),
            trunks: core.trunk_rows(self.clock.now()),
            calls: CallCounts {
                active: core.calls.len() as u64,
                total: core.totals.calls + sip.strangers,
                answered: core.totals.answered,
                failed: core.totals.failed + sip.strangers,
            },
            agents: AgentCounts {
                active: agents as u64,
                failed: core.totals.agents_failed,
                failures: FailureKind::ALL
                    .into_iter()
                    .zip(core.totals.agent_failures)
                    .map(|(kind, count)| (kind.word().to_owned(), count))
                    .collect(),
                fallbacks: core.totals.agent_fallbacks,
                messages: core.tallies.report(),
            },
            taps: TapCounts {
                active: core.calls.values().map(|live| live.listening.len() as u64).sum(),
                begun: core.totals.taps,
                failed: core.totals.taps_failed,
            },
            applications: core.totals.applications,
            api: self.api.now(),
            transfers: core.totals.transfers,
            refers: core.totals.refers,
            overload: core.overload_report(),
            waiting: core.dialler.waiting() as u64,
            quality: QualityCounts {
                media_timeouts: core.totals.media_timeouts,
                crossings: Measure::ALL
                    .into_iter()
                    .zip(core.totals.crossings)
                    .map(|(measure, count)| (measure.name().to_owned(), count))
                    .collect(),
            },
            tasks: tokio::runtime::Handle::try_current()
                .map_or(0, |runtime| runtime.metrics().num_alive_tasks() as u64),
        }
    }

    fn calls(&self) -> CallsReport {
        lock(&self.core).calls_report()
    }

    fn flows(&self) -> FlowsReport {
        let core = lock(&self.core);
        let rows = core.plane.flows().into_iter().map(|flow| {
            let owner = core.endpoints.get(&flow.endpoint);
            FlowRow {
                call: owner.map(|(call, _)| call.to_string()),
                leg: owner.map(|&(_, side)| side),
                flow,
            }
        });
        let mut flows: Vec<FlowRow> = rows.collect();
        flows.sort_by(|a, b| (&a.call, a.leg).cmp(&(&b.call, b.leg)));
        FlowsReport {
            status: core.plane.status(),
            flows,
        }
    }
}

impl Core {
    /// The calls alive, oldest first, and the last that ended, newest first.
    pub fn calls_report(&self) -> CallsReport {
        let mut active: Vec<CallReport> = self.calls.values().map(|live| report(live, self)).collect();
        active.sort_by(|a, b| a.started.cmp(&b.started));
        let recent = self.recent.iter().rev().map(|record| ended(record, self)).collect();
        CallsReport { active, recent }
    }
}

fn report(live: &Live, core: &Core) -> CallReport {
    let route = &live.route;
    CallReport {
        id: live.id().to_string(),
        state: live.call.phase().to_string(),
        from: live.from.clone(),
        to: route.number.clone(),
        did: Some(route.number.clone()),
        tenant: route.tenant.clone(),
        trunk: Some(live.trunk_of(Side::B).to_owned()),
        agent: live.agent.clone(),
        transfers: transfer::rows(live),
        started: live.started.into(),
        answered: live.answered.map(Into::into),
        ended: None,
        cause: None,
        legs: live
            .legs()
            .into_iter()
            .filter_map(|(side, _)| leg(live, side, core))
            .collect(),
        attempts: live.call.tried().iter().map(attempt).collect(),
        agent_failures: live.call.failures().iter().map(agent_failure).collect(),
        digits: live
            .call
            .digits(live.call.agent().map_or(Side::A, |(_, side)| side))
            .to_owned(),
        problems: live
            .applied
            .iter()
            .flat_map(|applied| &applied.problems)
            .map(ToString::to_string)
            .collect(),
    }
}

fn agent_failure(record: &fallback::Record) -> AgentFailureRow {
    let fallback::Record {
        agent,
        kind,
        reason,
        then,
    } = record.clone();
    AgentFailureRow {
        agent,
        kind,
        reason,
        then,
    }
}

fn attempt(attempt: &Attempt) -> AttemptRow {
    AttemptRow {
        gateway: attempt.place.clone(),
        target: attempt.destination.map(|destination| destination.to_string()),
        outcome: attempt.outcome.clone(),
    }
}

fn ended(record: &Record, core: &Core) -> CallReport {
    CallReport {
        ended: Some(record.ended.into()),
        cause: Some(record.cause.to_string()),
        ..report(&record.live, core)
    }
}

/// A leg's row; `None` for a leg that has no dialog, as an agent's.
fn leg(live: &Live, side: Side, core: &Core) -> Option<LegRow> {
    let leg = live.leg(side);
    let session = live.call.session(side);
    let flow = leg.report.clone().or_else(|| core.plane.flow(leg.endpoint?.id));
    Some(LegRow {
        side,
        call_id: leg.call_id.clone()?,
        local: flow.as_ref().map(|flow| flow.local),
        remote: session.map(|session| session.remote_rtp),
        codec: session.map(|session| session.codec),
        lane: flow.as_ref().map(|flow| flow.lane),
        reason: flow.as_ref().and_then(|flow| flow.reason),
        digits: live.call.digits(side).to_owned(),
        mos: flow.as_ref().and_then(|flow| flow.quality.mos),
        far_mos: flow.as_ref().and_then(|flow| flow.quality.far_mos),
        limits_crossed: leg.crossed.iter().map(|measure| measure.name().to_owned()).collect(),
        left: leg.dialog.is_none_or(|dialog| core.sip.call_id(dialog).is_none()),
        session_timer: leg.dialog.and_then(|dialog| core.sip.session_timer(dialog)),
    })
}
