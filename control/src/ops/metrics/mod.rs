//! The reports as Prometheus metrics (OpenMetrics text), computed when they are asked for: nothing is counted twice.

mod connections;
mod kernel;
mod overload;
mod quality;
mod trunks;

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::PlaneStatus;

use super::report::{
    AgentMessages, ApplicationCounts, FlowRow, FlowsReport, ReferCounts, StatusReport, TapCounts, TransferCounts,
};
use super::words;
use crate::rest::server::ApiCounts;
use crate::sip::{AuthFailures, Counters};

/// Content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics as text.
///
/// # Errors
/// Never, as long as a `String` can be written to.
pub fn text(status: &StatusReport, flows: &FlowsReport) -> Result<String, fmt::Error> {
    let mut metrics = Metrics(Registry::with_prefix("voxlane"));
    gateway(&mut metrics, status);
    overload::register(&mut metrics, &status.overload, status.waiting);
    sip(&mut metrics, &status.sip);
    connections::register(&mut metrics, &status.connections);
    auth_failures(&mut metrics, &status.auth_failures);
    trunks::register(&mut metrics, &status.trunks);
    plane(&mut metrics, &status.plane);
    if let Some(status) = &status.plane.kernel {
        kernel::register(&mut metrics, status);
    }
    lanes(&mut metrics, &flows.flows);
    quality::workers(&mut metrics, &status.plane.workers);
    quality::io(&mut metrics, &status.plane.io);
    quality::counts(&mut metrics, &status.quality);
    quality::flows(&mut metrics, &flows.flows);
    let mut text = String::new();
    encode(&mut text, &metrics.0)?;
    Ok(text)
}

fn gateway(metrics: &mut Metrics, status: &StatusReport) {
    let build = Family::<Build, Gauge>::default();
    build
        .get_or_create(&Build {
            name: status.name.clone(),
            version: status.version.clone(),
        })
        .set(1);
    metrics
        .0
        .register("build_info", "Name of this gateway and version of the program", build);
    metrics.gauge("uptime_seconds", "Seconds since start", status.uptime_s);
    metrics.gauge("tasks", "Tasks of the runtime alive now", status.tasks);
    metrics.gauge("calls_active", "Calls alive now", status.calls.active);
    metrics.counter("calls", "Calls begun", status.calls.total);
    metrics.counter("calls_answered", "Calls answered", status.calls.answered);
    metrics.counter(
        "calls_failed",
        "Calls that failed before an answer",
        status.calls.failed,
    );
    transfers(metrics, status.transfers);
    refers(metrics, status.refers);
    applications(metrics, status.applications);
    taps(metrics, status.taps);
    api(metrics, status.api);
    metrics.gauge("agents_active", "Agent sessions alive now", status.agents.active);
    metrics.counter(
        "agents_failed",
        "Agent sessions ended by a failure of the agent",
        status.agents.failed,
    );
    metrics.counter(
        "agent_fallbacks",
        "Calls that got another agent, or were sent elsewhere, when theirs failed",
        status.agents.fallbacks,
    );
    let by_kind = Family::<Failure, Counter>::default();
    for (kind, count) in &status.agents.failures {
        by_kind.get_or_create(&Failure { kind: kind.clone() }).inc_by(*count);
    }
    metrics
        .0
        .register("agent_failures", "Failures of agents, by kind", by_kind);
    agent_messages(metrics, &status.agents.messages);
}

fn agent_messages(metrics: &mut Metrics, messages: &[AgentMessages]) {
    let (malformed, oversized) = (
        Family::<OfAgent, Counter>::default(),
        Family::<OfAgent, Counter>::default(),
    );
    for row in messages {
        let labels = OfAgent {
            agent: row.agent.clone(),
            protocol: row.protocol.clone(),
        };
        malformed.get_or_create(&labels).inc_by(row.malformed);
        oversized.get_or_create(&labels).inc_by(row.oversized);
    }
    metrics.0.register(
        "agent_malformed_messages",
        "Messages of agents that could not be understood",
        malformed,
    );
    metrics.0.register(
        "agent_oversized_messages",
        "Messages of agents that were longer than max_message",
        oversized,
    );
}

fn applications(metrics: &mut Metrics, counts: ApplicationCounts) {
    let ApplicationCounts {
        documents,
        problems,
        callbacks,
        callbacks_failed,
    } = counts;
    metrics.counter(
        "twiml_documents",
        "Documents that applications were asked for",
        documents,
    );
    metrics.counter(
        "twiml_problems",
        "Things wrong with applications and their documents",
        problems,
    );
    metrics.counter("status_callbacks", "Status callbacks made", callbacks);
    metrics.counter(
        "status_callbacks_failed",
        "Status callbacks that nobody took",
        callbacks_failed,
    );
}

fn taps(metrics: &mut Metrics, counts: TapCounts) {
    let TapCounts { active, begun, failed } = counts;
    metrics.gauge("taps_active", "Streams by which calls are listened to now", active);
    metrics.counter("taps", "Streams by which calls were to be listened to", begun);
    metrics.counter("taps_failed", "Of those, the ones that could not be, or broke", failed);
}

fn refers(metrics: &mut Metrics, counts: ReferCounts) {
    let ReferCounts { received, refused } = counts;
    metrics.counter("refers", "Transfers that carriers have asked for by REFER", received);
    metrics.counter("refers_refused", "REFERs of carriers that were refused", refused);
}

fn api(metrics: &mut Metrics, counts: ApiCounts) {
    let ApiCounts {
        requests,
        unauthorized,
        refused,
    } = counts;
    metrics.counter("api_requests", "Requests to the REST API", requests);
    metrics.counter(
        "api_unauthorized",
        "Requests to the REST API without the credentials of an account",
        unauthorized,
    );
    metrics.counter("api_refused", "Requests to the REST API refused otherwise", refused);
}

