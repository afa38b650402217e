//! What the XDP program counts, as metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;
use voxlane_dataplane::media_plane::KernelStatus;

use super::Metrics;

/// Registers the metrics of the kernel lane.
pub(super) fn register(metrics: &mut Metrics, kernel: &KernelStatus) {
    let KernelStatus {
        outcomes,
        durations,
        events_lost,
        mirrored_lost,
        adopted,
        orphans,
        pacing,
    } = kernel;
    let by_outcome = Family::<Outcome, Counter>::default();
    for (outcome, packets) in outcomes {
        let labels = Outcome {
            outcome: outcome.clone(),
        };
        by_outcome.get_or_create(&labels).inc_by(*packets);
    }
    metrics.0.register(
        "xdp_packets",
        "Packets the XDP program has seen, by what became of them",
        by_outcome,
    );
    metrics.0.register_collector(Box::new(Durations(durations.clone())));
    metrics.counter(
        "xdp_events_lost",
        "Events of the XDP program (keys, RTCP, addresses found) that found no room on their way to userspace",
        *events_lost,
    );
    metrics.counter(
        "xdp_mirrored_lost",
        "Frames of captures that found no room on their way to userspace",
        *mirrored_lost,
    );
    metrics.gauge(
        "xdp_adopted",
        "1 if the kernel lane of an earlier process was taken over",
        u64::from(*adopted),
    );
    metrics.gauge(
        "xdp_orphan_legs",
        "Legs of calls of an earlier process that still carry media",
        *orphans as u64,
    );
    let paces = Family::<OnInterface, Gauge>::default();
    for (interface, has_fq) in pacing {
        let labels = OnInterface {
            interface: interface.clone(),
        };
        paces.get_or_create(&labels).set((*has_fq).into());
    }
    metrics.0.register(
        "xdp_pacing",
        "1 if the interface has an fq queueing discipline, which pacing needs",
        paces,
    );
}

/// A histogram that was counted elsewhere: upper bound in nanoseconds and count of each bucket.
#[derive(Debug)]
struct Durations(Vec<(u64, u64)>);

impl Collector for Durations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let mut below = 0_u64;
        let mut sum = 0.0;
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.0.len());
        for &(bound, runs) in &self.0 {
            let (typical, le) = match bound {
                u64::MAX => (below, f64::INFINITY),
                bound => (below.midpoint(bound), seconds(bound)),
            };
            sum += seconds(typical) * runs as f64;
            count += runs;
            below = bound;
            buckets.push((le, runs));
        }
        let mut metric = encoder.encode_descriptor(
            "xdp_duration",
            "Time inside the XDP program, of one forwarded packet in 64; the sum is an estimate, as if each run had taken the middle of its bucket.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OnInterface {
    interface: String,
}
