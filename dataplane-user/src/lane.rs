//! Which lane a flow takes, and why.

use std::net::SocketAddr;

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

/// Whether two legs can be relayed in the kernel lane, given what each has (its local address and its far end's) and why
/// there is no kernel lane at all, if there is none.
///
/// # Errors
/// The reason for the worker lane.
pub fn for_relay(legs: [[SocketAddr; 2]; 2], unavailable: Option<Reason>) -> Result<(), Reason> {
    match unavailable {
        Some(reason) => Err(reason),
        None if legs.iter().flatten().any(SocketAddr::is_ipv6) => Err(Reason::Ipv6),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_goes_to_the_kernel_where_there_is_one() {
        let v4 = ["192.0.2.1:10000".parse().unwrap(), "192.0.2.9:4000".parse().unwrap()];
        let v6 = [
            "[2001:db8::1]:10000".parse().unwrap(),
            "[2001:db8::9]:4000".parse().unwrap(),
        ];
        assert_eq!(for_relay([v4, v4], None), Ok(()));
        assert_eq!(for_relay([v4, v6], None), Err(Reason::Ipv6));
        assert_eq!(for_relay([v4, v4], Some(Reason::XdpOff)), Err(Reason::XdpOff));
    }
}
