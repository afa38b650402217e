//! The frame as the shared parser sees it, and how its bytes are written.

use aya_ebpf::programs::XdpContext;
use voxlane_common::frame::{Datagram, Frame};
use voxlane_common::{rtcp, rtp};

/// The frame of a context.
pub struct XdpFrame<'a>(pub &'a XdpContext);

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let bytes = at::<[u8; N]>(self.0, offset)?;
        // SAFETY: in the frame, and bytes need no alignment.
        Some(unsafe { *bytes })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.0.data_end() - self.0.data()
    }
}

/// Writes bytes into the frame; `None` if it has no room for them there.
#[inline(always)]
pub fn store<const N: usize>(ctx: &XdpContext, offset: usize, bytes: &[u8; N]) -> Option<()> {
    let place = at::<[u8; N]>(ctx, offset)?;
    // SAFETY: in the frame, which belongs to this program while it runs; no reference into it is held.
    unsafe { *place = *bytes };
    Some(())
}

/// Part of the frame, to change in place; `None` if it does not lie in it. For types without alignment for which any
/// bytes are valid.
#[inline(always)]
pub fn within<T: bytemuck::Pod>(ctx: &XdpContext, offset: usize) -> Option<&mut T> {
    const { assert!(align_of::<T>() == 1) };
    let place = at::<T>(ctx, offset)?;
    // SAFETY: in the frame, which belongs to this program while it runs; Pod, and needs no alignment. Callers hold one
    // such reference at a time.
    Some(unsafe { &mut *place })
}

/// The first bytes of the payload, as far as the relay decision can look: it rejects a packet by its length before it
/// reads further.
#[inline(always)]
pub fn head(ctx: &XdpContext, datagram: &Datagram) -> [u8; rtp::HEADER_LEN] {
    let frame = XdpFrame(ctx);
    if let Some(head) = frame.read::<{ rtp::HEADER_LEN }>(datagram.payload_offset) {
        return head;
    }
    let mut head = [0; rtp::HEADER_LEN];
    if let Some(short) = frame.read::<{ rtcp::MIN_LEN }>(datagram.payload_offset) {
        head[..rtcp::MIN_LEN].copy_from_slice(&short);
    }
    head
}

/// A pointer to a `T` that lies wholly in the frame.
#[inline(always)]
fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    (start + size_of::<T>() <= ctx.data_end()).then_some(start as *mut T)
}
