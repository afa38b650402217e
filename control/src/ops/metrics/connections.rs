//! Connections of SIP over TCP and TLS.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Metrics;
use crate::sip::transport::ConnectionCounts;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct By {
    transport: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Because {
    reason: String,
}

pub(super) fn register(metrics: &mut Metrics, counts: &ConnectionCounts) {
    let open = Family::<By, Gauge>::default();
    for (transport, count) in &counts.open {
        let labels = By {
            transport: transport.clone(),
        };
        open.get_or_create(&labels)
            .set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    metrics.0.register("sip_connections", "SIP connections open now", open);
    metrics.counter("sip_connections_accepted", "SIP connections accepted", counts.accepted);
    metrics.counter("sip_connections_opened", "SIP connections opened by us", counts.opened);
    by_reason(
        metrics,
        "sip_connections_refused",
        "SIP connections that did not come about, by the reason",
        &counts.refused,
    );
    by_reason(
        metrics,
        "sip_connections_closed",
        "SIP connections that ended, by the reason",
        &counts.closed,
    );
}

pub(super) fn by_reason(metrics: &mut Metrics, name: &str, help: &str, counts: &[(String, u64)]) {
    let family = Family::<Because, Counter>::default();
    for (reason, count) in counts {
        let labels = Because { reason: reason.clone() };
        family.get_or_create(&labels).inc_by(*count);
    }
    metrics.0.register(name, help, family);
}
