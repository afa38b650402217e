//! SIP over TCP and TLS (RFC 3261 section 18).
//!
//! Each connection is a task ([`connection`]); [`table`] knows them all, and which of them leads where. What arrives goes
//! into one bounded queue, so that the core hears no faster than it can work, and a connection that says more waits. What is
//! sent waits in a bounded queue of each connection, so that a peer that does not read holds nobody up but itself.

mod connection;
mod table;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::counts::{Closed, ConnectionCounts, Counters, Refused};
use super::socket;
use super::tls::Tls;
use crate::sip::api::Transmit;
use crate::sip::path::{ConnectionId, Listen, Path, Transport};
use connection::{Ended, Line};
use table::{Found, Table};

/// Messages that wait for the core.
const WAITING: usize = 1024;
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(4);
/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Rest after the system could not accept a connection: it has no file descriptors left, most likely.
const REST: Duration = Duration::from_millis(100);

/// What holds for all connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How what is sent is marked: the TOS byte.
    pub tos: u8,
    /// Most connections at once.
    pub most: usize,
    /// Most from one address; of IPv6, from one network of 64 bits.
    pub most_per_source: usize,
    /// A connection over which no message has gone for so long is closed.
    pub idle: Duration,
    /// How often a connection of ours is kept alive, if it is.
    pub keepalive: Option<Duration>,
    /// Certificates.
    pub tls: Arc<Tls>,
}

/// What happens on connections.
#[derive(Debug)]
pub enum StreamEvent {
    /// A whole message.
    Message {
        /// The way it came.
        path: Path,
        /// Its bytes.
        data: Vec<u8>,
    },
    /// Somebody has connected over TLS and asked for this name.
    Named {
        /// Which connection.
        connection: ConnectionId,
        /// The name.
        server_name: String,
    },
    /// A message without an end that could be found; the connection is to be [finished](Streams::finish) after the answer.
    Damaged {
        /// The way it came.
        path: Path,
        /// What there is of it.
        head: Vec<u8>,
        /// To answer it with.
        status: u16,
        /// To answer it with.
        reason: &'static str,
    },
    /// No connection came about; what waited for it is lost.
    Unreachable {
        /// By what.
        transport: Transport,
        /// To where.
        remote: SocketAddr,
    },
    /// A connection is gone; what was sent on it last may be lost.
    Lost {
        /// Which.
        connection: ConnectionId,
        /// By what.
        transport: Transport,
        /// Its far end.
        remote: SocketAddr,
    },
}

/// All connections and the sockets they come to.
#[derive(Debug)]
pub struct Streams {
    shared: Arc<Shared>,
    listen: Vec<Listen>,
}

/// What the tasks share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    table: Table,
    counters: Counters,
    events: mpsc::Sender<StreamEvent>,
    incoming: tokio::sync::Mutex<mpsc::Receiver<StreamEvent>>,
}

impl Streams {
    /// Listens. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses one of the addresses.
    pub fn bind(listen: impl Iterator<Item = Listen>, settings: Settings) -> io::Result<Self> {
        let (events, incoming) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared {
            settings,
            table: Table::default(),
            counters: Counters::default(),
            events,
            incoming: tokio::sync::Mutex::new(incoming),
        });
        let mut bound = Vec::new();
        for Listen { transport, address } in listen {
            let listener = socket::listen(address, shared.settings.tos).map_err(|error| {
                let message = format!("cannot listen on {transport}:{address}: {error}");
                io::Error::new(error.kind(), message)
            })?;
            let address = listener.local_addr()?;
            bound.push(Listen { transport, address });
            tokio::spawn(accept(Arc::clone(&shared), listener, transport));
        }
        Ok(Self { shared, listen: bound })
    }

    /// What is listened on; a port that was 0 is the one the system chose.
    pub fn listen(&self) -> &[Listen] {
        &self.listen
    }

    /// Waits for something to happen.
    pub async fn recv(&self) -> StreamEvent {
        match self.shared.incoming.lock().await.recv().await {
            Some(event) => event,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Something that has happened already, if there is anything.
    pub fn try_recv(&self) -> Option<StreamEvent> {
        self.shared.incoming.try_lock().ok()?.try_recv().ok()
    }

    /// Sends a message: on the connection it names, else on one of ours that leads there, else on a new one.
    pub fn send(&self, Transmit { path, data }: Transmit) {
        match self.shared.table.find(&path) {
            Found::Open(line) => line.send(data),
            Found::New(id, line, inbox) => {
                line.send(data);
                tokio::spawn(open(Arc::clone(&self.shared), path, id, line, inbox));
            }
        }
    }

    /// Closes a connection on which nothing can be read, once everything is sent that waits.
    pub fn finish(&self, connection: ConnectionId) {
        self.shared.table.finish(connection, Closed::Malformed);
    }

    /// Closes all connections once everything is sent that waits, or this time is over.
    pub async fn close(&self, patience: Duration) {
        self.shared.table.finish_all(Closed::Ours);
        let closed = async {
            while !self.shared.table.is_empty() {
                let _ = self.recv().await;
            }
        };
        let _ = timeout(patience, closed).await;
    }

    /// What is told of connections.
    pub fn counts(&self) -> ConnectionCounts {
        self.shared.counters.report(self.shared.table.open())
    }

    /// Reads the certificates anew; connections that are open keep what they have.
    ///
    /// # Errors
    /// What is wrong with the files; then everything stays as it is.
    pub fn reload(&self) -> Result<(), super::tls::TlsErrors> {
        self.shared.settings.tls.reload()
    }
}

/// Takes connections as they come.
async fn accept(shared: Arc<Shared>, listener: TcpListener, transport: Transport) {
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%transport, %error, "a connection cannot be accepted");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let Settings {
            most, most_per_source, ..
        } = shared.settings;
        match shared.table.admit(transport, remote, most, most_per_source) {
            Ok((id, line, inbox)) => {
                tokio::spawn(welcome(
                    Arc::clone(&shared),
                    stream,
                    remote,
                    (id, line, inbox),
                    transport,
                ));
            }
            Err(why) => {
                debug!(%transport, %remote, why = why.name(), "connection refused");
                shared.counters.refused(why);
            }
        }
    }
}

