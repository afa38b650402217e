//! Lanes, reasons and attach modes as metric labels and as words for people.

use voxlane_dataplane::lane::{Lane, Reason};
use voxlane_dataplane::media_plane::AttachMode;

/// Every reason, for metrics that show those that do not occur as 0.
pub const REASONS: [Reason; 11] = [
    Reason::Agent,
    Reason::XdpOff,
    Reason::XdpUnavailable,
    Reason::BuiltWithoutEbpf,
    Reason::InterfaceNotAttached,
    Reason::MixedFamilies,
    Reason::Codec,
    Reason::Ptime,
    Reason::FlowTable,
    Reason::Srtp,
    Reason::Requested,
];

/// Every attach mode.
pub const MODES: [AttachMode; 3] = [AttachMode::Native, AttachMode::Generic, AttachMode::None];

/// A lane's name, in labels and for people.
pub fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Kernel => "kernel",
        Lane::Worker => "worker",
    }
}

/// An attach mode's name, in labels and for people.
pub fn mode(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::Native => "native",
        AttachMode::Generic => "generic",
        AttachMode::None => "none",
    }
}

/// A reason as a label: as in JSON.
pub fn reason_label(reason: Reason) -> &'static str {
    match reason {
        Reason::Agent => "agent",
        Reason::XdpOff => "xdp_off",
        Reason::XdpUnavailable => "xdp_unavailable",
        Reason::BuiltWithoutEbpf => "built_without_ebpf",
        Reason::InterfaceNotAttached => "interface_not_attached",
        Reason::MixedFamilies => "mixed_families",
        Reason::Codec => "codec",
        Reason::Ptime => "ptime",
        Reason::FlowTable => "flow_table",
        Reason::Srtp => "srtp",
        Reason::Requested => "requested",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_json() {
        for reason in REASONS {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason_label(reason));
        }
        for value in MODES {
            assert_eq!(serde_json::to_value(value).unwrap(), mode(value));
        }
        for value in [Lane::Kernel, Lane::Worker] {
            assert_eq!(serde_json::to_value(value).unwrap(), lane(value));
        }
    }
}
