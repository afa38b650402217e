//! The kernel lane of a binary that was built without it.

use std::net::SocketAddr;
use std::path::Path;

use crossbeam_channel::Sender;

use super::{KernelLeg, Seen};
use crate::flows::LegState;
use crate::lane::Reason;
use crate::media_plane::{EndpointId, InterfaceStatus, KernelStatus, MediaError, MediaEvent, MirroredFrame, Session};
use crate::plane::{KernelChoice, PlaneConfig};
use crate::worker::Workers;

/// No kernel lane.
pub(in crate::plane) struct Kernel {
    reason: Reason,
}

impl Kernel {
    pub(in crate::plane) fn start(
        config: &PlaneConfig,
        _endpoint_at: impl Fn(SocketAddr) -> Option<EndpointId> + Send + 'static,
        _events: Sender<MediaEvent>,
    ) -> Result<Self, MediaError> {
        Ok(Self {
            reason: match config.kernel {
                KernelChoice::Off => Reason::XdpOff,
                KernelChoice::On { .. } => Reason::BuiltWithoutEbpf,
            },
        })
    }

    pub(in crate::plane) fn serve(&mut self, _workers: &Workers) -> Result<(), String> {
        Err(self.reason.to_string())
    }

    pub(in crate::plane) fn steer(&self, local: SocketAddr, worker: usize) {
        tracing::trace!(%local, worker, "received by UDP sockets");
    }

    pub(in crate::plane) fn steer_back(&self, _locals: &[SocketAddr]) {}

    pub(in crate::plane) fn unavailable(&self) -> Option<Reason> {
        Some(self.reason)
    }

    pub(in crate::plane) fn interfaces(&self) -> &[InterfaceStatus] {
        &[]
    }

    pub(in crate::plane) fn reserve(&self, _local: SocketAddr) {}

    pub(in crate::plane) fn release(&self, _local: SocketAddr) {}

    pub(in crate::plane) fn holds_orphan(&self, _local: SocketAddr) -> bool {
        false
    }

    pub(in crate::plane) fn reaches(&self, _legs: [(SocketAddr, &Session); 2]) -> Result<(), Reason> {
        Err(self.reason)
    }

    pub(in crate::plane) fn program(
        &self,
        legs: [KernelLeg<'_>; 2],
        _states: Option<[LegState; 2]>,
    ) -> Result<(), Reason> {
        for KernelLeg {
            local,
            session,
            continuity,
        } in legs
        {
            tracing::trace!(%local, remote = %session.remote_rtp, ?continuity, "not relayed in a kernel lane");
        }
        Err(self.reason)
    }

    pub(in crate::plane) fn hand_back(&self, _local: SocketAddr) -> Option<[LegState; 2]> {
        None
    }

    pub(in crate::plane) fn states(&self, _local: SocketAddr) -> Option<[LegState; 2]> {
        None
    }

    pub(in crate::plane) fn add_late(&self, _local: SocketAddr, _before: &LegState, _after: &LegState) {}

    pub(in crate::plane) fn mirror(&self, _local: SocketAddr, _into: Sender<MirroredFrame>) -> Result<(), String> {
        Err(self.reason.to_string())
    }

    pub(in crate::plane) fn status(&self) -> Option<KernelStatus> {
        None
    }

    pub(in crate::plane) fn read(&self, _local: SocketAddr) -> Option<Seen> {
        None
    }

    pub(in crate::plane) fn remove(&self, _local: SocketAddr) -> Option<Seen> {
        None
    }
}

/// There is nothing to remove: this binary pins nothing.
pub(in crate::plane) fn detach(_pin: &Path) -> Result<Vec<String>, String> {
    Err("this binary was built without the kernel lane (--no-ebpf)".to_owned())
}
