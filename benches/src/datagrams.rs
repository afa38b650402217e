//! Many datagrams in a system call, both ways, with the time at which the system had each.

#![allow(
    unsafe_code,
    reason = "the system takes and gives many datagrams by way of its own structures only"
)]

use std::io::{self, ErrorKind};
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Result, bail, ensure};
use socket2::SockAddr;

/// Datagrams in a system call.
const MOST: usize = 64;

/// Room for what comes while nobody looks.
const QUEUE: i32 = 8 << 20;

/// Where they are received: each in so many bytes, more than any of them has.
pub struct Datagrams<const ROOM: usize> {
    bytes: [[u8; ROOM]; MOST],
    /// Aligned as headers have to be.
    control: [[u64; 8]; MOST],
}

impl<const ROOM: usize> Default for Datagrams<ROOM> {
    fn default() -> Self {
        Self {
            bytes: [[0; ROOM]; MOST],
            control: [[0; 8]; MOST],
        }
    }
}

/// Lets the system note when each datagram came, and keep many.
///
/// # Errors
/// Without root.
pub fn receive_buffer_and_times(socket: &UdpSocket) -> Result<()> {
    for (option, value) in [(libc::SO_TIMESTAMPNS, 1), (libc::SO_RCVBUFFORCE, QUEUE)] {
        // SAFETY: the option is a number, and `value` one.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        ensure!(set == 0, "a socket option: {}", io::Error::last_os_error());
    }
    Ok(())
}

impl<const ROOM: usize> Datagrams<ROOM> {
    /// Sends all of these.
    ///
    /// # Errors
    /// What the system says.
    pub fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        packets: impl Iterator<Item = (&'a [u8], SocketAddr)>,
    ) -> Result<()> {
        let packets: Vec<(&[u8], SockAddr)> = packets.map(|(packet, to)| (packet, to.into())).collect();
        for packets in packets.chunks(MOST) {
            // SAFETY: zeros are message headers, and pieces.
            let (mut headers, mut pieces) = unsafe { zeroed::<([libc::mmsghdr; MOST], [libc::iovec; MOST])>() };
            for (((packet, to), header), piece) in packets.iter().zip(&mut headers).zip(&mut pieces) {
                piece.iov_base = packet.as_ptr().cast_mut().cast();
                piece.iov_len = packet.len();
                header.msg_hdr.msg_iov = piece;
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_namelen = to.len();
            }
            let mut sent = 0;
            while sent < packets.len() {
                let left = &mut headers[sent..packets.len()];
                // SAFETY: everything that the headers point to lives, and has the length they say.
                let count =
                    unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as libc::c_uint, 0) };
                match usize::try_from(count) {
                    Ok(count) => sent += count,
                    Err(_) => bail!("datagrams cannot be sent: {}", io::Error::last_os_error()),
                }
            }
        }
        Ok(())
    }

    /// Takes all that have come by IPv4: what is in each, the port it is from, and when the system had it, ns since 1970.
    ///
    /// # Errors
    /// What the system says, or it does not note times.
    pub fn receive(&mut self, socket: &UdpSocket, mut take: impl FnMut(&[u8], u16, i64)) -> Result<()> {
        loop {
            let Self { bytes, control } = self;
            // SAFETY: zeros are message headers, pieces and addresses.
            let (mut headers, mut pieces, mut from) =
                unsafe { zeroed::<([libc::mmsghdr; MOST], [libc::iovec; MOST], [libc::sockaddr_in; MOST])>() };
            let places = headers.iter_mut().zip(&mut pieces).zip(&mut from);
            for (((header, piece), from), (bytes, control)) in places.zip(bytes.iter_mut().zip(control)) {
                piece.iov_base = bytes.as_mut_ptr().cast();
                piece.iov_len = bytes.len();
                header.msg_hdr.msg_iov = piece;
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_name = (&raw mut *from).cast();
                header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                header.msg_hdr.msg_control = control.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = size_of_val(control);
            }
            let (descriptor, most) = (socket.as_raw_fd(), MOST as libc::c_uint);
            // SAFETY: everything that the headers point to lives, and has the length they say.
            let received = unsafe { libc::recvmmsg(descriptor, headers.as_mut_ptr(), most, 0, std::ptr::null_mut()) };
            let Ok(count) = usize::try_from(received) else {
                let error = io::Error::last_os_error();
                ensure!(
                    error.kind() == ErrorKind::WouldBlock,
                    "datagrams cannot be received: {error}"
                );
                return Ok(());
            };
            for ((header, from), bytes) in headers[..count].iter().zip(&from).zip(self.bytes.iter()) {
                let at = time_of(&header.msg_hdr)?;
                take(
                    &bytes[..(header.msg_len as usize).min(ROOM)],
                    u16::from_be(from.sin_port),
                    at,
                );
            }
            if count < MOST {
                return Ok(());
            }
        }
    }
}

/// When the system had a datagram that it has just given out with this header.
fn time_of(header: &libc::msghdr) -> Result<i64> {
    // SAFETY: the header is as the system has filled it in.
    let control = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: if there is one it is in the header's control bytes.
    let is_time = !control.is_null() && unsafe { (*control).cmsg_type } == libc::SCM_TIMESTAMPNS;
    ensure!(is_time, "a packet without a time");
    // SAFETY: that is what a time's data are.
    let time: libc::timespec = unsafe { libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned() };
    Ok(time.tv_sec * 1_000_000_000 + time.tv_nsec)
}
