//! voxlane's in-kernel lane.
//!
//! Two programs. `relay`, on XDP, forwards media; the way of a frame:
//! 1. `voxlane_common::frame`: Ethernet, a VLAN tag perhaps, IPv4 or IPv6, UDP; anything else belongs to the network
//!    stack. [`parse`] lends it the frame's bytes.
//! 2. [`maps`]: the destination address and port name an entry of the flow table, by arithmetic.
//! 3. `voxlane_common::relay::decide`: source, rate, account, verdict. The userspace relay calls the same function.
//! 4. [`tell`]: copies for userspace, of what it wants to see.
//! 5. [`forward`]: next hop, headers, checksums.
//! 6. The verdict, below: every way a frame can end, beside what the kernel is told.
//!
//! `pace`, on tc, gives its time to a packet that is to leave later: [`hand_over`].
//!
//! Nothing here logs: every outcome has a counter.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

mod forward;
mod hand_over;
mod maps;
mod parse;
mod tell;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use voxlane_common::drops::DropReason;
use voxlane_common::duration::SAMPLED;
use voxlane_common::flow::{Beside, Flow, FlowKind, Mirror};
use voxlane_common::frame;
use voxlane_common::outcome::{Outcome, PassReason};
use voxlane_common::ports::{PortMap, Unallocated};
use voxlane_common::relay::{PacketView, Verdict, decide};
use voxlane_common::sockets::LONGEST_FRAME;

use crate::tell::Seen;

/// Relays the packets of programmed flows and leaves everything else to the network stack.
#[xdp]
fn relay(ctx: XdpContext) -> u32 {
    let Some(frames) = maps::frames() else {
        return xdp_action::XDP_PASS;
    };
    frames.begin();
    let outcome = handle(&ctx).unwrap_or_else(Outcome::Passed);
    frames.end(outcome);
    match outcome {
        Outcome::Passed(_) => xdp_action::XDP_PASS,
        Outcome::Reflected => xdp_action::XDP_TX,
        Outcome::Redirected | Outcome::Worker => xdp_action::XDP_REDIRECT,
        Outcome::Paced => xdp_action::XDP_PASS,
        Outcome::Dropped(_) => xdp_action::XDP_DROP,
    }
}

/// Sends packets that `relay` has given a time to the queue that keeps it.
#[classifier]
fn pace(ctx: TcContext) -> i32 {
    hand_over::from_relay(&ctx)
}

#[inline(always)]
fn handle(ctx: &XdpContext) -> Result<Outcome, PassReason> {
    let datagram = frame::datagram(&parse::XdpFrame(ctx))?;
    let ports = maps::ports().ok_or(PassReason::OtherPort)?;
    let index = ports.index(datagram.local).ok_or(PassReason::OtherPort)?;
    let flow = maps::flow(index).ok_or(PassReason::OtherPort)?;
    let state = maps::state(index).ok_or(PassReason::OtherPort)?;
    // SAFETY: the helper takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };

    let mut view = PacketView {
        source: datagram.source,
        head: frame::head(&parse::XdpFrame(ctx), &datagram),
        length: datagram.length,
        beside: Beside::NOTHING,
    };
    if let Mirror::On = flow.mirror() {
        tell::mirror(ctx, Seen { flow, index, now_ns });
    }
    // RTCP has the entry beside its RTP, also where it arrives on the same port.
    let (index, flow, state) = match view.is_rtcp_on(flow) {
        true => {
            let index = ports.rtcp_beside(index);
            let both = maps::flow(index).zip(maps::state(index));
            let (flow, state) = both.ok_or(PassReason::OtherPort)?;
            (index, flow, state)
        }
        false => (index, flow, state),
    };
    view.beside = beside(ports, index, flow);

    let decision = decide(flow, state, &view, now_ns);
    let seen = Seen { flow, index, now_ns };
    if let Some(kind) = decision.copy {
        tell::copy(ctx, seen, kind, &datagram);
    }
    if !decision.found.is_none() {
        if let Some(peer) = maps::state(flow.peer()) {
            peer.peer_found(flow, decision.found);
        }
        tell::found(ctx, seen);
    }
    let forward = match decision.verdict {
        Verdict::NoFlow => {
            return match ports.unallocated() {
                Unallocated::Drop => Ok(Outcome::Dropped(DropReason::Unallocated)),
                Unallocated::Pass => Err(PassReason::NoFlow),
            };
        }
        Verdict::Worker => return to_worker(ctx, flow),
        Verdict::Drop(reason) => return Ok(Outcome::Dropped(reason)),
        Verdict::Forward(forward) => forward,
    };
    let packet = forward::Packet {
        datagram: &datagram,
        head: &view.head,
        kind: flow.kind(),
    };
    match forward::send(ctx, &packet, &forward) {
        Ok(sent) => {
            state.on_forwarded();
            if state.forwarded % SAMPLED == 0 {
                // SAFETY: the helper takes no arguments.
                maps::count_duration(unsafe { bpf_ktime_get_ns() }.wrapping_sub(now_ns));
            }
            Ok(sent.into())
        }
        Err(reason) => {
            state.on_dropped(reason);
            Ok(Outcome::Dropped(reason))
        }
    }
}

/// A packet of the worker lane: past the network stack where there is such a way.
#[inline(always)]
fn to_worker(ctx: &XdpContext, flow: &Flow) -> Result<Outcome, PassReason> {
    let worker = flow.worker();
    let fits = ctx.data_end() - ctx.data() <= LONGEST_FRAME;
    if worker.is_none() || !fits {
        return Err(PassReason::Worker);
    }
    let taken = maps::give_to_worker(ctx.ingress_ifindex() as u32, ctx.rx_queue_index(), worker);
    taken.map(|()| Outcome::Worker).ok_or(PassReason::Worker)
}

/// What an RTCP packet is told of the RTP beside it.
#[inline(always)]
fn beside(ports: &PortMap, index: u32, flow: &Flow) -> Beside {
    match flow.kind() {
        FlowKind::Rtcp => match maps::state(ports.rtp_beside(index)) {
            Some(rtp) => rtp.beside(flow),
            None => Beside::NOTHING,
        },
        FlowKind::Rtp | FlowKind::Worker => Beside::NOTHING,
    }
}

/// Which way a packet left.
enum Sent {
    /// The way it came.
    Back,
    /// Through another interface.
    Across,
    /// By way of `pace`.
    Later,
}

impl From<Sent> for Outcome {
    #[inline(always)]
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Back => Self::Reflected,
            Sent::Across => Self::Redirected,
            Sent::Later => Self::Paced,
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
