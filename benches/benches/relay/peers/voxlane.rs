//! The kernel lane, with its tables, its threads and all that it does for a packet.

use std::net::SocketAddrV4;

use anyhow::{Context as _, Result};
use voxlane_common::ports::Unallocated;
use voxlane_dataplane::flows::Rules;
use voxlane_dataplane::kernel::lab::traffic::Intake;
use voxlane_dataplane::kernel::lab::usual_leg;
use voxlane_dataplane::kernel::{KernelConfig, KernelLane, RelayPair};
use voxlane_dataplane::media_plane::AttachPolicy;

use super::{Peer, Running};
use crate::ends::far_ends;
use crate::site::{RELAY, Site, TO_CALLEE, TO_CALLER};

/// Ports of the gateway: as many calls as ports for RTP and RTCP can carry.
const PORTS: (u16, u16) = (10_000, 65_535);

/// It.
pub struct Voxlane;

impl Peer for Voxlane {
    fn name(&self) -> &'static str {
        "voxlane"
    }

    fn intake(&self) -> Intake {
        Intake::Xdp
    }

    fn start(&self, site: &Site, calls: u32) -> Result<Running> {
        let (lane, calls) = site.relay.run(move || start(calls))?;
        Ok(Running {
            calls,
            relay: Box::new(lane),
        })
    }
}

fn start(calls: u32) -> Result<(KernelLane, Vec<[SocketAddrV4; 2]>)> {
    let config = KernelConfig {
        interfaces: RELAY.map(str::to_owned).to_vec(),
        policy: AttachPolicy::Native,
        addresses: vec![],
        first_port: PORTS.0,
        last_port: PORTS.1,
        unallocated: Unallocated::Drop,
        rules: Rules::default(),
        pin: None,
    };
    let lane = KernelLane::start(&config, |_| {})?;
    let mut arrivals = Vec::new();
    for call in 0..calls {
        let port = u16::try_from(u32::from(PORTS.0) + 2 * call).context("too many calls")?;
        let ours = [TO_CALLER, TO_CALLEE].map(|address| SocketAddrV4::new(address, port));
        let [caller, callee] = far_ends(call)?;
        lane.program(&RelayPair(usual_leg(ours[0], caller), usual_leg(ours[1], callee)), None)?;
        arrivals.push(ours);
    }
    Ok((lane, arrivals))
}
