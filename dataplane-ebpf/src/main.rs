//! voxlane's in-kernel lane.
//!
//! One XDP program, `relay`. The way of a frame:
//! 1. [`parse`]: Ethernet, IPv4 without options or fragments, UDP; anything else belongs to the network stack.
//! 2. [`maps`]: the destination address and port name an entry of the flow table, by arithmetic.
//! 3. `voxlane_common::relay::decide`: source, account, verdict. The userspace relay calls the same function.
//! 4. [`forward`]: next hop, headers, checksums.
//! 5. The verdict, below: every way a frame can end, beside what the kernel is told.
//!
//! Nothing here logs: every outcome has a counter.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

mod forward;
mod maps;
mod parse;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use voxlane_common::drops::DropReason;
use voxlane_common::flow::FlowKind;
use voxlane_common::outcome::{Outcome, PassReason};
use voxlane_common::relay::{Verdict, decide};

/// Relays the packets of programmed flows and leaves everything else to the network stack.
#[xdp]
fn relay(ctx: XdpContext) -> u32 {
    let outcome = handle(&ctx).unwrap_or_else(Outcome::Passed);
    maps::count(outcome);
    match outcome {
        Outcome::Passed(_) => xdp_action::XDP_PASS,
        Outcome::Reflected => xdp_action::XDP_TX,
        Outcome::Redirected => xdp_action::XDP_REDIRECT,
        Outcome::Dropped(_) => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn handle(ctx: &XdpContext) -> Result<Outcome, PassReason> {
    let mut packet = parse::udp(ctx)?;
    let index = maps::index(packet.local).ok_or(PassReason::OtherPort)?;
    let flow = maps::flow(index).ok_or(PassReason::OtherPort)?;
    let state = maps::state(index).ok_or(PassReason::OtherPort)?;
    // RTCP arrives one port above its RTP, so its entry is the next one.
    if let FlowKind::Rtcp = flow.kind()
        && let Some(rtp) = maps::state(index.wrapping_sub(1))
    {
        packet.view.rtp_owner = rtp.owner_beside(flow);
    }

    // SAFETY: the helper takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let decision = decide(flow, state, &packet.view, now_ns);
    let outcome = match decision.verdict {
        Verdict::NoFlow => return Err(PassReason::NoFlow),
        Verdict::Drop(reason) => Outcome::Dropped(reason),
        Verdict::Forward(forward) => match forward::send(ctx, packet.headers, &forward) {
            Ok(sent) => {
                state.on_forwarded();
                sent.into()
            }
            Err(reason) => {
                state.on_dropped(reason);
                Outcome::Dropped(reason)
            }
        },
    };
    if !decision.found.is_none()
        && let Some(peer) = maps::state(flow.peer())
    {
        peer.peer_found(flow, decision.found);
    }
    Ok(outcome)
}

/// Which way a packet left.
enum Sent {
    /// The way it came.
    Back,
    /// Through another interface.
    Across,
}

impl From<Sent> for Outcome {
    #[inline(always)]
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Back => Self::Reflected,
            Sent::Across => Self::Redirected,
        }
    }
}

/// The result of sending.
type SendResult = Result<Sent, DropReason>;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
