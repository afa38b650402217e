//! The sockets on one receive queue of one interface.
//!
//! They share the area, and with it the two rings by which its frames come and go: those to be received into, and those that
//! have been sent. Whichever worker needs to works them, if no other does so at that moment; none ever waits.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, TryLockError};

use super::area::{Area, FRAME, Frame};
use super::ring::{Consumer, Producer};

/// Entries of the rings: received frames wait in the first for as long as a worker is held up, which at 100 packets a
/// millisecond may be 40 ms.
const RECEIVE: u32 = 4096;
const SEND: u32 = 1024;
const FILL: u32 = 4096;

/// Frames of an area: 16 MiB.
const FRAMES: u32 = 8192;

/// Frames that are kept for sending when they become few.
const KEPT: usize = 1024;

/// Received frames that are handled together: enough to ask for all while the first is on its way into the cache.
pub(crate) const GROUP: usize = 8;

/// Frames that a socket has at hand to send, at least and at most: those it has sent last, which are in its core's cache.
const FEWEST_AT_HAND: usize = 16;
const MOST_AT_HAND: usize = 256;

/// What the kernel may hold of a socket's packets on their way, bytes.
static SEND_BUFFER: libc::c_int = 4 << 20;

/// The kernel sends a few packets for each time it is asked to; more often than this it is not asked in a row.
const PUSHES: usize = 64;

/// What the sockets of a queue share.
#[derive(Debug)]
struct Queue {
    area: Area,
    rings: Mutex<Rings>,
    /// The socket that the area is registered with.
    first: OwnedFd,
}

#[derive(Debug)]
struct Rings {
    fill: Producer<u64>,
    sent: Consumer<u64>,
}

impl Queue {
    /// Takes back what was sent, as much of it as there is room for to `at_hand`, and gives the kernel frames to receive into.
    fn exchange(&self, at_hand: &mut Vec<Frame>) {
        let mut rings = match self.rings.try_lock() {
            Ok(rings) => rings,
            // Every step leaves them sound.
            Err(TryLockError::Poisoned(rings)) => rings.into_inner(),
            // Whoever has them does just this.
            Err(TryLockError::WouldBlock) => return,
        };
        while let Some(address) = rings.sent.next() {
            // SAFETY: the kernel has sent it and gives it back.
            let Some((frame, _)) = (unsafe { self.area.frame_at(address) }) else {
                continue;
            };
            if at_hand.len() < at_hand.capacity() {
                at_hand.push(frame);
            } else {
                self.area.give_back(frame);
            }
        }
        rings.sent.release();
        while self.area.available() > KEPT && rings.fill.room() > 0 {
            let Some(frame) = self.area.take() else {
                break;
            };
            // There was room.
            rings.fill.push(self.area.address(&frame));
        }
        rings.fill.submit();
        if rings.fill.wants_waking() {
            // SAFETY: no buffer is given; the descriptor is open.
            unsafe {
                libc::recvfrom(
                    self.first.as_raw_fd(),
                    std::ptr::null_mut(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                );
            }
        }
    }
}

/// What a worker receives by one socket.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Arc<OwnedFd>,
    ring: Consumer<libc::xdp_desc>,
    queue: Arc<Queue>,
    /// Frames in hand: where in its bytes each begins, and its length.
    group: Vec<(Frame, usize, usize)>,
}

/// What a worker sends by one socket.
#[derive(Debug)]
pub(crate) struct Sender {
    ifindex: u32,
    socket: Arc<OwnedFd>,
    ring: Producer<libc::xdp_desc>,
    queue: Arc<Queue>,
    /// Frames to be sent next. The last was used last.
    at_hand: Vec<Frame>,
}

