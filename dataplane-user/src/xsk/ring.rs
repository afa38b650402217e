//! The rings by which frames change hands with the kernel: each has one side that writes and one that reads, and two counts
//! that only grow.

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::area::Mapping;

/// What is in a ring: `u64` addresses, or [`libc::xdp_desc`]s.
pub(super) trait Entry: Copy {}

impl Entry for u64 {}
impl Entry for libc::xdp_desc {}

/// A ring in memory that is shared with the kernel.
#[derive(Debug)]
struct Shared<T> {
    _memory: Mapping,
    produced: NonNull<AtomicU32>,
    consumed: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
}

// SAFETY: memory is not bound to a thread.
unsafe impl<T: Entry> Send for Shared<T> {}

impl<T: Entry> Shared<T> {
    /// The ring of `fd` at `page_offset`, with `size` entries, a power of two.
    fn new(fd: i32, page_offset: libc::off_t, offsets: &libc::xdp_ring_offset, size: u32) -> io::Result<Self> {
        let length = offsets.desc as usize + size as usize * size_of::<T>();
        let memory = Mapping::new(length, Some((fd, page_offset)))?;
        let at = |offset: u64| {
            debug_assert!((offset as usize) < length);
            // SAFETY: the kernel says that it lies in the ring, whose length was made of that.
            unsafe { memory.start().add(offset as usize) }
        };
        Ok(Self {
            produced: at(offsets.producer).cast(),
            consumed: at(offsets.consumer).cast(),
            flags: at(offsets.flags).cast(),
            entries: at(offsets.desc).cast(),
            size,
            _memory: memory,
        })
    }

    fn produced(&self) -> &AtomicU32 {
        // SAFETY: it lies in the mapping, aligned as the kernel has laid it out, and both sides use it atomically.
        unsafe { self.produced.as_ref() }
    }

    fn consumed(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumed.as_ref() }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.flags.as_ref() }
    }

    fn entry(&self, count: u32) -> NonNull<T> {
        // SAFETY: the size is a power of two, so this is the place of one of its entries.
        unsafe { self.entries.add((count & (self.size - 1)) as usize) }
    }
}

/// A ring that we write.
#[derive(Debug)]
pub(super) struct Producer<T> {
    ring: Shared<T>,
    /// Entries written, and those of them that the kernel is known to have read.
    written: u32,
    read: u32,
    _not_sync: PhantomData<*const T>,
}

// SAFETY: memory is not bound to a thread.
unsafe impl<T: Entry> Send for Producer<T> {}

impl<T: Entry> Producer<T> {
    /// See [`Shared::new`].
    pub(super) fn new(
        fd: i32,
        page_offset: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            ring: Shared::new(fd, page_offset, offsets, size)?,
            written: 0,
            read: 0,
            _not_sync: PhantomData,
        })
    }

    /// Entries there is room for.
    pub(super) fn room(&mut self) -> u32 {
        let room = self.ring.size - self.written.wrapping_sub(self.read);
        if room > 0 {
            return room;
        }
        self.read = self.ring.consumed().load(Ordering::Acquire);
        self.ring.size - self.written.wrapping_sub(self.read)
    }

    /// Writes an entry that the kernel sees after [`Self::submit`]; whether there was room.
    pub(super) fn push(&mut self, entry: T) -> bool {
        if self.room() == 0 {
            return false;
        }
        // SAFETY: the kernel has read this entry, or never had it, and does not look at it before `submit`.
        unsafe { self.ring.entry(self.written).write(entry) };
        self.written = self.written.wrapping_add(1);
        true
    }

    /// Shows the kernel all that was written.
    pub(super) fn submit(&mut self) {
        self.ring.produced().store(self.written, Ordering::Release);
    }

    /// Whether the kernel has not read all that was submitted.
    pub(super) fn is_waiting(&mut self) -> bool {
        self.read = self.ring.consumed().load(Ordering::Acquire);
        self.read != self.written
    }

    /// Whether the kernel wants to be woken to see what was submitted.
    pub(super) fn wants_waking(&self) -> bool {
        self.ring.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// A ring that we read.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    ring: Shared<T>,
    /// Entries read, and those that the kernel is known to have written.
    read: u32,
    written: u32,
    _not_sync: PhantomData<*const T>,
}

// SAFETY: memory is not bound to a thread.
unsafe impl<T: Entry> Send for Consumer<T> {}

impl<T: Entry> Consumer<T> {
    /// See [`Shared::new`].
    pub(super) fn new(
        fd: i32,
        page_offset: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            ring: Shared::new(fd, page_offset, offsets, size)?,
            read: 0,
            written: 0,
            _not_sync: PhantomData,
        })
    }

    /// How many entries can be read now, `most` of them at most.
    pub(super) fn available(&mut self, most: usize) -> usize {
        if (self.written.wrapping_sub(self.read) as usize) < most {
            self.written = self.ring.produced().load(Ordering::Acquire);
        }
        most.min(self.written.wrapping_sub(self.read) as usize)
    }

    /// The next entry, which is the kernel's again after [`Self::release`].
    pub(super) fn next(&mut self) -> Option<T> {
        if self.read == self.written {
            self.written = self.ring.produced().load(Ordering::Acquire);
            if self.read == self.written {
                return None;
            }
        }
        // SAFETY: the kernel has written this entry and does not touch it before `release`.
        let entry = unsafe { self.ring.entry(self.read).read() };
        self.read = self.read.wrapping_add(1);
        Some(entry)
    }

    /// Gives the entries that were read back.
    pub(super) fn release(&mut self) {
        self.ring.consumed().store(self.read, Ordering::Release);
    }
}
