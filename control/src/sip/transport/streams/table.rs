//! Every connection, by its name and by where it leads.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::connection::{Inbox, Line, line};
use crate::sip::path::{ConnectionId, Path, PeerId, Transport};
use crate::sip::transport::counts::{Closed, Refused};

/// Where a connection of ours leads. One to another peer at the same address is another one: it was another certificate
/// that was looked at.
type Destination = (Transport, SocketAddr, Option<PeerId>);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Table {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    made: u64,
    open: HashMap<ConnectionId, Open>,
    ours: HashMap<Destination, ConnectionId>,
    sources: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Open {
    line: Line,
    transport: Transport,
    /// Where it leads, if it is ours.
    destination: Option<Destination>,
    /// Whom it counts for, if it has come.
    source: Option<IpAddr>,
}

/// What there is to send by.
pub(super) enum Found {
    /// A connection.
    Open(Line),
    /// One that is to be opened.
    New(ConnectionId, Line, Inbox),
}

impl Table {
    /// The connection for a message that takes this way.
    pub fn find(&self, path: &Path) -> Found {
        let mut inner = self.lock();
        let destination = (path.transport, path.remote, path.peer);
        let named = path.connection.and_then(|id| inner.open.get(&id));
        let known = named.or_else(|| inner.open.get(inner.ours.get(&destination)?));
        if let Some(open) = known {
            return Found::Open(open.line.clone());
        }
        let (id, line, inbox) = inner.insert(path.transport, Some(destination), None);
        inner.ours.insert(destination, id);
        Found::New(id, line, inbox)
    }

    /// Makes room for a connection that has come.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn admit(
        &self,
        transport: Transport,
        remote: SocketAddr,
        most: usize,
        most_per_source: usize,
    ) -> Result<(ConnectionId, Line, Inbox), Refused> {
        let mut inner = self.lock();
        if inner.open.len() >= most {
            return Err(Refused::Limit);
        }
        let source = source(remote.ip());
        let of_source = inner.sources.entry(source).or_default();
        if *of_source >= most_per_source {
            return Err(Refused::SourceLimit);
        }
        *of_source += 1;
        Ok(inner.insert(transport, None, Some(source)))
    }

    /// Asks a connection to end once everything is sent.
    pub fn finish(&self, id: ConnectionId, why: Closed) {
        if let Some(open) = self.lock().open.get(&id) {
            open.line.finish(why);
        }
    }

    /// Asks all of them.
    pub fn finish_all(&self, why: Closed) {
        self.lock().open.values().for_each(|open| open.line.finish(why));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// Forgets a connection.
    pub fn remove(&self, id: ConnectionId) {
        let mut inner = self.lock();
        let Some(open) = inner.open.remove(&id) else { return };
        if let Some(destination) = open.destination
            && inner.ours.get(&destination) == Some(&id)
        {
            inner.ours.remove(&destination);
        }
        if let Some(source) = open.source
            && let Some(count) = inner.sources.get_mut(&source)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inner.sources.remove(&source);
            }
        }
    }

    /// How many there are, by transport.
    pub fn open(&self) -> Vec<(String, u64)> {
        let inner = self.lock();
        let count = |transport| inner.open.values().filter(|open| open.transport == transport).count();
        [Transport::Tcp, Transport::Tls]
            .into_iter()
            .map(|transport| (transport.name().to_owned(), count(transport) as u64))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(
        &mut self,
        transport: Transport,
        destination: Option<Destination>,
        source: Option<IpAddr>,
    ) -> (ConnectionId, Line, Inbox) {
        self.made += 1;
        let id = ConnectionId(self.made);
        let (line, inbox) = line();
        let open = Open {
            line: line.clone(),
            transport,
            destination,
            source,
        };
        self.open.insert(id, open);
        (id, line, inbox)
    }
}

/// Whom an address counts for: in IPv6 whoever has one address has a network of 64 bits.
fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(remote: &str, connection: Option<ConnectionId>, peer: Option<u32>) -> Path {
        Path {
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            transport: Transport::Tcp,
            connection,
            peer: peer.map(PeerId),
        }
    }

    #[test]
    fn a_connection_is_found_by_name_and_by_where_it_leads_until_it_is_gone() {
        let table = Table::default();
        let there = path("192.0.2.9:5060", None, None);
        let Found::New(id, ..) = table.find(&there) else {
            panic!("there was none")
        };
        assert!(matches!(table.find(&there), Found::Open(_)));
        assert!(matches!(
            table.find(&path("192.0.2.9:5060", None, Some(1))),
            Found::New(..)
        ));
        // The name counts before the address.
        let (came, ..) = table
            .admit(Transport::Tcp, "192.0.2.8:40000".parse().unwrap(), 9, 9)
            .unwrap();
        assert!(matches!(
            table.find(&path("192.0.2.8:5060", Some(came), None)),
            Found::Open(_)
        ));
        table.remove(came);
        assert!(matches!(
            table.find(&path("192.0.2.8:5060", Some(came), None)),
            Found::New(..)
        ));
        table.remove(id);
        assert!(matches!(table.find(&there), Found::New(..)));
    }

    #[test]
    fn there_are_so_many_in_all_and_from_one_source() {
        let table = Table::default();
        let from = |ip: &str| table.admit(Transport::Tcp, SocketAddr::new(ip.parse().unwrap(), 1), 4, 2);
        let first = from("192.0.2.1").unwrap().0;
        from("192.0.2.1").unwrap();
        assert_eq!(from("192.0.2.1").err(), Some(Refused::SourceLimit));
        table.remove(first);
        from("192.0.2.1").unwrap();
        from("2001:db8::1").unwrap();
        from("2001:db8::2").unwrap();
        assert_eq!(from("2001:db8:0:1::1").err(), Some(Refused::Limit));
    }
}
