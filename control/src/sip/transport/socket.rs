//! TCP sockets as SIP wants them: marked, without Nagle's delay, and told when the other side is gone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::mark;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long sent bytes may stay without an acknowledgement of the other side's TCP.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// How long nothing is heard from the other side's TCP until it is asked.
const ASK_AFTER: Duration = Duration::from_secs(60);

/// Listens.
pub(super) fn listen(address: SocketAddr, tos: u8) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A gateway that starts again takes its port, whatever is left of the connections of the one before.
    socket.set_reuse_address(true)?;
    mark(&socket, address, tos)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects from one of our addresses.
pub(super) async fn connect(from: IpAddr, remote: SocketAddr, tos: u8) -> io::Result<TcpStream> {
    let socket = match remote {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if !from.is_unspecified() {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    mark(&SockRef::from(&socket), remote, tos)?;
    socket.connect(remote).await
}

/// Prepares a connection that is up.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASK_AFTER))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}
