//! The frame as the shared parser sees it, and how its bytes are written.

use aya_ebpf::programs::XdpContext;
use voxlane_common::frame::Frame;

/// The frame of a context.
pub struct XdpFrame<'a>(pub &'a XdpContext);

impl Frame for XdpFrame<'_> {
    #[inline(always)]
    fn read<T: bytemuck::Pod>(&self, offset: usize) -> Option<T> {
        let place = at::<T>(self.0, offset)?;
        // SAFETY: in the frame; Pod, and read unaligned.
        Some(unsafe { place.read_unaligned() })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.0.data_end() - self.0.data()
    }
}

/// Writes into the frame; `None` if it has no room there.
#[inline(always)]
pub fn store<T: bytemuck::Pod>(ctx: &XdpContext, offset: usize, value: T) -> Option<()> {
    let place = at::<T>(ctx, offset)?;
    // SAFETY: in the frame, which belongs to this program while it runs; no reference into it is held.
    unsafe { place.write_unaligned(value) };
    Some(())
}

/// A pointer to a `T` that lies wholly in the frame.
#[inline(always)]
fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    (start + size_of::<T>() <= ctx.data_end()).then_some(start as *mut T)
}
