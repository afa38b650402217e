//! Trunks: which gateways are up, and where we are registered.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Metrics;
use crate::ops::report::{GatewayState, TrunkRow};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTrunk {
    trunk: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTarget {
    trunk: String,
    gateway: String,
    target: String,
}

/// Registers them.
pub(super) fn register(metrics: &mut Metrics, trunks: &[TrunkRow]) {
    let up = Family::<OfTarget, Gauge>::default();
    let registered = Family::<OfTrunk, Gauge>::default();
    for trunk in trunks {
        for row in &trunk.gateways {
            let up_or_not = match row.state {
                GatewayState::Up => 1,
                GatewayState::Down | GatewayState::Resting => 0,
                GatewayState::Unknown => continue,
            };
            let labels = OfTarget {
                trunk: trunk.name.clone(),
                gateway: row.gateway.clone(),
                target: row.target.clone().unwrap_or_default(),
            };
            up.get_or_create(&labels).set(up_or_not);
        }
        if let Some(row) = &trunk.registration {
            let labels = OfTrunk {
                trunk: trunk.name.clone(),
            };
            registered.get_or_create(&labels).set(i64::from(row.registered));
        }
    }
    metrics.0.register(
        "trunk_gateway_up",
        "Whether calls go to an address of a gateway: 1, or 0",
        up,
    );
    metrics
        .0
        .register("trunk_registered", "Whether the carrier knows us: 1, or 0", registered);
}
