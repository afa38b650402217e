//! voxlane's userspace data plane.
//!
//! The control plane sees one trait, [`media_plane::MediaPlane`]. Behind it every flow is handled in one of two lanes,
//! chosen by [`lane`]: the kernel lane (`kernel`, XDP) or the worker lane (`worker`, pinned threads).

pub mod agent;
#[cfg(test)]
#[path = "../tests/allocation_support/mod.rs"]
mod allocations;
mod cache;
pub mod codec;
pub mod dtmf;
pub mod flows;
#[cfg(feature = "ebpf")]
pub mod kernel;
pub mod lane;
pub mod media_plane;
pub mod plane;
pub mod playout;
pub mod quality;
pub mod reception;
pub mod rtcp;
pub mod srtp;
pub mod worker;
mod xsk;
