//! SIP over UDP (RFC 3261 section 18).
//!
//! One socket a listening address. Every datagram is handed on with our concrete address, never a wildcard: on a wildcard
//! socket that is the address the route back to the sender starts from.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::mark;
use super::returned::{self, Returned, Returns};
use super::routes::Routes;
use crate::sip::api::Transmit;

/// Receive buffer asked of the kernel, bytes: some 4,000 INVITEs.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The sockets.
#[derive(Debug)]
pub struct UdpTransport {
    listeners: Vec<Listener>,
    /// The listener asked first for a datagram: each in turn, so that a busy one does not starve the others.
    turn: AtomicUsize,
    routes: Routes,
    returns: Returns,
}

#[derive(Debug)]
struct Listener {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
}

/// A datagram in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Our address it came to; concrete.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
    /// Bytes of it in the buffer.
    pub len: usize,
}

impl UdpTransport {
    /// Opens a socket on each address; without any, nothing ever comes. What is sent is marked with `tos`. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses one.
    pub fn bind(addresses: &[SocketAddr], tos: u8) -> io::Result<Self> {
        let listeners: Vec<Listener> = addresses
            .iter()
            .map(|address| Listener::bind(*address, tos))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            returns: Returns::of(listeners.iter().map(|listener| Arc::clone(&listener.socket))),
            listeners,
            turn: AtomicUsize::new(0),
            routes: Routes::default(),
        })
    }

    /// The addresses listened on, in the order given; a port that was 0 is the one the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }

    /// The address messages to `remote` are sent from: that of the listener on the route's source address, else the
    /// route's source address itself on the first wildcard listener, else the first listener of the family.
    ///
    /// # Errors
    /// There is no listener of the family, or no route.
    pub fn local_for(&self, remote: SocketAddr) -> io::Result<SocketAddr> {
        let family = |listener: &&Listener| listener.address.is_ipv4() == remote.is_ipv4();
        let first = self.listeners.iter().find(family).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("no listener can send to {remote}"),
            )
        })?;
        let source = self.routes.source(remote)?;
        let exact = self.listeners.iter().find(|listener| listener.address.ip() == source);
        let wildcard = self
            .listeners
            .iter()
            .filter(family)
            .find(|listener| listener.address.ip().is_unspecified());
        Ok(match (exact, wildcard) {
            (Some(listener), _) => listener.address,
            (None, Some(listener)) => SocketAddr::new(source, listener.address.port()),
            (None, None) => first.address,
        })
    }

    /// Waits for a datagram. What was received is handed out by [`Self::try_recv`] as long as there is more.
    ///
    /// # Errors
    /// Those of the socket. [`io::ErrorKind::ConnectionRefused`] and the like concern an earlier datagram of ours; the
    /// socket stays usable.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let (listener, len, remote) = std::future::poll_fn(|cx| self.poll_recv(cx, buffer)).await?;
        Ok(Received {
            local: self.concrete(listener, remote),
            remote,
            len,
        })
    }

    /// A datagram that has arrived already, if there is one. To be called in a loop after [`Self::recv`]: many arrive
    /// between two wake-ups.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        for listener in self.in_turn() {
            match listener.socket.try_recv_from(buffer) {
                Ok((len, remote)) => {
                    return Ok(Some(Received {
                        local: self.concrete(listener, remote),
                        remote,
                        len,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Sends a message now, if the socket takes it now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the send buffer is full; otherwise see [`is_unreachable`].
    pub fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        let socket = &self.listener(transmit.path.local)?.socket;
        let send = || socket.try_send_to(&transmit.data, transmit.path.remote).map(|_| ());
        send().or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Err(error),
            _ => send(),
        })
    }

    /// Sends a message, waiting for room in the send buffer.
    ///
    /// # Errors
    /// See [`is_unreachable`].
    pub async fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let socket = &self.listener(transmit.path.local)?.socket;
        let send = || socket.send_to(&transmit.data, transmit.path.remote);
        // Linux tells with a send what has become of another one before, once; see [`Self::returned`].
        match send().await {
            Ok(_) => Ok(()),
            Err(_) => send().await.map(|_| ()),
        }
    }

    /// Waits until the network says of a datagram of ours that it could not be delivered.
    pub async fn returned(&self) -> Returned {
        self.returns.recv().await
    }

    fn poll_recv<'a>(
        &'a self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(&'a Listener, usize, SocketAddr)>> {
        for listener in self.in_turn() {
            let mut read = ReadBuf::new(buffer);
            if let Poll::Ready(result) = listener.socket.poll_recv_from(cx, &mut read) {
                let len = read.filled().len();
                return Poll::Ready(result.map(|remote| (listener, len, remote)));
            }
        }
        Poll::Pending
    }

    fn in_turn(&self) -> impl Iterator<Item = &Listener> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.listeners.len().max(1);
        let (later, sooner) = self.listeners.split_at(first);
        sooner.iter().chain(later)
    }

    /// The listener whose address this is, else a wildcard one with its port, else the first of the family.
    fn listener(&self, local: SocketAddr) -> io::Result<&Listener> {
        let fits = |listener: &&Listener| listener.address.is_ipv4() == local.is_ipv4();
        let wild =
            |listener: &&Listener| listener.address.ip().is_unspecified() && listener.address.port() == local.port();
        let all = &self.listeners;
        all.iter()
            .find(|listener| listener.address == local)
            .or_else(|| all.iter().filter(fits).find(wild))
            .or_else(|| all.iter().find(fits))
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no listener on {local}")))
    }

    fn concrete(&self, listener: &Listener, remote: SocketAddr) -> SocketAddr {
        if !listener.address.ip().is_unspecified() {
            return listener.address;
        }
        match self.routes.source(remote) {
            Ok(source) => SocketAddr::new(source, listener.address.port()),
            // Without a route back nothing we answer arrives, whatever address it names.
            Err(_) => listener.address,
        }
    }
}

