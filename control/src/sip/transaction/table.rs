//! Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::index::Index;
use super::{Client, ClientInvite, Server, ServerInvite, TransactionId};
use crate::sip::api::DialogId;
use crate::sip::path::{ConnectionId, Path, Transport};
use crate::sip::syntax::frame::{StartLine, frame};
use crate::sip::syntax::via::{MAGIC_COOKIE, Via};
use crate::sip::syntax::{Method, Request, Response};

/// What identifies a transaction in a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Key {
    /// Ours: the branch we made. A CANCEL has its INVITE's.
    Client {
        /// Branch.
        branch: String,
        /// Method.
        method: String,
    },
    /// Theirs: branch, sent-by and method, where an ACK belongs to its INVITE.
    Server {
        /// Branch; for a sender of RFC 2543, what stood in its place.
        branch: String,
        /// Host of the topmost Via.
        host: String,
        /// Port of the topmost Via.
        port: u16,
        /// Method.
        method: String,
    },
    /// The same request by another way (RFC 3261 section 8.2.2.2): From tag, Call-ID, CSeq.
    Merged {
        /// From tag.
        from_tag: String,
        /// Call-ID.
        call_id: String,
        /// CSeq number.
        cseq: u32,
        /// Method.
        method: String,
    },
}

impl Key {
    /// The key of a request as the server sees it. `method` differs from the request's for what a CANCEL or ACK aims at.
    pub fn server(request: &Request, method: &str) -> Self {
        let (host, port) = request.via.sent_by();
        let branch = match request.via.branch() {
            Some(branch) if branch.len() > MAGIC_COOKIE.len() && branch.starts_with(MAGIC_COOKIE) => branch.to_owned(),
            // RFC 3261 section 17.2.3, less the To tag, which the ACK to a refusal has and its INVITE has not.
            branch => format!(
                "{} {} {} {} {}",
                branch.unwrap_or(""),
                request.call_id,
                request.cseq,
                request.from.tag().unwrap_or(""),
                request.uri.as_str(),
            ),
        };
        Self::Server {
            branch,
            host: host.to_ascii_lowercase(),
            port,
            method: method.to_owned(),
        }
    }

    /// The key by which a request outside a dialog is recognised when it comes by another way.
    pub fn merged(request: &Request) -> Self {
        Self::Merged {
            from_tag: request.from.tag().unwrap_or("").to_owned(),
            call_id: request.call_id.clone(),
            cseq: request.cseq,
            method: request.method_text.clone(),
        }
    }

    /// The key of our transaction whose request this is the beginning of.
    pub fn quoted(request: &[u8]) -> Option<Self> {
        let framed = frame(request).ok()?;
        match (framed.start, framed.fields.vias.first()) {
            (StartLine::Request { method, .. }, Some(via)) => Some(Self::Client {
                branch: Via::parse(via).ok()?.branch()?.to_owned(),
                method,
            }),
            (StartLine::Request { .. } | StartLine::Response { .. }, _) => None,
        }
    }

    /// The key of our transaction a response answers.
    pub fn client(response: &Response) -> Option<Self> {
        let method = match &response.method {
            Method::Known(method) => method.to_string(),
            Method::Unknown(_) => return None,
        };
        Some(Self::Client {
            branch: response.via.branch()?.to_owned(),
            method,
        })
    }
}

/// Any transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Transaction {
    /// Our INVITE.
    ClientInvite(Box<ClientInvite>),
    /// Any other request of ours.
    Client(Client),
    /// Their INVITE.
    ServerInvite(ServerInvite),
    /// Any other request of theirs.
    Server(Server),
}

/// A transaction and what it is filed under.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The state machine.
    pub transaction: Transaction,
    /// The dialog it works for, if that is to hear of it.
    pub dialog: Option<DialogId>,
    keys: Vec<Arc<Key>>,
    waits: Option<Path>,
}

/// All transactions. There may be hundreds of thousands, since each is remembered for half a minute: so neither table is one
/// that moves all it has when it grows, while calls wait.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Transactions {
    entries: BTreeMap<TransactionId, Box<Entry>>,
    index: Index,
    waiting: BTreeSet<(Transport, SocketAddr, TransactionId)>,
    on_connection: BTreeSet<(ConnectionId, TransactionId)>,
    made: u64,
}

impl Transactions {
    /// A name for a transaction about to be started.
    pub fn next_id(&mut self) -> TransactionId {
        self.made += 1;
        TransactionId(self.made)
    }

    /// Files a transaction. `waits` is the way a client transaction's request took: it is to hear if that leads nowhere.
    pub fn insert(
        &mut self,
        id: TransactionId,
        transaction: Transaction,
        dialog: Option<DialogId>,
        keys: Vec<Key>,
        waits: Option<Path>,
    ) {
        let keys: Vec<Arc<Key>> = keys.into_iter().map(Arc::new).collect();
        for key in &keys {
            self.index.insert(Arc::clone(key), id);
        }
        if let Some(path) = waits {
            self.wait(id, path);
        }
        let entry = Entry {
            transaction,
            dialog,
            keys,
            waits,
        };
        self.entries.insert(id, Box::new(entry));
    }

    /// The transaction filed under a key.
    pub fn find(&self, key: &Key) -> Option<TransactionId> {
        self.index.get(key)
    }

    /// A transaction.
    pub fn get(&self, id: TransactionId) -> Option<&Entry> {
        self.entries.get(&id).map(Box::as_ref)
    }

    /// A transaction, to be told something.
    pub fn get_mut(&mut self, id: TransactionId) -> Option<&mut Entry> {
        self.entries.get_mut(&id).map(Box::as_mut)
    }

    fn wait(&mut self, id: TransactionId, path: Path) {
        self.waiting.insert((path.transport, path.remote, id));
        if let Some(connection) = path.connection {
            self.on_connection.insert((connection, id));
        }
    }

    fn wait_no_more(&mut self, id: TransactionId, path: Path) {
        self.waiting.remove(&(path.transport, path.remote, id));
        if let Some(connection) = path.connection {
            self.on_connection.remove(&(connection, id));
        }
    }

    /// A client transaction's request has gone another way.
    pub fn moved(&mut self, id: TransactionId, path: Path) {
        let before = self.entries.get_mut(&id).and_then(|entry| entry.waits.replace(path));
        if let Some(before) = before {
            self.wait_no_more(id, before);
            self.wait(id, path);
        }
    }

    /// Client transactions whose request went to this address by this transport.
    pub fn sent_to(&self, transport: Transport, remote: SocketAddr) -> Vec<TransactionId> {
        let all = (transport, remote, TransactionId(0))..=(transport, remote, TransactionId(u64::MAX));
        self.waiting.range(all).map(|(_, _, id)| *id).collect()
    }

    /// Client transactions whose request was to take this connection.
    pub fn sent_on(&self, connection: ConnectionId) -> Vec<TransactionId> {
        let all = (connection, TransactionId(0))..=(connection, TransactionId(u64::MAX));
        self.on_connection.range(all).map(|(_, id)| *id).collect()
    }

    /// Forgets a transaction.
    pub fn remove(&mut self, id: TransactionId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        for key in &entry.keys {
            // A key may have passed to a later transaction.
            if self.index.get(key) == Some(id) {
                self.index.remove(key);
            }
        }
        if let Some(path) = entry.waits {
            self.wait_no_more(id, path);
        }
        Some(*entry)
    }

    /// How many are alive.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
