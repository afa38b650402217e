//! Everything the workers ask of the operating system by hand: the port pair of a leg, one datagram in or out, and the
//! core a thread runs on.

#![allow(unsafe_code)]

use std::io::{self, ErrorKind};
use std::mem::size_of;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::guard::Guard;

const TTL: u32 = 64;

/// Datagrams that fit into a socket's receive buffer at most: a small one takes half a kilobyte of it, and the system gives
/// 208 KiB.
pub(super) const LONGEST_QUEUE: usize = 512;

/// The two sockets of a leg (RFC 3550 section 11).
#[derive(Debug)]
pub struct Sockets {
    /// RTP.
    pub rtp: UdpSocket,
    /// RTCP, one port above.
    pub rtcp: UdpSocket,
    /// The TOS byte or traffic class of what they send.
    pub(crate) tos: u8,
    /// SRTP on this wire.
    pub(crate) guard: Guard,
}

impl Sockets {
    /// Binds `rtp` and the port above it, non-blocking, with the header fields the kernel lane also writes: this TOS byte
    /// or traffic class, TTL 64, never fragmented.
    ///
    /// # Errors
    /// What the system says if either port is taken, or if there is no port above `rtp`.
    pub fn bind(rtp: SocketAddr, tos: u8) -> io::Result<Self> {
        let mut rtcp = rtp;
        rtcp.set_port(rtp.port().checked_add(1).ok_or(ErrorKind::InvalidInput)?);
        Ok(Self {
            rtp: bind(rtp, tos)?,
            rtcp: bind(rtcp, tos)?,
            tos,
            guard: Guard::default(),
        })
    }
}

impl Sockets {
    /// Forgets what waits in them: media that nobody was there for.
    pub(crate) fn empty(&self) {
        for socket in [&self.rtp, &self.rtcp] {
            // A flood cannot keep this from ending: no queue is longer.
            for _ in 0..LONGEST_QUEUE {
                if socket.recv(&mut [0]).is_err() {
                    break;
                }
            }
        }
    }
}

fn bind(address: SocketAddr, tos: u8) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match address {
        SocketAddr::V4(_) => {
            socket.set_tos_v4(tos.into())?;
            socket.set_ttl_v4(TTL)?;
            set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(tos.into())?;
            socket.set_unicast_hops_v6(TTL)?;
            // The IPv6 option takes the same values.
            set_option(
                &socket,
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IP_PMTUDISC_DO,
            )?;
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn set_option(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the pointer is to a live c_int of the
    // length given, which the kernel only reads.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What came of asking a socket for a datagram.
pub(super) enum Received {
    /// A datagram of this length from this address.
    Datagram(usize, SocketAddr),
    /// There is none: wait until the socket is ready again.
    Nothing,
    /// The system reported an error; the next call may succeed.
    Error,
}

/// Takes one datagram.
pub(super) fn receive_from(socket: &mio::net::UdpSocket, buffer: &mut [u8]) -> Received {
    match socket.recv_from(buffer) {
        Ok((length, from)) => Received::Datagram(length, from),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
        Err(_) => Received::Error,
    }
}

/// Sends one datagram; whether the system took it.
pub(super) fn send_to(socket: &mio::net::UdpSocket, datagram: &[u8], to: SocketAddr) -> bool {
    socket.send_to(datagram, to).is_ok()
}

/// A packet to send.
pub(super) struct Message<'a> {
    /// All of it that the socket is to be given.
    pub(super) bytes: &'a [u8],
    pub(super) to: &'a SockAddr,
    /// When it is to leave, ns on the monotonic clock; at once if not. The socket must be one that [`keep_times`] was asked for.
    pub(super) departs: Option<u64>,
}

/// A departure time, as `sendmsg` is told of it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Departure {
    header: libc::cmsghdr,
    at: u64,
}

/// Lets packets of the socket have departure times, which a queue that keeps them (`fq`) goes by; others send at once.
pub(super) fn keep_times(socket: &Socket) -> io::Result<()> {
    let clock = libc::sock_txtime {
        clockid: libc::CLOCK_MONOTONIC,
        flags: 0,
    };
    let length = size_of::<libc::sock_txtime>() as libc::socklen_t;
    let value = (&raw const clock).cast();
    // SAFETY: the pointer is to a live value of the length given, which the kernel only reads.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TXTIME, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends at most `MOST` packets by one socket, in as few system calls as it takes. `unsent` is told the places of those that
/// the system refused.
pub(super) fn send_all<'a, const MOST: usize>(
    socket: &Socket,
    messages: impl Iterator<Item = Message<'a>>,
    mut unsent: impl FnMut(usize),
) {
    // SAFETY: integers and pointers, for all of which zero is a value.
    let (mut headers, mut parts, mut times) =
        unsafe { std::mem::zeroed::<([libc::mmsghdr; MOST], [libc::iovec; MOST], [Departure; MOST])>() };
    let mut count = 0;
    let places = headers.iter_mut().zip(&mut parts).zip(&mut times);
    for (((header, part), time), message) in places.zip(messages) {
        if let Some(at) = message.departs {
            time.at = at;
            time.header.cmsg_len = size_of::<Departure>();
            time.header.cmsg_level = libc::SOL_SOCKET;
            time.header.cmsg_type = libc::SCM_TXTIME;
            header.msg_hdr.msg_control = (&raw mut *time).cast();
            header.msg_hdr.msg_controllen = size_of::<Departure>();
        }
        part.iov_base = message.bytes.as_ptr().cast_mut().cast();
        part.iov_len = message.bytes.len();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = message.to.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = message.to.len();
        count += 1;
    }
    let mut first = 0;
    while first < count {
        let left = &mut headers[first..count];
        // SAFETY: the headers point to parts, times and addresses that outlive the call, and those to bytes that are borrowed for
        // 'a; the kernel writes to nothing but the headers' lengths.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as libc::c_uint, 0) };
        match usize::try_from(sent) {
            Ok(sent) if sent > 0 => first += sent,
            _ if io::Error::last_os_error().kind() == ErrorKind::Interrupted => {}
            // It is the first that was refused.
            _ => {
                unsent(first);
                first += 1;
            }
        }
    }
}

/// The clock of `bpf_ktime_get_ns`.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure outlives the call; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The cores this process may run on, in ascending order.
pub(super) fn usable_cores() -> io::Result<Vec<usize>> {
    let mut set = empty_set();
    // SAFETY: the pointer is to a live cpu_set_t of the size given, which the kernel fills; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let highest = libc::CPU_SETSIZE as usize;
    // SAFETY: `core` is below CPU_SETSIZE, so it is a bit of the set.
    Ok((0..highest)
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
        .collect())
}

/// Keeps the calling thread on `core`.
pub(super) fn pin_to(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(ErrorKind::InvalidInput.into());
    }
    let mut set = empty_set();
    // SAFETY: `core` is below CPU_SETSIZE, so it is a bit of the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the pointer is to a live cpu_set_t of the size given, which the kernel only reads.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is an array of integers; all zero is the empty set.
    unsafe { std::mem::zeroed() }
}
