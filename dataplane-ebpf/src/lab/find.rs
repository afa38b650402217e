//! The same flows in an array and in a hash, found by the address and port a packet was sent to.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::XdpContext;
use voxlane_common::lab::{Line, Places, key};

use crate::at;

/// Which addresses and ports are ours. One entry.
#[map]
static PLACES: Array<Places> = Array::with_max_entries(1, 0);

/// Flows by [`Places::of`]; the loader sizes it.
#[map]
static ARRAY: Array<Line> = Array::with_max_entries(1, 0);

/// Flows by [`key`]; the loader sizes it.
#[map]
static HASH: HashMap<u64, Line> = HashMap::with_max_entries(1, 0);

/// Reads address and port, and finds nothing: what the others are measured against.
#[xdp]
fn read_key(ctx: XdpContext) -> u32 {
    verdict(local(&ctx).map(|(address, port)| u64::from(address) ^ u64::from(port)))
}

/// Finds the flow in the array.
#[xdp]
fn find_in_array(ctx: XdpContext) -> u32 {
    let line = local(&ctx).and_then(|local| ARRAY.get(place(local)?));
    verdict(line.map(|line| line[0]))
}

/// Finds the flow in the hash.
#[xdp]
fn find_in_hash(ctx: XdpContext) -> u32 {
    let line = local(&ctx).and_then(|(address, port)| {
        // SAFETY: nothing is taken out of the hash while this program runs.
        unsafe { HASH.get(key(address, port)) }
    });
    verdict(line.map(|line| line[0]))
}

/// The place of a flow in an array.
#[inline(always)]
pub fn place((address, port): (u32, u16)) -> Option<u32> {
    PLACES.get(0)?.of(address, u16::from_be(port))
}

/// Where the packet was sent to, as it lies in the frame.
#[inline(always)]
pub fn local(ctx: &XdpContext) -> Option<(u32, u16)> {
    let address = at::<[u16; 2]>(ctx, 30)?;
    let port = at::<u16>(ctx, 36)?;
    // SAFETY: both are in the frame, which is aligned to 2.
    let ([low, high], port) = unsafe { (*address, *port) };
    Some((u32::from(low) | u32::from(high) << 16, port))
}

/// Passes a frame whose flow holds something, and drops others, so that the flow has to be read.
#[inline(always)]
fn verdict(found: Option<u64>) -> u32 {
    match found {
        None | Some(0) => xdp_action::XDP_DROP,
        Some(_) => xdp_action::XDP_PASS,
    }
}
