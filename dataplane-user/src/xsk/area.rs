//! The memory that frames lie in.

use std::io;
use std::ptr::NonNull;

use crossbeam_queue::ArrayQueue;

use crate::cache::ask_for_bytes;

/// Bytes of a frame. The kernel keeps the first 256 of a received one for itself.
pub(super) const FRAME: usize = 2048;

/// A piece of memory that is ours until it is dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: memory is not bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: whoever reads or writes through it says why that is sound.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Fresh memory, or part `offset` of what `fd` shares.
    pub(super) fn new(length: usize, from: Option<(i32, libc::off_t)>) -> io::Result<Self> {
        let (flags, fd, offset) = match from {
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
            Some((fd, offset)) => (libc::MAP_SHARED | libc::MAP_POPULATE, fd, offset),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping wherever the kernel likes.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, fd, offset) };
        let failed = start == libc::MAP_FAILED;
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if !failed => Ok(Self { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Asks for it in pieces that take the processor few entries to find; where there are none, it is found more slowly.
    fn enlarge_pages(&self) {
        // SAFETY: it is mapped, and advice changes nothing of what is in it.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.length, libc::MADV_HUGEPAGE) };
    }

    /// Its first byte. The pointer is good for as long as the mapping.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody has it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// One frame. Whoever has it may read and write its bytes: there is one of each in the process, or none while the kernel has
/// the frame.
#[derive(Debug)]
pub(crate) struct Frame(u32);

/// The frames of one queue.
#[derive(Debug)]
pub(super) struct Area {
    memory: Mapping,
    free: ArrayQueue<Frame>,
}

impl Area {
    /// So many frames, all free.
    pub(super) fn new(frames: u32) -> io::Result<Self> {
        let memory = Mapping::new(frames as usize * FRAME, None)?;
        memory.enlarge_pages();
        let free = ArrayQueue::new(frames as usize);
        for number in 0..frames {
            // There is room for each.
            let _ = free.push(Frame(number));
        }
        Ok(Self { memory, free })
    }

    pub(super) fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// A free frame.
    pub(super) fn take(&self) -> Option<Frame> {
        self.free.pop()
    }

    /// Frames that are free.
    pub(super) fn available(&self) -> usize {
        self.free.len()
    }

    /// The frame is free again.
    pub(super) fn give_back(&self, frame: Frame) {
        // There is room for each.
        let _ = self.free.push(frame);
    }

    /// `length` bytes of a frame from `at` on are needed in a moment.
    pub(super) fn expect(&self, frame: &Frame, at: usize, length: usize) {
        let offset = frame.0 as usize * FRAME + at;
        ask_for_bytes(self.memory.start().as_ptr().wrapping_add(offset), length);
    }

    /// Where a frame begins in the area.
    pub(super) fn address(&self, frame: &Frame) -> u64 {
        u64::from(frame.0) * FRAME as u64
    }

    /// The frame in which the byte at `address` lies, back from the kernel, and where in it; `None` if there is none.
    ///
    /// # Safety
    /// The kernel has given it back just now: nobody else has it.
    pub(super) unsafe fn frame_at(&self, address: u64) -> Option<(Frame, usize)> {
        let address = usize::try_from(address).ok().filter(|at| *at < self.memory.length())?;
        let number = u32::try_from(address / FRAME).ok()?;
        Some((Frame(number), address % FRAME))
    }

    /// The bytes of a frame.
    pub(super) fn bytes<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        let offset = frame.0 as usize * FRAME;
        debug_assert!(offset + FRAME <= self.memory.length());
        // SAFETY: frames are made by `new` and lie in the memory, which lives as long as this; and whoever has a frame has
        // it alone: it is neither free nor the kernel's.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().as_ptr().add(offset), FRAME) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_is_had_by_one() {
        let area = Area::new(3).unwrap();
        let mut frames: Vec<Frame> = std::iter::from_fn(|| area.take()).collect();
        assert_eq!((frames.len(), area.available()), (3, 0));
        for (value, frame) in (1..).zip(&mut frames) {
            area.bytes(frame).fill(value);
        }
        for (value, frame) in (1..).zip(&mut frames) {
            let bytes = area.bytes(frame);
            assert!(bytes.len() == FRAME && bytes.iter().all(|byte| *byte == value));
        }
        frames.into_iter().for_each(|frame| area.give_back(frame));
        assert_eq!(area.available(), 3);
    }

    #[test]
    fn an_address_is_of_one_frame() {
        let area = Area::new(2).unwrap();
        // SAFETY: nobody uses the frames.
        let found = |address| unsafe { area.frame_at(address) }.map(|(frame, at)| (area.address(&frame), at));
        assert_eq!(found(256), Some((0, 256)));
        assert_eq!(found(2048 + 300), Some((2048, 300)));
        assert_eq!(found(2 * 2048), None);
        assert_eq!(found(u64::MAX), None);
    }
}