impl Listener {
    fn bind(address: SocketAddr, tos: u8) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        mark(&socket, address, tos)?;
        socket.set_nonblocking(true)?;
        if let Err(error) = returned::keep(&socket, address) {
            tracing::debug!(%address, %error, "ICMP errors are not told");
        }
        if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
            tracing::debug!(%address, %error, "receive buffer stays as it is");
        }
        socket
            .bind(&address.into())
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on udp:{address}: {error}")))?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }
}

/// Whether an error of a send or receive means that a remote address cannot be reached, which the core is to be told of
/// by [`Input::Unreachable`](crate::sip::Input::Unreachable) (RFC 3261 section 18.4), rather than that the socket failed.
pub fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::path::Path;

    #[tokio::test]
    async fn datagrams_come_with_concrete_addresses() {
        let any = UdpTransport::bind(&["0.0.0.0:0".parse().unwrap()], 0).unwrap();
        let port = any.local_addrs()[0].port();
        let one = UdpTransport::bind(&["127.0.0.1:0".parse().unwrap()], 0).unwrap();
        let to: SocketAddr = SocketAddr::new([127, 0, 0, 1].into(), port);
        let from = one.local_addrs()[0];
        assert_eq!(one.local_for(to).unwrap(), from);
        for byte in [1, 2] {
            one.send(&Transmit {
                path: Path::udp(from, to),
                data: vec![byte],
            })
            .await
            .unwrap();
        }
        let mut buffer = [0; 16];
        let expected = Received {
            local: to,
            remote: from,
            len: 1,
        };
        assert_eq!(any.recv(&mut buffer).await.unwrap(), expected);
        assert_eq!(any.recv(&mut buffer).await.unwrap(), expected);
        assert_eq!(any.try_recv(&mut buffer).unwrap(), None);
        assert_eq!(any.local_for(from).unwrap(), to);
        assert!(any.local_for("[::1]:5060".parse().unwrap()).is_err());
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = UdpTransport::bind(&["127.0.0.1:0".parse().unwrap()], 0).unwrap();
        let taken = first.local_addrs()[0];
        let error = UdpTransport::bind(&[taken], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
    }
}
