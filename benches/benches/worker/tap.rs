//! The far side of an interface: what the system sends by it is read here, and what is written here arrives at it.

#![allow(unsafe_code, reason = "no library that is used here opens one")]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// `TUNSETIFF` of linux/if_tun.h.
const SET_INTERFACE: libc::Ioctl = 0x4004_54ca as libc::Ioctl;

/// Whole Ethernet frames, nothing before them.
const FLAGS: libc::c_short = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;

/// A network interface whose wire is this descriptor. It goes with it.
pub struct Tap(File);

impl Tap {
    /// Makes the interface in the namespace of the thread that calls this.
    pub fn new(name: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open("/dev/net/tun")?;
        // SAFETY: integers and arrays of them, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let room = request.ifr_name.len() - 1;
        for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes().take(room)) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = FLAGS;
        // SAFETY: the descriptor is open, and the request outlives the call.
        match unsafe { libc::ioctl(file.as_raw_fd(), SET_INTERFACE, &raw mut request) } {
            0 => Ok(Self(file)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// A frame arrives at the interface.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write_all(frame)
    }

    /// The length of the next frame that was sent by it, if there is one.
    pub fn read(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(frame) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
