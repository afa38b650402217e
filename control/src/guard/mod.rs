//! What protects the gateway: the limits of what it takes on.
//!
//! Pure functions over what was measured and counted. [`intake`] is what new calls meet, [`overload`] finds out whether it has too much to do, [`rate`] how many
//! calls a second there are; whoever refuses a call asks them.

pub mod intake;
pub mod overload;
pub mod rate;

/// Why a new call is refused with 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// `sip.max_calls` calls are alive.
    Calls,
    /// `sip.max_calls_per_second` have begun within a second.
    Rate,
    /// The process takes more of its processors than `overload.cpu`.
    Cpu,
    /// The host's processors are busier than `overload.host_cpu`.
    HostCpu,
    /// Messages wait longer than `overload.delay` before they are looked at.
    Delay,
    /// `trunk.max_calls` calls of a trunk are alive.
    TrunkCalls,
    /// `trunk.max_calls_per_second` have begun on a trunk.
    TrunkRate,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Calls,
        Self::Rate,
        Self::Cpu,
        Self::HostCpu,
        Self::Delay,
        Self::TrunkCalls,
        Self::TrunkRate,
    ];

    /// In metrics and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Rate => "rate",
            Self::Cpu => "cpu",
            Self::HostCpu => "host_cpu",
            Self::Delay => "delay",
            Self::TrunkCalls => "trunk_calls",
            Self::TrunkRate => "trunk_rate",
        }
    }

    /// For the log and the Reason header.
    pub fn text(self) -> &'static str {
        match self {
            Self::Calls => "sip.max_calls is reached",
            Self::Rate => "sip.max_calls_per_second is reached",
            Self::Cpu => "the gateway is busy: overload.cpu",
            Self::HostCpu => "the host is busy: overload.host_cpu",
            Self::Delay => "signalling is late: overload.delay",
            Self::TrunkCalls => "trunk.max_calls is reached",
            Self::TrunkRate => "trunk.max_calls_per_second is reached",
        }
    }
}
