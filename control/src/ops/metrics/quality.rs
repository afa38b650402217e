//! The workers, and how the calls sound.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::{BufferStats, IoStatus, WorkerHealth, WorkerStatus};

use super::super::report::{FlowRow, QualityCounts};
use super::super::words;
use super::Metrics;

type Real = Gauge<f64, std::sync::atomic::AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Worker {
    worker: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Io {
    mode: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Limit {
    limit: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Way {
    lane: String,
    way: String,
}

/// One row for each worker.
pub(super) fn workers(metrics: &mut Metrics, workers: &[WorkerStatus]) {
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&WorkerStatus) -> f64| {
        let family = Family::<Worker, Real>::default();
        for (worker, status) in (0..).zip(workers) {
            family.get_or_create(&Worker { worker }).set(value(status));
        }
        metrics.0.register(name, help, family);
    };
    gauge(
        "worker_up",
        "1 if the worker works, 0 if it is stalled or dead",
        &|worker| f64::from(u8::from(worker.health == WorkerHealth::Working)),
    );
    gauge(
        "worker_calls",
        "Agent legs and relayed pairs of the worker",
        &|worker| worker.residents as f64,
    );
    gauge(
        "worker_load",
        "Share of the last second the worker has worked",
        &|worker| worker.load,
    );
    gauge(
        "worker_late_seconds",
        "How late a frame was sent within the last second, at most",
        &|worker| worker.late_ms / 1000.0,
    );
    gauge("worker_commands", "Commands that wait for the worker", &|worker| {
        worker.commands as f64
    });
    let mut counter = |name: &str, help: &str, value: &dyn Fn(&WorkerStatus) -> u64| {
        let family = Family::<Worker, Counter>::default();
        for (worker, status) in (0..).zip(workers) {
            family.get_or_create(&Worker { worker }).inc_by(value(status));
        }
        metrics.0.register(name, help, family);
    };
    counter(
        "worker_frames_given_up",
        "Frames given up because the worker was late",
        &|worker| worker.given_up,
    );
    counter(
        "worker_express_lost",
        "Frames lost by AF_XDP sockets: nobody's, damaged, or not taken in time",
        &|worker| worker.express_lost,
    );
}

/// How workers send and receive.
pub(super) fn io(metrics: &mut Metrics, io: &IoStatus) {
    let family = Family::<Io, Real>::default();
    let mode = io.mode.name().to_owned();
    family.get_or_create(&Io { mode }).set(1.0);
    metrics
        .0
        .register("worker_io", "1 for the way in which workers send and receive", family);
}

/// What became of calls' media since start.
pub(super) fn counts(metrics: &mut Metrics, counts: &QualityCounts) {
    metrics.counter(
        "media_timeouts",
        "Calls ended because nothing came from a leg",
        counts.media_timeouts,
    );
    let crossings = Family::<Limit, Counter>::default();
    for (limit, count) in &counts.crossings {
        let labels = Limit { limit: limit.clone() };
        crossings.get_or_create(&labels).inc_by(*count);
    }
    let help = "Times that a leg's network went beyond a limit";
    metrics.0.register("limit_crossings", help, crossings);
}

/// How the calls that are alive sound.
pub(super) fn flows(metrics: &mut Metrics, flows: &[FlowRow]) {
    let (mean, lowest) = (Family::<Way, Real>::default(), Family::<Way, Real>::default());
    for lane in [Lane::Kernel, Lane::Worker] {
        for (way, of) in [("received", 0), ("sent", 1)] {
            let in_lane = flows.iter().map(|row| &row.flow).filter(|flow| flow.lane == lane);
            let scores: Vec<f64> = in_lane
                .filter_map(|flow| [flow.quality.mos, flow.quality.far_mos][of])
                .collect();
            let labels = Way {
                lane: words::lane(lane).to_owned(),
                way: way.to_owned(),
            };
            if let Some(least) = scores.iter().copied().reduce(f64::min) {
                lowest.get_or_create(&labels).set(least);
                let sum: f64 = scores.iter().sum();
                mean.get_or_create(&labels).set(sum / scores.len() as f64);
            }
        }
    }
    let help = "Mean opinion score (ITU-T G.107) of the legs alive: their mean";
    metrics.0.register("mos_mean", help, mean);
    metrics.0.register("mos_lowest", "The same: the lowest", lowest);
    let buffers: Vec<BufferStats> = flows.iter().filter_map(|row| row.flow.quality.buffer).collect();
    let longest = Real::default();
    longest.set(
        buffers
            .iter()
            .map(|buffer| buffer.delay_ms / 1000.0)
            .fold(0.0, f64::max),
    );
    let help = "The longest that packets wait in a jitter buffer now";
    metrics.0.register("jitter_buffer_longest_seconds", help, longest);
    let mut sum = |name: &str, help: &str, of: fn(&BufferStats) -> u64| {
        metrics.gauge(name, help, buffers.iter().map(of).sum());
    };
    sum(
        "jitter_buffer_late",
        "Packets of agent calls alive that came too late",
        |buffer| buffer.late,
    );
    sum("jitter_buffer_early", "The same that came too early", |buffer| {
        buffer.early
    });
    sum("jitter_buffer_overflow", "The same that were left out", |buffer| {
        buffer.overflow
    });
    sum(
        "jitter_buffer_concealed_milliseconds",
        "Audio of agent calls alive that was made up",
        |buffer| buffer.concealed_ms,
    );
}
