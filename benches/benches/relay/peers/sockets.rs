//! The least that a relay in user space does: a socket for each leg, which are asked when something has come, and packets sent
//! on as they are. It knows its calls beforehand, counts nothing and checks nothing.
//!
//! It receives and sends by `recvmmsg` and `sendmmsg`. As every leg has a port of its own, that saves calls of the system
//! only where several packets of one leg wait.

#![allow(
    unsafe_code,
    reason = "the system takes and gives many datagrams by way of its own structures only"
)]

use std::io;
use std::mem::zeroed;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use voxlane_benches::cores::{self, THIS_THREAD};
use voxlane_dataplane::kernel::lab::traffic::Intake;

use super::{Peer, Running};
use crate::ends::far_ends;
use crate::site::{RELAY_PROCESS, Site, TO_CALLEE, TO_CALLER};

/// Datagrams in a system call.
const MOST: usize = 16;

/// A datagram's bytes, at most.
const LONGEST: usize = 1_500;

/// How often it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// What a socket keeps while nobody looks.
const QUEUE: usize = 256 << 10;

/// It.
pub struct Sockets;

impl Peer for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn intake(&self) -> Intake {
        Intake::Stack
    }

    fn start(&self, site: &Site, calls: u32) -> Result<Running> {
        let core = site.relay_core;
        let (calls, sockets) = site.relay.run(move || open(calls))?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let poll = Poll::new()?;
        for (index, socket) in sockets.iter().enumerate() {
            poll.registry()
                .register(&mut SourceFd(&socket.as_raw_fd()), Token(index), Interest::READABLE)?;
        }
        let thread = thread::Builder::new().name("sockets".to_owned()).spawn(move || {
            cores::keep_to(THIS_THREAD, &cores::set_of(&[core]))?;
            cores::schedule(THIS_THREAD, libc::SCHED_FIFO, RELAY_PROCESS)?;
            relay(poll, &sockets, &told)
        })?;
        Ok(Running {
            calls,
            relay: Box::new(Relay {
                ends,
                thread: Some(thread),
            }),
        })
    }
}

struct Relay {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        // What it did not send on is missing at the other end.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// The sockets of each call's caller and callee, in turns, each joined to its far end.
fn open(calls: u32) -> Result<(Vec<[SocketAddrV4; 2]>, Vec<UdpSocket>)> {
    let (mut arrivals, mut sockets) = (Vec::new(), Vec::new());
    for call in 0..calls {
        let far = far_ends(call)?;
        let ours = [TO_CALLER, TO_CALLEE].map(|address| SocketAddrV4::new(address, far[0].port()));
        for (ours, far) in ours.iter().zip(far) {
            let socket = UdpSocket::bind(ours)?;
            socket.connect(far)?;
            socket.set_nonblocking(true)?;
            SockRef::from(&socket).set_recv_buffer_size(QUEUE)?;
            sockets.push(socket);
        }
        arrivals.push(ours);
    }
    Ok((arrivals, sockets))
}

fn relay(mut poll: Poll, sockets: &[UdpSocket], ends: &AtomicBool) -> Result<()> {
    let mut events = Events::with_capacity(1_024);
    let mut bytes = vec![[0_u8; LONGEST]; MOST];
    while !ends.load(Relaxed) {
        poll.poll(&mut events, Some(LOOK))?;
        for event in &events {
            let Token(index) = event.token();
            // The two legs of a call are neighbours.
            let (from, to) = (sockets[index].as_raw_fd(), sockets[index ^ 1].as_raw_fd());
            while send_on(from, to, &mut bytes) == MOST {}
        }
    }
    Ok(())
}

/// Sends on what waits; how many datagrams.
fn send_on(from: RawFd, to: RawFd, bytes: &mut [[u8; LONGEST]]) -> usize {
    // SAFETY: zeros are message headers, and pieces.
    let (mut headers, mut pieces) = unsafe { zeroed::<([libc::mmsghdr; MOST], [libc::iovec; MOST])>() };
    for ((header, piece), bytes) in headers.iter_mut().zip(&mut pieces).zip(bytes) {
        piece.iov_base = bytes.as_mut_ptr().cast();
        piece.iov_len = bytes.len();
        header.msg_hdr.msg_iov = piece;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: everything that the headers point to lives, and has the length they say.
    let received = unsafe {
        libc::recvmmsg(
            from,
            headers.as_mut_ptr(),
            MOST as libc::c_uint,
            0,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).unwrap_or(0);
    for (header, piece) in headers.iter().zip(&mut pieces).take(received) {
        piece.iov_len = header.msg_len as usize;
    }
    if received > 0 {
        // SAFETY: as above; the pieces have the length of what was received.
        let _lost_shows_at_the_other_end =
            unsafe { libc::sendmmsg(to, headers.as_mut_ptr(), received as libc::c_uint, 0) };
    }
    received
}

/// Lets this process have as many sockets as it may.
///
/// # Errors
/// What the system says.
pub fn allow_sockets() -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit lives.
    let told = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    ensure!(told == 0 && set == 0, "more sockets: {}", io::Error::last_os_error());
    Ok(())
}
