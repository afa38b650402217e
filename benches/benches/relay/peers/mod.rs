//! What is measured: each relay starts in its namespace, for so many calls, and ends when it is dropped.

pub mod hand_on;
pub mod nftables;
pub mod rtpengine;
pub mod sockets;
pub mod voxlane;

use std::net::SocketAddrV4;

use anyhow::Result;
use voxlane_dataplane::kernel::lab::traffic::Intake;

use crate::ends::far_ends;
use crate::site::{Site, TO_CALLEE, TO_CALLER};

/// A relay.
pub trait Peer {
    /// What it is called in the table.
    fn name(&self) -> &'static str;

    /// How the ends take in what it sends.
    fn intake(&self) -> Intake;

    /// Starts it, with calls set up.
    ///
    /// # Errors
    /// If it does not start, or refuses a call.
    fn start(&self, site: &Site, calls: u32) -> Result<Running>;
}

/// Where calls' packets are to arrive at a relay that keeps their ports as they are.
///
/// # Errors
/// If there are more calls than ports.
pub fn same_ports(calls: u32) -> Result<Vec<[SocketAddrV4; 2]>> {
    let arrive = |call| {
        let [caller, callee] = far_ends(call)?;
        Ok([
            SocketAddrV4::new(TO_CALLER, caller.port()),
            SocketAddrV4::new(TO_CALLEE, callee.port()),
        ])
    };
    (0..calls).map(arrive).collect()
}

/// A relay that runs.
pub struct Running {
    /// Where each call's caller and callee send to.
    pub calls: Vec<[SocketAddrV4; 2]>,
    /// Ends it when it is dropped.
    pub relay: Box<dyn Send>,
}