/// A connection that has come: TLS, if it is that, then messages until it ends.
async fn welcome(
    shared: Arc<Shared>,
    stream: TcpStream,
    remote: SocketAddr,
    (id, line, inbox): (ConnectionId, Line, connection::Inbox),
    transport: Transport,
) {
    let local = socket::prepare(&stream).and_then(|()| stream.local_addr());
    let local = match local {
        Ok(local) => local,
        Err(error) => {
            debug!(%transport, %remote, %error, "connection ended before it began");
            shared.counters.closed(Closed::Failed);
            return shared.table.remove(id);
        }
    };
    let path = Path {
        local,
        remote,
        transport,
        connection: Some(id),
        peer: None,
    };
    let ended = match transport {
        Transport::Tls => match timeout(HANDSHAKE, shared.settings.tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                shared.counters.accepted();
                if let Some(server_name) = stream.get_ref().1.server_name() {
                    let server_name = server_name.to_owned();
                    let connection = id;
                    shared
                        .tell(StreamEvent::Named {
                            connection,
                            server_name,
                        })
                        .await;
                }
                connection::run(&shared, stream, path, line, inbox, None).await
            }
            Ok(Err(error)) => Ended::Handshake(error.to_string()),
            Err(_) => Ended::Handshake(format!("not done in {} s", HANDSHAKE.as_secs())),
        },
        Transport::Tcp | Transport::Udp => {
            shared.counters.accepted();
            connection::run(&shared, stream, path, line, inbox, None).await
        }
    };
    shared.ended(path, &ended).await;
}

/// Opens a connection; then as of one that has come.
async fn open(shared: Arc<Shared>, path: Path, id: ConnectionId, line: Line, inbox: connection::Inbox) {
    let Path {
        local,
        remote,
        transport,
        peer,
        ..
    } = path;
    let path = Path {
        connection: Some(id),
        ..path
    };
    let keepalive = shared.settings.keepalive;
    let connected = timeout(CONNECT, async {
        let stream = socket::connect(local.ip(), remote, shared.settings.tos).await?;
        socket::prepare(&stream)?;
        Ok::<_, io::Error>(stream)
    });
    let stream = match connected.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return shared.unreachable(path, Refused::Unreachable, &error.to_string()).await,
        Err(_) => {
            let error = format!("no answer in {} s", CONNECT.as_secs());
            return shared.unreachable(path, Refused::Unreachable, &error).await;
        }
    };
    let ended = match transport {
        Transport::Tls => match timeout(HANDSHAKE, shared.settings.tls.connect(stream, peer, remote)).await {
            Ok(Ok(stream)) => {
                shared.counters.opened();
                connection::run(&shared, stream, path, line, inbox, keepalive).await
            }
            Ok(Err(error)) => return shared.unreachable(path, Refused::Handshake, &error.to_string()).await,
            Err(_) => {
                let error = format!("no TLS in {} s", HANDSHAKE.as_secs());
                return shared.unreachable(path, Refused::Handshake, &error).await;
            }
        },
        Transport::Tcp | Transport::Udp => {
            shared.counters.opened();
            connection::run(&shared, stream, path, line, inbox, keepalive).await
        }
    };
    shared.ended(path, &ended).await;
}

impl Shared {
    /// A connection of ours did not come about.
    async fn unreachable(&self, path: Path, why: Refused, error: &str) {
        let Path {
            remote,
            transport,
            peer,
            ..
        } = path;
        let why_name = why.name();
        match peer {
            Some(_) => warn!(%transport, %remote, why = why_name, "cannot connect: {error}"),
            // For an answer, whose connection is gone: whoever lets it be opened decides how often this is said.
            None => debug!(%transport, %remote, why = why_name, "cannot connect: {error}"),
        }
        self.counters.refused(why);
        if let Some(id) = path.connection {
            self.table.remove(id);
        }
        self.tell(StreamEvent::Unreachable { transport, remote }).await;
    }

    /// A connection is over.
    async fn ended(&self, path: Path, ended: &Ended) {
        let Path { remote, transport, .. } = path;
        match ended {
            Ended::Closed(why @ (Closed::Theirs | Closed::Idle | Closed::Ours)) => {
                debug!(%transport, %remote, why = why.name(), "connection closed");
                self.counters.closed(*why);
            }
            Ended::Closed(why) => {
                info!(%transport, %remote, why = why.name(), "connection closed");
                self.counters.closed(*why);
            }
            Ended::Handshake(error) => {
                info!(%transport, %remote, "no TLS with who has connected: {error}");
                self.counters.refused(Refused::Handshake);
            }
        }
        let Some(connection) = path.connection else { return };
        self.table.remove(connection);
        self.tell(StreamEvent::Lost {
            connection,
            transport,
            remote,
        })
        .await;
    }

    async fn tell(&self, event: StreamEvent) {
        // The receiver lives as long as we do.
        let _ = self.events.send(event).await;
    }
}
