//! What it costs a worker to get packets and to send them on: by sockets of the network stack, and by AF_XDP.
//!
//! A whole data plane relays calls in its worker lane ([`gateway`]), first untouched, where a packet's way in and out is
//! nearly all there is to do, then with SRTP on both legs, with keys of their own, then between PCMU and G.722. What counts
//! is the time that the worker's thread was on its core, system calls included. The kernel's part in receiving is done where
//! the sender of a packet runs, in either way: so the time of the far ends' thread is shown beside it.

use std::time::Duration;

use anyhow::Result;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::plane::IoChoice;
use voxlane_dataplane::srtp::Suite;

use crate::calls::PTIME;
use crate::gateway::{self, Calls};

/// Calls that run at once, few enough for either way.
const CALLS: u16 = 400;

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let relayed = Calls {
        count: CALLS,
        codec: Codec::Pcmu,
        srtp: None,
    };
    let secured = |suite| Calls {
        srtp: Some(suite),
        ..relayed
    };
    let transcoded = Calls {
        codec: Codec::G722,
        ..relayed
    };
    for (name, calls) in [
        ("relayed", relayed),
        (
            "relayed from SRTP to SRTP (AES_CM_128_HMAC_SHA1_80)",
            secured(Suite::AesCm128HmacSha1Tag80),
        ),
        (
            "relayed from SRTP to SRTP (AEAD_AES_128_GCM)",
            secured(Suite::AeadAes128Gcm),
        ),
        ("transcoded", transcoded),
    ] {
        let [sockets, express] = [IoChoice::Sockets, IoChoice::AfXdp].map(|io| gateway::measure(io, calls));
        let (sockets, express) = (sockets?.packet, express?.packet);
        let ns = |time: Duration| time.as_nanos() as f64;
        let row = |what: &str, time| Row::new(format!("packet {name} by a worker, {what}"), ns(time), "ns");
        report.add(row("by sockets", sockets.worker));
        let better = row("by AF_XDP, against sockets", express.worker).against(ns(sockets.worker));
        report.add(better.goal(Goal::AtMost(1.0)));
        let all = row(
            "by AF_XDP, with what the far ends cost, against sockets",
            express.worker + express.ends,
        );
        report.add(all.against(ns(sockets.worker + sockets.ends)));
        if name != "relayed" {
            let calls = |time: Duration| PTIME.as_secs_f64() / (2.0 * time.as_secs_f64());
            let name = format!("calls {name} a core by AF_XDP, against sockets ({CALLS} at once)");
            report.add(Row::new(name, calls(express.worker), "").against(calls(sockets.worker)));
        }
    }
    Ok(())
}
