//! The smallest XDP program that gets a packet from one end to the other: it writes hardware addresses, and knows of no calls.

use anyhow::Result;
use voxlane_dataplane::kernel::lab::traffic::{HandOn, HandOnSide, Intake};

use super::{Peer, Running, same_ports};
use crate::site::{CALLEE_END, CALLER_END, RELAY, Site};

/// It.
pub struct Smallest;

impl Peer for Smallest {
    fn name(&self) -> &'static str {
        "smallest XDP"
    }

    fn intake(&self) -> Intake {
        Intake::Xdp
    }

    fn start(&self, site: &Site, calls: u32) -> Result<Running> {
        let macs = RELAY.map(|interface| site.relay.interface(interface).0);
        let neighbours = [CALLER_END, CALLEE_END].map(|end| site.ends.interface(end).0);
        let relay = site.relay.run(move || {
            HandOn::start([0, 1].map(|side| HandOnSide {
                interface: RELAY[side],
                mac: macs[side],
                neighbour: neighbours[side],
            }))
        })?;
        Ok(Running {
            calls: same_ports(calls)?,
            relay: Box::new(relay),
        })
    }
}
