//! Which lane a flow takes, and why.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::media_plane::Session;

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
    /// The legs are of different IP versions.
    MixedFamilies,
    /// The legs have agreed on different codecs: audio is transcoded.
    Codec,
    /// The legs have agreed on different packet times.
    Ptime,
    /// The flow table of the kernel lane refused the entry.
    FlowTable,
    /// A leg has SRTP: its packets are protected and unprotected by a worker.
    Srtp,
    /// An operator asked for the worker lane.
    Requested,
}

/// In words, for people.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "an agent hears this leg",
            Self::XdpOff => "media.xdp is \"off\"",
            Self::XdpUnavailable => "XDP could not be attached to any interface",
            Self::BuiltWithoutEbpf => "built without eBPF",
            Self::InterfaceNotAttached => "its interface has no XDP program",
            Self::MixedFamilies => "its legs are of different IP versions",
            Self::Codec => "its legs have different codecs",
            Self::Ptime => "its legs have different packet times",
            Self::FlowTable => "the kernel's flow table refused it",
            Self::Srtp => "a leg has SRTP",
            Self::Requested => "an operator asked for it",
        })
    }
}

/// Whether two legs can be relayed in the kernel lane, given what is in their packets.
///
/// # Errors
/// The reason for the worker lane.
pub fn for_media(sessions: &[Session; 2]) -> Result<(), Reason> {
    match sessions.iter().any(|session| session.srtp.is_some()) {
        true => Err(Reason::Srtp),
        false => Ok(()),
    }
}

/// Whether two legs can be relayed in the kernel lane, given what each has (its local address and its far end's), why
/// there is no kernel lane at all, if there is none, and the lane that was asked for, if one was.
///
/// # Errors
/// The reason for the worker lane.
pub fn for_relay(
    legs: [[SocketAddr; 2]; 2],
    unavailable: Option<Reason>,
    requested: Option<Lane>,
) -> Result<(), Reason> {
    // An unspecified address is nobody's, of no family.
    let mut families = legs.iter().flatten().filter(|address| !address.ip().is_unspecified());
    let first = families.next().is_some_and(SocketAddr::is_ipv6);
    match (unavailable, requested) {
        (Some(reason), _) => Err(reason),
        (None, Some(Lane::Worker)) => Err(Reason::Requested),
        (None, _) if families.any(|address| address.is_ipv6() != first) => Err(Reason::MixedFamilies),
        (None, _) => Ok(()),
    }
}

/// Why the packets of two legs cannot go from one to the other as they are, whoever relays them; nothing if they can.
pub fn difference(a: &Session, b: &Session) -> Option<Reason> {
    if a.codec != b.codec {
        Some(Reason::Codec)
    } else if a.ptime != b.ptime {
        Some(Reason::Ptime)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::flows::tests::session;

    #[test]
    fn legs_of_one_family_go_to_the_kernel_where_there_is_one() {
        let v4 = ["192.0.2.1:10000".parse().unwrap(), "192.0.2.9:4000".parse().unwrap()];
        let v6 = [
            "[2001:db8::1]:10000".parse().unwrap(),
            "[2001:db8::9]:4000".parse().unwrap(),
        ];
        let held = [v4[0], "[::]:4000".parse().unwrap()];
        assert_eq!(for_relay([v4, v4], None, None), Ok(()));
        assert_eq!(for_relay([v6, v6], None, Some(Lane::Kernel)), Ok(()));
        assert_eq!(for_relay([v4, held], None, None), Ok(()));
        assert_eq!(for_relay([v4, v6], None, None), Err(Reason::MixedFamilies));
        assert_eq!(for_relay([v4, v4], Some(Reason::XdpOff), None), Err(Reason::XdpOff));
        assert_eq!(for_relay([v4, v4], None, Some(Lane::Worker)), Err(Reason::Requested));
    }

    #[test]
    fn legs_that_differ_are_not_relayed_as_they_are() {
        let a = session("192.0.2.9:4000", 101);
        let slow = Session { ptime: 30, ..a.clone() };
        let wide = Session {
            codec: Codec::G722,
            ..slow.clone()
        };
        assert_eq!(difference(&a, &session("192.0.2.7:4000", 96)), None);
        assert_eq!(difference(&a, &slow), Some(Reason::Ptime));
        assert_eq!(difference(&a, &wide), Some(Reason::Codec));
    }
}
