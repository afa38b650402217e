//! Starts the data plane as the gateway and the softphone want it.

use std::sync::Arc;

use crossbeam_channel::Sender;
use voxlane_dataplane::media_plane::{AttachPolicy, MediaEvent, MediaPlane, Unallocated};
use voxlane_dataplane::plane::{IoChoice, KernelChoice, Plane, PlaneConfig, Policing, Rules};
use voxlane_dataplane::reception::Limits;
use voxlane_dataplane::worker::FIRST_WORDS;

use crate::config::Dscp;
use crate::config::model::{Config, Xdp};

/// Packet time of the softphone, milliseconds.
const SOFTPHONE_PTIME: u8 = 20;

/// The gateway's data plane, as `[media]` describes it.
///
/// # Errors
/// If the media workers cannot be started.
pub fn start(config: &Config, events: Sender<MediaEvent>) -> anyhow::Result<Arc<dyn MediaPlane>> {
    let media = &config.media;
    let on = |policy| KernelChoice::On {
        policy,
        interfaces: media.interfaces.clone(),
    };
    let plane = Plane::start(
        PlaneConfig {
            addresses: media.addresses.clone(),
            first_port: media.first_port,
            last_port: media.last_port,
            ptime: media.ptime,
            jitter: media.jitter,
            first_words: media.first_words,
            worker_cores: media.workers.clone(),
            io: media.io,
            kernel: match media.xdp {
                Xdp::Auto => on(AttachPolicy::Auto),
                Xdp::Native => on(AttachPolicy::Native),
                Xdp::Generic => on(AttachPolicy::Generic),
                Xdp::Off => KernelChoice::Off,
            },
            unallocated: media.unallocated,
            rules: Rules {
                tos: media.dscp.tos(),
                police: media.police,
            },
            pin: media.pin.clone(),
        },
        events,
    )?;
    Ok(plane)
}

/// The softphone's data plane: its own ports, any local address, no kernel lane.
///
/// # Errors
/// If the media worker cannot be started.
pub fn softphone(ports: (u16, u16), events: Sender<MediaEvent>) -> anyhow::Result<Arc<dyn MediaPlane>> {
    let (first_port, last_port) = ports;
    let plane = Plane::start(
        PlaneConfig {
            addresses: Vec::new(),
            first_port,
            last_port,
            ptime: SOFTPHONE_PTIME,
            jitter: Limits::default(),
            first_words: FIRST_WORDS,
            worker_cores: None,
            io: IoChoice::Sockets,
            kernel: KernelChoice::Off,
            unallocated: Unallocated::Pass,
            rules: Rules {
                tos: Dscp::EF.tos(),
                police: Policing::Off,
            },
            pin: None,
        },
        events,
    )?;
    Ok(plane)
}
