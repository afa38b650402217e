//! Follows what changes around the flows: neighbours, routes, interfaces, and the host's wish to forget neighbours that
//! only the XDP program uses.
//!
//! One thread. It sleeps in `poll` on the netlink socket that tells of changes, and wakes every two seconds to keep
//! neighbours fresh and to forget those that no flow uses.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::error::KernelError;
use super::netlink::{Neighbour, messages, neighbour_of};
use super::{Shared, lock};

/// Well below the 15 s after which the kernel may hold an entry for stale.
const PERIOD: Duration = Duration::from_secs(2);

/// Multicast groups of rtnetlink: links, neighbours, IPv4 routes, IPv4 rules, IPv6 routes, IPv6 rules.
const GROUPS: [u32; 6] = [1, 3, 7, 8, 11, 19];

/// The thread. Ends when dropped.
pub(super) struct Watcher {
    /// Closed to end the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, KernelError> {
        let failed = |error| KernelError::io("watch routes and neighbours", error);
        let socket = subscribe().map_err(failed)?;
        let (stopped, stop) = io::pipe().map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("kernel-watcher".to_owned())
            .spawn(move || watch(&shared, &socket, &stopped))
            .map_err(|error| KernelError::io("start a thread", error))?;
        Ok(Self {
            stop: Some(stop.into()),
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows routes and neighbours has panicked");
        }
    }
}

fn subscribe() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn watch(shared: &Shared, socket: &Socket, stopped: &impl AsRawFd) {
    let mut due = Instant::now() + PERIOD;
    loop {
        let timeout = due.saturating_duration_since(Instant::now());
        match wait(socket, stopped, timeout) {
            Ok(Woken::Stop) => return,
            Ok(Woken::Changes) => shared.on_changes(&read_changes(socket)),
            Ok(Woken::Time) => {}
            Err(error) => {
                tracing::error!(%error, "routes and neighbours are no longer followed");
                return;
            }
        }
        if Instant::now() >= due {
            lock(&shared.inner).tidy();
            due = Instant::now() + PERIOD;
        }
    }
}

enum Woken {
    Stop,
    Changes,
    Time,
}

fn wait(socket: &Socket, stopped: &impl AsRawFd, timeout: Duration) -> io::Result<Woken> {
    let poll = |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut fds = [poll(stopped.as_raw_fd()), poll(socket.as_raw_fd())];
    let timeout = i32::try_from(timeout.as_millis() + 1).unwrap_or(i32::MAX);
    // SAFETY: the array has the length that is given and outlives the call.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok(Woken::Time),
            _ => Err(error),
        };
    }
    let [stop, changes] = fds;
    Ok(if stop.revents != 0 {
        Woken::Stop
    } else if changes.revents != 0 {
        Woken::Changes
    } else {
        Woken::Time
    })
}

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) neighbours: Vec<Neighbour>,
    /// Interfaces have come, gone or changed.
    pub(super) links: bool,
    /// Routes or rules may lead elsewhere.
    pub(super) routes: bool,
}

/// Takes all that waits, so that a thousand routes that change at once are one change.
fn read_changes(socket: &Socket) -> Changes {
    let mut changes = Changes::default();
    loop {
        let datagram = match socket.recv_from_full() {
            Ok((datagram, _)) => datagram,
            // Changes were lost: look at everything.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                (changes.links, changes.routes) = (true, true);
                continue;
            }
            Err(_) => return changes,
        };
        for message in messages(&datagram) {
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(neighbour)) => {
                    changes.neighbours.extend(neighbour_of(&neighbour))
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(neighbour)) => {
                    let gone = neighbour_of(&neighbour).map(|neighbour| Neighbour { mac: None, ..neighbour });
                    changes.neighbours.extend(gone);
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_)) => {
                    (changes.links, changes.routes) = (true, true);
                }
                _ => changes.routes = true,
            }
        }
    }
}
