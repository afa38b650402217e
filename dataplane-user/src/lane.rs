//! Which lane a flow takes, and why.

use serde::{Deserialize, Serialize};

/// Where a flow is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Forwarded by the XDP program; userspace never sees the packets.
    Kernel,
    /// Handled by a worker thread.
    Worker,
}

/// Why a flow is in the worker lane: a closed set, shown by `voxlane flows` and counted by the metric
/// `voxlane_worker_lane_flows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An agent hears this leg.
    Agent,
    /// `media.xdp = "off"`.
    XdpOff,
    /// The XDP program could not be attached to any interface; the start-up log says why.
    XdpUnavailable,
    /// The binary was built with `--no-ebpf`.
    BuiltWithoutEbpf,
    /// The packets of this flow arrive or leave on an interface that has no XDP program (loopback, say).
    InterfaceNotAttached,
    /// The kernel lane forwards IPv4 only.
    Ipv6,
    /// The flow table of the kernel lane refused the entry.
    FlowTable,
}