impl Receiver {
    /// Takes frames that have come in hand, at most `most` and at most [`GROUP`]; how many. They are on their way into the cache.
    pub(crate) fn fetch(&mut self, most: usize) -> usize {
        for _ in 0..self.ring.available(most.min(GROUP)) {
            let Some(entry) = self.ring.next() else {
                break;
            };
            // SAFETY: the kernel has received into it and gives it back.
            let Some((frame, at)) = (unsafe { self.queue.area.frame_at(entry.addr) }) else {
                continue;
            };
            let length = entry.len as usize;
            if at + length <= FRAME {
                self.queue.area.expect(&frame, at, length);
                self.group.push((frame, at, length));
            } else {
                self.queue.area.give_back(frame);
            }
        }
        self.group.len()
    }

    /// The bytes in which a frame in hand lies, where it begins in them, and its length.
    pub(crate) fn frame(&mut self, place: usize) -> Option<(&mut [u8], usize, usize)> {
        let (frame, at, length) = self.group.get_mut(place)?;
        Some((self.queue.area.bytes(frame), *at, *length))
    }

    /// Lets go of the frames in hand.
    pub(crate) fn let_go(&mut self) {
        for (frame, ..) in self.group.drain(..) {
            self.queue.area.give_back(frame);
        }
    }

    /// Gives the kernel frames to receive into, in place of those that were taken.
    pub(crate) fn replace(&mut self) {
        self.ring.release();
        self.queue.exchange(&mut Vec::new());
    }

    /// Frames lost so far because the worker did not take them in time, or none was free to receive into.
    pub(crate) fn dropped(&self) -> u64 {
        dropped_by(&self.socket)
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn dropped_by(socket: &OwnedFd) -> u64 {
    // SAFETY: integers, for which zero is a value.
    let mut found: libc::xdp_statistics = unsafe { zeroed() };
    let mut length = size_of::<libc::xdp_statistics>() as libc::socklen_t;
    // SAFETY: the pointers are to live values of the sizes given, which the kernel writes.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_STATISTICS,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    match answer {
        0 => found.rx_dropped + found.rx_ring_full,
        _ => 0,
    }
}

impl Sender {
    /// The interface that it sends by.
    pub(crate) fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Lets `write` write a frame, which leaves with the next [`Self::flush`]: it says where in the bytes the frame begins and
    /// ends, or that there is none. Whether there is one.
    pub(crate) fn send(&mut self, write: impl FnOnce(&mut [u8]) -> Option<(usize, usize)>) -> bool {
        if self.ring.room() == 0 {
            self.flush();
        }
        if self.ring.room() == 0 {
            return false;
        }
        let frame = self.at_hand.pop().or_else(|| self.queue.area.take()).or_else(|| {
            self.queue.exchange(&mut self.at_hand);
            self.at_hand.pop().or_else(|| self.queue.area.take())
        });
        let Some(mut frame) = frame else {
            return false;
        };
        match write(self.queue.area.bytes(&mut frame)) {
            Some((start, end)) if start < end && end <= FRAME => self.push(&frame, start, end),
            _ => {
                self.queue.area.give_back(frame);
                false
            }
        }
    }

    fn push(&mut self, frame: &Frame, start: usize, end: usize) -> bool {
        self.ring.push(libc::xdp_desc {
            addr: self.queue.area.address(frame) + start as u64,
            len: u32::try_from(end - start).unwrap_or_default(),
            options: 0,
        })
    }

    /// Sends what waits. What the kernel does not take now leaves with the next.
    pub(crate) fn flush(&mut self) {
        if !self.ring.is_waiting() {
            return;
        }
        self.ring.submit();
        for _ in 0..PUSHES {
            // SAFETY: no buffer is given; the descriptor is open.
            let answer = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    std::ptr::null(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null(),
                    0,
                )
            };
            let again = answer >= 0
                || matches!(
                    io::Error::last_os_error().raw_os_error(),
                    Some(libc::EAGAIN | libc::EINTR)
                );
            if !self.ring.is_waiting() || !again {
                break;
            }
        }
        self.queue.exchange(&mut self.at_hand);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        for frame in self.at_hand.drain(..) {
            self.queue.area.give_back(frame);
        }
    }
}

