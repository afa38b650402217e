//! Whether there is too much to do.

use super::{Metrics, connections};
use crate::ops::report::OverloadReport;

pub(super) fn register(metrics: &mut Metrics, report: &OverloadReport, waiting: u64) {
    let percent = |share: Option<f64>| (share.unwrap_or(0.0) * 100.0).round() as u64;
    metrics.gauge(
        "calls_refusing",
        "1 while new calls are refused",
        u64::from(report.refusing.is_some()),
    );
    connections::by_reason(
        metrics,
        "calls_refused",
        "Calls refused for being too many, by the reason",
        &report.refused,
    );
    metrics.gauge("calls_waiting", "Calls that wait to be placed", waiting);
    metrics.gauge(
        "cpu_percent",
        "Share of its processors that the process takes",
        percent(report.cpu),
    );
    metrics.gauge(
        "host_cpu_percent",
        "Share of the host's processors that are busy",
        percent(report.host_cpu),
    );
    metrics.gauge(
        "sip_delay_milliseconds",
        "How long SIP messages wait before they are looked at",
        report.delay_ms,
    );
}
