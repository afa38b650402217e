//! Removes a pinned link so that its program is off when this returns: where the last reference goes with the file, the
//! kernel detaches the program some time later, and who attaches another meanwhile is told that there is one.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

/// `union bpf_attr`, as BPF_OBJ_GET has it.
#[repr(C)]
#[derive(Default)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `union bpf_attr`, as BPF_LINK_DETACH has it.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// Removes a pinned link, or whatever stands in its place.
pub(super) fn remove(pin: &Path) -> io::Result<()> {
    if let Err(error) = open(pin).and_then(|link| detach(&link)) {
        // Of an interface that is gone, or no link at all.
        tracing::debug!(%error, pin = %pin.display(), "not detached");
    }
    match fs::remove_file(pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The same, where there is nothing else to be done about an error.
pub(super) fn forget(pin: &Path) {
    if let Err(error) = remove(pin) {
        tracing::warn!(%error, path = %pin.display(), "cannot remove a pinned link");
    }
}

fn open(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let get = ObjGet {
        pathname: path.as_ptr() as u64,
        ..ObjGet::default()
    };
    let fd = bpf(BPF_OBJ_GET, &get)?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn detach(link: &OwnedFd) -> io::Result<()> {
    let link_fd = link.as_raw_fd().unsigned_abs();
    bpf(BPF_LINK_DETACH, &LinkDetach { link_fd }).map(drop)
}

/// bpf(2)
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_long> {
    let attributes: *const T = attributes;
    // SAFETY: the attributes are those of the command, have the size that is given, and outlive the call with all they
    // point to.
    match unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) } {
        result if result < 0 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}
