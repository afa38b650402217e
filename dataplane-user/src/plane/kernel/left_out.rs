//! The kernel lane of a binary that was built without it.

use std::net::SocketAddr;

use super::Seen;
use crate::lane::Reason;
use crate::media_plane::{InterfaceStatus, Session};
use crate::plane::{KernelChoice, PlaneConfig};

/// No kernel lane.
pub(in crate::plane) struct Kernel {
    reason: Reason,
}

impl Kernel {
    pub(in crate::plane) fn start(config: &PlaneConfig) -> Self {
        Self {
            reason: match config.kernel {
                KernelChoice::Off => Reason::XdpOff,
                KernelChoice::On { .. } => Reason::BuiltWithoutEbpf,
            },
        }
    }

    pub(in crate::plane) fn unavailable(&self) -> Option<Reason> {
        Some(self.reason)
    }

    pub(in crate::plane) fn interfaces(&self) -> &[InterfaceStatus] {
        &[]
    }

    pub(in crate::plane) fn serve(&self, _local: SocketAddr) {}

    pub(in crate::plane) fn program(&self, _legs: [(SocketAddr, &Session); 2]) -> Result<(), Reason> {
        Err(self.reason)
    }

    pub(in crate::plane) fn read(&self, _local: SocketAddr) -> Option<Seen> {
        None
    }

    pub(in crate::plane) fn remove(&self, _local: SocketAddr) -> Option<Seen> {
        None
    }
}
