//! Frames as they pass an interface, with the kernel's time of their passing.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, MaybeUninitSlice, MsgHdrMut, Protocol, SockAddr, SockAddrStorage, SockRef, Socket, Type};

use super::Namespace;

/// A socket that sees every frame that an interface takes in or sends.
pub struct Tap(Socket);

/// A frame that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, on the wall clock.
    pub at: Duration,
    /// From its Ethernet header on; a tag may have been taken off.
    pub frame: Vec<u8>,
}

impl Tap {
    pub fn new(namespace: &Namespace, interface: &str) -> Self {
        let (_, ifindex) = namespace.interface(interface);
        namespace.run(move || {
            let every = (libc::ETH_P_ALL as u16).to_be();
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(every)))).unwrap();
            let mut storage = SockAddrStorage::zeroed();
            // SAFETY: sockaddr_ll is the address of this domain and fits the storage.
            let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = every;
            address.sll_ifindex = ifindex as i32;
            // SAFETY: the storage holds a whole sockaddr_ll.
            let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
            socket.bind(&address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let on: libc::c_int = 1;
            // SAFETY: the option's value is an int that outlives the call.
            let result = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_TIMESTAMPNS,
                    std::ptr::from_ref(&on).cast(),
                    size_of_val(&on) as libc::socklen_t,
                )
            };
            assert_eq!(result, 0, "SO_TIMESTAMPNS: {}", std::io::Error::last_os_error());
            Self(socket)
        })
    }

    /// The next frame of UDP over IPv4 with this destination port.
    pub fn next_udp(&self, port: u16) -> Seen {
        loop {
            let seen = self.next();
            let frame = &seen.frame;
            if frame.len() > 42 && frame[12..14] == [8, 0] && frame[23] == 17 && frame[36..38] == port.to_be_bytes() {
                return seen;
            }
        }
    }

    fn next(&self) -> Seen {
        let mut frame = [MaybeUninit::uninit(); 2048];
        let mut control = [MaybeUninit::new(0); 64];
        let mut buffers = [MaybeUninitSlice::new(&mut frame)];
        let mut message = MsgHdrMut::new().with_buffers(&mut buffers).with_control(&mut control);
        let length = SockRef::from(&self.0).recvmsg(&mut message, 0).expect("a frame passes");
        // SAFETY: the kernel has written so many bytes.
        let frame = frame[..length]
            .iter()
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        // SAFETY: they were zero before the kernel wrote some of them.
        let control = control.map(|byte| unsafe { byte.assume_init() });
        // The one message asked for: a `cmsghdr`, and behind it the seconds and nanoseconds.
        let word = |at: usize| u64::from_ne_bytes(control[at..at + 8].try_into().unwrap());
        let at = size_of::<libc::cmsghdr>();
        assert_eq!(
            control[12..16],
            libc::SCM_TIMESTAMPNS.to_ne_bytes(),
            "no time with the frame"
        );
        Seen {
            at: Duration::new(word(at), word(at + 8) as u32),
            frame,
        }
    }
}