fn transfers(metrics: &mut Metrics, counts: TransferCounts) {
    let TransferCounts {
        asked,
        referred,
        completed,
        failed,
        replaced,
    } = counts;
    metrics.counter(
        "legs_replaced",
        "Legs whose carrier has put another dialog in their place",
        replaced,
    );
    metrics.counter("transfers", "Transfers of calls begun", asked);
    metrics.counter(
        "transfers_referred",
        "Transfers that a carrier was asked for by REFER",
        referred,
    );
    metrics.counter("transfers_completed", "Transfers of calls completed", completed);
    metrics.counter("transfers_failed", "Transfers of calls that failed", failed);
}

fn sip(metrics: &mut Metrics, counters: &Counters) {
    let Counters {
        requests,
        responses,
        malformed,
        bad_requests,
        dropped,
        challenged,
        strangers,
        stray,
        undelivered,
        retransmissions_received,
        retransmissions_sent,
        sessions_refreshed,
        sessions_expired,
        transactions,
        dialogs,
    } = *counters;
    metrics.counter("sip_requests", "SIP requests received", requests);
    metrics.counter("sip_responses", "SIP responses received", responses);
    metrics.counter(
        "sip_malformed",
        "Datagrams that were not SIP or too damaged to answer",
        malformed,
    );
    metrics.counter("sip_bad_requests", "SIP requests answered 400", bad_requests);
    metrics.counter("sip_dropped", "Calls to unknown tenants that got no answer", dropped);
    metrics.counter(
        "sip_challenged",
        "Calls answered 401, nothing of which was kept",
        challenged,
    );
    metrics.counter(
        "sip_strangers",
        "Calls answered 403 because no trunk allows them, nothing of which was kept",
        strangers,
    );
    metrics.counter("sip_stray", "SIP responses and ACKs that belong to nothing", stray);
    metrics.counter(
        "sip_undelivered",
        "SIP requests that the network could not deliver (ICMP)",
        undelivered,
    );
    metrics.counter(
        "sip_retransmissions_received",
        "SIP messages the other side repeated",
        retransmissions_received,
    );
    metrics.counter(
        "sip_retransmissions_sent",
        "SIP messages we repeated",
        retransmissions_sent,
    );
    metrics.counter(
        "sip_sessions_refreshed",
        "SIP sessions refreshed in time, by us or by the other side (RFC 4028)",
        sessions_refreshed,
    );
    metrics.counter(
        "sip_sessions_expired",
        "SIP sessions that ended because nobody refreshed them in time (RFC 4028)",
        sessions_expired,
    );
    metrics.gauge("sip_transactions", "SIP transactions alive now", transactions);
    metrics.gauge("sip_dialogs", "SIP dialogs alive now", dialogs);
}

fn auth_failures(metrics: &mut Metrics, failures: &[AuthFailures]) {
    let by_reason = Family::<AuthFailure, Counter>::default();
    for failure in failures {
        let labels = AuthFailure {
            whose: failure.whose.clone(),
            trunk: failure.trunk.clone(),
            reason: failure.reason.clone(),
        };
        by_reason.get_or_create(&labels).inc_by(failure.count);
    }
    metrics.0.register(
        "sip_auth_failures",
        "Credentials that were not good: theirs with us, and ours with carriers",
        by_reason,
    );
}

fn plane(metrics: &mut Metrics, plane: &PlaneStatus) {
    metrics.gauge("media_ports_in_use", "RTP port pairs in use", plane.ports_in_use as u64);
    metrics.gauge("media_ports", "RTP port pairs there are", plane.ports_total as u64);
    metrics.gauge("workers", "Worker threads", plane.workers.len() as u64);
    let attached = Family::<Attached, Gauge>::default();
    for interface in &plane.interfaces {
        for mode in words::MODES {
            let labels = Attached {
                interface: interface.name.clone(),
                mode: words::mode(mode).to_owned(),
            };
            attached.get_or_create(&labels).set((interface.mode == mode).into());
        }
    }
    metrics.0.register(
        "xdp_attached",
        "1 for the mode in which the XDP program is on the interface",
        attached,
    );
}

fn lanes(metrics: &mut Metrics, flows: &[FlowRow]) {
    let count = |wanted: &dyn Fn(&FlowRow) -> bool| flows.iter().filter(|row| wanted(row)).count() as i64;
    let by_lane = Family::<InLane, Gauge>::default();
    for lane in [Lane::Kernel, Lane::Worker] {
        let labels = InLane {
            lane: words::lane(lane).to_owned(),
        };
        by_lane.get_or_create(&labels).set(count(&|row| row.flow.lane == lane));
    }
    metrics.0.register("flows", "Flows by the lane they are in", by_lane);
    let by_reason = Family::<Because, Gauge>::default();
    for reason in words::REASONS {
        let labels = Because {
            reason: words::reason_label(reason).to_owned(),
        };
        by_reason
            .get_or_create(&labels)
            .set(count(&|row| row.flow.reason == Some(reason)));
    }
    metrics
        .0
        .register("worker_lane_flows", "Flows in the worker lane by the reason", by_reason);
    let paced = count(&|row| row.flow.paced);
    metrics.gauge("flows_paced", "Flows that are paced", paced.unsigned_abs());
}

struct Metrics(Registry);

impl Metrics {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.0.register(name, help, gauge);
    }

    /// The name is written with `_total` after it.
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AuthFailure {
    whose: String,
    trunk: String,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Failure {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfAgent {
    agent: String,
    protocol: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    name: String,
    version: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attached {
    interface: String,
    mode: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InLane {
    lane: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Because {
    reason: String,
}
