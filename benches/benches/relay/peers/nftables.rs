//! The kernel's own forwarding with network address translation, as rules of nftables ask for it: what a router does.
//!
//! Each packet passes the whole network stack, and the table of connections has an entry for each call.

use std::sync::Arc;

use anyhow::Result;
use voxlane_dataplane::kernel::lab::traffic::Intake;
use voxlane_tests::namespace::Namespace;

use super::{Peer, Running, same_ports};
use crate::site::{CALLEE, CALLER, RELAY, Site, TO_CALLEE, TO_CALLER, script};

/// It.
pub struct Nftables;

impl Peer for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn intake(&self) -> Intake {
        Intake::Stack
    }

    fn start(&self, site: &Site, calls: u32) -> Result<Running> {
        let [to_caller, to_callee] = RELAY;
        let rules = Rules(Arc::clone(&site.relay));
        script(
            &site.relay,
            &format!(
                "echo 1 > /proc/sys/net/ipv4/ip_forward
                 nft -f - <<'END'
                 table ip relay {{
                     chain in {{
                         type nat hook prerouting priority dstnat;
                         iifname {to_caller} udp dport 1-65535 dnat to {CALLEE}
                         iifname {to_callee} udp dport 1-65535 dnat to {CALLER}
                     }}
                     chain out {{
                         type nat hook postrouting priority srcnat;
                         oifname {to_callee} snat to {TO_CALLEE}
                         oifname {to_caller} snat to {TO_CALLER}
                     }}
                 }}\nEND\n"
            ),
        )?;
        Ok(Running {
            calls: same_ports(calls)?,
            relay: Box::new(rules),
        })
    }
}

/// They go when it is dropped; connections last for half a minute, and are the same for the same calls.
struct Rules(Arc<Namespace>);

impl Drop for Rules {
    fn drop(&mut self) {
        // They may not have been made.
        let _ = script(
            &self.0,
            "nft delete table ip relay; echo 0 > /proc/sys/net/ipv4/ip_forward",
        );
    }
}
