//! What the network says of datagrams of ours that it could not deliver: ICMP errors, which Linux keeps for the socket that
//! sent them (ip(7), IP_RECVERR).

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tracing::debug;

/// How much of a datagram is kept, bytes: more than ICMP quotes (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4).
const QUOTED: usize = 1280;

/// Returns that wait to be taken; more are let go, and what they tell is found out by waiting.
const WAITING: usize = 256;

/// A datagram of ours that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Where it was to go.
    pub remote: SocketAddr,
    /// As much of it as the network has returned.
    pub datagram: Vec<u8>,
}

/// Returns of all sockets.
#[derive(Debug)]
pub(super) struct Returns {
    returns: Mutex<mpsc::Receiver<Returned>>,
    /// One for each socket; they end with this.
    _readers: JoinSet<()>,
}

impl Returns {
    /// Those of these sockets. Must be called within a tokio runtime.
    pub(super) fn of(sockets: impl Iterator<Item = Arc<UdpSocket>>) -> Self {
        let (sender, returns) = mpsc::channel(WAITING);
        let mut readers = JoinSet::new();
        for socket in sockets {
            readers.spawn(read(socket, sender.clone()));
        }
        Self {
            returns: Mutex::new(returns),
            _readers: readers,
        }
    }

    /// Waits for one.
    pub(super) async fn recv(&self) -> Returned {
        match self.returns.lock().await.recv().await {
            Some(returned) => returned,
            // Without sockets there are none.
            None => std::future::pending().await,
        }
    }
}

/// Has Linux keep what the network says of what is sent.
pub(super) fn keep(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// Takes what comes for a socket, for as long as somebody wants it.
async fn read(socket: Arc<UdpSocket>, sender: mpsc::Sender<Returned>) {
    loop {
        match socket.async_io(Interest::ERROR, || next(&socket)).await {
            Ok(Some(returned)) => match sender.try_send(returned) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            },
            Ok(None) => {}
            Err(error) => return debug!(%error, "ICMP errors are not taken any more"),
        }
    }
}

/// The next of a socket's; `None` if it tells of something else than a datagram that did not arrive.
fn next(socket: &UdpSocket) -> io::Result<Option<Returned>> {
    let mut datagram = vec![0; QUOTED];
    let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let (length, remote, errno) = {
        let mut room = [IoSliceMut::new(&mut datagram)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut room, Some(&mut space), flags)?;
        let errno = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, _) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
                Some(error.ee_errno)
            }
            ControlMessageOwned::Ipv6RecvErr(error, _) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => {
                Some(error.ee_errno)
            }
            _ => None,
        });
        (message.bytes, message.address.and_then(address), errno)
    };
    datagram.truncate(length);
    let returned = |remote| Returned { remote, datagram };
    Ok(errno.filter(|errno| is_final(*errno)).and(remote).map(returned))
}

/// Whether an error says that a datagram cannot arrive: no port, host, network or protocol there (RFC 1122 section 3.2.2.1).
fn is_final(errno: u32) -> bool {
    let errno = i32::try_from(errno).map(Errno::from_raw);
    matches!(
        errno,
        Ok(Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::ENOPROTOOPT | Errno::EACCES)
    )
}

fn address(storage: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage
        .as_sockaddr_in()
        .map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| {
        storage
            .as_sockaddr_in6()
            .map(|address| SocketAddr::V6((*address).into()))
    })
}

#[cfg(test)]
mod tests {
    use crate::sip::api::Transmit;
    use crate::sip::path::Path;
    use crate::sip::transport::UdpTransport;

    #[tokio::test]
    async fn what_nobody_takes_is_told_of_and_hurts_nobody_else() {
        for (ours, theirs) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let transport = UdpTransport::bind(&[ours.parse().unwrap()], 0).unwrap();
            let local = transport.local_addrs()[0];
            // Nobody is there any more, and somebody is.
            let gone = std::net::UdpSocket::bind(theirs).unwrap().local_addr().unwrap();
            let there = std::net::UdpSocket::bind(theirs).unwrap();
            let to = |remote, data: &[u8]| Transmit {
                path: Path::udp(local, remote),
                data: data.to_vec(),
            };
            transport.send(&to(gone, b"OPTIONS sip:nobody SIP/2.0")).await.unwrap();
            let returned = transport.returned().await;
            assert_eq!(
                (returned.remote, returned.datagram.as_slice()),
                (gone, b"OPTIONS sip:nobody SIP/2.0".as_slice())
            );
            // What is sent next goes out, whatever became of what was sent before.
            transport.send(&to(gone, b"again")).await.unwrap();
            transport
                .send(&to(there.local_addr().unwrap(), b"hello"))
                .await
                .unwrap();
            let mut buffer = [0; 16];
            let (length, from) = there.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (b"hello".as_slice(), local));
        }
    }
}