/// Opens sockets for so many workers on a receive queue of an interface; `None` if it has no such queue.
///
/// # Errors
/// What the system says.
pub(crate) fn open(ifindex: u32, queue: u32, workers: usize) -> io::Result<Option<Vec<(Receiver, Sender)>>> {
    let area = Area::new(FRAMES)?;
    let first = socket()?;
    let registration = libc::xdp_umem_reg {
        addr: area.memory().start().as_ptr() as u64,
        len: area.memory().length() as u64,
        chunk_size: FRAME as u32,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    set_option(&first, libc::XDP_UMEM_REG, &registration)?;
    set_option(&first, libc::XDP_UMEM_FILL_RING, &FILL)?;
    set_option(&first, libc::XDP_UMEM_COMPLETION_RING, &FRAMES)?;
    let (receive, send) = rings_of(&first)?;
    let offsets = offsets_of(&first)?;
    let fd = first.as_raw_fd();
    let rings = Rings {
        fill: Producer::new(fd, libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t, &offsets.fr, FILL)?,
        sent: Consumer::new(
            fd,
            libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
            &offsets.cr,
            FRAMES,
        )?,
    };
    match bind(&first, ifindex, queue, libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP, 0) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(None),
        other => other?,
    }
    let shared = Arc::new(Queue {
        area,
        rings: Mutex::new(rings),
        first: first.try_clone()?,
    });
    shared.exchange(&mut Vec::new());
    let at_hand = (KEPT / workers.max(1)).clamp(FEWEST_AT_HAND, MOST_AT_HAND);
    let pair = |socket: OwnedFd, receive, send| {
        let socket = Arc::new(socket);
        let receiver = Receiver {
            socket: Arc::clone(&socket),
            ring: receive,
            queue: Arc::clone(&shared),
            group: Vec::with_capacity(GROUP),
        };
        let sender = Sender {
            ifindex,
            socket,
            ring: send,
            queue: Arc::clone(&shared),
            at_hand: Vec::with_capacity(at_hand),
        };
        (receiver, sender)
    };
    let mut pairs = vec![pair(first, receive, send)];
    for _ in 1..workers {
        let other = socket()?;
        let (receive, send) = rings_of(&other)?;
        bind(&other, ifindex, queue, libc::XDP_SHARED_UMEM, shared.first.as_raw_fd())?;
        pairs.push(pair(other, receive, send));
    }
    Ok(Some(pairs))
}

/// The two rings of a socket's own.
fn rings_of(socket: &OwnedFd) -> io::Result<(Consumer<libc::xdp_desc>, Producer<libc::xdp_desc>)> {
    set_option(socket, libc::XDP_RX_RING, &RECEIVE)?;
    set_option(socket, libc::XDP_TX_RING, &SEND)?;
    let offsets = offsets_of(socket)?;
    let fd = socket.as_raw_fd();
    Ok((
        Consumer::new(fd, libc::XDP_PGOFF_RX_RING, &offsets.rx, RECEIVE)?,
        Producer::new(fd, libc::XDP_PGOFF_TX_RING, &offsets.tx, SEND)?,
    ))
}

fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: it takes integers.
    let fd = unsafe { libc::socket(libc::AF_XDP, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let size = (&raw const SEND_BUFFER).cast();
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a live c_int, which the kernel reads. Without the privilege it stays as it is.
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size, length) };
    Ok(socket)
}

fn set_option<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let value: *const T = value;
    // SAFETY: the pointer is to a live value of the length given, which the kernel only reads.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_XDP, option, value.cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn offsets_of(socket: &OwnedFd) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: integers, for which zero is a value.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { zeroed() };
    let mut length = size_of::<libc::xdp_mmap_offsets>() as libc::socklen_t;
    // SAFETY: the pointers are to live values of the sizes given, which the kernel writes.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &raw mut length,
        )
    };
    match answer {
        0 => Ok(offsets),
        _ => Err(io::Error::last_os_error()),
    }
}

fn bind(socket: &OwnedFd, ifindex: u32, queue: u32, flags: u16, shared: RawFd) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: ifindex,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: u32::try_from(shared).unwrap_or_default(),
    };
    let length = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    // SAFETY: the pointer is to a live address of the length given, which the kernel only reads.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
